//! A cloud in memory, a provider for it that can be given one mistake, and the rig that holds both.

pub mod platform;
pub mod provider;
pub mod rig;

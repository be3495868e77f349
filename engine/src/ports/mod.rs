//! What the core needs from the world, one trait a file. Implementations live in `meridian-providers` and in `crate::store`.

pub mod clock;
pub mod failure;
pub mod gate;
pub mod metric;
pub mod notifier;
pub mod provider;
pub mod secret;
pub mod store;

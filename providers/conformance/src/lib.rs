//! What every provider must do, as one suite that any provider can be put to.

pub mod rig;

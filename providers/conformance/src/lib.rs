//! What every provider must do, as one suite that any provider can be put to.

mod behaviours;
pub mod report;
pub mod rig;
pub mod suite;
pub mod table;
mod trial;

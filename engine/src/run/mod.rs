//! The pure core: what a run means. No async, no clock, no randomness, no I/O; `run`, `simulate`, `replay` and the tests share it.
//!
//! *Architecture invariant*: this folder imports nothing of ours but `meridian_workflows`.

pub mod apply;
pub mod bake;
pub mod decide;
mod digest;
pub mod effect;
pub mod entry;
pub mod event;
#[cfg(test)]
mod found;
pub mod gates;
pub mod invariant;
pub mod judge;
pub mod locks;
pub mod mutant;
mod outcome;
#[cfg(test)]
mod outside;
pub mod people;
pub mod posts;
mod progress;
pub mod reading;
mod rollback;
pub mod signal;
pub mod standing;
pub mod state;
pub mod statistics;
#[cfg(test)]
mod stories;
#[cfg(test)]
pub(crate) mod story;
mod unseen;
pub mod verdict;
pub mod version;
pub mod wanted;

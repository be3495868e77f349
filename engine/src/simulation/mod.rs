//! A run under virtual time, on the same core as a real one: a 34-hour rollout in milliseconds.
//!
//! [`simulate::simulate`] takes a plan, a [`script::Script`] (faults, people, crashes), a seed and a start instant, and gives
//! back the journal that such a run would have written. The same arguments give the same journal.

pub mod cloud;
pub mod curve;
pub mod evidence;
pub mod expect;
pub mod many;
pub mod people;
pub mod play;
pub mod scene;
pub mod script;
pub mod simulate;
pub mod telemetry;
pub mod trouble;

#[cfg(test)]
mod stories;

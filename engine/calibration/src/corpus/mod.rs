//! The labelled corpus: rollouts that are simulated tick by tick, each with what is wrong with it and since when.
//!
//! Frozen: thresholds of any judge are chosen after this folder was written, and this folder is not changed for them. A case follows from its
//! seed alone; what the world does at one tick follows from the case, the region and the tick, so that every judge meets the same luck.
//!
//! *Bad* is what must not reach full promotion because the candidate itself does harm: a crash, more errors, a slow tail, a leak (a matter of
//! hours until memory is full), harm in one region or to one tenant only, harm that comes and goes, and silence, behind which nobody
//! knows what happens. *Good* is all else, and stopping it is a false alarm even where requests fail: a dependency that hurts both arms alike, a fault
//! that was there before, traffic that goes away, noise, ramps, and a mix of requests that makes equal arms look different. Holding for a time is
//! no false alarm; never reaching the end is.

mod case;
mod class;
mod service;
#[cfg(test)]
mod tests;
mod world;

pub use case::{Case, Fault, Plan, Rate, Stage};
pub use class::Class;
pub use service::{Sawtooth, Service, Stratum};
pub use world::{Arm, BUCKETS, Counts, EDGES_MS, HISTORY_MINUTES, Observation, STRATA_MAX, Truth, World};

/// The seeds on which judges are tuned.
pub const OPEN: std::ops::Range<u64> = 0..2_000;
/// The seeds that nobody looks at before the final figure. A range is spent once figures of it are known and rules are changed after that:
/// 1,000,000 and the 2,399 after it were, when the gates themselves took the place of the rules they are made of.
pub const HELD_BACK: std::ops::Range<u64> = 2_000_000..2_002_400;

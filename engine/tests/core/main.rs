//! The core under everything that can happen to it: random worlds, every interleaving of small ones, and its own faults.
#![allow(clippy::unwrap_used, clippy::panic)]

mod check;
mod drive;
mod model;
mod mutants;
mod oracle;
mod people;
mod plans;
mod seeds;
mod world;

//! The suite on trial: a small provider that does everything right passes it, and no provider with one thing wrong does.
#![allow(clippy::unwrap_used, clippy::panic)]

mod model;
mod mutants;

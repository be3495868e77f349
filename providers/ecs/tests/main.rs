//! The provider against stand-ins for ECS: our own double for everything that moves, moto for the wire.

#![allow(clippy::unwrap_used, clippy::panic)]

mod conformance;
mod content;
mod keeping;
mod lapses;
mod moto;
mod orders;
mod refusals;
mod stage;

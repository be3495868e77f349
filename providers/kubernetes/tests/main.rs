//! The provider against its double, and against the real thing where a variable names one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod data_plane;
mod diagnosis;
mod stage;
mod traffic;

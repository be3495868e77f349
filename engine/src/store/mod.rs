//! Where journals live: the port's rules, a store in memory for simulation and tests, and one in a single SQLite file.

#[doc(hidden)]
pub mod conformance;
pub mod memory;
mod rules;
pub mod sqlite;

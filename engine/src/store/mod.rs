//! Where journals live: the rules of the port, and the store that keeps to them in a single SQLite file.

#[doc(hidden)]
pub mod conformance;
mod rules;
pub mod sqlite;

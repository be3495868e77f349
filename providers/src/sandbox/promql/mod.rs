//! The sandbox's metrics: samples in memory and the subset of PromQL that the gates use; anything else is refused, never guessed.
//!
//! The way of a query: `token` → `parse` (a typed tree of `syntax`) → `evaluate` over the `store` → `answer` (the JSON of
//! Prometheus' HTTP API). The semantics are those of Prometheus 2.42, the version that Debian ships and that the tests
//! compare with; `evaluate` names the places where later versions differ.

pub mod answer;
pub mod exposition;
pub mod labels;
pub mod store;

mod aggregate;
mod binary;
mod elements;
mod evaluate;
mod matcher;
mod number;
mod parse;
mod quantile;
mod range;
mod syntax;
mod token;

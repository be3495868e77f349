//! What is tried: one behaviour a function, grouped as in the table.

pub mod ailments;
pub mod faults;
pub mod fences;
pub mod meddling;
pub mod opening;
pub mod orders;
pub mod rollbacks;

//! What holds for the expression language as a whole.

mod checking;
mod evaluating;
mod generator;
mod oracle;
mod properties;

//! Meridian's language: a YAML text becomes a Document, a Workflow and a Plan. It knows no cloud, no clock and no I/O.

pub mod expression;

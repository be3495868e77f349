//! Meridian's language: a YAML text becomes a Document, a Workflow and a Plan. It knows no cloud, no clock and no I/O.

pub mod calendar;
pub mod capability;
pub mod decode;
pub mod diagnostic;
pub mod document;
pub mod duration;
pub mod expression;
pub mod limits;
pub mod plan;
pub mod scenario;
pub mod share;
pub mod vocabulary;
pub mod window;
pub mod workflow;

pub use crate::decode::schema;

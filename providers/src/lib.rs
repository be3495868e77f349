//! Meridian's world: clouds, gates, metric sources and the sandbox.

pub mod cloud;
pub mod gate;
pub mod metric;
pub mod process;
pub mod sandbox;
pub mod web;

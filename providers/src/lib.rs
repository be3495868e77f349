//! Meridian's world: clouds, gates, metric sources and the sandbox.

pub mod cloud;
pub mod sandbox;

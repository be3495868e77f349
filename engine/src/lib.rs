//! Meridian's mind: what a run means, and the durable scheduler that drives it.

pub mod against;
pub mod ports;
pub mod replay;
pub mod run;
pub mod scheduler;
pub mod service;
pub mod simulation;
pub mod store;

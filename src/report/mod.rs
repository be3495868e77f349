//! Printers: a run, a plan and a reading as a person reads them, and the JSON that scripts rely on.

pub mod board;
pub mod clock;
pub mod evidence;
pub mod ink;
pub mod paper;
pub mod reading;
pub mod status;
#[cfg(test)]
mod story;
pub mod timeline;
pub mod waiting;
pub mod why;

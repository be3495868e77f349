//! Scheduled starts.

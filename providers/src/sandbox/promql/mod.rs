//! The sandbox's metrics: samples in memory and the subset of PromQL that the gates use; anything else is refused, never guessed.

//! How good Meridian's judgements are: a frozen corpus of labelled rollouts, the rules of others on the same corpus, and the figures.

pub mod chance;
pub mod corpus;
pub mod figures;
pub mod judges;
pub mod page;
pub mod replication;
pub mod rollout;

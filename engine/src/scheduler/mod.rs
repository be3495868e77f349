//! The shells around the core: they carry its effects to the world, the world's answers back, and every step to the store.

pub mod clock;
mod completed;
pub mod effects;
pub mod engine;
pub mod leases;
pub mod owner;
pub mod schedule;
pub mod shard;
pub mod tell;
pub mod world;

#[cfg(test)]
pub(crate) mod script;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod waiting;

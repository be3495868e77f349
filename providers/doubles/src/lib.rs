//! Strict stand-ins for the clouds that no test can have, built from their published descriptions.

pub mod aws;
pub mod azure;
pub mod catalogue;
pub mod ecs;
pub mod elb;
pub mod kubernetes;
mod registry;
pub mod wire;

//! Amazon ECS with the Elastic Load Balancing it moves: one region of one account, on a clock that tests turn.
//!
//! Built from AWS's published service model and its documentation alone. Whatever a request names that is not played here is
//! refused, so that no test passes by accident.

mod account;
mod behaviour;
mod breaker;
mod clock;
mod cluster;
mod configuration;
mod control;
mod definition;
mod deploying;
mod hook;
mod load_balancer;
mod pool;
mod revision;
mod rolling;
mod rollout;
mod rollout_shown;
mod serve;
mod service;
mod service_calls;
mod shifting;
mod state;
#[cfg(test)]
mod stories;
mod tag;
mod task;
mod task_calls;
mod task_set;
mod traffic;
mod world;

pub use account::Account;
pub use behaviour::Behaviour;
pub use serve::serve;
pub use traffic::Traffic;

pub use crate::aws::manners::AwsManners;
pub use crate::aws::refusal::Refusal;

//! Elastic Load Balancing v2: load balancers, target groups, listeners and rules whose weights ECS and callers move.

pub mod action;
pub mod balancers;
pub mod health;
pub mod listener;
pub mod rule;
pub mod tags;
pub mod target_group;

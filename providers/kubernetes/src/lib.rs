//! Deployments on Kubernetes as a cloud of Meridian.

pub mod api;
pub mod diagnosis;
pub mod settings;
pub mod traffic;

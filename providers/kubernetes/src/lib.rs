//! Deployments on Kubernetes as a cloud of Meridian.

mod act;
pub mod api;
mod cloud;
mod cluster;
mod copy;
pub mod diagnosis;
mod ensure;
mod kind;
mod look;
mod mark;
mod plan;
mod preflight;
mod record;
mod repeats;
pub mod settings;
pub mod traffic;
mod version;
mod workload;
mod world;

pub use cloud::{KubernetesCloud, Now};
pub use kind::kind;

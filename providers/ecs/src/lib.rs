//! Amazon ECS services as a cloud of Meridian (ECS's own deployments, task sets, or two services behind one weighted rule), and who
//! Meridian is to AWS.
//!
//! What decides (`strategy`, `native`, `pair`, `diagnosis`) is pure and works on plain `facts`; `aws` calls AWS and decides nothing.

mod aws;
mod cloud;
mod diagnosis;
mod facts;
mod fence;
mod hand;
pub mod identity;
mod look;
mod native;
mod observed;
mod pair;
mod release;
mod settings;
mod strategy;
mod weights;

pub use cloud::{EcsCloud, Now};
pub use settings::kind;

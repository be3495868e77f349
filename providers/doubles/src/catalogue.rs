//! The doubles that can be served on their own: one line each in the list.

use std::path::PathBuf;

use futures_util::future::BoxFuture;

use crate::azure::{app_configuration, app_service};
use crate::ecs;
use crate::wire::Served;

/// How a double is served.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A port of loopback; 0 takes a free one.
    pub port: u16,
    /// How much faster than real time the double's clock runs; at 0 it stands still.
    pub pace: f64,
    /// Where every exchange is written, a line of JSON each.
    pub journal: Option<PathBuf>,
    /// What is there at the beginning, as the double's own JSON; without it, what the double has by default.
    pub state: Option<PathBuf>,
}

/// A double by name.
pub struct Double {
    pub name: &'static str,
    pub summary: &'static str,
    pub serve: fn(Options) -> BoxFuture<'static, anyhow::Result<Served>>,
}

/// Every double. A line is `Double { name: "…", summary: "…", serve: |options| Box::pin(…::serve(options)) }`.
pub const DOUBLES: &[Double] = &[
    Double {
        name: "app-service",
        summary: "Azure App Service behind the resource manager",
        serve: |options| Box::pin(app_service::serve(options)),
    },
    Double {
        name: "app-configuration",
        summary: "Azure App Configuration's data plane",
        serve: |options| Box::pin(app_configuration::serve(options)),
    },
    Double {
        name: "ecs",
        summary: "Amazon ECS with Elastic Load Balancing and as much of STS as it takes",
        serve: |options| Box::pin(ecs::serve(options)),
    },
];

/// The double of that name.
pub fn find(name: &str) -> Option<&'static Double> {
    DOUBLES.iter().find(|double| double.name == name)
}

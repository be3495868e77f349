//! A region as an observer sees it: versions with their shares and readiness, the last fence, and why it is not yet as ordered.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::sandbox::diagnosis::{self, Standing};
use crate::sandbox::instance::Vitals;
use crate::sandbox::options::Timings;
use crate::sandbox::order::{Desired, Fence};
use crate::sandbox::quantity::Percent;
use crate::sandbox::record::Key;
use crate::sandbox::region::Region;

/// What is true of a region at the moment of asking.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Which region.
    #[serde(flatten)]
    pub key: Key,
    /// Where its live traffic goes in.
    pub address: String,
    /// The fence of the last order that was applied.
    pub fence: Option<Fence>,
    /// That order's content.
    pub desired: Desired,
    /// The version that last served alone as the primary: the baseline of a release that begins now.
    pub promoted: String,
    /// Every version that runs or has weight.
    pub versions: Vec<Version>,
    /// How far the order is.
    pub standing: Standing,
    /// Everything remarkable, in plain words.
    pub diagnosis: Vec<String>,
    /// Generated requests a second.
    pub requests_per_second: f64,
}

/// One version in a region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its name.
    pub version: String,
    /// What it is there for.
    pub role: Role,
    /// The share of live traffic that it truly gets now.
    pub share: Percent,
    /// The weight that the proxy was given.
    pub weight: Percent,
    /// The part of live requests that is copied to it.
    pub shadow: Percent,
    /// Instances that take traffic.
    pub ready: usize,
    /// Its instances.
    pub instances: Vec<Named>,
    /// The path on the control address under which this version alone answers.
    pub preview: String,
}

/// What a version is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// It serves what the candidate does not.
    Primary,
    /// It is being released.
    Candidate,
    /// It loses its traffic, drains or stops.
    Retiring,
}

/// An instance with its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// The name.
    pub name: String,
    /// Its state.
    #[serde(flatten)]
    pub vitals: Vitals,
}

/// Looks at a region.
pub fn observe(region: &Region, timings: &Timings, requests_per_second_default: f64) -> Observed {
    let record = region.record();
    let routes = region.proxy.routes();
    let shares = routes.shares();
    let mut names: Vec<&String> = record.weights.keys().chain(routes.deployments().keys()).collect();
    let desired: Vec<String> = record.desired.versions().map(str::to_owned).collect();
    names.extend(&desired);
    names.sort_unstable();
    names.dedup();
    let version = |name: &String| {
        let deployment = routes.deployment(name);
        let shadow = record.shadow.as_ref().filter(|(version, _)| version == name);
        Version {
            version: name.clone(),
            role: match () {
                () if *name == record.desired.primary => Role::Primary,
                () if desired.contains(name) => Role::Candidate,
                () => Role::Retiring,
            },
            share: shares.get(name).copied().unwrap_or_default(),
            weight: record.weight(name),
            shadow: shadow.map_or(Percent::NONE, |(_, part)| *part),
            ready: deployment.map_or(0, |deployment| deployment.ready()),
            instances: deployment.map_or_else(Vec::new, |deployment| {
                let named = |i: &std::sync::Arc<crate::sandbox::instance::Instance>| Named {
                    name: i.name.clone(),
                    vitals: i.vitals(),
                };
                deployment.instances.iter().map(named).collect()
            }),
            preview: format!("/preview/{}/{}/{name}/", record.key.app, record.key.region),
        }
    };
    Observed {
        key: record.key.clone(),
        address: url(region.address),
        fence: record.fence,
        desired: record.desired.clone(),
        promoted: record.promoted.clone(),
        versions: names.into_iter().map(version).collect(),
        standing: diagnosis::standing(&record, &routes, timings),
        diagnosis: diagnosis::remarks(&record, &routes, timings),
        requests_per_second: record
            .settings
            .requests_per_second
            .unwrap_or(requests_per_second_default),
    }
}

/// An address as it is written into a browser.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

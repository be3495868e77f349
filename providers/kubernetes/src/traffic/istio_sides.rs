//! Whose a destination of an Istio VirtualService is: the baseline's, the candidate's, or somebody else's.

use serde_json::{Value, json};

use super::istio_routes::destinations;
use super::object::put;

/// Which destinations of a VirtualService are whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    pub workload: String,
    pub namespace: String,
    /// Names of the routes; empty: all that send to the baseline.
    pub routes: Vec<String>,
    /// The Service of the baseline.
    pub service: String,
    pub candidate: Candidate,
    /// The header that names a request's tenant.
    pub tenant_header: String,
}

/// What tells the candidate's destination from the baseline's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A Service of its own.
    Host(String),
    /// Subsets of the baseline's Service.
    Subset { baseline: String, candidate: String },
}

/// The two sides of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    Baseline,
    Candidate,
}

impl Sides {
    /// Whose a destination is; none: somebody else's.
    pub fn arm(&self, destination: &Value) -> Option<Arm> {
        let host = destination["host"].as_str()?;
        let subset = destination["subset"].as_str();
        let is_ours = self.is_host(host, &self.service);
        match &self.candidate {
            Candidate::Host(candidate) if self.is_host(host, candidate) => Some(Arm::Candidate),
            Candidate::Host(_) => is_ours.then_some(Arm::Baseline),
            Candidate::Subset { baseline, candidate } => match subset {
                Some(subset) if is_ours && subset == candidate => Some(Arm::Candidate),
                None if is_ours => Some(Arm::Baseline),
                Some(subset) if is_ours && subset == baseline => Some(Arm::Baseline),
                Some(_) | None => None,
            },
        }
    }

    /// Whether a host is this Service, in whichever of its spellings.
    fn is_host(&self, host: &str, service: &str) -> bool {
        short(host, &self.namespace) == service
    }

    /// Makes a destination one of this arm's; the port and everything else in it stays.
    pub fn point(&self, destination: &mut Value, arm: Arm) {
        match &self.candidate {
            Candidate::Host(candidate) => {
                let host = destination["host"].as_str().unwrap_or(&self.service).to_owned();
                let tail = host
                    .split_once('.')
                    .map_or(String::new(), |(_, tail)| format!(".{tail}"));
                let name = if arm == Arm::Candidate {
                    candidate
                } else {
                    &self.service
                };
                put(destination, "host", Some(json!(format!("{name}{tail}"))));
            }
            Candidate::Subset { baseline, candidate } => {
                let subset = if arm == Arm::Candidate { candidate } else { baseline };
                put(destination, "subset", Some(json!(subset)));
            }
        }
    }

    pub fn audience_prefix(&self) -> String {
        format!("meridian-{}-audience-", self.workload)
    }

    pub fn is_audience_route(&self, route: &Value) -> bool {
        route["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(&self.audience_prefix()))
    }

    pub fn is_managed(&self, route: &Value) -> bool {
        if self.is_audience_route(route) {
            return false;
        }
        if self.routes.is_empty() {
            return destinations(route)
                .iter()
                .any(|one| self.arm(&one["destination"]).is_some());
        }
        route["name"]
            .as_str()
            .is_some_and(|name| self.routes.iter().any(|one| one == name))
    }
}

/// A Service's host without its namespace and the cluster's domain.
pub fn short<'a>(host: &'a str, namespace: &str) -> &'a str {
    match host.split_once('.') {
        Some((name, rest))
            if rest == namespace
                || rest
                    .strip_prefix(namespace)
                    .is_some_and(|rest| rest.starts_with(".svc")) =>
        {
            name
        }
        Some(_) | None => host,
    }
}

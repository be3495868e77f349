//! No mesh: one Service over both Deployments, and the share is the candidate's part of its pods.

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::capability::instances;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{Capabilities, RollbackSpeed, Shares};
use serde_json::Value;

use super::object::{found, unfit};
use super::service::{selector, selects};
use super::{Arms, Counts, Grant, Mechanism, Placement, Split, Standing, Written};
use crate::api::Namespace;
use crate::api::resource::SERVICES;
use crate::settings;

/// Pods of one Service.
#[derive(Clone, Debug)]
pub struct Pods(pub settings::Pods);

/// What one Service over all pods can do.
pub fn capabilities(settings: &settings::Pods) -> Capabilities {
    let remarks = [
        "Without a mesh the share is the candidate's part of the ready pods, rounded down: a stage never gets more than it allows.",
        "A Service spreads connections, not requests: clients that keep connections open stay where they are until these end.",
        "Going back waits for baseline pods to start where they had given way to the candidate's.",
    ];
    Capabilities {
        shares: settings.total.map_or(Shares::SomeInstances, Shares::Instances),
        rollback: RollbackSpeed::Restarts,
        remarks: remarks.map(str::to_owned).to_vec(),
        ..Capabilities::splitting(1)
    }
}

/// The share that `candidate` pods of `total` serve, rounded down as stages are.
fn share_of(candidate: u32, total: u32) -> Share {
    match (candidate, total) {
        (0, _) | (_, 0) => Share::ZERO,
        (candidate, total) if candidate >= total => Share::FULL,
        (candidate, total) => {
            let part = u64::from(candidate) * 10_000 / u64::from(total);
            // One pod of more than ten thousand is still not none.
            let part = u16::try_from(part.max(1)).unwrap_or(u16::MAX);
            Share::from_basis_points(part).unwrap_or(Share::FULL)
        }
    }
}

impl Pods {
    /// The Service, by its name or as the only one that selects the baseline's pods.
    async fn service(&self, namespace: &Namespace, arms: &Arms) -> Result<Value, Failure> {
        if let Some(name) = &self.0.service {
            return found(namespace, &SERVICES, name).await;
        }
        let mut all = namespace.list(&SERVICES, "").await?;
        all.retain(|service| selects(service, &arms.baseline.pods));
        let names: Vec<&str> = all
            .iter()
            .filter_map(|service| service["metadata"]["name"].as_str())
            .collect();
        match names.len() {
            1 => Ok(all.swap_remove(0)),
            0 => Err(Failure::lasting(format!(
                "no Service selects the pods of Deployment `{}`",
                arms.baseline.deployment
            ))),
            _ => Err(Failure::lasting(format!(
                "several Services select the pods of Deployment `{}` ({}): name one as `traffic.pods.service`",
                arms.baseline.deployment,
                names.join(", ")
            ))),
        }
    }
}

#[async_trait]
impl Mechanism for Pods {
    async fn check(&self, namespace: &Namespace, arms: &Arms, _ladder: &[Split]) -> Result<(), Failure> {
        let service = self.service(namespace, arms).await?;
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        if selector(&service).is_none() {
            return Err(unfit(
                &SERVICES,
                name,
                "it has no selector, so it is not known which pods it sends to",
            ));
        }
        if !selects(&service, &arms.baseline.pods) {
            let why = format!(
                "its selector does not match the pods of Deployment `{}`",
                arms.baseline.deployment
            );
            return Err(unfit(&SERVICES, name, &why));
        }
        Ok(())
    }

    async fn prepare(&self, _namespace: &Namespace, _arms: &Arms, _fence: Fence) -> Result<Written, Failure> {
        Ok(Written::Already)
    }

    async fn read(&self, _namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure> {
        let (candidate, baseline) = (arms.candidate.ready, arms.baseline.ready);
        Ok(Standing {
            split: Split {
                share: share_of(candidate, candidate.saturating_add(baseline)),
                ..Split::none()
            },
            ..Standing::default()
        })
    }

    /// Pods are the weights: whoever scales the Deployments to [`Mechanism::counts`] has written the split.
    async fn write(
        &self,
        _namespace: &Namespace,
        _arms: &Arms,
        split: &Split,
        _fence: Fence,
    ) -> Result<Written, Failure> {
        match self.refusal(split) {
            Some(why) => Err(Failure::lasting(why)),
            None => Ok(Written::Already),
        }
    }

    async fn clean(&self, _namespace: &Namespace, _arms: &Arms, _fence: Fence) -> Result<Written, Failure> {
        Ok(Written::Already)
    }

    fn grants(&self) -> Vec<Grant> {
        vec![Grant {
            resource: SERVICES,
            verbs: if self.0.service.is_some() { &["get"] } else { &["list"] },
        }]
    }

    fn placement(&self, _split: &Split) -> Placement {
        Placement::Joined
    }

    fn counts(&self, share: Share, total: u32) -> Option<Counts> {
        let candidate = instances(share, total);
        Some(Counts {
            baseline: total - candidate,
            candidate,
        })
    }

    fn reachable(&self, wanted: &Split, total: u32) -> Split {
        Split {
            share: share_of(instances(wanted.share, total), total),
            ..wanted.clone()
        }
    }

    fn refusal(&self, split: &Split) -> Option<String> {
        if !split.mirror.is_zero() {
            return Some("a Service over all pods cannot mirror traffic".to_owned());
        }
        (!split.audience.is_empty()).then(|| "a Service over all pods cannot tell audiences apart".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use meridian_workflows::share::Share;

    use super::{Pods, share_of};
    use crate::settings;
    use crate::traffic::{Mechanism, Split};

    #[test]
    fn pods_never_serve_more_than_a_stage_allows_and_read_back_what_can_be_reached() {
        let pods = Pods(settings::Pods {
            service: None,
            total: None,
        });
        for total in [1, 2, 3, 7, 10, 12, 97, 1000] {
            for points in 0..=10_000 {
                let wanted = Split {
                    share: Share::from_basis_points(points).unwrap(),
                    ..Split::none()
                };
                let counts = pods.counts(wanted.share, total).unwrap();
                assert_eq!(counts.baseline + counts.candidate, total);
                let reached = pods.reachable(&wanted, total).share;
                assert!(reached <= wanted.share, "{total} {points}");
                assert_eq!(share_of(counts.candidate, total), reached);
                assert!((counts.candidate == 0) == reached.is_zero() && (counts.baseline == 0) == reached.is_full());
            }
        }
    }
}

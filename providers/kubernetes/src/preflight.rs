//! What must be so before anything opens: found out by looking, told with the object's name, never met in the middle.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Target;
use meridian_workflows::workflow::Exposure;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::resource::{
    ACCESS_REVIEWS, AUTOSCALERS, DEPLOYMENTS, DISRUPTION_BUDGETS, ENDPOINT_SLICES, EVENTS, PODS, REPLICA_SETS, SERVICES,
};
use crate::cloud::{Place, text};
use crate::record::Record;
use crate::repeats;
use crate::settings::{Cluster, Strategy};
use crate::traffic::{Grant, Split};
use crate::version;
use crate::world::World;

/// How long an answer about access rules is believed: asking takes dozens of requests.
const BELIEVED_FOR: Duration = Duration::from_secs(600);

/// What every region needs, whatever its mechanism.
const GRANTS: &[Grant] = &[
    Grant {
        resource: DEPLOYMENTS,
        verbs: &["get", "list", "create", "patch", "delete"],
    },
    Grant {
        resource: REPLICA_SETS,
        verbs: &["list"],
    },
    Grant {
        resource: PODS,
        verbs: &["list"],
    },
    Grant {
        resource: EVENTS,
        verbs: &["list"],
    },
    Grant {
        resource: ENDPOINT_SLICES,
        verbs: &["list"],
    },
    Grant {
        resource: SERVICES,
        verbs: &["get", "list"],
    },
];

/// What a region with an autoscaler, or with a disruption budget, needs beside that.
const WRITES: &[&str] = &["list", "create", "patch", "delete"];

/// Looks before anything opens.
#[derive(Debug, Default)]
pub(crate) struct Preflight {
    allowed: Mutex<BTreeMap<(Cluster, String, String), Instant>>,
}

impl Preflight {
    /// *Errors*: lasting, where an order could not be carried out to its end; those of the cluster.
    pub(crate) async fn check(&self, place: &Place, target: &Target) -> Result<(), Failure> {
        // Access first: with it missing, the rest could not even be read.
        self.access(place, GRANTS).await?;
        let world = World::read(&place.namespace, &place.settings, place.mechanism.as_deref()).await?;
        workload(&world)?;
        ladder(place, target, &world)?;
        let mut grants: Vec<Grant> = Vec::new();
        if !matches!(place.settings.strategy, Strategy::Rolling(_)) {
            for (resource, found) in [(AUTOSCALERS, &world.autoscaler), (DISRUPTION_BUDGETS, &world.budget)] {
                if found.is_some() {
                    grants.push(Grant {
                        resource,
                        verbs: WRITES,
                    });
                }
            }
        }
        if let Some(mechanism) = place.mechanism.as_deref() {
            grants.extend(mechanism.grants());
            self.access(place, &grants).await?;
            let rungs = target.ladder.rungs.iter().map(|rung| Split::of(&rung.exposure));
            let rungs: Vec<Split> = rungs.collect();
            mechanism.check(&place.namespace, &world.arms, &rungs).await?;
            copyable(&world)?;
        }
        Ok(())
    }

    /// Whether all of it may be done; every verb that may not is named at once.
    async fn access(&self, place: &Place, grants: &[Grant]) -> Result<(), Failure> {
        let key = |what: String| (place.settings.cluster.clone(), place.namespace.name().to_owned(), what);
        let mut lacking = Vec::new();
        for grant in grants {
            for verb in grant.verbs {
                let what = format!("{verb} {}.{}", grant.resource.plural, grant.resource.group);
                let what = what.trim_end_matches('.').to_owned();
                let known = self.allowed.lock().get(&key(what.clone())).copied();
                if known.is_some_and(|at| at.elapsed() < BELIEVED_FOR) {
                    continue;
                }
                if is_allowed(place, grant, verb).await? {
                    self.allowed.lock().insert(key(what), Instant::now());
                } else {
                    lacking.push(what);
                }
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        Err(Failure::lasting(format!(
            "the cluster's access rules do not allow, in the namespace {}: {}",
            place.namespace.name(),
            lacking.join(", ")
        )))
    }
}

async fn is_allowed(place: &Place, grant: &Grant, verb: &str) -> Result<bool, Failure> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "namespace": place.namespace.name(),
            "verb": verb,
            "group": grant.resource.group,
            "resource": grant.resource.plural,
        }},
    });
    match place.namespace.create_cluster_wide(&ACCESS_REVIEWS, &review).await {
        Ok(answer) => Ok(answer.pointer("/status/allowed") == Some(&Value::Bool(true))),
        // A cluster that does not say is asked by doing.
        Err(error) if error.is_missing_kind() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn workload(world: &World) -> Result<(), Failure> {
    let original = &world.original;
    let name = original.name();
    if original.is_leaving() {
        return Err(Failure::lasting(format!("the Deployment {name} is being deleted")));
    }
    if original.is_paused() {
        return Err(Failure::lasting(format!(
            "the Deployment {name} is paused: nothing would be rolled out to it"
        )));
    }
    Ok(())
}

/// How many pods all traffic needs: as seen before this release took some of them, where it has.
fn total(world: &World, release: &str) -> u32 {
    let image = world.original.image();
    let is_same =
        |record: &&Record| record.candidate == release && (record.baseline == image || record.candidate == image);
    let seen = world.record.as_ref().filter(is_same).map_or(0, |record| record.total);
    seen.max(world.original.replicas())
}

/// Whether the candidate's copy could be made from the baseline as it stands.
fn copyable(world: &World) -> Result<(), Failure> {
    let template = world.original.object().pointer("/spec/template");
    match template.and_then(repeats::refusal) {
        Some(why) => {
            let name = world.original.name();
            Err(Failure::lasting(format!(
                "no copy of the Deployment {name} can be made: {why}"
            )))
        }
        None => Ok(()),
    }
}

/// Whether every rung can be climbed here.
fn ladder(place: &Place, target: &Target, world: &World) -> Result<(), Failure> {
    let Some(mechanism) = place.mechanism.as_deref() else {
        return Ok(());
    };
    let total = total(world, &version::of_release(&target.release)?.pinned);
    for rung in &target.ladder.rungs {
        if let Some(why) = mechanism.refusal(&Split::of(&rung.exposure)) {
            return Err(Failure::lasting(format!("the ladder cannot be climbed: {why}")));
        }
        let Exposure::Traffic(share) = rung.exposure else {
            continue;
        };
        let Some(counts) = mechanism.counts(share, total) else {
            continue;
        };
        if !share.is_zero() && counts.candidate == 0 {
            let name = world.original.name();
            return Err(Failure::lasting(format!(
                "pods are the share and {name} has {total}, so {share} comes to none: route by weights, or start higher"
            )));
        }
    }
    let counts_pods = mechanism.counts(meridian_workflows::share::Share::FULL, 1).is_some();
    if let Some(autoscaler) = world.autoscaler.as_ref().filter(|_| counts_pods) {
        let (name, autoscaler) = (world.original.name(), text(autoscaler, "/metadata/name"));
        return Err(Failure::lasting(format!(
            "the autoscaler {autoscaler} sets the pods of {name}, so pods cannot be the share: route by weights"
        )));
    }
    Ok(())
}

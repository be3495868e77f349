//! What was seen, in the engine's terms.

use std::collections::BTreeMap;

use meridian_engine::ports::provider::{Observed, VersionState};
use meridian_engine::run::effect::Observation;
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;

use crate::diagnosis::Illness;
use crate::facts::{Course, Revision};
use crate::look::{Ground, Native, Pair};
use crate::native::told;
use crate::pair::Arm;
use crate::strategy::Strategy;

/// One version that runs, before it has a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub task_definition: String,
    pub share: Share,
    pub instances: u32,
    pub ready: u32,
    /// The label and the name of what runs it: its service revision or its task set.
    pub unit: Option<(&'static str, String)>,
}

/// What runs, how settled that is, and what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub running: Vec<Running>,
    pub is_settled: bool,
    pub remarks: Vec<String>,
}

impl Picture {
    /// The task definition that serves most.
    pub fn serving(&self) -> Option<&str> {
        let most = self.running.iter().max_by_key(|running| (running.share, running.ready));
        most.map(|running| running.task_definition.as_str())
    }

    /// The share of a task definition.
    pub fn share(&self, task_definition: &str) -> Share {
        let own = self
            .running
            .iter()
            .filter(|running| running.task_definition == task_definition);
        own.map(|running| running.share).max().unwrap_or(Share::ZERO)
    }

    /// The engine's words for it. `names` has every version that runs.
    pub fn observed(
        self,
        ground: &Ground,
        mut candidate: Version,
        candidate_digest: Option<String>,
        names: &BTreeMap<String, Version>,
        illness: Option<&Illness>,
    ) -> Observed {
        let named = |running: &Running| {
            let found = names.get(&running.task_definition).cloned();
            let mut version = found.unwrap_or_else(|| Version::named(running.task_definition.clone()));
            if let Some((label, unit)) = &running.unit {
                version.labels.insert((*label).to_owned(), unit.clone());
            }
            version
        };
        let serving = self
            .running
            .iter()
            .max_by_key(|running| (running.share, running.ready))
            .map(&named);
        let own = self
            .running
            .iter()
            .find(|running| running.task_definition == candidate.pinned);
        if let Some((label, unit)) = own.and_then(|running| running.unit.as_ref()) {
            candidate.labels.insert((*label).to_owned(), unit.clone());
        }
        let remarks: Vec<String> = illness
            .map(|illness| illness.why.clone())
            .into_iter()
            .chain(self.remarks)
            .collect();
        Observed {
            observation: Observation {
                serving,
                candidate_share: own.map_or(Share::ZERO, |running| running.share),
                candidate,
                is_settled: self.is_settled && illness.is_none(),
                diagnosis: (!remarks.is_empty()).then(|| remarks.join("; ")),
                candidate_digest,
            },
            fence: ground.marks.fence,
            versions: self
                .running
                .iter()
                .map(|running| VersionState {
                    version: named(running),
                    share: running.share,
                    instances: running.instances,
                    ready: running.ready,
                })
                .collect(),
        }
    }
}

/// A service that ECS moves.
pub fn native(ground: &Ground, native: &Native, strategy: Strategy) -> Picture {
    let service = &ground.first().facts;
    let whole = |task_definition: &str| Running {
        task_definition: task_definition.to_owned(),
        share: Share::FULL,
        instances: service.desired,
        ready: service.running.min(service.desired),
        unit: None,
    };
    let Some(deployment) = &native.newest else {
        let serving = service
            .primary_rollout()
            .map(|rollout| rollout.task_definition.as_str());
        let serving = serving.or(service.task_definition.as_deref());
        return Picture {
            running: serving.map(whole).into_iter().collect(),
            is_settled: service.rollouts.len() <= 1,
            remarks: Vec::new(),
        };
    };
    let mut remarks = Vec::new();
    if !deployment.alarms.is_empty() {
        remarks.push(format!("in ALARM: {}", deployment.alarms.join(", ")));
    }
    let course = deployment.status.course();
    let share = native.listener.unwrap_or_else(|| deployment.share(strategy));
    let running =
        match course {
            Course::Arrived => deployment
                .target
                .iter()
                .filter_map(|target| alone(target, service.running))
                .collect(),
            Course::Returned => {
                remarks.push(told(deployment));
                deployment.source().map(whole).into_iter().collect()
            }
            Course::Broken => {
                remarks.push(told(deployment));
                service.task_definition.as_deref().map(whole).into_iter().collect()
            }
            Course::Forward | Course::Back => {
                let rest = Share::from_basis_points(10_000 - share.basis_points()).unwrap_or(Share::ZERO);
                match &deployment.paused {
                    Some(pause) if course == Course::Forward => {
                        remarks.extend(pause.expires.map(|at| {
                            format!("ECS waits for the next order until {at}, then it rolls back by itself")
                        }));
                    }
                    Some(_) | None => remarks.push(told(deployment)),
                }
                let target = deployment.target.iter().filter_map(|target| within(target, share));
                let sources = deployment
                    .sources
                    .iter()
                    .take(1)
                    .filter_map(|source| within(source, rest));
                target.chain(sources).collect()
            }
        };
    Picture {
        running,
        is_settled: match course {
            // Paused, or baking: nothing moves until somebody orders or a time is over.
            Course::Forward => deployment.paused.is_some() || share.is_full(),
            Course::Back => false,
            Course::Arrived | Course::Returned | Course::Broken => true,
        },
        remarks,
    }
}

fn within(revision: &Revision, share: Share) -> Option<Running> {
    Some(Running {
        task_definition: revision.task_definition.clone()?,
        share,
        instances: revision.requested,
        ready: revision.running,
        unit: Some(("serviceRevision", crate::fence::short(&revision.arn).to_owned())),
    })
}

/// The revision that is alone once its deployment is over. Its counts are those of that moment; the service's are of now.
fn alone(revision: &Revision, running: u32) -> Option<Running> {
    let seen = within(revision, Share::FULL)?;
    Some(Running {
        instances: seen.instances.max(running),
        ready: running,
        ..seen
    })
}

/// Two sets of tasks behind one rule.
pub fn pair(pair: &Pair, shares: [Share; 2], are_sets: bool) -> Picture {
    let seen = |slot: usize, arm: &Arm| Running {
        task_definition: arm.task_definition.clone(),
        share: shares[slot],
        instances: arm.desired,
        ready: arm.ready,
        unit: are_sets.then(|| ("taskSet", crate::fence::short(&arm.id).to_owned())),
    };
    let arms = || {
        pair.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, held)| Some((slot, held.arm.as_ref()?)))
    };
    let remarks = pair
        .production
        .sticky
        .map(|seconds| format!("the listener rule keeps clients on the version they met first, for up to {seconds}s"));
    Picture {
        running: arms().map(|(slot, arm)| seen(slot, arm)).collect(),
        is_settled: arms().all(|(_, arm)| arm.is_steady) && pair.slots.iter().all(|slot| !slot.is_clearing),
        remarks: remarks.into_iter().collect(),
    }
}

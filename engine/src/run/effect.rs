//! What the world is asked to do, and what it answers.

use std::fmt;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde::{Deserialize, Serialize};

use super::reading::Reading;
use super::version::Version;

/// The name of one effect: the same across retries and owners, different for each new intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EffectKey {
    /// Claim the targets of all regions together; `round` counts the claims of this run.
    Claim { round: u32 },
    /// Give the targets back.
    Release { round: u32 },
    /// Look at a region; `intent` counts the looks.
    Observe { region: RegionId, intent: u64 },
    /// Order a state; `intent` is the order's number in this run.
    Ensure { region: RegionId, intent: u64 },
    /// Ask the store for the lock of a gate; `round` counts the locks that this run has sought.
    Lock { gate: GateId, round: u64 },
    /// Give it back, or the place in its queue.
    Unlock { gate: GateId, round: u64 },
    /// Read one gate once; `round` counts its readings in this place.
    Read {
        node: NodeId,
        place: Place,
        gate: GateId,
        round: u64,
    },
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EffectKey::Claim { round } => write!(f, "claim#{round}"),
            EffectKey::Release { round } => write!(f, "release#{round}"),
            EffectKey::Observe { region, intent } => write!(f, "observe/{}#{intent}", region.0),
            EffectKey::Ensure { region, intent } => write!(f, "ensure/{}#{intent}", region.0),
            EffectKey::Lock { gate, round } => write!(f, "lock/{}#{round}", gate.0),
            EffectKey::Unlock { gate, round } => write!(f, "unlock/{}#{round}", gate.0),
            EffectKey::Read {
                node,
                place,
                gate,
                round,
            } => {
                write!(f, "read/{}/{}/{}#{round}", node.0, place.name(), gate.0)
            }
        }
    }
}

/// Where in a node a gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// Must pass before traffic moves.
    Before,
    /// Read from the stage's first order on.
    Watch,
    /// Must pass once the bake is over.
    After,
    /// The baseline, read before a region's first full share so that there is something to compare with; never acts.
    Baseline,
    /// Read once more after a rollback, for the report; never acts.
    Epilogue,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::Before => "before",
            Place::Watch => "watch",
            Place::After => "after",
            Place::Baseline => "baseline",
            Place::Epilogue => "epilogue",
        }
    }
}

/// One thing that the world owes the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    pub key: EffectKey,
    pub ask: Ask,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Take the targets of all regions, or none. With `only_if_newest`, only while no newer run has held one of them.
    Claim {
        only_if_newest: bool,
    },
    Release,
    /// Take a lock, or a place in its queue.
    Lock {
        name: String,
    },
    Unlock {
        name: String,
    },
    Observe {
        region: RegionId,
    },
    Ensure {
        region: RegionId,
        desired: Desired,
    },
    Read {
        node: NodeId,
        gate: GateId,
        arms: Arms,
    },
}

/// The state that a region is ordered into: a level, never a delta.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    pub candidate: Version,
    /// The version that served when the run opened the region.
    pub baseline: Version,
    pub state: DesiredState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DesiredState {
    /// Both versions stand ready; the candidate serves what the exposure says and the baseline the rest. At
    /// `Traffic(0%)` the candidate is staged and ready without traffic.
    Serving(Exposure),
    /// The candidate has become the baseline and serves everything; the old version is retired.
    Promoted,
    /// The baseline serves everything (brought back where it had been retired); the candidate is left standing.
    Reverted,
    /// Reverted, and the candidate is removed.
    Withdrawn,
}

impl DesiredState {
    /// The candidate's share of live traffic in this state.
    pub fn share(&self) -> Share {
        match self {
            DesiredState::Serving(exposure) => exposure.traffic(),
            DesiredState::Promoted => Share::FULL,
            DesiredState::Reverted | DesiredState::Withdrawn => Share::ZERO,
        }
    }
}

/// Which telemetry a reading is about. Versions are none where the gate stands on no opened region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arms {
    pub region: Option<RegionId>,
    pub candidate: Option<Version>,
    /// Given only while the baseline serves traffic too and the gate asks for it.
    pub baseline: Option<Version>,
    /// How far back the evidence may reach: at most the metric's window, never beyond the last change of share.
    pub window: Duration,
    /// The instant of that change; older evidence is none.
    pub since: Timestamp,
}

/// The world's answer to one effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// To a claim: the targets are this run's. `claim` is above every claim the targets have seen.
    Claimed {
        claim: u64,
    },
    /// To a claim: another run holds a target.
    Busy {
        target: String,
        by: String,
    },
    /// To a claim: refused for good, with the reason (policy `reject`, or a newer run has held the target).
    ClaimRefused {
        why: String,
    },
    Released,
    /// To a lock: it is this run's.
    Locked {
        number: u64,
    },
    /// To a lock: `by` has it or is to have it next; so many are before this run.
    LockBusy {
        by: String,
        ahead: u32,
    },
    Unlocked,
    Observed(Observation),
    Progress(Progress),
    Read(Reading),
    /// The effect could not be done or its answer is not known.
    Failed {
        error: String,
        lasting: bool,
        retry_after: Option<Duration>,
    },
}

/// What a look at a region showed, in the core's terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// The version that serves most of the live traffic.
    pub serving: Option<Version>,
    /// The release resolved to what the platform would run.
    pub candidate: Version,
    /// The candidate's share of live traffic as the platform reports it.
    pub candidate_share: Share,
    /// Whether the platform says that it has nothing left to do.
    pub is_settled: bool,
    /// Why it is not there yet, in plain words.
    pub diagnosis: Option<String>,
    /// The content that the candidate's instances run, as `sha256:…`; none while none stands, or where the platform does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_digest: Option<String>,
}

/// How far an order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Progress {
    Settled,
    Moving {
        why: Option<String>,
    },
    /// Nothing is under way and nothing is wrong: it is meant to wait, for a time that was asked for or for somebody. The time that
    /// this takes is not held against the order: its deadline begins anew.
    Waiting {
        why: String,
    },
    /// It will not get there by itself; `why` is a diagnosis in plain words.
    Stuck {
        why: String,
    },
    /// An order with a higher fence has been applied: somebody else owns the target now.
    Stale {
        why: String,
    },
}

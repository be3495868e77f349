//! What a run is at one moment: the plan and the fold of its journal. It changes only by `apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, PhaseId, Plan, RegionId};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Scope;
use serde::{Deserialize, Serialize};

use super::bake::{Bake, Countdown, Vouched};
use super::effect::{DesiredState, Place};
use super::entry::Hash;
use super::event::Ending;
use super::reading::{Reading, Sample};
use super::signal::{Person, Signal};
use super::verdict::Judgement;
use super::version::Version;

/// A run's name: the workflow's and a number, as in `payments-api-0142`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A plan and the fold of its journal.
#[derive(Clone, Debug)]
pub struct Run {
    pub(in crate::run) plan: Arc<Plan>,
    pub(in crate::run) state: State,
}

/// Everything about a run but its plan. Readable by everybody, changed only by `apply`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub id: RunId,
    /// The newest entry's position; 0 before the first.
    pub seq: u64,
    /// The newest entry's instant.
    pub at: Timestamp,
    /// The newest entry's hash.
    pub head: Hash,
    pub standing: Standing,
    pub starter: Option<Person>,
    pub submitted_at: Option<Timestamp>,
    pub claim: Claim,
    pub owner: Option<Owner>,
    pub pause: Option<Pause>,
    pub rollback: Option<Rollback>,
    /// Orders given so far; an order's number is its intent and the last part of its fence.
    pub orders: u64,
    /// Looks at regions that have been answered so far.
    pub looks: u64,
    /// By node id.
    pub nodes: Vec<NodeState>,
    /// By region id.
    pub regions: Vec<RegionState>,
    /// Nodes whose parents have all passed and that have not ended.
    pub frontier: BTreeSet<NodeId>,
    /// Regions under way, by phase id: opened or opening, and not closed.
    pub active: Vec<BTreeSet<RegionId>>,
    /// Ids of signals that were taken, so that a second delivery changes nothing.
    pub signals: BTreeSet<String>,
    /// Locks that were asked for and not given back, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub locks: BTreeMap<String, LockState>,
    /// Locks sought so far.
    #[serde(default)]
    pub lock_rounds: u64,
}

/// Where a run stands as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Standing {
    /// Wants its targets.
    Submitted,
    /// Going forward (paused, held and asked are told beside it).
    Running,
    /// A rollback was decided that stops the whole run's advance.
    RollingBack,
    /// Cannot go on by itself.
    Attention {
        reason: String,
        action: String,
        since: Timestamp,
    },
    Finished {
        ending: Ending,
        cause: String,
        at: Timestamp,
    },
}

/// The run's hold on its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Rises whenever a run takes the targets; the first part of every fence.
    pub number: Option<u64>,
    /// The claim this run had last, kept after release: a newer one elsewhere refuses a retry.
    pub last: Option<u64>,
    pub round: u32,
    /// Who holds a target that this run waits for.
    pub waits: Option<ClaimWait>,
    /// A claim or release that failed is tried again then.
    pub again_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// After the end: the retry or rollback for which the targets are wanted once more.
    pub wanted_for: Option<Signal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimWait {
    pub target: String,
    pub by: String,
    pub again_at: Timestamp,
}

/// Who drives the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    pub name: String,
    pub epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    pub freeze_bake: bool,
    pub since: Timestamp,
}

/// The newest rollback decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    pub scope: Scope,
    pub node: Option<NodeId>,
    pub regions: Vec<RegionId>,
    pub cause: String,
    pub decided_at: Timestamp,
    pub deadline: Timestamp,
    pub is_overdue: bool,
    /// Within the phase's tolerance: the rest of the run goes on.
    pub is_tolerated: bool,
}

/// One node, this attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    pub life: Life,
    /// Counts from 1; a retry begins the next.
    pub attempt: u32,
    /// When `life` last changed.
    pub since: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    /// Parents that have not passed.
    pub waits_for: u32,
    /// `before`, then `watch`, then `after`, in the plan's order.
    pub gates: Vec<GateState>,
    pub bake: Bake,
    pub deadline: Option<Countdown>,
    pub hold: Option<Hold>,
    pub question: Option<Question>,
    /// Why it is where it is, where that needs saying (failed, skipped, diverged).
    pub why: Option<String>,
}

/// The life of a node. A phase only waits and passes; an opening has no bake; a closing bakes first and moves last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    Waiting,
    Moving,
    Baking,
    Judging,
    /// A closing whose promotion is under way.
    Closing,
    Passed,
    Skipped,
    Tolerated,
    Failed,
    RolledBack,
}

impl Life {
    /// Counts as passed for the nodes that need it.
    pub fn is_passed(self) -> bool {
        matches!(self, Life::Passed | Life::Skipped | Life::Tolerated)
    }

    pub fn is_over(self) -> bool {
        self.is_passed() || matches!(self, Life::Failed | Life::RolledBack)
    }

    /// Work has begun and has not ended.
    pub fn is_under_way(self) -> bool {
        matches!(self, Life::Moving | Life::Baking | Life::Judging | Life::Closing)
    }
}

/// Stays and goes on by itself on recovery, at most until `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    pub gate: Option<GateId>,
    pub why: String,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// A person decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    pub gate: Option<GateId>,
    pub why: String,
    pub since: Timestamp,
}

/// One gate in one place of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateState {
    pub place: Place,
    pub gate: GateId,
    /// Readings so far.
    pub round: u64,
    /// When it is looked at next; none until its place begins, and for gates that wait for people without expiry.
    pub next_at: Option<Timestamp>,
    pub last: Option<Judged>,
    /// Since when the newest judgements have asked for the same or a worse policy, per policy: hold, ask, roll back.
    pub breached_since: [Option<Timestamp>; 3],
    /// The unbroken chain of readings that were not breached.
    pub vouched: Option<Vouched>,
    pub is_skipped: bool,
    /// A person has answered this gate's question; its judgement acts again only after it has recovered once.
    pub is_excused: bool,
    pub approval: Option<ApprovalState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalState>,
}

/// The newest judgement, and what it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    pub judgement: Judgement,
    pub reading: Option<Reading>,
    pub at: Timestamp,
}

/// An approval gate that has asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalState {
    pub asked_at: Timestamp,
    pub expiry: Option<Countdown>,
    pub approved_by: Vec<Person>,
    pub rejected_by: Option<Person>,
}

/// A signal gate that has asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalState {
    pub asked_at: Timestamp,
    pub expiry: Option<Countdown>,
    /// The newest post.
    pub posted: Option<SignalPost>,
}

/// What was posted, and what the gate made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalPost {
    pub by: Person,
    pub passed: bool,
    pub because: String,
    pub at: Timestamp,
}

/// One lock, from the moment it is sought until it is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockState {
    pub round: u64,
    /// The gate that it was first sought for.
    pub gate: GateId,
    pub sought_at: Timestamp,
    /// Given by the store with the lock; none while the run waits for it.
    pub number: Option<u64>,
    pub taken_at: Option<Timestamp>,
    pub waits: Option<LockWait>,
    /// When the store is asked (again); none: at once.
    pub again_at: Option<Timestamp>,
    /// Why the last question had no answer.
    pub why: Option<String>,
    /// Needed no more.
    pub is_leaving: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockWait {
    /// The run that has it, or is to have it next.
    pub by: String,
    pub ahead: u32,
}

impl LockState {
    pub fn is_held(&self) -> bool {
        self.number.is_some() && !self.is_leaving
    }

    /// Whether a question to the store is out, or due: what it comes to is not known.
    pub fn is_asked(&self, now: Timestamp) -> bool {
        self.number.is_none() && !self.is_leaving && self.again_at.is_none_or(|at| at <= now)
    }
}

/// One region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionState {
    pub life: RegionLife,
    pub baseline: Option<Version>,
    pub candidate: Option<Version>,
    /// What the release turned out to be, once its candidate stood here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolved>,
    /// The candidate's share that the platform was last known to have reached.
    pub share: Share,
    /// When the share last changed: evidence before it does not count.
    pub shifted_at: Option<Timestamp>,
    pub order: Option<Order>,
    /// A look at the region that failed is tried again then.
    pub look_again_at: Option<Timestamp>,
    pub look_failures: u32,
    /// The node whose watch gates are read: the newest that started.
    pub watched: Option<NodeId>,
    /// The baseline's last sample while both versions served, per gate: what a full share is compared with.
    pub frozen: Vec<(GateId, Sample)>,
    /// Between share 0 and the removal of the candidate.
    pub drained_at: Option<Timestamp>,
}

/// The content of the candidate in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// As `sha256:…`; none where the platform does not tell.
    pub digest: Option<String>,
    /// A person has said yes to content that differs from another region's.
    pub is_accepted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RegionLife {
    /// Nothing has been ordered here.
    Untouched,
    /// Being opened, or serving both versions.
    Open,
    Promoted,
    /// Ordered back to the baseline; not yet read back.
    Reverting,
    /// Read back at share 0; the candidate drains and is removed.
    Withdrawing,
    RolledBack,
}

/// The newest order of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub intent: u64,
    pub node: Option<NodeId>,
    pub state: DesiredState,
    pub ordered_at: Timestamp,
    pub settled_at: Option<Timestamp>,
    /// When the provider is asked (again); none = never again.
    pub ask_at: Option<Timestamp>,
    pub stuck: Option<Stuck>,
    /// What the provider said last about why it is not there yet.
    pub why: Option<String>,
    pub failures: u32,
    /// When the first of the failures in a row happened.
    pub failing_since: Option<Timestamp>,
    /// The newest failure will not pass by itself.
    pub is_failing_for_good: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stuck {
    pub why: String,
    pub since: Timestamp,
}

impl Run {
    /// A run before its first entry.
    pub fn new(id: RunId, plan: Arc<Plan>) -> Run {
        let nodes: Vec<NodeState> = plan.ids().map(|node| NodeState::fresh(&plan, node, 1)).collect();
        let frontier = plan
            .ids()
            .filter(|node| nodes[node.0 as usize].waits_for == 0)
            .collect();
        let regions = plan.region_ids().map(|_| RegionState::untouched()).collect();
        let active = vec![BTreeSet::new(); plan.workflow().phases.len()];
        let state = State {
            id,
            nodes,
            regions,
            frontier,
            active,
            ..State::hollow()
        };
        Run { plan, state }
    }

    /// A run brought back from a snapshot of its state.
    ///
    /// *Assumptions*: the state was taken from a run of this plan.
    pub fn restored(plan: Arc<Plan>, state: State) -> Run {
        Run { plan, state }
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn id(&self) -> &RunId {
        &self.state.id
    }

    pub fn node(&self, id: NodeId) -> &NodeState {
        &self.state.nodes[id.0 as usize]
    }

    pub fn region(&self, id: RegionId) -> &RegionState {
        &self.state.regions[id.0 as usize]
    }

    pub fn is_paused(&self) -> bool {
        self.state.pause.is_some()
    }

    pub fn is_finished(&self) -> bool {
        matches!(self.state.standing, Standing::Finished { .. })
    }

    /// Finished, and nothing is owed to the world any more: its targets are released.
    pub fn is_done(&self) -> bool {
        self.is_finished() && self.state.claim.number.is_none() && self.state.claim.wanted_for.is_none()
    }

    /// No region is on its way: every order has settled, nothing is being taken back.
    pub fn is_at_rest(&self) -> bool {
        self.state.regions.iter().all(|region| {
            let is_settled = region.order.as_ref().is_none_or(|order| order.settled_at.is_some());
            is_settled && !matches!(region.life, RegionLife::Reverting | RegionLife::Withdrawing)
        })
    }

    pub(in crate::run) fn node_mut(&mut self, id: NodeId) -> &mut NodeState {
        &mut self.state.nodes[id.0 as usize]
    }

    pub(in crate::run) fn region_mut(&mut self, id: RegionId) -> &mut RegionState {
        &mut self.state.regions[id.0 as usize]
    }

    /// Region-phases of a phase that are under way: opened or opening, and not closed.
    pub fn active_regions(&self, phase: PhaseId) -> usize {
        self.state.active[phase.0 as usize].len()
    }
}

impl State {
    /// Of no run yet.
    pub(in crate::run) fn hollow() -> State {
        State {
            id: RunId(String::new()),
            seq: 0,
            at: Timestamp::MIN,
            head: Hash::NONE,
            standing: Standing::Submitted,
            starter: None,
            submitted_at: None,
            claim: Claim::default(),
            owner: None,
            pause: None,
            rollback: None,
            orders: 0,
            looks: 0,
            nodes: Vec::new(),
            regions: Vec::new(),
            frontier: BTreeSet::new(),
            active: Vec::new(),
            signals: BTreeSet::new(),
            locks: BTreeMap::new(),
            lock_rounds: 0,
        }
    }
}

impl NodeState {
    /// A node at the beginning of an attempt.
    pub(in crate::run) fn fresh(plan: &Plan, id: NodeId, attempt: u32) -> NodeState {
        let node = plan.node(id);
        let places = [
            (Place::Before, &node.before),
            (Place::Watch, &node.watch),
            (Place::After, &node.after),
        ];
        let gates = places
            .into_iter()
            .flat_map(|(place, gates)| gates.iter().map(move |gate| GateState::fresh(place, *gate)))
            .collect();
        NodeState {
            life: Life::Waiting,
            attempt,
            since: None,
            started_at: None,
            waits_for: u32::try_from(plan.parents(id).count()).unwrap_or(u32::MAX),
            gates,
            bake: Bake::new(node.bake),
            deadline: None,
            hold: None,
            question: None,
            why: None,
        }
    }

    pub fn gates_at(&self, place: Place) -> impl Iterator<Item = &GateState> {
        self.gates.iter().filter(move |gate| gate.place == place)
    }

    pub fn gate(&self, place: Place, gate: GateId) -> Option<&GateState> {
        self.gates.iter().find(|slot| slot.place == place && slot.gate == gate)
    }
}

impl GateState {
    pub(in crate::run) fn fresh(place: Place, gate: GateId) -> GateState {
        GateState {
            place,
            gate,
            round: 0,
            next_at: None,
            last: None,
            breached_since: [None; 3],
            vouched: None,
            is_skipped: false,
            is_excused: false,
            approval: None,
            signal: None,
        }
    }

    /// Whether it stands open now.
    pub fn is_open(&self) -> bool {
        self.is_skipped || self.is_excused || self.last.as_ref().is_some_and(|judged| judged.judgement.opens())
    }
}

impl RegionState {
    pub(in crate::run) fn untouched() -> RegionState {
        RegionState {
            life: RegionLife::Untouched,
            baseline: None,
            candidate: None,
            resolved: None,
            share: Share::ZERO,
            shifted_at: None,
            order: None,
            look_again_at: None,
            look_failures: 0,
            watched: None,
            frozen: Vec::new(),
            drained_at: None,
        }
    }

    /// The share that the newest order allows the candidate; zero before any.
    pub fn ordered_share(&self) -> Share {
        self.order.as_ref().map_or(Share::ZERO, |order| order.state.share())
    }
}

/// A reading's gap that still counts as watched: two periods.
pub(in crate::run) fn gap_max(every: Duration) -> Duration {
    every.saturating_mul(2)
}

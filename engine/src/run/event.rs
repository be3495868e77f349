//! Facts, in the past tense: everything that can change a run. Each carries the instants that it needs, so that folding
//! them needs no clock.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{Fingerprint, GateId, NodeId, RegionId};
use meridian_workflows::workflow::Scope;
use serde::{Deserialize, Serialize};

use super::effect::{DesiredState, EffectKey, Place};
use super::reading::Reading;
use super::signal::{Person, Signal};
use super::verdict::Judgement;
use super::version::Version;

/// One fact about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Event {
    // --- the run ---
    /// The journal's first event. The plan is stored beside the journal under its fingerprint.
    Submitted {
        workflow: String,
        fingerprint: Fingerprint,
        by: Person,
        at: Timestamp,
    },
    /// The targets are taken; effects may begin.
    Claimed {
        claim: u64,
        at: Timestamp,
    },
    /// Another run holds a target; looked at again at `again_at`, or when that run ends.
    ClaimBusy {
        target: String,
        by: String,
        again_at: Timestamp,
    },
    ClaimRefused {
        why: String,
        at: Timestamp,
    },
    Released,
    /// The process that drives the run changed: a new lease.
    Owned {
        owner: String,
        epoch: u64,
        at: Timestamp,
    },
    /// The wall clock jumped while nobody counted; nothing in between counts for a bake.
    ClockJumped {
        from: Timestamp,
        to: Timestamp,
    },
    /// Every region is promoted, or every region in scope is rolled back and verified.
    Finished {
        ending: Ending,
        cause: String,
        at: Timestamp,
    },
    /// The run cannot go on by itself.
    AttentionNeeded {
        reason: String,
        action: String,
        at: Timestamp,
    },

    // --- people ---
    /// A signal that fitted; what follows from it stands in the same entry.
    SignalTaken {
        signal: Signal,
        at: Timestamp,
    },
    Paused {
        freeze_bake: bool,
        at: Timestamp,
    },
    Resumed {
        at: Timestamp,
    },
    /// Failed and rolled-back nodes start again with empty evidence and no approvals; `nodes` are those that reopen.
    Retried {
        nodes: Vec<NodeId>,
        regions: Vec<RegionId>,
        at: Timestamp,
    },
    /// The rest of this region's stages are left out, straight to 100 %.
    RegionRushed {
        region: RegionId,
        skipped: Vec<NodeId>,
        at: Timestamp,
    },

    // --- nodes ---
    /// Parents passed, `before` gates hold: the node's first order may go out.
    NodeStarted {
        node: NodeId,
        at: Timestamp,
    },
    /// The node's share is reached, observed and ready: the bake begins, or goes on after a divergence.
    Converged {
        node: NodeId,
        at: Timestamp,
    },
    /// What had converged is no longer so; the bake does not count until it is again.
    Diverged {
        node: NodeId,
        why: String,
        at: Timestamp,
    },
    /// Time and evidence are there: the `after` gates are judged.
    BakeEnded {
        node: NodeId,
        at: Timestamp,
    },
    NodePassed {
        node: NodeId,
        at: Timestamp,
    },
    /// Left out by a person, or because the region already serves the candidate.
    NodeSkipped {
        node: NodeId,
        why: String,
        at: Timestamp,
    },
    /// A region that failed within its phase's tolerance: counts as passed for what needs the phase.
    NodeTolerated {
        node: NodeId,
        at: Timestamp,
    },
    NodeFailed {
        node: NodeId,
        why: String,
        at: Timestamp,
    },
    /// Stays where it is and goes on by itself on recovery; at `until` the run needs attention.
    Held {
        node: NodeId,
        gate: Option<GateId>,
        why: String,
        at: Timestamp,
        until: Timestamp,
    },
    Recovered {
        node: NodeId,
        at: Timestamp,
    },
    /// A person decides: approve goes on, reject rolls back.
    Asked {
        node: NodeId,
        gate: Option<GateId>,
        why: String,
        at: Timestamp,
    },
    Answered {
        node: NodeId,
        by: String,
        at: Timestamp,
    },

    // --- gates ---
    /// One reading, judged. The next is due at `next_at`.
    GateRead {
        node: NodeId,
        place: Place,
        gate: GateId,
        reading: Reading,
        judgement: Judgement,
        at: Timestamp,
        next_at: Timestamp,
    },
    /// An approval gate asks; it expires `expires` after asking, pauses not counted.
    ApprovalAsked {
        node: NodeId,
        place: Place,
        gate: GateId,
        expires: Option<Duration>,
        at: Timestamp,
    },
    /// Bound to the plan by the journal it stands in, and to node and attempt by its place there.
    Approved {
        node: NodeId,
        gate: GateId,
        by: Person,
        comment: Option<String>,
        at: Timestamp,
    },
    Rejected {
        node: NodeId,
        gate: GateId,
        by: Person,
        comment: Option<String>,
        at: Timestamp,
    },
    /// A signal gate asks; it expires `expires` after asking, pauses not counted.
    SignalAwaited {
        node: NodeId,
        place: Place,
        gate: GateId,
        expires: Option<Duration>,
        at: Timestamp,
    },
    /// Bound to node and attempt by its place in the journal; the payload stands in the signal that was taken with it.
    SignalPosted {
        node: NodeId,
        gate: GateId,
        by: Person,
        passed: bool,
        because: String,
        at: Timestamp,
    },
    /// Judged from people and time alone: an approval that is complete, expired or rejected, a window that opened or closed.
    /// Looked at again at `next_at`.
    GateJudged {
        node: NodeId,
        place: Place,
        gate: GateId,
        judgement: Judgement,
        at: Timestamp,
        next_at: Option<Timestamp>,
    },
    GateSkipped {
        node: NodeId,
        place: Place,
        gate: GateId,
        by: String,
        reason: String,
        at: Timestamp,
    },

    // --- locks ---
    /// Everything else before a node is open: the store is asked for the lock of a gate.
    LockSought {
        lock: String,
        gate: GateId,
        at: Timestamp,
    },
    /// `by` has it, or is to have it next; asked again at `again_at`.
    LockBusy {
        lock: String,
        by: String,
        ahead: u32,
        at: Timestamp,
        again_at: Timestamp,
    },
    /// `number` rises whenever a run takes the lock.
    LockTaken {
        lock: String,
        number: u64,
        at: Timestamp,
    },
    /// It is needed no more, and is to be given back; or its queue is left.
    LockDropped {
        lock: String,
        at: Timestamp,
    },
    LockReleased {
        lock: String,
        at: Timestamp,
    },

    // --- regions ---
    /// What served when the run opened the region, and what the release resolved to.
    RegionObserved {
        region: RegionId,
        baseline: Version,
        candidate: Version,
        at: Timestamp,
    },
    /// The candidate stands, and this is the content that its tag turned out to be; none where the platform does not tell.
    RegionResolved {
        region: RegionId,
        digest: Option<String>,
        at: Timestamp,
    },
    /// The intent, durable before anything is sent.
    Ordered {
        region: RegionId,
        node: Option<NodeId>,
        state: DesiredState,
        at: Timestamp,
    },
    OrderMoving {
        region: RegionId,
        why: Option<String>,
        at: Timestamp,
        again_at: Timestamp,
    },
    /// The platform waits because it was asked to, or for somebody: the node's deadline begins anew.
    OrderWaiting {
        region: RegionId,
        why: String,
        at: Timestamp,
        again_at: Timestamp,
    },
    OrderStuck {
        region: RegionId,
        why: String,
        at: Timestamp,
        again_at: Timestamp,
    },
    /// The order is done; looked at again at `check_at` while it must hold, never again where it need not.
    OrderSettled {
        region: RegionId,
        at: Timestamp,
        check_at: Option<Timestamp>,
    },
    /// An effect failed; it is tried again at `again_at`.
    EffectFailed {
        key: EffectKey,
        error: String,
        lasting: bool,
        at: Timestamp,
        again_at: Timestamp,
    },

    // --- rollback ---
    /// From here on no order of this run raises a share, until a person retries.
    RollbackDecided {
        scope: Scope,
        /// Within the phase's tolerance: the rest of the run goes on.
        tolerated: bool,
        node: Option<NodeId>,
        regions: Vec<RegionId>,
        cause: String,
        at: Timestamp,
        deadline: Timestamp,
    },
    /// Read back from the platform: the candidate serves nothing here.
    RegionReverted {
        region: RegionId,
        at: Timestamp,
        drained_at: Timestamp,
    },
    /// The candidate is gone.
    RegionWithdrawn {
        region: RegionId,
        at: Timestamp,
    },
    /// The rollback did not make its deadline; it goes on, and people are called.
    RollbackOverdue {
        regions: Vec<RegionId>,
        at: Timestamp,
    },
}

/// How a run ends for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    Promoted,
    RolledBack,
    /// Never began: its targets were refused.
    Refused,
}

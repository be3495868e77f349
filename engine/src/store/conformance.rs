//! What every store must keep to: one suite for all of them. Test support, not part of the interface.
#![allow(clippy::unwrap_used, clippy::panic)]

pub mod claims;
pub mod handles;
pub mod journals;
pub mod leases;
pub mod locks;
pub mod signals;

use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::plan::compile::compile;

use crate::ports::store::{Append, HeadUpdate, Lease, NewRun, SealedEntry, Store, Submission};
use crate::run::entry::{Entry, Hash};
use crate::run::event::Event;
use crate::run::signal::{Person, Request, Signal};
use crate::run::state::{Run, RunId};

/// Where a store lies, so that a test can open it again beside the first handle or after it.
pub trait Place {
    fn open(&self) -> Arc<dyn Store>;
}

/// An instant of the tests: so many seconds after the beginning.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub const LENGTH: Duration = Duration::from_secs(10);

/// A plan without phases: stores never look into one.
pub fn plan(workflow: &str) -> Arc<Plan> {
    let workflow = serde_json::from_value(serde_json::json!({
        "name": workflow, "labels": {}, "description": null, "inputs": {}, "release": {"image": "registry.example.com/a:v1"},
        "regions": {}, "phases": [], "gates": {}, "metrics": {}, "sources": {}, "calendars": {},
        "rollback": {"scope": "run", "deadline": "1m", "drain": "30s"}, "onConflict": "queue", "schedules": [],
        "notifications": [], "notifiers": {}, "notAvailableYet": [],
    }))
    .unwrap();
    Arc::new(compile(workflow))
}

fn submitted(plan: &Plan, seconds: i64) -> Event {
    Event::Submitted {
        workflow: plan.workflow().name.clone(),
        fingerprint: plan.fingerprint().clone(),
        by: Person::unauthenticated("ana", Vec::new()),
        at: at(seconds),
    }
}

pub fn new_run(plan: &Arc<Plan>, key: Option<&str>, seconds: i64) -> NewRun {
    let plan = plan.clone();
    NewRun {
        key: key.map(str::to_owned),
        plan: plan.clone(),
        first: Box::new(move |run| {
            let (entry, bytes) = Entry::seal(
                1,
                at(seconds),
                "submit".into(),
                vec![submitted(&plan, seconds)],
                Hash::NONE,
            );
            let state = Run::new(run.clone(), plan.clone()).state().clone();
            (entry, bytes, state)
        }),
    }
}

pub async fn create(store: &dyn Store, workflow: &str, seconds: i64) -> RunId {
    store.create(new_run(&plan(workflow), None, seconds)).await.unwrap()
}

pub async fn acquire(store: &dyn Store, run: &RunId, owner: &str, seconds: i64) -> Option<Lease> {
    store.acquire(run, owner, at(seconds), LENGTH).await.unwrap()
}

/// A journal's end, from which a test goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub seq: u64,
    pub hash: Hash,
}

pub async fn end(store: &dyn Store, run: &RunId) -> End {
    let head = store.head(run).await.unwrap();
    End {
        seq: head.seq,
        hash: head.hash,
    }
}

/// One entry behind `end`, without a wake-up.
pub fn step(end: &mut End, seconds: i64) -> Append {
    let after_seq = end.seq;
    let (entry, bytes) = Entry::seal(
        after_seq + 1,
        at(seconds),
        "tick".into(),
        vec![Event::Released],
        end.hash,
    );
    *end = End {
        seq: entry.seq,
        hash: entry.hash,
    };
    Append {
        after_seq,
        entries: vec![SealedEntry {
            seq: entry.seq,
            at: entry.at,
            hash: entry.hash,
            bytes,
        }],
        head: HeadUpdate {
            wake: None,
            outcome: "running".into(),
            is_done: false,
        },
        answers: Vec::new(),
        snapshot: None,
        parks: false,
    }
}

pub fn pause(id: &str) -> Signal {
    Signal {
        id: id.into(),
        by: Person::unauthenticated("ana", Vec::new()),
        ask: Request::Pause {
            freeze_bake: false,
            reason: None,
        },
    }
}

pub(in crate::store::conformance) fn release(id: &str, seconds: i64) -> Submission {
    Submission {
        id: id.into(),
        workflow: "shop".into(),
        inputs: [("version".to_owned(), id.to_owned())].into(),
        by: "ana".into(),
        at: at(seconds),
    }
}

pub(in crate::store::conformance) async fn driven(store: &dyn Store, seconds: i64) -> Lease {
    let run = create(store, "shop", seconds).await;
    acquire(store, &run, "a", seconds).await.unwrap()
}

pub(in crate::store::conformance) fn targets(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Makes one test of each check, for the store that `$open` gives a fresh place of.
#[macro_export]
#[doc(hidden)]
macro_rules! store_conformance {
    ($open:expr) => {
        $crate::store_conformance!($open =>
            journals: [names_are_counted_per_workflow, a_key_starts_one_run, a_plan_is_stored_once, an_append_elsewhere_conflicts, entries_that_are_no_chain_are_refused, a_refused_append_spoils_no_other, a_snapshot_shortens_the_journal, journals_are_read_in_pages, runs_are_listed_newest_first, what_is_unknown_is_said, the_newest_instant_is_known],
            leases: [a_lost_lease_writes_nothing, epochs_rise, a_lease_that_lives_is_not_taken, renewing_keeps_a_lease, parking_gives_the_lease_back, what_is_due_comes_in_order, taking_goes_on_behind_the_first_page, taking_tells_when_the_next_is_due, a_run_down_lease_is_due, an_early_taker_gets_what_is_due_later, quarantine_sets_a_run_aside],
            claims: [claims_are_all_or_nothing, claims_rise, a_freed_target_wakes_who_waits, a_freed_target_wakes_a_driven_run_when_parked, an_overtaken_run_is_superseded],
            locks: [a_lock_has_one_holder_who_keeps_it, a_lock_goes_to_who_came_first, who_asks_no_more_keeps_nobody_waiting, a_lock_outlives_its_holders_lease, an_end_gives_back_every_lock_and_place, a_lock_excludes_under_real_concurrency],
            signals: [a_signal_is_answered_once, a_signal_makes_a_run_due, a_signal_keeps_a_parked_run_due, the_inbox_holds_what_the_owner_must_hear, a_submission_fires_once, a_skipped_instant_does_not_fire],
            handles: [reopening_keeps_everything, two_handles_share_one_store, changes_are_told]);
    };
    ($open:expr => $($group:ident: [$($check:ident),+]),+) => {
        $($(#[tokio::test] async fn $check() {
            let place = $open;
            $crate::store::conformance::$group::$check(&place).await;
        })+)+
    };
}

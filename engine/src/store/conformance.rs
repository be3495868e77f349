//! What every store must keep to: one suite for all of them. Test support, not part of the interface.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::plan::compile::compile;

use crate::ports::store::{
    Answer, Append, Claiming, Error, Fired, HeadUpdate, Lease, NewRun, SealedEntry, Store, Submission,
};
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

fn release(id: &str, seconds: i64) -> Submission {
    Submission {
        id: id.into(),
        workflow: "shop".into(),
        inputs: [("version".to_owned(), id.to_owned())].into(),
        by: "ana".into(),
        at: at(seconds),
    }
}

/// Makes one test of each check, for the store that `$open` gives a fresh place of.
#[macro_export]
#[doc(hidden)]
macro_rules! store_conformance {
    ($open:expr) => {
        $crate::store_conformance!($open =>
            names_are_counted_per_workflow, a_key_starts_one_run, a_plan_is_stored_once, an_append_elsewhere_conflicts,
            entries_that_are_no_chain_are_refused, a_refused_append_spoils_no_other, a_lost_lease_writes_nothing, epochs_rise,
            a_lease_that_lives_is_not_taken, renewing_keeps_a_lease, parking_gives_the_lease_back, what_is_due_comes_in_order,
            taking_goes_on_behind_the_first_page, taking_tells_when_the_next_is_due, a_run_down_lease_is_due,
            an_early_taker_gets_what_is_due_later, claims_are_all_or_nothing, claims_rise, a_freed_target_wakes_who_waits,
            a_freed_target_wakes_a_driven_run_when_parked, an_overtaken_run_is_superseded, a_signal_is_answered_once,
            a_signal_makes_a_run_due, a_signal_keeps_a_parked_run_due, the_inbox_holds_what_the_owner_must_hear,
            a_submission_fires_once, a_skipped_instant_does_not_fire, quarantine_sets_a_run_aside, runs_are_listed_newest_first,
            a_snapshot_shortens_the_journal, journals_are_read_in_pages, what_is_unknown_is_said, the_newest_instant_is_known,
            reopening_keeps_everything, two_handles_share_one_store, changes_are_told);
    };
    ($open:expr => $($check:ident),+) => {
        $(#[tokio::test] async fn $check() {
            let place = $open;
            $crate::store::conformance::$check(&place).await;
        })+
    };
}

pub async fn names_are_counted_per_workflow(place: &dyn Place) {
    let store = place.open();
    for (workflow, name) in [
        ("shop", "shop-0001"),
        ("shop", "shop-0002"),
        ("search", "search-0001"),
        ("shop", "shop-0003"),
    ] {
        assert_eq!(create(&*store, workflow, 0).await, RunId(name.into()));
    }
    let head = store.head(&RunId("shop-0002".into())).await.unwrap();
    assert_eq!((head.workflow.as_str(), head.seq, head.wake), ("shop", 1, Some(at(0))));
    assert_eq!(head.fingerprint, *plan("shop").fingerprint());
}

pub async fn a_key_starts_one_run(place: &dyn Place) {
    let store = place.open();
    let first = store.create(new_run(&plan("shop"), Some("k"), 0)).await.unwrap();
    assert_eq!(store.create(new_run(&plan("shop"), Some("k"), 5)).await.unwrap(), first);
    assert_ne!(store.create(new_run(&plan("shop"), Some("l"), 5)).await.unwrap(), first);
    assert_eq!(store.runs(None, None, 10).await.unwrap().len(), 2);
}

pub async fn a_plan_is_stored_once(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (create(&*store, "shop", 0).await, create(&*store, "shop", 0).await);
    let (one, two) = (store.load(&one).await.unwrap(), store.load(&two).await.unwrap());
    assert!(Arc::ptr_eq(&one.plan, &two.plan));
    let plan = store.plan(plan("shop").fingerprint()).await.unwrap();
    assert_eq!(plan.workflow().name, "shop");
}

pub async fn an_append_elsewhere_conflicts(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let lease = acquire(&*store, &run, "a", 0).await.unwrap();
    let begin = end(&*store, &run).await;
    let mut now = begin;
    store.append(&lease, step(&mut now, 1)).await.unwrap();
    let mut stale = begin;
    let refused = store.append(&lease, step(&mut stale, 2)).await;
    assert!(
        matches!(
            refused,
            Err(Error::Conflict {
                expected: 1,
                found: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(end(&*store, &run).await, now);
    assert_eq!(store.journal(&run, 1, 10).await.unwrap().len(), 2);
}

pub async fn entries_that_are_no_chain_are_refused(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let lease = acquire(&*store, &run, "a", 0).await.unwrap();
    let begin = end(&*store, &run).await;
    // Another history at the same position.
    let mut other = End {
        seq: 1,
        hash: Hash([7; 32]),
    };
    let refused = store.append(&lease, step(&mut other, 1)).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    // A gap.
    let mut far = End {
        seq: 3,
        hash: begin.hash,
    };
    let append = Append {
        after_seq: 1,
        ..step(&mut far, 1)
    };
    let refused = store.append(&lease, append).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    assert_eq!(end(&*store, &run).await, begin);
}

pub async fn a_refused_append_spoils_no_other(place: &dyn Place) {
    let store = place.open();
    let mut appends = Vec::new();
    for number in 0..5 {
        let run = create(&*store, "shop", 0).await;
        let lease = acquire(&*store, &run, "a", 0).await.unwrap();
        let mut at = end(&*store, &run).await;
        if number % 2 == 1 {
            at.seq = 9;
        }
        appends.push((lease, step(&mut at, 1)));
    }
    let runs: Vec<RunId> = appends.iter().map(|(lease, _)| lease.run().clone()).collect();
    let answers = store.append_all(appends).await;
    assert_eq!(
        answers.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true, false, true]
    );
    for (run, answer) in runs.iter().zip(answers) {
        assert_eq!(store.head(run).await.unwrap().seq, if answer.is_ok() { 2 } else { 1 });
    }
}

pub async fn a_lost_lease_writes_nothing(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let zombie = acquire(&*store, &run, "a", 0).await.unwrap();
    let heir = acquire(&*store, &run, "b", 11).await.unwrap();
    let mut at_end = end(&*store, &run).await;
    let before = at_end;
    let refused = store.append(&zombie, step(&mut at_end, 12)).await;
    assert!(matches!(refused, Err(Error::LostLease { .. })), "{refused:?}");
    assert!(matches!(
        store.release(zombie.clone(), None).await,
        Err(Error::LostLease { .. })
    ));
    assert!(matches!(
        store.claim(&zombie, &["t".into()], 0, false).await,
        Err(Error::LostLease { .. })
    ));
    assert!(matches!(
        store.release_claims(&zombie).await,
        Err(Error::LostLease { .. })
    ));
    let renewed = store.renew_all(vec![zombie, heir.clone()], at(12), LENGTH).await;
    assert!(
        matches!(renewed[..], [Err(Error::LostLease { .. }), Ok(_)]),
        "{renewed:?}"
    );
    assert_eq!(end(&*store, &run).await, before);
    let mut at_end = before;
    store.append(&heir, step(&mut at_end, 12)).await.unwrap();
    store.release(heir.clone(), None).await.unwrap();
    let refused = store.append(&heir, step(&mut at_end, 13)).await;
    assert!(matches!(refused, Err(Error::LostLease { .. })), "{refused:?}");
}

pub async fn epochs_rise(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let mut highest = 0;
    for turn in 0..6 {
        // In turns: given back, run out, taken again by the same owner.
        let owner = if turn % 3 == 0 { "a" } else { "b" };
        let lease = acquire(&*store, &run, owner, turn * 20).await.unwrap();
        assert!(lease.epoch() > highest, "{lease:?}");
        highest = lease.epoch();
        if turn % 2 == 0 {
            store.release(lease, Some(at(0))).await.unwrap();
            let taken = store.take("c", at(turn * 20), at(turn * 20), LENGTH, 1).await.unwrap();
            assert!(taken.runs[0].0.epoch() > highest);
            highest = taken.runs[0].0.epoch();
        }
    }
}

pub async fn a_lease_that_lives_is_not_taken(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let lease = acquire(&*store, &run, "a", 0).await.unwrap();
    assert_eq!((lease.owner(), lease.until()), ("a", at(10)));
    assert_eq!(acquire(&*store, &run, "b", 9).await, None);
    assert!(store.take("b", at(9), at(9), LENGTH, 10).await.unwrap().runs.is_empty());
    assert_eq!(store.head(&run).await.unwrap().owner.as_deref(), Some("a"));
    assert!(acquire(&*store, &run, "b", 10).await.is_some());
}

pub async fn renewing_keeps_a_lease(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let lease = acquire(&*store, &run, "a", 0).await.unwrap();
    let renewed = store
        .renew_all(vec![lease.clone()], at(8), LENGTH)
        .await
        .remove(0)
        .unwrap();
    assert_eq!((renewed.epoch(), renewed.until()), (lease.epoch(), at(18)));
    assert_eq!(acquire(&*store, &run, "b", 15).await, None);
    let mut at_end = end(&*store, &run).await;
    store.append(&renewed, step(&mut at_end, 15)).await.unwrap();
}

pub async fn parking_gives_the_lease_back(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let lease = acquire(&*store, &run, "a", 0).await.unwrap();
    let mut at_end = end(&*store, &run).await;
    let mut park = step(&mut at_end, 1);
    park.head.wake = Some(at(60));
    park.parks = true;
    store.append(&lease, park).await.unwrap();
    let head = store.head(&run).await.unwrap();
    assert_eq!((head.owner, head.wake, head.seq), (None, Some(at(60)), 2));
    assert!(store.due(at(59), 10).await.unwrap().is_empty());
    assert_eq!(store.due(at(60), 10).await.unwrap()[0].at, at(60));
}

pub async fn what_is_due_comes_in_order(place: &dyn Place) {
    let store = place.open();
    let mut runs = Vec::new();
    for (index, wake) in [30, 10, 20, 40].into_iter().enumerate() {
        let run = create(&*store, "shop", index as i64).await;
        let lease = acquire(&*store, &run, "a", 0).await.unwrap();
        store.release(lease, Some(at(wake))).await.unwrap();
        runs.push(run);
    }
    let due = store.due(at(35), 10).await.unwrap();
    assert_eq!(
        due.iter().map(|due| &due.run).collect::<Vec<_>>(),
        [&runs[1], &runs[2], &runs[0]]
    );
    assert_eq!(
        due.iter().map(|due| due.at).collect::<Vec<_>>(),
        [at(10), at(20), at(30)]
    );
    assert_eq!(store.due(at(35), 2).await.unwrap(), due[..2]);
}

pub async fn taking_goes_on_behind_the_first_page(place: &dyn Place) {
    let store = place.open();
    for _ in 0..25 {
        create(&*store, "shop", 0).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for expected in [10, 10, 5, 0] {
        let taken = store.take("a", at(1), at(1), LENGTH, 10).await.unwrap();
        assert_eq!(taken.runs.len(), expected);
        for (lease, stored) in taken.runs {
            assert_eq!(stored.unwrap().head.run, *lease.run());
            assert!(seen.insert(lease.run().clone()));
        }
    }
}

pub async fn taking_tells_when_the_next_is_due(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.take("a", at(0), at(0), LENGTH, 10).await.unwrap().next, None);
    for wake in [5, 50] {
        let run = create(&*store, "shop", 0).await;
        let lease = acquire(&*store, &run, "a", 0).await.unwrap();
        store.release(lease, Some(at(wake))).await.unwrap();
    }
    assert_eq!(
        store.take("a", at(0), at(0), LENGTH, 10).await.unwrap().next,
        Some(at(5))
    );
    // The run that is taken now counts by its lease.
    let taken = store.take("a", at(5), at(5), LENGTH, 10).await.unwrap();
    assert_eq!((taken.runs.len(), taken.next), (1, Some(at(15))));
}

pub async fn a_run_down_lease_is_due(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let lease = acquire(&*store, &run, "a", 0).await.unwrap();
    let mut at_end = end(&*store, &run).await;
    store.append(&lease, step(&mut at_end, 1)).await.unwrap();
    assert!(
        store
            .take("b", at(9), at(60), LENGTH, 10)
            .await
            .unwrap()
            .runs
            .is_empty()
    );
    let taken = store.take("b", at(10), at(10), LENGTH, 10).await.unwrap();
    assert_eq!(taken.runs[0].0.owner(), "b");
    assert_eq!(taken.runs[0].1.as_ref().unwrap().entries.len(), 2);
}

pub async fn an_early_taker_gets_what_is_due_later(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    let lease = acquire(&*store, &run, "a", 0).await.unwrap();
    store.release(lease, Some(at(40))).await.unwrap();
    assert!(
        store
            .take("a", at(0), at(39), LENGTH, 10)
            .await
            .unwrap()
            .runs
            .is_empty()
    );
    let taken = store.take("a", at(0), at(40), LENGTH, 10).await.unwrap();
    assert_eq!(taken.runs[0].1.as_ref().unwrap().head.wake, Some(at(40)));
}

async fn driven(store: &dyn Store, seconds: i64) -> Lease {
    let run = create(store, "shop", seconds).await;
    acquire(store, &run, "a", seconds).await.unwrap()
}

fn targets(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub async fn claims_are_all_or_nothing(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (driven(&*store, 0).await, driven(&*store, 0).await);
    assert!(matches!(
        store.claim(&one, &targets(&["x", "y"]), 0, false).await.unwrap(),
        Claiming::Claimed { .. }
    ));
    let busy = store.claim(&two, &targets(&["z", "y"]), 0, false).await.unwrap();
    assert_eq!(
        busy,
        Claiming::Busy {
            target: "y".into(),
            by: one.run().clone(),
            workflow: "shop".into()
        }
    );
    // Nothing of the refused claim was kept.
    let three = driven(&*store, 0).await;
    assert!(matches!(
        store.claim(&three, &targets(&["z"]), 0, false).await.unwrap(),
        Claiming::Claimed { .. }
    ));
}

pub async fn claims_rise(place: &dyn Place) {
    let store = place.open();
    let mut highest = 0;
    for floor in [0, 0, 50, 0] {
        let lease = driven(&*store, 0).await;
        let Claiming::Claimed { claim } = store.claim(&lease, &targets(&["x", "y"]), floor, false).await.unwrap()
        else {
            panic!("the targets are free");
        };
        assert!(
            claim > highest && claim > floor,
            "{claim} after {highest}, floor {floor}"
        );
        highest = claim;
        // Claimed again by its holder, it rises too.
        let again = store.claim(&lease, &targets(&["x", "y"]), 0, false).await.unwrap();
        assert_eq!(again, Claiming::Claimed { claim: highest + 1 });
        highest += 1;
        store.release_claims(&lease).await.unwrap();
    }
}

pub async fn a_freed_target_wakes_who_waits(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (driven(&*store, 0).await, driven(&*store, 0).await);
    store.claim(&one, &targets(&["x"]), 0, false).await.unwrap();
    store.claim(&two, &targets(&["x"]), 0, false).await.unwrap();
    let waiting = two.run().clone();
    store.release(two, Some(at(3_600))).await.unwrap();
    assert!(store.due(at(5), 10).await.unwrap().is_empty());
    store.release_claims(&one).await.unwrap();
    assert_eq!(store.due(at(5), 10).await.unwrap()[0].run, waiting);
    let taken = store.take("a", at(5), at(5), LENGTH, 10).await.unwrap();
    let claimed = store.claim(&taken.runs[0].0, &targets(&["x"]), 0, false).await.unwrap();
    assert_eq!(claimed, Claiming::Claimed { claim: 2 });
}

pub async fn a_freed_target_wakes_a_driven_run_when_parked(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (driven(&*store, 0).await, driven(&*store, 0).await);
    store.claim(&one, &targets(&["x"]), 0, false).await.unwrap();
    store.claim(&two, &targets(&["x"]), 0, false).await.unwrap();
    // The target is given back between the answer "busy" and the parking of the run that heard it.
    store.release_claims(&one).await.unwrap();
    let mut at_end = end(&*store, two.run()).await;
    let mut park = step(&mut at_end, 1);
    park.head.wake = Some(at(3_600));
    park.parks = true;
    store.append(&two, park).await.unwrap();
    assert_eq!(store.due(at(5), 10).await.unwrap()[0].run, *two.run());
}

pub async fn an_overtaken_run_is_superseded(place: &dyn Place) {
    let store = place.open();
    let (old, new) = (driven(&*store, 0).await, driven(&*store, 0).await);
    store.claim(&old, &targets(&["x"]), 0, false).await.unwrap();
    store.release_claims(&old).await.unwrap();
    assert!(matches!(
        store.claim(&old, &targets(&["x"]), 0, true).await.unwrap(),
        Claiming::Claimed { .. }
    ));
    store.release_claims(&old).await.unwrap();
    store.claim(&new, &targets(&["x"]), 0, false).await.unwrap();
    store.release_claims(&new).await.unwrap();
    assert_eq!(
        store.claim(&old, &targets(&["x"]), 0, true).await.unwrap(),
        Claiming::Superseded {
            target: "x".into(),
            by: new.run().clone()
        }
    );
    assert!(matches!(
        store.claim(&new, &targets(&["x"]), 0, true).await.unwrap(),
        Claiming::Claimed { .. }
    ));
}

pub async fn a_signal_is_answered_once(place: &dyn Place) {
    let store = place.open();
    let run = create(&*store, "shop", 0).await;
    store.post(&run, pause("s1"), at(1)).await.unwrap();
    store.post(&run, pause("s1"), at(2)).await.unwrap();
    store.post(&run, pause("s2"), at(2)).await.unwrap();
    assert_eq!(store.signals(&run).await.unwrap(), [pause("s1"), pause("s2")]);
    assert_eq!(store.answer("s1").await.unwrap(), None);
    let lease = acquire(&*store, &run, "a", 3).await.unwrap();
    let mut at_end = end(&*store, &run).await;
    let mut taking = step(&mut at_end, 3);
    taking.answers = vec![("s1".into(), Answer::Taken { seq: 2 })];
    store.append(&lease, taking).await.unwrap();
    // A step without entries may answer too; an answer that is there already stays.
    let refusing = Append {
        entries: Vec::new(),
        answers: ["s1", "s2"]
            .map(|id| (id.into(), Answer::Refused { why: "too late".into() }))
            .into(),
        ..step(&mut at_end.clone(), 4)
    };
    store.append(&lease, refusing).await.unwrap();
    assert_eq!(store.answer("s1").await.unwrap(), Some(Answer::Taken { seq: 2 }));
    assert_eq!(
        store.answer("s2").await.unwrap(),
        Some(Answer::Refused { why: "too late".into() })
    );
    assert_eq!(store.answer("unheard-of").await.unwrap(), None);
    // Delivered again after its answer, it stays answered.
    store.post(&run, pause("s1"), at(9)).await.unwrap();
    assert!(store.signals(&run).await.unwrap().is_empty());
    assert_eq!(end(&*store, &run).await, at_end);
}

pub async fn a_signal_makes_a_run_due(place: &dyn Place) {
    let store = place.open();
    let lease = driven(&*store, 0).await;
    let run = lease.run().clone();
    store.release(lease, None).await.unwrap();
    assert!(store.due(at(3_600), 10).await.unwrap().is_empty());
    store.post(&run, pause("s1"), at(7)).await.unwrap();
    let due = store.due(at(7), 10).await.unwrap();
    assert_eq!((&due[0].run, due[0].at), (&run, at(7)));
    let taken = store.take("a", at(7), at(7), LENGTH, 10).await.unwrap();
    assert_eq!(taken.runs[0].1.as_ref().unwrap().signals, [pause("s1")]);
}

pub async fn a_signal_keeps_a_parked_run_due(place: &dyn Place) {
    let store = place.open();
    let lease = driven(&*store, 0).await;
    store.post(lease.run(), pause("s1"), at(1)).await.unwrap();
    let mut at_end = end(&*store, lease.run()).await;
    let mut park = step(&mut at_end, 2);
    park.parks = true;
    store.append(&lease, park).await.unwrap();
    assert_eq!(store.due(at(2), 10).await.unwrap()[0].run, *lease.run());
    // Given back without an append, too.
    let taken = store.take("a", at(2), at(2), LENGTH, 10).await.unwrap();
    store.release(taken.runs[0].0.clone(), Some(at(60))).await.unwrap();
    let taken = store.take("a", at(2), at(2), LENGTH, 10).await.unwrap();
    // Answered in the step that parks it, nothing waits any more.
    let mut park = step(&mut at_end, 3);
    park.parks = true;
    park.answers = vec![("s1".into(), Answer::Taken { seq: 3 })];
    store.append(&taken.runs[0].0, park).await.unwrap();
    assert!(store.due(at(3_600), 10).await.unwrap().is_empty());
}

pub async fn the_inbox_holds_what_the_owner_must_hear(place: &dyn Place) {
    let store = place.open();
    let (mine, parked) = (driven(&*store, 0).await, driven(&*store, 0).await);
    let theirs = create(&*store, "shop", 0).await;
    acquire(&*store, &theirs, "b", 0).await.unwrap();
    store.release(parked.clone(), None).await.unwrap();
    for (run, id) in [
        (mine.run(), "1"),
        (parked.run(), "2"),
        (&theirs, "3"),
        (mine.run(), "4"),
    ] {
        store.post(run, pause(id), at(1)).await.unwrap();
    }
    let inbox = store.inbox("a", at(2), 10).await.unwrap();
    assert_eq!(
        inbox,
        [(mine.run().clone(), pause("1")), (mine.run().clone(), pause("4"))]
    );
    assert_eq!(store.inbox("a", at(2), 1).await.unwrap().len(), 1);
    assert!(
        store.inbox("a", at(10), 10).await.unwrap().is_empty(),
        "the lease has run out"
    );
}

pub async fn a_submission_fires_once(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.fire("shop", "nightly", at(5)).await.unwrap(), Fired::Nothing);
    for (id, seconds) in [("v1", 6), ("v2", 7), ("v1", 8)] {
        store.submit(release(id, seconds)).await.unwrap();
    }
    assert_eq!(
        store.fire("shop", "nightly", at(5)).await.unwrap(),
        Fired::Already { submission: None }
    );
    assert_eq!(store.fire("other", "nightly", at(10)).await.unwrap(), Fired::Nothing);
    assert_eq!(
        store.fire("shop", "nightly", at(10)).await.unwrap(),
        Fired::Start(release("v2", 7))
    );
    let already = Fired::Already {
        submission: Some(release("v2", 7)),
    };
    assert_eq!(store.fire("shop", "nightly", at(10)).await.unwrap(), already);
    assert_eq!(store.last_fired("shop", "nightly").await.unwrap(), Some(at(10)));
    // The older one was superseded; the newer one is not taken twice, nor submitted again.
    store.submit(release("v2", 11)).await.unwrap();
    assert_eq!(store.fire("shop", "weekly", at(20)).await.unwrap(), Fired::Nothing);
    assert_eq!(
        store.fire("shop", "nightly", at(9)).await.unwrap(),
        Fired::Already { submission: None }
    );
}

pub async fn a_skipped_instant_does_not_fire(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.last_fired("shop", "nightly").await.unwrap(), None);
    store.submit(release("v1", 0)).await.unwrap();
    store.skip("shop", "nightly", at(10)).await.unwrap();
    store.skip("shop", "nightly", at(5)).await.unwrap();
    assert_eq!(store.last_fired("shop", "nightly").await.unwrap(), Some(at(10)));
    assert_eq!(
        store.fire("shop", "nightly", at(10)).await.unwrap(),
        Fired::Already { submission: None }
    );
    assert_eq!(
        store.fire("shop", "nightly", at(11)).await.unwrap(),
        Fired::Start(release("v1", 0))
    );
}

pub async fn quarantine_sets_a_run_aside(place: &dyn Place) {
    let store = place.open();
    let (lease, other) = (driven(&*store, 0).await, create(&*store, "shop", 0).await);
    let run = lease.run().clone();
    store.quarantine(&run, "it made the engine fail").await.unwrap();
    let mut at_end = end(&*store, &run).await;
    assert!(matches!(
        store.append(&lease, step(&mut at_end, 1)).await,
        Err(Error::LostLease { .. })
    ));
    assert_eq!(
        store.head(&run).await.unwrap().quarantined.as_deref(),
        Some("it made the engine fail")
    );
    store.post(&run, pause("s1"), at(1)).await.unwrap();
    let due = store.due(at(3_600), 10).await.unwrap();
    assert_eq!(due.iter().map(|due| &due.run).collect::<Vec<_>>(), [&other]);
    let refused = store.acquire(&run, "a", at(60), LENGTH).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    store.take_back(&run).await.unwrap();
    assert_eq!(store.due(at(1), 10).await.unwrap().len(), 2);
    assert!(acquire(&*store, &run, "a", 2).await.unwrap().epoch() > lease.epoch());
}

pub async fn runs_are_listed_newest_first(place: &dyn Place) {
    let store = place.open();
    let mut all = Vec::new();
    for number in 0..7 {
        all.insert(
            0,
            create(&*store, if number % 2 == 0 { "shop" } else { "search" }, number).await,
        );
    }
    for workflow in [None, Some("shop"), Some("search"), Some("none")] {
        let expected: Vec<&RunId> = all
            .iter()
            .filter(|run| workflow.is_none_or(|workflow| run.0.starts_with(workflow)))
            .collect();
        let mut listed = Vec::new();
        loop {
            let page = store.runs(workflow, listed.last(), 2).await.unwrap();
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|head| head.run));
        }
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
    }
}

pub async fn a_snapshot_shortens_the_journal(place: &dyn Place) {
    let store = place.open();
    let lease = driven(&*store, 0).await;
    let run = lease.run().clone();
    let mut at_end = end(&*store, &run).await;
    for number in 2..=9 {
        let mut append = step(&mut at_end, number);
        append.snapshot = (number % 3 == 0).then(|| format!("as of {number}").into_bytes());
        store.append(&lease, append).await.unwrap();
        let stored = store.load(&run).await.unwrap();
        let newest = number / 3 * 3;
        let expected = (newest > 0).then(|| format!("as of {newest}").into_bytes());
        assert_eq!(stored.snapshot, expected);
        let seqs: Vec<u64> = stored.entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, (newest as u64 + 1..=number as u64).collect::<Vec<_>>());
    }
}

pub async fn journals_are_read_in_pages(place: &dyn Place) {
    let store = place.open();
    let lease = driven(&*store, 0).await;
    let mut at_end = end(&*store, lease.run()).await;
    let mut many = step(&mut at_end, 1);
    for number in 3..=10 {
        many.entries.extend(step(&mut at_end, number).entries);
    }
    store.append(&lease, many).await.unwrap();
    let mut hash = Hash::NONE;
    for (from, limit, expected) in [(1, 4, 1..=4), (5, 4, 5..=8), (9, 4, 9..=10)] {
        let page = store.journal(lease.run(), from, limit).await.unwrap();
        assert_eq!(
            page.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
            expected.collect::<Vec<u64>>()
        );
        for raw in page {
            hash = Entry::open(&raw.bytes, raw.hash, hash, raw.seq).unwrap().hash;
        }
    }
    assert_eq!(hash, at_end.hash);
    assert!(store.journal(lease.run(), 11, 4).await.unwrap().is_empty());
    assert_eq!(store.load(lease.run()).await.unwrap().entries.len(), 10);
}

pub async fn what_is_unknown_is_said(place: &dyn Place) {
    let store = place.open();
    create(&*store, "shop", 0).await;
    for name in ["shop-0002", "shop-1", "shop", "", "none-0001"] {
        let run = RunId(name.into());
        assert!(matches!(store.head(&run).await, Err(Error::UnknownRun(_))), "{name}");
        assert!(matches!(store.load(&run).await, Err(Error::UnknownRun(_))), "{name}");
        assert!(
            matches!(store.journal(&run, 1, 1).await, Err(Error::UnknownRun(_))),
            "{name}"
        );
        assert!(
            matches!(store.acquire(&run, "a", at(0), LENGTH).await, Err(Error::UnknownRun(_))),
            "{name}"
        );
        assert!(
            matches!(store.post(&run, pause("s"), at(0)).await, Err(Error::UnknownRun(_))),
            "{name}"
        );
        assert!(
            matches!(store.quarantine(&run, "why").await, Err(Error::UnknownRun(_))),
            "{name}"
        );
        assert!(
            matches!(store.runs(None, Some(&run), 1).await, Err(Error::UnknownRun(_))),
            "{name}"
        );
    }
    let missing = store.plan(plan("other").fingerprint()).await;
    assert!(matches!(missing, Err(Error::UnknownPlan(_))));
}

pub async fn the_newest_instant_is_known(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.newest_instant().await.unwrap(), None);
    create(&*store, "shop", 4).await;
    let lease = driven(&*store, 2).await;
    assert_eq!(store.newest_instant().await.unwrap(), Some(at(4)));
    let mut at_end = end(&*store, lease.run()).await;
    store.append(&lease, step(&mut at_end, 9)).await.unwrap();
    assert_eq!(store.newest_instant().await.unwrap(), Some(at(9)));
}

pub async fn reopening_keeps_everything(place: &dyn Place) {
    let (run, at_end, head) = {
        let store = place.open();
        let lease = driven(&*store, 0).await;
        let mut at_end = end(&*store, lease.run()).await;
        let mut append = step(&mut at_end, 1);
        append.head = HeadUpdate {
            wake: Some(at(77)),
            outcome: "held".into(),
            is_done: true,
        };
        store.append(&lease, append).await.unwrap();
        store.claim(&lease, &targets(&["x"]), 41, false).await.unwrap();
        store.post(lease.run(), pause("s1"), at(2)).await.unwrap();
        store.submit(release("v1", 0)).await.unwrap();
        store.skip("shop", "nightly", at(3)).await.unwrap();
        let head = store.head(lease.run()).await.unwrap();
        (lease.run().clone(), at_end, head)
    };
    let store = place.open();
    assert_eq!(store.head(&run).await.unwrap(), head);
    assert_eq!(
        (head.outcome.as_str(), head.is_done, head.wake),
        ("held", true, Some(at(77)))
    );
    assert_eq!(end(&*store, &run).await, at_end);
    let stored = store.load(&run).await.unwrap();
    assert_eq!((stored.entries.len(), stored.signals), (2, vec![pause("s1")]));
    assert_eq!(stored.plan.fingerprint(), plan("shop").fingerprint());
    let heir = acquire(&*store, &run, "b", 20).await.unwrap();
    assert_eq!(heir.epoch(), 2);
    assert_eq!(
        store.claim(&heir, &targets(&["x"]), 0, false).await.unwrap(),
        Claiming::Claimed { claim: 43 }
    );
    assert_eq!(store.last_fired("shop", "nightly").await.unwrap(), Some(at(3)));
    assert_eq!(
        store.fire("shop", "nightly", at(4)).await.unwrap(),
        Fired::Start(release("v1", 0))
    );
    assert_eq!(create(&*store, "shop", 30).await, RunId("shop-0002".into()));
}

pub async fn two_handles_share_one_store(place: &dyn Place) {
    let (one, two) = (place.open(), place.open());
    let mut names = std::collections::BTreeSet::new();
    for turn in 0..10 {
        let store = if turn % 2 == 0 { &one } else { &two };
        assert!(names.insert(create(&**store, "shop", 0).await));
    }
    // Each run goes to one of them.
    let (mine, yours) = tokio::join!(
        one.take("a", at(1), at(1), LENGTH, 10),
        two.take("b", at(1), at(1), LENGTH, 10)
    );
    let (mine, yours) = (mine.unwrap().runs, yours.unwrap().runs);
    assert_eq!(mine.len() + yours.len(), 10);
    for (lease, _) in mine.iter().chain(&yours) {
        assert!(names.remove(lease.run()));
    }
    for (store, taken) in [(&one, mine), (&two, yours)] {
        for (lease, _) in taken {
            let mut at_end = end(&**store, lease.run()).await;
            store.append(&lease, step(&mut at_end, 2)).await.unwrap();
        }
    }
    let heads = (
        one.runs(None, None, 20).await.unwrap(),
        two.runs(None, None, 20).await.unwrap(),
    );
    assert_eq!(heads.0, heads.1);
    assert!(heads.0.iter().all(|head| head.seq == 2));
}

/// The long wait is never lived through: a change ends it, also one that came before the call and one by another handle.
pub async fn changes_are_told(place: &dyn Place) {
    let (one, two) = (place.open(), place.open());
    let long = std::time::Duration::from_secs(3_600);
    let run = create(&*one, "shop", 0).await;
    one.changed(long).await;
    for (index, poster) in [&one, &two].into_iter().enumerate() {
        let id = format!("s{index}");
        let ((), posted) = tokio::join!(one.changed(long), async {
            tokio::task::yield_now().await;
            poster.post(&run, pause(&id), at(1)).await
        });
        posted.unwrap();
    }
    one.changed(std::time::Duration::ZERO).await;
}

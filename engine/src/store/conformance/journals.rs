//! Runs and their journals: names, positions, chains, pages.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use crate::ports::store::{Append, Error};
use crate::run::entry::{Entry, Hash};
use crate::run::state::RunId;
use crate::store::conformance::{End, LENGTH, Place, acquire, at, create, driven, end, new_run, pause, plan, step};

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

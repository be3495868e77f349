//! What people ask and submit: once each.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::ports::store::{Answer, Append, Fired};
use crate::store::conformance::{LENGTH, Place, acquire, at, create, driven, end, pause, release, step};

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

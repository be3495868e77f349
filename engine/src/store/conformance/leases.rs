//! Who drives a run, until when, and what is due next.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::ports::store::Error;
use crate::store::conformance::{LENGTH, Place, acquire, at, create, driven, end, pause, step};

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

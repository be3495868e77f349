//! Several handles on one store, one after another and side by side.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::ports::store::{Claiming, Fired, HeadUpdate};
use crate::run::state::RunId;
use crate::store::conformance::{LENGTH, Place, acquire, at, create, driven, end, pause, plan, release, step, targets};

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

//! Targets: all or none, with numbers that rise, and those who wait are woken.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::ports::store::Claiming;
use crate::store::conformance::{LENGTH, Place, at, driven, end, step, targets};

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

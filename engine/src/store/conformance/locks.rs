//! Locks: one holder, first come first served, whatever happens to leases.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ports::store::{Claiming, Error, LOCK_PATIENCE, Locking};
use crate::store::conformance::{Place, acquire, at, driven, targets};

pub async fn a_lock_has_one_holder_who_keeps_it(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (driven(&*store, 0).await, driven(&*store, 0).await);
    let held = Locking::Held { number: 1 };
    assert_eq!(store.lock(&one, "db", at(0)).await.unwrap(), held);
    // Asked again, it is the same hold.
    assert_eq!(store.lock(&one, "db", at(1)).await.unwrap(), held);
    let waits = Locking::Waits {
        by: one.run().clone(),
        ahead: 1,
    };
    assert_eq!(store.lock(&two, "db", at(1)).await.unwrap(), waits);
    assert!(matches!(
        store.lock(&two, "cache", at(1)).await.unwrap(),
        Locking::Held { .. }
    ));
    // Nobody gives back what another holds.
    store.unlock(&two, "db").await.unwrap();
    assert_eq!(store.lock(&two, "db", at(2)).await.unwrap(), waits);
    store.unlock(&one, "db").await.unwrap();
    assert_eq!(
        store.lock(&two, "db", at(3)).await.unwrap(),
        Locking::Held { number: 2 }
    );
    store.unlock(&one, "db").await.unwrap();
    assert!(matches!(
        store.lock(&one, "db", at(4)).await.unwrap(),
        Locking::Waits { .. }
    ));
}

pub async fn a_lock_goes_to_who_came_first(place: &dyn Place) {
    let store = place.open();
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(driven(&*store, 0).await);
    }
    for run in &runs {
        store.lock(run, "db", at(0)).await.unwrap();
    }
    store.unlock(&runs[0], "db").await.unwrap();
    let first = |ahead| Locking::Waits {
        by: runs[1].run().clone(),
        ahead,
    };
    assert_eq!(store.lock(&runs[3], "db", at(1)).await.unwrap(), first(2));
    assert_eq!(store.lock(&runs[2], "db", at(1)).await.unwrap(), first(1));
    assert!(matches!(
        store.lock(&runs[1], "db", at(1)).await.unwrap(),
        Locking::Held { .. }
    ));
    // The next in line leaves; the one after it is next.
    store.unlock(&runs[2], "db").await.unwrap();
    store.unlock(&runs[1], "db").await.unwrap();
    assert!(matches!(
        store.lock(&runs[3], "db", at(2)).await.unwrap(),
        Locking::Held { .. }
    ));
}

pub async fn who_asks_no_more_keeps_nobody_waiting(place: &dyn Place) {
    let store = place.open();
    let (one, gone, three) = (
        driven(&*store, 0).await,
        driven(&*store, 0).await,
        driven(&*store, 0).await,
    );
    for run in [&one, &gone, &three] {
        store.lock(run, "db", at(0)).await.unwrap();
    }
    store.unlock(&one, "db").await.unwrap();
    let late = at(LOCK_PATIENCE.as_millis() as i64 / 1_000);
    assert!(matches!(
        store.lock(&three, "db", at(100)).await.unwrap(),
        Locking::Waits { .. }
    ));
    assert!(matches!(
        store.lock(&three, "db", late).await.unwrap(),
        Locking::Held { .. }
    ));
}

pub async fn a_lock_outlives_its_holders_lease(place: &dyn Place) {
    let store = place.open();
    let (dead, two) = (driven(&*store, 0).await, driven(&*store, 0).await);
    store.lock(&dead, "db", at(0)).await.unwrap();
    // The process dies; another takes the run over and finds its lock.
    let run = dead.run().clone();
    let alive = acquire(&*place.open(), &run, "b", 60).await.unwrap();
    assert!(matches!(
        store.lock(&two, "db", at(60)).await.unwrap(),
        Locking::Waits { .. }
    ));
    assert_eq!(
        store.lock(&alive, "db", at(60)).await.unwrap(),
        Locking::Held { number: 1 }
    );
    // The dead one, should it wake, neither takes nor gives.
    assert!(matches!(store.unlock(&dead, "db").await, Err(Error::LostLease { .. })));
    assert!(matches!(
        store.lock(&dead, "db", at(61)).await,
        Err(Error::LostLease { .. })
    ));
    assert!(matches!(
        store.lock(&two, "db", at(61)).await.unwrap(),
        Locking::Waits { .. }
    ));
}

pub async fn an_end_gives_back_every_lock_and_place(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (driven(&*store, 0).await, driven(&*store, 0).await);
    store.claim(&one, &targets(&["x"]), 0, false).await.unwrap();
    store.lock(&one, "db", at(0)).await.unwrap();
    store.lock(&two, "db", at(0)).await.unwrap();
    store.lock(&two, "cache", at(0)).await.unwrap();
    store.lock(&one, "cache", at(0)).await.unwrap();
    let waiting = two.run().clone();
    store.release(two, Some(at(3_600))).await.unwrap();
    store.release_claims(&one).await.unwrap();
    // Who waits for the lock is due at once.
    assert_eq!(store.due(at(5), 10).await.unwrap()[0].run, waiting);
    let two = acquire(&*store, &waiting, "a", 5).await.unwrap();
    assert!(matches!(
        store.lock(&two, "db", at(5)).await.unwrap(),
        Locking::Held { .. }
    ));
    store.unlock(&two, "cache").await.unwrap();
    let three = driven(&*store, 5).await;
    assert!(matches!(
        store.lock(&three, "cache", at(5)).await.unwrap(),
        Locking::Held { .. }
    ));
    // A lock is no target, though it has the same name.
    let claimed = store.claim(&three, &targets(&["db"]), 0, false).await.unwrap();
    assert!(matches!(claimed, Claiming::Claimed { .. }));
}

/// Eight runs through two handles at once, each taking the lock five times: never two inside.
pub async fn a_lock_excludes_under_real_concurrency(place: &dyn Place) {
    let inside = Arc::new(AtomicUsize::new(0));
    let mut runs = Vec::new();
    let handles = [place.open(), place.open()];
    for index in 0..8_usize {
        let store = Arc::clone(&handles[index % 2]);
        let lease = driven(&*store, 0).await;
        let inside = Arc::clone(&inside);
        runs.push(tokio::spawn(async move {
            for _ in 0..5 {
                while !matches!(store.lock(&lease, "db", at(1)).await.unwrap(), Locking::Held { .. }) {
                    tokio::task::yield_now().await;
                }
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two runs hold one lock");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                store.unlock(&lease, "db").await.unwrap();
            }
        }));
    }
    for run in runs {
        run.await.unwrap();
    }
}

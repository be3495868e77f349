//! What only a file can go wrong with.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::Sqlite;
use crate::ports::store::{Error, Store};
use crate::run::state::RunId;
use crate::store::conformance::{LENGTH, Place, acquire, at, create, end, new_run, plan, step};

struct Directory(TempDir);

impl Directory {
    fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn store(&self) -> Sqlite {
        Sqlite::open(&self.file()).unwrap()
    }

    /// Why it cannot be opened.
    fn refusal(&self) -> String {
        match Sqlite::open(&self.file()) {
            Err(Error::Refused(why)) => why,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it opened"),
        }
    }

    fn raw(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}

impl Place for Directory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }
}

crate::store_conformance!(Directory::new());

/// A run with this many entries, given back.
async fn run_of(store: &Sqlite, began: i64, entries: u64) -> RunId {
    let run = create(store, "shop", began).await;
    let lease = acquire(store, &run, "a", 0).await.unwrap();
    let mut at_end = end(store, &run).await;
    for number in 2..=entries {
        store.append(&lease, step(&mut at_end, number as i64)).await.unwrap();
    }
    store.release(lease, None).await.unwrap();
    run
}

async fn why_damaged(store: &Sqlite, run: &RunId) -> String {
    match store.load(run).await {
        Err(Error::Damaged { why, .. }) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the damage was not found"),
    }
}

#[tokio::test]
async fn every_kind_of_damage_to_a_journal_is_found_and_named() {
    let damages = [
        (
            "UPDATE entries SET body = replace(body, 'tick', 'tock') WHERE run = 1 AND seq = 3",
            "entry 3",
        ),
        (
            "UPDATE entries SET hash = zeroblob(32) WHERE run = 1 AND seq = 3",
            "entry 3",
        ),
        ("UPDATE entries SET hash = 'short' WHERE run = 1 AND seq = 3", "entry 3"),
        (
            "UPDATE entries SET body = CAST(replace(body, 'tick', 'tock') AS BLOB) WHERE run = 1 AND seq = 4",
            "entry 4",
        ),
        ("UPDATE heads SET hash = 'short' WHERE id = 1", ""),
        ("DELETE FROM entries WHERE run = 1 AND seq = 3", "entry 3 is missing"),
        ("DELETE FROM entries WHERE run = 1 AND seq = 5", "entry 5 is missing"),
        (
            "UPDATE entries SET seq = 9 - seq WHERE run = 1 AND seq IN (4, 5)",
            "entry 4",
        ),
        ("UPDATE entries SET run = 3 - run", "entry"),
        ("UPDATE heads SET seq = 4 WHERE id = 1", ""),
        (
            "UPDATE heads SET hash = zeroblob(32) WHERE id = 1",
            "the head names another entry",
        ),
    ];
    for (sql, named) in damages {
        let place = Directory::new();
        let store = place.store();
        let (run, other) = (run_of(&store, 0, 5).await, run_of(&store, 1, 5).await);
        assert_eq!(store.load(&run).await.unwrap().entries.len(), 5);
        assert!(place.raw().execute(sql, []).unwrap() > 0);
        let why = why_damaged(&store, &run).await;
        assert!(why.contains(named), "{sql}: {why}");
        if !sql.contains("3 - run") {
            assert_eq!(store.load(&other).await.unwrap().entries.len(), 5, "{sql}");
        }
        // What is left can still be shown, so that `journal --verify` can say where it breaks.
        let shown = store.journal(&run, 1, 100).await;
        assert!(
            sql.contains("heads") || shown.is_ok_and(|entries| entries.len() >= 4),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn a_broken_link_in_a_sound_journal_harms_nobody() {
    let place = Directory::new();
    let store = place.store();
    let run = run_of(&store, 0, 5).await;
    place
        .raw()
        .execute("UPDATE entries SET prev = 77 WHERE seq = 4", [])
        .unwrap();
    assert_eq!(store.load(&run).await.unwrap().entries.len(), 5);
}

#[tokio::test]
async fn a_damaged_snapshot_is_left_out() {
    let place = Directory::new();
    let store = place.store();
    let run = create(&store, "shop", 0).await;
    let lease = acquire(&store, &run, "a", 0).await.unwrap();
    let mut at_end = end(&store, &run).await;
    let mut append = step(&mut at_end, 1);
    append.snapshot = Some(b"a state".to_vec());
    store.append(&lease, append).await.unwrap();
    assert_eq!(
        store.load(&run).await.unwrap().snapshot.as_deref(),
        Some(&b"a state"[..])
    );
    for body in ["CAST('b state' AS BLOB)", "'a state'", "7"] {
        let spoil = format!("UPDATE snapshots SET body = {body}");
        place.raw().execute(&spoil, []).unwrap();
        let stored = store.load(&run).await.unwrap();
        assert_eq!((stored.snapshot, stored.entries.len()), (None, 2), "{body}");
    }
}

#[tokio::test]
async fn another_history_is_not_continued() {
    let place = Directory::new();
    let store = place.store();
    let run = create(&store, "shop", 0).await;
    let lease = acquire(&store, &run, "a", 0).await.unwrap();
    let mut at_end = end(&store, &run).await;
    place.raw().execute("UPDATE heads SET hash = zeroblob(32)", []).unwrap();
    let refused = store.append(&lease, step(&mut at_end, 1)).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_full_disk_fails_the_request_and_the_next_one_succeeds_once_there_is_room() {
    let place = Directory::new();
    let store = place.store();
    let run = create(&store, "shop", 0).await;
    let lease = acquire(&store, &run, "a", 0).await.unwrap();
    // As large as the file is: the next new page finds no room.
    let limited =
        |pages: i64| {
            let store = &store;
            async move {
                store
                    .write(super::Stirs::Nobody, move |connection| {
                        Ok(connection
                            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?)
                    })
                    .await
                    .unwrap()
            }
        };
    limited(1).await;
    let mut at_end = end(&store, &run).await;
    let before = at_end;
    let big = |at_end: &mut _| {
        let mut append = step(at_end, 1);
        append.snapshot = Some(vec![7; 100_000]);
        append
    };
    let failed = store.append(&lease, big(&mut at_end)).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    assert_eq!(end(&store, &run).await, before);
    assert_eq!(store.journal(&run, 1, 10).await.unwrap().len(), 1);
    limited(1_000_000).await;
    let mut at_end = before;
    store.append(&lease, big(&mut at_end)).await.unwrap();
    assert_eq!(store.load(&run).await.unwrap().head.seq, 2);
}

#[tokio::test]
async fn a_panic_in_one_request_ends_neither_the_others_nor_the_store() {
    let place = Directory::new();
    let store = place.store();
    let mut poisoned = new_run(&plan("shop"), None, 0);
    poisoned.first = Box::new(|_| panic!("as asked"));
    let failed = store.create(poisoned).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    assert_eq!(create(&store, "shop", 0).await, RunId("shop-0001".into()));
}

#[tokio::test]
async fn a_dropped_request_harms_nobody() {
    let place = Directory::new();
    let store = place.store();
    for _ in 0..20 {
        let request = create(&store, "shop", 0);
        drop(tokio::time::timeout(std::time::Duration::ZERO, request).await);
    }
    create(&store, "shop", 0).await;
    let runs = store.runs(None, None, 100).await.unwrap();
    assert_eq!(runs.len() as u32, runs[0].run.0[5..].parse::<u32>().unwrap());
}

#[tokio::test]
async fn a_file_that_was_replaced_while_in_use_gets_no_more_writes() {
    for is_replaced in [false, true] {
        let place = Directory::new();
        let store = place.store();
        let run = create(&store, "shop", 0).await;
        std::fs::rename(place.file(), place.0.path().join("elsewhere")).unwrap();
        if is_replaced {
            std::fs::copy(place.0.path().join("elsewhere"), place.file()).unwrap();
        }
        for _ in 0..3 {
            let refused = store
                .acquire(
                    &run,
                    "a",
                    crate::store::conformance::at(0),
                    crate::store::conformance::LENGTH,
                )
                .await;
            assert!(
                matches!(&refused, Err(Error::Refused(why)) if why.contains("replaced")),
                "{refused:?}"
            );
        }
        drop(store);
        assert_eq!(
            place.file().exists(),
            is_replaced,
            "a removed file must not come back empty"
        );
    }
}

#[tokio::test]
async fn an_older_copy_is_refused_until_the_anchor_is_removed() {
    let place = Directory::new();
    create(&place.store(), "shop", 0).await;
    let backup = place.0.path().join("backup");
    std::fs::copy(place.file(), &backup).unwrap();
    create(&place.store(), "shop", 1).await;
    std::fs::copy(&backup, place.file()).unwrap();
    let why = place.refusal();
    assert!(why.contains("older copy"), "{why}");
    std::fs::remove_file(place.0.path().join("state.db.anchor")).unwrap();
    assert_eq!(place.store().runs(None, None, 10).await.unwrap().len(), 1);
}

#[test]
fn what_is_no_store_is_refused() {
    let place = Directory::new();
    std::fs::write(place.file(), "apiVersion: meridian/v1\n".repeat(100)).unwrap();
    assert!(place.refusal().contains("is not a store"), "{}", place.refusal());

    let place = Directory::new();
    place.raw().execute_batch("CREATE TABLE notes (text)").unwrap();
    assert!(place.refusal().contains("is not a store"), "{}", place.refusal());

    let place = Directory::new();
    drop(place.store());
    place.raw().pragma_update(None, "user_version", 3).unwrap();
    let why = place.refusal();
    assert!(why.contains("has format 3; this build reads up to 2"), "{why}");
}

#[test]
fn a_migration_that_was_interrupted_begins_again() {
    let place = Directory::new();
    {
        let raw = place.raw();
        raw.execute_batch("BEGIN").unwrap();
        raw.execute_batch(include_str!("schema.sql")).unwrap();
        // The process ends here: nothing was committed.
    }
    drop(place.store());
    drop(place.store());
}

#[tokio::test]
async fn a_log_under_load_stays_bounded() {
    let place = Directory::new();
    let store = place.store();
    let run = create(&store, "shop", 0).await;
    let lease = acquire(&store, &run, "a", 0).await.unwrap();
    let mut at_end = end(&store, &run).await;
    for number in 0..400 {
        let mut append = step(&mut at_end, number);
        append.snapshot = Some(vec![number as u8; 400_000]);
        store.append(&lease, append).await.unwrap();
    }
    // 160 MB went through it.
    let log = std::fs::metadata(place.0.path().join("state.db-wal")).unwrap().len();
    assert!(log < 80_000_000, "{log} bytes");
    assert_eq!(store.load(&run).await.unwrap().head.seq, 401);
}

#[tokio::test]
async fn a_damaged_head_keeps_no_other_run_from_being_taken() {
    let place = Directory::new();
    let store = place.store();
    for number in 0..3 {
        create(&store, "shop", number).await;
    }
    place
        .raw()
        .execute("UPDATE heads SET workflow = 77 WHERE id = 2", [])
        .unwrap();
    let taken = store.take("a", at(9), at(9), LENGTH, 10).await.unwrap();
    let runs: Vec<&str> = taken.runs.iter().map(|(lease, _)| lease.run().0.as_str()).collect();
    assert_eq!(runs, ["shop-0001", "shop-0003"]);
}

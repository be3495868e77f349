//! The file store against the world: processes that are killed, logs that are torn, bits that flip.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;
use meridian_engine::ports::store::{Answer, Error, Lease, Store};
use meridian_engine::run::entry::Entry;
use meridian_engine::run::state::RunId;
use meridian_engine::store::conformance::{End, LENGTH, at, create, end, new_run, pause, plan, step};
use meridian_engine::store::sqlite::Sqlite;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Processes that are killed, two at a time on one file.
const KILLS: usize = 30;

const FILE: &str = "MERIDIAN_TEST_STORE";
const OWNER: &str = "MERIDIAN_TEST_OWNER";
const ROUND: &str = "MERIDIAN_TEST_ROUND";

/// What two processes acknowledged before they were killed: hashes by run and position, and keys of starts.
#[derive(Default)]
struct Acknowledged {
    entries: BTreeMap<(RunId, u64), String>,
    starts: BTreeMap<String, RunId>,
    answers: Vec<String>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["entry", run, seq, hash] => {
                let place = (RunId(run.into()), seq.parse().unwrap());
                let before = self.entries.insert(place, hash.into());
                assert!(before.is_none_or(|before| before == hash), "written twice: {line}");
            }
            ["start", key, run] => {
                let before = self.starts.insert(key.into(), RunId(run.into()));
                assert!(before.is_none_or(|before| before.0 == run), "started twice: {line}");
            }
            ["answer", id] => self.answers.push(id.into()),
            // The test harness talks on the same pipe, and the last line may be cut off.
            _ => {}
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_of_two_processes_on_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let mut random = StdRng::seed_from_u64(0x5eed);
    let mut acknowledged = Acknowledged::default();
    for round in 0..KILLS / 2 {
        let mut children = ["a", "b"].map(|owner| spawn(&file, owner, round));
        let pipes = children.each_mut().map(|child| child.stdout.take().unwrap());
        let patience = [random.random_range(1..150), random.random_range(1..150)];
        let heard: Vec<String> = std::thread::scope(|scope| {
            let listeners: Vec<_> = pipes
                .into_iter()
                .zip(&mut children)
                .zip(patience)
                .map(|((pipe, child), patience)| scope.spawn(move || listen(pipe, child, patience)))
                .collect();
            listeners
                .into_iter()
                .flat_map(|listener| listener.join().unwrap())
                .collect()
        });
        for line in heard {
            acknowledged.note(&line);
        }
        check(&file, &acknowledged);
    }
    assert!(acknowledged.entries.len() > KILLS, "the processes did next to nothing");
    assert!(!acknowledged.starts.is_empty() && !acknowledged.answers.is_empty());
}

fn spawn(file: &Path, owner: &str, round: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "stores::a_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FILE, file)
        .env(OWNER, owner)
        .env(ROUND, round.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Kills the process after so many lines; what it had written to the pipe before counts all the same.
fn listen(pipe: impl Read, child: &mut Child, patience: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(pipe);
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 {
        // A line that was cut off by the kill was not said.
        if let Some(whole) = line.strip_suffix('\n') {
            lines.push(whole.to_owned());
        }
        line.clear();
        if lines.len() == patience {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the process ended by itself: {lines:?}");
    lines
}

/// Everything that was acknowledged is there, every journal is one unbroken chain, and nothing else is amiss.
fn check(file: &Path, acknowledged: &Acknowledged) {
    block_on(async {
        let store = Sqlite::open(file).unwrap();
        let mut found: BTreeMap<RunId, Vec<Entry>> = BTreeMap::new();
        for head in store.runs(None, None, 10_000).await.unwrap() {
            let mut entries: Vec<Entry> = Vec::new();
            for raw in store.journal(&head.run, 1, 100_000).await.unwrap() {
                let prev = entries.last().map(|entry| entry.hash).unwrap_or_default();
                entries.push(Entry::open(&raw.bytes, raw.hash, prev, entries.len() as u64 + 1).unwrap());
            }
            assert_eq!(entries.len() as u64, head.seq);
            store.load(&head.run).await.unwrap();
            found.insert(head.run, entries);
        }
        for ((run, seq), hash) in &acknowledged.entries {
            let entry = found.get(run).and_then(|entries| entries.get(*seq as usize - 1));
            assert_eq!(
                entry.map(|entry| entry.hash.to_string()).as_ref(),
                Some(hash),
                "{run} {seq}"
            );
        }
        for (key, run) in &acknowledged.starts {
            // Asked for again, it is the same run.
            assert_eq!(store.create(new_run(&plan("shop"), Some(key), 0)).await.unwrap(), *run);
        }
        assert_eq!(store.runs(None, None, 10_000).await.unwrap().len(), found.len());
        for id in &acknowledged.answers {
            assert!(store.answer(id).await.unwrap().is_some(), "{id}");
        }
    });
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// Not a test of its own: the process that the test above starts and kills. It says on stdout what was acknowledged to it.
#[test]
#[ignore = "started by another test"]
fn a_process_that_is_killed() {
    let (Ok(file), Ok(owner), Ok(round)) = (std::env::var(FILE), std::env::var(OWNER), std::env::var(ROUND)) else {
        return;
    };
    let round: i64 = round.parse().unwrap();
    block_on(async {
        let store = Sqlite::open(Path::new(&file)).unwrap();
        // Leases of earlier rounds have run out, those of this round have not.
        let now = round * 1_000;
        for turn in 0.. {
            let key = format!("{owner}-{round}-{turn}");
            let run = store.create(new_run(&plan("shop"), Some(&key), now)).await.unwrap();
            say(&format!("start {key} {run}"));
            store.post(&run, pause(&key), at(now)).await.unwrap();
            let taken = store.take(&owner, at(now), at(now), LENGTH, 6).await.unwrap();
            join_all(taken.runs.into_iter().map(|(lease, stored)| {
                let signals = stored.unwrap().signals.into_iter().map(|signal| signal.id).collect();
                drive(&store, lease, signals, now)
            }))
            .await;
        }
    });
}

/// Some steps of one run; the last answers what waited and parks the run, due again at once.
async fn drive(store: &Sqlite, lease: Lease, signals: Vec<String>, now: i64) {
    let mut position = end(store, lease.run()).await;
    for number in 0..8 {
        let mut append = step(&mut position, now);
        let second = step(&mut position, now);
        append.entries.extend(second.entries);
        append.snapshot = (number % 3 == 0).then(|| position.seq.to_string().into_bytes());
        append.parks = number == 7;
        append.head.wake = Some(at(now));
        if append.parks {
            let answer = |id: &String| (id.clone(), Answer::Taken { seq: position.seq });
            append.answers = signals.iter().map(answer).collect();
        }
        let said: Vec<String> = append
            .entries
            .iter()
            .map(|entry| format!("entry {} {} {}", lease.run(), entry.seq, entry.hash))
            .collect();
        store.append(&lease, append).await.unwrap();
        said.iter().for_each(|line| say(line));
    }
    signals.iter().for_each(|id| say(&format!("answer {id}")));
}

/// One write a line, past the harness's own buffer.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// A power cut may leave any part of what was not yet flushed. Only a log that is cut behind an acknowledged append must hold it.
#[test]
fn a_torn_log_comes_back_to_a_prefix_with_all_that_was_flushed_before_the_tear() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let log = directory.path().join("state.db-wal");
    let mut flushed: Vec<(u64, End)> = Vec::new();
    let store = Sqlite::open(&file).unwrap();
    let run = block_on(async {
        let run = create(&store, "shop", 0).await;
        let lease = store.acquire(&run, "a", at(0), LENGTH).await.unwrap().unwrap();
        let mut position = end(&store, &run).await;
        for number in 0..25 {
            flushed.push((std::fs::metadata(&log).unwrap().len(), position));
            store.append(&lease, step(&mut position, number)).await.unwrap();
        }
        flushed.push((std::fs::metadata(&log).unwrap().len(), position));
        run
    });
    let mut random = StdRng::seed_from_u64(0x5eed);
    let (first, whole) = (flushed[0].0, flushed.last().unwrap().0);
    for _ in 0..60 {
        let cut = random.random_range(first..=whole);
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(&file, copy.path().join("state.db")).unwrap();
        let mut bytes = std::fs::read(&log).unwrap();
        // Torn off, or the rest never written.
        if random.random_bool(0.5) {
            bytes.truncate(cut as usize);
        } else {
            bytes[cut as usize..].fill(0);
        }
        std::fs::write(copy.path().join("state.db-wal"), bytes).unwrap();
        let expected = flushed.iter().rev().find(|(length, _)| *length <= cut).unwrap().1;
        block_on(async {
            let torn = Sqlite::open(&copy.path().join("state.db")).unwrap();
            assert_eq!(torn.load(&run).await.unwrap().head.seq, expected.seq, "cut at {cut}");
            assert_eq!(end(&torn, &run).await, expected);
        });
    }
}

/// Flips one bit in every page in turn, and in some pages more: a run is read as it was written, or it is refused.
#[test]
fn a_flipped_bit_is_never_believed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let written: Vec<Vec<Entry>> = block_on(async {
        let store = Sqlite::open(&file).unwrap();
        let mut written = Vec::new();
        for number in 0..12 {
            let run = create(&store, "shop", number).await;
            let lease = store.acquire(&run, "a", at(0), LENGTH).await.unwrap().unwrap();
            let mut position = end(&store, &run).await;
            for _ in 0..12 {
                store.append(&lease, step(&mut position, 20)).await.unwrap();
            }
            written.push(store.load(&run).await.unwrap().entries);
        }
        written
    });
    let sound = std::fs::read(&file).unwrap();
    let mut random = StdRng::seed_from_u64(0x5eed);
    let (mut refused, mut read) = (0, 0);
    for page in 0..sound.len() / 4_096 {
        for _ in 0..4 {
            let copy = tempfile::tempdir().unwrap();
            let mut bytes = sound.clone();
            bytes[page * 4_096 + random.random_range(0..4_096)] ^= 1 << random.random_range(0..8);
            std::fs::write(copy.path().join("state.db"), bytes).unwrap();
            let Ok(store) = Sqlite::open(&copy.path().join("state.db")) else {
                refused += 1;
                continue;
            };
            for (index, entries) in written.iter().enumerate() {
                let run = RunId(format!("shop-{:04}", index + 1));
                match block_on(store.load(&run)) {
                    Ok(stored) => {
                        assert!(stored.entries == *entries, "page {page}: {run} is read as another");
                        read += 1;
                    }
                    Err(Error::Damaged { .. } | Error::UnknownRun(_) | Error::Refused(_) | Error::Unavailable(_)) => {
                        refused += 1;
                    }
                    Err(other) => panic!("page {page}: {other:?}"),
                }
            }
        }
    }
    assert!(refused > 20 && read > refused, "{refused} refused, {read} read");
}

//! The sandbox's memory on disk: all records in one file that is replaced as a whole, and an audit that only grows.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::sandbox::options::{AUDIT_BYTES_MAX, AUDIT_RECORDS_MAX};
use crate::sandbox::order::{Answer, Desired, Fence};
use crate::sandbox::quantity::Percent;
use crate::sandbox::record::{Key, Record};

/// The layout of the state file; another number is refused rather than misread.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct State {
    format: u32,
    regions: Vec<Record>,
}

/// Why the memory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("could not {act} {}", path.display())]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file is not a state file.
    #[error("the sandbox's state in {} cannot be understood; move it away to begin anew", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A newer sandbox wrote it.
    #[error("the sandbox's state in {} has format {found}, this program knows {FORMAT}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// Rises by one with each line.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Where.
    #[serde(flatten)]
    pub key: Key,
    /// What.
    #[serde(flatten)]
    pub deed: Deed,
}

/// What the audit tells of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Deed {
    /// An order came in. One that is repeated word for word stands here once, with the number of repetitions.
    Order {
        /// Who ordered.
        fence: Fence,
        /// What.
        desired: Desired,
        /// What became of it.
        #[serde(flatten)]
        answer: Answer,
        /// How often it came again; counted in memory only.
        #[serde(default)]
        repeats: u64,
    },
    /// The proxy's weights moved.
    #[serde(rename_all = "camelCase")]
    Shift {
        /// The order behind it.
        fence: Option<Fence>,
        /// The weights from now on.
        weights: std::collections::BTreeMap<String, Percent>,
        /// The shadow from now on.
        shadow: Option<(String, Percent)>,
    },
}

/// The files of one state directory.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    audit: Mutex<Audit>,
}

#[derive(Debug)]
struct Audit {
    file: File,
    bytes: u64,
    recent: VecDeque<Audited>,
    next: u64,
}

impl Ledger {
    /// Opens the memory in `dir` and reads what it holds.
    ///
    /// # Errors
    /// A state file that cannot be read or understood. A broken last line of the audit (a crash in mid-write) is dropped.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Record>), Error> {
        let records = read_state(&dir.join("state.json"))?;
        let path = dir.join("orders.jsonl");
        let disk = |source| Error::Disk {
            act: "open",
            path: path.clone(),
            source,
        };
        let recent = match File::open(&path) {
            Ok(file) => read_audit(file).map_err(disk)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            Err(error) => return Err(disk(error)),
        };
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(disk)?;
        // A line that a crash broke off must not swallow the next one.
        file.write_all(b"\n").map_err(disk)?;
        let bytes = file.metadata().map_err(disk)?.len();
        let next = recent.back().map_or(1, |last: &Audited| last.number + 1);
        Ok((
            Self {
                dir: dir.to_owned(),
                audit: Mutex::new(Audit {
                    file,
                    bytes,
                    recent,
                    next,
                }),
            },
            records,
        ))
    }

    /// Replaces the saved records; when this returns they survive a power cut.
    ///
    /// # Errors
    /// The disk's; the records saved before are then still there.
    pub fn save(&self, regions: Vec<Record>) -> Result<(), Error> {
        let path = self.dir.join("state.json");
        let fresh = self.dir.join("state.json.new");
        let failed = |act| {
            let path = path.clone();
            move |source| Error::Disk { act, path, source }
        };
        let text = serde_json::to_vec(&State {
            format: FORMAT,
            regions,
        })
        .map_err(|source| Error::Malformed {
            path: path.clone(),
            source,
        })?;
        let mut file = File::create(&fresh).map_err(failed("create"))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(failed("write"))?;
        fs::rename(&fresh, &path).map_err(failed("replace"))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed("settle"))
    }

    /// Adds a line to the audit.
    ///
    /// A disk that refuses is reported in the log only: the records are what must be durable, and they are saved already.
    pub fn note(&self, key: &Key, at: Timestamp, deed: Deed) {
        let mut audit = self.audit.lock();
        if let Some(count) = audit.repeats_of(key, &deed) {
            *count += 1;
            return;
        }
        let line = Audited {
            number: audit.next,
            at,
            key: key.clone(),
            deed,
        };
        audit.next += 1;
        if let Err(error) = self.append(&mut audit, &line) {
            tracing::warn!(%error, "could not write the sandbox's audit");
        }
        if audit.recent.len() >= AUDIT_RECORDS_MAX {
            audit.recent.pop_front();
        }
        audit.recent.push_back(line);
    }

    fn append(&self, audit: &mut Audit, line: &Audited) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if audit.bytes.saturating_add(length) > AUDIT_BYTES_MAX {
            let path = self.dir.join("orders.jsonl");
            fs::rename(&path, self.dir.join("orders.1.jsonl"))?;
            audit.file = OpenOptions::new().create(true).append(true).open(&path)?;
            audit.bytes = 0;
        }
        audit.bytes += length;
        audit.file.write_all(&text)
    }

    /// The audit's lines that `wanted` accepts, oldest first.
    pub fn audited(&self, wanted: impl Fn(&Audited) -> bool) -> Vec<Audited> {
        self.audit
            .lock()
            .recent
            .iter()
            .filter(|line| wanted(line))
            .cloned()
            .collect()
    }
}

impl Audit {
    /// The counter of the line that this deed repeats, when the region's last order came again unchanged.
    fn repeats_of(&mut self, key: &Key, deed: &Deed) -> Option<&mut u64> {
        let Deed::Order {
            fence, desired, answer, ..
        } = deed
        else {
            return None;
        };
        let last_order = self
            .recent
            .iter_mut()
            .rev()
            .filter(|line| line.key == *key)
            .find_map(|line| match &mut line.deed {
                Deed::Order {
                    fence,
                    desired,
                    answer,
                    repeats,
                } => Some((*fence, &*desired, &*answer, repeats)),
                Deed::Shift { .. } => None,
            });
        let (last_fence, last_desired, last_answer, repeats) = last_order?;
        let same_answer = answer == last_answer || (*answer == Answer::Repeated && *last_answer == Answer::Applied);
        (last_fence == *fence && last_desired == desired && same_answer).then_some(repeats)
    }
}

fn read_state(path: &Path) -> Result<Vec<Record>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(Error::Disk {
                act: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    let malformed = |source| Error::Malformed {
        path: path.to_owned(),
        source,
    };
    let head: serde_json::Value = serde_json::from_slice(&text).map_err(malformed)?;
    if let Some(found) = head
        .get("format")
        .and_then(serde_json::Value::as_u64)
        .filter(|f| *f != u64::from(FORMAT))
    {
        return Err(Error::Format {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
        });
    }
    let state: State = serde_json::from_value(head).map_err(malformed)?;
    Ok(state.regions)
}

fn read_audit(file: File) -> io::Result<VecDeque<Audited>> {
    let mut recent = VecDeque::new();
    for line in BufReader::new(file).split(b'\n') {
        let Ok(line) = serde_json::from_slice::<Audited>(&line?) else {
            continue;
        };
        if recent.len() >= AUDIT_RECORDS_MAX {
            recent.pop_front();
        }
        recent.push_back(line);
    }
    Ok(recent)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use jiff::Timestamp;

    use super::{Deed, Error, Ledger};
    use crate::sandbox::order::{Answer, Desired, Fence};
    use crate::sandbox::record::{Key, Record, Settings};

    fn order(seq: u64, answer: Answer) -> Deed {
        Deed::Order {
            fence: Fence {
                claim: 1,
                epoch: 1,
                seq,
            },
            desired: Desired::only("v1"),
            answer,
            repeats: 0,
        }
    }

    #[test]
    fn records_and_audit_come_back_even_after_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::new("app", "eu").unwrap();
        let record = Record::new(key.clone(), Settings::default(), 1, Timestamp::UNIX_EPOCH);
        let (ledger, none) = Ledger::open(dir.path()).unwrap();
        assert!(none.is_empty());
        ledger.save(vec![record.clone()]).unwrap();
        ledger.note(&key, Timestamp::UNIX_EPOCH, order(1, Answer::Applied));
        drop(ledger);
        let torn = std::fs::OpenOptions::new()
            .append(true)
            .open(dir.path().join("orders.jsonl"));
        torn.unwrap().write_all(b"{\"number\": 2, \"at\":").unwrap();

        let (ledger, records) = Ledger::open(dir.path()).unwrap();
        ledger.note(&key, Timestamp::UNIX_EPOCH, order(2, Answer::Applied));
        drop(ledger);
        let (ledger, again) = Ledger::open(dir.path()).unwrap();
        assert_eq!((records, again), (vec![record.clone()], vec![record]));
        let numbers: Vec<_> = ledger.audited(|_| true).iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn a_repeated_order_is_counted_and_a_stale_one_stands_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::new("app", "eu").unwrap();
        let (ledger, _) = Ledger::open(dir.path()).unwrap();
        let last = Fence {
            claim: 1,
            epoch: 1,
            seq: 2,
        };
        for deed in [
            order(2, Answer::Applied),
            order(2, Answer::Repeated),
            order(2, Answer::Repeated),
            order(1, Answer::Stale { last }),
        ] {
            ledger.note(&key, Timestamp::UNIX_EPOCH, deed);
        }
        let lines = ledger.audited(|_| true);
        assert_eq!(lines.len(), 2);
        assert!(matches!(lines[0].deed, Deed::Order { repeats: 2, .. }));
    }

    #[test]
    fn a_state_file_from_the_future_or_of_garbage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        std::fs::write(&path, r#"{"format": 2, "regions": {}}"#).unwrap();
        assert!(matches!(Ledger::open(dir.path()), Err(Error::Format { found: 2, .. })));
        std::fs::write(&path, "not json").unwrap();
        assert!(matches!(Ledger::open(dir.path()), Err(Error::Malformed { .. })));
    }
}

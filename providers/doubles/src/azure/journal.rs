//! What a double was asked and answered, written down for those who hold it to its cloud's description.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::exchange::{Asked, Reply};

/// The variable that names a directory for journals: every double that is served writes a file of its own there.
pub const DIRECTORY: &str = "MERIDIAN_TEST_JOURNALS";

/// A file of exchanges, one line of JSON each; made with the first of them.
pub struct Journal {
    path: Option<PathBuf>,
    file: Mutex<Option<File>>,
}

impl Journal {
    /// A journal in the directory of [`DIRECTORY`]; where that is not set, nothing is written.
    pub fn of(name: &str) -> Journal {
        Journal::within(std::env::var_os(DIRECTORY), name)
    }

    fn within(directory: Option<OsString>, name: &str) -> Journal {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let file = format!("{name}-{}-{number}.jsonl", std::process::id());
        Journal {
            path: directory.map(|directory| PathBuf::from(directory).join(file)),
            file: Mutex::new(None),
        }
    }

    /// Writes one exchange. Who reads the journal notices one that could not be written: a file that is not there, a line cut short.
    pub fn record(&self, asked: &Asked, reply: &Reply) {
        let Some(path) = &self.path else { return };
        let mut file = self.file.lock();
        if file.is_none() {
            *file = File::create(path).ok();
        }
        if let Some(file) = file.as_mut() {
            let _ = writeln!(file, "{}", line(asked, reply));
        }
    }
}

fn line(asked: &Asked, reply: &Reply) -> Value {
    let text = |bytes: &[u8]| match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(_) => Value::from(String::from_utf8_lossy(bytes).into_owned()),
    };
    let headers = reply.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.to_string(), json!(value)))
    });
    json!({
        "method": asked.method.as_str(),
        "path": asked.path_and_query,
        "contentType": asked.header("content-type"),
        "ifMatch": asked.header("if-match"),
        "ifNoneMatch": asked.header("if-none-match"),
        "request": text(&asked.body),
        "status": reply.status,
        "headers": headers.collect::<Map<_, _>>(),
        "response": text(&reply.body),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn exchanges_are_written_where_a_directory_is_named() {
        let directory = std::env::temp_dir().join(format!("meridian-journal-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let journal = Journal::within(Some(directory.clone().into()), "store");
        let asked = Asked::new(
            hyper::Method::PUT,
            "/kv/a?x=1",
            hyper::HeaderMap::new(),
            "{\"value\":\"1\"}".into(),
        );
        journal.record(&asked, &Reply::json(200, &json!({"key": "a"})).with("etag", "\"1\""));
        let path = journal.path.clone().unwrap();
        let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(
            (&written["path"], &written["request"]["value"]),
            (&json!("/kv/a?x=1"), &json!("1"))
        );
        assert_eq!(
            (&written["headers"]["etag"], &written["status"]),
            (&json!("\"1\""), &json!(200))
        );
        std::fs::remove_dir_all(directory).unwrap();
    }
}

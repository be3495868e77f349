//! One atomic step of a journal, and the chain that makes any later change to it visible.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::event::Event;

/// Format of entries; readers refuse what they do not know.
pub const FORMAT: u32 = 1;

/// A SHA-256 digest, written as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What the first entry names as its predecessor.
    pub const NONE: Hash = Hash([0; 32]);
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks_exact(2);
        if text.len() != 64 || !text.is_ascii() {
            return Err(serde::de::Error::custom("a hash is 64 hex digits"));
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digits = std::str::from_utf8(pair).map_err(serde::de::Error::custom)?;
            *byte = u8::from_str_radix(digits, 16).map_err(serde::de::Error::custom)?;
        }
        Ok(Hash(bytes))
    }
}

/// One atomic step: what happened together, when, and because of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub seq: u64,
    /// Never earlier than the entry before.
    pub at: Timestamp,
    /// What made the step happen, for people: `signal pause by ana`, `outcome ensure/0#3`, `tick`.
    pub cause: String,
    pub events: Vec<Event>,
    pub prev: Hash,
    pub hash: Hash,
}

/// What is hashed and stored: the entry without its hash. Its bytes are kept as written, so that a later serialiser
/// cannot break the chain.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(rename = "v")]
    version: u32,
    seq: u64,
    at: Timestamp,
    cause: String,
    events: Vec<Event>,
}

/// Why a journal cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("entry {seq} has format {format}, this build reads format {FORMAT}")]
    Format { seq: u64, format: u32 },
    #[error("entry {seq} cannot be read: {why}")]
    Unreadable { seq: u64, why: String },
    #[error("entry {expected} is missing; entry {found} stands in its place")]
    Gap { expected: u64, found: u64 },
    #[error("entry {seq} does not follow from the entry before it: the hash chain breaks here")]
    Chain { seq: u64 },
    #[error("entry {seq} is dated before the entry that it follows")]
    Backwards { seq: u64 },
}

impl Entry {
    /// Makes an entry and the bytes to store for it.
    pub fn seal(seq: u64, at: Timestamp, cause: String, events: Vec<Event>, prev: Hash) -> (Entry, Vec<u8>) {
        let body = Body {
            version: FORMAT,
            seq,
            at,
            cause,
            events,
        };
        let bytes = serde_json::to_vec(&body).expect("events have text keys and no raw floats outside samples");
        let hash = digest(&prev, &bytes);
        let Body {
            seq, at, cause, events, ..
        } = body;
        (
            Entry {
                seq,
                at,
                cause,
                events,
                prev,
                hash,
            },
            bytes,
        )
    }

    /// Reads stored bytes back and checks the chain.
    ///
    /// *Errors*: the first reason not to believe them.
    pub fn open(bytes: &[u8], hash: Hash, prev: Hash, expected_seq: u64) -> Result<Entry, Broken> {
        if digest(&prev, bytes) != hash {
            return Err(Broken::Chain { seq: expected_seq });
        }
        let body: Body = serde_json::from_slice(bytes).map_err(|error| Broken::Unreadable {
            seq: expected_seq,
            why: error.to_string(),
        })?;
        if body.version != FORMAT {
            return Err(Broken::Format {
                seq: expected_seq,
                format: body.version,
            });
        }
        if body.seq != expected_seq {
            return Err(Broken::Gap {
                expected: expected_seq,
                found: body.seq,
            });
        }
        let Body {
            seq, at, cause, events, ..
        } = body;
        Ok(Entry {
            seq,
            at,
            cause,
            events,
            prev,
            hash,
        })
    }
}

/// hash = SHA-256(hash of the entry before ‖ the entry's bytes as stored).
pub fn digest(prev: &Hash, bytes: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(prev.0);
    hasher.update(bytes);
    Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::{Broken, Entry, Event, Hash};
    use jiff::Timestamp;

    #[test]
    fn a_changed_byte_breaks_the_chain_where_it_stands() {
        let (first, bytes) = Entry::seal(
            1,
            Timestamp::UNIX_EPOCH,
            "tick".into(),
            vec![Event::Released],
            Hash::NONE,
        );
        assert_eq!(Entry::open(&bytes, first.hash, Hash::NONE, 1), Ok(first.clone()));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_eq!(
                Entry::open(&changed, first.hash, Hash::NONE, 1),
                Err(Broken::Chain { seq: 1 })
            );
        }
    }
}

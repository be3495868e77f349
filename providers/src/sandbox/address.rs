//! One sandbox per directory, and how another process finds it: a lock, and a file with its address.
//!
//! The file stays when the sandbox ends, so that the next one can take the same port; a reader asks whether it still holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::client::Client;

/// More than an address file ever holds.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Where a sandbox can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The control address, as a URL without a path.
    pub url: String,
    /// The process, for a person who wants to look at it; never used to find or stop it, since numbers are used again.
    pub pid: u32,
    /// Made anew at every start; `/healthz` repeats it, which tells this sandbox from another program on an old port.
    pub instance: String,
}

/// The address file of a state directory.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("address.json")
}

/// The lock on a state directory; it ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock only")] File);

/// Why a state directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another sandbox has it.
    #[error("another sandbox already uses {}", .0.display())]
    Taken(PathBuf),
    /// The directory cannot be used.
    #[error("could not use {} as the sandbox's directory", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the directory, and creates it when it is missing.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(state_dir: &Path) -> Result<Self, LockError> {
        let disk = |source| LockError::Disk {
            path: state_dir.to_owned(),
            source,
        };
        fs::create_dir_all(state_dir).map_err(disk)?;
        let path = state_dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(disk)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken(state_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(disk(source)),
        }
    }
}

impl Address {
    /// Writes the address file as a whole, so that a reader never sees half of it.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let fresh = state_dir.join("address.json.new");
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(&fresh, file(state_dir))
    }

    /// Whether the sandbox that wrote this address answers there.
    async fn is_answered(&self) -> bool {
        let health = Client::new(&self.url).call(Method::GET, "/healthz", &Value::Null).await;
        matches!(health, Ok((200, health)) if health["instance"] == self.instance.as_str())
    }
}

/// The port of the last sandbox in this directory, which the next one takes again if it can: addresses that somebody
/// wrote down stay right.
pub fn last_port(state_dir: &Path) -> Option<u16> {
    read(state_dir)?.url.rsplit_once(':')?.1.parse().ok()
}

fn read(state_dir: &Path) -> Option<Address> {
    let text = fs::read(file(state_dir))
        .ok()
        .filter(|text| text.len() <= FILE_BYTES_MAX)?;
    serde_json::from_slice(&text).ok()
}

/// The sandbox that runs in this directory; `None` when none does, whatever an old address file says.
pub async fn find(state_dir: &Path) -> Option<Address> {
    let address = read(state_dir)?;
    address.is_answered().await.then_some(address)
}

/// Waits until a sandbox runs in this directory, at most `patience`; for whoever has just started one.
pub async fn await_running(state_dir: &Path, patience: Duration) -> Option<Address> {
    let found = async {
        loop {
            if let Some(address) = find(state_dir).await {
                return address;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(patience, found).await.ok()
}

#[cfg(test)]
mod tests {
    use super::{Address, Lock, LockError, find, last_port};
    use crate::sandbox::listener;

    #[test]
    fn a_directory_has_one_sandbox() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        assert!(matches!(Lock::take(dir.path()), Err(LockError::Taken(_))));
        drop(first);
        assert!(Lock::take(dir.path()).is_ok());
    }

    #[tokio::test]
    async fn an_address_that_nobody_answers_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let closed = listener::loopback(0).await.unwrap().local_addr().unwrap();
        let url = format!("http://{closed}");
        let address = Address {
            url,
            pid: std::process::id(),
            instance: "gone".into(),
        };
        address.write(dir.path()).unwrap();
        assert_eq!(find(dir.path()).await, None);
        assert_eq!(
            last_port(dir.path()),
            Some(closed.port()),
            "the next sandbox tries this port again"
        );
        std::fs::write(super::file(dir.path()), "{").unwrap();
        assert_eq!(find(dir.path()).await, None);
    }
}

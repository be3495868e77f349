//! App Configuration: a store of key-values, feature flags among them, behind its data plane.

mod api;
mod flag;
mod key_value;
mod listing;
mod problem;
mod serve;
mod signature;
#[cfg(test)]
mod stories;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;

pub use self::flag::{Flag, FlagStanding};
pub use self::serve::{ConfigurationManners, serve};
pub use self::signature::AccessKey;

use self::key_value::{KeyValue, Name};
use crate::azure::clock::{self, Clock, Timed};
use crate::azure::exchange::{self, Answers, Asked, Reply};

/// The version of the data plane that is spoken.
pub const API_VERSION: &str = "2026-04-01";

/// One store.
pub struct AppConfiguration {
    store: Mutex<Store>,
}

struct Store {
    clock: Clock,
    keys: Vec<AccessKey>,
    values: BTreeMap<Name, KeyValue>,
    /// Every state that a key-value has had, oldest first.
    revisions: Vec<KeyValue>,
    /// Changes so far: what the sync token counts.
    changes: u64,
    /// How many items a page of a list has.
    page: usize,
}

impl AppConfiguration {
    /// An empty store with one access key that may write.
    pub fn new() -> Arc<AppConfiguration> {
        Arc::new(AppConfiguration {
            store: Mutex::new(Store {
                clock: Clock::started_now(),
                keys: vec![AccessKey::default()],
                values: BTreeMap::new(),
                revisions: Vec::new(),
                changes: 0,
                page: 100,
            }),
        })
    }

    /// What a listener serves.
    pub fn router(self: &Arc<Self>) -> Router {
        exchange::router(self, "app-configuration")
    }

    /// Lets time pass: `last_modified` goes by it. Signatures are judged by the machine's clock, as it is the client's too.
    pub fn advance(&self, by: Duration) {
        self.store.lock().clock.advance(by);
    }

    /// Lets time pass by itself, `pace` times as fast as the machine's, until the double is dropped.
    pub fn run_live(self: &Arc<Self>, pace: f64) -> tokio::task::JoinHandle<()> {
        clock::run_live(self, pace)
    }

    /// Requests that changed something so far.
    pub fn writes(&self) -> u64 {
        self.store.lock().changes
    }

    /// What a client needs to sign its requests, for a store that is served at this address.
    pub fn connection_string(&self, url: &str) -> String {
        let store = self.store.lock();
        let key = store.keys.first().cloned().unwrap_or_default();
        key.connection_string(url)
    }

    /// One more access key.
    pub fn add_key(&self, key: AccessKey) {
        self.store.lock().keys.push(key);
    }

    /// How many items a page of a list has, 100 where nothing is said.
    pub fn page_by(&self, items: usize) {
        self.store.lock().page = items.max(1);
    }

    /// Puts a flag there as somebody else would, whatever stood there; its tags stay.
    pub fn put_flag(&self, flag: &Flag, label: Option<&str>) {
        let mut store = self.store.lock();
        let name = Name::new(&flag.key(), label);
        let before = store.values.get(&name).cloned();
        let value = KeyValue {
            content_type: Some(flag::CONTENT_TYPE.to_owned()),
            value: Some(flag.json().to_string()),
            ..before.unwrap_or_else(|| KeyValue::empty(&name))
        };
        store.put(value);
    }

    /// Deletes a flag as somebody else would.
    pub fn delete_flag(&self, id: &str, label: Option<&str>) {
        let name = Name::new(&format!("{}{id}", flag::PREFIX), label);
        self.store.lock().values.remove(&name);
    }

    /// What the store itself says about a flag, asked without its API. None where there is none or it cannot be read.
    pub fn flag(&self, id: &str, label: Option<&str>) -> Option<FlagStanding> {
        let store = self.store.lock();
        let value = store.values.get(&Name::new(&format!("{}{id}", flag::PREFIX), label))?;
        FlagStanding::of(value)
    }
}

impl Timed for AppConfiguration {
    fn advance(&self, by: Duration) {
        AppConfiguration::advance(self, by);
    }
}

impl Answers for AppConfiguration {
    fn answer(&self, asked: &Asked) -> Reply {
        api::answer(&mut self.store.lock(), asked)
    }
}

impl Store {
    /// Stores a new state under its name, with a new `ETag`.
    fn put(&mut self, mut value: KeyValue) -> KeyValue {
        self.changes += 1;
        value.stamp(self.changes, self.clock.now());
        self.revisions.push(value.clone());
        self.values.insert(value.name.clone(), value.clone());
        value
    }

    fn remove(&mut self, name: &Name) -> Option<KeyValue> {
        let removed = self.values.remove(name);
        self.changes += u64::from(removed.is_some());
        removed
    }
}

//! What this build can reach: clouds, gates and notifiers by kind, handed in from above, and how many calls each may have
//! under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ports::gate::Gate;
use crate::ports::notifier::Notifier;
use crate::ports::provider::Provider;

/// Calls of one kind to one region at once. One hanging region can hold these, and no other region's.
pub const CALLS_PER_LANE_MAX: usize = 64;

/// The adapters by the key that the language knows them under.
#[derive(Default)]
pub struct World {
    providers: BTreeMap<String, Arc<dyn Provider>>,
    gates: BTreeMap<String, Arc<dyn Gate>>,
    notifiers: BTreeMap<String, Arc<dyn Notifier>>,
    lanes: Mutex<HashMap<(String, String), Arc<Semaphore>>>,
}

impl World {
    pub fn new() -> World {
        World::default()
    }

    pub fn with_provider(mut self, kind: impl Into<String>, provider: Arc<dyn Provider>) -> World {
        self.providers.insert(kind.into(), provider);
        self
    }

    pub fn with_gate(mut self, kind: impl Into<String>, gate: Arc<dyn Gate>) -> World {
        self.gates.insert(kind.into(), gate);
        self
    }

    pub fn with_notifier(mut self, kind: impl Into<String>, notifier: Arc<dyn Notifier>) -> World {
        self.notifiers.insert(kind.into(), notifier);
        self
    }

    pub fn provider(&self, kind: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.get(kind)
    }

    pub fn gate(&self, kind: &str) -> Option<&Arc<dyn Gate>> {
        self.gates.get(kind)
    }

    pub fn notifier(&self, kind: &str) -> Option<&Arc<dyn Notifier>> {
        self.notifiers.get(kind)
    }

    /// Waits for a place among the calls of this kind to this region.
    pub(super) async fn lane(&self, kind: &str, region: &str) -> OwnedSemaphorePermit {
        let lane = {
            let mut lanes = self.lanes.lock();
            match lanes.get(&(kind.to_owned(), region.to_owned())) {
                Some(lane) => Arc::clone(lane),
                None => {
                    let lane = Arc::new(Semaphore::new(CALLS_PER_LANE_MAX));
                    lanes.insert((kind.to_owned(), region.to_owned()), Arc::clone(&lane));
                    lane
                }
            }
        };
        lane.acquire_owned().await.expect("a lane's semaphore is never closed")
    }
}

//! All instances of one version in one region: started together, retired together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::sandbox::fault::Faults;
use crate::sandbox::instance::{Instance, Stage};
use crate::sandbox::listener::{self, Stop, Stopper};
use crate::sandbox::options::Timings;

/// The instances of a version.
#[derive(Debug)]
pub struct Deployment {
    /// The version.
    pub version: String,
    /// Its instances, all of them wanted.
    pub instances: Vec<Arc<Instance>>,
    faults: Arc<RwLock<Faults>>,
    turn: AtomicUsize,
    stopper: Stopper,
    lives: Mutex<JoinSet<()>>,
    retiring_since: Mutex<Option<Instant>>,
}

/// How to start a deployment.
#[derive(Debug, Clone)]
pub struct Start {
    /// How many instances.
    pub count: u16,
    /// What is wrong with them.
    pub faults: Faults,
    /// Where their chance comes from.
    pub seed: u64,
    /// Leaves out the start delay.
    pub at_once: bool,
}

impl Deployment {
    /// Starts the instances of `version`; they are not ready yet.
    pub fn start(version: &str, start: &Start, timings: Timings) -> Self {
        let faults = Arc::new(RwLock::new(start.faults.clone()));
        let (stopper, stop) = listener::stop();
        let seed = version.bytes().fold(start.seed, |seed, byte| {
            seed.wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(u64::from(byte))
        });
        let instance = |n: u16| {
            Arc::new(Instance::new(
                version,
                n,
                Arc::clone(&faults),
                seed.wrapping_add(u64::from(n)),
            ))
        };
        let instances: Vec<Arc<Instance>> = (1..=start.count).map(instance).collect();
        let mut lives = JoinSet::new();
        for instance in &instances {
            lives.spawn(Arc::clone(instance).live(timings, start.at_once, Stop::clone(&stop)));
        }
        Self {
            version: version.to_owned(),
            instances,
            faults,
            turn: AtomicUsize::new(0),
            stopper,
            lives: Mutex::new(lives),
            retiring_since: Mutex::new(None),
        }
    }

    /// Changes what is wrong with the version; instances that run follow at once.
    pub fn set_faults(&self, faults: &Faults) {
        if *self.faults.read() != *faults {
            *self.faults.write() = faults.clone();
        }
    }

    /// Instances that take traffic.
    pub fn ready(&self) -> usize {
        self.instances
            .iter()
            .filter(|instance| instance.ready_address().is_some())
            .count()
    }

    /// Whether every instance takes traffic.
    pub fn is_complete(&self) -> bool {
        self.ready() == self.instances.len()
    }

    /// The next ready instance, in turns, other than the one `except`.
    pub fn pick(&self, except: Option<SocketAddr>) -> Option<SocketAddr> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.instances.len();
        let in_turn = (0..count).map(|step| &self.instances[(first.wrapping_add(step)) % count]);
        in_turn
            .filter_map(|instance| instance.ready_address())
            .find(|address| Some(*address) != except)
    }

    /// Notes that the version is wanted (again).
    pub fn keep(&self) {
        *self.retiring_since.lock() = None;
    }

    /// Notes that the version has no traffic any more, and tells since when.
    pub fn retiring_since(&self) -> Instant {
        *self.retiring_since.lock().get_or_insert_with(Instant::now)
    }

    /// Whether it drains or stops.
    pub fn is_retiring(&self) -> bool {
        self.retiring_since.lock().is_some() || self.is_stopping()
    }

    /// Whether its stop has been asked for; it cannot be kept any more.
    pub fn is_stopping(&self) -> bool {
        self.stopper.is_asked()
    }

    /// Asks every instance to finish what it answers and stop.
    pub fn stop(&self) {
        self.stopper.ask();
    }

    /// Whether every instance has stopped.
    pub fn is_stopped(&self) -> bool {
        self.instances
            .iter()
            .all(|instance| instance.vitals().stage == Stage::Stopped)
            && {
                let mut lives = self.lives.lock();
                while lives.try_join_next().is_some() {}
                lives.is_empty()
            }
    }
}

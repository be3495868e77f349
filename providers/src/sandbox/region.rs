//! A living region: its proxy, its deployments, and the steady walk from what is to what was ordered.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sandbox::deployment::{Deployment, Start};
use crate::sandbox::diagnosis;
use crate::sandbox::options::{Timings, VERSIONS_RUNNING_MAX};
use crate::sandbox::order::Desired;
use crate::sandbox::proxy::{Proxy, Routes};
use crate::sandbox::quantity::Percent;
use crate::sandbox::record::{Key, Record};

/// One region as it runs.
#[derive(Debug)]
pub struct Region {
    /// Which one.
    pub key: Key,
    /// Its front door.
    pub proxy: Proxy,
    /// Where that listens.
    pub address: SocketAddr,
    /// Rouses the walk before its next pulse.
    pub wake: Notify,
    record: RwLock<Arc<Record>>,
    capacity_since: Mutex<Option<Instant>>,
}

/// What a step of the walk asks the sandbox to make durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The weights of this order, whose capacity is ready.
    Shift(Desired),
}

impl Region {
    /// A region of this record, with nothing running yet.
    pub fn new(record: Record, proxy: Proxy, address: SocketAddr) -> Self {
        Self {
            key: record.key.clone(),
            proxy,
            address,
            wake: Notify::new(),
            record: RwLock::new(Arc::new(record)),
            capacity_since: Mutex::new(None),
        }
    }

    /// What is saved about it.
    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record.read())
    }

    /// Takes a record that has been saved: new weights work from here on.
    pub fn publish(&self, record: Record) {
        let routes = self.proxy.routes();
        let before = self.record();
        let reroute = before.weights != record.weights || before.shadow != record.shadow;
        *self.record.write() = Arc::new(record);
        if reroute {
            self.route(routes.deployments().clone());
        }
        self.wake.notify_one();
    }

    fn route(&self, deployments: std::collections::BTreeMap<String, Arc<Deployment>>) {
        let record = self.record();
        self.proxy
            .set_routes(Routes::new(record.weights.clone(), record.shadow.clone(), deployments));
    }

    /// One step: starts what is wanted and missing, retires what has no traffic, and tells when the weights may move.
    ///
    /// `at_once` leaves out start delays, for a world that was already up before the sandbox's own restart.
    pub fn step(&self, timings: &Timings, seed: u64, at_once: bool) -> Due {
        let record = self.record();
        let before = self.proxy.routes();
        let mut deployments = before.deployments().clone();
        let mut changed = self.retire(&record, &mut deployments, timings);
        for version in record.desired.needed() {
            let faults = record.faults(version);
            match deployments.get(version) {
                Some(deployment) => deployment.set_faults(&faults),
                None if deployments.len() < VERSIONS_RUNNING_MAX && faults.blocks_start().is_none() => {
                    let start = Start {
                        count: record.instances(),
                        faults,
                        seed,
                        at_once,
                    };
                    let running: Vec<String> = deployments.keys().cloned().chain([version.to_owned()]).collect();
                    self.proxy.meters().begin(version, &running);
                    deployments.insert(
                        version.to_owned(),
                        Arc::new(Deployment::start(version, &start, *timings)),
                    );
                    changed = true;
                }
                None => {}
            }
        }
        if changed {
            self.route(deployments);
        }
        self.shift_due(&record, timings)
    }

    fn retire(
        &self,
        record: &Record,
        deployments: &mut std::collections::BTreeMap<String, Arc<Deployment>>,
        timings: &Timings,
    ) -> bool {
        let count = deployments.len();
        let shadow = record.shadow.as_ref().map(|(version, _)| version.as_str());
        deployments.retain(|version, deployment| {
            deployment.set_faults(&record.faults(version));
            let wanted = record.desired.versions().any(|wanted| wanted == version);
            let busy = record.weight(version) > Percent::NONE || shadow == Some(version.as_str());
            if !deployment.is_stopping() && (wanted || busy) {
                deployment.keep();
                return true;
            }
            if deployment.retiring_since().elapsed() >= timings.drain {
                deployment.stop();
            }
            !deployment.is_stopped()
        });
        deployments.len() != count
    }

    fn shift_due(&self, record: &Record, timings: &Timings) -> Due {
        let mut since = self.capacity_since.lock();
        if record.is_shifted() || diagnosis::shift_blocked(record, &self.proxy.routes(), timings).is_some() {
            *since = None;
            return Due::Nothing;
        }
        if since.get_or_insert_with(Instant::now).elapsed() < timings.shift {
            return Due::Nothing;
        }
        *since = None;
        Due::Shift(record.desired.clone())
    }

    /// Whether something is under way, so that the walk should look again soon.
    pub fn is_moving(&self, timings: &Timings) -> bool {
        diagnosis::standing(&self.record(), &self.proxy.routes(), timings) != diagnosis::Standing::Settled
    }

    /// Asks every instance to stop, for the sandbox's own end.
    pub fn stop(&self) {
        for deployment in self.proxy.routes().deployments().values() {
            deployment.stop();
        }
    }
}

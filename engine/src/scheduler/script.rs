//! A cloud and its metrics that answer as a story tells them to, and remember every order.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meridian_workflows::share::Share;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock::ManualClock;
use super::world::World;
use crate::ports::clock::Clock;
use crate::ports::failure::Failure;
use crate::ports::gate::{Gate, Question};
use crate::ports::provider::{Fence, Observed, Order, Provider, Target};
use crate::run::effect::{DesiredState, Observation, Progress};
use crate::run::reading::{Answer, Sample};
use crate::run::version::Version;

pub struct Script {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
    let_go: Notify,
}

#[derive(Default)]
struct State {
    shares: BTreeMap<String, Share>,
    fences: BTreeMap<String, Fence>,
    orders: Vec<(String, Fence, DesiredState)>,
    hanging: BTreeSet<String>,
    panicking: BTreeSet<String>,
    error_rate: f64,
}

impl Script {
    pub fn new(clock: Arc<ManualClock>) -> Script {
        Script {
            clock,
            state: Mutex::new(State {
                error_rate: 0.001,
                ..State::default()
            }),
            let_go: Notify::new(),
        }
    }

    /// From now on calls to this region do not come back, or do again: those that hang arrive then.
    pub fn hang(&self, region: &str, hangs: bool) {
        let mut state = self.state.lock();
        if hangs {
            state.hanging.insert(region.to_owned());
        } else {
            state.hanging.remove(region);
            self.let_go.notify_waiters();
        }
    }

    pub fn panic_in(&self, region: &str, panics: bool) {
        let mut state = self.state.lock();
        if panics {
            state.panicking.insert(region.to_owned());
        } else {
            state.panicking.remove(region);
        }
    }

    pub fn set_error_rate(&self, rate: f64) {
        self.state.lock().error_rate = rate;
    }

    pub fn share(&self, region: &str) -> String {
        self.state
            .lock()
            .shares
            .get(region)
            .copied()
            .unwrap_or_default()
            .to_string()
    }

    /// Every order that arrived, applied or not.
    pub fn orders(&self) -> Vec<(String, Fence, DesiredState)> {
        self.state.lock().orders.clone()
    }

    async fn arrive(&self, region: &str) {
        if self.state.lock().panicking.contains(region) {
            panic!("the cloud's client of {region} has a bug");
        }
        loop {
            let let_go = self.let_go.notified();
            tokio::pin!(let_go);
            let_go.as_mut().enable();
            if !self.state.lock().hanging.contains(region) {
                return;
            }
            let_go.await;
        }
    }
}

pub fn world(script: &Arc<Script>) -> World {
    World::new()
        .with_provider("sandbox", Arc::clone(script) as Arc<dyn Provider>)
        .with_gate("metric", Arc::clone(script) as Arc<dyn Gate>)
}

#[async_trait::async_trait]
impl Provider for Script {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        Ok(format!("cluster/{}", target.region))
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        self.arrive(&target.region).await;
        let state = self.state.lock();
        Ok(Observed {
            observation: Observation {
                serving: Some(Version::named("v1")),
                candidate: Version::named(target.release.version()),
                candidate_share: state.shares.get(&target.region).copied().unwrap_or_default(),
                is_settled: true,
                diagnosis: None,
                candidate_digest: None,
            },
            fence: state.fences.get(&target.region).copied(),
            versions: Vec::new(),
        })
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        self.arrive(&target.region).await;
        let mut state = self.state.lock();
        let fence = order.fence();
        state
            .orders
            .push((target.region.clone(), fence, order.desired().state.clone()));
        if state.fences.get(&target.region).is_some_and(|known| fence < *known) {
            return Ok(Progress::Stale {
                why: "a newer order has been applied".into(),
            });
        }
        state.fences.insert(target.region.clone(), fence);
        let share = order.desired().state.share();
        state.shares.insert(target.region.clone(), share);
        Ok(Progress::Settled)
    }
}

#[async_trait::async_trait]
impl Gate for Script {
    async fn read(&self, _: &Question<'_>) -> Result<Answer, Failure> {
        let sample = |value| Sample {
            value: Some(value),
            samples: Some(1_000.0),
            at: Some(self.clock.now()),
            query: "errors".into(),
        };
        Ok(Answer::Metric {
            candidate: sample(self.state.lock().error_rate),
            baseline: None,
        })
    }
}

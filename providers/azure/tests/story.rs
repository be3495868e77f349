//! A release through an App Service slot as a story: orders one after another, asked for as the engine asks.

use std::time::Duration;

use meridian_doubles::azure::app_service::Rule;
use meridian_engine::ports::provider::{Fence, Observed, Order, Provider as _, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde_json::{Value, json};

use crate::app_service::{Bench, CANDIDATE};

/// A release under way at a bench.
pub struct Story {
    pub bench: Bench,
    pub target: Target,
    pub candidate: Version,
    pub baseline: Version,
    seq: u64,
}

pub fn traffic(percent: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(Share::percent(percent).unwrap()))
}

impl Story {
    pub async fn of(bench: Bench) -> Story {
        let settings = bench.settings();
        Story::with(bench, settings).await
    }

    pub async fn with(bench: Bench, settings: Value) -> Story {
        let target = bench.target_of(settings, CANDIDATE);
        Story::at(bench, target).await
    }

    pub async fn at(bench: Bench, target: Target) -> Story {
        let observed = bench.cloud().observe(&target).await.unwrap().observation;
        Story {
            candidate: observed.candidate,
            baseline: observed.serving.unwrap(),
            bench,
            target,
            seq: 0,
        }
    }

    /// The next release at the same bench.
    pub async fn onwards(self, target: Target) -> Story {
        let seq = self.seq;
        Story {
            seq,
            ..Story::at(self.bench, target).await
        }
    }

    pub fn order(&mut self, state: DesiredState) -> Order {
        self.seq += 1;
        let desired = Desired {
            candidate: self.candidate.clone(),
            baseline: self.baseline.clone(),
            state,
        };
        let fence = Fence {
            claim: 1,
            epoch: 1,
            seq: self.seq,
        };
        Order::rehearsed(desired, fence)
    }

    pub async fn ask(&self, order: &Order) -> Progress {
        self.bench.cloud().ensure(&self.target, order).await.unwrap()
    }

    /// Asks every two seconds until an answer is like that.
    pub async fn until(&mut self, state: DesiredState, like: impl Fn(&Progress) -> bool) -> Progress {
        let order = self.order(state);
        for _ in 0..900 {
            let progress = self.ask(&order).await;
            if like(&progress) {
                return progress;
            }
            self.bench.advance(Duration::from_secs(2));
        }
        panic!("nothing like that within half an hour");
    }

    pub async fn settle(&mut self, state: DesiredState) {
        let ended = self
            .until(state, |progress| !matches!(progress, Progress::Moving { .. }))
            .await;
        assert_eq!(ended, Progress::Settled);
    }

    pub async fn stuck(&mut self, state: DesiredState) -> String {
        match self
            .until(state, |progress| !matches!(progress, Progress::Moving { .. }))
            .await
        {
            Progress::Stuck { why } => why,
            other => panic!("{other:?} instead of stuck"),
        }
    }

    pub async fn look(&self) -> Observed {
        self.bench.cloud().observe(&self.target).await.unwrap()
    }

    pub async fn diagnosis(&self) -> String {
        self.look().await.observation.diagnosis.unwrap_or_default()
    }

    /// How often something was asked for, by the end of its path.
    pub fn count(&self, end: &str) -> u64 {
        self.bench
            .served
            .wire
            .count(|exchange| exchange.asked.uri.path().ends_with(end))
    }

    pub fn image(&self, slot: &str) -> String {
        let standing = self.bench.tenant.standing("shop").unwrap();
        standing.slot(slot).unwrap().image.clone().unwrap()
    }
}

/// A ramp-up rule as somebody else writes it.
pub fn ruled(slot: &str, percent: f64) -> Rule {
    serde_json::from_value(json!({
        "name": slot, "actionHostName": format!("shop-{slot}.azurewebsites.net"), "reroutePercentage": percent,
    }))
    .unwrap()
}

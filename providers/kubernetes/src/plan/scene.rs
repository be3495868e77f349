//! A workload written down in a few words, for tests of what comes next: no cluster, and no time but what is given.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use meridian_engine::ports::provider::{Fence, Order};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde_json::{Value, json};

use super::{Act, Step, View, next};
use crate::record::Record;
use crate::settings::{Settings, Strategy};
use crate::traffic::{self, Arm, Arms, Mechanism, Split, Standing};
use crate::workload::Workload;
use crate::world::World;

pub const BASELINE: &str = "shop:v1";
pub const CANDIDATE: &str = "shop:v2";
/// All of the traffic needs so many pods.
pub const TOTAL: u32 = 4;
pub const FENCE: Fence = Fence {
    claim: 1,
    epoch: 1,
    seq: 1,
};

/// Everything that a step is decided from.
pub struct Scene {
    pub settings: Settings,
    pub mechanism: Option<Box<dyn Mechanism>>,
    pub world: World,
    pub record: Record,
    pub desired: Desired,
    pub content: BTreeSet<String>,
    pub now: Timestamp,
}

pub fn percent(share: u16) -> Share {
    Share::percent(share).unwrap()
}

pub fn serving(share: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(percent(share)))
}

pub fn version(image: &str) -> Version {
    let mut version = Version::named(image.rsplit(':').next().unwrap());
    version.pinned = image.to_owned();
    version
}

/// A Deployment of so many pods, of which so many are ready, with nothing under way.
pub fn deployment(name: &str, image: &str, asked: u32, ready: u32) -> Workload {
    let app = if name == "shop" { "shop" } else { "shop-candidate" };
    let mut labels = json!({"app": app});
    if name != "shop" {
        labels["meridian/arm"] = json!("candidate");
        labels["meridian/workload"] = json!("shop");
    }
    let object = json!({
        "metadata": {"name": name, "uid": name, "generation": 1, "labels": {"meridian/workload": "shop"}},
        "spec": {"replicas": asked, "minReadySeconds": 60, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}},
        "status": {"observedGeneration": 1, "replicas": asked, "updatedReplicas": asked, "readyReplicas": ready,
            "availableReplicas": ready},
    });
    Workload::of(object, None).unwrap()
}

pub fn original(image: &str, asked: u32, ready: u32) -> Workload {
    deployment("shop", image, asked, ready)
}

pub fn copy(asked: u32, ready: u32) -> Workload {
    deployment("shop-candidate", CANDIDATE, asked, ready)
}

/// The same among the pods that the baseline's Service selects.
pub fn joined(pods: u32) -> Workload {
    let mut object = copy(pods, pods).object().clone();
    object["spec"]["template"]["metadata"]["labels"]["app"] = json!("shop");
    Workload::of(object, None).unwrap()
}

/// The baseline's autoscaler with these bounds.
pub fn autoscaler(min: u32, max: u32) -> Value {
    json!({"metadata": {"name": "shop", "resourceVersion": "7"}, "spec": {"minReplicas": min, "maxReplicas": max,
        "scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "metrics": [{"type": "Resource"}]}})
}

/// A pod of a Deployment that runs this image with this content.
pub fn pod(image: &str, content: &str) -> Value {
    json!({"metadata": {"name": "shop-1"}, "spec": {"containers": [{"name": "web", "image": image}]},
        "status": {"containerStatuses": [{"name": "web", "imageID": format!("shop@{content}")}]}})
}

fn arm(deployment: &str) -> Arm {
    Arm {
        deployment: deployment.to_owned(),
        labels: BTreeMap::new(),
        pods: BTreeMap::new(),
        hash: Some("1".to_owned()),
        ready: 0,
        ports: BTreeMap::new(),
    }
}

/// A workload as it was found, under a new order.
pub fn given(settings: Value, state: DesiredState) -> Scene {
    let mut all = json!({"workload": "deployment/shop", "traffic": {"httpRoute": {"name": "shop"}}});
    for (key, value) in settings.as_object().unwrap() {
        all[key] = value.clone();
    }
    let settings = Settings::read(&all).unwrap();
    let mechanism = match &settings.strategy {
        Strategy::Canary(traffic) => Some(traffic::mechanism(traffic)),
        Strategy::BlueGreen(services) => Some(traffic::switch(services)),
        Strategy::Rolling(_) => None,
    };
    let desired = Desired {
        candidate: version(CANDIDATE),
        baseline: version(BASELINE),
        state,
    };
    let is_counted = mechanism
        .as_ref()
        .is_some_and(|one| one.counts(Share::FULL, 1).is_some());
    let mut record = Record::of(&Order::rehearsed(desired.clone(), FENCE), None, TOTAL, is_counted);
    record.apart.insert("app".to_owned(), "shop-candidate".to_owned());
    let world = World {
        original: original(BASELINE, TOTAL, TOTAL),
        copy: None,
        arms: Arms {
            workload: "shop".to_owned(),
            suffix: "candidate".to_owned(),
            baseline: arm("shop"),
            candidate: arm("shop-candidate"),
            mark: None,
        },
        apart: BTreeMap::new(),
        standing: Standing {
            fence: Some(FENCE),
            ..Standing::default()
        },
        autoscaler: None,
        copy_autoscaler: None,
        budget: None,
        copy_budget: None,
        services: Vec::new(),
        pods: Vec::new(),
        fence: Some(FENCE),
        record: None,
    };
    Scene {
        settings,
        mechanism,
        world,
        record,
        desired,
        content: BTreeSet::new(),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

impl Scene {
    /// So many pods of the candidate, all ready, with this share.
    pub fn shared(mut self, pods: u32, share: u16) -> Scene {
        self.world.copy = Some(copy(pods, pods));
        self.world.standing.split = Split {
            share: percent(share),
            ..Split::none()
        };
        self
    }

    /// The order has once been there.
    pub fn reached(mut self) -> Scene {
        self.record.reached = true;
        self
    }

    pub fn original(mut self, original: Workload) -> Scene {
        self.world.original = original;
        self
    }

    pub fn view(&self) -> View<'_> {
        View {
            world: &self.world,
            settings: &self.settings,
            mechanism: self.mechanism.as_deref(),
            desired: &self.desired,
            fence: FENCE,
            record: &self.record,
            content: &self.content,
            drain: "30s".parse().unwrap(),
            keep_baseline: "10m".parse().unwrap(),
            now: self.now,
        }
    }

    pub fn next(&self) -> Step {
        next(&self.view())
    }

    /// The words of the answer; empty where something is to be done or it is settled.
    pub fn said(&self) -> String {
        match self.next() {
            Step::Done(Progress::Moving { why: Some(why) } | Progress::Waiting { why } | Progress::Stuck { why }) => {
                why
            }
            Step::Await { why, .. } => why,
            Step::Do(_) | Step::Done(_) => String::new(),
        }
    }

    /// What others changed, where it is to be put right and counted.
    pub fn noticed(&self) -> String {
        match self.next() {
            Step::Do(Act::Remember(record)) if record.reasserted.len() > self.record.reasserted.len() => {
                record.noticed.unwrap_or_default()
            }
            other => panic!("{other:?} instead of putting right what others changed"),
        }
    }

    pub fn is_stuck(&self) -> bool {
        matches!(self.next(), Step::Done(Progress::Stuck { .. }))
    }
}

//! Orders as the engine gives them, and asking until they are done.

use std::time::Duration;

use meridian_engine::ports::provider::{Fence, Order, Provider as _, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde_json::json;

use crate::stage::Stage;

/// An order by what a look tells.
pub async fn order(stage: &Stage, target: &Target, seq: u64, state: DesiredState) -> Order {
    let seen = stage.provider().observe(target).await.unwrap().observation;
    let desired = Desired {
        candidate: seen.candidate,
        baseline: seen.serving.unwrap(),
        state,
    };
    let (claim, epoch) = (1, 1);
    Order::rehearsed(desired, Fence { claim, epoch, seq })
}

pub fn serving(percent: u16) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(Share::percent(percent).unwrap()))
}

/// Asks until it neither moves nor waits.
pub async fn arrived(stage: &Stage, target: &Target, order: &Order) -> Progress {
    for _ in 0..200 {
        match stage.provider().ensure(target, order).await.unwrap() {
            Progress::Moving { .. } | Progress::Waiting { .. } => stage.account.advance(Duration::from_secs(2)),
            progress => return progress,
        }
    }
    panic!("does not arrive: {:?}", stage.provider().ensure(target, order).await);
}

/// An order by the versions that every stage has.
pub fn order_of(stage: &Stage, seq: u64, state: DesiredState) -> Order {
    let version = |name: &str, definition: &str| {
        let described = stage.ecs("DescribeTaskDefinition", json!({"taskDefinition": definition}));
        Version {
            pinned: described["taskDefinition"]["taskDefinitionArn"]
                .as_str()
                .unwrap()
                .to_owned(),
            ..Version::named(name)
        }
    };
    let desired = Desired {
        candidate: version("v2", "web:2"),
        baseline: version("v1", "web:1"),
        state,
    };
    let (claim, epoch) = (1, 1);
    Order::rehearsed(desired, Fence { claim, epoch, seq })
}

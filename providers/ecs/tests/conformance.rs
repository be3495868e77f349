//! The conformance suite over the double, once for each way that ECS can take, held to the table of the documentation.
//!
//! `MERIDIAN_BEHAVIOUR` picks behaviours by a part of their names, and holds them to nothing else.

use meridian_conformance::{suite, table};

use crate::stage::{Means, Studio};

async fn conforms(name: &'static str, means: Means, ladder: &'static [u16]) {
    let studio = Studio { name, means, ladder };
    match std::env::var("MERIDIAN_BEHAVIOUR") {
        Ok(only) => {
            let report = suite::run_some(&studio, |behaviour| behaviour.name.contains(&only)).await;
            assert_eq!(report.complaint(), None);
        }
        Err(_) => assert_eq!(table::hold(&suite::run(&studio).await), Ok(())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_canary_conforms() {
    conforms("ecs canary", Means::Native, &[1_000, 10_000]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_linear_conforms() {
    conforms("ecs linear", Means::Native, &[2_500, 5_000, 7_500, 10_000]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_blue_green_conforms() {
    conforms("ecs blueGreen", Means::Native, &[10_000]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_conforms() {
    conforms("ecs rolling", Means::Rolling, &[10_000]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_sets_conform() {
    conforms("ecs taskSets", Means::TaskSets, &[500, 2_500, 10_000]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_conform() {
    conforms("ecs twoServices", Means::TwoServices, &[500, 2_500, 10_000]).await;
}

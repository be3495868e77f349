//! The suite that every provider is put to, for each way of splitting traffic.

use meridian_conformance::{suite, table};

use crate::double::DoubleWorkshop;
use crate::real::RealWorkshop;
use crate::way::Way;

/// Behaviours by a part of their name or by their group, where `MERIDIAN_BEHAVIOUR` asks for them.
fn picked() -> Option<impl Fn(&suite::Behaviour) -> bool> {
    let wanted = std::env::var("MERIDIAN_BEHAVIOUR").ok()?;
    Some(move |behaviour: &suite::Behaviour| behaviour.name.contains(&wanted) || behaviour.group == wanted)
}

async fn on_the_double(way: Way) {
    let workshop = DoubleWorkshop { way };
    match picked() {
        Some(picked) => assert_eq!(suite::run_some(&workshop, picked).await.complaint(), None),
        None => assert_eq!(table::hold(&suite::run(&workshop).await), Ok(())),
    }
}

async fn on_a_real_cluster(way: Way) {
    let Some(workshop) = RealWorkshop::open(way).await else {
        println!(
            "not tried: no real cluster is named by MERIDIAN_TEST_KUBECONFIG that serves {}",
            way.name()
        );
        return;
    };
    let report = match picked() {
        Some(picked) => suite::run_some(&workshop, picked).await,
        None => suite::run(&workshop).await,
    };
    println!("{}: {:?} passed, failed, not tried", report.provider, report.counts());
    if let Some(complaint) = report.complaint() {
        panic!("{complaint}");
    }
}

macro_rules! ways {
    ($($name:ident => $way:expr,)*) => {
        mod double {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::on_the_double($way).await;
            })*
        }

        mod real {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::on_a_real_cluster($way).await;
            })*
        }
    };
}

ways! {
    istio => super::Way::Istio,
    istio_subsets => super::Way::IstioSubsets,
    http_route => super::Way::HttpRoute,
    nginx => super::Way::Nginx,
    smi => super::Way::Smi,
    alb => super::Way::Alb,
    pods => super::Way::Pods,
    blue_green => super::Way::Services,
    rolling => super::Way::Rolling,
}

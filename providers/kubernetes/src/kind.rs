//! Kubernetes as the language knows it: its keys, and what a region can do by its settings.

use meridian_workflows::vocabulary::{
    Availability, Capabilities, ProviderKind, RollbackSpeed, SettingKey, SettingsReader, Shares,
};

use crate::settings::{Promotion, Settings, Strategy, Traffic};
use crate::traffic;

const fn optional(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: false,
        summary,
    }
}

const SETTINGS: &[SettingKey] = &[
    SettingKey {
        name: "workload",
        required: true,
        summary: "the workload that serves, as in `deployment/payments-api`",
    },
    optional(
        "kubeconfig",
        "a kubeconfig file (default: `KUBECONFIG`, else `~/.kube/config`)",
    ),
    optional("context", "a context in it (default: its current one)"),
    optional(
        "inCluster",
        "true: the cluster that Meridian runs in, by its service account",
    ),
    optional("namespace", "the namespace (default: the context's)"),
    optional(
        "container",
        "the container whose image is released, where there are several",
    ),
    optional("strategy", "canary (default), blueGreen or rolling"),
    optional(
        "traffic",
        "how traffic is split, one of istio, httpRoute, nginx, smi, alb, pods, or (blue-green) services",
    ),
    optional(
        "tenantHeader",
        "the header that names a request's tenant, for audiences of tenants (default x-tenant)",
    ),
    optional(
        "rolling",
        "of a rolling update: maxSurge, maxUnavailable, minReadySeconds, progressDeadlineSeconds",
    ),
    optional(
        "candidate",
        "the candidate's copy: suffix, labels, annotations, minReplicas, capacity (share, full), antiAffinity",
    ),
    optional(
        "promotion",
        "patch (default: the image is changed here) or external (Git does it and is waited for)",
    ),
    optional("drift", "what others change: reassert (default), hold or report"),
    optional(
        "settle",
        "how long a pod must have been ready before it counts (default 10s, behind an ALB 60s)",
    ),
    optional(
        "drain",
        "between the end of a version's traffic and of its capacity (default: the workflow's)",
    ),
    optional(
        "keepBaseline",
        "how long the old version is kept after the order to promote (default: the workflow's)",
    ),
];

/// Kubernetes as the language knows it.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: "kubernetes",
        availability: Availability::Available,
        settings: SETTINGS,
        read: SettingsReader(|settings| Settings::read(settings).map(|settings| capabilities(&settings))),
    }
}

/// What a region can do, by its settings alone.
pub fn capabilities(settings: &Settings) -> Capabilities {
    let mut capabilities = match &settings.strategy {
        Strategy::Canary(traffic) => traffic::capabilities(traffic),
        Strategy::BlueGreen(services) => traffic::switch_capabilities(services),
        Strategy::Rolling(_) => Capabilities {
            shares: Shares::Whole,
            rollback: RollbackSpeed::Restarts,
            remarks: vec![
                "A rolling update replaces pods of the Deployment itself: on the way both versions serve, and nothing holds \
                 the share in between."
                    .to_owned(),
            ],
            ..Capabilities::splitting(1)
        },
    };
    if settings.promotion == Promotion::External && !matches!(settings.strategy, Strategy::Rolling(_)) {
        capabilities.remarks.push(
            "Closing waits until Git has given the original the candidate's image (`promotion: external`), and undoing it \
             waits for Git too."
                .to_owned(),
        );
    }
    if keeps_no_baseline(&settings.strategy) {
        capabilities.remarks.push(
            "`keepBaseline` changes nothing here: the old version's own pods give way, and going back starts them anew."
                .to_owned(),
        );
    }
    capabilities
}

/// Whether the pods of the old version are gone once the candidate serves everything.
fn keeps_no_baseline(strategy: &Strategy) -> bool {
    match strategy {
        Strategy::Rolling(_) | Strategy::Canary(Traffic::Pods(_)) => true,
        Strategy::Canary(
            Traffic::Istio(_) | Traffic::HttpRoute(_) | Traffic::Nginx(_) | Traffic::Smi(_) | Traffic::Alb(_),
        )
        | Strategy::BlueGreen(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{capabilities, kind};
    use crate::settings::Settings;

    #[test]
    fn a_plan_tells_where_no_baseline_is_kept() {
        let is_told = |traffic: serde_json::Value, strategy: &str| {
            let settings = json!({"workload": "deployment/shop", "strategy": strategy, "traffic": traffic});
            let remarks = capabilities(&Settings::read(&settings).unwrap()).remarks;
            remarks.iter().any(|remark| remark.contains("keepBaseline"))
        };
        assert!(is_told(json!({"pods": {}}), "canary") && is_told(json!(null), "rolling"));
        assert!(!is_told(json!({"httpRoute": {"name": "shop"}}), "canary"));
    }

    #[test]
    fn every_key_that_is_told_is_read_and_no_other() {
        let told: Vec<&str> = kind().settings.iter().map(|key| key.name).collect();
        for key in crate::settings::reading::KEYS {
            assert!(told.contains(key), "{key} is read and not told");
        }
        assert_eq!(told.len(), crate::settings::reading::KEYS.len());
    }
}

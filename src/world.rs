//! The composition root: which clouds, gates, metric sources and notifiers this build has, one list each, and what the
//! language is told about them.

use meridian_workflows::vocabulary::{Availability, Capabilities, Kind, ProviderKind, SettingKey, Vocabulary};

use Availability::{Available, NotYet};

/// Every kind by name, for the language.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        providers: providers(),
        gates: kinds(GATES),
        sources: kinds(SOURCES),
        notifiers: kinds(NOTIFIERS),
    }
}

const GATES: &[(&str, Availability)] = &[
    ("approval", Available),
    ("window", Available),
    ("metric", Available),
    ("http", Available),
    ("command", Available),
    ("signal", NotYet),
    ("completed", NotYet),
    ("lock", NotYet),
    ("compare", NotYet),
    ("trend", NotYet),
    ("budget", NotYet),
    ("health", NotYet),
];

const SOURCES: &[(&str, Availability)] = &[
    ("prometheus", Available),
    // The Prometheus-compatible endpoint of the sandbox that the workflow's regions live in; its address is found at run time.
    ("sandbox", Available),
    ("cloudWatch", NotYet),
    ("azureMonitor", NotYet),
    ("datadog", NotYet),
];

const NOTIFIERS: &[(&str, Availability)] = &[
    ("slack", NotYet),
    ("teams", NotYet),
    ("webhook", NotYet),
    ("email", NotYet),
    ("pagerDuty", NotYet),
];

fn kinds(list: &'static [(&'static str, Availability)]) -> Vec<Kind> {
    list.iter()
        .map(|&(name, availability)| Kind { name, availability })
        .collect()
}

fn providers() -> Vec<ProviderKind> {
    vec![
        ProviderKind {
            name: "sandbox",
            availability: Available,
            settings: SANDBOX,
            capabilities: Capabilities {
                share_step: 1,
                mirroring: true,
                audiences: false,
            },
        },
        ProviderKind {
            name: "kubernetes",
            availability: NotYet,
            settings: KUBERNETES,
            capabilities: Capabilities {
                share_step: 100,
                mirroring: true,
                audiences: true,
            },
        },
        ProviderKind {
            name: "ecs",
            availability: NotYet,
            settings: ECS,
            capabilities: Capabilities {
                share_step: 100,
                mirroring: false,
                audiences: false,
            },
        },
        ProviderKind {
            name: "appService",
            availability: NotYet,
            settings: APP_SERVICE,
            capabilities: Capabilities {
                share_step: 100,
                mirroring: false,
                audiences: false,
            },
        },
        ProviderKind {
            name: "flag",
            availability: NotYet,
            settings: FLAG,
            capabilities: Capabilities {
                share_step: 1,
                mirroring: false,
                audiences: true,
            },
        },
        ProviderKind {
            name: "exec",
            availability: NotYet,
            settings: EXEC,
            capabilities: Capabilities {
                share_step: 1,
                mirroring: true,
                audiences: true,
            },
        },
    ]
}

const fn required(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: true,
        summary,
    }
}

const fn optional(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: false,
        summary,
    }
}

const SANDBOX: &[SettingKey] = &[
    optional(
        "serving",
        "the version that serves when the region is created (default `v0`)",
    ),
    optional("instances", "instances of each version (default 2)"),
    optional("requestsPerSecond", "generated traffic (default 40)"),
    optional("faults", "what is wrong with which version, as in `{v2: {errors: 5%}}`"),
];

const KUBERNETES: &[SettingKey] = &[
    optional("context", "the kubeconfig's context of the region's cluster"),
    required("namespace", "the workload's namespace"),
    required("workload", "what is released, as in `deployment/payments-api`"),
    required(
        "traffic",
        "what splits the traffic, as in `{istio: {virtualService: …, route: …}}`",
    ),
    optional("promotion", "`patch` (default) or `external`"),
];

const ECS: &[SettingKey] = &[
    required("region", "the AWS region"),
    required("cluster", "the ECS cluster"),
    required("service", "the ECS service"),
];

const APP_SERVICE: &[SettingKey] = &[
    required("subscription", "the Azure subscription"),
    required("resourceGroup", "the app's resource group"),
    required("app", "the app's name"),
    required("slot", "the slot that takes the candidate"),
];

const FLAG: &[SettingKey] = &[
    required("provider", "the flag service"),
    required("key", "the flag's key"),
];

const EXEC: &[SettingKey] = &[
    required("command", "the executable and its arguments"),
    optional("settings", "handed to the executable as they are"),
];

//! How a region's settings are read: every key is known, every value has its bounds, and what is wrong is named.

use meridian_workflows::duration::Duration;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Candidate, Cluster, Drift, IntOrPercent, Istio, Pods, Promotion, Rolling, Services, Settings, Strategy, Traffic,
};
use crate::traffic::is_token;

/// Kubernetes' own bound for names that become labels.
const LABEL_MAX: usize = 63;
/// The most of a candidate's suffix: names that end with it must leave room for the names they are made of.
const SUFFIX_MAX: usize = 32;

pub(crate) const KEYS: &[&str] = &[
    "kubeconfig",
    "context",
    "inCluster",
    "namespace",
    "workload",
    "container",
    "strategy",
    "traffic",
    "tenantHeader",
    "rolling",
    "candidate",
    "promotion",
    "drift",
    "settle",
    "drain",
    "keepBaseline",
];

impl Settings {
    /// *Errors*: what is not sound, as a lower-case phrase that names the key.
    pub fn read(settings: &Value) -> Result<Settings, String> {
        let Value::Object(map) = settings else {
            return Err("the settings of a kubernetes region are a map with at least `workload`".to_owned());
        };
        if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("`{unknown}` is no key of a kubernetes region"));
        }
        let candidate: Candidate = section(map, "candidate")?.unwrap_or_default();
        check_candidate(&candidate)?;
        let mut strategy = strategy(map)?;
        if let Some(header) = tenant_header(map)? {
            set_tenant_header(&mut strategy, &header);
        }
        let promotion = section(map, "promotion")?.unwrap_or(Promotion::Patch);
        if promotion == Promotion::External && matches!(strategy, Strategy::Rolling(_)) {
            return Err(
                "`promotion: external` has no place in `strategy: rolling`: the image is changed here".to_owned(),
            );
        }
        Ok(Settings {
            cluster: cluster(map)?,
            namespace: name(map, "namespace")?,
            deployment: deployment(map)?,
            container: name(map, "container")?,
            candidate,
            promotion,
            drift: drift(map)?,
            settle: duration(map, "settle")?.unwrap_or_else(|| settle(&strategy)),
            drain: duration(map, "drain")?,
            keep_baseline: duration(map, "keepBaseline")?,
            strategy,
        })
    }
}

/// How long a pod must have been ready where the settings do not say.
fn settle(strategy: &Strategy) -> Duration {
    match strategy {
        // A load balancer looks at its targets itself: two checks of the controller's 15 s, and what registering takes.
        Strategy::Canary(Traffic::Alb(_)) => Duration::from_secs(60),
        Strategy::Canary(
            Traffic::Istio(_) | Traffic::HttpRoute(_) | Traffic::Nginx(_) | Traffic::Smi(_) | Traffic::Pods(_),
        )
        | Strategy::BlueGreen(_)
        | Strategy::Rolling(_) => Duration::from_secs(10),
    }
}

fn cluster(map: &Map<String, Value>) -> Result<Cluster, String> {
    let path = text(map, "kubeconfig")?;
    let context = text(map, "context")?;
    match map.get("inCluster") {
        None | Some(Value::Bool(false)) => Ok(Cluster::Kubeconfig { path, context }),
        Some(Value::Bool(true)) if path.is_none() && context.is_none() => Ok(Cluster::InCluster),
        Some(Value::Bool(true)) => Err("`inCluster` excludes `kubeconfig` and `context`".to_owned()),
        Some(other) => Err(format!("`inCluster` is true or false, got {other}")),
    }
}

fn deployment(map: &Map<String, Value>) -> Result<String, String> {
    let workload = text(map, "workload")?.ok_or("`workload` is missing, as in `deployment/payments-api`")?;
    match workload.split_once('/') {
        Some(("deployment", name)) => checked_name("workload", name),
        Some((kind, _)) => Err(format!("`workload` is a `deployment/NAME`, not a `{kind}`")),
        None => Err(format!("`workload` is written like `deployment/{workload}`")),
    }
}

fn strategy(map: &Map<String, Value>) -> Result<Strategy, String> {
    let word = text(map, "strategy")?;
    let traffic = map.get("traffic").filter(|traffic| !traffic.is_null());
    if map.contains_key("rolling") && word.as_deref() != Some("rolling") {
        return Err("`rolling` belongs to `strategy: rolling`".to_owned());
    }
    match (word.as_deref(), traffic) {
        (Some("rolling"), None) => Ok(Strategy::Rolling(rolling(map)?)),
        (Some("rolling"), Some(_)) => {
            Err("`traffic` has no place in `strategy: rolling`: pods are replaced".to_owned())
        }
        (Some("canary" | "blueGreen") | None, None) => {
            Err("`traffic` is missing: one of istio, httpRoute, nginx, smi, alb, pods, services".to_owned())
        }
        (Some("canary"), Some(traffic)) => match mechanism(traffic)? {
            Way::Split(traffic) => Ok(Strategy::Canary(traffic)),
            Way::Switch(_) => Err("`traffic.services` switches at once: write `strategy: blueGreen`".to_owned()),
        },
        (Some("blueGreen"), Some(traffic)) => match mechanism(traffic)? {
            Way::Switch(services) => Ok(Strategy::BlueGreen(services)),
            Way::Split(_) => Err("`strategy: blueGreen` needs `traffic: {services: {active: …}}`".to_owned()),
        },
        (None, Some(traffic)) => Ok(match mechanism(traffic)? {
            Way::Split(traffic) => Strategy::Canary(traffic),
            Way::Switch(services) => Strategy::BlueGreen(services),
        }),
        (Some(other), _) => Err(format!("`strategy` is canary, blueGreen or rolling, not `{other}`")),
    }
}

/// In lower case, as HTTP compares it.
fn tenant_header(map: &Map<String, Value>) -> Result<Option<String>, String> {
    match text(map, "tenantHeader")? {
        Some(header) if !is_token(&header) => Err(format!(
            "`tenantHeader` is the name of a header, like `x-tenant`, got `{header}`"
        )),
        header => Ok(header.map(|header| header.to_ascii_lowercase())),
    }
}

fn set_tenant_header(strategy: &mut Strategy, header: &str) {
    match strategy {
        Strategy::Canary(Traffic::Istio(istio)) => header.clone_into(&mut istio.tenant_header),
        Strategy::Canary(Traffic::HttpRoute(route)) => header.clone_into(&mut route.tenant_header),
        Strategy::Canary(Traffic::Nginx(nginx)) => header.clone_into(&mut nginx.tenant_header),
        // These tell no audiences apart.
        Strategy::Canary(Traffic::Smi(_) | Traffic::Alb(_) | Traffic::Pods(_))
        | Strategy::BlueGreen(_)
        | Strategy::Rolling(_) => {}
    }
}

enum Way {
    Split(Traffic),
    Switch(Services),
}

fn mechanism(traffic: &Value) -> Result<Way, String> {
    let map = traffic.as_object().filter(|map| map.len() == 1);
    let Some((key, value)) = map.and_then(|map| map.iter().next()) else {
        return Err("`traffic` has exactly one key: istio, httpRoute, nginx, smi, alb, pods or services".to_owned());
    };
    let value = if value.is_null() {
        &Value::Object(Map::new())
    } else {
        value
    };
    let path = format!("traffic.{key}");
    let split = match key.as_str() {
        "istio" => Traffic::Istio(istio(parsed(value, &path)?)?),
        "httpRoute" => Traffic::HttpRoute(parsed(value, &path)?),
        "nginx" => Traffic::Nginx(parsed(value, &path)?),
        "smi" => Traffic::Smi(parsed(value, &path)?),
        "alb" => Traffic::Alb(parsed(value, &path)?),
        "pods" => Traffic::Pods(pods(parsed(value, &path)?)?),
        "services" => return services(parsed(value, &path)?).map(Way::Switch),
        other => {
            return Err(format!(
                "`traffic` has no `{other}`: istio, httpRoute, nginx, smi, alb, pods or services"
            ));
        }
    };
    for (field, name) in named(&split) {
        checked_name(&format!("{path}.{field}"), name)?;
    }
    Ok(Way::Split(split))
}

/// The names of objects in a mechanism's settings.
fn named(traffic: &Traffic) -> Vec<(&'static str, &str)> {
    fn some<'a>(field: &'static str, name: Option<&'a String>) -> Option<(&'static str, &'a str)> {
        name.map(|name| (field, name.as_str()))
    }
    match traffic {
        Traffic::Istio(istio) => [
            some("virtualService", Some(&istio.virtual_service)),
            some("destinationRule", istio.destination_rule.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Traffic::HttpRoute(route) => [some("name", Some(&route.name)), some("service", route.service.as_ref())]
            .into_iter()
            .flatten()
            .collect(),
        Traffic::Nginx(nginx) => [
            some("ingress", Some(&nginx.ingress)),
            some("service", nginx.service.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Traffic::Smi(smi) => [
            some("trafficSplit", smi.traffic_split.as_ref()),
            some("service", Some(&smi.service)),
            some("baselineService", smi.baseline_service.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Traffic::Alb(alb) => vec![("ingress", &alb.ingress), ("service", &alb.service)],
        Traffic::Pods(pods) => some("service", pods.service.as_ref()).into_iter().collect(),
    }
}

fn istio(istio: Istio) -> Result<Istio, String> {
    if istio.route.is_some() && !istio.routes.is_empty() {
        return Err("`traffic.istio` has `route` or `routes`, not both".to_owned());
    }
    if istio.baseline_subset == istio.candidate_subset {
        return Err("`traffic.istio.baselineSubset` and `candidateSubset` are the same".to_owned());
    }
    Ok(istio)
}

fn pods(pods: Pods) -> Result<Pods, String> {
    match pods.total {
        Some(0) => Err("`traffic.pods.total` is at least 1".to_owned()),
        Some(_) | None => Ok(pods),
    }
}

fn services(services: Services) -> Result<Services, String> {
    checked_name("traffic.services.active", &services.active)?;
    if let Some(preview) = &services.preview {
        checked_name("traffic.services.preview", preview)?;
    }
    if services.preview.as_ref() == Some(&services.active) {
        return Err("`traffic.services` names one Service twice: `active` and `preview` are two".to_owned());
    }
    Ok(services)
}

fn rolling(map: &Map<String, Value>) -> Result<Rolling, String> {
    let rolling: Rolling = section(map, "rolling")?.unwrap_or_default();
    for (key, value) in [
        ("maxSurge", &rolling.max_surge),
        ("maxUnavailable", &rolling.max_unavailable),
    ] {
        if let Some(value) = value {
            value.check(&format!("rolling.{key}"))?;
        }
    }
    let none = |value: &Option<IntOrPercent>| value.as_ref().is_some_and(IntOrPercent::is_zero);
    if none(&rolling.max_surge) && none(&rolling.max_unavailable) {
        return Err(
            "`rolling.maxSurge` and `rolling.maxUnavailable` cannot both be 0: no pod could be replaced".to_owned(),
        );
    }
    if let (Some(ready), Some(deadline)) = (rolling.min_ready_seconds, rolling.progress_deadline_seconds)
        && deadline <= ready
    {
        return Err("`rolling.progressDeadlineSeconds` is more than `rolling.minReadySeconds`".to_owned());
    }
    Ok(rolling)
}

fn check_candidate(candidate: &Candidate) -> Result<(), String> {
    checked_name("candidate.suffix", &candidate.suffix)?;
    if candidate.suffix.len() > SUFFIX_MAX {
        let suffix = &candidate.suffix;
        return Err(format!(
            "`candidate.suffix` is at most {SUFFIX_MAX} long, got `{suffix}`"
        ));
    }
    if candidate.min_replicas == 0 {
        return Err("`candidate.minReplicas` is at least 1: readiness has to be seen before traffic".to_owned());
    }
    let ours = candidate
        .labels
        .keys()
        .chain(candidate.annotations.keys())
        .find(|key| key.starts_with("meridian/"));
    match ours {
        Some(key) => Err(format!("`candidate` cannot set `{key}`: Meridian keeps that itself")),
        None => Ok(()),
    }
}

fn drift(map: &Map<String, Value>) -> Result<Drift, String> {
    const REASSERTED: Drift = Drift::Reassert { times: 5 };
    match map.get("drift") {
        None | Some(Value::Null) => Ok(REASSERTED),
        Some(Value::String(word)) => match word.as_str() {
            "reassert" => Ok(REASSERTED),
            "hold" => Ok(Drift::Hold),
            "report" => Ok(Drift::Report),
            other => Err(format!("`drift` is reassert, hold or report, not `{other}`")),
        },
        Some(value) => match parsed(value, "drift")? {
            Drift::Reassert { times: 0 } => {
                Err("`drift.reassert.times` is at least 1, or write `drift: hold`".to_owned())
            }
            drift => Ok(drift),
        },
    }
}

fn section<T: for<'de> Deserialize<'de>>(map: &Map<String, Value>, key: &str) -> Result<Option<T>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => parsed(value, key).map(Some),
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(value: &Value, path: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("`{path}`: {error}"))
}

fn text(map: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}` is a text, got {other}")),
    }
}

fn name(map: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    text(map, key)?.map(|name| checked_name(key, &name)).transpose()
}

fn duration(map: &Map<String, Value>, key: &str) -> Result<Option<Duration>, String> {
    let parse = |text: String| text.parse().map_err(|error| format!("`{key}`: {error}"));
    text(map, key)?.map(parse).transpose()
}

/// A name that objects and label values may have.
fn checked_name(key: &str, name: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_sound = name.len() <= LABEL_MAX
        && name.chars().all(|c| is_inner(c) || c == '-' || c == '.')
        && name.starts_with(is_inner)
        && name.ends_with(is_inner);
    if is_sound {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "`{key}` is a name of lower-case letters, digits and dashes, at most {LABEL_MAX} long, got `{name}`"
        ))
    }
}

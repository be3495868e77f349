//! The candidate's own objects: a second Deployment next to the first, its autoscaler and its disruption budget, derived from
//! the baseline's.

use std::collections::{BTreeMap, BTreeSet};

use meridian_engine::ports::provider::Fence;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::repeats;
use crate::settings::{AntiAffinity, Candidate};
use crate::traffic::{ARM_LABEL, FENCE_ANNOTATION, OWNER_LABEL, Placement, selector_before, shortened};
use crate::workload::{Workload, labels, selects};

/// The most of the copy's name: the API server cuts what a name is generated from at 58 characters, and pods of the copy must
/// still begin with its name and a dash, which those of no other Deployment do.
const NAME_MAX: usize = 57;
/// The annotation on the copy with a digest of the template that it was made from.
pub const TEMPLATE_ANNOTATION: &str = "meridian/template";
/// What `kubectl rollout restart` leaves in a template: the same template, begun again.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// Old ReplicaSets of the copy that are kept: its history is nobody's.
const HISTORY: u32 = 1;
/// The API's bound for a label's value.
const LABEL_MAX: usize = 63;
/// Labels whose change tells most people most; the first that fits is changed.
pub const TELLING: [&str; 4] = ["app", "app.kubernetes.io/name", "name", "k8s-app"];

/// The name of all of the candidate's own objects.
pub fn name(workload: &str, settings: &Candidate) -> String {
    shortened(workload, &settings.suffix, NAME_MAX)
}

/// Labels that select the candidate's pods and no others; a copy that was left under another suffix has others.
pub fn own_labels(workload: &str, suffix: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (OWNER_LABEL.to_owned(), workload.to_owned()),
        (ARM_LABEL.to_owned(), suffix.to_owned()),
    ])
}

/// Labels of the pod template to change so that no Service that selects the baseline's pods selects the candidate's: as few as
/// possible, because telemetry and network policies may go by the others.
pub fn labels_apart(original: &Workload, services: &[Value], suffix: &str) -> BTreeMap<String, String> {
    let pod_labels = original.pod_labels();
    let mut selectors: Vec<BTreeSet<String>> = services
        .iter()
        .map(|service| selector_before(service, original.name()))
        .filter(|selector| !selector.is_empty())
        .filter(|selector| selector.iter().all(|(key, value)| pod_labels.get(key) == Some(value)))
        .map(|selector| selector.into_keys().collect())
        .collect();
    let own: BTreeSet<String> = original.match_labels().into_keys().collect();
    if !own.is_empty() {
        selectors.push(own);
    }
    let mut changed = BTreeMap::new();
    while let Some(selector) = selectors.first() {
        let in_all = selector
            .iter()
            .find(|key| selectors.iter().all(|other| other.contains(*key)));
        let telling = TELLING
            .iter()
            .find(|key| selectors.iter().all(|other| other.contains(**key)));
        let in_first = TELLING.iter().find(|key| selector.contains(**key));
        let key = telling.or(in_first).map(|key| (*key).to_owned());
        let key = match (telling, in_all) {
            (None, Some(key)) => Some(key.clone()),
            (Some(_), _) | (None, None) => key,
        };
        let Some(key) = key.or_else(|| selector.first().cloned()) else {
            break;
        };
        let value = pod_labels.get(&key).map(String::as_str).unwrap_or_default();
        changed.insert(key.clone(), suffixed(value, suffix));
        selectors.retain(|selector| !selector.contains(&key));
    }
    changed
}

pub fn suffixed(value: &str, suffix: &str) -> String {
    let room = LABEL_MAX.saturating_sub(suffix.len() + 1);
    let kept: String = value.chars().take(room).collect();
    let kept = kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    if kept.is_empty() {
        suffix.to_owned()
    } else {
        format!("{kept}-{suffix}")
    }
}

/// What the copy is to be.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    pub image: &'a str,
    pub replicas: u32,
    pub placement: Placement,
    pub apart: &'a BTreeMap<String, String>,
    /// How long a pod must be ready before it counts.
    pub settle_seconds: u64,
    /// Whether pods are the share: then no pod of an old template may stand beside the new ones.
    pub counts_pods: bool,
    pub fence: Fence,
}

/// The labels of the copy's pods.
pub fn pod_labels(original: &Workload, settings: &Candidate, wish: &Wish<'_>) -> BTreeMap<String, String> {
    labels_placed(original, settings, wish.placement, wish.apart)
}

/// The labels of the copy's pods where it is placed so.
pub fn labels_placed(
    original: &Workload,
    settings: &Candidate,
    placement: Placement,
    apart: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = original.pod_labels();
    labels.extend(settings.labels.clone());
    if placement != Placement::Joined {
        labels.extend(apart.clone());
    }
    labels.remove("pod-template-hash");
    labels.extend(own_labels(original.name(), &settings.suffix));
    labels
}

/// The second Deployment, to be applied: the baseline's spec with the release's image in the right container, and a selector of
/// its own so that the two never fight over pods.
pub fn deployment(original: &Workload, settings: &Candidate, wish: &Wish<'_>) -> Value {
    let mut spec = original.object().pointer("/spec").cloned().unwrap_or(Value::Null);
    let mut template = spec["template"].take();
    template["spec"]["containers"][original.container_index()]["image"] = json!(wish.image);
    let mut annotations = labels(template.pointer("/metadata/annotations"));
    annotations.extend(settings.annotations.clone());
    let pod_labels = pod_labels(original, settings, wish);
    template["metadata"] = json!({"labels": pod_labels, "annotations": annotations});
    let own = own_labels(original.name(), &settings.suffix);
    spread(&mut template, &original.pod_labels(), &pod_labels, &own);
    keep_away(&mut template, original, settings.anti_affinity);
    repeats::drop_from(&mut template);
    spec["template"] = template;
    spec["replicas"] = json!(wish.replicas);
    spec["selector"] = json!({"matchLabels": own});
    spec["minReadySeconds"] = json!(wish.settle_seconds.max(original.min_ready_seconds()));
    spec["revisionHistoryLimit"] = json!(HISTORY);
    // The API refuses a deadline that is not above the time a pod must be ready.
    let ready = spec["minReadySeconds"].as_u64().unwrap_or(0);
    let deadline = spec["progressDeadlineSeconds"].as_u64().unwrap_or(600);
    spec["progressDeadlineSeconds"] = json!(deadline.max(ready + 60));
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("paused");
        if wish.counts_pods {
            spec.insert("strategy".to_owned(), json!({"type": "Recreate"}));
        }
    }
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(original.name(), settings, wish.fence),
        "spec": spec,
    });
    object["metadata"]["annotations"][TEMPLATE_ANNOTATION] = json!(template_digest(original));
    strip_nulls(&mut object);
    object
}

/// A digest of all of the baseline's template but the released image and what a restart changes.
pub fn template_digest(original: &Workload) -> String {
    let mut template = original
        .object()
        .pointer("/spec/template")
        .cloned()
        .unwrap_or(Value::Null);
    template["spec"]["containers"][original.container_index()]["image"] = Value::Null;
    if let Some(annotations) = template
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(RESTARTED);
        if annotations.is_empty() {
            template["metadata"]["annotations"] = Value::Null;
        }
    }
    strip_nulls(&mut template);
    let sum = Sha256::digest(template.to_string().as_bytes());
    sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What of the baseline's template has changed since the copy was made from it, in plain words: with another image alone it would
/// become something that nobody has tried.
pub fn outgrown(original: &Workload, copied: &Workload) -> Option<String> {
    let made_from = copied.annotation(TEMPLATE_ANNOTATION)?;
    (made_from != template_digest(original)).then(|| {
        format!(
            "somebody else has changed the pod template of {} beside its image since {} was made from it: promoted, it would be a \
             mix that was never tried",
            original.name(),
            copied.name()
        )
    })
}

/// No labels of the original: a GitOps tool that finds its own mark on the copy would prune it.
fn metadata(workload: &str, settings: &Candidate, fence: Fence) -> Value {
    json!({
        "name": name(workload, settings),
        "labels": own_labels(workload, &settings.suffix),
        "annotations": {FENCE_ANNOTATION: fence.to_string()},
    })
}

/// Candidate pods keep away from the nodes of baseline pods, so that one node's end does not take both arms.
fn keep_away(template: &mut Value, original: &Workload, anti_affinity: AntiAffinity) {
    let mut selector = original.selector().clone();
    // Joined candidate pods carry the baseline's labels too, and need not keep away from themselves.
    let absent = json!({"key": ARM_LABEL, "operator": "DoesNotExist"});
    match selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        Some(expressions) => expressions.push(absent),
        None => selector["matchExpressions"] = json!([absent]),
    }
    let term = json!({"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"});
    let (list, item) = match anti_affinity {
        AntiAffinity::None => return,
        AntiAffinity::Preferred => (
            "preferredDuringSchedulingIgnoredDuringExecution",
            json!({"weight": 100, "podAffinityTerm": term}),
        ),
        AntiAffinity::Required => ("requiredDuringSchedulingIgnoredDuringExecution", term),
    };
    let affinity = &mut template["spec"]["affinity"]["podAntiAffinity"][list];
    match affinity.as_array_mut() {
        Some(items) => items.push(item),
        None => *affinity = json!([item]),
    }
}

/// Rules by which the baseline's pods keep away from each other hold among the candidate's too, where their labels are not the
/// baseline's: without that all of them could stand on one node, and take all traffic down with it.
fn spread(
    template: &mut Value,
    original: &BTreeMap<String, String>,
    copied: &BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
) {
    let is_lost = |selector: &Value| selector.is_object() && selects(selector, original) && !selects(selector, copied);
    let own = json!({"matchLabels": own});
    for (list, term) in [
        ("requiredDuringSchedulingIgnoredDuringExecution", ""),
        ("preferredDuringSchedulingIgnoredDuringExecution", "/podAffinityTerm"),
    ] {
        let items = template.pointer_mut(&format!("/spec/affinity/podAntiAffinity/{list}"));
        let Some(items) = items.and_then(Value::as_array_mut) else {
            continue;
        };
        // The baseline's own stays: it keeps the arms away from each other, as it keeps their pods.
        let more: Vec<Value> = items
            .iter()
            .filter(|item| item.pointer(&format!("{term}/labelSelector")).is_some_and(is_lost))
            .cloned()
            .filter_map(|mut item| {
                *item.pointer_mut(&format!("{term}/labelSelector"))? = own.clone();
                Some(item)
            })
            .collect();
        items.extend(more);
    }
    // Two constraints over one topology are refused, so this one is turned to the candidate's own pods.
    let constraints = template.pointer_mut("/spec/topologySpreadConstraints");
    for constraint in constraints.and_then(Value::as_array_mut).into_iter().flatten() {
        if constraint.get("labelSelector").is_some_and(is_lost) {
            constraint["labelSelector"] = own.clone();
        }
    }
}

/// Bounds of the candidate's autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
}

/// Whether an autoscaler of the candidate's own can follow the baseline's: not where its metrics are about the whole (a queue's
/// length would scale both arms), nor where the baseline's selector takes in candidate pods (two autoscalers over one pod stop
/// each other: `AmbiguousSelector`).
pub fn can_autoscale(original: &Workload, autoscaler: &Value, candidate_labels: &BTreeMap<String, String>) -> bool {
    let metrics = autoscaler.pointer("/spec/metrics").and_then(Value::as_array);
    let by_pod = |metric: &Value| matches!(metric["type"].as_str(), Some("Resource" | "ContainerResource" | "Pods"));
    metrics.is_some_and(|metrics| !metrics.is_empty() && metrics.iter().all(by_pod))
        && !selects(original.selector(), candidate_labels)
}

/// The candidate's autoscaler: the baseline's rules over the candidate's pods, within its share of the bounds.
pub fn autoscaler(of: &Value, workload: &str, settings: &Candidate, bounds: Bounds, fence: Fence) -> Value {
    let mut spec = of.get("spec").cloned().unwrap_or(Value::Null);
    spec["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name(workload, settings)});
    spec["minReplicas"] = json!(bounds.min);
    spec["maxReplicas"] = json!(bounds.max);
    let mut object = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(workload, settings, fence),
        "spec": spec,
    });
    strip_nulls(&mut object);
    object
}

/// The bounds that an autoscaler has now.
pub fn bounds(autoscaler: &Value) -> Option<Bounds> {
    let read = |key: &str| {
        autoscaler
            .pointer(&format!("/spec/{key}"))?
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
    };
    Some(Bounds {
        min: read("minReplicas").unwrap_or(1),
        max: read("maxReplicas")?,
    })
}

/// What a disruption budget allows, for so many candidate pods out of so many in all.
///
/// A number of pods that must stay is taken down to the candidate's part: kept whole, it would forbid every eviction.
pub fn budget(of: &Value, workload: &str, settings: &Candidate, pods: u32, total: u32, fence: Fence) -> Value {
    let mut spec = Map::new();
    spec.insert(
        "selector".to_owned(),
        json!({"matchLabels": own_labels(workload, &settings.suffix)}),
    );
    for key in ["maxUnavailable", "unhealthyPodEvictionPolicy"] {
        if let Some(value) = of.pointer(&format!("/spec/{key}")) {
            spec.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(least) = of.pointer("/spec/minAvailable") {
        let least = match least.as_u64() {
            Some(least) => json!(least.saturating_mul(u64::from(pods)) / u64::from(total.max(1))),
            None => least.clone(),
        };
        spec.insert("minAvailable".to_owned(), least);
    }
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(workload, settings, fence),
        "spec": spec,
    })
}

/// Absent and null say the same everywhere but in an apply, where null claims the field.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meridian_engine::ports::provider::Fence;
    use serde_json::{Value, json};

    use super::{Wish, budget, can_autoscale, deployment, labels_apart, pod_labels};
    use crate::settings::{AntiAffinity, Candidate};
    use crate::traffic::Placement;
    use crate::workload::{Workload, selects};

    const FENCE: Fence = Fence {
        claim: 1,
        epoch: 1,
        seq: 1,
    };

    fn original() -> Workload {
        let object = json!({
            "metadata": {"name": "shop", "labels": {"app.kubernetes.io/instance": "argo"}},
            "spec": {"replicas": 4, "paused": false, "progressDeadlineSeconds": 5,
                "selector": {"matchLabels": {"app": "shop", "tier": "web"}},
                "template": {"metadata": {"creationTimestamp": null, "labels": {"app": "shop", "tier": "web", "team": "a"}},
                    "spec": {"containers": [{"name": "proxy", "image": "proxy:1"}, {"name": "web", "image": "shop:v1"}]}}}});
        Workload::of(object, Some("web")).unwrap()
    }

    fn service(selector: Value) -> Value {
        json!({"spec": {"selector": selector}})
    }

    fn wish(apart: &BTreeMap<String, String>, placement: Placement) -> Wish<'_> {
        Wish {
            image: "shop:v2",
            replicas: 2,
            placement,
            apart,
            settle_seconds: 10,
            counts_pods: false,
            fence: FENCE,
        }
    }

    #[test]
    fn one_telling_label_is_changed_where_one_is_enough() {
        let services = [
            service(json!({"app": "shop"})),
            service(json!({"app": "other"})),
            service(json!({})),
        ];
        let apart = labels_apart(&original(), &services, "candidate");
        assert_eq!(apart, BTreeMap::from([("app".to_owned(), "shop-candidate".to_owned())]));
        let services = [service(json!({"app": "shop"})), service(json!({"team": "a"}))];
        let apart = labels_apart(&original(), &services, "candidate");
        assert_eq!(apart.keys().collect::<Vec<_>>(), ["app", "team"]);
    }

    #[test]
    fn no_service_of_the_baseline_selects_pods_that_stand_apart() {
        let services = [
            service(json!({"tier": "web"})),
            service(json!({"app": "shop", "team": "a"})),
            service(json!({"team": "a"})),
        ];
        let apart = labels_apart(&original(), &services, "candidate");
        let labels = pod_labels(&original(), &Candidate::default(), &wish(&apart, Placement::Apart));
        for service in &services {
            let selector = json!({"matchLabels": service["spec"]["selector"]});
            assert!(!selects(&selector, &labels), "{selector} selects {labels:?}");
        }
        let long = "x".repeat(63);
        assert_eq!(super::suffixed(&long, "candidate").len(), 63);
    }

    #[test]
    fn only_the_released_container_gets_the_image() {
        let apart = BTreeMap::from([("app".to_owned(), "shop-candidate".to_owned())]);
        let copy = deployment(&original(), &Candidate::default(), &wish(&apart, Placement::Apart));
        let containers = &copy["spec"]["template"]["spec"]["containers"];
        assert_eq!(
            (&containers[0]["image"], &containers[1]["image"]),
            (&json!("proxy:1"), &json!("shop:v2"))
        );
        assert_eq!(copy["metadata"]["labels"].get("app.kubernetes.io/instance"), None);
        assert_eq!(copy["spec"]["selector"]["matchLabels"]["meridian/arm"], "candidate");
        assert_eq!(copy["spec"]["progressDeadlineSeconds"], 70);
        assert!(!copy.to_string().contains("null"), "{copy}");
    }

    #[test]
    fn no_two_candidate_pods_stand_where_two_baseline_pods_may_not() {
        let by_app = json!({"matchLabels": {"app": "shop"}});
        let by_team = json!({"matchLabels": {"team": "a"}});
        let mut object = original().object().clone();
        object["spec"]["template"]["spec"]["affinity"] = json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": by_app, "topologyKey": "kubernetes.io/hostname"},
                {"labelSelector": by_team, "topologyKey": "zone"}],
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7, "podAffinityTerm": {"labelSelector": by_app, "topologyKey": "zone"}}]}});
        object["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": by_app},
            {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "other"}}}]);
        let original = Workload::of(object, Some("web")).unwrap();
        let apart = BTreeMap::from([("app".to_owned(), "shop-candidate".to_owned())]);
        let copy = deployment(&original, &Candidate::default(), &wish(&apart, Placement::Apart));
        let spec = &copy["spec"]["template"]["spec"];
        let labels = pod_labels(&original, &Candidate::default(), &wish(&apart, Placement::Apart));
        let anti = &spec["affinity"]["podAntiAffinity"];
        let required = anti["requiredDuringSchedulingIgnoredDuringExecution"]
            .as_array()
            .unwrap();
        let hosts = required
            .iter()
            .filter(|term| term["topologyKey"] == "kubernetes.io/hostname");
        let selectors: Vec<&Value> = hosts.map(|term| &term["labelSelector"]).collect();
        assert!(
            selectors
                .iter()
                .any(|selector| selects(selector, &original.pod_labels()))
        );
        assert!(selectors.iter().any(|selector| selects(selector, &labels)));
        assert_eq!(
            required.len(),
            3,
            "a term that takes the candidate in already is enough"
        );
        let preferred = &anti["preferredDuringSchedulingIgnoredDuringExecution"][1];
        assert_eq!(
            (&preferred["weight"], &preferred["podAffinityTerm"]["topologyKey"]),
            (&json!(7), &json!("zone"))
        );
        let constraints = spec["topologySpreadConstraints"].as_array().unwrap();
        assert_eq!(constraints.len(), 2, "one a topology, or the API refuses them");
        assert!(selects(&constraints[0]["labelSelector"], &labels));
        assert_eq!(constraints[1]["labelSelector"]["matchLabels"]["app"], "other");
        let joined = deployment(&original, &Candidate::default(), &wish(&apart, Placement::Joined));
        let joined = &joined["spec"]["template"]["spec"];
        assert_eq!(joined["topologySpreadConstraints"][0]["labelSelector"], by_app);
    }

    #[test]
    fn pods_of_the_copy_begin_with_its_name_however_long_that_of_the_workload_is() {
        for length in [1, 47, 48, 58, 63] {
            let workload = "w".repeat(length);
            let name = super::name(&workload, &Candidate::default());
            assert!(
                name.len() < 58,
                "{name}: a dash fits behind it before the API server cuts"
            );
            assert!(name.ends_with("-candidate") && name != workload);
        }
        let (one, two) = ("w".repeat(63), format!("{}x", "w".repeat(62)));
        let settings = Candidate::default();
        assert_ne!(super::name(&one, &settings), super::name(&two, &settings));
        assert_eq!(super::name("shop", &settings), "shop-candidate");
    }

    #[test]
    fn a_copy_under_another_suffix_is_no_pod_of_this_one() {
        let other = Candidate {
            suffix: "green".to_owned(),
            ..Candidate::default()
        };
        let none = BTreeMap::new();
        let old = pod_labels(&original(), &other, &wish(&none, Placement::Joined));
        let own = json!({"matchLabels": super::own_labels("shop", "candidate")});
        assert!(!selects(&own, &old));
    }

    #[test]
    fn a_template_that_others_change_is_told_and_a_restart_or_another_image_is_not() {
        let none = BTreeMap::new();
        let copy = deployment(&original(), &Candidate::default(), &wish(&none, Placement::Joined));
        let copy = Workload::of(copy, Some("web")).unwrap();
        let with = |pointer: &str, value: Value| {
            let mut object = original().object().clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[key] = value;
            super::outgrown(&Workload::of(object, Some("web")).unwrap(), &copy)
        };
        assert_eq!(super::outgrown(&original(), &copy), None);
        assert_eq!(with("/spec/template/spec/containers/1/image", json!("shop:v2")), None);
        let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
        assert_eq!(with("/spec/template/metadata/annotations", restarted), None);
        assert!(with("/spec/template/spec/containers/0/image", json!("proxy:2")).is_some());
        assert!(
            with(
                "/spec/template/spec/containers/1/env",
                json!([{"name": "A", "value": "1"}])
            )
            .is_some()
        );
    }

    #[test]
    fn joined_pods_keep_away_from_the_baselines_and_not_from_each_other() {
        let settings = Candidate {
            anti_affinity: AntiAffinity::Required,
            ..Candidate::default()
        };
        let none = BTreeMap::new();
        let copy = deployment(&original(), &settings, &wish(&none, Placement::Joined));
        let rules = &copy["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"];
        let selector = &rules["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"];
        let labels = pod_labels(&original(), &settings, &wish(&none, Placement::Joined));
        assert!(selects(selector, &original().pod_labels()));
        assert!(!selects(selector, &labels));
    }

    #[test]
    fn two_autoscalers_never_see_one_pod_and_none_scales_by_the_whole() {
        let by = |kind: &str| json!({"spec": {"maxReplicas": 9, "metrics": [{"type": kind}]}});
        let apart = BTreeMap::from([("app".to_owned(), "shop-candidate".to_owned())]);
        let labels = |placement| pod_labels(&original(), &Candidate::default(), &wish(&apart, placement));
        assert!(can_autoscale(&original(), &by("Resource"), &labels(Placement::Apart)));
        assert!(!can_autoscale(&original(), &by("Resource"), &labels(Placement::Joined)));
        assert!(!can_autoscale(&original(), &by("External"), &labels(Placement::Apart)));
    }

    #[test]
    fn a_budget_in_percent_stays_and_one_in_pods_is_taken_down() {
        let of = |least: Value| json!({"spec": {"minAvailable": least, "selector": {}}});
        let least = |least: Value| {
            budget(&of(least), "shop", &Candidate::default(), 2, 10, FENCE)["spec"]["minAvailable"].clone()
        };
        assert_eq!(least(json!("80%")), "80%");
        assert_eq!((least(json!(8)), least(json!(3))), (json!(1), json!(0)));
    }
}

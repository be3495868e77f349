//! The label by which routes tell the arms apart where one Service selects the pods of both: baseline pods carry it already, the
//! copy's pods get another value, and no Service selects by it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::copy::{TELLING, suffixed};
use crate::settings::Candidate;
use crate::traffic::selector_before;
use crate::workload::{Workload, labels};

/// Labels that versions are told by, the most usual first.
const VERSIONS: [&str; 3] = ["version", "app.kubernetes.io/version", "track"];
/// The label that the Deployment controller adds by itself.
const HASH_LABEL: &str = "pod-template-hash";

/// The label, and the value that it gets on the copy's pods; empty where the baseline's pods have none that could be taken.
///
/// One that the settings give the candidate another value of comes first, then one of the Deployment's own selector, which cannot
/// change while it lives. Labels with a prefix are machines' words (`istio.io/rev`) and left alone, but for well-known ones.
pub fn chosen(original: &Workload, services: &[Value], settings: &Candidate) -> BTreeMap<String, String> {
    let pods = original.pod_labels();
    let taken: BTreeSet<String> = services
        .iter()
        .map(|service| selector_before(service, original.name()))
        .filter(|selector| selector.iter().all(|(key, value)| pods.get(key) == Some(value)))
        .flat_map(BTreeMap::into_keys)
        .collect();
    let own = original.match_labels();
    let known = |key: &str| VERSIONS.iter().chain(&TELLING).any(|known| *known == key);
    let rank = |key: &str| {
        let place = VERSIONS.iter().chain(&TELLING).position(|known| *known == key);
        (!own.contains_key(key), place.unwrap_or(usize::MAX))
    };
    let set = settings.labels.iter().find(|(key, value)| {
        let is_other = pods.get(*key).is_some_and(|before| before != *value);
        is_other && !taken.contains(*key)
    });
    if let Some((key, value)) = set {
        return BTreeMap::from([(key.clone(), value.clone())]);
    }
    let free = pods
        .keys()
        .filter(|key| !taken.contains(*key) && *key != HASH_LABEL)
        .filter(|key| known(key) || !key.contains('/'));
    let Some(key) = free.min_by_key(|key| rank(key)) else {
        return BTreeMap::new();
    };
    let value = pods.get(key).map(String::as_str).unwrap_or_default();
    BTreeMap::from([(key.clone(), suffixed(value, &settings.suffix))])
}

/// The label with its value on the baseline's pods, where no pod of a copy has that value: a copy that was made before, or by another
/// hand, is not told apart by it until its last such pod is gone.
pub fn standing(
    chosen: &BTreeMap<String, String>,
    original: &Workload,
    copied: Option<&Workload>,
    copy_sets: &[Value],
) -> Option<(String, String)> {
    let key = chosen.keys().next()?;
    let value = original.pod_labels().remove(key)?;
    let is_taken = copied.is_some_and(|copied| copied.pod_labels().get(key) == Some(&value));
    let has_pods = |set: &&Value| {
        let count = |pointer: &str| set.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        count("/spec/replicas") > 0 || count("/status/replicas") > 0
    };
    let is_left = copy_sets
        .iter()
        .filter(has_pods)
        .any(|set| labels(set.pointer("/spec/template/metadata/labels")).get(key) == Some(&value));
    (!is_taken && !is_left).then(|| (key.clone(), value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{chosen, standing};
    use crate::settings::Candidate;
    use crate::workload::Workload;

    fn workload(selector: Value, labels: Value) -> Workload {
        let object = json!({"metadata": {"name": "shop"}, "spec": {"selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web"}]}}}});
        Workload::of(object, None).unwrap()
    }

    fn key(original: &Workload, service: Value) -> Option<String> {
        let services = [
            json!({"spec": {"selector": service}}),
            json!({"spec": {"selector": {"app": "other"}}}),
        ];
        chosen(original, &services, &Candidate::default()).into_keys().next()
    }

    #[test]
    fn a_label_that_cannot_change_comes_before_one_that_says_the_version() {
        let labels = json!({"app": "shop", "tier": "web", "version": "v1", "istio.io/rev": "stable"});
        let app = json!({"app": "shop"});
        let fixed = workload(json!({"app": "shop", "tier": "web"}), labels.clone());
        assert_eq!(key(&fixed, app.clone()).as_deref(), Some("tier"));
        let original = workload(app.clone(), labels);
        assert_eq!(key(&original, app.clone()).as_deref(), Some("version"));
        assert_eq!(
            key(&original, json!({"app": "shop", "version": "v1"})).as_deref(),
            Some("tier"),
            "what the Service selects by stays"
        );
        let bare = workload(app.clone(), json!({"app": "shop", "istio.io/rev": "stable"}));
        assert_eq!(key(&bare, app), None, "a machine's word is not changed");
    }

    #[test]
    fn what_the_settings_give_the_candidate_is_taken_as_it_is() {
        let original = workload(
            json!({"app": "shop"}),
            json!({"app": "shop", "track": "stable", "version": "v1"}),
        );
        let settings = Candidate {
            labels: BTreeMap::from([("track".to_owned(), "canary".to_owned())]),
            ..Candidate::default()
        };
        let services = [json!({"spec": {"selector": {"app": "shop"}}})];
        assert_eq!(
            chosen(&original, &services, &settings),
            BTreeMap::from([("track".to_owned(), "canary".to_owned())])
        );
    }

    #[test]
    fn a_label_tells_nothing_apart_while_a_pod_of_the_copy_has_the_baselines_value() {
        let original = workload(json!({"app": "shop"}), json!({"app": "shop", "tier": "web"}));
        let chosen = BTreeMap::from([("tier".to_owned(), "web-candidate".to_owned())]);
        let set = |tier: &str, replicas: u32| json!({"spec": {"replicas": replicas, "template": {"metadata": {"labels": {"tier": tier}}}}});
        let told = Some(("tier".to_owned(), "web".to_owned()));
        assert_eq!(standing(&chosen, &original, None, &[]), told);
        assert_eq!(
            standing(&chosen, &original, None, &[set("web-candidate", 2), set("web", 0)]),
            told
        );
        assert_eq!(standing(&chosen, &original, None, &[set("web", 1)]), None);
        assert_eq!(standing(&chosen, &original, Some(&original), &[]), None);
    }
}

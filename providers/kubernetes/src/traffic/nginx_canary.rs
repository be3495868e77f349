//! What a canary Ingress says: made after the stable one, read and set as a split. Pure: from JSON to JSON.

use std::collections::BTreeMap;

use meridian_workflows::share::Share;
use serde_json::{Map, Value, json};

use super::audience::{self, Mark};
use super::nginx::Nginx;
use super::object::{annotation, fence, list, map, member, memory, remember};
use super::service::counterpart;
use super::weights::Weights;
use super::{ARM_LABEL, AUDIENCE_MEMORY, Arms, Mechanism, OWNER_LABEL, Split, Standing};
use crate::api::resource::INGRESSES;

/// Whole percents are written out of 100, which every version of the controller understands; finer ones need its totals.
const TOTALS: &[u32] = &[100, 1000, 10_000];
/// What a canary does not take over from its stable Ingress by itself, by the beginning of the annotation's name.
const COPIED: &[&str] = &["affinity", "session-cookie-", "load-balance", "upstream-hash-by"];
/// How ingresses of old were given to a controller.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

impl Nginx {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.0.annotation_prefix)
    }

    /// The Service that the stable Ingress sends to.
    pub(super) fn service(&self, stable: &Value) -> Result<String, String> {
        if annotation(stable, &self.key("canary")) == Some("true") {
            return Err("it is a canary itself: name the stable Ingress".to_owned());
        }
        let mut names: Vec<&str> = Vec::new();
        for rule in list(stable, &["spec", "rules"])? {
            let paths = list(rule, &["http", "paths"])?;
            names.extend(
                paths
                    .iter()
                    .filter_map(|path| path["backend"]["service"]["name"].as_str()),
            );
        }
        names.sort_unstable();
        names.dedup();
        match (&self.0.service, names.as_slice()) {
            (Some(service), names) if names.contains(&service.as_str()) => Ok(service.clone()),
            (Some(service), _) => Err(format!(
                "no rule sends to Service `{service}` (a canary needs rules: the default backend has none)"
            )),
            (None, [one]) => Ok((*one).to_owned()),
            (None, []) => Err("it has no rules with a Service, and a canary needs them".to_owned()),
            (None, several) => Err(format!(
                "its rules send to several Services ({}): name one as `traffic.nginx.service`",
                several.join(", ")
            )),
        }
    }

    /// The canary's specification: the stable Ingress' rules that send to the Service, sent to the candidate's instead.
    pub(super) fn spec(&self, stable: &Value, service: &str, candidate: &str) -> Result<Value, String> {
        let mut rules = Vec::new();
        for rule in list(stable, &["spec", "rules"])? {
            let paths = list(rule, &["http", "paths"])?.iter();
            let paths: Vec<Value> = paths
                .filter(|path| path["backend"]["service"]["name"] == json!(service))
                .cloned()
                .collect();
            if paths.is_empty() {
                continue;
            }
            let to_candidate = |mut path: Value| {
                *member(member(member(&mut path, "backend"), "service"), "name") = json!(candidate);
                path
            };
            let mut copy = rule.clone();
            *member(member(&mut copy, "http"), "paths") = paths.into_iter().map(to_candidate).collect();
            rules.push(copy);
        }
        let mut spec = json!({"rules": rules});
        if let Some(class) = stable["spec"].get("ingressClassName").filter(|class| !class.is_null()) {
            spec["ingressClassName"] = class.clone();
        }
        Ok(spec)
    }

    /// Brings a canary's specification and copied annotations up to what the stable Ingress says now; its weights stay.
    pub(super) fn follow(&self, canary: &mut Value, stable: &Value, arms: &Arms) -> Result<(), String> {
        let service = self.service(stable)?;
        *member(canary, "spec") = self.spec(stable, &service, &counterpart(&service, &arms.suffix))?;
        let empty = Map::new();
        let theirs = stable["metadata"]["annotations"].as_object().unwrap_or(&empty);
        let is_copied = |key: &str| {
            let name = key
                .strip_prefix(&self.0.annotation_prefix)
                .and_then(|name| name.strip_prefix('/'));
            key == CLASS_ANNOTATION || name.is_some_and(|name| COPIED.iter().any(|start| name.starts_with(start)))
        };
        let annotations = map(member(member(canary, "metadata"), "annotations"));
        annotations.retain(|key, _| !is_copied(key));
        annotations.extend(
            theirs
                .iter()
                .filter(|(key, _)| is_copied(key))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        annotations.insert(self.key("canary"), json!("true"));
        Ok(())
    }

    pub(super) fn made(&self, stable: &Value, arms: &Arms) -> Result<Value, String> {
        let mut canary = json!({
            "apiVersion": INGRESSES.api_version(),
            "kind": INGRESSES.kind,
            "metadata": {"name": self.canary(arms), "labels": {OWNER_LABEL: arms.workload, ARM_LABEL: "candidate"}},
        });
        self.follow(&mut canary, stable, arms)?;
        self.set(&mut canary, &arms.workload, &Split::none())?;
        Ok(canary)
    }

    /// Makes a canary show this split.
    pub(super) fn set(&self, canary: &mut Value, workload: &str, split: &Split) -> Result<(), String> {
        if let Some(why) = self.refusal(split) {
            return Err(why);
        }
        let weights =
            Weights::of(split.share, TOTALS).ok_or_else(|| format!("{} is too fine for its weights", split.share))?;
        let mut wanted = vec![
            ("canary-weight", Some(weights.candidate.to_string())),
            (
                "canary-weight-total",
                Some((weights.candidate + weights.baseline).to_string()),
            ),
        ];
        wanted.extend(selection(&split.audience, &self.0.tenant_header)?);
        let annotations = map(member(member(canary, "metadata"), "annotations"));
        for (name, value) in wanted {
            match value {
                Some(value) => annotations.insert(self.key(name), Value::String(value)),
                None => annotations.remove(&self.key(name)),
            };
        }
        let audience = (!split.audience.is_empty()).then(|| json!(split.audience));
        remember(canary, AUDIENCE_MEMORY, workload, audience.as_ref());
        Ok(())
    }

    /// The split that a canary shows.
    pub(super) fn shown(&self, canary: &Value, workload: &str) -> Result<Split, String> {
        if annotation(canary, &self.key("canary")) != Some("true") {
            return Ok(Split::none());
        }
        let number = |name: &str, default: u32| match annotation(canary, &self.key(name)) {
            Some(text) => text
                .parse::<u32>()
                .map_err(|_| format!("annotation `{}` is no number", self.key(name))),
            None => Ok(default),
        };
        let (weight, total) = (number("canary-weight", 0)?, number("canary-weight-total", 100)?);
        let weights = Weights {
            candidate: weight,
            baseline: total.saturating_sub(weight),
        };
        let audience = memory(canary, AUDIENCE_MEMORY, workload).and_then(|value| serde_json::from_value(value).ok());
        Ok(Split {
            share: weights.share().unwrap_or(Share::ZERO),
            mirror: Share::ZERO,
            audience: audience.unwrap_or_default(),
        })
    }

    pub(super) fn standing(&self, stable: &Value, canary: Option<&Value>, arms: &Arms) -> Result<Standing, String> {
        let Some(canary) = canary else {
            return Ok(Standing::default());
        };
        let split = self.shown(canary, &arms.workload)?;
        let mut again = canary.clone();
        self.follow(&mut again, stable, arms)?;
        self.set(&mut again, &arms.workload, &split)?;
        let name = self.canary(arms);
        Ok(Standing {
            oddity: (again != *canary).then(|| {
                format!("Ingress `{name}` is not what it was made: somebody else has changed it, or the stable one")
            }),
            fence: fence(canary, &arms.workload),
            split,
            unfit: None,
        })
    }
}

/// The annotations that pick an audience out; all of them, so that none of a former one stays.
pub fn selection(
    audience: &BTreeMap<String, String>,
    tenant_header: &str,
) -> Result<Vec<(&'static str, Option<String>)>, String> {
    let mut header: Option<(String, Vec<String>)> = None;
    let mut by_cookie = None;
    for mark in audience::marks(audience, tenant_header)? {
        match mark {
            Mark::Header { name, value } => match &mut header {
                None => header = Some((name, vec![value])),
                Some((known, values)) if *known == name => values.push(value),
                Some((known, _)) => {
                    return Err(format!(
                        "ingress-nginx picks an audience by one header, so not by `{known}` and `{name}`"
                    ));
                }
            },
            Mark::Cookie { name, value } if value == "always" => by_cookie = Some(name),
            Mark::Cookie { name, .. } => {
                return Err(format!(
                    "ingress-nginx picks by a cookie of the value `always`: write `{name}=always`"
                ));
            }
        }
    }
    let (name, value, pattern) = match header {
        None => (None, None, None),
        Some((name, values)) => match values.as_slice() {
            [one] => (Some(name), Some(one.clone()), None),
            several => {
                let any: Vec<String> = several.iter().map(|value| audience::escaped(value)).collect();
                (Some(name), None, Some(format!("^({})$", any.join("|"))))
            }
        },
    };
    Ok(vec![
        ("canary-by-header", name),
        ("canary-by-header-value", value),
        ("canary-by-header-pattern", pattern),
        ("canary-by-cookie", by_cookie),
    ])
}

/// Hosts and paths of an Ingress.
pub fn places(ingress: &Value) -> Vec<(String, String)> {
    let mut places = Vec::new();
    for rule in ingress["spec"]["rules"].as_array().into_iter().flatten() {
        let host = rule["host"].as_str().unwrap_or("*");
        for path in rule["http"]["paths"].as_array().into_iter().flatten() {
            places.push((host.to_owned(), path["path"].as_str().unwrap_or("/").to_owned()));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meridian_workflows::share::Share;
    use serde_json::json;

    use super::super::nginx::Nginx;
    use super::super::tests::arms;
    use super::Split;
    use crate::settings;

    fn nginx() -> Nginx {
        Nginx(settings::Nginx {
            ingress: "payments".to_owned(),
            service: None,
            annotation_prefix: "nginx.ingress.kubernetes.io".to_owned(),
            tenant_header: "x-tenant".to_owned(),
        })
    }

    fn stable() -> serde_json::Value {
        let path = |path: &str, service: &str| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"name": "http"}}}});
        json!({"metadata": {"name": "payments", "annotations": {"nginx.ingress.kubernetes.io/affinity": "cookie",
                "nginx.ingress.kubernetes.io/rewrite-target": "/", "kubernetes.io/ingress.class": "nginx"}},
            "spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["shop.example.com"]}], "rules": [
                {"host": "shop.example.com", "http": {"paths": [path("/pay", "payments"), path("/pay/v2", "payments")]}}]}})
    }

    #[test]
    fn a_canary_has_the_rules_of_its_stable_ingress_and_a_weight_of_none() {
        let canary = nginx().made(&stable(), &arms()).unwrap();
        assert_eq!(
            canary["spec"]["rules"][0]["http"]["paths"][1]["backend"]["service"],
            json!({"name": "payments-candidate", "port": {"name": "http"}})
        );
        assert_eq!(canary["spec"].get("tls"), None);
        assert_eq!(
            canary["metadata"]["annotations"],
            json!({"nginx.ingress.kubernetes.io/affinity": "cookie", "kubernetes.io/ingress.class": "nginx", "nginx.ingress.kubernetes.io/canary": "true",
                "nginx.ingress.kubernetes.io/canary-weight": "0", "nginx.ingress.kubernetes.io/canary-weight-total": "100"})
        );
        let standing = nginx().standing(&stable(), Some(&canary), &arms()).unwrap();
        assert!(standing.split.is_none() && standing.oddity.is_none());
    }

    #[test]
    fn every_share_and_audience_reads_back_as_it_was_written() {
        let mut canary = nginx().made(&stable(), &arms()).unwrap();
        let mut splits: Vec<Split> = (0..=10_000)
            .map(|points| Split {
                share: Share::from_basis_points(points).unwrap(),
                ..Split::none()
            })
            .collect();
        for (key, text) in [
            ("header", "x-canary: yes"),
            ("cookie", "canary=always"),
            ("tenants", "acme,initech"),
        ] {
            splits.push(Split {
                audience: BTreeMap::from([(key.to_owned(), text.to_owned())]),
                ..Split::none()
            });
        }
        for split in splits {
            nginx().set(&mut canary, "payments", &split).unwrap();
            let standing = nginx().standing(&stable(), Some(&canary), &arms()).unwrap();
            assert_eq!((standing.split, standing.oddity), (split, None));
        }
        let annotations = canary["metadata"]["annotations"].as_object().unwrap();
        assert_eq!(
            annotations["nginx.ingress.kubernetes.io/canary-by-header-pattern"],
            "^(acme|initech)$"
        );
        assert!(
            !annotations.contains_key("nginx.ingress.kubernetes.io/canary-by-cookie"),
            "of a former audience nothing stays"
        );
    }

    #[test]
    fn what_ingress_nginx_cannot_pick_by_is_refused_before_anything_opens() {
        use super::Mechanism;
        let split = |key: &str, text: &str| Split {
            audience: BTreeMap::from([
                (key.to_owned(), text.to_owned()),
                ("tenants".to_owned(), "acme".to_owned()),
            ]),
            ..Split::none()
        };
        assert!(
            nginx()
                .refusal(&split("header", "x-canary: yes"))
                .unwrap()
                .contains("one header")
        );
        assert!(
            nginx()
                .refusal(&split("cookie", "canary=yes"))
                .unwrap()
                .contains("`canary=always`")
        );
    }

    #[test]
    fn a_changed_canary_is_odd() {
        let mut canary = nginx().made(&stable(), &arms()).unwrap();
        canary["spec"]["rules"][0]["host"] = json!("other.example.com");
        assert!(
            nginx()
                .standing(&stable(), Some(&canary), &arms())
                .unwrap()
                .oddity
                .is_some()
        );
    }
}

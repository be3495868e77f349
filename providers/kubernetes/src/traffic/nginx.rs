//! A canary Ingress of ingress-nginx, beside the stable one: made here, so all of it is ours; the stable one is only read.
//!
//! What the controller makes of it: a request that carries the header goes to the candidate, then one with the cookie, then chance
//! decides by `canary-weight` of `canary-weight-total`. A host and path has at most one canary; of a second the controller takes
//! whichever it likes, so a second is refused here. Of the stable Ingress' other annotations all but those about load balancing and
//! session affinity hold for its canary too; those are copied.

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::Capabilities;
use serde_json::{Map, Value, json};

use super::audience::{self, Mark};
use super::object::{
    annotation, create, fence, found, is_ours, keep, list, map, member, memory, remember, remove, rewrite, unfit,
};
use super::service::{self, Reach, counterpart};
use super::weights::Weights;
use super::{ARM_LABEL, AUDIENCE_MEMORY, Arms, Grant, Mechanism, OWNER_LABEL, Placement, Split, Standing, Written};
use crate::api::Namespace;
use crate::api::resource::INGRESSES;
use crate::settings;

/// Whole percents are written out of 100, which every version of the controller understands; finer ones need its totals.
const TOTALS: &[u32] = &[100, 1000, 10_000];
/// What a canary does not take over from its stable Ingress by itself, by the beginning of the annotation's name.
const COPIED: &[&str] = &["affinity", "session-cookie-", "load-balance", "upstream-hash-by"];
/// How ingresses of old were given to a controller.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// A canary Ingress.
#[derive(Clone, Debug)]
pub struct Nginx(pub settings::Nginx);

/// What ingress-nginx can do.
pub fn capabilities() -> Capabilities {
    let remarks = [
        "ingress-nginx takes a new weight up within a second or so without a reload; requests under way end where they began.",
        "Shares finer than 1% need a controller that knows `canary-weight-total`: one that is too old for it would read the weight as percent.",
        "Where the Ingress has cookie affinity, users stay with the version that they met first.",
    ];
    Capabilities {
        audiences: true,
        preview: true,
        remarks: remarks.map(str::to_owned).to_vec(),
        ..Capabilities::splitting(1)
    }
}

impl Nginx {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.0.annotation_prefix)
    }

    fn canary(&self, arms: &Arms) -> String {
        counterpart(&self.0.ingress, &arms.suffix)
    }

    fn unfit(&self, why: &str) -> Failure {
        unfit(&INGRESSES, &self.0.ingress, why)
    }

    /// The Service that the stable Ingress sends to.
    fn service(&self, stable: &Value) -> Result<String, String> {
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
    fn spec(&self, stable: &Value, service: &str, candidate: &str) -> Result<Value, String> {
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
    fn follow(&self, canary: &mut Value, stable: &Value, arms: &Arms) -> Result<(), String> {
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

    fn made(&self, stable: &Value, arms: &Arms) -> Result<Value, String> {
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
    fn set(&self, canary: &mut Value, workload: &str, split: &Split) -> Result<(), String> {
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
        wanted.extend(selection(&split.audience)?);
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
    fn shown(&self, canary: &Value, workload: &str) -> Result<Split, String> {
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

    fn standing(&self, stable: &Value, canary: Option<&Value>, arms: &Arms) -> Result<Standing, String> {
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
        })
    }

    /// Refuses where somebody else's canary has one of our hosts and paths.
    async fn refuse_rivals(&self, namespace: &Namespace, arms: &Arms, stable: &Value) -> Result<(), Failure> {
        let service = self.service(stable).map_err(|why| self.unfit(&why))?;
        let ours = self.spec(stable, &service, &service).map_err(|why| self.unfit(&why))?;
        let ours = places(&json!({"spec": ours}));
        for other in namespace.list(&INGRESSES, "").await? {
            let name = other["metadata"]["name"].as_str().unwrap_or_default();
            let is_canary = annotation(&other, &self.key("canary")) == Some("true");
            if !is_canary || name == self.canary(arms) {
                continue;
            }
            if let Some((host, path)) = places(&other).into_iter().find(|place| ours.contains(place)) {
                let why =
                    format!("Ingress `{name}` is a canary of `{host}{path}` already, and ingress-nginx takes one");
                return Err(self.unfit(&why));
            }
        }
        Ok(())
    }
}

/// The annotations that pick an audience out; all of them, so that none of a former one stays.
fn selection(
    audience: &std::collections::BTreeMap<String, String>,
) -> Result<Vec<(&'static str, Option<String>)>, String> {
    let mut header: Option<(String, Vec<String>)> = None;
    let mut by_cookie = None;
    for mark in audience::marks(audience)? {
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
fn places(ingress: &Value) -> Vec<(String, String)> {
    let mut places = Vec::new();
    for rule in ingress["spec"]["rules"].as_array().into_iter().flatten() {
        let host = rule["host"].as_str().unwrap_or("*");
        for path in rule["http"]["paths"].as_array().into_iter().flatten() {
            places.push((host.to_owned(), path["path"].as_str().unwrap_or("/").to_owned()));
        }
    }
    places
}

#[async_trait]
impl Mechanism for Nginx {
    async fn check(&self, namespace: &Namespace, arms: &Arms) -> Result<(), Failure> {
        let stable = found(namespace, &INGRESSES, &self.0.ingress).await?;
        let service = self.service(&stable).map_err(|why| self.unfit(&why))?;
        let name = self.canary(arms);
        if let Some(canary) = namespace
            .get(&INGRESSES, &name)
            .await?
            .filter(|canary| !is_ours(canary, &arms.workload))
        {
            let host = places(&canary)
                .first()
                .map_or(String::new(), |(host, path)| format!(" of `{host}{path}`"));
            return Err(unfit(
                &INGRESSES,
                &name,
                &format!("it exists{host} and was not made here: rename it, or give `candidate.suffix`"),
            ));
        }
        self.refuse_rivals(namespace, arms, &stable).await?;
        service::check(namespace, arms, &service).await.map(drop)
    }

    async fn prepare(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let stable = found(namespace, &INGRESSES, &self.0.ingress).await?;
        let service = self.service(&stable).map_err(|why| self.unfit(&why))?;
        let backend = service::ensure(namespace, arms, &service, Reach::Cluster, fence).await?;
        if matches!(backend, Written::Stale(_)) {
            return Ok(backend);
        }
        let (name, order) = (self.canary(arms), (arms.workload.as_str(), fence));
        let canary = match namespace.get(&INGRESSES, &name).await? {
            None => {
                let made = self.made(&stable, arms).map_err(|why| self.unfit(&why))?;
                create(namespace, &INGRESSES, made, order).await?
            }
            Some(canary) if is_ours(&canary, &arms.workload) => {
                keep(namespace, &INGRESSES, &name, order, |canary| {
                    self.follow(canary, &stable, arms)
                })
                .await?
            }
            Some(_) => return Err(unfit(&INGRESSES, &name, "it exists and was not made here")),
        };
        Ok(backend.and(canary))
    }

    async fn read(&self, namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure> {
        let stable = found(namespace, &INGRESSES, &self.0.ingress).await?;
        let canary = namespace.get(&INGRESSES, &self.canary(arms)).await?;
        self.standing(&stable, canary.as_ref(), arms)
            .map_err(|why| self.unfit(&why))
    }

    async fn write(&self, namespace: &Namespace, arms: &Arms, split: &Split, fence: Fence) -> Result<Written, Failure> {
        let (name, order) = (self.canary(arms), (arms.workload.as_str(), fence));
        if split.is_none() && namespace.get(&INGRESSES, &name).await?.is_none() {
            return Ok(Written::Already);
        }
        rewrite(namespace, &INGRESSES, &name, order, |canary| {
            map(member(member(canary, "metadata"), "annotations")).insert(self.key("canary"), json!("true"));
            self.set(canary, &arms.workload, split)
        })
        .await
    }

    async fn clean(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let order = (arms.workload.as_str(), fence);
        let canary = remove(namespace, &INGRESSES, &self.canary(arms), order).await?;
        if canary != Written::Already {
            return Ok(canary);
        }
        let Some(stable) = namespace.get(&INGRESSES, &self.0.ingress).await? else {
            return Ok(Written::Already);
        };
        let service = self.service(&stable).map_err(|why| self.unfit(&why))?;
        service::withdraw(namespace, arms, &service, fence).await
    }

    fn grants(&self) -> Vec<Grant> {
        let ingresses = Grant {
            resource: INGRESSES,
            verbs: &["get", "list", "create", "update", "delete"],
        };
        vec![ingresses, service::GRANT]
    }

    fn placement(&self, _split: &Split) -> Placement {
        Placement::Apart
    }

    fn refusal(&self, split: &Split) -> Option<String> {
        if !split.mirror.is_zero() {
            return Some("a canary Ingress cannot mirror traffic".to_owned());
        }
        selection(&split.audience).err()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meridian_workflows::share::Share;
    use serde_json::json;

    use super::super::tests::arms;
    use super::{Nginx, Split};
    use crate::settings;

    fn nginx() -> Nginx {
        Nginx(settings::Nginx {
            ingress: "payments".to_owned(),
            service: None,
            annotation_prefix: "nginx.ingress.kubernetes.io".to_owned(),
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
        use crate::traffic::Mechanism;
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

//! Weights of an Istio VirtualService: what the API server is asked. How its routes are read and changed stands in
//! [`super::istio_routes`].

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::vocabulary::{Audiences, Capabilities};
use serde_json::{Map, Value, json};

use super::istio_routes;
use super::istio_sides::{Candidate, Sides};
use super::object::{
    absent, create, fence, found, is_ours, keep, list, member, memory, remember, remove, rewrite, unfit,
};
use super::service::{self, Reach, counterpart, selects};
use super::{Arms, FOUND_MEMORY, Grant, Mechanism, OWNER_LABEL, Placement, Split, Standing, Written, audience};
use crate::api::Namespace;
use crate::api::resource::{PODS, Resource, SERVICES};
use crate::settings;

/// Served since Istio 1.22; the fields used here are the same in `v1beta1`.
pub const VIRTUAL_SERVICES: Resource = Resource {
    group: "networking.istio.io",
    version: "v1",
    plural: "virtualservices",
    kind: "VirtualService",
};
pub const DESTINATION_RULES: Resource = Resource {
    group: "networking.istio.io",
    version: "v1",
    plural: "destinationrules",
    kind: "DestinationRule",
};

/// The label that the Deployment controller tells ReplicaSets apart by.
const HASH_LABEL: &str = "pod-template-hash";
/// Hundredths of a percent: Istio's weights are whole percents.
const STEP: u16 = 100;

/// Weights of a VirtualService's HTTP routes.
#[derive(Clone, Debug)]
pub struct Istio(pub settings::Istio);

/// What Istio can do.
pub fn capabilities(settings: &settings::Istio) -> Capabilities {
    let mut remarks = vec![
        "Istio's weights are whole percents, and hold once istiod has told every proxy: seconds usually, longer in large meshes.".to_owned(),
        "TCP and TLS routes cannot be split.".to_owned(),
    ];
    if settings.destination_rule.is_some() {
        remarks.push("The Service of the DestinationRule selects the pods of both versions: callers outside the mesh meet both by chance.".to_owned());
        remarks.push(
            "The subsets tell the versions apart by a label that the Service does not select. Where the baseline's pods have none \
             (`version`, `track`), it is their hash, and a restart of the baseline finds no pod until the run asks next: give them one."
                .to_owned(),
        );
    }
    Capabilities {
        mirroring: true,
        audiences: Audiences::requests(),
        preview: settings.destination_rule.is_none(),
        remarks,
        ..Capabilities::splitting(STEP)
    }
}

impl Istio {
    fn routes(&self) -> Vec<String> {
        self.0.route.iter().chain(&self.0.routes).cloned().collect()
    }

    fn sides(&self, virtual_service: &Value, namespace: &Namespace, arms: &Arms) -> Result<Sides, String> {
        self.sides_of(virtual_service, namespace, arms, self.routes())
    }

    /// The sides in a VirtualService of any shape; none where nothing of the candidate stands in it.
    fn any_sides(&self, virtual_service: &Value, namespace: &Namespace, arms: &Arms) -> Option<Sides> {
        let by_name = self.sides(virtual_service, namespace, arms).ok();
        by_name.or_else(|| self.sides_of(virtual_service, namespace, arms, Vec::new()).ok())
    }

    fn sides_of(
        &self,
        virtual_service: &Value,
        namespace: &Namespace,
        arms: &Arms,
        routes: Vec<String>,
    ) -> Result<Sides, String> {
        let subset = self
            .0
            .destination_rule
            .as_ref()
            .map(|_| self.0.candidate_subset.as_str());
        let service = match &self.0.service {
            Some(service) => service.clone(),
            None => istio_routes::only_service(virtual_service, namespace.name(), &routes, &arms.suffix, subset)?,
        };
        let candidate = match &self.0.destination_rule {
            Some(_) => Candidate::Subset {
                baseline: self.0.baseline_subset.clone(),
                candidate: self.0.candidate_subset.clone(),
            },
            None => Candidate::Host(counterpart(&service, &arms.suffix)),
        };
        Ok(Sides {
            workload: arms.workload.clone(),
            namespace: namespace.name().to_owned(),
            routes,
            service,
            candidate,
            tenant_header: self.0.tenant_header.clone(),
        })
    }

    async fn live(&self, namespace: &Namespace, arms: &Arms) -> Result<(Value, Sides), Failure> {
        let service = found(namespace, &VIRTUAL_SERVICES, &self.0.virtual_service).await?;
        let sides = self.sides(&service, namespace, arms).map_err(|why| self.unfit(&why))?;
        Ok((service, sides))
    }

    fn unfit(&self, why: &str) -> Failure {
        unfit(&VIRTUAL_SERVICES, &self.0.virtual_service, why)
    }

    fn standing(&self, service: &Value, sides: &Sides) -> Result<Standing, String> {
        let shown = istio_routes::read(service, sides)?;
        let mut again = service.clone();
        if shown.is_prepared {
            istio_routes::write(&mut again, sides, &shown.split)?;
        }
        let name = &self.0.virtual_service;
        let oddity = (again["spec"] != service["spec"]).then(|| {
            format!("VirtualService `{name}` does not say the same in all its routes: somebody else has changed it")
        });
        Ok(Standing {
            split: shown.split,
            fence: fence(service, &sides.workload),
            oddity,
            unfit: None,
        })
    }

    /// The label, and its value, that the baseline's subset is to select by: the newest, but while the baseline has traffic and is
    /// being rolled by somebody, the value before until the newest has as many ready pods.
    ///
    /// A label that only the baseline's pods carry stays true through every restart. The hash changes with each, and is followed
    /// only when somebody asks here: in between nobody would be selected.
    async fn serving_label(
        &self,
        namespace: &Namespace,
        arms: &Arms,
        rule: Option<&Value>,
        has_traffic: bool,
    ) -> Result<(String, String), Failure> {
        let (key, newest) = match (&arms.mark, &arms.baseline.hash) {
            (Some((key, value)), _) => (key.as_str(), value),
            (None, Some(hash)) => (HASH_LABEL, hash),
            (None, None) => {
                return Err(Failure::transient(format!(
                    "Deployment `{}` has no ReplicaSet yet",
                    arms.baseline.deployment
                )));
            }
        };
        let subsets = rule.and_then(|rule| rule["spec"]["subsets"].as_array());
        let ours = |subset: &&Value| subset["name"] == json!(self.0.baseline_subset);
        let standing = subsets.and_then(|subsets| subsets.iter().find(ours)?["labels"][key].as_str());
        let standing = standing.filter(|standing| has_traffic && standing != newest);
        let value = match standing {
            None => newest,
            Some(standing) => {
                let before = ready_pods(namespace, key, standing, arms).await?;
                let after = ready_pods(namespace, key, newest, arms).await?;
                if after >= before { newest } else { standing }
            }
        };
        Ok((key.to_owned(), value.to_owned()))
    }

    /// Makes the subsets, or keeps their labels true.
    async fn ensure_subsets(
        &self,
        namespace: &Namespace,
        arms: &Arms,
        sides: &Sides,
        rule: &str,
        has_traffic: bool,
        fence: Fence,
    ) -> Result<Written, Failure> {
        let live = namespace.get(&DESTINATION_RULES, rule).await?;
        let (key, value) = self.serving_label(namespace, arms, live.as_ref(), has_traffic).await?;
        let subsets = [
            (&self.0.baseline_subset, json!({key: value})),
            (&self.0.candidate_subset, json!(arms.candidate.labels)),
        ];
        let order = (arms.workload.as_str(), fence);
        if live.is_none() {
            let subsets: Vec<Value> = subsets
                .iter()
                .map(|(name, labels)| json!({"name": name, "labels": labels}))
                .collect();
            let made = json!({
                "apiVersion": DESTINATION_RULES.api_version(),
                "kind": DESTINATION_RULES.kind,
                "metadata": {"name": rule, "labels": {OWNER_LABEL: arms.workload}},
                "spec": {"host": sides.service, "subsets": subsets},
            });
            return create(namespace, &DESTINATION_RULES, made, order).await;
        }
        keep(namespace, &DESTINATION_RULES, rule, order, |object| {
            check_host(object, sides)?;
            set_subsets(object, &arms.workload, &subsets)
        })
        .await
    }
}

/// Ready pods of the baseline that carry this label.
async fn ready_pods(namespace: &Namespace, key: &str, value: &str, arms: &Arms) -> Result<usize, Failure> {
    let mut labels = arms.baseline.labels.clone();
    labels.insert(key.to_owned(), value.to_owned());
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods = namespace.list(&PODS, &labels.join(",")).await?;
    let is_ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
        conditions.is_some_and(|all| all.iter().any(ready)) && pod["metadata"].get("deletionTimestamp").is_none()
    };
    Ok(pods.iter().filter(is_ready).count())
}

/// Whether a DestinationRule is about the Service.
fn check_host(rule: &Value, sides: &Sides) -> Result<(), String> {
    let host = rule["spec"]["host"].as_str().unwrap_or_default();
    let domain = format!("{}.{}.", sides.service, sides.namespace);
    if host == sides.service || format!("{host}.").starts_with(&domain) {
        Ok(())
    } else {
        Err(format!("`spec.host` is `{host}`, not Service `{}`", sides.service))
    }
}

/// Sets the labels of our subsets, by name; what they were is remembered.
fn set_subsets(rule: &mut Value, workload: &str, wanted: &[(&String, Value)]) -> Result<(), String> {
    let mut subsets = list(rule, &["spec", "subsets"])?.to_vec();
    let mut before = Map::new();
    for (name, labels) in wanted {
        match subsets.iter_mut().find(|subset| subset["name"] == json!(name)) {
            Some(subset) => {
                before.insert((*name).clone(), subset["labels"].clone());
                *member(subset, "labels") = labels.clone();
            }
            None => subsets.push(json!({"name": name, "labels": labels})),
        }
    }
    *member(member(rule, "spec"), "subsets") = Value::Array(subsets);
    if memory(rule, FOUND_MEMORY, workload).is_none() {
        remember(rule, FOUND_MEMORY, workload, Some(&Value::Object(before)));
    }
    Ok(())
}

/// Takes our subsets away, or gives them the labels back that they had.
fn restore_subsets(rule: &mut Value, workload: &str, names: &[&String]) -> Result<(), String> {
    let Some(before) = memory(rule, FOUND_MEMORY, workload) else {
        return Ok(());
    };
    let mut subsets = list(rule, &["spec", "subsets"])?.to_vec();
    for name in names {
        let name = name.as_str();
        match before.get(name) {
            Some(labels) => {
                for subset in subsets.iter_mut().filter(|subset| subset["name"] == json!(name)) {
                    *member(subset, "labels") = labels.clone();
                }
            }
            None => subsets.retain(|subset| subset["name"] != json!(name)),
        }
    }
    let spec = member(rule, "spec");
    if subsets.is_empty() {
        super::object::map(spec).remove("subsets");
    } else {
        *member(spec, "subsets") = Value::Array(subsets);
    }
    remember(rule, FOUND_MEMORY, workload, None);
    Ok(())
}

#[async_trait]
impl Mechanism for Istio {
    async fn check(&self, namespace: &Namespace, arms: &Arms, ladder: &[Split]) -> Result<(), Failure> {
        let (mut virtual_service, sides) = self.live(namespace, arms).await?;
        self.standing(&virtual_service, &sides)
            .map_err(|why| self.unfit(&why))?;
        for split in ladder {
            istio_routes::write(&mut virtual_service, &sides, split).map_err(|why| self.unfit(&why))?;
        }
        let Some(rule) = &self.0.destination_rule else {
            return service::check(namespace, arms, &sides.service).await.map(drop);
        };
        if let Some(object) = namespace.get(&DESTINATION_RULES, rule).await? {
            check_host(&object, &sides).map_err(|why| unfit(&DESTINATION_RULES, rule, &why))?;
        }
        let service = found(namespace, &SERVICES, &sides.service).await?;
        if selects(&service, &arms.baseline.pods) {
            return Ok(());
        }
        let why = format!(
            "its selector does not match the pods of Deployment `{}`",
            arms.baseline.deployment
        );
        Err(unfit(&SERVICES, &sides.service, &why))
    }

    async fn prepare(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let (virtual_service, sides) = self.live(namespace, arms).await?;
        let Some(rule) = &self.0.destination_rule else {
            return service::ensure(namespace, arms, &sides.service, Reach::Cluster, fence).await;
        };
        // A route that names a subset which proxies do not know yet answers 503: the subsets come a call before.
        let standing = self
            .standing(&virtual_service, &sides)
            .map_err(|why| self.unfit(&why))?;
        let has_traffic = !standing.split.share.is_full();
        let subsets = self
            .ensure_subsets(namespace, arms, &sides, rule, has_traffic, fence)
            .await?;
        if subsets != Written::Already {
            return Ok(subsets);
        }
        let order = (arms.workload.as_str(), fence);
        keep(
            namespace,
            &VIRTUAL_SERVICES,
            &self.0.virtual_service,
            order,
            |service| istio_routes::write(service, &sides, &standing.split),
        )
        .await
    }

    async fn read(&self, namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure> {
        let name = &self.0.virtual_service;
        let Some(service) = namespace.get(&VIRTUAL_SERVICES, name).await? else {
            return Ok(Standing::barred(absent(namespace, &VIRTUAL_SERVICES, name)));
        };
        let sides = self.sides(&service, namespace, arms);
        match sides.and_then(|sides| self.standing(&service, &sides)) {
            Ok(standing) => Ok(standing),
            Err(why) => Ok(Standing {
                split: self
                    .any_sides(&service, namespace, arms)
                    .map_or_else(Split::none, |sides| istio_routes::exposure(&service, &sides)),
                fence: fence(&service, &arms.workload),
                ..Standing::barred(self.unfit(&why))
            }),
        }
    }

    async fn write(&self, namespace: &Namespace, arms: &Arms, split: &Split, fence: Fence) -> Result<Written, Failure> {
        let (name, order) = (&self.0.virtual_service, (arms.workload.as_str(), fence));
        if split.is_none() && namespace.get(&VIRTUAL_SERVICES, name).await?.is_none() {
            return Ok(Written::Already);
        }
        rewrite(namespace, &VIRTUAL_SERVICES, name, order, |service| {
            if !split.is_none() {
                let sides = self.sides(service, namespace, arms)?;
                return istio_routes::write(service, &sides, split);
            }
            if let Some(sides) = self.any_sides(service, namespace, arms) {
                istio_routes::clear(service, &sides);
            }
            Ok(())
        })
        .await
    }

    async fn clean(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let (name, order) = (&self.0.virtual_service, (arms.workload.as_str(), fence));
        let live = namespace.get(&VIRTUAL_SERVICES, name).await?;
        let sides = live.and_then(|live| self.any_sides(&live, namespace, arms));
        if let Some(sides) = &sides {
            let routes = rewrite(namespace, &VIRTUAL_SERVICES, name, order, |service| {
                istio_routes::restore(service, sides);
                Ok(())
            })
            .await?;
            if routes != Written::Already {
                // What the routes named goes a call later, when proxies name it no more.
                return Ok(routes);
            }
        }
        let Some(rule) = &self.0.destination_rule else {
            return match sides {
                Some(sides) => service::withdraw(namespace, arms, &sides.service, fence).await,
                None => service::withdraw_all(namespace, arms, fence).await,
            };
        };
        match namespace.get(&DESTINATION_RULES, rule).await? {
            None => Ok(Written::Already),
            Some(object) if is_ours(&object, &arms.workload) => {
                remove(namespace, &DESTINATION_RULES, rule, order).await
            }
            Some(_) => {
                let names = [&self.0.baseline_subset, &self.0.candidate_subset];
                keep(namespace, &DESTINATION_RULES, rule, order, |object| {
                    restore_subsets(object, &arms.workload, &names)
                })
                .await
            }
        }
    }

    fn grants(&self) -> Vec<Grant> {
        let routes = Grant {
            resource: VIRTUAL_SERVICES,
            verbs: &["get", "update"],
        };
        let rules = Grant {
            resource: DESTINATION_RULES,
            verbs: &["get", "create", "update", "delete"],
        };
        let services = Grant {
            resource: SERVICES,
            verbs: &["get"],
        };
        let pods = Grant {
            resource: PODS,
            verbs: &["list"],
        };
        match &self.0.destination_rule {
            Some(_) => vec![routes, rules, services, pods],
            None => vec![routes, service::GRANT],
        }
    }

    fn placement(&self, _split: &Split) -> Placement {
        match &self.0.destination_rule {
            Some(_) => Placement::Marked,
            None => Placement::Apart,
        }
    }

    fn refusal(&self, split: &Split) -> Option<String> {
        if !split.share.basis_points().is_multiple_of(STEP) {
            return Some(format!("Istio's weights are whole percents, so not {}", split.share));
        }
        audience::marks(&split.audience, &self.0.tenant_header).err()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{restore_subsets, set_subsets};

    #[test]
    fn subsets_come_and_go_beside_those_of_others() {
        let before = json!({"metadata": {"name": "payments"}, "spec": {"host": "payments",
            "subsets": [{"name": "eu", "labels": {"zone": "eu"}}, {"name": "baseline", "labels": {"v": "1"}, "trafficPolicy": {"x": 1}}]}});
        let (ours, theirs) = ("candidate".to_owned(), "baseline".to_owned());
        let wanted = |hash: &str| {
            [
                (&theirs, json!({"pod-template-hash": hash})),
                (&ours, json!({"meridian/arm": "candidate"})),
            ]
        };
        let mut rule = before.clone();
        set_subsets(&mut rule, "payments", &wanted("a")).unwrap();
        assert_eq!(
            rule["spec"]["subsets"][1],
            json!({"name": "baseline", "labels": {"pod-template-hash": "a"}, "trafficPolicy": {"x": 1}})
        );
        assert_eq!(rule["spec"]["subsets"][2]["name"], "candidate");
        set_subsets(&mut rule, "payments", &wanted("b")).unwrap();
        assert_eq!(rule["spec"]["subsets"][1]["labels"], json!({"pod-template-hash": "b"}));
        restore_subsets(&mut rule, "payments", &[&theirs, &ours]).unwrap();
        assert_eq!(rule, before);
    }
}

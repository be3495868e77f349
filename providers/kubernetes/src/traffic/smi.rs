//! Backends of an SMI TrafficSplit, as Linkerd reads it: weights count relative to their sum.

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::Capabilities;
use serde_json::{Value, json};

use super::object::{create, fence, is_ours, keep, list, map, member, memory, remember, remove, rewrite, unfit};
use super::service::{self, Reach, counterpart};
use super::weights::Weights;
use super::{Arms, FOUND_MEMORY, Grant, Mechanism, OWNER_LABEL, Placement, Split, Standing, Written};
use crate::api::Namespace;
use crate::api::resource::Resource;
use crate::settings::{self, SmiVersion};

const TOTALS: &[u32] = &[100, 1000, 10_000];

/// Weights of a TrafficSplit.
#[derive(Clone, Debug)]
pub struct Smi(pub settings::Smi);

/// What a TrafficSplit can do.
pub fn capabilities() -> Capabilities {
    let remarks = [
        "A TrafficSplit is obeyed by meshed clients; callers outside the mesh reach the Service itself, so the baseline alone.",
        "The SMI project is archived: Linkerd reads TrafficSplits through its SMI extension, and HTTPRoute is what follows them.",
    ];
    Capabilities {
        preview: true,
        remarks: remarks.map(str::to_owned).to_vec(),
        ..Capabilities::splitting(1)
    }
}

/// The two backends of one split.
struct Sides<'a> {
    workload: &'a str,
    baseline: &'a str,
    candidate: String,
}

impl Smi {
    fn resource(&self) -> Resource {
        Resource {
            group: "split.smi-spec.io",
            version: match self.0.version {
                SmiVersion::V1Alpha1 => "v1alpha1",
                SmiVersion::V1Alpha2 => "v1alpha2",
                SmiVersion::V1Alpha3 => "v1alpha3",
                SmiVersion::V1Alpha4 => "v1alpha4",
            },
            plural: "trafficsplits",
            kind: "TrafficSplit",
        }
    }

    fn name(&self) -> &str {
        self.0.traffic_split.as_deref().unwrap_or(&self.0.service)
    }

    fn baseline(&self) -> &str {
        self.0.baseline_service.as_deref().unwrap_or(&self.0.service)
    }

    fn sides<'a>(&'a self, arms: &'a Arms) -> Sides<'a> {
        Sides {
            workload: &arms.workload,
            baseline: self.baseline(),
            candidate: counterpart(self.baseline(), &arms.suffix),
        }
    }

    fn unfit(&self, why: &str) -> Failure {
        unfit(&self.resource(), self.name(), why)
    }

    fn made(&self, arms: &Arms) -> Result<Value, String> {
        let mut split = json!({
            "apiVersion": self.resource().api_version(),
            "kind": self.resource().kind,
            "metadata": {"name": self.name(), "labels": {OWNER_LABEL: arms.workload}},
            "spec": {"service": self.0.service, "backends": [{"service": self.baseline(), "weight": 100}]},
        });
        self.add(&mut split, &self.sides(arms))?;
        Ok(split)
    }

    /// Puts the candidate in, with a weight of nothing, where it is missing.
    fn add(&self, split: &mut Value, sides: &Sides<'_>) -> Result<(), String> {
        let mut backends = self.backends(split, sides)?.to_vec();
        if backends.iter().all(|one| one["service"] != json!(sides.candidate)) {
            if memory(split, FOUND_MEMORY, sides.workload).is_none() {
                remember(
                    split,
                    FOUND_MEMORY,
                    sides.workload,
                    Some(&weights_before(&backends, sides)),
                );
            }
            backends.push(json!({"service": sides.candidate, "weight": self.written(0)}));
            *member(member(split, "spec"), "backends") = Value::Array(backends);
        }
        Ok(())
    }

    /// The backends, which must be the two sides' or the baseline's alone.
    fn backends<'a>(&self, split: &'a Value, sides: &Sides<'_>) -> Result<&'a [Value], String> {
        let service = split["spec"]["service"].as_str().unwrap_or_default();
        if service.split('.').next() != Some(self.0.service.as_str()) {
            return Err(format!("`spec.service` is `{service}`, not `{}`", self.0.service));
        }
        let backends = list(split, &["spec", "backends"])?;
        let other = backends
            .iter()
            .filter_map(|one| one["service"].as_str())
            .find(|name| *name != sides.baseline && *name != sides.candidate);
        match other {
            Some(other) => Err(format!(
                "`spec.backends` sends to `{other}` beside `{}`: its share could not be kept",
                sides.baseline
            )),
            None => Ok(backends),
        }
    }

    fn shown(&self, split: &Value, sides: &Sides<'_>) -> Result<Option<Share>, String> {
        let backends = self.backends(split, sides)?;
        let weight = |service: &str| -> Result<u32, String> {
            let found = backends.iter().find(|one| one["service"] == json!(service));
            found.map_or(Ok(0), |one| {
                weight_of(&one["weight"]).ok_or_else(|| format!("the weight of `{service}` is none"))
            })
        };
        let weights = Weights {
            candidate: weight(&sides.candidate)?,
            baseline: weight(sides.baseline)?,
        };
        Ok(weights.share())
    }

    fn set(&self, split: &mut Value, sides: &Sides<'_>, share: Share) -> Result<(), String> {
        let weights = Weights::of(share, TOTALS).ok_or_else(|| format!("{share} is too fine for its weights"))?;
        self.add(split, sides)?;
        let mut backends = self.backends(split, sides)?.to_vec();
        if backends.iter().all(|one| one["service"] != json!(sides.baseline)) {
            backends.insert(0, json!({"service": sides.baseline}));
        }
        for one in &mut backends {
            let weight = if one["service"] == json!(sides.candidate) {
                weights.candidate
            } else {
                weights.baseline
            };
            map(one).insert("weight".to_owned(), self.written(weight));
        }
        *member(member(split, "spec"), "backends") = Value::Array(backends);
        Ok(())
    }

    /// Gives the candidate's part to the baseline in a split of any shape, and touches nothing else.
    fn take_away(&self, split: &mut Value, sides: &Sides<'_>) {
        let Some(Value::Array(backends)) = split.get_mut("spec").and_then(|spec| spec.get_mut("backends")) else {
            return;
        };
        let mut given = 0_u32;
        for one in backends
            .iter_mut()
            .filter(|one| one["service"] == json!(sides.candidate))
        {
            given = given.saturating_add(weight_of(&one["weight"]).unwrap_or(0));
            map(one).insert("weight".to_owned(), self.written(0));
        }
        match backends.iter_mut().find(|one| one["service"] == json!(sides.baseline)) {
            Some(one) => {
                let sum = weight_of(&one["weight"]).unwrap_or(0).saturating_add(given);
                map(one).insert("weight".to_owned(), self.written(sum));
            }
            None => backends.insert(0, json!({"service": sides.baseline, "weight": self.written(given)})),
        }
    }

    /// Version 1 of the alphas has quantities for weights, which are texts; the others have integers.
    fn written(&self, weight: u32) -> Value {
        match self.0.version {
            SmiVersion::V1Alpha1 => json!(weight.to_string()),
            SmiVersion::V1Alpha2 | SmiVersion::V1Alpha3 | SmiVersion::V1Alpha4 => json!(weight),
        }
    }
}

/// A weight as any of the alphas writes it: an integer, or a quantity such as `500m`.
fn weight_of(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => match text.strip_suffix('m') {
            // Thousandths: only whole ones can be compared with whole weights, and both backends are written alike.
            Some(thousandths) => thousandths.parse().ok(),
            None => text.parse().ok(),
        },
        other => other.as_u64().and_then(|weight| u32::try_from(weight).ok()),
    }
}

/// The most that the candidate gets of a split of any shape: what others have put beside it is counted as the baseline's.
fn exposure(split: &Value, sides: &Sides<'_>) -> Split {
    let mut weights = Weights {
        candidate: 0,
        baseline: 0,
    };
    for one in split["spec"]["backends"].as_array().into_iter().flatten() {
        let weight = weight_of(&one["weight"]).unwrap_or(1);
        let side = if one["service"] == json!(sides.candidate) {
            &mut weights.candidate
        } else {
            &mut weights.baseline
        };
        *side = side.saturating_add(weight);
    }
    Split {
        share: weights.share().unwrap_or(Share::ZERO),
        ..Split::none()
    }
}

fn weights_before(backends: &[Value], sides: &Sides<'_>) -> Value {
    let before = backends.iter().find(|one| one["service"] == json!(sides.baseline));
    before.map_or(Value::Null, |one| one["weight"].clone())
}

/// Takes the candidate out of a split that others own.
fn restore(split: &mut Value, sides: &Sides<'_>) -> Result<(), String> {
    let before = memory(split, FOUND_MEMORY, sides.workload).filter(|weight| !weight.is_null());
    let mut backends = list(split, &["spec", "backends"])?.to_vec();
    if backends.iter().any(|one| one["service"] == json!(sides.candidate)) {
        backends.retain(|one| one["service"] != json!(sides.candidate));
        for one in backends
            .iter_mut()
            .filter(|one| one["service"] == json!(sides.baseline))
        {
            // A split whose only backend weighs nothing sends nowhere.
            let weight = before
                .clone()
                .filter(|weight| weight_of(weight).is_some_and(|weight| weight > 0));
            map(one).insert("weight".to_owned(), weight.unwrap_or_else(|| json!(100)));
        }
        *member(member(split, "spec"), "backends") = Value::Array(backends);
    }
    remember(split, FOUND_MEMORY, sides.workload, None);
    Ok(())
}

#[async_trait]
impl Mechanism for Smi {
    async fn check(&self, namespace: &Namespace, arms: &Arms, ladder: &[Split]) -> Result<(), Failure> {
        if let Some(mut split) = namespace.get(&self.resource(), self.name()).await? {
            let sides = self.sides(arms);
            self.backends(&split, &sides).map_err(|why| self.unfit(&why))?;
            for rung in ladder {
                self.set(&mut split, &sides, rung.share)
                    .map_err(|why| self.unfit(&why))?;
            }
        }
        super::object::found(namespace, &crate::api::resource::SERVICES, &self.0.service).await?;
        service::check(namespace, arms, self.baseline()).await.map(drop)
    }

    async fn prepare(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let backend = service::ensure(namespace, arms, self.baseline(), Reach::Cluster, fence).await?;
        if matches!(backend, Written::Stale(_)) {
            return Ok(backend);
        }
        let order = (arms.workload.as_str(), fence);
        let split = match namespace.get(&self.resource(), self.name()).await? {
            None => {
                create(
                    namespace,
                    &self.resource(),
                    self.made(arms).map_err(|why| self.unfit(&why))?,
                    order,
                )
                .await?
            }
            Some(_) => {
                keep(namespace, &self.resource(), self.name(), order, |split| {
                    self.add(split, &self.sides(arms))
                })
                .await?
            }
        };
        Ok(backend.and(split))
    }

    async fn read(&self, namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure> {
        let Some(split) = namespace.get(&self.resource(), self.name()).await? else {
            return Ok(Standing::default());
        };
        let sides = self.sides(arms);
        let share = match self.shown(&split, &sides) {
            Ok(share) => share,
            Err(why) => {
                return Ok(Standing {
                    split: exposure(&split, &sides),
                    fence: fence(&split, &arms.workload),
                    ..Standing::barred(self.unfit(&why))
                });
            }
        };
        Ok(Standing {
            split: Split {
                share: share.unwrap_or(Share::ZERO),
                ..Split::none()
            },
            fence: fence(&split, &arms.workload),
            oddity: share
                .is_none()
                .then(|| format!("TrafficSplit `{}` gives no backend any weight", self.name())),
            unfit: None,
        })
    }

    async fn write(&self, namespace: &Namespace, arms: &Arms, split: &Split, fence: Fence) -> Result<Written, Failure> {
        if let Some(why) = self.refusal(split) {
            return Err(Failure::lasting(why));
        }
        if split.is_none() && namespace.get(&self.resource(), self.name()).await?.is_none() {
            return Ok(Written::Already);
        }
        let order = (arms.workload.as_str(), fence);
        let sides = self.sides(arms);
        rewrite(namespace, &self.resource(), self.name(), order, |object| {
            let mut whole = object.clone();
            match self.set(&mut whole, &sides, split.share) {
                Ok(()) => *object = whole,
                Err(_) if split.is_none() => self.take_away(object, &sides),
                Err(why) => return Err(why),
            }
            Ok(())
        })
        .await
    }

    async fn clean(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let order = (arms.workload.as_str(), fence);
        let split = match namespace.get(&self.resource(), self.name()).await? {
            None => Written::Already,
            Some(split) if is_ours(&split, &arms.workload) => {
                remove(namespace, &self.resource(), self.name(), order).await?
            }
            Some(_) => {
                rewrite(namespace, &self.resource(), self.name(), order, |split| {
                    restore(split, &self.sides(arms))
                })
                .await?
            }
        };
        if split != Written::Already {
            return Ok(split);
        }
        service::withdraw(namespace, arms, self.baseline(), fence).await
    }

    fn grants(&self) -> Vec<Grant> {
        let splits = Grant {
            resource: self.resource(),
            verbs: &["get", "create", "update", "delete"],
        };
        vec![splits, service::GRANT]
    }

    fn placement(&self, _split: &Split) -> Placement {
        Placement::Apart
    }

    fn refusal(&self, split: &Split) -> Option<String> {
        if !split.mirror.is_zero() {
            return Some("a TrafficSplit cannot mirror traffic".to_owned());
        }
        (!split.audience.is_empty()).then(|| "a TrafficSplit cannot tell audiences apart".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use meridian_workflows::share::Share;
    use serde_json::json;

    use super::super::tests::arms;
    use super::{Smi, restore, weight_of};
    use crate::settings::{self, SmiVersion};

    fn smi(version: SmiVersion) -> Smi {
        Smi(settings::Smi {
            traffic_split: None,
            service: "payments".to_owned(),
            baseline_service: None,
            version,
        })
    }

    #[test]
    fn every_share_comes_back_in_every_version_and_the_split_is_left_as_it_was() {
        for version in [SmiVersion::V1Alpha1, SmiVersion::V1Alpha2, SmiVersion::V1Alpha4] {
            let (smi, arms) = (smi(version), arms());
            let sides = smi.sides(&arms);
            let before = json!({"metadata": {"name": "payments"}, "spec": {"service": "payments.shop.svc", "matches": [{"kind": "HTTPRouteGroup"}],
                "backends": [{"service": "payments", "weight": smi.written(7)}]}});
            let mut split = before.clone();
            for points in 0..=10_000 {
                let share = Share::from_basis_points(points).unwrap();
                smi.set(&mut split, &sides, share).unwrap();
                assert_eq!(smi.shown(&split, &sides).unwrap(), Some(share));
                let once = split.clone();
                smi.set(&mut split, &sides, share).unwrap();
                assert_eq!(split, once);
            }
            restore(&mut split, &sides).unwrap();
            assert_eq!(split, before);
        }
    }

    #[test]
    fn a_third_backend_is_refused() {
        let split = json!({"spec": {"service": "payments", "backends": [{"service": "payments", "weight": 1}, {"service": "old", "weight": 1}]}});
        assert!(
            smi(SmiVersion::V1Alpha2)
                .backends(&split, &smi(SmiVersion::V1Alpha2).sides(&arms()))
                .unwrap_err()
                .contains("`old`")
        );
        assert_eq!(weight_of(&json!("500m")), Some(500));
        assert_eq!(weight_of(&json!(-1)), None);
    }
}

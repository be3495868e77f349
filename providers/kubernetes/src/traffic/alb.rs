//! The weighted forward action of the AWS Load Balancer Controller: JSON in an annotation of the Ingress, which the Ingress' rule
//! uses in place of a Service (`port: {name: use-annotation}`).
//!
//! A target group weighs 0 to 999 and counts relative to the sum, so every multiple of 0.1 % is exact as weights out of 1000, and
//! nothing finer is: 0.05 % would need a weight above 999 beside it.

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::Capabilities;
use serde_json::{Value, json};

use super::object::{
    absent, annotate, annotation, fence, found, keep, list, map, member, memory, remember, rewrite, unfit,
};
use super::service::{self, Reach, counterpart};
use super::weights::Weights;
use super::{Arms, FOUND_MEMORY, Grant, Mechanism, Placement, Split, Standing, Written};
use crate::api::Namespace;
use crate::api::resource::INGRESSES;
use crate::settings;

/// Hundredths of a percent.
const STEP: u16 = 10;
/// With a whole share one side weighs nothing, so neither total comes to a weight above 999.
const TOTALS: &[u32] = &[100, 1000];

/// The API's bound for one target group's weight.
const WEIGHT_MAX: u32 = 999;

/// A weighted action.
#[derive(Clone, Debug)]
pub struct Alb(pub settings::Alb);

/// What the AWS Load Balancer Controller can do.
pub fn capabilities() -> Capabilities {
    let remarks = [
        "An ALB's weights come in steps of 0.1% (target groups weigh at most 999), and hold once the controller has changed the listener rule.",
        "Whether targets are healthy is seen where pods have the controller's readiness gate (`target-health.elbv2.k8s.aws`). Elsewhere a weight waits until pods have been ready for `settle` (60 s by default): make it longer than the target group's health checks take.",
        "Targets that leave drain for the target group's deregistration delay (300 s by default), longer than `drain` may be.",
        "Where the action has target group stickiness, users stay with the version that they met first for as long as it lasts.",
    ];
    Capabilities {
        preview: true,
        remarks: remarks.map(str::to_owned).to_vec(),
        ..Capabilities::splitting(STEP)
    }
}

impl Alb {
    fn action_name(&self) -> &str {
        self.0.action.as_deref().unwrap_or(&self.0.service)
    }

    fn key(&self) -> String {
        format!("{}/actions.{}", self.0.annotation_prefix, self.action_name())
    }

    fn unfit(&self, why: &str) -> Failure {
        unfit(&INGRESSES, &self.0.ingress, why)
    }

    fn candidate(&self, arms: &Arms) -> String {
        counterpart(&self.0.service, &arms.suffix)
    }

    /// Whether a rule of the Ingress uses the action.
    fn check_use(&self, ingress: &Value) -> Result<(), String> {
        let uses = |backend: &Value| {
            let service = &backend["service"];
            service["name"] == json!(self.action_name()) && service["port"]["name"] == "use-annotation"
        };
        let mut used = uses(&ingress["spec"]["defaultBackend"]);
        for rule in list(ingress, &["spec", "rules"])? {
            used |= list(rule, &["http", "paths"])?
                .iter()
                .any(|path| uses(&path["backend"]));
        }
        if used {
            return Ok(());
        }
        let name = self.action_name();
        Err(format!(
            "no rule uses action `{name}`: its backend is Service `{name}` with the port name `use-annotation`"
        ))
    }

    /// The action as it stands; where the annotation is missing, what the controller would need it to be.
    fn action(&self, ingress: &Value) -> Result<Value, String> {
        let key = self.key();
        let Some(text) = annotation(ingress, &key) else {
            let Some(port) = self.0.port else {
                return Err(format!(
                    "annotation `{key}` is missing, and `traffic.alb.port` to make it with"
                ));
            };
            let group = json!({"serviceName": self.0.service, "servicePort": port, "weight": 100});
            return Ok(json!({"type": "forward", "forwardConfig": {"targetGroups": [group]}}));
        };
        let action: Value = serde_json::from_str(text).map_err(|_| format!("annotation `{key}` is no JSON"))?;
        if action["type"] != "forward" {
            return Err(format!("annotation `{key}` is no action of the type `forward`"));
        }
        if !action["forwardConfig"]["targetGroups"].is_array() {
            return Err(format!("annotation `{key}` has no `forwardConfig.targetGroups`"));
        }
        Ok(action)
    }

    /// The target groups, which must be the two sides' or the baseline's alone.
    fn groups(&self, action: &Value, arms: &Arms) -> Result<Vec<Value>, String> {
        let groups = list(action, &["forwardConfig", "targetGroups"])?;
        let candidate = self.candidate(arms);
        for group in groups {
            let name = group["serviceName"].as_str();
            if name != Some(self.0.service.as_str()) && name != Some(candidate.as_str()) {
                let other = name.or(group["targetGroupARN"].as_str()).unwrap_or("(unnamed)");
                return Err(format!(
                    "annotation `{}` sends to `{other}` beside Service `{}`: its share could not be kept",
                    self.key(),
                    self.0.service
                ));
            }
        }
        Ok(groups.to_vec())
    }

    fn shown(&self, ingress: &Value, arms: &Arms) -> Result<Option<Share>, String> {
        let groups = self.groups(&self.action(ingress)?, arms)?;
        let weight = |service: &str| -> Result<u32, String> {
            let found = groups.iter().find(|group| group["serviceName"] == json!(service));
            // The controller's default is a weight of 1.
            let weight = found.map_or(Some(0), |group| group.get("weight").map_or(Some(1), Value::as_u64));
            let weight = weight.and_then(|weight| u32::try_from(weight).ok());
            weight.ok_or_else(|| format!("annotation `{}`: the weight of `{service}` is no number", self.key()))
        };
        let weights = Weights {
            candidate: weight(&self.candidate(arms))?,
            baseline: weight(&self.0.service)?,
        };
        Ok(weights.share())
    }

    /// Writes the weights; what the action was before the candidate came is remembered whole, because it is one text.
    fn set(&self, ingress: &mut Value, arms: &Arms, share: Share) -> Result<(), String> {
        let weights =
            Weights::of(share, TOTALS).ok_or_else(|| format!("an ALB's weights have steps of 0.1%, so not {share}"))?;
        self.check_use(ingress)?;
        let mut action = self.action(ingress)?;
        let mut groups = self.groups(&action, arms)?;
        let candidate = self.candidate(arms);
        if groups.iter().all(|group| group["serviceName"] != json!(candidate)) {
            let like = groups
                .iter()
                .find(|group| group["serviceName"] == json!(self.0.service))
                .cloned();
            let mut group = like.ok_or_else(|| {
                format!(
                    "annotation `{}` does not send to Service `{}`",
                    self.key(),
                    self.0.service
                )
            })?;
            map(&mut group).insert("serviceName".to_owned(), json!(candidate));
            groups.push(group);
            if memory(ingress, FOUND_MEMORY, &arms.workload).is_none() {
                let before = annotation(ingress, &self.key()).map(str::to_owned);
                remember(ingress, FOUND_MEMORY, &arms.workload, Some(&json!({"action": before})));
            }
        }
        if groups.iter().all(|group| group["serviceName"] != json!(self.0.service)) {
            let mut group = groups.first().cloned().unwrap_or_default();
            map(&mut group).insert("serviceName".to_owned(), json!(self.0.service));
            groups.insert(0, group);
        }
        for group in &mut groups {
            let weight = if group["serviceName"] == json!(candidate) {
                weights.candidate
            } else {
                weights.baseline
            };
            map(group).insert("weight".to_owned(), json!(weight));
        }
        *member(member(&mut action, "forwardConfig"), "targetGroups") = Value::Array(groups);
        // The same action in other words is not written: the controller would change the listener for nothing.
        if annotation(ingress, &self.key())
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .as_ref()
            != Some(&action)
        {
            annotate(ingress, &self.key(), Some(action.to_string()));
        }
        Ok(())
    }

    /// What the action says, where it can be read at all.
    fn written(&self, ingress: &Value) -> Option<Value> {
        serde_json::from_str(annotation(ingress, &self.key())?).ok()
    }

    /// The most that the candidate gets of an action of any shape: what others have put beside it is counted as the baseline's. Of
    /// what cannot be read it may be all: the controller keeps what it read last.
    fn exposure(&self, ingress: &Value, arms: &Arms) -> Share {
        if annotation(ingress, &self.key()).is_none() {
            return Share::ZERO;
        }
        let Some(action) = self.written(ingress) else {
            return Share::FULL;
        };
        let candidate = self.candidate(arms);
        let mut weights = Weights {
            candidate: 0,
            baseline: 0,
        };
        for group in action["forwardConfig"]["targetGroups"].as_array().into_iter().flatten() {
            let side = if group["serviceName"] == json!(candidate) {
                &mut weights.candidate
            } else {
                &mut weights.baseline
            };
            *side = side.saturating_add(weight_of(group));
        }
        weights.share().unwrap_or(Share::ZERO)
    }

    /// Gives the candidate's part to the baseline in an action of any shape, and touches nothing else; one that cannot be read
    /// becomes what it was before the candidate came.
    fn take_away(&self, ingress: &mut Value, arms: &Arms) {
        let Some(mut action) = self.written(ingress) else {
            let before = memory(ingress, FOUND_MEMORY, &arms.workload);
            let before = before.and_then(|before| before["action"].as_str().map(str::to_owned));
            annotate(ingress, &self.key(), before);
            return;
        };
        let candidate = self.candidate(arms);
        let Some(Value::Array(groups)) = action
            .get_mut("forwardConfig")
            .and_then(|all| all.get_mut("targetGroups"))
        else {
            return;
        };
        let mut given = 0_u32;
        for group in groups
            .iter_mut()
            .filter(|group| group["serviceName"] == json!(candidate))
        {
            given = given.saturating_add(weight_of(group));
            map(group).insert("weight".to_owned(), json!(0));
        }
        let like = groups
            .iter()
            .find(|group| group["serviceName"] == json!(candidate))
            .cloned();
        match groups
            .iter_mut()
            .find(|group| group["serviceName"] == json!(self.0.service))
        {
            Some(group) => {
                let sum = weight_of(group).saturating_add(given).min(WEIGHT_MAX);
                map(group).insert("weight".to_owned(), json!(sum));
            }
            None => {
                let mut group = like.unwrap_or_default();
                map(&mut group).insert("serviceName".to_owned(), json!(self.0.service));
                map(&mut group).insert("weight".to_owned(), json!(given.min(WEIGHT_MAX)));
                groups.insert(0, group);
            }
        }
        annotate(ingress, &self.key(), Some(action.to_string()));
    }

    /// Puts the candidate's target group in, with a weight of nothing: its targets register before they get any traffic.
    fn add(&self, ingress: &mut Value, arms: &Arms) -> Result<(), String> {
        let groups = self.groups(&self.action(ingress)?, arms)?;
        if groups
            .iter()
            .any(|group| group["serviceName"] == json!(self.candidate(arms)))
        {
            return Ok(());
        }
        self.set(ingress, arms, Share::ZERO)
    }

    /// Takes the candidate's target group out and leaves the action as it was found; in one that others have changed, their part
    /// stays.
    fn restore(&self, ingress: &mut Value, arms: &Arms) {
        let before = memory(ingress, FOUND_MEMORY, &arms.workload);
        let is_whole = self
            .action(ingress)
            .and_then(|action| self.groups(&action, arms))
            .is_ok();
        match before.as_ref().and_then(|before| before.get("action")) {
            Some(action) if is_whole => annotate(ingress, &self.key(), action.as_str().map(str::to_owned)),
            Some(_) | None => self.leave(ingress, arms),
        }
        remember(ingress, FOUND_MEMORY, &arms.workload, None);
    }

    fn leave(&self, ingress: &mut Value, arms: &Arms) {
        let candidate = self.candidate(arms);
        let is_candidate = |group: &Value| group["serviceName"] == json!(candidate);
        let stands = |action: &Value| {
            let groups = action["forwardConfig"]["targetGroups"].as_array();
            groups.into_iter().flatten().any(is_candidate)
        };
        if self.written(ingress).is_some_and(|action| !stands(&action)) {
            return;
        }
        self.take_away(ingress, arms);
        let Some(mut action) = self.written(ingress) else {
            return;
        };
        if let Some(Value::Array(groups)) = action
            .get_mut("forwardConfig")
            .and_then(|all| all.get_mut("targetGroups"))
        {
            groups.retain(|group| !is_candidate(group));
        }
        annotate(ingress, &self.key(), Some(action.to_string()));
    }
}

/// A target group's weight; the controller's default is 1.
fn weight_of(group: &Value) -> u32 {
    let weight = group.get("weight").map_or(Some(1), Value::as_u64);
    weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1)
}

#[async_trait]
impl Mechanism for Alb {
    async fn check(&self, namespace: &Namespace, arms: &Arms, ladder: &[Split]) -> Result<(), Failure> {
        let mut ingress = found(namespace, &INGRESSES, &self.0.ingress).await?;
        let shape = self.check_use(&ingress).and_then(|()| self.shown(&ingress, arms));
        shape.map_err(|why| self.unfit(&why))?;
        for split in ladder {
            self.set(&mut ingress, arms, split.share)
                .map_err(|why| self.unfit(&why))?;
        }
        service::check(namespace, arms, &self.0.service).await.map(drop)
    }

    async fn prepare(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let backend = service::ensure(namespace, arms, &self.0.service, Reach::Nodes, fence).await?;
        if matches!(backend, Written::Stale(_)) {
            return Ok(backend);
        }
        let order = (arms.workload.as_str(), fence);
        Ok(backend.and(
            keep(namespace, &INGRESSES, &self.0.ingress, order, |ingress| {
                self.add(ingress, arms)
            })
            .await?,
        ))
    }

    async fn read(&self, namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure> {
        let Some(ingress) = namespace.get(&INGRESSES, &self.0.ingress).await? else {
            return Ok(Standing::barred(absent(namespace, &INGRESSES, &self.0.ingress)));
        };
        let share = match self.shown(&ingress, arms) {
            Ok(share) => share,
            Err(why) => {
                return Ok(Standing {
                    split: Split {
                        share: self.exposure(&ingress, arms),
                        ..Split::none()
                    },
                    fence: fence(&ingress, &arms.workload),
                    ..Standing::barred(self.unfit(&why))
                });
            }
        };
        Ok(Standing {
            split: Split {
                share: share.unwrap_or(Share::ZERO),
                ..Split::none()
            },
            fence: fence(&ingress, &arms.workload),
            oddity: share.is_none().then(|| {
                format!(
                    "Ingress `{}` gives no target group of action `{}` any weight",
                    self.0.ingress,
                    self.action_name()
                )
            }),
            unfit: None,
        })
    }

    async fn write(&self, namespace: &Namespace, arms: &Arms, split: &Split, fence: Fence) -> Result<Written, Failure> {
        if let Some(why) = self.refusal(split) {
            return Err(Failure::lasting(why));
        }
        let order = (arms.workload.as_str(), fence);
        if split.is_none() && namespace.get(&INGRESSES, &self.0.ingress).await?.is_none() {
            return Ok(Written::Already);
        }
        rewrite(namespace, &INGRESSES, &self.0.ingress, order, |ingress| {
            let mut whole = ingress.clone();
            match self.set(&mut whole, arms, split.share) {
                Ok(()) => *ingress = whole,
                Err(_) if split.is_none() => self.take_away(ingress, arms),
                Err(why) => return Err(why),
            }
            Ok(())
        })
        .await
    }

    async fn clean(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let order = (arms.workload.as_str(), fence);
        if namespace.get(&INGRESSES, &self.0.ingress).await?.is_none() {
            return service::withdraw(namespace, arms, &self.0.service, fence).await;
        }
        let restored = rewrite(namespace, &INGRESSES, &self.0.ingress, order, |ingress| {
            self.restore(ingress, arms);
            Ok(())
        })
        .await?;
        if restored != Written::Already {
            // The target group is deleted with its Service, once no rule names it any more.
            return Ok(restored);
        }
        service::withdraw(namespace, arms, &self.0.service, fence).await
    }

    fn grants(&self) -> Vec<Grant> {
        let ingresses = Grant {
            resource: INGRESSES,
            verbs: &["get", "update"],
        };
        vec![ingresses, service::GRANT]
    }

    fn placement(&self, _split: &Split) -> Placement {
        Placement::Apart
    }

    fn refusal(&self, split: &Split) -> Option<String> {
        if !split.mirror.is_zero() {
            return Some("an ALB cannot mirror traffic".to_owned());
        }
        if !split.audience.is_empty() {
            return Some("the weighted action of an ALB cannot tell audiences apart".to_owned());
        }
        let fits = split.share.basis_points().is_multiple_of(STEP);
        (!fits).then(|| format!("an ALB's weights have steps of 0.1%, so not {}", split.share))
    }
}

#[cfg(test)]
mod tests {
    use meridian_workflows::share::Share;
    use serde_json::{Value, json};

    use super::super::tests::arms;
    use super::Alb;
    use crate::settings;

    const KEY: &str = "alb.ingress.kubernetes.io/actions.payments";

    fn alb() -> Alb {
        Alb(settings::Alb {
            ingress: "shop".to_owned(),
            service: "payments".to_owned(),
            port: Some(80),
            action: None,
            annotation_prefix: "alb.ingress.kubernetes.io".to_owned(),
        })
    }

    fn ingress(action: Option<&str>) -> Value {
        let mut ingress = json!({"metadata": {"name": "shop", "annotations": {"alb.ingress.kubernetes.io/scheme": "internal"}}, "spec": {"rules": [
            {"http": {"paths": [{"path": "/", "backend": {"service": {"name": "payments", "port": {"name": "use-annotation"}}}}]}}]}});
        if let Some(action) = action {
            ingress["metadata"]["annotations"][KEY] = json!(action);
        }
        ingress
    }

    #[test]
    fn every_tenth_of_a_percent_comes_back_with_stickiness_kept_and_weights_in_bounds() {
        let text = r#"{"type": "forward", "forwardConfig": {"targetGroups": [{"serviceName": "payments", "servicePort": "80"}],
            "targetGroupStickinessConfig": {"enabled": true, "durationSeconds": 200}}}"#;
        for before in [ingress(Some(text)), ingress(None)] {
            let mut live = before.clone();
            alb().add(&mut live, &arms()).unwrap();
            for points in (0..=10_000).step_by(10) {
                let share = Share::from_basis_points(points).unwrap();
                alb().set(&mut live, &arms(), share).unwrap();
                assert_eq!(alb().shown(&live, &arms()).unwrap(), Some(share));
                let action: Value =
                    serde_json::from_str(live["metadata"]["annotations"][KEY].as_str().unwrap()).unwrap();
                assert!(
                    action["forwardConfig"]["targetGroups"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .all(|group| group["weight"].as_u64().unwrap() <= 999)
                );
                if before["metadata"]["annotations"].get(KEY).is_some() {
                    assert_eq!(
                        action["forwardConfig"]["targetGroupStickinessConfig"]["durationSeconds"],
                        200
                    );
                    assert_eq!(action["forwardConfig"]["targetGroups"][1]["servicePort"], "80");
                }
                let once = live.clone();
                alb().set(&mut live, &arms(), share).unwrap();
                assert_eq!(live, once);
            }
            alb().restore(&mut live, &arms());
            assert_eq!(live, before);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let refused = |text: &str| alb().shown(&ingress(Some(text)), &arms()).unwrap_err();
        assert!(refused("{").contains("is no JSON"));
        assert!(refused(r#"{"type": "redirect"}"#).contains("`forward`"));
        assert!(
            refused(r#"{"type": "forward", "forwardConfig": {"targetGroups": [{"serviceName": "old"}]}}"#)
                .contains("`old`")
        );
        let mut unused = ingress(None);
        unused["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = json!({"number": 80});
        assert!(alb().check_use(&unused).unwrap_err().contains("use-annotation"));
        assert!(
            alb()
                .set(&mut ingress(None), &arms(), Share::from_basis_points(5).unwrap())
                .unwrap_err()
                .contains("0.1%")
        );
    }
}

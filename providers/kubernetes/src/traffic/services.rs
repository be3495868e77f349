//! Blue-green: the Service that users call is switched from one Deployment's pods to the other's, at once and whole.

use std::collections::BTreeMap;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{Capabilities, Shares};
use serde_json::{Value, json};

use super::object::{absent, fence, found, keep, member, memory, remember, rewrite, unfit};
use super::service::{selector, selects};
use super::{Arms, FOUND_MEMORY, Grant, Mechanism, Placement, Split, Standing, Written};
use crate::api::Namespace;
use crate::api::resource::SERVICES;
use crate::settings;

/// Two Services: users' and testers'.
#[derive(Clone, Debug)]
pub struct Services(pub settings::Services);

/// What a switch can do.
pub fn capabilities(settings: &settings::Services) -> Capabilities {
    let remarks = [
        "All traffic is switched at once; connections that are open stay where they are until they end or their pod does.",
        "The old version stays ready for `keepBaseline` after promotion, so that going back is one switch.",
    ];
    Capabilities {
        shares: Shares::Whole,
        preview: settings.preview.is_some(),
        remarks: remarks.map(str::to_owned).to_vec(),
        ..Capabilities::splitting(1)
    }
}

/// Where a Service sends, told by its selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Baseline,
    Candidate,
    Neither,
}

fn side(service: &Value, arms: &Arms) -> Side {
    let (to_baseline, to_candidate) = (
        selects(service, &arms.baseline.pods),
        selects(service, &arms.candidate.pods),
    );
    match (to_baseline, to_candidate) {
        (true, false) => Side::Baseline,
        (false, true) => Side::Candidate,
        (true, true) | (false, false) => Side::Neither,
    }
}

/// Sends a Service to the candidate's pods; where it sent before is remembered.
///
/// The keys stay, and only values change: whoever merges what Git says into it (a client-side apply takes away only what Git
/// itself once had) sets the old values and is back at the baseline whole, never at nobody.
fn switch(service: &mut Value, arms: &Arms) -> Result<(), String> {
    let side = side(service, arms);
    if side == Side::Candidate {
        return Ok(());
    }
    let before = selector(service).ok_or("it has no selector")?;
    // What sends to the baseline now is what somebody wants after us; anything else only where nothing is remembered.
    if side == Side::Baseline || memory(service, FOUND_MEMORY, &arms.workload).is_none() {
        remember(service, FOUND_MEMORY, &arms.workload, Some(&json!(before)));
    }
    let values = before.into_keys().map(|key| {
        let value = arms.candidate.pods.get(&key)?.clone();
        Some((key, value))
    });
    let switched: Option<BTreeMap<String, String>> = values.collect();
    let is_apart =
        |to: &BTreeMap<String, String>| to.iter().any(|(key, value)| arms.baseline.pods.get(key) != Some(value));
    let to = switched
        .filter(is_apart)
        .unwrap_or_else(|| arms.candidate.labels.clone());
    *member(member(service, "spec"), "selector") = json!(to);
    Ok(())
}

/// Sends a Service back to where it sent before.
fn switch_back(service: &mut Value, arms: &Arms) {
    if side(service, arms) == Side::Candidate {
        let before = before(service, arms);
        *member(member(service, "spec"), "selector") = before;
    }
    remember(service, FOUND_MEMORY, &arms.workload, None);
}

/// The selector that sends to the baseline: the remembered one, else its pods' labels.
fn before(service: &Value, arms: &Arms) -> Value {
    let remembered = memory(service, FOUND_MEMORY, &arms.workload).filter(Value::is_object);
    remembered.unwrap_or_else(|| {
        let keys = selector(service).unwrap_or_default().into_keys();
        let own: BTreeMap<String, String> = keys
            .filter_map(|key| Some((key.clone(), arms.baseline.pods.get(&key)?.clone())))
            .collect();
        if own.is_empty() {
            json!(arms.baseline.labels)
        } else {
            json!(own)
        }
    })
}

#[async_trait]
impl Mechanism for Services {
    async fn check(&self, namespace: &Namespace, arms: &Arms, _ladder: &[Split]) -> Result<(), Failure> {
        let active = found(namespace, &SERVICES, &self.0.active).await?;
        if side(&active, arms) == Side::Neither {
            let why = format!(
                "its selector matches the pods of neither version of Deployment `{}` alone",
                arms.baseline.deployment
            );
            return Err(unfit(&SERVICES, &self.0.active, &why));
        }
        if let Some(preview) = &self.0.preview {
            let service = found(namespace, &SERVICES, preview).await?;
            if selector(&service).is_none() {
                return Err(unfit(
                    &SERVICES,
                    preview,
                    "it has no selector, so it is not known which pods it sends to",
                ));
            }
        }
        Ok(())
    }

    async fn prepare(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        match &self.0.preview {
            Some(preview) => {
                keep(namespace, &SERVICES, preview, (&arms.workload, fence), |service| {
                    switch(service, arms)
                })
                .await
            }
            None => Ok(Written::Already),
        }
    }

    async fn read(&self, namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure> {
        let Some(active) = namespace.get(&SERVICES, &self.0.active).await? else {
            return Ok(Standing::barred(absent(namespace, &SERVICES, &self.0.active)));
        };
        let side = side(&active, arms);
        let oddity = (side == Side::Neither)
            .then(|| format!("Service `{}` selects the pods of neither version alone", self.0.active));
        Ok(Standing {
            split: Split {
                share: if side == Side::Candidate {
                    Share::FULL
                } else {
                    Share::ZERO
                },
                ..Split::none()
            },
            fence: fence(&active, &arms.workload),
            oddity,
            unfit: None,
        })
    }

    async fn write(&self, namespace: &Namespace, arms: &Arms, split: &Split, fence: Fence) -> Result<Written, Failure> {
        if let Some(why) = self.refusal(split) {
            return Err(Failure::lasting(why));
        }
        if split.is_none() && namespace.get(&SERVICES, &self.0.active).await?.is_none() {
            return Ok(Written::Already);
        }
        let edit = |service: &mut Value| {
            if split.share.is_full() {
                return switch(service, arms);
            }
            if side(service, arms) == Side::Neither {
                // Somebody's selector takes both or none.
                let before = before(service, arms);
                *member(member(service, "spec"), "selector") = before;
            }
            switch_back(service, arms);
            Ok(())
        };
        rewrite(namespace, &SERVICES, &self.0.active, (&arms.workload, fence), edit).await
    }

    async fn clean(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let mut written = Written::Already;
        for name in std::iter::once(&self.0.active).chain(&self.0.preview) {
            // A Service that somebody has taken away needs nothing.
            if namespace.get(&SERVICES, name).await?.is_some() && !matches!(written, Written::Stale(_)) {
                let back = |service: &mut Value| {
                    switch_back(service, arms);
                    Ok(())
                };
                written = written.and(rewrite(namespace, &SERVICES, name, (&arms.workload, fence), back).await?);
            }
        }
        Ok(written)
    }

    fn grants(&self) -> Vec<Grant> {
        vec![Grant {
            resource: SERVICES,
            verbs: &["get", "update"],
        }]
    }

    fn placement(&self, _split: &Split) -> Placement {
        Placement::Apart
    }

    fn refusal(&self, split: &Split) -> Option<String> {
        if !split.mirror.is_zero() {
            return Some("a switch of Services cannot mirror traffic".to_owned());
        }
        if !split.audience.is_empty() {
            return Some("a switch of Services cannot tell audiences apart".to_owned());
        }
        let part = !split.share.is_zero() && !split.share.is_full();
        part.then(|| format!("a switch of Services sends all traffic or none, so not {}", split.share))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::arms;
    use super::{Side, side, switch, switch_back};

    #[test]
    fn a_service_goes_over_and_comes_back_as_it_was() {
        let before = json!({"metadata": {"name": "payments", "labels": {"a": "b"}},
            "spec": {"selector": {"app": "payments"}, "type": "LoadBalancer", "unknownToUs": 1}});
        let mut service = before.clone();
        assert_eq!(side(&service, &arms()), Side::Baseline);
        switch(&mut service, &arms()).unwrap();
        assert_eq!(side(&service, &arms()), Side::Candidate);
        assert_eq!(service["spec"]["selector"], json!({"app": "payments-candidate"}));
        let once = service.clone();
        switch(&mut service, &arms()).unwrap();
        assert_eq!(service, once, "a second switch changes nothing");
        switch_back(&mut service, &arms());
        assert_eq!(service, before);
    }

    #[test]
    fn what_git_says_merged_into_a_switched_service_sends_back_whole() {
        let mut service =
            json!({"metadata": {"name": "payments"}, "spec": {"selector": {"app": "payments", "tier": "web"}}});
        switch(&mut service, &arms()).unwrap();
        assert_eq!(
            service["spec"]["selector"],
            json!({"app": "payments-candidate", "tier": "web"})
        );
        service["spec"]["selector"]["app"] = json!("payments");
        assert_eq!(side(&service, &arms()), Side::Baseline);
        // Git wants another label too from now on: that is what is to be found afterwards.
        service["spec"]["selector"] = json!({"app": "payments"});
        switch(&mut service, &arms()).unwrap();
        switch_back(&mut service, &arms());
        assert_eq!(service["spec"]["selector"], json!({"app": "payments"}));
    }

    #[test]
    fn a_selector_of_both_or_none_is_no_side() {
        assert_eq!(
            side(&json!({"spec": {"selector": {"tier": "web"}}}), &arms()),
            Side::Neither
        );
        assert_eq!(side(&json!({"spec": {}}), &arms()), Side::Neither);
    }
}

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
use meridian_workflows::vocabulary::{Audiences, Capabilities};
use serde_json::{Value, json};

use super::nginx_canary::{places, selection};
use super::object::{absent, annotation, create, fence, found, is_ours, keep, map, member, remove, rewrite, unfit};
use super::service::{self, Reach, counterpart};
use super::{Arms, Grant, Mechanism, Placement, Split, Standing, Written};
use crate::api::Namespace;
use crate::api::resource::INGRESSES;
use crate::settings;

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
        audiences: Audiences::requests(),
        preview: true,
        remarks: remarks.map(str::to_owned).to_vec(),
        ..Capabilities::splitting(1)
    }
}

impl Nginx {
    /// The name of the canary Ingress.
    pub(super) fn canary(&self, arms: &Arms) -> String {
        counterpart(&self.0.ingress, &arms.suffix)
    }

    fn unfit(&self, why: &str) -> Failure {
        unfit(&INGRESSES, &self.0.ingress, why)
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

#[async_trait]
impl Mechanism for Nginx {
    async fn check(&self, namespace: &Namespace, arms: &Arms, ladder: &[Split]) -> Result<(), Failure> {
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
        let mut tried = self.made(&stable, arms).map_err(|why| self.unfit(&why))?;
        for split in ladder {
            self.set(&mut tried, &arms.workload, split)
                .map_err(|why| self.unfit(&why))?;
        }
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
        let stable = namespace.get(&INGRESSES, &self.0.ingress).await?;
        let canary = namespace.get(&INGRESSES, &self.canary(arms)).await?;
        let unfit = match &stable {
            None => absent(namespace, &INGRESSES, &self.0.ingress),
            Some(stable) => match self.standing(stable, canary.as_ref(), arms) {
                Ok(standing) => return Ok(standing),
                Err(why) => self.unfit(&why),
            },
        };
        let Some(canary) = canary else {
            return Ok(Standing::barred(unfit));
        };
        let most = Split {
            share: Share::FULL,
            ..Split::none()
        };
        Ok(Standing {
            split: self.shown(&canary, &arms.workload).unwrap_or(most),
            fence: fence(&canary, &arms.workload),
            ..Standing::barred(unfit)
        })
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
        let stable = namespace.get(&INGRESSES, &self.0.ingress).await?;
        match stable.and_then(|stable| self.service(&stable).ok()) {
            Some(service) => service::withdraw(namespace, arms, &service, fence).await,
            None => service::withdraw_all(namespace, arms, fence).await,
        }
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
        selection(&split.audience, &self.0.tenant_header).err()
    }
}

//! Weights of a Gateway API HTTPRoute: what the API server is asked. How a route is read and changed stands in
//! [`super::http_rules`].

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::vocabulary::{Audiences, Capabilities};
use serde_json::Value;

use super::http_rules::{self, Sides};
use super::object::{absent, fence, found, rewrite, unfit};
use super::service::{self, Reach};
use super::{Arms, Grant, Mechanism, Placement, Split, Standing, Written, audience};
use crate::api::Namespace;
use crate::api::resource::Resource;
use crate::settings;

/// Served since Gateway API 1.0, in the standard channel.
pub const HTTP_ROUTES: Resource = Resource {
    group: "gateway.networking.k8s.io",
    version: "v1",
    plural: "httproutes",
    kind: "HTTPRoute",
};

/// Weights of an HTTPRoute's rules.
#[derive(Clone, Debug)]
pub struct HttpRoute(pub settings::HttpRoute);

/// What an HTTPRoute can do, whoever implements it.
pub fn capabilities() -> Capabilities {
    let remarks = [
        "An HTTPRoute's weights hold once its gateway has taken them up, usually within seconds; requests under way end where they began.",
        "Shadow stages below 100% need Gateway API 1.3 or newer, and cookie audiences a gateway that matches headers by regular expression.",
    ];
    Capabilities {
        mirroring: true,
        audiences: Audiences::requests(),
        preview: true,
        remarks: remarks.map(str::to_owned).to_vec(),
        ..Capabilities::splitting(1)
    }
}

impl HttpRoute {
    fn sides(&self, route: &Value, arms: &Arms) -> Result<Sides, String> {
        let (rule, service) = (self.0.rule.as_deref(), self.0.service.as_deref());
        let sides = Sides::of(route, &arms.workload, &arms.suffix, rule, service)?;
        Ok(Sides {
            tenant_header: self.0.tenant_header.clone(),
            ..sides
        })
    }

    /// The sides in a route of any shape; none where nothing of the candidate stands in it.
    fn any_sides(&self, route: &Value, arms: &Arms) -> Option<Sides> {
        let by_name = self.sides(route, arms).ok();
        by_name.or_else(|| {
            let service = self.0.service.as_deref();
            Sides::of(route, &arms.workload, &arms.suffix, None, service).ok()
        })
    }

    fn unfit(&self, why: &str) -> Failure {
        unfit(&HTTP_ROUTES, &self.0.name, why)
    }

    async fn live(&self, namespace: &Namespace, arms: &Arms) -> Result<(Value, Sides), Failure> {
        let route = found(namespace, &HTTP_ROUTES, &self.0.name).await?;
        let sides = self.sides(&route, arms).map_err(|why| self.unfit(&why))?;
        Ok((route, sides))
    }

    fn standing(&self, route: &Value, sides: &Sides) -> Result<Standing, String> {
        let shown = http_rules::read(route, sides)?;
        let mut again = route.clone();
        if shown.is_prepared {
            http_rules::write(&mut again, sides, &shown.split)?;
        }
        let oddity = (again["spec"] != route["spec"]).then(|| {
            format!(
                "HTTPRoute `{}` does not say the same in all its rules: somebody else has changed it",
                self.0.name
            )
        });
        Ok(Standing {
            split: shown.split,
            fence: fence(route, &sides.workload),
            oddity,
            unfit: None,
        })
    }
}

#[async_trait]
impl Mechanism for HttpRoute {
    async fn check(&self, namespace: &Namespace, arms: &Arms, ladder: &[Split]) -> Result<(), Failure> {
        let (mut route, sides) = self.live(namespace, arms).await?;
        self.standing(&route, &sides).map_err(|why| self.unfit(&why))?;
        for split in ladder {
            http_rules::write(&mut route, &sides, split).map_err(|why| self.unfit(&why))?;
        }
        service::check(namespace, arms, &sides.baseline).await.map(drop)
    }

    async fn prepare(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let (_, sides) = self.live(namespace, arms).await?;
        service::ensure(namespace, arms, &sides.baseline, Reach::Cluster, fence).await
    }

    async fn read(&self, namespace: &Namespace, arms: &Arms) -> Result<Standing, Failure> {
        let Some(route) = namespace.get(&HTTP_ROUTES, &self.0.name).await? else {
            return Ok(Standing::barred(absent(namespace, &HTTP_ROUTES, &self.0.name)));
        };
        let sides = self.sides(&route, arms);
        match sides.and_then(|sides| self.standing(&route, &sides)) {
            Ok(standing) => Ok(standing),
            Err(why) => Ok(Standing {
                split: self
                    .any_sides(&route, arms)
                    .map_or_else(Split::none, |sides| http_rules::exposure(&route, &sides)),
                fence: fence(&route, &arms.workload),
                ..Standing::barred(self.unfit(&why))
            }),
        }
    }

    async fn write(&self, namespace: &Namespace, arms: &Arms, split: &Split, fence: Fence) -> Result<Written, Failure> {
        let order = (arms.workload.as_str(), fence);
        if split.is_none() && namespace.get(&HTTP_ROUTES, &self.0.name).await?.is_none() {
            return Ok(Written::Already);
        }
        let edit = |route: &mut Value| {
            if !split.is_none() {
                let sides = self.sides(route, arms)?;
                return http_rules::write(route, &sides, split);
            }
            if let Some(sides) = self.any_sides(route, arms) {
                http_rules::clear(route, &sides);
            }
            Ok(())
        };
        let written = rewrite(namespace, &HTTP_ROUTES, &self.0.name, order, edit).await?;
        if written == Written::Changed && !split.mirror.is_zero() && !split.mirror.is_full() {
            // A Gateway API before 1.3 drops the percentage and would mirror everything.
            let standing = self.read(namespace, arms).await?;
            if standing.split.mirror.is_full() {
                self.write(namespace, arms, &Split::none(), fence).await?;
                return Err(self.unfit(
                    "this cluster's Gateway API has no percentage of a mirror: shadow 100%, or install version 1.3",
                ));
            }
        }
        Ok(written)
    }

    async fn clean(&self, namespace: &Namespace, arms: &Arms, fence: Fence) -> Result<Written, Failure> {
        let Some(route) = namespace.get(&HTTP_ROUTES, &self.0.name).await? else {
            // Somebody has taken the whole route away; what is ours goes too.
            return service::withdraw_all(namespace, arms, fence).await;
        };
        let Some(sides) = self.any_sides(&route, arms) else {
            return service::withdraw_all(namespace, arms, fence).await;
        };
        let order = (arms.workload.as_str(), fence);
        let restored = rewrite(namespace, &HTTP_ROUTES, &self.0.name, order, |route| {
            http_rules::restore(route, &sides);
            Ok(())
        })
        .await?;
        if restored != Written::Already {
            // What the route named goes a call later, when the gateway names it no more.
            return Ok(restored);
        }
        service::withdraw(namespace, arms, &sides.baseline, fence).await
    }

    fn grants(&self) -> Vec<Grant> {
        let routes = Grant {
            resource: HTTP_ROUTES,
            verbs: &["get", "update"],
        };
        vec![routes, service::GRANT]
    }

    fn placement(&self, _split: &Split) -> Placement {
        Placement::Apart
    }

    fn refusal(&self, split: &Split) -> Option<String> {
        audience::marks(&split.audience, &self.0.tenant_header).err()
    }
}

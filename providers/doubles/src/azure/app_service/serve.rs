//! App Service on a port of its own, for foreign clients and for demonstrations.

use serde::Deserialize;
use serde_json::json;

use super::behaviour::Behaviour;
use super::hands::NewSite;
use super::{AppService, api};
use crate::azure::clock;
use crate::azure::exchange;
use crate::catalogue::Options;
use crate::wire::{Answered, Asked, Manners, Refusal, Served, Wire};

/// What the resource manager says its own way.
#[derive(Clone, Copy, Debug)]
pub struct ArmManners;

impl Manners for ArmManners {
    fn is_write(&self, asked: &Asked) -> bool {
        api::is_write(&exchange::Asked::new(
            asked.method.clone(),
            asked.uri.path_and_query().map_or("/", |both| both.as_str()),
            asked.headers.clone(),
            asked.body.clone(),
        ))
    }

    fn refuse(&self, _: &Asked, refusal: Refusal) -> Answered {
        let (code, message) = match refusal {
            Refusal::TooManyRequests { .. } => (
                "SubscriptionRequestsThrottled",
                "Number of requests for subscription exceeded the limit. Please try again later.",
            ),
            Refusal::Status(503) => ("ServerTimeout", "The request timed out. Please try again later."),
            Refusal::Status(_) => (
                "InternalServerError",
                "There was an unexpected InternalServerError. Please try again later.",
            ),
            Refusal::Unauthenticated => (
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            ),
            Refusal::Forbidden => (
                "AuthorizationFailed",
                "The client does not have authorization to perform action 'Microsoft.Web/sites/write' over this scope or the scope is \
                 invalid. If access was recently granted, please refresh your credentials.",
            ),
        };
        let answered = Answered::json(refusal.status(), &json!({"error": {"code": code, "message": message}}));
        match refusal {
            Refusal::TooManyRequests { retry_after } => answered.with_header("retry-after", retry_after),
            Refusal::Unauthenticated => answered.with_header("www-authenticate", "Bearer error=\"invalid_token\""),
            Refusal::Status(_) | Refusal::Forbidden => answered,
        }
    }
}

/// The tenant at the beginning, in JSON: `{"sites": [{"name": "shop", "slots": ["staging"], …}], "behaviours": {"shop:v2": "never-ready"}}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    #[serde(default)]
    sites: Vec<NewSite>,
    #[serde(default)]
    behaviours: std::collections::BTreeMap<String, String>,
}

/// Serves a tenant: with one site `shop` and its slot `staging`, or what a state file says.
///
/// *Errors*: the state file cannot be read, the port cannot be had, the journal cannot be written.
pub async fn serve(options: Options) -> anyhow::Result<Served> {
    let tenant = AppService::new();
    match &options.state {
        None => tenant.make(NewSite::named("shop")),
        Some(path) => {
            let state: State = serde_json::from_str(&std::fs::read_to_string(path)?)?;
            for site in state.sites {
                tenant.make(site);
            }
            for (what, words) in &state.behaviours {
                tenant.behave(what, words.parse::<Behaviour>()?);
            }
        }
    }
    let served = Wire::serve_with(tenant.router(), ArmManners, options.port).await?;
    if let Some(journal) = &options.journal {
        served.wire.write_journal_to(journal)?;
    }
    // The router holds the tenant as long as it is served, and the clock stops with it.
    clock::run_live(&tenant, options.pace);
    Ok(served)
}

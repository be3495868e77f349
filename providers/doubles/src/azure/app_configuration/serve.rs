//! App Configuration on a port of its own, for foreign clients and for demonstrations.

use serde::Deserialize;
use serde_json::json;

use super::AppConfiguration;
use super::flag::Flag;
use crate::azure::clock;
use crate::catalogue::Options;
use crate::wire::{Answered, Asked, Manners, Refusal, Served, Wire};

/// What the data plane says its own way.
#[derive(Clone, Copy, Debug)]
pub struct ConfigurationManners;

impl Manners for ConfigurationManners {
    fn refuse(&self, _: &Asked, refusal: Refusal) -> Answered {
        let problem = |kind: &str, title: &str| {
            let body = json!({"type": format!("https://azconfig.io/errors/{kind}"), "title": title, "status": refusal.status()});
            Answered::text(
                refusal.status(),
                "application/problem+json; charset=utf-8",
                body.to_string(),
            )
        };
        match refusal {
            Refusal::TooManyRequests { retry_after } => problem(
                "too-many-requests",
                "Resource utilization has surpassed the assigned quota",
            )
            .with_header("retry-after-ms", u64::from(retry_after) * 1000)
            .with_header("retry-after", retry_after),
            Refusal::Unauthenticated => Answered::text(401, "text/plain", "").with_header(
                "www-authenticate",
                "HMAC-SHA256 error=\"invalid_token\" error_description=\"The access token has expired\", Bearer",
            ),
            Refusal::Forbidden => problem("forbidden", "Operation is not permitted."),
            Refusal::Status(_) => Answered::text(refusal.status(), "text/plain", ""),
        }
    }
}

/// The store at the beginning, in JSON: `{"flags": [{"id": "cart", "enabled": false, …}]}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    #[serde(default)]
    flags: Vec<Flag>,
}

/// Serves a store: an empty one, or what a state file says. Its access key is [`super::AccessKey::default`].
///
/// *Errors*: the state file cannot be read, the port cannot be had, the journal cannot be written.
pub async fn serve(options: Options) -> anyhow::Result<Served> {
    let store = AppConfiguration::new();
    if let Some(path) = &options.state {
        let state: State = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        for flag in &state.flags {
            store.put_flag(flag, None);
        }
    }
    let served = Wire::serve_with(store.router(), ConfigurationManners, options.port).await?;
    if let Some(journal) = &options.journal {
        served.wire.write_journal_to(journal)?;
    }
    clock::run_live(&store, options.pace);
    Ok(served)
}

//! The account on the wire: which service and operation a request means, and the answer in that service's protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws::manners::{AwsManners, ECS_TARGET, STS_VERSION, asks_for, changes_something, refused, written_down};
use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::aws::{query, signature, xml};
use crate::catalogue::Options;
use crate::ecs::account::Account;
use crate::ecs::behaviour::Behaviour;
use crate::ecs::world::ACCOUNT;
use crate::elb::balancers;
use crate::wire::{Answered, Served, Wire};

const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// ECS refuses larger requests, too.
const BODY_MAX: usize = 1 << 20;
/// The number of every request: nothing here depends on it.
const REQUEST: &str = "00000000-0000-4000-8000-000000000000";

/// What is there at the beginning of a process: a region, and requests that somebody made before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beginning {
    region: String,
    #[serde(default)]
    calls: Vec<Made>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    /// `ecs` or `elbv2`.
    service: String,
    operation: String,
    request: Value,
}

/// Serves an account, in `eu-west-1` and empty where the options name no state.
///
/// Beside AWS's protocols there are hands for foreign test clients, all taking JSON: `POST /_double/advance {"seconds"}`,
/// `/_double/behave {"whose", "words"}`, `/_double/alarm {"name", "ringing"}` and `/_double/page {"entries"}`.
pub async fn serve(options: Options) -> anyhow::Result<Served> {
    let beginning = match &options.state {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        None => Beginning {
            region: "eu-west-1".to_owned(),
            calls: Vec::new(),
        },
    };
    let account = Account::starting(&beginning.region, Timestamp::now());
    for made in beginning.calls {
        let done = match made.service.as_str() {
            "ecs" => account.ecs(&made.operation, made.request),
            "elbv2" => account.elb(&made.operation, made.request),
            other => bail!("the state names the service `{other}`, which is neither ecs nor elbv2"),
        };
        done.map_err(|refusal| {
            anyhow!(
                "{} of the state is refused: {} ({})",
                made.operation,
                refusal.message,
                refusal.code
            )
        })?;
    }
    let served = Wire::serve_with(account.router(), AwsManners, options.port).await?;
    if let Some(journal) = &options.journal {
        served.wire.write_journal_to(journal)?;
    }
    if options.pace > 0.0 {
        account.run_live(options.pace);
    }
    Ok(served)
}

pub(super) fn router(account: Arc<Account>) -> Router {
    Router::new()
        .route("/", post(answer))
        .route("/_double/{hand}", post(hand))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(account)
}

async fn answer(State(account): State<Arc<Account>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .map(|target| target.to_str().unwrap_or_default());
    let answered = match target {
        Some(target) => answer_json(&account, target, &headers, &body),
        None => answer_query(&account, &headers, &body),
    };
    account.write_down(|| {
        let (service, operation) = asks_for(target, &body);
        written_down(service, &operation, &body, Some(answered.status), &answered.body)
    });
    respond(answered)
}

fn answer_json(account: &Account, target: &str, headers: &HeaderMap, body: &[u8]) -> Answered {
    let operation = target.strip_prefix(ECS_TARGET).unwrap_or(target);
    let outcome = signature::check(headers, &account.region(), "ecs")
        .and_then(|()| {
            if target.starts_with(ECS_TARGET) {
                Ok(())
            } else {
                Err(Refusal::unknown_operation(format!("unknown target {target}")))
            }
        })
        .and_then(|()| Members::json(body))
        .and_then(|asked| account.state.lock().ecs(operation, asked));
    if outcome.is_ok() && changes_something(operation) {
        account.count_write();
    }
    match outcome {
        Ok(response) => Answered::text(200, "application/x-amz-json-1.1", response.to_string()),
        Err(refusal) => refused("ecs", &refusal),
    }
}

fn answer_query(account: &Account, headers: &HeaderMap, body: &[u8]) -> Answered {
    let mut form = query::form(body);
    let operation = form.remove("Action").unwrap_or_default();
    let version = form.remove("Version").unwrap_or_default();
    let (service, name, namespace) = if version == STS_VERSION {
        ("sts", "sts", STS_NAMESPACE)
    } else {
        ("elbv2", "elasticloadbalancing", balancers::NAMESPACE)
    };
    let outcome = signature::check(headers, &account.region(), name)
        .map_err(in_query)
        .and_then(|()| match version.as_str() {
            STS_VERSION => identity(&operation, &form),
            balancers::VERSION => account.state.lock().elb(&operation, Members::query(query::tree(&form))),
            other => Err(Refusal::new(
                "InvalidAction",
                400,
                format!("Could not find operation {operation} for version {other}"),
            )),
        });
    if outcome.is_ok() && service == "elbv2" && changes_something(&operation) {
        account.count_write();
    }
    match outcome {
        Ok(result) => Answered::text(200, "text/xml", xml::answer(namespace, &operation, &result, REQUEST)),
        Err(refusal) => refused(service, &refusal),
    }
}

/// The query protocol names its errors without "Exception".
fn in_query(refusal: Refusal) -> Refusal {
    let code = refusal
        .code
        .strip_suffix("Exception")
        .unwrap_or(&refusal.code)
        .to_owned();
    Refusal { code, ..refusal }
}

/// As much of STS as a provider needs that works under another role.
fn identity(operation: &str, form: &BTreeMap<String, String>) -> Result<Value, Refusal> {
    match operation {
        "GetCallerIdentity" => {
            Ok(json!({"Account": ACCOUNT, "Arn": format!("arn:aws:iam::{ACCOUNT}:root"), "UserId": ACCOUNT}))
        }
        "AssumeRole" => {
            let missing = |name: &str| Refusal::validation(format!("'{name}' must be specified"));
            let role = form.get("RoleArn").ok_or_else(|| missing("RoleArn"))?;
            let session = form.get("RoleSessionName").ok_or_else(|| missing("RoleSessionName"))?;
            let name = role.rsplit('/').next().unwrap_or_default();
            // Callers compare this with their own clock, not with the account's.
            let expires = Timestamp::now()
                .saturating_add(SignedDuration::from_hours(1))
                .unwrap_or(Timestamp::MAX);
            Ok(json!({
                "Credentials": {
                    "AccessKeyId": "ASIADOUBLEDOUBLE0000",
                    "SecretAccessKey": "stand-in",
                    "SessionToken": "stand-in",
                    "Expiration": expires.to_string(),
                },
                "AssumedRoleUser": {
                    "AssumedRoleId": format!("AROADOUBLE:{session}"),
                    "Arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"),
                },
            }))
        }
        other => Err(Refusal::new(
            "InvalidAction",
            400,
            format!("this stand-in for STS does not play {other}"),
        )),
    }
}

async fn hand(State(account): State<Arc<Account>>, Path(hand): Path<String>, body: Bytes) -> Response {
    match move_hand(&account, &hand, &body) {
        Ok(()) => respond(Answered::json(200, &json!({}))),
        Err(refusal) => respond(Answered::json(refusal.status, &json!({"message": refusal.message}))),
    }
}

fn move_hand(account: &Account, hand: &str, body: &[u8]) -> Result<(), Refusal> {
    let mut asked = Members::json(body)?;
    let missing = |name: &str| Refusal::parameter(format!("{name} must be given"));
    match hand {
        "advance" => {
            let seconds = asked.number("seconds")?.ok_or_else(|| missing("seconds"))?;
            let time =
                Duration::try_from_secs_f64(seconds).map_err(|_| Refusal::parameter("seconds must not be negative"))?;
            account.advance(time);
        }
        "behave" => {
            let (whose, words) = (asked.needs("whose")?, asked.needs("words")?);
            let behaviour =
                Behaviour::read(&words).ok_or_else(|| Refusal::parameter(format!("no such behaviour: {words}")))?;
            account.behave(&whose, behaviour);
        }
        "alarm" => account.alarm(&asked.needs("name")?, asked.truth("ringing")?.unwrap_or(true)),
        "page" => {
            let entries = asked.within("entries", 1, 1000)?.ok_or_else(|| missing("entries"))?;
            account.page_size(usize::try_from(entries).unwrap_or(usize::MAX));
        }
        other => return Err(Refusal::new("NotFound", 404, format!("no such hand: {other}"))),
    }
    asked.done()
}

fn respond(answered: Answered) -> Response {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, answered.headers, [("x-amzn-requestid", REQUEST)], answered.body).into_response()
}

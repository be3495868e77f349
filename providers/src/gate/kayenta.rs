//! The gate `kayenta`: an analysis by a Kayenta server, through its endpoint `/canary`.
//!
//! One analysis is started for a reading, over a window that ends now, and asked about within the reading's timeout. One that is not
//! over by then is remembered under its question (run, node, gate, last change of share) and asked about again by the next reading.
//! After a crash the memory is gone: the question was given to Kayenta as the execution's parent, so an analysis under way is found among
//! the running ones and taken up again. At most the one that ended in between is made twice.

#[cfg(test)]
mod stories;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use jiff::Timestamp;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::ports::secret::Secrets;
use meridian_engine::run::reading::{Analysis, Answer, Classified};
use meridian_workflows::duration::Duration;
use meridian_workflows::expression::{Value, Values};
use meridian_workflows::workflow::{GateKind, KayentaGate, KayentaScope};
use parking_lot::Mutex;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::gate::question::{other_kind, rendered};
use crate::gate::telemetry::Arm;
use crate::metric::web::{Server, Visit, bearer};
use crate::metric::words::{self, SecretName, Way};

/// Between two looks at an analysis: Kayenta's own monitor looks once a second.
const LOOK: StdDuration = StdDuration::from_secs(2);
/// Metrics that are kept of an analysis, the worst first.
const METRICS_MAX: usize = 100;
/// Analyses that are searched for one of ours. Kayenta gives the newest first.
const SEARCHED_MAX: &str = "100";
/// Questions that are remembered at once; the oldest go first.
const REMEMBERED_MAX: usize = 4_096;

/// Asks a Kayenta server.
pub struct Kayenta {
    secrets: Arc<dyn Secrets>,
    /// By question; none where the last analysis is over and the next one may begin.
    started: Mutex<HashMap<String, Option<Started>>>,
}

/// An analysis under way.
#[derive(Clone, Debug)]
struct Started {
    execution: String,
    from: Timestamp,
    to: Timestamp,
    at: Timestamp,
    /// What was asked, as it was sent.
    query: String,
}

impl Kayenta {
    /// A gate that takes secrets from here.
    pub fn new(secrets: Arc<dyn Secrets>) -> Kayenta {
        Kayenta {
            secrets,
            started: Mutex::default(),
        }
    }

    async fn ask(&self, asked: &Asked<'_>) -> Result<Analysis, Failure> {
        let gate = asked.gate;
        let to = before(asked.question.now, gate.delay);
        let from = gate.lookback.map_or(asked.question.since, |lookback| {
            before(to, lookback).max(asked.question.since)
        });
        let points = Duration::between(from, to).as_millis() / gate.step.as_millis().max(1);
        let key = asked.key();
        let started = match self.remembered(&key) {
            Some(Some(started)) => started,
            None if let Some(found) = asked.under_way(&key).await? => self.remember(&key, found, asked),
            Some(None) | None if points < gate.min_samples => return Ok(too_early(from, to, points)),
            Some(None) | None => {
                // Whether a start that was not answered has happened is only known by looking again.
                self.started.lock().remove(&key);
                let begun = asked.begin(&key, from, to).await?;
                self.remember(&key, begun, asked)
            }
        };
        let analysis = asked.followed(&started).await;
        if analysis.as_ref().map_or(true, |analysis| analysis.is_complete) {
            self.started.lock().insert(key, None);
        }
        analysis
    }

    fn remembered(&self, key: &str) -> Option<Option<Started>> {
        self.started.lock().get(key).cloned()
    }

    fn remember(&self, key: &str, started: Started, asked: &Asked<'_>) -> Started {
        let mut known = self.started.lock();
        if known.len() >= REMEMBERED_MAX {
            let lasts = asked.gate.completes_within;
            known.retain(|_, of| {
                of.as_ref()
                    .is_some_and(|of| Duration::between(of.at, asked.question.now) < lasts)
            });
        }
        known.insert(key.to_owned(), Some(started.clone()));
        started
    }
}

#[async_trait]
impl Gate for Kayenta {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Kayenta(gate) = &question.definition.kind else {
            return Err(other_kind(question, "kayenta"));
        };
        let timeout = question.definition.timeout;
        let root = words::address(&gate.address, Way::Any).map_err(Failure::lasting)?;
        let workflow = &question.workflow.name;
        let server = Server::new("Kayenta", root, "`token`", timeout, workflow, Arc::clone(&self.secrets));
        let visit = server.visit();
        let asked = Asked {
            question,
            gate,
            visit: &visit,
            until: tokio::time::Instant::now() + timeout.std(),
        };
        let analysis = tokio::time::timeout(timeout.std(), self.ask(&asked)).await;
        visit
            .told(analysis)
            .map(|analysis| Answer::Analysis(Box::new(analysis)))
    }
}

/// One question to the server.
struct Asked<'a> {
    question: &'a Question<'a>,
    gate: &'a KayentaGate,
    visit: &'a Visit<'a>,
    until: tokio::time::Instant,
}

impl Asked<'_> {
    /// What an analysis is known by, here and in Kayenta.
    fn key(&self) -> String {
        let Question {
            run, node, gate, since, ..
        } = self.question;
        format!("meridian/{run}/{node}/{gate}/{since}")
    }

    fn application(&self) -> &str {
        self.gate.application.as_deref().unwrap_or(&self.question.workflow.name)
    }

    /// An analysis of this question that was begun before the memory of it was lost.
    async fn under_way(&self, key: &str) -> Result<Option<Started>, Failure> {
        let request = self.request(Method::GET, "canary/executions")?.query(&[
            ("application", self.application()),
            ("limit", SEARCHED_MAX),
            ("statuses", "NOT_STARTED,RUNNING,SUSPENDED"),
        ]);
        let listed: Vec<Execution> = match self.visit.json(request, said).await {
            Ok(listed) => listed,
            // A proxy may let through only what is needed; without the list the analysis is made anew.
            Err(failure) if failure.lasting == Lasting::Yes => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let ours = listed
            .into_iter()
            .find(|execution| execution.parent_pipeline_execution_id.as_deref() == Some(key) && !execution.complete);
        Ok(ours.and_then(|execution| self.taken_up(execution)))
    }

    fn taken_up(&self, execution: Execution) -> Option<Started> {
        let request = execution.canary_execution_request.unwrap_or_default();
        let scope = request["scopes"].as_object().and_then(|scopes| scopes.values().next());
        let instant = |name: &str| scope?["experimentScope"][name].as_str()?.parse::<Timestamp>().ok();
        Some(Started {
            execution: execution.pipeline_id?,
            // Its parent says since when it may ask; should its window not be told, it reaches no further back.
            from: instant("start").unwrap_or(self.question.since),
            to: instant("end").unwrap_or(self.question.now),
            at: self.question.now,
            query: request.to_string(),
        })
    }

    async fn begin(&self, key: &str, from: Timestamp, to: Timestamp) -> Result<Started, Failure> {
        let body = self.body(from, to)?;
        let path = format!("canary/{}", encoded(&self.gate.canary_config_id));
        let mut parameters = vec![("application", self.application()), ("parentPipelineExecutionId", key)];
        let accounts = [
            ("metricsAccountName", &self.gate.metrics_account),
            ("configurationAccountName", &self.gate.configuration_account),
        ];
        parameters.extend(
            accounts
                .iter()
                .filter_map(|(name, account)| Some((*name, account.as_deref()?))),
        );
        let request = self.request(Method::POST, &path)?.query(&parameters).json(&body);
        let begun: Begun = self.visit.json(request, said).await?;
        Ok(Started {
            execution: begun.canary_execution_id,
            from,
            to,
            at: self.question.now,
            query: body.to_string(),
        })
    }

    /// The newest state of an analysis: its end, or what it is at when the reading's time is nearly over.
    async fn followed(&self, started: &Started) -> Result<Analysis, Failure> {
        let path = format!("canary/{}", encoded(&started.execution));
        loop {
            let request = self.request(Method::GET, &path)?;
            let execution: Execution = self.visit.json(request, said).await?;
            let is_complete = execution.complete;
            let lasted = Duration::between(started.at, self.question.now);
            if !is_complete && lasted >= self.gate.completes_within {
                return Err(Failure::transient(format!(
                    "execution {} has not ended within {}; a new one is started",
                    self.visit.quoted(&started.execution),
                    self.gate.completes_within
                )));
            }
            let has_time = tokio::time::Instant::now() + LOOK * 2 < self.until;
            if is_complete || !has_time {
                return Ok(self.analysis(started, execution));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn analysis(&self, started: &Started, execution: Execution) -> Analysis {
        let judged = execution
            .result
            .and_then(|result| result.judge_result)
            .unwrap_or_default();
        let score = judged.score.unwrap_or_default();
        let reason = score
            .classification_reason
            .or_else(|| execution.exception.as_ref().and_then(said));
        let mut metrics: Vec<Classified> = judged
            .results
            .into_iter()
            .filter(|metric| !metric.muted)
            .map(|metric| Classified {
                name: self.visit.quoted(&metric.name.unwrap_or_default()),
                classification: self.visit.quoted(&metric.classification.unwrap_or_default()),
                is_critical: metric.critical,
            })
            .collect();
        metrics.sort_by_key(|metric| (metric.classification == "Pass", !metric.is_critical));
        metrics.truncate(METRICS_MAX);
        let points = Duration::between(started.from, started.to).as_millis() / self.gate.step.as_millis().max(1);
        Analysis {
            execution: Some(self.visit.quoted(&started.execution)),
            from: started.from,
            to: started.to,
            points,
            is_complete: execution.complete,
            status: self
                .visit
                .quoted(execution.status.as_deref().unwrap_or("without a status")),
            score: score.score.as_ref().and_then(Json::as_f64),
            classification: score.classification.map(|label| self.visit.quoted(&label)),
            reason: reason
                .filter(|reason| !reason.is_empty())
                .map(|reason| self.visit.quoted(&reason)),
            metrics,
            query: started.query.clone(),
        }
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let mut request = self.visit.request(method, path)?;
        if let Some(token) = &self.gate.token {
            let name = SecretName { secret: token.clone() };
            request = request.header(AUTHORIZATION, bearer(&self.visit.secret(&name)?)?);
        }
        Ok(match &self.gate.storage_account {
            Some(account) => request.query(&[("storageAccountName", account)]),
            None => request,
        })
    }

    /// A `CanaryExecutionRequest`.
    fn body(&self, from: Timestamp, to: Timestamp) -> Result<Json, Failure> {
        let (candidate, baseline) = (Arm::candidate(self.question), Arm::baseline(self.question));
        let baseline = baseline.ok_or_else(|| Failure::lasting("no baseline serves beside the candidate"))?;
        let mut scopes = serde_json::Map::new();
        for (name, scope) in &self.gate.scopes {
            let pair = json!({
                "controlScope": self.scope(scope, baseline, from, to)?,
                "experimentScope": self.scope(scope, candidate, from, to)?,
            });
            scopes.insert(name.clone(), pair);
        }
        Ok(json!({
            "scopes": scopes,
            "thresholds": {"pass": f64::from(self.gate.pass), "marginal": f64::from(self.gate.marginal)},
        }))
    }

    /// A `CanaryScope`.
    fn scope(&self, scope: &KayentaScope, arm: Arm<'_>, from: Timestamp, to: Timestamp) -> Result<Json, Failure> {
        let version = arm
            .version
            .ok_or_else(|| Failure::lasting(format!("there is no {}", arm.name)))?;
        let region = self.question.region.as_ref().map_or("", |region| region.name);
        let inputs = self.question.workflow.inputs.iter();
        let inputs = inputs.map(|(name, value)| (name.as_str(), Value::from(value.as_str())));
        let values = Values::new()
            .with("inputs", Value::record(inputs))
            .with("region", Value::record([("name", region)]))
            .with("arm", crate::gate::question::arm(arm.name, version));
        let text = |what: &str, template: &str| rendered(what, template, &values);
        let params = scope.params.iter().map(|(name, template)| {
            let what = format!("the parameter `{name}`");
            Ok((name.clone(), Json::from(text(&what, template)?)))
        });
        Ok(json!({
            "scope": text("the scope", &scope.scope)?,
            "location": match &scope.location {
                Some(location) => text("the location", location)?,
                None => region.to_owned(),
            },
            "start": from.to_string(),
            "end": to.to_string(),
            "step": self.gate.step.as_millis() / 1_000,
            "extendedScopeParams": params.collect::<Result<serde_json::Map<_, _>, Failure>>()?,
        }))
    }
}

fn before(at: Timestamp, length: Duration) -> Timestamp {
    at.saturating_sub(length.signed()).unwrap_or(at)
}

fn too_early(from: Timestamp, to: Timestamp, points: u64) -> Analysis {
    Analysis {
        execution: None,
        from,
        to: to.max(from),
        points,
        is_complete: false,
        status: "not started".to_owned(),
        score: None,
        classification: None,
        reason: None,
        metrics: Vec::new(),
        query: String::new(),
    }
}

/// A name as one piece of a path.
fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            b'.' if name.bytes().any(|byte| byte != b'.') => ".".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// What Kayenta says of an error: Spring's `message`, or the errors of an execution's exception.
fn said(json: &Json) -> Option<String> {
    let text = |json: &Json| json.as_str().map(str::to_owned);
    let details = &json["details"];
    let errors = details["errors"].as_array().map(|errors| {
        let errors: Vec<&str> = errors.iter().filter_map(Json::as_str).collect();
        errors.join("; ")
    });
    text(&json["message"])
        .or(errors.filter(|errors| !errors.is_empty()))
        .or_else(|| text(&details["error"]))
        .or_else(|| text(&json["error"]))
        .or_else(|| text(&json["exceptionType"]))
}

/// A `CanaryExecutionResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    canary_execution_id: String,
}

/// What is read of a `CanaryExecutionStatusResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    pipeline_id: Option<String>,
    parent_pipeline_execution_id: Option<String>,
    complete: bool,
    status: Option<String>,
    exception: Option<Json>,
    result: Option<ResultOf>,
    canary_execution_request: Option<Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultOf {
    judge_result: Option<JudgeResult>,
}

#[derive(Default, Deserialize)]
struct JudgeResult {
    #[serde(default)]
    results: Vec<MetricResult>,
    score: Option<Score>,
}

#[derive(Deserialize)]
struct MetricResult {
    name: Option<String>,
    classification: Option<String>,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    muted: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Score {
    /// Java writes NaN as text.
    score: Option<Json>,
    classification: Option<String>,
    classification_reason: Option<String>,
}

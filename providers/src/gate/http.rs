//! The gate `http`: one request, its status, and CEL over the JSON that came back.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::ports::secret::Secrets;
use meridian_engine::run::reading::Answer;
use meridian_workflows::expression::{Expression, Scope, Type, Value, Values};
use meridian_workflows::workflow::{GateKind, HttpGate};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};

use crate::gate::question;
use crate::web;

/// The longest body that is read; a longer one is no answer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Asks an HTTP service.
///
/// *Guarantees*: one request, redirects not followed, at most 1 MiB read, within the gate's timeout. A status outside the
/// accepted ones is a no, whatever it is: a health page that answers 503 says that something is not healthy. A body that `passWhen` needs and that is no JSON, is too long, or gives the condition no answer is
/// a failure, never a pass. What came back is told by status and condition only, since a body may hold anything.
pub struct Http {
    secrets: Arc<dyn Secrets>,
}

impl Http {
    /// A gate that takes secrets from here.
    pub fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets }
    }

    async fn ask(&self, question: &Question<'_>, gate: &HttpGate) -> Result<Answer, Failure> {
        let condition = gate.pass_when.as_deref().map(condition).transpose()?;
        let mut response = self.send(question, gate).await?;
        let status = response.status().as_u16();
        if !gate.status.contains(&status) {
            let accepted: Vec<String> = gate.status.iter().map(u16::to_string).collect();
            let accepted = if accepted.len() > 8 {
                "none of the accepted".to_owned()
            } else {
                format!("not {}", accepted.join(", "))
            };
            return Ok(Answer::Check {
                passed: false,
                detail: format!("status {status}, {accepted}"),
            });
        }
        let Some(condition) = condition else {
            return Ok(Answer::Check {
                passed: true,
                detail: format!("status {status}"),
            });
        };
        let body = body(&mut response).await?;
        let json: serde_json::Value = serde_json::from_slice(&body).map_err(|_| {
            Failure::transient(format!(
                "status {status}, and the body that `passWhen` asks about is no JSON"
            ))
        })?;
        let values = Values::new()
            .with("body", Value::from(json))
            .with("status", i64::from(status));
        let passed = condition.holds(&values).map_err(|error| {
            Failure::transient(format!(
                "status {status}, and `passWhen` has no answer for this body: {error}"
            ))
        })?;
        let detail = format!("status {status}, `{}` is {passed}", condition.expression());
        Ok(Answer::Check { passed, detail })
    }

    async fn send(&self, question: &Question<'_>, gate: &HttpGate) -> Result<Response, Failure> {
        let values = question::values(question);
        let url = question::rendered("the url", &gate.url, &values)?;
        // The URL may have been put together from inputs; it is not repeated in the message, since it may hold a token.
        let url: Url = url
            .parse()
            .map_err(|_| Failure::lasting("the url, filled in, is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::lasting(format!(
                "the url has the scheme `{}`, and http or https is needed",
                url.scheme()
            )));
        }
        let method: Method = gate
            .method
            .parse()
            .map_err(|_| Failure::lasting(format!("`{}` is no HTTP method", gate.method)))?;
        let mut request = web::client()?
            .request(method, url)
            .headers(self.headers(question, gate, &values)?);
        if let Some(body) = &gate.body {
            request = request.body(question::rendered("the body", body, &values)?);
        }
        request.send().await.map_err(unanswered)
    }

    fn headers(&self, question: &Question<'_>, gate: &HttpGate, values: &Values) -> Result<HeaderMap, Failure> {
        let texts = question::texts(
            "the header",
            &gate.headers,
            values,
            &question.workflow.name,
            &self.secrets,
        )?;
        let header = |(name, text): (String, String)| {
            let unfit = || Failure::lasting(format!("the header `{name}` cannot be sent with this name and value"));
            let value = HeaderValue::from_str(&text).map_err(|_| unfit())?;
            Ok((HeaderName::try_from(name.as_str()).map_err(|_| unfit())?, value))
        };
        texts.into_iter().map(header).collect()
    }
}

#[async_trait]
impl Gate for Http {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Http(gate) = &question.definition.kind else {
            return Err(Failure::lasting(format!("gate `{}` is no http gate", question.gate)));
        };
        let timeout = question.definition.timeout;
        let late = |_| Failure::transient(format!("no answer within {timeout}"));
        let asked = tokio::time::timeout(timeout.std().max(Duration::from_millis(1)), self.ask(question, gate));
        asked.await.map_err(late)?
    }
}

/// A condition that was checked when the workflow was read, and is checked again here: a plan may be older than the program.
fn condition(source: &str) -> Result<meridian_workflows::expression::Predicate, Failure> {
    let scope = Scope::new().with("body", Type::Dyn).with("status", Type::Int);
    let problem = |problems: Vec<meridian_workflows::expression::Problem>| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        Failure::lasting(format!("`passWhen` cannot be read: {first}"))
    };
    Expression::parse(source)
        .and_then(|expression| expression.predicate(&scope))
        .map_err(problem)
}

async fn body(response: &mut Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Failure::transient(
                "the body is longer than 1 MiB and was not read to its end",
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Says why there was no answer, without the URL.
fn unanswered(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut what = "no answer".to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        what = format!("no answer: {cause}");
        source = cause.source();
    }
    if error.is_builder() {
        Failure::lasting(what)
    } else {
        Failure::transient(what)
    }
}

//! The metric source `logAnalytics`: KQL over a Log Analytics workspace, an Application Insights application, or any resource's logs.
//!
//! The call is `POST /v1/{workspaces|apps}/{id}/query`, or `POST /v1/{resource}/query`
//! (learn.microsoft.com/azure/azure-monitor/logs/api/request-format and …/api/azure-resource-queries; for Application Insights
//! …/app/app-insights-azure-ad-api); the answer is a list of `tables` of `columns` and `rows`, with an `error` beside them where a part is
//! missing (…/logs/api/response-format). `timespan` bounds the query beside what it says itself.

use jiff::Timestamp;
use meridian_azure::identity::{Identity, Keeper};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::{Number, Series, Stretch};
use meridian_workflows::duration::Duration;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::metric::azure;
use crate::metric::buckets::{self, Bucket};
use crate::metric::placing::{self, Placed, Writing};
use crate::metric::web::{Over, Protocol, Server, Visit};
use crate::metric::words::{self, Rhythm, Way, optional};
use crate::metric::{Kind, Making, kind};

/// Logs are there within a minute or two after what they tell of.
const DELAY_DEFAULT: Duration = Duration::from_secs(60);
const WRITING: Writing = Writing {
    instant: |at| format!("datetime({at})"),
    length: |length| format!("{}ms", length.as_millis()),
};

pub(super) const KIND: Kind = kind(
    "logAnalytics",
    &[
        azure::CREDENTIALS,
        azure::CLOUD,
        optional("workspace", "the workspace's id"),
        optional("application", "the application's id in Application Insights"),
        optional(
            "resource",
            "a resource's id, as in `/subscriptions/…`, whose logs are meant",
        ),
        optional("address", "the query service's root instead of the cloud's own"),
        words::STEP,
        optional("delay", "how long logs may take to arrive (default 1m)"),
        words::LOOKBACK,
        words::TIMEOUT,
    ],
    |settings| read(settings).map(drop),
    |making| Ok(Box::new(Over(LogAnalytics::new(making)?))),
);

/// Azure's logs, seen by one identity.
struct LogAnalytics {
    server: Server,
    identity: Identity,
    keeper: Keeper,
    path: String,
    rhythm: Rhythm,
    window: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    credentials: Json,
    cloud: Option<Json>,
    workspace: Option<String>,
    application: Option<String>,
    resource: Option<String>,
    address: Option<String>,
    step: Option<Duration>,
    delay: Option<Duration>,
    lookback: Option<Duration>,
    timeout: Option<Duration>,
}

struct Settings {
    root: Url,
    identity: Identity,
    keeper: Keeper,
    path: String,
    rhythm: Rhythm,
    timeout: Duration,
}

fn read(settings: &Json) -> Result<Settings, String> {
    let written: Written = words::read(settings)?;
    let identity = azure::identity(written.cloud.as_ref(), &written.credentials)?;
    let (keeper, path) = match (written.workspace, written.application, written.resource) {
        (Some(id), None, None) => (
            Keeper::Logs,
            format!("v1/workspaces/{}/query", id_of("workspace", &id)?),
        ),
        (None, Some(id), None) => (
            Keeper::ApplicationInsights,
            format!("v1/apps/{}/query", id_of("application", &id)?),
        ),
        (None, None, Some(id)) => {
            let is_plain = |segment: &str| !segment.is_empty() && !segment.contains("..");
            if !id.starts_with("/subscriptions/")
                || !id.split('/').skip(1).all(is_plain)
                || id.contains(['?', '#', '%', ' '])
            {
                return Err(format!("`resource` is an id such as `/subscriptions/…`, got `{id}`"));
            }
            (Keeper::Logs, format!("v1{id}/query"))
        }
        _ => return Err("exactly one of `workspace`, `application` and `resource` is needed".to_owned()),
    };
    let own = identity.address(keeper);
    Ok(Settings {
        root: words::address(written.address.as_deref().unwrap_or(own), Way::Guarded)?,
        identity,
        keeper,
        path,
        rhythm: Rhythm::read(written.step, written.delay, written.lookback, DELAY_DEFAULT)?,
        timeout: words::timeout(written.timeout)?,
    })
}

fn id_of<'a>(key: &str, id: &'a str) -> Result<&'a str, String> {
    let fits = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if fits {
        Ok(id)
    } else {
        Err(format!("`{key}` is an id of letters, digits and `-`, got `{id}`"))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    tables: Vec<Table>,
    error: Option<Json>,
}

#[derive(Deserialize)]
struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Json>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// One row: its instant where the table has one, and its number.
struct Row {
    at: Option<Timestamp>,
    value: Option<f64>,
}

impl LogAnalytics {
    fn new(making: &Making<'_>) -> Result<LogAnalytics, Failure> {
        let settings = read(making.settings).map_err(|why| making.unfit(&why))?;
        let access = match settings.keeper {
            Keeper::ApplicationInsights => "`credentials`: the identity needs the role Reader on the application",
            Keeper::Logs | Keeper::ResourceManager => {
                "`credentials`: the identity needs the role Log Analytics Data Reader on the workspace"
            }
        };
        Ok(LogAnalytics {
            server: making.server(settings.root, access, settings.timeout),
            identity: settings.identity,
            keeper: settings.keeper,
            path: settings.path,
            rhythm: settings.rhythm,
            window: making.purpose.window,
        })
    }

    async fn rows(&self, visit: &Visit<'_>, placed: &Placed) -> Result<Vec<Row>, Failure> {
        let timespan = format!("{}/{}", placed.over.from, placed.over.to);
        let request = visit
            .request(Method::POST, &self.path)?
            .header(
                AUTHORIZATION,
                azure::authorization(visit, &self.identity, self.keeper).await?,
            )
            .json(&json!({"query": placed.query, "timespan": timespan}));
        let answer: Answer = visit.json(request, azure::said).await?;
        if let Some(error) = &answer.error {
            let said = azure::said(&json!({ "error": error })).unwrap_or_default();
            return Err(Failure::transient(format!(
                "it answered from a part of its data: {}",
                visit.quoted(&said)
            )));
        }
        // The first table is the query's own; others, if any, tell about the query.
        match answer.tables.into_iter().next() {
            Some(table) => read_table(&table),
            None => Err(Failure::transient("it answered without a table")),
        }
    }
}

/// The table's one numeric column, and its one instant where it has one.
fn read_table(table: &Table) -> Result<Vec<Row>, Failure> {
    let (mut time, mut number) = (None, None);
    for (index, column) in table.columns.iter().enumerate() {
        let place = match column.kind.as_str() {
            "datetime" => &mut time,
            "real" | "int" | "long" | "decimal" => &mut number,
            other => {
                return Err(Failure::lasting(format!(
                    "the answer has the column `{}` of type {other}: one number is needed, and at most one datetime beside it",
                    column.name
                )));
            }
        };
        if place.replace(index).is_some() {
            return Err(Failure::lasting(format!(
                "the answer's column `{}` is one too many: one number is needed, and at most one datetime beside it",
                column.name
            )));
        }
    }
    let number = number.ok_or_else(|| Failure::lasting("the answer has no column with a number"))?;
    let row = |row: &Vec<Json>| {
        let unfit = || Failure::transient("it answered with a row that is none");
        let at = match time {
            Some(index) => {
                let text = row.get(index).and_then(Json::as_str).ok_or_else(unfit)?;
                Some(text.parse().map_err(|_| unfit())?)
            }
            None => None,
        };
        let value = match row.get(number).ok_or_else(unfit)? {
            Json::Null => None,
            Json::Number(value) => value.as_f64(),
            // Numbers that JSON does not know, and decimals.
            Json::String(text) => Some(text.parse().map_err(|_| unfit())?),
            Json::Bool(_) | Json::Array(_) | Json::Object(_) => return Err(unfit()),
        };
        Ok(Row { at, value })
    };
    table.rows.iter().map(row).collect()
}

fn buckets_of(rows: Vec<Row>) -> Result<Vec<Bucket>, Failure> {
    let bucket = |row: Row| {
        let from = row.at.ok_or_else(|| {
            Failure::lasting("the query has `$step` and its answer no datetime; summarize by bin(TimeGenerated, $step)")
        })?;
        Ok(Bucket { from, value: row.value })
    };
    rows.into_iter().map(bucket).collect()
}

#[async_trait::async_trait]
impl Protocol for LogAnalytics {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn number(&self, visit: &Visit<'_>, query: &str, at: Timestamp) -> Result<Number, Failure> {
        let placed = placing::one(query, at, &self.rhythm, self.window, WRITING);
        let rows = self.rows(visit, &placed).await?;
        if placed.is_bucketed {
            return Ok(buckets::newest(&buckets_of(rows)?, placed.over.step, at, &self.rhythm));
        }
        match rows.as_slice() {
            [] => Ok(Number { value: None, at: None }),
            // Without an instant of its own the value speaks for the timespan, up to its end.
            [row] => Ok(Number {
                value: row.value,
                at: row.value.map(|_| row.at.unwrap_or(placed.over.to)),
            }),
            rows => Err(Failure::lasting(format!(
                "the answer has {} rows where one is needed; summarize them, or put them into bins of `$step`",
                rows.len()
            ))),
        }
    }

    async fn course(&self, visit: &Visit<'_>, query: &str, over: Stretch) -> Result<Series, Failure> {
        let placed = placing::many(query, over, &self.rhythm, WRITING)?;
        let rows = self.rows(visit, &placed).await?;
        buckets::course(buckets_of(rows)?, placed.over.step, over, &self.rhythm)
    }
}

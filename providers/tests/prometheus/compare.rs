//! Asks both servers and holds their answers together.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_providers::sandbox::promql::answer::{answer_query, answer_query_range};
use meridian_providers::sandbox::promql::store::Store;
use serde_json::Value as Json;

use crate::data::{LENGTH, START, all, store};
use crate::generate::{Chance, query};
use crate::server::Prometheus;
use crate::table::{INSTANT_ONLY, QUERIES};

/// How far two numbers may be apart, relative to the larger one.
const TOLERANCE: f64 = 1e-9;

/// What is compared of an answer: the kind of a failure, or every series with its points.
#[derive(Debug, PartialEq)]
enum Answer {
    Failed(String),
    Values(String, BTreeMap<String, Vec<(String, String)>>),
}

fn read(body: &Json) -> Answer {
    if body["status"] == "error" {
        return Answer::Failed(body["errorType"].as_str().unwrap().to_owned());
    }
    let point = |point: &Json| {
        (
            point[0].as_f64().unwrap().to_string(),
            point[1].as_str().unwrap().to_owned(),
        )
    };
    let kind = body["data"]["resultType"].as_str().unwrap().to_owned();
    let result = &body["data"]["result"];
    let series = match kind.as_str() {
        "scalar" | "string" => BTreeMap::from([(String::new(), vec![point(result)])]),
        _ => {
            let series = result.as_array().unwrap();
            let points = |series: &Json| match series.get("value") {
                Some(value) => vec![point(value)],
                None => series["values"].as_array().unwrap().iter().map(point).collect(),
            };
            let map: BTreeMap<_, _> = series
                .iter()
                .map(|series| (series["metric"].to_string(), points(series)))
                .collect();
            assert_eq!(map.len(), series.len(), "a label set stands twice in {result}");
            map
        }
    };
    Answer::Values(kind, series)
}

fn is_same(ours: &Answer, theirs: &Answer) -> bool {
    let (Answer::Values(kind, ours), Answer::Values(their_kind, theirs)) = (ours, theirs) else {
        return ours == theirs;
    };
    kind == their_kind
        && ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs)
            .all(|((labels, points), (their_labels, their_points))| {
                labels == their_labels
                    && points.len() == their_points.len()
                    && points
                        .iter()
                        .zip(their_points)
                        .all(|(a, b)| a.0 == b.0 && is_near(&a.1, &b.1))
            })
}

fn is_near(ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    let (Ok(ours), Ok(theirs)) = (ours.parse::<f64>(), theirs.parse::<f64>()) else {
        return false;
    };
    (ours - theirs).abs() <= TOLERANCE * ours.abs().max(theirs.abs())
}

struct Both {
    server: Prometheus,
    store: Store,
    differences: Vec<String>,
    asked: usize,
    with_values: usize,
}

impl Both {
    async fn ask(&mut self, path: &str, parameters: &[(&str, String)]) {
        let owned: Vec<(String, String)> = parameters.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let (status, ours) = match path {
            "query" => answer_query(&self.store, &owned, Timestamp::UNIX_EPOCH),
            _ => answer_query_range(&self.store, &owned),
        };
        let response = self
            .server
            .client
            .post(format!("{}/api/v1/{path}", self.server.address))
            .form(&owned)
            .send();
        let response = response.await.unwrap();
        let their_status = response.status().as_u16();
        let theirs: Json = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let (our_answer, their_answer) = (read(&ours), read(&theirs));
        self.asked += 1;
        if matches!(&their_answer, Answer::Values(_, series) if !series.is_empty()) {
            self.with_values += 1;
        }
        if status != their_status || !is_same(&our_answer, &their_answer) {
            let shown = |answer: &Json| answer.to_string().chars().take(1_500).collect::<String>();
            self.differences.push(format!(
                "{parameters:?}\n    ours   {status} {}\n    theirs {their_status} {}",
                shown(&ours),
                shown(&theirs)
            ));
        }
    }

    async fn at(&mut self, query: &str, t: i64) {
        self.ask("query", &[("query", query.to_owned()), ("time", seconds(t))])
            .await;
    }

    async fn over(&mut self, query: &str, start: i64, end: i64, step: &str) {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
            ("step", step.to_owned()),
        ];
        self.ask("query_range", &parameters).await;
    }

    fn finish(self, what: &str) {
        eprintln!(
            "{what}: {} asked, {} with values, {} differ",
            self.asked,
            self.with_values,
            self.differences.len()
        );
        assert!(
            self.with_values * 3 > self.asked,
            "too few questions have an answer to compare"
        );
        let shown = self.differences.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            self.differences.is_empty(),
            "{} answers differ:\n{shown}",
            self.differences.len()
        );
    }
}

fn seconds(t: i64) -> String {
    format!("{}.{:03}", t / 1000, t % 1000)
}

async fn both() -> Option<Both> {
    let all = all();
    let server = Prometheus::start(&all).await?;
    Some(Both {
        server,
        store: store(&all),
        differences: Vec::new(),
        asked: 0,
        with_values: 0,
    })
}

#[tokio::test]
async fn every_rule_that_gates_rely_on_is_answered_as_prometheus_answers_it() {
    let Some(mut both) = both().await else { return };
    for query in QUERIES {
        // On a sample, between samples, inside the silence, in the lookback after the end, long after it.
        for t in [
            600_000,
            607_321,
            1_000_000,
            1_205_000,
            LENGTH - 1,
            LENGTH + 280_000,
            LENGTH + 3_600_000,
        ] {
            both.at(query, START + t).await;
        }
        both.over(query, START - 60_000, START + LENGTH + 360_000, "37").await;
        both.over(query, START + 300_000, START + 900_000, "15s").await;
    }
    for query in INSTANT_ONLY {
        for t in [600_000, 607_321, 1_000_000, LENGTH] {
            both.at(query, START + t).await;
        }
        both.over(query, START, START + LENGTH, "60").await;
    }
    both.finish("the table");
}

#[tokio::test]
async fn random_queries_are_answered_as_prometheus_answers_them() {
    let Some(mut both) = both().await else { return };
    let seed = std::env::var("MERIDIAN_SEED").map_or(7, |seed| seed.parse().expect("MERIDIAN_SEED is a number"));
    let mut chance = Chance::new(seed);
    for _ in 0..1_000 {
        let query = query(&mut chance);
        both.at(&query, START + chance.below(LENGTH as u64 + 400_000) as i64)
            .await;
        let start = START + chance.below(LENGTH as u64) as i64;
        both.over(
            &query,
            start,
            start + chance.below(900_000) as i64,
            &format!("{}ms", 1_000 + chance.below(90_000)),
        )
        .await;
    }
    both.finish(&format!("seed {seed}"));
}

#[tokio::test]
async fn odd_times_and_steps_are_refused_alike() {
    let Some(mut both) = both().await else { return };
    for time in [
        "1700000600",
        "1700000600.1239",
        "2023-11-14T22:23:20Z",
        "2023-11-14T22:23:20.5+01:00",
        "later",
        "1e400",
        "-5",
    ] {
        both.ask("query", &[("query", "constant".into()), ("time", time.into())])
            .await;
    }
    let cases = [
        ("1700000600", "1700000660", "15"),
        ("1700000600", "1700000660", "15.5"),
        ("1700000600", "1700000660", "1m"),
        ("1700000600", "1700000660", "0"),
        ("1700000600", "1700000660", "-1"),
        ("1700000600", "1700000660", "often"),
        ("1700000600", "1700000500", "15"),
        ("1700000600", "1700020600", "1"),
        ("1700000600", "1700011600", "1"),
        ("soon", "1700000660", "15"),
    ];
    for (start, end, step) in cases {
        let parameters = [("query", "constant"), ("start", start), ("end", end), ("step", step)];
        both.ask("query_range", &parameters.map(|(name, value)| (name, value.to_owned())))
            .await;
    }
    both.finish("times and steps");
}

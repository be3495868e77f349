//! Asks the metrics of a workflow: which source, which query for which arm, and what comes back as evidence.

#[cfg(test)]
mod stories;

use std::collections::HashMap;
use std::sync::Arc;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::Question;
use meridian_engine::ports::metric::{MetricSource, Number, Stretch};
use meridian_engine::run::reading::{Course, Point, Sample};
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::expression::{Value, Values};
use meridian_workflows::workflow::{Metric, MetricUnit, Source};
use parking_lot::Mutex;

use crate::gate::question::{self, rendered};
use crate::metric::{self, Purpose, Surroundings};

/// Sources kept at once; more begin anew.
const SOURCES_MAX: usize = 256;

/// The metric sources of all workflows. One is made once for its settings and its purpose, so that its connections are kept.
pub struct Telemetry {
    surroundings: Surroundings,
    sources: Mutex<HashMap<String, Arc<dyn MetricSource>>>,
}

/// Whose telemetry is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Arm<'a> {
    /// `candidate` or `baseline`.
    pub name: &'static str,
    pub version: Option<&'a Version>,
}

impl<'a> Arm<'a> {
    pub fn candidate(question: &Question<'a>) -> Arm<'a> {
        Arm {
            name: "candidate",
            version: question.region.as_ref().and_then(|region| region.candidate),
        }
    }

    /// None where no concurrent baseline serves, or the gate does not ask about it.
    pub fn baseline(question: &Question<'a>) -> Option<Arm<'a>> {
        let version = question.region.as_ref().and_then(|region| region.baseline)?;
        Some(Arm {
            name: "baseline",
            version: Some(version),
        })
    }
}

/// What is asked of both arms, side by side about the same instant; none of a baseline that does not serve beside the candidate.
///
/// # Errors
/// The first that one of the two meets.
pub async fn both<'q, T, F>(question: &Question<'q>, ask: impl Fn(Arm<'q>) -> F) -> Result<(T, Option<T>), Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let baseline = async {
        match Arm::baseline(question) {
            Some(arm) => ask(arm).await.map(Some),
            None => Ok(None),
        }
    };
    tokio::try_join!(ask(Arm::candidate(question)), baseline)
}

/// Which of the requests are counted: names that a query fills in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which<'a> {
    /// `${{ le }}`: those that took at most so many seconds.
    pub boundary: Option<&'a str>,
    /// `${{ kind }}`.
    pub kind: Option<&'a str>,
}

impl Telemetry {
    pub fn new(surroundings: Surroundings) -> Telemetry {
        Telemetry {
            surroundings,
            sources: Mutex::default(),
        }
    }

    /// The metric of that name, ready to be asked.
    ///
    /// # Errors
    /// Lasting: the plan has no such metric or source, or the source's settings do not fit.
    pub fn metric<'q>(&self, name: &'q str, question: &'q Question<'q>) -> Result<Asked<'q>, Failure> {
        let workflow = question.workflow;
        let unknown = |what: &str, name: &str| Failure::lasting(format!("the workflow has no {what} `{name}`"));
        let metric = workflow.metrics.get(name).ok_or_else(|| unknown("metric", name))?;
        let source = workflow
            .sources
            .get(&metric.source)
            .ok_or_else(|| unknown("source", &metric.source))?;
        let purpose = |unit: MetricUnit| Purpose {
            workflow: workflow.name.clone(),
            unit: Some(unit),
            window: metric.window,
        };
        Ok(Asked {
            question,
            name,
            metric,
            source: self.source(&metric.source, source, &purpose(metric.unit.clone()))?,
            counts: self.source(&metric.source, source, &purpose(MetricUnit::Count))?,
        })
    }

    fn source(&self, name: &str, source: &Source, purpose: &Purpose) -> Result<Arc<dyn MetricSource>, Failure> {
        let key = format!("{purpose:?}\n{name}\n{}\n{}", source.kind, source.settings);
        if let Some(known) = self.sources.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let made = metric::source_for(&source.kind, &source.settings, purpose, &self.surroundings)?;
        let mut sources = self.sources.lock();
        if sources.len() >= SOURCES_MAX {
            sources.clear();
        }
        sources.insert(key, Arc::clone(&made));
        Ok(made)
    }
}

/// One metric with what answers it.
pub struct Asked<'a> {
    question: &'a Question<'a>,
    name: &'a str,
    metric: &'a Metric,
    source: Arc<dyn MetricSource>,
    /// The same source for the number of samples, which is a count whatever the metric's unit is.
    counts: Arc<dyn MetricSource>,
}

impl Asked<'_> {
    /// One number over the question's window, with the number of samples where the metric can tell.
    pub async fn sample(&self, arm: Arm<'_>) -> Result<Sample, Failure> {
        let values = self.values(arm, self.question.window);
        let sample = self.number(&values).await?;
        let samples = match &self.metric.samples {
            Some(samples) => {
                let query = self.rendered("samples", samples, &values)?;
                self.ask(&self.counts, &query).await?.value
            }
            None => None,
        };
        Ok(Sample { samples, ..sample })
    }

    /// One number over a window of its own.
    pub async fn over(&self, arm: Arm<'_>, window: Duration, which: Which<'_>) -> Result<Sample, Failure> {
        let mut values = self.values(arm, window);
        for (name, value) in [("le", which.boundary), ("kind", which.kind)] {
            if let Some(value) = value {
                values.set(name, value);
            }
        }
        self.number(&values).await
    }

    /// The course over a stretch that ends now.
    pub async fn course(&self, arm: Arm<'_>, back: Duration, step: Duration) -> Result<Course, Failure> {
        // A query over time looks as far back at each of its points as the metric says.
        let query = self.rendered("query", &self.metric.query, &self.values(arm, self.metric.window))?;
        let to = self.question.now;
        let from = to.saturating_sub(back.signed()).unwrap_or(to);
        let series = self.source.series(&query, Stretch { from, to, step }).await;
        let series = series.map_err(|failure| self.named(failure))?;
        let is_complete = |at| series.complete_to.is_none_or(|end| at < end);
        let points = series.points.iter().filter(|point| is_complete(point.at));
        if let Some(point) = points.clone().find(|point| point.value.is_infinite()) {
            return Err(Failure::transient(format!("its value at {} is infinite", point.at)));
        }
        Ok(Course {
            query,
            step: series.step,
            points: points
                .filter(|point| !point.value.is_nan())
                .map(|point| Point(point.at, point.value))
                .collect(),
        })
    }

    fn values(&self, arm: Arm<'_>, window: Duration) -> Values {
        let mut values = question::values(self.question);
        values.set("window", window.to_string().as_str());
        match arm.version {
            Some(version) => values.set("arm", question::arm(arm.name, version)),
            None => values.set("arm", Value::record([("name", arm.name)])),
        }
        values
    }

    async fn number(&self, values: &Values) -> Result<Sample, Failure> {
        let query = self.rendered("query", &self.metric.query, values)?;
        let number = self.ask(&self.source, &query).await?;
        Ok(Sample {
            value: number.value,
            samples: None,
            at: number.at,
            query,
        })
    }

    fn rendered(&self, what: &str, template: &str, values: &Values) -> Result<String, Failure> {
        rendered(&format!("`{what}` of metric `{}`", self.name), template, values)
    }

    async fn ask(&self, source: &Arc<dyn MetricSource>, query: &str) -> Result<Number, Failure> {
        let answer = source.query(query, self.question.now).await;
        answer.map_err(|failure| self.named(failure))
    }

    fn named(&self, failure: Failure) -> Failure {
        Failure {
            what: format!("source `{}`: {}", self.metric.source, failure.what),
            lasting: failure.lasting,
        }
    }
}

//! The gate `metric`: one number an arm, asked of the metric's source.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::ports::metric::{MetricSource, Number};
use meridian_engine::run::reading::{Answer, Sample};
use meridian_engine::run::version::Version;
use meridian_workflows::expression::{Value, Values};
use meridian_workflows::workflow::{GateKind, Metric as Definition, MetricUnit, Source};
use parking_lot::Mutex;

use crate::gate::question::{self, rendered};
use crate::metric::{self, Purpose, Surroundings};

/// Sources kept at once; more begin anew.
const SOURCES_MAX: usize = 256;

/// Reads metric gates. A source is made once for its settings and its purpose, so that its connections are kept.
pub struct Metric {
    surroundings: Surroundings,
    sources: Mutex<HashMap<String, Arc<dyn MetricSource>>>,
}

impl Metric {
    pub fn new(surroundings: Surroundings) -> Metric {
        Metric {
            surroundings,
            sources: Mutex::default(),
        }
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

#[async_trait]
impl Gate for Metric {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Metric(gate) = &question.definition.kind else {
            return Err(Failure::lasting(format!("gate `{}` is no metric gate", question.gate)));
        };
        let workflow = question.workflow;
        let unknown = |what: &str, name: &str| Failure::lasting(format!("the workflow has no {what} `{name}`"));
        let metric = workflow
            .metrics
            .get(&gate.query)
            .ok_or_else(|| unknown("metric", &gate.query))?;
        let source = workflow
            .sources
            .get(&metric.source)
            .ok_or_else(|| unknown("source", &metric.source))?;
        let purpose = |unit: MetricUnit| Purpose {
            workflow: workflow.name.clone(),
            unit: Some(unit),
            window: metric.window,
        };
        let asked = Asked {
            question,
            metric,
            source: self.source(&metric.source, source, &purpose(metric.unit.clone()))?,
            counts: self.source(&metric.source, source, &purpose(MetricUnit::Count))?,
        };
        let region = question.region.as_ref();
        let candidate = asked.sample("candidate", region.and_then(|region| region.candidate));
        let baseline = async {
            match region.and_then(|region| region.baseline) {
                Some(version) => asked.sample("baseline", Some(version)).await.map(Some),
                None => Ok(None),
            }
        };
        // Both arms are asked about the same instant; side by side, so that a slow source costs its time once.
        let (candidate, baseline) = tokio::join!(candidate, baseline);
        Ok(Answer::Metric {
            candidate: candidate?,
            baseline: baseline?,
        })
    }
}

/// One question with what answers it.
struct Asked<'a> {
    question: &'a Question<'a>,
    metric: &'a Definition,
    source: Arc<dyn MetricSource>,
    /// The same source for the number of samples, which is a count whatever the metric's unit is.
    counts: Arc<dyn MetricSource>,
}

impl Asked<'_> {
    async fn sample(&self, name: &str, version: Option<&Version>) -> Result<Sample, Failure> {
        let mut values = question::values(self.question);
        if let Some(version) = version {
            values.set("arm", question::arm(name, version));
        } else {
            values.set("arm", Value::record([("name", name)]));
        }
        let query = self.rendered("query", &self.metric.query, &values)?;
        let number = self.ask(&self.source, &query).await?;
        let samples = match &self.metric.samples {
            Some(samples) => {
                let query = self.rendered("samples", samples, &values)?;
                self.ask(&self.counts, &query).await?.value
            }
            None => None,
        };
        Ok(Sample {
            value: number.value,
            samples,
            at: number.at,
            query,
        })
    }

    fn rendered(&self, what: &str, template: &str, values: &Values) -> Result<String, Failure> {
        let Question { definition, .. } = self.question;
        let GateKind::Metric(gate) = &definition.kind else {
            return Err(Failure::lasting("the gate is no metric gate"));
        };
        rendered(&format!("`{what}` of metric `{}`", gate.query), template, values)
    }

    async fn ask(&self, source: &Arc<dyn MetricSource>, query: &str) -> Result<Number, Failure> {
        source.query(query, self.question.now).await.map_err(|failure| Failure {
            what: format!("source `{}`: {}", self.metric.source, failure.what),
            lasting: failure.lasting,
        })
    }
}

//! The gate `metric`: one number an arm, asked of the metric's source.

use std::sync::Arc;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::run::reading::Answer;
use meridian_workflows::workflow::GateKind;

use crate::gate::question::other_kind;
use crate::gate::telemetry::{Arm, Telemetry};

/// Reads metric gates.
pub struct Metric(pub Arc<Telemetry>);

#[async_trait]
impl Gate for Metric {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Metric(gate) = &question.definition.kind else {
            return Err(other_kind(question, "metric"));
        };
        let asked = self.0.metric(&gate.query, question)?;
        let baseline = async {
            match Arm::baseline(question) {
                Some(arm) => asked.sample(arm).await.map(Some),
                None => Ok(None),
            }
        };
        // Both arms are asked about the same instant; side by side, so that a slow source costs its time once.
        let (candidate, baseline) = tokio::join!(asked.sample(Arm::candidate(question)), baseline);
        Ok(Answer::Metric {
            candidate: candidate?,
            baseline: baseline?,
        })
    }
}

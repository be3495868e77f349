//! The gate `metric`: one number an arm, asked of the metric's source.

use std::sync::Arc;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::run::reading::Answer;
use meridian_workflows::workflow::GateKind;

use crate::gate::question::other_kind;
use crate::gate::telemetry::{Telemetry, both};

/// Reads metric gates.
pub struct Metric(pub Arc<Telemetry>);

#[async_trait]
impl Gate for Metric {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Metric(gate) = &question.definition.kind else {
            return Err(other_kind(question, "metric"));
        };
        let asked = self.0.metric(&gate.query, question)?;
        let (candidate, baseline) = both(question, |arm| asked.sample(arm)).await?;
        Ok(Answer::Metric { candidate, baseline })
    }
}

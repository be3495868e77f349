//! The gate `trend`: the course of a resource in both arms since the candidate's first traffic.

use std::sync::Arc;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::run::reading::Answer;
use meridian_workflows::workflow::GateKind;

use crate::gate::question::other_kind;
use crate::gate::telemetry::{Arm, Telemetry, both};

/// Reads `trend` gates.
pub struct Trend(pub Arc<Telemetry>);

#[async_trait]
impl Gate for Trend {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Trend(gate) = &question.definition.kind else {
            return Err(other_kind(question, "trend"));
        };
        let asked = self.0.metric(&gate.query, question)?;
        let counted = gate
            .restarts
            .as_ref()
            .map(|name| self.0.metric(name, question))
            .transpose()?;
        let (back, step) = (question.window, gate.step);
        let courses = both(question, |arm| asked.course(arm, back, step));
        let restarts = async {
            match &counted {
                Some(counted) => counted.course(Arm::candidate(question), back, step).await.map(Some),
                None => Ok(None),
            }
        };
        let ((candidate, baseline), restarts) = tokio::try_join!(courses, restarts)?;
        Ok(Answer::Course {
            candidate,
            baseline,
            restarts,
        })
    }
}

//! The gate `compare`: counts, buckets or courses of both arms since the share last changed.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::run::reading::{Answer, Counts};
use meridian_workflows::workflow::{Compared, GateKind};

use crate::gate::question::other_kind;
use crate::gate::telemetry::{Arm, Asked, Telemetry};

/// Reads `compare` gates.
pub struct Compare(pub Arc<Telemetry>);

#[async_trait]
impl Gate for Compare {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Compare(gate) = &question.definition.kind else {
            return Err(other_kind(question, "compare"));
        };
        match &gate.of {
            Compared::Counts { bad, total } => {
                let (bad, total) = (self.0.metric(bad, question)?, self.0.metric(total, question)?);
                both(question, |arm| requests(&total, &bad, arm, question)).await
            }
            Compared::Buckets { buckets, boundaries } => {
                let buckets = self.0.metric(buckets, question)?;
                both(question, |arm| histogram(&buckets, boundaries, arm, question)).await
            }
            Compared::Course { query, step, .. } => {
                let asked = self.0.metric(query, question)?;
                let candidate = asked.course(Arm::candidate(question), question.window, *step);
                let baseline = async {
                    match Arm::baseline(question) {
                        Some(arm) => asked.course(arm, question.window, *step).await.map(Some),
                        None => Ok(None),
                    }
                };
                let (candidate, baseline) = tokio::try_join!(candidate, baseline)?;
                Ok(Answer::Course {
                    candidate,
                    baseline,
                    restarts: None,
                })
            }
        }
    }
}

/// The counts of both arms, asked side by side about the same instant.
async fn both<'q, F>(question: &Question<'q>, counts: impl Fn(Arm<'q>) -> F) -> Result<Answer, Failure>
where
    F: Future<Output = Result<Counts, Failure>>,
{
    let baseline = async {
        match Arm::baseline(question) {
            Some(arm) => counts(arm).await.map(Some),
            None => Ok(None),
        }
    };
    let (candidate, baseline) = tokio::try_join!(counts(Arm::candidate(question)), baseline)?;
    Ok(Answer::Counts { candidate, baseline })
}

async fn requests(
    total: &Asked<'_>,
    bad: &Asked<'_>,
    arm: Arm<'_>,
    question: &Question<'_>,
) -> Result<Counts, Failure> {
    let window = question.window;
    let (total, bad) = tokio::try_join!(total.over(arm, window, None), bad.over(arm, window, None))?;
    Ok(Counts {
        window,
        total,
        parts: vec![bad],
    })
}

/// Requests at most as slow as each boundary, and all of them.
async fn histogram(
    buckets: &Asked<'_>,
    boundaries: &[f64],
    arm: Arm<'_>,
    question: &Question<'_>,
) -> Result<Counts, Failure> {
    let window = question.window;
    let texts: Vec<String> = boundaries.iter().map(ToString::to_string).collect();
    let below = texts.iter().map(|text| buckets.over(arm, window, Some(text)));
    let (total, parts) = tokio::try_join!(buckets.over(arm, window, Some("+Inf")), try_join_all(below))?;
    Ok(Counts { window, total, parts })
}

//! The gate `compare`: counts, buckets or courses of both arms since the share last changed.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::run::reading::{Answer, Counts, KindCounts};
use meridian_workflows::workflow::{CompareGate, Compared, GateKind};

use crate::gate::question::other_kind;
use crate::gate::telemetry::{Arm, Asked, Telemetry, Which, both};

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
                by_kind(gate, question, |arm, kind| requests(&total, &bad, arm, kind, question)).await
            }
            Compared::Buckets { buckets, boundaries } => {
                let buckets = self.0.metric(buckets, question)?;
                by_kind(gate, question, |arm, kind| {
                    histogram(&buckets, boundaries, arm, kind, question)
                })
                .await
            }
            Compared::Course { query, step, .. } => {
                let asked = self.0.metric(query, question)?;
                let courses = both(question, |arm| asked.course(arm, question.window, *step));
                let (candidate, baseline) = courses.await?;
                Ok(Answer::Course {
                    candidate,
                    baseline,
                    restarts: None,
                })
            }
        }
    }
}

/// The counts of both arms, of each kind of request where the gate tells them apart.
async fn by_kind<'q, F>(
    gate: &'q CompareGate,
    question: &Question<'q>,
    counts: impl Fn(Arm<'q>, Option<&'q str>) -> F,
) -> Result<Answer, Failure>
where
    F: Future<Output = Result<Counts, Failure>>,
{
    if gate.kinds.is_empty() {
        let (candidate, baseline) = both(question, |arm| counts(arm, None)).await?;
        return Ok(Answer::Counts {
            candidate,
            baseline,
            kinds: Vec::new(),
        });
    }
    let kinds = gate.kinds.iter().map(async |kind| {
        let (candidate, baseline) = both(question, |arm| counts(arm, Some(kind))).await?;
        Ok(KindCounts {
            name: kind.clone(),
            candidate,
            baseline,
        })
    });
    try_join_all(kinds).await.map(Answer::of_kinds)
}

async fn requests(
    total: &Asked<'_>,
    bad: &Asked<'_>,
    arm: Arm<'_>,
    kind: Option<&str>,
    question: &Question<'_>,
) -> Result<Counts, Failure> {
    let window = question.window;
    let which = Which { kind, boundary: None };
    let (total, bad) = tokio::try_join!(total.over(arm, window, which), bad.over(arm, window, which))?;
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
    kind: Option<&str>,
    question: &Question<'_>,
) -> Result<Counts, Failure> {
    let window = question.window;
    let below = |boundary| Which {
        kind,
        boundary: Some(boundary),
    };
    let texts: Vec<String> = boundaries.iter().map(ToString::to_string).collect();
    let parts = texts.iter().map(|text| buckets.over(arm, window, below(text)));
    let (total, parts) = tokio::try_join!(buckets.over(arm, window, below("+Inf")), try_join_all(parts))?;
    Ok(Counts { window, total, parts })
}

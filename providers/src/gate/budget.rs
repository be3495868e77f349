//! The gate `budget`: requests over the budget's period, and over the windows of the burn-rate alarms.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::run::judge::ALARMS;
use meridian_engine::run::reading::{Answer, Burn, Counts, Sample};
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{GateKind, Requests};

use crate::gate::question::other_kind;
use crate::gate::telemetry::{Arm, Telemetry, Which, both};

/// Reads `budget` gates.
pub struct Budget(pub Arc<Telemetry>);

#[async_trait]
impl Gate for Budget {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Budget(gate) = &question.definition.kind else {
            return Err(other_kind(question, "budget"));
        };
        let reserve = async {
            match &gate.reserve {
                Some(reserve) => {
                    let counts = self.counts(question, &reserve.requests, Arm::candidate(question), reserve.over);
                    counts.await.map(Some)
                }
                None => Ok(None),
            }
        };
        let burn = async {
            match &gate.burn {
                Some(requests) => try_join_all(ALARMS.map(|alarm| self.burn(question, requests, alarm))).await,
                None => Ok(Vec::new()),
            }
        };
        let (reserve, burn) = tokio::try_join!(reserve, burn)?;
        Ok(Answer::Budget { reserve, burn })
    }
}

impl Budget {
    /// The windows of one alarm, as far as the candidate has lived.
    async fn burn(
        &self,
        question: &Question<'_>,
        requests: &Requests,
        alarm: meridian_engine::run::statistics::burn::Alarm,
    ) -> Result<Burn, Failure> {
        let window = |seconds: f64| Duration::from_secs(seconds as u64).min(question.window);
        let (long, short) = (window(alarm.long), window(alarm.short));
        let ((long, baseline), short) = tokio::try_join!(
            both(question, |arm| self.counts(question, requests, arm, long)),
            self.counts(question, requests, Arm::candidate(question), short),
        )?;
        Ok(Burn { long, short, baseline })
    }

    /// All requests, and those that were not good.
    async fn counts(
        &self,
        question: &Question<'_>,
        requests: &Requests,
        arm: Arm<'_>,
        window: Duration,
    ) -> Result<Counts, Failure> {
        let (good, total) = (
            self.0.metric(&requests.good, question)?,
            self.0.metric(&requests.total, question)?,
        );
        let (good, total) = tokio::try_join!(
            good.over(arm, window, Which::default()),
            total.over(arm, window, Which::default())
        )?;
        let bad = Sample {
            value: total.value.zip(good.value).map(|(total, good)| (total - good).max(0.0)),
            ..good
        };
        Ok(Counts {
            window,
            total,
            parts: vec![bad],
        })
    }
}

//! What the platform itself is held to while a behaviour is tried, asked without the provider.

use meridian_engine::ports::provider::Order;
use meridian_engine::run::effect::DesiredState;
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

use super::{Outcome, Trial, describe};
use crate::rig::{Offered, Truth};

impl Trial {
    /// Holds the platform's traffic to an order under way: never above it, never up on the way down, never to nothing.
    pub(super) async fn watch(&self, order: &Order, before: Share) -> Outcome<Share> {
        let truth = self.rig.truth().await;
        let ordered = order.desired().state.share();
        let now = truth.candidate_share;
        let may = if self.is_same_release() {
            Share::FULL
        } else {
            ordered.max(before)
        };
        if now > may {
            return self.fail(format!(
                "{}: the candidate has {now} of the traffic, from {before} on the way to {ordered}",
                describe(order)
            ));
        }
        if !truth.lost.is_zero() && !self.may_lose {
            let lost = truth.lost;
            return self.fail(format!(
                "{}: {lost} of the traffic goes to nothing that is ready",
                describe(order)
            ));
        }
        Ok(now)
    }

    /// Holds a settled answer to the truth.
    pub(super) async fn hold_to(&self, order: &Order) -> Outcome {
        let truth = self.rig.truth().await;
        let state = &order.desired().state;
        self.check(truth.lost.is_zero(), || {
            format!(
                "{}: settled, and {} of the traffic goes to nothing that is ready",
                describe(order),
                truth.lost
            )
        })?;
        if self.is_same_release() {
            return Ok(());
        }
        let granted = self.rig.granted(state.share());
        let line = describe(order);
        self.check(truth.candidate_share == granted, || {
            format!(
                "{line}: settled, and the candidate has {} instead of {granted}",
                truth.candidate_share
            )
        })?;
        let stands = self.stands(&truth, &self.candidate);
        let holds = match state {
            // A platform that replaces instances one by one has none of the baseline at the end.
            DesiredState::Serving(Exposure::Traffic(share)) if share.is_full() => stands,
            DesiredState::Serving(_) => {
                let is_due = !state.share().is_zero() || self.rig.stages() == Offered::Yes;
                (stands || !is_due) && self.stands(&truth, &self.baseline)
            }
            DesiredState::Promoted => stands,
            DesiredState::Reverted => self.stands(&truth, &self.baseline),
            DesiredState::Withdrawn => !stands && self.stands(&truth, &self.baseline),
        };
        let names = || {
            truth
                .standing
                .iter()
                .map(|version| version.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        self.check(holds, || {
            format!("{line}: settled, and capacity stands for: {}", names())
        })?;
        let copies = truth
            .standing
            .iter()
            .filter(|version| version.name == self.candidate.name);
        let copies = copies.count();
        self.check(copies <= 1, || {
            format!("{line}: settled, and the candidate stands {copies} times")
        })
    }

    fn stands(&self, truth: &Truth, version: &Version) -> bool {
        truth.standing.iter().any(|standing| standing.name == version.name)
    }
}

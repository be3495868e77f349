//! What passed while nobody looked: a deadline, a platform's trouble or a hold that ran out during an outage of the engine says
//! nothing about the world of now. It acts once the world has been asked again, and a deadline counts only the time in which
//! somebody looked.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, RegionId};

use super::mutant::{Mutant, is_on};
use super::state::{RegionLife, Run};

/// A platform that cannot be reached has not been seen either; after this long in a row its silence is an answer.
const UNREACHED_MAX: Duration = Duration::from_secs(60);

/// A question that is late by more than this was asked by nobody; any call has its answer or its failure before that.
const LATE_MAX: Duration = Duration::from_secs(60);

impl Run {
    /// Whether a question about this region is due and has no answer yet.
    pub(in crate::run) fn is_unseen(&self, id: RegionId, now: Timestamp) -> bool {
        let region = self.region(id);
        let is_looked_at = region.life == RegionLife::Open && region.baseline.is_none() || self.is_unresolved(id);
        let look_due = is_looked_at && region.look_again_at.is_none_or(|at| at <= now);
        let order_due = region
            .order
            .as_ref()
            .and_then(|order| order.ask_at)
            .is_some_and(|at| at <= now);
        (look_due || order_due) && !is_on(Mutant::JudgesUnseen)
    }

    /// An order is answered: the time in which nobody looked uses up no deadline, for the platform may not even have heard of the
    /// order. True where there was such a time.
    pub(in crate::run) fn looked_again(&mut self, id: RegionId, at: Timestamp) -> bool {
        let order = self.region(id).order.as_ref();
        let Some((due, node)) = order.and_then(|order| Some((order.ask_at?, order.node))) else {
            return false;
        };
        let was_unseen = Duration::between(due, at) > LATE_MAX;
        if was_unseen && let Some(node) = node {
            let deadline = self.node_mut(node).deadline.iter_mut();
            deadline.for_each(|deadline| deadline.jumped(due, at));
        }
        was_unseen
    }

    /// Until when failures of a region's order are not yet an answer; none where it is reached.
    pub(in crate::run) fn unreached_until(&self, id: RegionId) -> Option<Timestamp> {
        let order = self.region(id).order.as_ref()?;
        order.failing_since.map(|since| UNREACHED_MAX.after(since))
    }

    /// Whether a gate of this node is to be read now and has not been.
    pub(in crate::run) fn is_unread(&self, id: NodeId, now: Timestamp) -> bool {
        let mut slots = self.node(id).gates.iter();
        slots.any(|slot| self.reading_due(id, slot).is_some_and(|due| due <= now)) && !is_on(Mutant::JudgesUnseen)
    }
}

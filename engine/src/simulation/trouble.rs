//! What scripted faults make of calls to a platform.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeKind, RegionId};
use meridian_workflows::scenario::{Call, Fault, Spot, Trouble};

use crate::run::effect::DesiredState;
use crate::run::state::{Order, Run};

/// Faults with the instants at which they were first met.
#[derive(Clone, Debug)]
pub struct Troubles<'a> {
    faults: &'a [Fault],
    met: BTreeMap<usize, Timestamp>,
    /// By fault and order: each order is slow for itself.
    slow_since: BTreeMap<(usize, u64), Timestamp>,
}

/// What a call meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    Stuck(String),
    /// Not there before this long is over.
    Slow,
    /// An error that may pass, or not.
    Failure {
        error: String,
        lasting: bool,
    },
}

impl<'a> Troubles<'a> {
    pub fn new(faults: &'a [Fault]) -> Troubles<'a> {
        Troubles {
            faults,
            met: BTreeMap::new(),
            slow_since: BTreeMap::new(),
        }
    }

    /// How much later the answer of a call comes.
    pub fn lateness(&mut self, run: &Run, region: RegionId, call: Call, now: Timestamp) -> Duration {
        let late = |trouble: &Trouble| match trouble {
            Trouble::Late(length) => Some(*length),
            Trouble::Stuck { .. } | Trouble::Slow(_) | Trouble::Fails | Trouble::Refused { .. } => None,
        };
        let lengths: Vec<Duration> = self
            .in_force(run, region, call, now)
            .filter_map(|(_, of)| late(of))
            .collect();
        lengths.into_iter().max().unwrap_or(Duration::ZERO)
    }

    /// The first trouble that a call meets now.
    pub fn meet(&mut self, run: &Run, region: RegionId, call: Call, now: Timestamp) -> Option<Met> {
        let intent = run.region(region).order.as_ref().map_or(0, |order| order.intent);
        let in_force: Vec<(usize, &'a Trouble)> = self.in_force(run, region, call, now).collect();
        in_force.into_iter().find_map(|(index, trouble)| match trouble {
            Trouble::Stuck { why } => Some(Met::Stuck(why.clone())),
            Trouble::Slow(length) => {
                let since = *self.slow_since.entry((index, intent)).or_insert(now);
                (Duration::between(since, now) < *length).then_some(Met::Slow)
            }
            Trouble::Fails => Some(Met::Failure {
                error: "scripted: the platform answers with an error".to_owned(),
                lasting: false,
            }),
            Trouble::Refused { why } => Some(Met::Failure {
                error: why.clone(),
                lasting: true,
            }),
            Trouble::Late(_) => None,
        })
    }

    /// Faults that a call meets at this point of the region's way, and that have not passed.
    fn in_force(
        &mut self,
        run: &Run,
        region: RegionId,
        call: Call,
        now: Timestamp,
    ) -> impl Iterator<Item = (usize, &'a Trouble)> {
        let order = run.region(region).order.as_ref();
        let mut found = Vec::new();
        for (index, fault) in self.faults.iter().enumerate() {
            let is_there = fault.at.is_none_or(|spot| is_at(run, order, spot));
            if fault.region != region || fault.call != call || !is_there {
                continue;
            }
            let met = *self.met.entry(index).or_insert(now);
            let has_passed = fault
                .lasting
                .is_some_and(|lasting| Duration::between(met, now) >= lasting);
            if !has_passed {
                found.push((index, &fault.trouble));
            }
        }
        found.into_iter()
    }
}

/// Whether a region's newest order belongs to this part of its way.
fn is_at(run: &Run, order: Option<&Order>, spot: Spot) -> bool {
    let node = order.and_then(|order| order.node);
    let kind = node.map(|node| &run.plan().node(node).kind);
    let goes_back = order.is_some_and(|order| matches!(order.state, DesiredState::Reverted | DesiredState::Withdrawn));
    match spot {
        Spot::Rollback => goes_back,
        // Before the first order a region is looked at.
        Spot::Open => !goes_back && (order.is_none() || matches!(kind, Some(NodeKind::Open { .. }))),
        Spot::Stage(stage) => !goes_back && node == Some(stage),
        Spot::Close => !goes_back && matches!(kind, Some(NodeKind::Close { .. })),
    }
}

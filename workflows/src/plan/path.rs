//! The chain of bakes that decides how long a run takes at least, and how long everything bakes together.

use std::fmt;

use jiff::Timestamp;

use super::schedule::{Schedule, Windows};
use super::{GateId, NodeId, Plan};
use crate::duration::Duration;
use crate::workflow::GateKind;

/// The critical path: the longest chain of bakes, `maxParallel` counted in (a region that waits for another one's place
/// comes after it). Windows are left out, the [`Schedule`] has them; approvals take no time here but are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriticalPath {
    /// In order, each starting because the one before has passed.
    pub nodes: Vec<NodeId>,
    /// The sum of the bakes along the path.
    pub bake: Length,
    /// Approvals on the path, each with the node that asks.
    pub approvals: Vec<(NodeId, GateId)>,
}

impl CriticalPath {
    pub fn new(plan: &Plan) -> CriticalPath {
        let nodes = Schedule::new(plan, Timestamp::UNIX_EPOCH, Windows::Ignored).decisive();
        let approvals = nodes.iter().flat_map(|id| {
            let node = plan.node(*id);
            let gates = node.before.iter().chain(&node.after);
            gates.filter(|gate| is_approval(plan, **gate)).map(|gate| (*id, *gate))
        });
        CriticalPath {
            approvals: approvals.collect(),
            bake: nodes.iter().map(|id| plan.node(*id).bake).sum(),
            nodes,
        }
    }
}

fn is_approval(plan: &Plan, gate: GateId) -> bool {
    matches!(plan.gate(gate).1.kind, GateKind::Approval(_))
}

/// The bakes of all nodes together, as if every region went after every other.
pub fn total_bake(plan: &Plan) -> Length {
    plan.nodes().map(|(_, node)| node.bake).sum()
}

/// A sum of durations, in milliseconds: unlike one [`Duration`] it may exceed 400 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub u64);

impl Length {
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

impl std::iter::Sum<Duration> for Length {
    fn sum<I: Iterator<Item = Duration>>(durations: I) -> Length {
        Length(durations.fold(0, |sum, duration| sum.saturating_add(duration.as_millis())))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 86_400_000;
        let (days, rest) = (self.0 / DAY, Duration::from_millis(self.0 % DAY));
        match (days, rest.is_zero()) {
            (0, _) => f.pad(&rest.to_string()),
            (_, true) => f.pad(&format!("{days}d")),
            (_, false) => f.pad(&format!("{days}d{rest}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CriticalPath, Length, total_bake};
    use crate::duration::Duration;
    use crate::plan::Plan;
    use crate::plan::compile::compile;
    use crate::plan::story::{Story, payments};

    fn keys(plan: &Plan, path: &CriticalPath) -> Vec<String> {
        path.nodes.iter().map(|id| plan.node(*id).key.clone()).collect()
    }

    #[test]
    fn the_storys_path_goes_through_one_region_of_each_phase_and_names_the_approvals() {
        let plan = compile(payments());
        let path = CriticalPath::new(&plan);
        assert_eq!(path.bake.to_string(), "1d13h30m");
        assert_eq!(total_bake(&plan).to_string(), "1d18h40m");
        let approvals: Vec<String> = path
            .approvals
            .iter()
            .map(|(node, gate)| format!("{} {}", plan.node(*node).key, plan.gate(*gate).0))
            .collect();
        assert_eq!(
            approvals,
            [
                "stage:smallest/us-west-2/100% sre-approval",
                "stage:medium/ap-southeast-1/100% sre-approval",
                "phase:primary cab-approval",
                "stage:primary/us-east-1/100% sre-approval",
            ]
        );
        let regions = plan.region_ids().count();
        assert_eq!(path.nodes.len(), plan.len() - 6, "all but one of {regions} regions");
    }

    #[test]
    fn the_longest_bake_decides_and_a_region_that_waits_for_a_place_comes_after_the_one_that_had_it() {
        let story = || {
            Story::new()
                .phase("all", &["short", "long", "last"], &["100% 1h"])
                .edit(|phase| phase.max_parallel = 3)
                .at_once("beside", &["other"], &["100% 90m"])
        };
        let plan = compile(story().build());
        let path = CriticalPath::new(&plan);
        assert_eq!(
            keys(&plan, &path),
            [
                "phase:beside",
                "open:beside/other",
                "stage:beside/other/100%",
                "close:beside/other"
            ]
        );

        let mut workflow = story().build();
        workflow.phases[0].max_parallel = 1;
        let plan = compile(workflow);
        let path = CriticalPath::new(&plan);
        assert_eq!(path.bake.to_string(), "3h");
        assert_eq!(
            keys(&plan, &path),
            [
                "phase:all",
                "open:all/short",
                "stage:all/short/100%",
                "close:all/short",
                "open:all/long",
                "stage:all/long/100%",
                "close:all/long",
                "open:all/last",
                "stage:all/last/100%",
                "close:all/last",
            ]
        );
    }

    #[test]
    fn sums_of_the_longest_bakes_neither_overflow_nor_saturate_at_a_duration() {
        let names: Vec<String> = (0..30).map(|number| format!("r{number}")).collect();
        let regions: Vec<&str> = names.iter().map(String::as_str).collect();
        let workflow = Story::new().phase("all", &regions, &["100% 400d"]).build();
        let plan = compile(workflow);
        assert_eq!(CriticalPath::new(&plan).bake.to_string(), "12000d");
        assert_eq!(total_bake(&plan), Length(30 * Duration::MAX.as_millis()));
    }
}

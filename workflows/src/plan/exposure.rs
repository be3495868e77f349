//! The blast radius: how much of the world's traffic meets the candidate after each step of a schedule.

use std::fmt;

use jiff::Timestamp;

use super::schedule::Schedule;
use super::{NodeId, NodeKind, PhaseId, Plan, RegionId};
use crate::share::Share;
use crate::workflow::Exposure;

/// Exposure after each stage, in the order of a schedule; stages that a window never lets through come last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposureTable {
    pub steps: Vec<Step>,
    /// After the last stage of each phase, in the order in which phases get there.
    pub phases: Vec<(PhaseId, Reach)>,
    /// Regions that some stage exposes and whose `globalTraffic` the workflow does not tell.
    pub unknown: Vec<RegionId>,
}

/// One stage and what is exposed once it has shifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub node: NodeId,
    pub region: RegionId,
    /// The earliest instant of the shift; none = a window never opens.
    pub at: Option<Timestamp>,
    /// The candidate's share of the region's traffic from now on.
    pub share: Share,
    pub global: Reach,
}

/// A part of the world's traffic, of which regions without `globalTraffic` leave a rest unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// In millionths of a percent: what `globalTraffic × share` of the known regions adds up to. Above 100 % when the
    /// workflow's `globalTraffic` add up to more.
    known: u64,
    /// Exposed regions that are not in `known`.
    pub unknown_regions: u32,
    /// Exposed regions that are.
    known_regions: u32,
}

/// 1 % in the unit of [`Reach`]: shares are hundredths of a percent, and a product of two is a millionth.
const PERCENT: u64 = 1_000_000;

impl Reach {
    /// Exact percent; none while an exposed region's `globalTraffic` is unknown.
    pub fn percent(self) -> Option<f64> {
        (self.unknown_regions == 0).then(|| self.at_least())
    }

    /// Whether nothing at all is known about what is exposed.
    pub fn is_unknown(self) -> bool {
        self.unknown_regions > 0 && self.known_regions == 0
    }

    /// What the known regions add up to, in percent.
    pub fn at_least(self) -> f64 {
        self.known as f64 / PERCENT as f64
    }

    /// Length of a bar of `cells` that is full at 100 %, in eighths of a cell; never zero for what is not nothing.
    fn eighths(self, cells: u64) -> u64 {
        let full = 100 * PERCENT;
        let known = self.known.min(full);
        let eighths = (known * cells * 8 + full / 2) / full;
        if known > 0 { eighths.max(1) } else { 0 }
    }

    /// A bar of at most `cells` characters that is full at 100 %.
    pub fn bar(self, cells: u64) -> String {
        const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let eighths = self.eighths(cells);
        let whole = usize::try_from(eighths / 8).unwrap_or(0);
        let part = PARTS
            .get(usize::try_from(eighths % 8).unwrap_or(0))
            .copied()
            .unwrap_or_default();
        format!("{}{part}", "█".repeat(whole))
    }
}

impl fmt::Display for Reach {
    /// `2.25%`, `≥ 2.25%` where some exposed region is unknown, `unknown` where all are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = format!("{:06}", self.known % PERCENT);
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        let number = format!("{}{dot}{rest}%", self.known / PERCENT);
        match (self.unknown_regions, self.known_regions) {
            (0, _) => f.pad(&number),
            (_, 0) => f.pad("unknown"),
            (_, _) => f.pad(&format!("≥ {number}")),
        }
    }
}

impl ExposureTable {
    pub fn new(plan: &Plan, schedule: &Schedule) -> ExposureTable {
        let mut table = ExposureTable {
            steps: Vec::new(),
            phases: Vec::new(),
            unknown: Vec::new(),
        };
        let mut shares = vec![Share::ZERO; plan.region_ids().count()];
        let mut left = vec![0_usize; plan.workflow().phases.len()];
        for (_, node) in plan.nodes().filter(|(_, node)| is_stage(&node.kind)) {
            left[node.phase.0 as usize] += 1;
        }
        let mut reach = Reach::default();
        let never = plan.ids().filter(|id| schedule.moments[id.0 as usize].is_none());
        for id in schedule.order.iter().copied().chain(never) {
            let node = plan.node(id);
            let (NodeKind::Stage { exposure, .. }, Some(region)) = (&node.kind, node.region) else {
                continue;
            };
            let share = &mut shares[region.0 as usize];
            let before = *share;
            *share = match exposure {
                Exposure::Traffic(share) => *share,
                Exposure::Shadow(_) | Exposure::Audience(_) => before,
            };
            if reach.shift(plan.region(region).1.global_traffic, before, *share) {
                table.unknown.push(region);
            }
            table.steps.push(Step {
                node: id,
                region,
                at: schedule.moments[id.0 as usize].map(|moments| moments.acts),
                share: *share,
                global: reach,
            });
            let left = &mut left[node.phase.0 as usize];
            *left -= 1;
            if *left == 0 {
                table.phases.push((node.phase, reach));
            }
        }
        table
    }
}

impl Reach {
    /// Moves one region from one share to another; answers whether an unknown region is exposed for the first time.
    fn shift(&mut self, global: Option<Share>, from: Share, to: Share) -> bool {
        let count = match global {
            None => &mut self.unknown_regions,
            Some(global) => {
                // Hundredths times ten-thousandths are millionths.
                let part = |share: Share| u64::from(global.basis_points()) * u64::from(share.basis_points());
                self.known = self.known + part(to) - part(from);
                &mut self.known_regions
            }
        };
        let (opens, empties) = (from.is_zero() && !to.is_zero(), !from.is_zero() && to.is_zero());
        *count = *count + u32::from(opens) - u32::from(empties);
        opens && global.is_none()
    }
}

fn is_stage(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::Stage { .. })
}

#[cfg(test)]
mod tests {
    use super::{ExposureTable, Reach};
    use crate::plan::Plan;
    use crate::plan::compile::compile;
    use crate::plan::schedule::{Schedule, Windows};
    use crate::plan::story::{Story, payments};

    fn table(plan: &Plan) -> ExposureTable {
        let start = "2026-03-02T10:00:00Z".parse().unwrap();
        ExposureTable::new(plan, &Schedule::new(plan, start, Windows::Respected))
    }

    fn phases(plan: &Plan, table: &ExposureTable) -> Vec<String> {
        table
            .phases
            .iter()
            .map(|(phase, reach)| format!("{} {reach}", plan.phase(*phase).name))
            .collect()
    }

    #[test]
    fn the_storys_exposure_rises_from_one_percent_to_everything() {
        let plan = compile(payments());
        let table = table(&plan);
        assert_eq!(
            phases(&plan, &table),
            ["internal 1%", "smallest 10%", "medium 50%", "primary 100%"]
        );
        let steps: Vec<String> = table
            .steps
            .iter()
            .map(|step| format!("{} {}", plan.node(step.node).key, step.global))
            .collect();
        assert_eq!(
            steps,
            [
                "stage:internal/us-east-1-canary/100% 1%",
                "stage:smallest/us-west-2/1% 1.09%",
                "stage:smallest/us-west-2/25% 3.25%",
                "stage:smallest/us-west-2/50% 5.5%",
                "stage:smallest/us-west-2/100% 10%",
                "stage:medium/ap-southeast-1/1% 10.2%",
                "stage:medium/ap-southeast-1/25% 15%",
                "stage:medium/ap-southeast-1/50% 20%",
                "stage:medium/ap-southeast-1/100% 30%",
                "stage:medium/eu-west-1/1% 30.2%",
                "stage:medium/eu-west-1/25% 35%",
                "stage:medium/eu-west-1/50% 40%",
                "stage:medium/eu-west-1/100% 50%",
                "stage:primary/us-east-1/1% 50.5%",
                "stage:primary/us-east-1/25% 62.5%",
                "stage:primary/us-east-1/50% 75%",
                "stage:primary/us-east-1/100% 100%",
            ]
        );
        assert_eq!(table.unknown, []);
    }

    #[test]
    fn a_region_without_global_traffic_is_unknown_and_never_zero() {
        let workflow = Story::new()
            .phase("dark", &["a"], &["50%", "100%"])
            .region("b", Some("0.5%"), None)
            .phase("lit", &["b"], &["0.5%", "100%"])
            .build();
        let plan = compile(workflow);
        let table = table(&plan);
        let reached: Vec<String> = table.steps.iter().map(|step| step.global.to_string()).collect();
        assert_eq!(reached, ["unknown", "unknown", "≥ 0.0025%", "≥ 0.5%"]);
        assert_eq!(table.steps[0].global.percent(), None);
        assert_eq!(table.unknown, [plan.find_region("a").unwrap()]);
    }

    #[test]
    fn a_region_in_two_phases_counts_once() {
        let workflow = Story::new()
            .region("eu", Some("40%"), None)
            .phase("first", &["eu"], &["10%"])
            .phase("second", &["eu"], &["50%", "100%"])
            .build();
        let plan = compile(workflow);
        assert_eq!(phases(&plan, &table(&plan)), ["first 4%", "second 40%"]);
    }

    #[test]
    fn bars_show_the_least_exposure_and_never_overrun() {
        let reach = |known| Reach {
            known,
            ..Reach::default()
        };
        assert_eq!(reach(0).bar(10), "");
        assert_eq!(reach(1).bar(10), "▏");
        assert_eq!(reach(55_000_000).bar(10), "█████▌");
        assert_eq!(reach(250_000_000).bar(10), "██████████");
    }
}

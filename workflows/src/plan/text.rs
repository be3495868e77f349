//! A plan for people at a terminal: its tree, its critical path, its earliest finish and its blast radius.

use std::collections::HashMap;
use std::fmt::{self, Display};

use jiff::tz::TimeZone;

use super::drawing::{name, named};
use super::exposure::ExposureTable;
use super::outlook::Outlook;
use super::path::CriticalPath;
use super::platform::Platform;
use super::schedule::{Delay, Schedule};
use super::{GateId, Node, NodeId, NodeKind, Plan};
use crate::duration::Duration;
use crate::window::{self, local};
use crate::workflow::GateKind;

/// Cells of a full exposure bar.
const BAR: u64 = 20;

/// The plan as a page of text, without colour; it ends with a line break.
pub fn render(plan: &Plan, outlook: &Outlook) -> String {
    let mut page = Page(String::new());
    head(&mut page, plan);
    tree(&mut page, plan);
    path(&mut page, plan, &outlook.critical_path);
    page.line(format_args!("All bakes together: {}.", outlook.total_bake));
    page.line("");
    finish(&mut page, plan, &outlook.schedule);
    exposure(&mut page, plan, &outlook.exposure);
    platforms(&mut page, plan, &outlook.platforms);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, text: impl Display) {
        let text = text.to_string();
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }
}

fn head(page: &mut Page, plan: &Plan) {
    let workflow = plan.workflow();
    page.line(format_args!(
        "{} {}, plan {}",
        workflow.name,
        workflow.release.version(),
        plan.fingerprint().short()
    ));
    let (regions, phases) = (
        Count(workflow.regions.len(), "region"),
        Count(workflow.phases.len(), "phase"),
    );
    page.line(format_args!("{regions} in {phases}, {}", Count(plan.len(), "node")));
    page.line("");
}

/// `1 region`, `2 regions`.
struct Count(usize, &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// Ids of a region-phase follow one another, so a plan's own order is the order of its tree.
fn tree(page: &mut Page, plan: &Plan) {
    let mut nodes = plan.nodes().peekable();
    let mut windows: Vec<GateId> = Vec::new();
    let width = plan
        .nodes()
        .map(|(_, node)| name(node).chars().count())
        .max()
        .unwrap_or(0);
    while let Some((id, node)) = nodes.next() {
        let next = nodes.peek().map(|(_, next)| *next);
        let goes_on = next.is_some_and(|next| next.phase == node.phase);
        match &node.kind {
            NodeKind::Phase => {
                windows = next
                    .filter(|_| goes_on)
                    .map(|open| open.before.clone())
                    .unwrap_or_default();
                page.line(phase(plan, node, &windows));
            }
            NodeKind::Open { .. } => {
                page.line(region(plan, id, node));
                page.line(format_args!("  ├─ {}", step(plan, node, &windows, width)));
            }
            NodeKind::Stage { .. } => page.line(format_args!("  ├─ {}", step(plan, node, &windows, width))),
            NodeKind::Close { .. } => {
                page.line(format_args!("  └─ {}", step(plan, node, &windows, width)));
                if !goes_on {
                    page.line("");
                }
            }
        }
        if matches!(node.kind, NodeKind::Phase) && !goes_on {
            page.line("");
        }
    }
}

fn phase(plan: &Plan, node: &Node, windows: &[GateId]) -> String {
    let phase = plan.phase(node.phase);
    let mut facts = Vec::new();
    if !phase.needs.is_empty() {
        facts.push(format!("after {}", phase.needs.join(", ")));
    }
    if phase.regions.len() > 1 {
        facts.push(match phase.max_parallel {
            1 => "one region at a time".to_owned(),
            several => format!("{several} regions at once"),
        });
    }
    match phase.max_failures {
        0 => {}
        1 => facts.push("1 region may fail".to_owned()),
        several => facts.push(format!("{several} regions may fail")),
    }
    facts.extend(named(plan, "before", &node.before, &[]));
    facts.extend(named(plan, "every rise within", windows, &[]));
    let facts = facts.join(" · ");
    if facts.is_empty() {
        phase.name.clone()
    } else {
        format!("{}  ({facts})", phase.name)
    }
}

fn region(plan: &Plan, id: NodeId, node: &Node) -> String {
    let Some((name, region)) = node.region.map(|region| plan.region(region)) else {
        return String::new();
    };
    let traffic = match region.global_traffic {
        Some(share) => format!("{share} of global traffic"),
        None => "globalTraffic unknown".to_owned(),
    };
    let earlier = plan.parents(id).find_map(|parent| match plan.node(parent).kind {
        NodeKind::Close { .. } => Some(format!(", after {}", plan.phase(plan.node(parent).phase).name)),
        NodeKind::Phase | NodeKind::Open { .. } | NodeKind::Stage { .. } => None,
    });
    format!("  {name}  {traffic}{}", earlier.unwrap_or_default())
}

fn step(plan: &Plan, node: &Node, windows: &[GateId], width: usize) -> String {
    let bake = if node.bake.is_zero() {
        None
    } else {
        Some(format!("bake {}", node.bake))
    };
    let facts = [
        bake,
        named(plan, "before", &node.before, windows),
        named(plan, "watch", &node.watch, &[]),
        named(plan, "after", &node.after, &[]),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    format!("{:<width$}  {}", name(node), facts.join(" · "))
}

fn path(page: &mut Page, plan: &Plan, path: &CriticalPath) {
    page.line(format_args!("Critical path: {} of bakes", path.bake));
    let mut asked: HashMap<NodeId, Vec<&str>> = HashMap::new();
    for (id, gate) in &path.approvals {
        asked.entry(*id).or_default().push(plan.gate(*gate).0);
    }
    let takes_time = path
        .nodes
        .iter()
        .filter(|id| asked.contains_key(id) || !plan.node(**id).bake.is_zero());
    let steps: Vec<(&str, String)> = takes_time
        .map(|id| {
            let node = plan.node(*id);
            let bake = (!node.bake.is_zero()).then(|| node.bake.to_string());
            let asks = asked.get(id).map(|gates| format!("+ {}", gates.join(", ")));
            (
                node.key.as_str(),
                [bake, asks].into_iter().flatten().collect::<Vec<_>>().join("  "),
            )
        })
        .collect();
    let width = steps.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    for (key, facts) in steps {
        page.line(format_args!("  {key:<width$}  {facts}"));
    }
    if !path.approvals.is_empty() {
        page.line("Approvals (+) take as long as people do and are not counted.");
    }
}

fn finish(page: &mut Page, plan: &Plan, schedule: &Schedule) {
    let start = local(schedule.start, &TimeZone::UTC);
    match schedule.finish {
        Some(finish) => page.line(format_args!(
            "Earliest finish: {}, when started {start}",
            local(finish, &TimeZone::UTC)
        )),
        None => page.line(format_args!(
            "Earliest finish: never, when started {start}: a window does not open"
        )),
    }
    page.line("Only bakes and windows take time here; shifts, evidence and approvals come on top.");
    for delay in &schedule.delays {
        page.line(format_args!("  {}", held(plan, delay)));
    }
    page.line("");
}

/// One wait for a window, in the zone in which the window is judged.
fn held(plan: &Plan, delay: &Delay) -> String {
    let node = plan.node(delay.node);
    let (name, gate) = plan.gate(delay.gate);
    let region = node.region.and_then(|region| plan.region(region).1.timezone.as_deref());
    let zone = match &gate.kind {
        GateKind::Window(window) => window::judged_zone(window, region).unwrap_or(TimeZone::UTC),
        _ => TimeZone::UTC,
    };
    match delay.until {
        Some(until) => {
            // Nobody plans a night to the millisecond; rounded up, so that it never promises too much.
            let waits = Duration::from_secs(Duration::between(delay.from, until).as_millis().div_ceil(1_000));
            let until = local(until, &zone);
            format!("{} waits {waits} for {name}, until {until}: {}", node.key, delay.why)
        }
        None => format!("{} waits for {name} without end: {}", node.key, delay.why),
    }
}

fn exposure(page: &mut Page, plan: &Plan, table: &ExposureTable) {
    page.line("Exposure: the candidate's part of global traffic");
    let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let phase = widest(&mut table.phases.iter().map(|(phase, _)| plan.phase(*phase).name.as_str()));
    for (id, reach) in &table.phases {
        let (name, global) = (&plan.phase(*id).name, reach.to_string());
        page.line(format_args!("  after {name:<phase$}  {global:>9}  {}", reach.bar(BAR)));
    }
    page.line("");

    let region = widest(&mut table.steps.iter().map(|step| plan.region(step.region).0)).max(6);
    let stages: Vec<String> = table.steps.iter().map(|step| name(plan.node(step.node))).collect();
    let stage = widest(&mut stages.iter().map(String::as_str)).max(5);
    let (at, of, share) = ("earliest (UTC)", "region", "share");
    page.line(format_args!("  {at:<20}  {of:<region$}  {share:>stage$}     global"));
    for (step, share) in table.steps.iter().zip(&stages) {
        let at = match step.at {
            Some(at) => at.to_zoned(TimeZone::UTC).strftime("%a %Y-%m-%d %H:%M").to_string(),
            None => "never".to_owned(),
        };
        let (of, global, bar) = (
            plan.region(step.region).0,
            step.global.to_string(),
            step.global.bar(BAR),
        );
        page.line(format_args!(
            "  {at:<20}  {of:<region$}  {share:>stage$}  {global:>9}  {bar}"
        ));
    }
    if !table.unknown.is_empty() {
        let names: Vec<&str> = table.unknown.iter().map(|region| plan.region(*region).0).collect();
        page.line(format_args!(
            "No globalTraffic is given for {}: what they add is unknown.",
            names.join(", ")
        ));
    }
}

fn platforms(page: &mut Page, plan: &Plan, platforms: &[Platform]) {
    for platform in platforms {
        let names: Vec<&str> = platform.regions.iter().map(|region| plan.region(*region).0).collect();
        page.line("");
        page.line(format_args!("{} ({})", names.join(", "), platform.provider));
        for remark in &platform.remarks {
            page.line(format_args!("  {remark}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::plan::compile::compile;
    use crate::plan::outlook::Outlook;
    use crate::plan::story::{Story, payments};

    fn page(workflow: crate::workflow::Workflow) -> String {
        let plan = compile(workflow);
        let text = render(&plan, &Outlook::new(&plan, "2026-03-02T10:00:00Z".parse().unwrap()));
        text.replace(plan.fingerprint().short(), "FINGERPRINT")
    }

    #[test]
    fn the_story_reads_as_it_was_told() {
        assert_eq!(page(payments()), include_str!("text/payments.txt"));
    }

    #[test]
    fn what_is_unknown_or_never_happens_is_said() {
        let workflow = Story::new()
            .phase("first", &["eu"], &["10% 1h"])
            .at_once("second", &["eu", "us"], &["100%"])
            .edit(|phase| phase.max_failures = 1)
            .window("hours", "second")
            .build();
        assert_eq!(page(workflow), include_str!("text/unknown.txt"));
    }
}

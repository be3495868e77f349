//! What only shows when everything has been read: order of phases, rising shares, what platforms can do, unwatched stages.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use jiff::Timestamp;

use crate::decode::context::Context;
use crate::decode::phases::Placed;
use crate::decode::{gate, platform, regions};
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::source::Place;
use crate::limits;
use crate::window::{Opening, judged_zone, opening};
use crate::workflow::{Calendar, Exposure, GateKind, Zone};

/// Everything that has been read of a workflow.
pub struct Whole<'a> {
    pub regions: &'a IndexMap<String, regions::Placed>,
    pub phases: &'a [Placed],
    pub gates: &'a IndexMap<String, gate::Placed>,
    pub calendars: &'a BTreeMap<String, Calendar>,
    /// Where `phases` is written.
    pub place: Place,
}

/// Checks the whole.
pub fn check(whole: &Whole<'_>, cx: &mut Context<'_>) {
    let Some(order) = order(whole.phases, cx) else { return };
    check_size(whole, cx);
    check_regions(whole, &order, cx);
    platform::check_stages(whole.phases, whole.regions, cx);
    check_zones(whole, cx);
    if !cx.diagnostics.has_errors() {
        check_watching(whole, cx);
        check_windows(whole, cx);
    }
}

/// For every phase the phases that are over before it; None when `needs` has unknown names or a cycle.
struct Order {
    before: Vec<BTreeSet<usize>>,
}

fn order(phases: &[Placed], cx: &mut Context<'_>) -> Option<Order> {
    let index = |name: &str| phases.iter().position(|placed| placed.phase.name == name);
    let mut parents: Vec<Vec<usize>> = Vec::new();
    let mut is_sound = true;
    for placed in phases {
        let mut needs = Vec::new();
        for (position, name) in placed.phase.needs.iter().enumerate() {
            let place = placed.needs.get(position).unwrap_or(&placed.name);
            match index(name) {
                Some(parent) => needs.push(parent),
                None => {
                    is_sound = false;
                    let known = phases.iter().map(|other| other.phase.name.as_str());
                    cx.unknown(Code::UNKNOWN_PHASE, place, "phase", name, known);
                }
            }
        }
        parents.push(needs);
    }
    if !is_sound {
        return None;
    }
    if let Some(cycle) = cycle(&parents) {
        let names: Vec<&str> = cycle.iter().map(|&index| phases[index].phase.name.as_str()).collect();
        let first = &phases[cycle[0]];
        let place = first.needs.first().unwrap_or(&first.name);
        let message = format!("these phases wait for one another: {}", names.join(" → "));
        cx.report(Diagnostic::new(Code::NEEDS_CYCLE, place.clone(), message).hint("remove one of these `needs`"));
        return None;
    }
    Some(Order {
        before: closure(&parents),
    })
}

/// A cycle, beginning and ending with the same phase, in the direction of waiting.
fn cycle(parents: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; parents.len()];
    for start in 0..parents.len() {
        // Depth first without recursion: the number of phases is an author's choice.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        while let Some((node, next)) = path.last().copied() {
            let Some(&parent) = parents[node].get(next) else {
                marks[node] = Mark::Done;
                path.pop();
                continue;
            };
            if let Some(last) = path.last_mut() {
                last.1 += 1;
            }
            match marks[parent] {
                Mark::Done => {}
                Mark::New => {
                    marks[parent] = Mark::Open;
                    path.push((parent, 0));
                }
                Mark::Open => {
                    let from = path.iter().position(|(node, _)| *node == parent).unwrap_or(0);
                    let mut cycle: Vec<usize> = path[from..].iter().map(|(node, _)| *node).collect();
                    cycle.push(parent);
                    return Some(cycle);
                }
            }
        }
    }
    None
}

/// All ancestors of every phase; `parents` has no cycle.
fn closure(parents: &[Vec<usize>]) -> Vec<BTreeSet<usize>> {
    let mut before: Vec<Option<BTreeSet<usize>>> = vec![None; parents.len()];
    for start in 0..parents.len() {
        let mut open = vec![start];
        while let Some(&node) = open.last() {
            if let Some(&missing) = parents[node].iter().find(|parent| before[**parent].is_none()) {
                open.push(missing);
                continue;
            }
            let mut all: BTreeSet<usize> = parents[node].iter().copied().collect();
            for parent in &parents[node] {
                all.extend(before[*parent].iter().flatten());
            }
            before[node] = Some(all);
            open.pop();
        }
    }
    before.into_iter().map(Option::unwrap_or_default).collect()
}

fn check_size(whole: &Whole<'_>, cx: &mut Context<'_>) {
    let nodes: usize = whole
        .phases
        .iter()
        .map(|placed| 1 + placed.regions.len() * (placed.stages.len() + 2))
        .sum();
    if nodes > limits::NODES_MAX {
        let message = format!(
            "the plan would have {nodes} nodes, at most {} are possible",
            limits::NODES_MAX
        );
        cx.error(Code::TOO_MANY, &whole.place, message);
    }
}

/// Every region is released somewhere, its phases are ordered, and its shares rise to 100%.
fn check_regions(whole: &Whole<'_>, order: &Order, cx: &mut Context<'_>) {
    // A ladder that ends too low is one mistake, however many regions climb it.
    let mut ends_low = BTreeSet::new();
    for (name, region) in whole.regions {
        let mut visits: Vec<(usize, &Place)> = Vec::new();
        for (index, placed) in whole.phases.iter().enumerate() {
            let position = placed.phase.regions.iter().position(|region| region == name);
            visits.extend(position.map(|position| (index, &placed.regions[position])));
        }
        if visits.is_empty() && cx.diagnostics.has_errors() {
            // The phase that releases there may be one that could not be read.
            continue;
        }
        if visits.is_empty() {
            let message = format!("the region `{name}` is in no phase, so nothing is released there");
            cx.report(
                Diagnostic::new(Code::REGION_UNUSED, region.name.clone(), message)
                    .hint("add it to a phase, or remove it"),
            );
            continue;
        }
        visits.sort_by_key(|(index, _)| order.before[*index].len());
        let unordered = visits
            .windows(2)
            .find(|pair| !order.before[pair[1].0].contains(&pair[0].0));
        if let Some([(one, _), (other, place)]) = unordered {
            let names = [one, other].map(|index| whole.phases[*index].phase.name.as_str());
            let message = format!(
                "the region `{name}` is in `{}` and `{}`, which may run at the same time",
                names[0], names[1]
            );
            let hint = format!("let one of them wait for the other, as in `needs: [{}]`", names[0]);
            cx.report(Diagnostic::new(Code::REGION_ORDER, (*place).clone(), message).hint(hint));
            continue;
        }
        check_rise(name, &visits, whole, cx);
        platform::check_ladder(name, region, &visits, whole.phases, cx);
        if let Some((last, place)) = visits.last()
            && ends_low.insert(*last)
        {
            check_end(name, place, &whole.phases[*last], cx);
        }
    }
}

fn check_rise(name: &str, visits: &[(usize, &Place)], whole: &Whole<'_>, cx: &mut Context<'_>) {
    for pair in visits.windows(2) {
        let [(earlier, _), (later, place)] = pair else { continue };
        let shares = |index: usize| {
            whole.phases[index]
                .phase
                .stages
                .iter()
                .map(|stage| stage.exposure.traffic())
        };
        let (Some(reached), Some(next)) = (shares(*earlier).max(), shares(*later).find(|share| !share.is_zero()))
        else {
            continue;
        };
        if next <= reached {
            let names = [earlier, later].map(|index| whole.phases[*index].phase.name.as_str());
            let message = format!(
                "the region `{name}` has {reached} from phase `{}` and begins phase `{}` at {next}",
                names[0], names[1]
            );
            let hint = "a region's shares rise across its phases";
            cx.report(Diagnostic::new(Code::STAGES_RISE, (*place).clone(), message).hint(hint));
        }
    }
}

/// The last stage of a region's last phase serves everybody.
fn check_end(name: &str, place: &Place, placed: &Placed, cx: &mut Context<'_>) {
    let reached = placed.phase.stages.last().map(|stage| stage.exposure.traffic());
    if let Some(reached) = reached.filter(|reached| !reached.is_full()) {
        let message = format!(
            "the last stage of the region `{name}` is {reached}, but closing it gives the candidate all traffic"
        );
        cx.report(
            Diagnostic::new(
                Code::ENDS_BELOW_FULL,
                placed.stages.last().unwrap_or(place).clone(),
                message,
            )
            .and(place.clone(), "the region's last phase")
            .hint("end with a stage of 100%, so that the last rise is watched too"),
        );
    }
}

/// A window that is judged in the region's zone needs to know it.
fn check_zones(whole: &Whole<'_>, cx: &mut Context<'_>) {
    for placed in whole.phases {
        let phase = &placed.phase;
        let named = phase.before.iter().chain(&phase.after);
        let named = named.chain(
            phase
                .stages
                .iter()
                .flat_map(|stage| stage.before.iter().chain(&stage.after)),
        );
        let window = named.filter_map(|name| Some((name, whole.gates.get(name)?))).find(
            |(_, placed)| matches!(&placed.gate.kind, GateKind::Window(window) if window.timezone == Zone::Region),
        );
        let Some((gate, _)) = window else { continue };
        for (name, place) in phase.regions.iter().zip(&placed.regions) {
            let Some(region) = whole
                .regions
                .get(name)
                .filter(|region| region.region.timezone.is_none())
            else {
                continue;
            };
            let message =
                format!("the region `{name}` has no `timezone`, but the gate `{gate}` is judged in the region's zone");
            cx.report(
                Diagnostic::new(Code::ZONE, place.clone(), message)
                    .and(region.name.clone(), "the region")
                    .hint("give the region a `timezone`, or the window one of its own"),
            );
        }
    }
}

/// Windows that are shut for good. The language knows no clock; two years from a fixed day show every week and every holiday.
fn check_windows(whole: &Whole<'_>, cx: &mut Context<'_>) {
    const DAY: Timestamp = Timestamp::constant(1_767_225_600, 0);
    for (name, placed) in whole.gates {
        let GateKind::Window(window) = &placed.gate.kind else {
            continue;
        };
        // Weekly hours are the same in every zone; where the region's counts, any will do.
        let Ok(zone) = judged_zone(window, Some("UTC")) else {
            continue;
        };
        if let Opening::Closed { opens: None, .. } = opening(window, whole.calendars, &zone, DAY) {
            let message = format!("the window `{name}` is not open once in two years");
            cx.report(
                Diagnostic::new(Code::NEVER_OPENS, placed.definition.key.clone(), message)
                    .hint("a release would be held there for ever; widen the hours, or narrow the calendars"),
            );
        }
    }
}

/// Stages that nothing watches, and bakes that are over before a gate is read.
fn check_watching(whole: &Whole<'_>, cx: &mut Context<'_>) {
    for placed in whole.phases {
        let phase = &placed.phase;
        let unwatched: Vec<String> = phase
            .stages
            .iter()
            .filter(|stage| stage.watch.is_empty())
            .map(|stage| shown(&stage.exposure))
            .collect();
        if !unwatched.is_empty() {
            let stages = if unwatched.len() == 1 { "stage" } else { "stages" };
            let message = format!(
                "nothing watches {stages} {} of phase `{}`",
                unwatched.join(", "),
                phase.name
            );
            cx.report(Diagnostic::new(Code::UNWATCHED, placed.ladder.clone(), message).hint(
                "name gates in `watch` of the phase, the strategy or the stage; otherwise the clock alone decides",
            ));
        }
        for (stage, place) in phase.stages.iter().zip(&placed.stages) {
            let slowest = stage
                .watch
                .iter()
                .filter_map(|name| Some((name, whole.gates.get(name)?.gate.every)))
                .max_by_key(|(_, every)| *every);
            let bake = stage.bake.saturating_add(phase.bake);
            if let Some((name, every)) = slowest.filter(|(_, every)| !bake.is_zero() && bake < *every) {
                let message = format!(
                    "stage {} bakes {bake}, but its gate `{name}` is read every {every}",
                    shown(&stage.exposure)
                );
                let hint = "bake longer, or read the gate more often with `every`";
                cx.report(Diagnostic::new(Code::SHORT_BAKE, place.clone(), message).hint(hint));
            }
        }
    }
}

fn shown(exposure: &Exposure) -> String {
    match exposure {
        Exposure::Traffic(share) => share.to_string(),
        Exposure::Shadow(share) => format!("shadow {share}"),
        Exposure::Audience(_) => "audience".to_owned(),
    }
}

/// Gates and strategies that were written in this file and that nothing uses.
pub fn check_unused(what: &str, names: &[(&str, &Place)], used: &BTreeSet<&str>, cx: &mut Context<'_>) {
    // What uses it may be something that could not be read.
    if cx.diagnostics.has_errors() {
        return;
    }
    for (name, place) in names.iter().filter(|(name, _)| !used.contains(name)) {
        let message = format!("the {what} `{name}` is used nowhere");
        let hint = suggestion::closest(name, used.iter().copied().filter(|used| used != name)).map_or_else(
            || "use it, or remove it".to_owned(),
            |similar| format!("use it, or remove it; `{similar}` is used"),
        );
        cx.report(Diagnostic::new(Code::UNUSED, (*place).clone(), message).hint(hint));
    }
}

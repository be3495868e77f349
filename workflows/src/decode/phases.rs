//! Phases: groups of regions in order, each rolled out by a strategy or by stages of its own.

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::gate_use::Uses;
use crate::decode::regions;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::stage::{self, Placed as PlacedStage, STAGE_FORM};
use crate::decode::strategy::{GateNames, Strategies, Strategy};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::document::source::Place;
use crate::duration::Duration;
use crate::limits;
use crate::workflow::{Phase, Stage};

pub static PHASE: Shape = Shape {
    name: "a phase",
    summary: "A group of regions that are rolled out together; phases follow one another unless `needs` says otherwise.",
    one_of: &[],
    keys: &[
        required("name", Form::Name, "the phase's name"),
        required("regions", Form::List(&Form::Name), "the regions of this phase"),
        optional("description", Form::Text, "what the phase is for"),
        optional(
            "strategy",
            Form::Text,
            "a strategy of this workflow, a Library or the language",
        ),
        optional(
            "stages",
            Form::List(&STAGE_FORM),
            "stages of its own, instead of the strategy's; without `strategy`, watched like the workflow's only strategy",
        ),
        optional(
            "needs",
            Form::List(&Form::Name),
            "phases that must have passed (default: the one before; []: none)",
        ),
        optional(
            "maxParallel",
            Form::Integer {
                min: 1,
                max: limits::REGIONS_MAX as u64,
            },
            "regions at once (default 1)",
        ),
        optional(
            "maxFailures",
            Form::Integer {
                min: 0,
                max: limits::REGIONS_MAX as u64,
            },
            "regions that may fail before the phase does (default 0)",
        ),
        optional(
            "bake",
            Form::Duration,
            "after each region's last stage, still watched (default 0s)",
        ),
        optional(
            "before",
            Form::List(&Form::Name),
            "gates that must pass before the phase, and before every rise of a share in it",
        ),
        optional(
            "watch",
            Form::List(&Form::Name),
            "gates read during every stage of the phase, added to the strategy's",
        ),
        optional(
            "after",
            Form::List(&Form::Name),
            "gates that must pass once a region's bake is over",
        ),
    ],
};

/// A phase with the places that later checks point at.
pub struct Placed {
    pub phase: Phase,
    pub name: Place,
    /// Where each region is named.
    pub regions: Vec<Place>,
    pub needs: Vec<Place>,
    pub stages: Vec<Place>,
    /// Where the stages come from: `stages`, `strategy`, or the phase itself.
    pub ladder: Place,
}

/// What phases refer to.
pub struct Referred<'a> {
    pub regions: &'a IndexMap<String, regions::Placed>,
    /// Names of all regions that were written, also of those that could not be read.
    pub region_names: &'a [&'a str],
    pub strategies: &'a Strategies,
    pub gates: GateNames<'a>,
}

/// Reads `phases`.
pub fn read(spec: &Fields<'_>, referred: &Referred<'_>, cx: &mut Context<'_>) -> Vec<Placed> {
    let items = spec.list("phases", cx);
    if items.len() > limits::PHASES_MAX {
        let message = format!("{} phases, at most {} are possible", items.len(), limits::PHASES_MAX);
        cx.error(Code::TOO_MANY, &spec.key_place("phases"), message);
        return Vec::new();
    }
    if items.is_empty() && spec.get("phases").is_some_and(|node| node.size() == 1) {
        cx.error(
            Code::MISSING_KEY,
            &spec.key_place("phases"),
            "a workflow has at least one phase",
        );
    }
    let mut phases: Vec<Placed> = Vec::new();
    for item in items {
        let previous = phases.last().map(|placed| placed.phase.name.clone());
        let Some(placed) = phase(item, previous, referred, cx) else {
            continue;
        };
        if let Some(first) = phases.iter().find(|other| other.phase.name == placed.phase.name) {
            let message = format!("two phases are called `{}`", placed.phase.name);
            cx.report(Diagnostic::new(Code::DEFINED_TWICE, placed.name, message).and(first.name.clone(), "first here"));
        } else {
            phases.push(placed);
        }
    }
    phases
}

fn phase(node: &Node, previous: Option<String>, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Placed> {
    let fields = Fields::read(node, &PHASE, cx)?;
    fields.text("description", cx);
    let written = fields.get("name")?;
    let name = value::text(written, cx)?;
    value::check_name(&name, &written.place, cx);
    let (regions, region_places) = regions(&fields, &name, referred, cx);
    let own = Uses::read(&fields, &referred.gates, cx);
    check_barrier(&fields, &referred.gates, cx);
    let (stages, ladder) = stages(&fields, &name, &own, written, referred, cx)?;
    let (needs, need_places) = match fields.get("needs") {
        None => (previous.into_iter().collect(), Vec::new()),
        Some(_) => fields.texts("needs", cx).into_iter().unzip(),
    };
    let count = regions.len().max(1) as u64;
    let max_failures = fields
        .integer("maxFailures", 0, limits::REGIONS_MAX as u64, cx)
        .unwrap_or(0);
    if let Some(node) = fields.get("maxFailures").filter(|_| max_failures >= count) {
        let message = format!("every region of `{name}` might fail and the phase would still pass");
        cx.report(Diagnostic::new(Code::NUMBER, node.place.clone(), message).hint(format!("at most {}", count - 1)));
    }
    let max_parallel = fields
        .integer("maxParallel", 1, limits::REGIONS_MAX as u64, cx)
        .unwrap_or(1);
    let bake = fields.duration("bake", cx).unwrap_or(Duration::ZERO);
    Some(Placed {
        phase: Phase {
            regions,
            needs,
            max_parallel: u32::try_from(max_parallel).unwrap_or(u32::MAX),
            max_failures: u32::try_from(max_failures).unwrap_or(u32::MAX),
            bake,
            before: own.before,
            after: own.after,
            stages: stages.iter().map(|placed| placed.stage.clone()).collect(),
            name,
        },
        name: written.place.clone(),
        regions: region_places,
        needs: need_places,
        stages: stages.into_iter().map(|placed| placed.place).collect(),
        ladder,
    })
}

fn regions(
    fields: &Fields<'_>,
    phase: &str,
    referred: &Referred<'_>,
    cx: &mut Context<'_>,
) -> (Vec<String>, Vec<Place>) {
    let mut names: Vec<String> = Vec::new();
    let mut places = Vec::new();
    for (name, place) in fields.texts("regions", cx) {
        if names.contains(&name) {
            cx.error(
                Code::TWICE_IN_LIST,
                &place,
                format!("the region `{name}` stands in the phase twice"),
            );
        } else if referred.regions.contains_key(&name) {
            names.push(name);
            places.push(place);
        } else if !referred.region_names.contains(&name.as_str()) {
            cx.unknown(
                Code::UNKNOWN_REGION,
                &place,
                "region",
                &name,
                referred.region_names.iter().copied(),
            );
        }
    }
    if fields
        .get("regions")
        .is_some_and(|node| node.size() == 1 && node.as_text().is_none())
    {
        cx.error(
            Code::MISSING_KEY,
            &fields.key_place("regions"),
            format!("the phase `{phase}` has no region"),
        );
    }
    (names, places)
}

/// A phase's own gates are asked once, before any of its regions: what names a region or an arm has no answer there.
fn check_barrier(fields: &Fields<'_>, gates: &GateNames<'_>, cx: &mut Context<'_>) {
    for item in fields.list("before", cx) {
        let Some(name) = item.as_text() else { continue };
        if gates.read.get(name).is_some_and(|gate| gate.needs_region) {
            let message =
                format!("the gate `{name}` asks about a region, but a phase is opened before any of its regions");
            cx.report(
                Diagnostic::new(Code::GATE_MISPLACED, item.place.clone(), message)
                    .hint("name it in `before` of a stage or of the strategy, where it is asked in each region"),
            );
        }
    }
}

/// The phase's stages with all gates that they are given from above.
fn stages(
    fields: &Fields<'_>,
    phase: &str,
    own: &Uses,
    name: &Node,
    referred: &Referred<'_>,
    cx: &mut Context<'_>,
) -> Option<(Vec<PlacedStage>, Place)> {
    let strategy = match fields.get("strategy") {
        Some(node) => {
            let text = value::text(node, cx)?;
            Some(referred.strategies.find(&text, &node.place, cx)?.used_at(&node.place))
        }
        None => None,
    };
    let written = fields
        .get("stages")
        .map(|node| (stage::read(node, &referred.gates, cx), node.place.first_line()));
    let (mut strategy, ladder) = match (strategy, written) {
        (None, None) => {
            let message = format!("the phase `{phase}` says neither `strategy` nor `stages`");
            let hint = "for example `strategy: risk/medium`, or `stages: [10%, 50%, 100%]`";
            cx.report(Diagnostic::new(Code::NO_STAGES, name.place.clone(), message).hint(hint));
            return None;
        }
        (Some(strategy), None) => (strategy, fields.get("strategy")?.place.clone()),
        (Some(strategy), Some((stages, place))) => (
            Strategy {
                stages: stages?,
                ..strategy
            },
            place,
        ),
        (None, Some((stages, place))) => {
            let watch = referred
                .strategies
                .usual_watch()
                .map(|uses| uses.watch.clone())
                .unwrap_or_default();
            (
                Strategy {
                    uses: Uses {
                        watch,
                        ..Uses::default()
                    },
                    stages: stages?,
                },
                place,
            )
        }
    };
    strategy.uses.add(&Uses {
        watch: own.watch.clone(),
        ..Uses::default()
    });
    for placed in &mut strategy.stages {
        give(&strategy.uses, &mut placed.stage);
    }
    Some((strategy.stages, ladder))
}

/// Adds the strategy's gates to a stage's, the strategy's first.
fn give(uses: &Uses, stage: &mut Stage) {
    let mut all = uses.clone();
    all.add(&Uses {
        before: std::mem::take(&mut stage.before),
        watch: std::mem::take(&mut stage.watch),
        after: std::mem::take(&mut stage.after),
    });
    stage.before = all.before;
    stage.watch = all.watch;
    stage.after = all.after;
}

//! Stages: one step of exposure each, in the order shadow, audience, traffic; shares rise.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::gate_use::Uses;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::strategy::GateNames;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Node, Value};
use crate::document::source::Place;
use crate::duration::Duration;
use crate::limits;
use crate::share::Share;
use crate::vocabulary::AudienceKey;
use crate::workflow::{Exposure, Stage};

pub static STAGE: Shape = Shape {
    name: "a stage",
    summary: "One step of exposure: exactly one of traffic, shadow and audience.",
    one_of: &["traffic", "shadow", "audience"],
    keys: &[
        optional(
            "traffic",
            Form::Share,
            "the share of the region's traffic that the candidate serves",
        ),
        optional(
            "shadow",
            Form::Share,
            "the share of traffic that is mirrored; users see only the baseline's answers",
        ),
        optional(
            "audience",
            Form::Object(&AUDIENCE),
            "requests by a header or cookie, or users, groups, tenants or cohorts by name",
        ),
        optional(
            "bake",
            Form::Duration,
            "how long the share must hold, healthy, before `after` is judged (default 0s)",
        ),
        optional(
            "before",
            Form::List(&Form::Name),
            "gates that must pass before traffic moves",
        ),
        optional(
            "watch",
            Form::List(&Form::Name),
            "gates read during this stage, added to the strategy's",
        ),
        optional(
            "after",
            Form::List(&Form::Name),
            "gates that must pass once the bake is over",
        ),
        optional(
            "deadline",
            Form::Duration,
            "how long the shift may take until it counts as stuck (default 10m)",
        ),
    ],
};

static AUDIENCE: Shape = Shape {
    name: "an audience",
    summary: "Who meets the candidate by name rather than by chance.",
    one_of: &[],
    keys: &[
        optional("header", Form::Text, "a request header, as in `x-canary: always`"),
        optional("cookie", Form::Text, "a cookie, as in `canary=always`"),
        optional("tenants", Form::OneOrMore(&Form::Text), "tenants by name"),
        optional("users", Form::OneOrMore(&Form::Text), "users by name"),
        optional(
            "groups",
            Form::OneOrMore(&Form::Text),
            "groups of users by name; `name:25%` is a part of one",
        ),
        optional(
            "cohort",
            Form::OneOrMore(&Form::Text),
            "users and groups by the name that the region's settings give them together",
        ),
    ],
};

/// A stage in a list: a mapping, or its share alone.
pub const STAGE_FORM: Form = Form::Either(&[Form::Object(&STAGE), Form::Share]);

const DEADLINE_DEFAULT: Duration = Duration::from_secs(600);

/// A stage with the place that problems point at.
#[derive(Clone, Debug)]
pub struct Placed {
    pub stage: Stage,
    pub place: Place,
}

/// Reads a list of stages and checks that they rise.
pub fn read(node: &Node, gates: &GateNames<'_>, cx: &mut Context<'_>) -> Option<Vec<Placed>> {
    let items = value::list(node, cx)?;
    if items.is_empty() {
        cx.report(
            Diagnostic::new(Code::NO_STAGES, node.place.clone(), "a list of stages has at least one")
                .hint("for example `[100%]`"),
        );
    }
    if items.len() > limits::STAGES_MAX {
        let message = format!("{} stages, at most {} are possible", items.len(), limits::STAGES_MAX);
        cx.error(Code::TOO_MANY, &node.place.first_line(), message);
        return None;
    }
    let stages: Vec<Placed> = items.iter().filter_map(|item| stage(item, gates, cx)).collect();
    check_order(&stages, cx);
    Some(stages)
}

fn stage(node: &Node, gates: &GateNames<'_>, cx: &mut Context<'_>) -> Option<Placed> {
    if matches!(node.value, Value::Scalar(_)) {
        let share = value::share(node, cx)?;
        let stage = Stage {
            exposure: Exposure::Traffic(positive(share, &node.place, cx)?),
            bake: Duration::ZERO,
            before: Vec::new(),
            watch: Vec::new(),
            after: Vec::new(),
            deadline: DEADLINE_DEFAULT,
        };
        return Some(Placed {
            stage,
            place: node.place.clone(),
        });
    }
    let fields = Fields::read(node, &STAGE, cx)?;
    let (exposure, place) = exposure(&fields, cx)?;
    let uses = Uses::read(&fields, gates, cx);
    let stage = Stage {
        exposure,
        bake: fields.duration("bake", cx).unwrap_or(Duration::ZERO),
        before: uses.before,
        watch: uses.watch,
        after: uses.after,
        deadline: fields
            .get("deadline")
            .and_then(|node| value::positive_duration(node, cx))
            .unwrap_or(DEADLINE_DEFAULT),
    };
    Some(Placed { stage, place })
}

fn exposure(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<(Exposure, Place)> {
    let given: Vec<(&str, &Node)> = STAGE
        .one_of
        .iter()
        .copied()
        .filter_map(|key| Some((key, fields.get(key)?)))
        .collect();
    let [(key, node)] = given[..] else {
        let found = if given.is_empty() {
            "none".to_owned()
        } else {
            given.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(" and ")
        };
        let message = format!("a stage has exactly one of traffic, shadow and audience, found {found}");
        cx.report(
            Diagnostic::new(Code::ONE_OF, fields.place().clone(), message)
                .hint("for example `{traffic: 10%, bake: 15m}`"),
        );
        return None;
    };
    let exposure = match key {
        "traffic" => Exposure::Traffic(positive(value::share(node, cx)?, &node.place, cx)?),
        "shadow" => Exposure::Shadow(positive(value::share(node, cx)?, &node.place, cx)?),
        _ => Exposure::Audience(audience(node, cx)?),
    };
    Some((exposure, node.place.first_line()))
}

fn positive(share: Share, place: &Place, cx: &mut Context<'_>) -> Option<Share> {
    if share.is_zero() {
        cx.report(
            Diagnostic::new(Code::SHARE, place.clone(), "a stage at 0% exposes nobody")
                .hint("every region opens with the candidate at 0% anyway; `shadow` mirrors traffic"),
        );
        return None;
    }
    Some(share)
}

fn audience(node: &Node, cx: &mut Context<'_>) -> Option<BTreeMap<String, String>> {
    let fields = Fields::read(node, &AUDIENCE, cx)?;
    let mut audience = BTreeMap::new();
    for key in AudienceKey::ALL {
        let text = match key {
            AudienceKey::Header | AudienceKey::Cookie => fields.text(key.name(), cx),
            AudienceKey::Tenants | AudienceKey::Users | AudienceKey::Groups | AudienceKey::Cohort => {
                fields.get(key.name()).and_then(|node| names(node, cx))
            }
        };
        if let Some(text) = text {
            audience.insert(key.name().to_owned(), text);
        }
    }
    // Names that are wrong have been told; without them the stage is about nobody.
    let is_told = AudienceKey::ALL.iter().any(|key| fields.get(key.name()).is_some());
    if audience.is_empty() && is_told {
        return None;
    }
    if audience.is_empty() {
        let message = "an audience is a header, a cookie, tenants, users, groups or a cohort";
        cx.report(
            Diagnostic::new(Code::MISSING_KEY, fields.place().clone(), message)
                .hint("for example `{header: 'x-canary: always'}`"),
        );
        return None;
    }
    Some(audience)
}

/// Names with commas between them, which is how a platform is told.
fn names(node: &Node, cx: &mut Context<'_>) -> Option<String> {
    let items = value::one_or_more(node);
    if items.is_empty() {
        let message = "expected at least one name, found an empty list";
        cx.error(Code::WRONG_TYPE, &node.place.first_line(), message);
    }
    let names: Vec<String> = items.iter().filter_map(|item| name(item, cx)).collect();
    (!names.is_empty()).then(|| names.join(","))
}

fn name(node: &Node, cx: &mut Context<'_>) -> Option<String> {
    let text = value::text(node, cx)?;
    let name = text.trim();
    if name.is_empty() {
        cx.error(
            Code::WRONG_TYPE,
            &node.place.first_line(),
            "expected a name, found an empty text",
        );
        return None;
    }
    if name.contains(',') {
        let message = format!("expected one name, found `{name}`");
        cx.report(
            Diagnostic::new(Code::WRONG_TYPE, node.place.first_line(), message)
                .hint("several names are a list, as in `[ann, bob]`"),
        );
        return None;
    }
    Some(name.to_owned())
}

/// Shadow, then audience, then traffic; shares of one kind rise.
fn check_order(stages: &[Placed], cx: &mut Context<'_>) {
    let rank = |exposure: &Exposure| match exposure {
        Exposure::Shadow(_) => (0, "mirrored traffic"),
        Exposure::Audience(_) => (1, "an audience"),
        Exposure::Traffic(_) => (2, "a share of live traffic"),
    };
    for (index, pair) in stages.windows(2).enumerate() {
        let [before, after] = pair else { continue };
        let number = index + 2;
        let (first, second) = (rank(&before.stage.exposure), rank(&after.stage.exposure));
        if second.0 < first.0 {
            let message = format!("stage {number} goes back from {} to {}", first.1, second.1);
            cx.report(
                Diagnostic::new(Code::STAGE_ORDER, after.place.clone(), message)
                    .and(before.place.clone(), "after this stage")
                    .hint("the order is shadow, audience, traffic"),
            );
        }
        let falls = match (&before.stage.exposure, &after.stage.exposure) {
            (Exposure::Traffic(low), Exposure::Traffic(high)) | (Exposure::Shadow(low), Exposure::Shadow(high)) => {
                (high <= low).then_some((*low, *high))
            }
            (Exposure::Traffic(_) | Exposure::Shadow(_) | Exposure::Audience(_), _) => None,
        };
        if let Some((low, high)) = falls {
            let message = if low == high {
                format!("stage {number} stays at {high}")
            } else {
                format!("stage {number} goes back from {low} to {high}")
            };
            let hint = "stages must rise; to send traffic back, abort the run or let a gate fail";
            cx.report(
                Diagnostic::new(Code::STAGES_RISE, after.place.clone(), message)
                    .and(before.place.clone(), "after this stage")
                    .hint(hint),
            );
        }
    }
}

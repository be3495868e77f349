//! What goes wrong in a scenario: platforms, the engine, its clock.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::scenario::cast::Cast;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Node, Value};
use crate::duration::Duration;
use crate::plan::RegionId;
use crate::scenario::{Call, Fault, Moment, Spot, Trouble, Upset, UpsetKind};

pub static FAULT: Shape = Shape {
    name: "a fault",
    summary: "What is wrong with a region's platform, or with the engine: exactly one of ensure, observe and engine.",
    one_of: &["ensure", "observe", "engine"],
    keys: &[
        optional("region", Form::Name, "where (required for `ensure` and `observe`)"),
        optional(
            "at",
            Form::Text,
            "a stage as in `50%`, or open, close, rollback (default: all of the region's way, rollback included)",
        ),
        optional(
            "ensure",
            Form::Either(&[Form::Choice(&["stuck"]), Form::Object(&TROUBLE)]),
            "what orders to the platform come to",
        ),
        optional("observe", Form::Object(&TROUBLE), "what looks at the platform come to"),
        optional(
            "engine",
            Form::Choice(&["crash"]),
            "its memory is gone; it folds its journal and goes on",
        ),
        optional(
            "after",
            Form::Duration,
            "with `engine`: this long after the beginning of `at`, or of the run",
        ),
        optional(
            "for",
            Form::Duration,
            "how long it lasts, from the first call that meets it (default: for ever)",
        ),
    ],
};

static TROUBLE: Shape = Shape {
    name: "trouble",
    summary: "What a call to a platform comes to: exactly one of these.",
    one_of: &TROUBLES,
    keys: &[
        optional(
            "stuck",
            Form::Text,
            "it will not get there by itself; the value is the platform's diagnosis",
        ),
        optional("slow", Form::Duration, "it gets there, this much later"),
        optional(
            "fails",
            Form::Duration,
            "errors that pass by themselves after this long",
        ),
        optional(
            "refused",
            Form::Text,
            "refused for good; the value is the platform's reason",
        ),
        optional("late", Form::Duration, "each answer comes this much later"),
    ],
};

const TROUBLES: [&str; 5] = ["stuck", "slow", "fails", "refused", "late"];

pub static CLOCK: Shape = Shape {
    name: "an entry of `clock`",
    summary: "The wall clock jumps, or nobody drives the run for a while: exactly one of jump and down.",
    one_of: &["jump", "down"],
    keys: &[
        required("at", Form::Duration, "this long after the run's start"),
        optional("jump", Form::Duration, "the clock jumps forward by this much"),
        optional("down", Form::Duration, "the engine is down for this long"),
    ],
};

const STUCK_WHY: &str = "scripted: the order never converges";

/// Faults of platforms, and what happens to the engine.
pub fn read(rows: &[Node], cast: &Cast<'_>, cx: &mut Context<'_>) -> (Vec<Fault>, Vec<Upset>) {
    let (mut faults, mut upsets) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(fields) = Fields::read(row, &FAULT, cx) else {
            continue;
        };
        match one_of(&fields, FAULT.one_of, "a fault", cx) {
            Some("engine") => upsets.extend(crash(&fields, cast, cx)),
            Some("ensure") => faults.extend(platform(&fields, "ensure", Call::Ensure, cast, cx)),
            Some(_) => faults.extend(platform(&fields, "observe", Call::Observe, cast, cx)),
            None => {}
        }
    }
    (faults, upsets)
}

/// The one key that is given of several.
fn one_of(
    fields: &Fields<'_>,
    keys: &'static [&'static str],
    what: &str,
    cx: &mut Context<'_>,
) -> Option<&'static str> {
    let given: Vec<&'static str> = keys.iter().copied().filter(|key| fields.get(key).is_some()).collect();
    match given[..] {
        [only] => Some(only),
        [] => {
            if !fields.has_unknown_keys() {
                let message = format!("{what} needs one of {}", keys.join(", "));
                cx.error(Code::ONE_OF, fields.place(), message);
            }
            None
        }
        [first, second, ..] => {
            let message = format!(
                "{what} has one of {}; this has `{first}` and `{second}`",
                keys.join(", ")
            );
            cx.report(
                Diagnostic::new(Code::ONE_OF, fields.key_place(second), message)
                    .and(fields.key_place(first), "the first")
                    .hint("write two rows"),
            );
            None
        }
    }
}

fn platform(
    fields: &Fields<'_>,
    key: &'static str,
    call: Call,
    cast: &Cast<'_>,
    cx: &mut Context<'_>,
) -> Option<Fault> {
    let region = fields.get("region").map(|node| cast.region(node, cx));
    if region.is_none() {
        let message = "this fault does not say in which region";
        cx.report(Diagnostic::new(Code::MISSING_KEY, fields.place().clone(), message).hint("add `region:`"));
    }
    if fields.get("after").is_some() {
        let message = "`after` belongs to `engine`; a platform's fault begins with the first call that meets it";
        cx.error(Code::SCRIPT, &fields.key_place("after"), message);
    }
    let node = fields.get(key)?;
    let read = trouble(node, cx);
    let lasting = fields.get("for").map(|node| value::positive_duration(node, cx));
    let region = region??;
    let at = fields.get("at").map(|node| spot(region, node, cast, cx));
    let (trouble, own) = read?;
    if call == Call::Observe && matches!(trouble, Trouble::Stuck { .. } | Trouble::Slow(_)) {
        let message = "a look at a platform is never stuck or slow to converge; it fails, is refused or comes late";
        cx.error(Code::SCRIPT, &node.place.first_line(), message);
        return None;
    }
    if own.is_some() && lasting.is_some() {
        let message = "`fails` says how long it lasts";
        cx.error(Code::SCRIPT, &fields.key_place("for"), message);
    }
    let lasting = match lasting {
        Some(lasting) => Some(lasting?),
        None => own,
    };
    let at = match at {
        Some(at) => Some(at?),
        None => None,
    };
    Some(Fault {
        region,
        at,
        call,
        trouble,
        lasting,
    })
}

/// The trouble, and how long it lasts where it says so itself.
fn trouble(node: &Node, cx: &mut Context<'_>) -> Option<(Trouble, Option<Duration>)> {
    if !matches!(node.value, Value::Map(_)) {
        let stuck = || Trouble::Stuck {
            why: STUCK_WHY.to_owned(),
        };
        value::choice(node, &[("stuck", ())], cx)?;
        return Some((stuck(), None));
    }
    let fields = Fields::read(node, &TROUBLE, cx)?;
    let kind = one_of(&fields, TROUBLE.one_of, "trouble", cx)?;
    let length = |cx: &mut Context<'_>| fields.get(kind).and_then(|node| value::positive_duration(node, cx));
    let read = match kind {
        "stuck" => Trouble::Stuck {
            why: fields.text("stuck", cx)?,
        },
        "refused" => Trouble::Refused {
            why: fields.text("refused", cx)?,
        },
        "slow" => Trouble::Slow(length(cx)?),
        "late" => Trouble::Late(length(cx)?),
        _ => return Some((Trouble::Fails, Some(length(cx)?))),
    };
    Some((read, None))
}

fn spot(region: RegionId, node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Spot> {
    match node.as_text() {
        Some("open") => Some(Spot::Open),
        Some("close") => Some(Spot::Close),
        Some("rollback") => Some(Spot::Rollback),
        Some(_) | None => cast.stage_of(region, node, cx).map(Spot::Stage),
    }
}

fn crash(fields: &Fields<'_>, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<Upset> {
    let node = fields.get("engine")?;
    value::choice(node, &[("crash", ())], cx)?;
    if fields.get("for").is_some() {
        let message = "a crash lasts no time; `clock: [{at: 2h, down: 20m}]` keeps the engine away";
        cx.error(Code::SCRIPT, &fields.key_place("for"), message);
    }
    let after = match fields.get("after") {
        Some(node) => value::duration(node, cx)?,
        None => Duration::ZERO,
    };
    let moment = match (fields.get("region"), fields.get("at")) {
        (Some(region), Some(at)) => {
            let region = cast.region(region, cx)?;
            Moment::OfNode {
                node: cast.stage_of(region, at, cx)?,
                after,
            }
        }
        (None, None) => Moment::OfRun(after),
        (Some(_), None) | (None, Some(_)) => {
            let message = "a crash in a stage needs both `region` and `at`";
            let hint = "without both, `after` counts from the run's start";
            cx.report(Diagnostic::new(Code::SCRIPT, fields.place().clone(), message).hint(hint));
            return None;
        }
    };
    Some(Upset {
        moment,
        kind: UpsetKind::Crash,
    })
}

pub fn clock(rows: &[Node], cx: &mut Context<'_>) -> Vec<Upset> {
    let mut upsets = Vec::new();
    for row in rows {
        let Some(fields) = Fields::read(row, &CLOCK, cx) else {
            continue;
        };
        let at = fields.duration("at", cx);
        let Some(key) = one_of(&fields, CLOCK.one_of, "an entry of `clock`", cx) else {
            continue;
        };
        let length = fields.get(key).and_then(|node| value::positive_duration(node, cx));
        if let (Some(at), Some(length)) = (at, length) {
            let kind = if key == "jump" {
                UpsetKind::Jump(length)
            } else {
                UpsetKind::Down(length)
            };
            upsets.push(Upset {
                moment: Moment::OfRun(at),
                kind,
            });
        }
    }
    upsets
}

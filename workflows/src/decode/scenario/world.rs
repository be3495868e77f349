//! A scenario's world: metrics, answers of services and programs, people, faults, the engine's clock.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::scenario::cast::Cast;
use crate::decode::scenario::{curve, faults, people};
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Node, Value};
use crate::document::source::Place;
use crate::duration::Duration;
use crate::limits;
use crate::plan::GateId;
use crate::scenario::{Course, Holder, Reach, Reply, ReplyKind, World};
use crate::workflow::{GateKind, MetricUnit};

pub static WORLD: Shape = Shape {
    name: "`world`",
    summary: "What happens around the run. What is not said is healthy, and nobody comes.",
    one_of: &[],
    keys: &[
        optional(
            "metrics",
            Form::Map(&Form::OneOrMore(&Form::Object(&COURSE))),
            "what metrics do, by name; of several rows that apply, the last counts",
        ),
        optional(
            "gates",
            Form::Map(&Form::OneOrMore(&Form::Either(&[
                Form::Choice(&WORDS),
                Form::Object(&REPLY),
            ]))),
            "what services and programs answer: pass, fail, error; of several rows that apply, the last counts",
        ),
        optional(
            "people",
            Form::List(&Form::Object(&people::ACT)),
            "who does what and when; nobody else comes",
        ),
        optional(
            "faults",
            Form::List(&Form::Object(&faults::FAULT)),
            "what is wrong with platforms and with the engine",
        ),
        optional(
            "locks",
            Form::Map(&Form::OneOrMore(&Form::Object(&HOLDER))),
            "other runs that hold a lock, by its name (default: it is free)",
        ),
        optional(
            "clock",
            Form::List(&Form::Object(&faults::CLOCK)),
            "jumps of the clock, and times without an engine",
        ),
    ],
};

static COURSE: Shape = Shape {
    name: "a metric of the world",
    summary: "What one metric does, in all regions or some. An arm that is not said is healthy.",
    one_of: &[],
    keys: &[
        optional(
            "candidate",
            curve::FORM,
            "the new version's number; its clock begins with the candidate",
        ),
        optional(
            "baseline",
            curve::FORM,
            "the old version's number; its clock begins with the run",
        ),
        optional(
            "samples",
            curve::FORM,
            "how many samples stand behind a number (default: enough for every gate)",
        ),
        optional("regions", Form::List(&Form::Name), "where (default: everywhere)"),
        optional(
            "from",
            Form::Share,
            "from this share of a region's traffic on; the candidate's clock begins there (default: from its opening)",
        ),
    ],
};

static REPLY: Shape = Shape {
    name: "an answer",
    summary: "What a service or program answers from some instant on.",
    one_of: &[],
    keys: &[
        required(
            "answer",
            Form::Choice(&WORDS),
            "pass, fail, or error: the question cannot be answered",
        ),
        optional(
            "after",
            Form::Duration,
            "counted from the gate's first question in a node (default 0s)",
        ),
        optional("regions", Form::List(&Form::Name), "where (default: everywhere)"),
        optional(
            "from",
            Form::Share,
            "from this share of a region's traffic on (default: always)",
        ),
    ],
};

static HOLDER: Shape = Shape {
    name: "a holder of a lock",
    summary: "Another run that holds a lock for a while.",
    one_of: &[],
    keys: &[
        required("by", Form::Text, "the other run's name"),
        optional("after", Form::Duration, "counted from this run's start (default 0s)"),
        optional("for", Form::Duration, "how long it is held (default: to the end)"),
    ],
};

const WORDS: [&str; 3] = ["pass", "fail", "error"];

const REPLIES: [(&str, ReplyKind); 3] = [
    ("pass", ReplyKind::Pass),
    ("fail", ReplyKind::Fail),
    ("error", ReplyKind::Error),
];

pub fn read(node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Option<World> {
    let fields = Fields::read(node, &WORLD, cx)?;
    let mut metrics = BTreeMap::new();
    for (name, place, node) in fields.entries("metrics", cx) {
        // A metric that nobody reads has been reported; its curves are looked at all the same.
        let unit = cast.metric(name, place, cx).flatten();
        metrics.insert(name.to_owned(), courses(node, unit.as_ref(), cast, cx));
    }
    let mut gates = BTreeMap::new();
    for (name, place, node) in fields.entries("gates", cx) {
        let gate = cast.gate_named(name, place, cx);
        let replies = replies(node, cast, cx);
        if let Some(gate) = gate.filter(|gate| is_asked(*gate, name, place, cast, cx)) {
            gates.insert(gate, replies);
        }
    }
    let mut locks = BTreeMap::new();
    for (name, place, node) in fields.entries("locks", cx) {
        cast.lock(name, place, cx);
        locks.insert(name.to_owned(), holders(node, cx));
    }
    let people = rows(&fields, "people", cx)
        .iter()
        .filter_map(|node| people::read(node, cast, cx))
        .collect();
    let (faults, mut upsets) = faults::read(rows(&fields, "faults", cx), cast, cx);
    upsets.extend(faults::clock(rows(&fields, "clock", cx), cx));
    Some(World {
        metrics,
        gates,
        people,
        faults,
        upsets,
        locks,
    })
}

fn rows<'n>(fields: &Fields<'n>, key: &'static str, cx: &mut Context<'_>) -> &'n [Node] {
    let rows = fields.list(key, cx);
    if rows.len() > limits::SCRIPT_ROWS_MAX {
        let message = format!("{} rows, at most {} are played", rows.len(), limits::SCRIPT_ROWS_MAX);
        cx.error(Code::TOO_MANY, &fields.key_place(key), message);
        return &[];
    }
    rows
}

fn courses(node: &Node, unit: Option<&MetricUnit>, cast: &Cast<'_>, cx: &mut Context<'_>) -> Vec<Course> {
    let mut read = Vec::new();
    for row in value::one_or_more(node) {
        let Some(fields) = Fields::read(row, &COURSE, cx) else {
            continue;
        };
        let mut arm = |key, unit: Option<&MetricUnit>| fields.get(key).and_then(|node| curve::read(node, unit, cx));
        let candidate = arm("candidate", unit);
        let baseline = arm("baseline", unit);
        let samples = arm("samples", Some(&MetricUnit::Count));
        let says_nothing = ["candidate", "baseline", "samples"]
            .iter()
            .all(|key| fields.get(key).is_none());
        if says_nothing && !fields.has_unknown_keys() {
            let message = "this row says nothing about the metric";
            let hint = "give `candidate`, `baseline` or `samples`";
            cx.report(Diagnostic::new(Code::MISSING_KEY, fields.place().clone(), message).hint(hint));
        }
        read.push(Course {
            candidate,
            baseline,
            samples,
            reach: reach(&fields, cast, cx),
        });
    }
    read
}

fn holders(node: &Node, cx: &mut Context<'_>) -> Vec<Holder> {
    let rows = value::one_or_more(node).iter();
    let read = rows.filter_map(|row| {
        let fields = Fields::read(row, &HOLDER, cx)?;
        Some(Holder {
            by: fields.text("by", cx)?,
            after: fields.duration("after", cx).unwrap_or(Duration::ZERO),
            lasting: fields.duration("for", cx),
        })
    });
    read.collect()
}

fn reach(fields: &Fields<'_>, cast: &Cast<'_>, cx: &mut Context<'_>) -> Reach {
    let regions = fields.get("regions").map(|node| {
        let names = value::list(node, cx).unwrap_or_default();
        names.iter().filter_map(|name| cast.region(name, cx)).collect()
    });
    Reach {
        regions,
        from: fields.get("from").and_then(|node| value::share(node, cx)),
    }
}

fn replies(node: &Node, cast: &Cast<'_>, cx: &mut Context<'_>) -> Vec<Reply> {
    let mut read: Vec<Reply> = Vec::new();
    for row in value::one_or_more(node) {
        let reply = if matches!(row.value, Value::Map(_)) {
            let Some(fields) = Fields::read(row, &REPLY, cx) else {
                continue;
            };
            let answer = fields.choice("answer", &REPLIES, cx);
            let after = fields.duration("after", cx).unwrap_or(Duration::ZERO);
            let reach = reach(&fields, cast, cx);
            answer.map(|answer| Reply { answer, after, reach })
        } else {
            value::choice(row, &REPLIES, cx).map(|answer| Reply {
                answer,
                after: Duration::ZERO,
                reach: Reach::default(),
            })
        };
        read.extend(reply);
    }
    read
}

/// Gates that answer with yes or no; numbers come from `metrics`, people and time from elsewhere.
fn is_asked(gate: GateId, name: &str, place: &Place, cast: &Cast<'_>, cx: &mut Context<'_>) -> bool {
    let hint = match cast.kind_of(gate) {
        Some(GateKind::Approval(_)) => "people answer it: write `people: [{approve: …}]`",
        Some(GateKind::Lock(_)) => "other runs hold its lock: say so under `locks`",
        Some(GateKind::Signal(_)) => "somebody posts it: write `people: [{signal: …}]`",
        Some(GateKind::Window(_)) => "the clock answers it: `start` says when the run begins",
        Some(GateKind::Metric(_) | GateKind::Compare(_) | GateKind::Trend(_) | GateKind::Budget(_)) => {
            "it reads a metric: say under `metrics` what that does"
        }
        Some(
            GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Kayenta(_)
            | GateKind::Health
            | GateKind::Completed(_)
            | GateKind::NotYet { .. },
        )
        | None => {
            return true;
        }
    };
    let message = format!("the gate `{name}` does not ask for yes or no");
    cx.report(Diagnostic::new(Code::SCRIPT, place.clone(), message).hint(hint));
    false
}

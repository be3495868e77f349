//! Gates: one kind key each, and beside it what all kinds have in common.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::definitions::{Definition, Definitions};
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::{
    approval, budget, compare, completed, expressions, http, kayenta, lock, metric, signal, threshold, trend, value,
    window,
};
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::{Entry, Map, Node, Value};
use crate::duration::Duration;
use crate::share::Share;
use crate::vocabulary::Availability;
use crate::workflow::{Calendar, Gate, GateKind, Policy, Text};

pub static GATE: Shape = Shape {
    name: "a gate",
    summary: "A question that a node must pass: one kind key, and how often and how patiently it is asked.",
    one_of: &[
        "metric",
        "approval",
        "window",
        "http",
        "command",
        "compare",
        "trend",
        "budget",
        "kayenta",
        "health",
        "signal",
        "completed",
        "lock",
    ],
    keys: &[
        optional(
            "metric",
            Form::Object(&threshold::METRIC_GATE),
            "thresholds over a metric",
        ),
        optional("approval", Form::Object(&approval::APPROVAL), "people say yes"),
        optional(
            "window",
            Form::Object(&window::WINDOW),
            "opening hours, freezes and holidays",
        ),
        optional("http", Form::Object(&http::HTTP), "an HTTP answer"),
        optional(
            "command",
            Form::Either(&[Form::Object(&http::COMMAND), Form::List(&Form::Template)]),
            "a program's exit code",
        ),
        optional(
            "compare",
            Form::Object(&compare::COMPARE),
            "a statistical test of both arms",
        ),
        optional(
            "trend",
            Form::Object(&trend::TREND),
            "projected exhaustion of a resource",
        ),
        optional(
            "budget",
            Form::Object(&budget::BUDGET),
            "the error budget of an objective",
        ),
        optional(
            "kayenta",
            Form::Object(&kayenta::KAYENTA),
            "a canary analysis by a Kayenta server",
        ),
        optional("health", Form::Object(&HEALTH), "the provider's own health"),
        optional(
            "signal",
            Form::Object(&signal::SIGNAL),
            "a system outside posts how it went",
        ),
        optional(
            "completed",
            Form::Object(&completed::COMPLETED),
            "another workflow's run has succeeded",
        ),
        optional("lock", Form::Object(&lock::LOCK), "a lock that only one run holds"),
        optional("description", Form::Text, "what the gate asks, for people"),
        optional(
            "every",
            Form::Duration,
            "time between two readings (default 30s, 5m for kayenta; at least 1s)",
        ),
        optional(
            "for",
            Form::Duration,
            "how long a breach must last before it acts (default 0s, 30s for health)",
        ),
        optional(
            "initialDelay",
            Form::Duration,
            "no reading counts before this much of the node has passed (default 0s)",
        ),
        optional("warmup", Form::Duration, "another word for initialDelay"),
        optional(
            "timeout",
            Form::Duration,
            "one reading's own deadline (default 10s, 1m for kayenta)",
        ),
        optional(
            "onNoData",
            Form::Choice(&["hold", "ask", "rollback", "advance"]),
            "what missing data leads to (default hold)",
        ),
        optional(
            "onError",
            Form::Choice(&["hold", "ask", "rollback"]),
            "what a reading that failed leads to (default hold)",
        ),
        optional(
            "onFail",
            Form::Choice(&["hold", "ask", "rollback"]),
            "what a failed answer leads to (default rollback)",
        ),
        optional(
            "severity",
            Form::Choice(&["hold", "ask", "rollback"]),
            "another word for onFail",
        ),
        optional(
            "onInconclusive",
            Form::Choice(&["hold", "ask", "rollback"]),
            "what enough evidence that says neither yes nor no leads to (default hold)",
        ),
        optional(
            "onPending",
            Form::Choice(&["hold", "advance"]),
            "what it leads to that the bake is over and the gate cannot say anything yet (default hold); `advance` makes a gate that only stops",
        ),
        optional(
            "from",
            Form::Share,
            "left out of stages below this share of live traffic (default 0%)",
        ),
        optional(
            "holdFor",
            Form::Duration,
            "a hold lasts at most this long, then the run needs attention (default 24h)",
        ),
        optional(
            "dryRun",
            Form::Boolean,
            "judged and recorded, never acts (default false)",
        ),
    ],
};

const HEALTH_FOR: Duration = Duration::from_secs(30);

static HEALTH: Shape = Shape {
    name: "a `health` gate",
    summary: "The platform has nothing left to do in the region and complains of nothing.",
    one_of: &[],
    keys: &[],
};

const POLICIES: &[(&str, Policy)] = &[
    ("hold", Policy::Hold),
    ("ask", Policy::Ask),
    ("rollback", Policy::Rollback),
    ("advance", Policy::Advance),
];

/// What gates refer to.
pub struct Referred<'a> {
    pub metrics: &'a IndexMap<String, metric::Placed>,
    pub calendars: &'a BTreeMap<String, Calendar>,
    /// Everything that was written, also what could not be read.
    pub definitions: &'a Definitions,
}

/// A gate with what later checks need.
pub struct Placed {
    pub gate: Gate,
    pub definition: Definition,
    pub availability: Availability,
    /// It cannot be asked where there is no region, at a phase's barrier.
    pub needs_region: bool,
}

/// Reads one gate.
pub fn read(name: &str, definition: &Definition, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Placed> {
    let map = match &definition.node.value {
        Value::Map(map) => map,
        Value::Null | Value::Scalar(_) | Value::List(_) => {
            value::wrong_type(
                &definition.node,
                "a mapping with one kind of gate, as in `{approval: {count: 1}}`",
                cx,
            );
            return None;
        }
    };
    let (kind, settings) = kind(name, definition, map, cx)?;
    let known = without_foreign_kinds(&definition.node, map);
    let fields = Fields::read(&known, &GATE, cx)?;
    let availability = cx
        .vocabulary
        .gate(kind)
        .map_or(Availability::NotYet, |kind| kind.availability);
    let kind = match (kind, availability) {
        ("metric", Availability::Available) => GateKind::Metric(threshold::read(settings, referred, cx)?),
        ("approval", Availability::Available) => GateKind::Approval(approval::read(settings, cx)?),
        ("window", Availability::Available) => GateKind::Window(window::read(settings, referred, cx)?),
        ("http", Availability::Available) => GateKind::Http(http::read(settings, cx)?),
        ("command", Availability::Available) => GateKind::Command(http::command(settings, cx)?),
        ("compare", Availability::Available) => GateKind::Compare(compare::read(settings, referred, cx)?),
        ("trend", Availability::Available) => GateKind::Trend(trend::read(settings, referred, cx)?),
        ("budget", Availability::Available) => GateKind::Budget(budget::read(settings, referred, cx)?),
        ("kayenta", Availability::Available) => GateKind::Kayenta(kayenta::read(settings, cx)?),
        ("health", Availability::Available) => health(settings, cx)?,
        ("completed", Availability::Available) => GateKind::Completed(completed::read(settings, cx)?),
        ("lock", Availability::Available) => GateKind::Lock(lock::read(settings, cx)?),
        ("signal", Availability::Available) => GateKind::Signal(signal::read(name, settings, cx)?),
        (kind, _) => GateKind::NotYet {
            kind: kind.to_owned(),
            settings: value::json(settings),
        },
    };
    Some(Placed {
        needs_region: needs_region(&kind, referred),
        gate: common(kind, &fields, cx),
        definition: definition.clone(),
        availability,
    })
}

/// `health: {}`, or the key alone.
fn health(settings: &Node, cx: &mut Context<'_>) -> Option<GateKind> {
    if !matches!(settings.value, Value::Null) {
        Fields::read(settings, &HEALTH, cx)?;
    }
    Some(GateKind::Health)
}

/// The one kind key of a gate.
fn kind<'n>(name: &str, definition: &Definition, map: &'n Map, cx: &mut Context<'_>) -> Option<(&'n str, &'n Node)> {
    let is_kind = |key: &str, cx: &Context<'_>| GATE.one_of.contains(&key) || cx.vocabulary.gate(key).is_some();
    let found: Vec<(&String, &Entry)> = map.entries.iter().filter(|(key, _)| is_kind(key, cx)).collect();
    match found[..] {
        [(kind, entry)] => Some((kind, &entry.value)),
        [] => {
            let kinds: Vec<&str> = GATE
                .one_of
                .iter()
                .copied()
                .chain(cx.vocabulary.gates.iter().map(|kind| kind.name))
                .collect();
            let unknown: Vec<_> = map.entries.iter().filter(|(key, _)| GATE.key(key).is_none()).collect();
            // A key with settings that is no common one was meant to be the kind.
            match unknown
                .iter()
                .find(|(_, entry)| entry.value.as_map().is_some())
                .or(unknown.first())
            {
                Some((key, entry)) => cx.unknown(Code::UNKNOWN_FEATURE, &entry.key, "kind of gate", key, kinds),
                None => {
                    let message = format!("the gate `{name}` has no kind");
                    let hint = format!("one of {}", GATE.one_of.join(", "));
                    cx.report(Diagnostic::new(Code::ONE_OF, definition.key.clone(), message).hint(hint));
                }
            }
            None
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
            let message = format!("the gate `{name}` has {} kinds: {}", names.len(), names.join(", "));
            let hint = "a gate asks one question; write two gates";
            cx.report(Diagnostic::new(Code::ONE_OF, found[1].1.key.clone(), message).hint(hint));
            None
        }
    }
}

/// A kind that only the vocabulary knows is no unknown key.
fn without_foreign_kinds(node: &Node, map: &Map) -> Node {
    let mut entries = map.entries.clone();
    entries.retain(|key, entry| {
        GATE.key(key).is_some()
            || entry.value.as_map().is_none()
            || suggestion::closest(key, GATE.keys.iter().map(|key| key.name)).is_some()
    });
    Node {
        place: node.place.clone(),
        value: Value::Map(Map { entries }),
    }
}

fn needs_region(kind: &GateKind, referred: &Referred<'_>) -> bool {
    let any_text = |texts: &BTreeMap<String, Text>| {
        texts.values().any(|text| match text {
            Text::Template(template) => expressions::needs_region(template),
            Text::Secret(_) => false,
        })
    };
    match kind {
        GateKind::Metric(_) | GateKind::Trend(_) => kind.metrics().into_iter().any(|name| {
            let metric = referred.metrics.get(name);
            metric.is_some_and(|metric| metric.needs_region)
        }),
        GateKind::Budget(gate) => {
            let metrics = kind.metrics();
            let mut placed = metrics.iter().filter_map(|name| referred.metrics.get(*name));
            gate.burn.is_some() || placed.any(|metric| metric.needs_region)
        }
        GateKind::Compare(_) | GateKind::Kayenta(_) | GateKind::Health => true,
        GateKind::Http(gate) => {
            let texts = std::iter::once(&gate.url).chain(&gate.body);
            texts.into_iter().any(|text| expressions::needs_region(text)) || any_text(&gate.headers)
        }
        GateKind::Command(gate) => gate.run.iter().any(|text| expressions::needs_region(text)) || any_text(&gate.env),
        GateKind::Approval(_)
        | GateKind::Window(_)
        | GateKind::Signal(_)
        | GateKind::Lock(_)
        | GateKind::Completed(_)
        | GateKind::NotYet { .. } => false,
    }
}

fn common(kind: GateKind, fields: &Fields<'_>, cx: &mut Context<'_>) -> Gate {
    fields.text("description", cx);
    // An analysis takes a while and costs the server something; a question to a metric source does not.
    let (every, timeout) = match kind {
        GateKind::Kayenta(_) => (Duration::from_secs(300), Duration::from_secs(60)),
        _ => (Duration::from_secs(30), Duration::from_secs(10)),
    };
    let every = fields.duration("every", cx).unwrap_or(every);
    if every < Duration::from_secs(1) {
        let place = fields
            .get("every")
            .map_or_else(|| fields.place().clone(), |node| node.place.clone());
        cx.error(Code::DURATION, &place, "a gate is read at most once a second");
    }
    let patience = match kind {
        // Pulls and probes fail now and then and come right by themselves.
        GateKind::Health => HEALTH_FOR,
        _ => Duration::ZERO,
    };
    let breached_for = fields.duration("for", cx).unwrap_or(patience);
    if let Some(node) = fields
        .get("for")
        .filter(|_| !breached_for.is_zero() && breached_for < every)
    {
        let message = format!("`for: {breached_for}` is shorter than `every: {every}`, so one reading decides");
        let hint = format!(
            "write `for: {}` to need a second reading, or leave `for` out",
            every.saturating_mul(2)
        );
        cx.report(Diagnostic::new(Code::FOR_BELOW_EVERY, node.place.clone(), message).hint(hint));
    }
    let from = fields
        .get("from")
        .and_then(|node| value::share(node, cx))
        .unwrap_or(Share::ZERO);
    let initial_delay = one_of_two(fields, "initialDelay", "warmup", cx);
    let on_fail = one_of_two(fields, "onFail", "severity", cx);
    Gate {
        kind,
        every,
        breached_for,
        initial_delay: initial_delay
            .and_then(|node| value::duration(node, cx))
            .unwrap_or(Duration::ZERO),
        timeout: fields
            .get("timeout")
            .and_then(|node| value::positive_duration(node, cx))
            .unwrap_or(timeout),
        on_no_data: on_no_data(fields, cx),
        on_error: policy(fields.get("onError"), Policy::Hold, cx),
        on_fail: policy(on_fail, Policy::Rollback, cx),
        on_inconclusive: policy(fields.get("onInconclusive"), Policy::Hold, cx),
        on_pending: fields
            .choice("onPending", &[("hold", Policy::Hold), ("advance", Policy::Advance)], cx)
            .unwrap_or(Policy::Hold),
        from,
        hold_for: fields.duration("holdFor", cx).unwrap_or(Duration::from_secs(24 * 3600)),
        dry_run: fields.boolean("dryRun", cx).unwrap_or(false),
    }
}

/// Two words for one thing; both at once are refused.
fn one_of_two<'n>(
    fields: &Fields<'n>,
    one: &'static str,
    other: &'static str,
    cx: &mut Context<'_>,
) -> Option<&'n Node> {
    if let (Some(_), Some(node)) = (fields.get(one), fields.get(other)) {
        let message = format!("`{one}` and `{other}` are two words for one thing; keep one of them");
        cx.error(Code::ONE_OF, &node.place, message);
    }
    fields.get(one).or_else(|| fields.get(other))
}

/// A policy that may not be `advance`.
fn policy(node: Option<&Node>, default: Policy, cx: &mut Context<'_>) -> Policy {
    let Some(node) = node else { return default };
    match value::choice(node, POLICIES, cx) {
        Some(Policy::Advance) => {
            cx.report(
                Diagnostic::new(Code::CHOICE, node.place.clone(), "a failure never advances a release")
                    .hint("hold, ask or rollback; `dryRun: true` makes a gate that never acts"),
            );
            default
        }
        Some(policy) => policy,
        None => default,
    }
}

fn on_no_data(fields: &Fields<'_>, cx: &mut Context<'_>) -> Policy {
    let Some(node) = fields.get("onNoData") else {
        return Policy::Hold;
    };
    let policy = value::choice(node, POLICIES, cx).unwrap_or(Policy::Hold);
    if policy == Policy::Advance {
        cx.report(
            Diagnostic::new(
                Code::ADVANCE_ON_NO_DATA,
                node.place.clone(),
                "missing data lets this release go on",
            )
            .hint("a dead candidate sends no data either; `hold` waits until there is some"),
        );
    }
    policy
}

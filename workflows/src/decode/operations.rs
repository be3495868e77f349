//! How a run behaves around its plan: rollback, concurrency, schedule, notifications.

use crate::decode::context::Context;
use crate::decode::definitions::Section;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::duration::Duration;
use crate::workflow::{Missed, Notification, OnConflict, Rollback, Schedule, Scope};

pub static ROLLBACK: Shape = Shape {
    name: "`rollback`",
    summary: "How a rollback goes about it.",
    one_of: &[],
    keys: &[
        optional(
            "scope",
            Form::Choice(&["stage", "region", "phase", "run"]),
            "what is rolled back (default run)",
        ),
        optional(
            "deadline",
            Form::Duration,
            "until every region in scope is verified at 0%; then it escalates (default 60s)",
        ),
        optional(
            "drain",
            Form::Duration,
            "between the end of a version's traffic and the end of its capacity (default 30s)",
        ),
        optional(
            "keepBaseline",
            Form::Duration,
            "how long the old version stays ready after the order to promote (default 0s)",
        ),
    ],
};

pub static CONCURRENCY: Shape = Shape {
    name: "`concurrency`",
    summary: "What happens to a run that wants a target another run holds.",
    one_of: &[],
    keys: &[optional(
        "onConflict",
        Form::Choice(&["queue", "reject", "supersede"]),
        "wait, refuse, or roll the older run back first (default queue)",
    )],
};

pub static SCHEDULE: Shape = Shape {
    name: "a schedule",
    summary: "A start at fixed times; it takes the newest submitted release.",
    one_of: &[],
    keys: &[
        required(
            "cron",
            Form::Text,
            "minute, hour, day of month, month, day of week: '0 9 * * MON-THU'",
        ),
        optional("timezone", Form::Zone, "an IANA time zone (default UTC)"),
        optional(
            "missed",
            Form::Choice(&["skip", "run-once"]),
            "what happens to a start that was missed (default skip)",
        ),
    ],
};

pub static NOTIFICATION: Shape = Shape {
    name: "a notification",
    summary: "Who is told what.",
    one_of: &[],
    keys: &[
        required("to", Form::Name, "a notifier of this workflow or a Library"),
        optional(
            "events",
            Form::List(&Form::Choice(&EVENTS)),
            "what is told (default: all of them)",
        ),
    ],
};

/// What can be told about a run.
pub const EVENTS: [&str; 16] = [
    "queued",
    "started",
    "phase-started",
    "region-opened",
    "stage-passed",
    "region-passed",
    "phase-passed",
    "approval-asked",
    "held",
    "resumed",
    "paused",
    "rollback-started",
    "rolled-back",
    "needs-attention",
    "promoted",
    "finished",
];

/// Reads `rollback`.
pub fn rollback(spec: &Fields<'_>, cx: &mut Context<'_>) -> Rollback {
    let fields = spec.get("rollback").and_then(|node| Fields::read(node, &ROLLBACK, cx));
    let scopes = &[
        ("stage", Scope::Stage),
        ("region", Scope::Region),
        ("phase", Scope::Phase),
        ("run", Scope::Run),
    ];
    let fields = fields.as_ref();
    Rollback {
        scope: fields
            .and_then(|fields| fields.choice("scope", scopes, cx))
            .unwrap_or(Scope::Run),
        deadline: fields
            .and_then(|fields| fields.get("deadline"))
            .and_then(|node| value::positive_duration(node, cx))
            .unwrap_or(Duration::from_secs(60)),
        drain: fields
            .and_then(|fields| fields.duration("drain", cx))
            .unwrap_or(Duration::from_secs(30)),
        keep_baseline: fields
            .and_then(|fields| fields.duration("keepBaseline", cx))
            .unwrap_or(Duration::ZERO),
    }
}

/// Reads `concurrency`.
pub fn on_conflict(spec: &Fields<'_>, cx: &mut Context<'_>) -> OnConflict {
    let choices = &[
        ("queue", OnConflict::Queue),
        ("reject", OnConflict::Reject),
        ("supersede", OnConflict::Supersede),
    ];
    let fields = spec
        .get("concurrency")
        .and_then(|node| Fields::read(node, &CONCURRENCY, cx));
    fields
        .and_then(|fields| fields.choice("onConflict", choices, cx))
        .unwrap_or(OnConflict::Queue)
}

/// Reads `schedule`.
pub fn schedules(spec: &Fields<'_>, cx: &mut Context<'_>) -> Vec<Schedule> {
    spec.list("schedule", cx)
        .iter()
        .filter_map(|item| schedule(item, cx))
        .collect()
}

fn schedule(node: &Node, cx: &mut Context<'_>) -> Option<Schedule> {
    let fields = Fields::read(node, &SCHEDULE, cx)?;
    let cron = fields.get("cron").and_then(|node| cron(node, cx));
    let timezone = fields
        .get("timezone")
        .map_or(Some("UTC".to_owned()), |node| value::zone(node, cx));
    let missed = &[("skip", Missed::Skip), ("run-once", Missed::RunOnce)];
    let missed = fields.choice("missed", missed, cx).unwrap_or(Missed::Skip);
    Some(Schedule {
        cron: cron?,
        timezone: timezone?,
        missed,
    })
}

fn cron(node: &Node, cx: &mut Context<'_>) -> Option<String> {
    let text = value::text(node, cx)?;
    let parser = cron::parser::CronParser::builder()
        .seconds(cron::parser::Seconds::Disallowed)
        .year(cron::parser::Year::Disallowed)
        .build();
    match parser.parse(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            let fields = text.split_whitespace().count();
            let reason = if fields == 5 {
                out_of_croner(&error)
            } else {
                format!("it has {fields} fields, not 5")
            };
            let message = format!("`{text}` is not a cron line: {reason}");
            let hint = "five fields: minute, hour, day of month, month, day of week; `0 9 * * MON-THU` is 9:00, Monday to Thursday";
            cx.report(Diagnostic::new(Code::CRON, node.place.clone(), message).hint(hint));
            None
        }
    }
}

/// The library's reason as a phrase of ours: without its class, lower-case, without a full stop.
fn out_of_croner(error: &cron::errors::CronError) -> String {
    let text = error.to_string();
    let reason = text
        .split_once(": ")
        .map_or(text.as_str(), |(_, reason)| reason)
        .trim_end_matches('.');
    let mut letters = reason.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Reads `notify`. Notifiers that exist but could not be read have been reported.
pub fn notifications(spec: &Fields<'_>, notifiers: &Section, cx: &mut Context<'_>) -> Vec<Notification> {
    spec.list("notify", cx)
        .iter()
        .filter_map(|item| notification(item, notifiers, cx))
        .collect()
}

fn notification(node: &Node, notifiers: &Section, cx: &mut Context<'_>) -> Option<Notification> {
    let fields = Fields::read(node, &NOTIFICATION, cx)?;
    let to = fields.get("to")?;
    let name = value::text(to, cx)?;
    if !notifiers.contains_key(&name) {
        cx.unknown(
            Code::UNKNOWN_NOTIFIER,
            &to.place,
            "notifier",
            &name,
            notifiers.keys().map(String::as_str),
        );
    }
    let choices: Vec<(&str, &str)> = EVENTS.iter().map(|event| (*event, *event)).collect();
    let items = fields.list("events", cx);
    let mut events: Vec<String> = items
        .iter()
        .filter_map(|item| value::choice(item, &choices, cx))
        .map(str::to_owned)
        .collect();
    if fields.get("events").is_none() {
        events = EVENTS.iter().map(|event| (*event).to_owned()).collect();
    }
    Some(Notification { to: name, events })
}

//! The `window` gate and the calendars that close it.

use crate::decode::context::Context;
use crate::decode::definitions::Definition;
use crate::decode::fields::Fields;
use crate::decode::gate::Referred;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::{imports, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::workflow::{Calendar, Closed, Day, Denial, Window, Zone};

pub static WINDOW: Shape = Shape {
    name: "a `window` gate",
    summary: "Opening hours in which a share may rise. Without `from` and `to` whole days are open.",
    one_of: &[],
    keys: &[
        optional("days", Form::OneOrMore(&DAY), "open days (default: every day)"),
        optional("from", Form::Time, "opens at, as in '09:00'"),
        optional(
            "to",
            Form::Time,
            "closes at, as in '16:00'; earlier than `from` crosses midnight",
        ),
        optional(
            "timezone",
            Form::Either(&[Form::Choice(&["region"]), Form::Zone]),
            "`region` (default) or an IANA zone",
        ),
        optional(
            "calendars",
            Form::OneOrMore(&Form::Name),
            "calendars whose denials close the window",
        ),
    ],
};

pub static CALENDAR: Shape = Shape {
    name: "a calendar",
    summary: "When nothing may move. Deny beats allow.",
    one_of: &[],
    keys: &[
        optional(
            "deny",
            Form::List(&Form::Object(&DENIAL)),
            "closed stretches, each with the reason that people are told",
        ),
        optional(
            "ics",
            Form::OneOrMore(&Form::Text),
            "iCalendar files whose events close, relative to this file",
        ),
    ],
};

static DENIAL: Shape = Shape {
    name: "a closed stretch",
    summary: "Dates (both included) or a weekly stretch, with a reason.",
    one_of: &[],
    keys: &[
        optional("days", Form::OneOrMore(&DAY), "closed days of every week"),
        optional(
            "from",
            Form::Either(&[Form::Date, Form::Time]),
            "the first date, or the time of day from which it is closed",
        ),
        optional(
            "to",
            Form::Either(&[Form::Date, Form::Time]),
            "the last date, or the time of day until which it is closed",
        ),
        optional("reason", Form::Text, "what people are told"),
    ],
};

const DAY: Form = Form::Choice(&["mon", "tue", "wed", "thu", "fri", "sat", "sun"]);

const DAYS: &[(&str, Day)] = &[
    ("mon", Day::Mon),
    ("tue", Day::Tue),
    ("wed", Day::Wed),
    ("thu", Day::Thu),
    ("fri", Day::Fri),
    ("sat", Day::Sat),
    ("sun", Day::Sun),
];

/// Reads the settings of a `window` gate.
pub fn read(node: &Node, referred: &Referred<'_>, cx: &mut Context<'_>) -> Option<Window> {
    let fields = Fields::read(node, &WINDOW, cx)?;
    let from = fields.get("from").and_then(|node| value::time_of_day(node, cx));
    let to = fields.get("to").and_then(|node| value::time_of_day(node, cx));
    if let Some(node) = fields.get("to").filter(|_| from.is_some() && from == to) {
        cx.report(
            Diagnostic::new(
                Code::DATE_TIME,
                node.place.clone(),
                "a window that closes when it opens is never open",
            )
            .hint("leave both times out for the whole day"),
        );
    }
    let mut calendars = Vec::new();
    for item in fields.get("calendars").map(value::one_or_more).unwrap_or_default() {
        let Some(name) = value::text(item, cx) else { continue };
        if referred.calendars.contains_key(&name) {
            calendars.push(name);
        } else {
            let known = referred.calendars.keys().map(String::as_str);
            cx.unknown(Code::UNKNOWN_CALENDAR, &item.place, "calendar", &name, known);
        }
    }
    let timezone = match fields.get("timezone") {
        None => Zone::Region,
        Some(node) if node.as_text() == Some("region") => Zone::Region,
        Some(node) => Zone::Named(value::zone(node, cx)?),
    };
    Some(Window {
        days: days(&fields, cx),
        from,
        to,
        timezone,
        calendars,
    })
}

fn days(fields: &Fields<'_>, cx: &mut Context<'_>) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for item in fields.get("days").map(value::one_or_more).unwrap_or_default() {
        if let Some(day) = value::choice(item, DAYS, cx) {
            if days.contains(&day) {
                cx.error(Code::TWICE_IN_LIST, &item.place, "this day stands in the list twice");
            } else {
                days.push(day);
            }
        }
    }
    if fields
        .get("days")
        .is_some_and(|node| value::one_or_more(node).is_empty())
    {
        cx.error(
            Code::DATE_TIME,
            &fields.key_place("days"),
            "`days` lists at least one day; leave it out for every day",
        );
    }
    days
}

/// Reads one calendar with the iCalendar files it names.
pub fn calendar(definition: &Definition, cx: &mut Context<'_>) -> Option<Calendar> {
    let fields = Fields::read(&definition.node, &CALENDAR, cx)?;
    let items = fields.list("deny", cx);
    let mut deny: Vec<Denial> = items.iter().filter_map(|item| denial(item, cx)).collect();
    for file in fields.get("ics").map(value::one_or_more).unwrap_or_default() {
        deny.extend(imports::calendar_file(file, cx));
    }
    Some(Calendar { deny })
}

fn denial(node: &Node, cx: &mut Context<'_>) -> Option<Denial> {
    let fields = Fields::read(node, &DENIAL, cx)?;
    let reason = fields
        .text("reason", cx)
        .unwrap_or_else(|| "closed by the calendar".to_owned());
    let (from, to) = (fields.get("from"), fields.get("to"));
    let is_date = |node: Option<&Node>| node.and_then(Node::as_text).is_some_and(|text| text.contains('-'));
    if is_date(from) || is_date(to) {
        let closed = dates(&fields, from, to, cx)?;
        return Some(Denial { closed, reason });
    }
    if from.is_none() && to.is_none() && fields.get("days").is_none() {
        cx.report(
            Diagnostic::new(
                Code::MISSING_KEY,
                fields.place().clone(),
                "this stretch says neither days nor dates nor times",
            )
            .hint("for example `{from: 2026-12-23, to: 2027-01-02}` or `{days: [fri], from: '16:00'}`"),
        );
        return None;
    }
    let closed = Closed::Weekly {
        days: days(&fields, cx),
        from: from.and_then(|node| value::time_of_day(node, cx)),
        to: to.and_then(|node| value::time_of_day(node, cx)),
    };
    Some(Denial { closed, reason })
}

fn dates(fields: &Fields<'_>, from: Option<&Node>, to: Option<&Node>, cx: &mut Context<'_>) -> Option<Closed> {
    let (Some(from), Some(to)) = (from, to) else {
        cx.report(
            Diagnostic::new(
                Code::MISSING_KEY,
                fields.place().clone(),
                "a stretch of dates has a first and a last date",
            )
            .hint("write both `from` and `to`; one day has the same date twice"),
        );
        return None;
    };
    if let Some(days) = fields.get("days") {
        cx.error(
            Code::ONE_OF,
            &days.place.first_line(),
            "`days` goes with times of day, not with dates",
        );
    }
    let (first, last) = (value::date(from, cx), value::date(to, cx));
    let (first, last) = (first?, last?);
    if last < first {
        let message = format!("the stretch ends on {last}, before it begins on {first}");
        cx.error(Code::DATE_TIME, &to.place, message);
        return None;
    }
    Some(Closed::Dates { from: first, to: last })
}

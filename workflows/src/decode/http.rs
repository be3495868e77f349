//! The `http` and `command` gates: questions to programs outside.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::{expressions, kinds, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Node, Value};
use crate::workflow::{CommandGate, HttpGate, Text};

pub static HTTP: Shape = Shape {
    name: "an `http` gate",
    summary: "An HTTP question: the status, then CEL over the JSON body.",
    one_of: &[],
    keys: &[
        required(
            "url",
            Form::Template,
            "http:// or https://; `${{ region.name }}` and `${{ arm.version }}` are filled in",
        ),
        optional(
            "method",
            Form::Choice(&METHODS),
            "the HTTP method (default GET, with a body POST)",
        ),
        optional(
            "headers",
            Form::Map(&Form::TextOrSecret),
            "headers; secrets as `{secret: name}`",
        ),
        optional("body", Form::Template, "the request's body"),
        optional(
            "status",
            Form::OneOrMore(&Form::Text),
            "accepted statuses: 200, or a class such as 2xx (default 200)",
        ),
        optional(
            "passWhen",
            Form::Expression,
            "CEL over `body` (the JSON answer) and `status`; must be true to pass",
        ),
    ],
};

pub static COMMAND: Shape = Shape {
    name: "a `command` gate",
    summary: "A program whose exit code is the answer: 0 passes, anything else fails.",
    one_of: &[],
    keys: &[
        required(
            "run",
            Form::List(&Form::Template),
            "program and arguments; never a shell",
        ),
        optional(
            "env",
            Form::Map(&Form::TextOrSecret),
            "environment variables; secrets as `{secret: name}`",
        ),
    ],
};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Reads the settings of an `http` gate.
pub fn read(node: &Node, cx: &mut Context<'_>) -> Option<HttpGate> {
    let fields = Fields::read(node, &HTTP, cx)?;
    let url = fields.get("url")?;
    let text = value::text(url, cx)?;
    let has_scheme = text.starts_with("http://") || text.starts_with("https://") || text.starts_with("${{");
    if !has_scheme || outside_templates(&text).contains(char::is_whitespace) {
        cx.report(
            Diagnostic::new(Code::URL, url.place.clone(), format!("`{text}` is not a URL"))
                .hint("it begins with `http://` or `https://` and has no blanks"),
        );
    }
    let body = fields.text("body", cx);
    let methods: Vec<(&str, &str)> = METHODS.iter().map(|method| (*method, *method)).collect();
    let method = fields
        .choice("method", &methods, cx)
        .unwrap_or(if body.is_some() { "POST" } else { "GET" });
    Some(HttpGate {
        url: text,
        method: method.to_owned(),
        headers: texts(fields.get("headers"), cx),
        body,
        status: statuses(&fields, cx),
        pass_when: fields.get("passWhen").and_then(|node| {
            expressions::condition(node, &expressions::http_answer(), cx)
                .map(|expression| expression.source().to_owned())
        }),
    })
}

/// The text without what stands inside `${{ … }}`.
fn outside_templates(text: &str) -> String {
    let mut pieces = text.split("${{");
    let first = pieces.next().unwrap_or_default();
    let rest = pieces.map(|piece| piece.split_once("}}").map_or("", |(_, rest)| rest));
    std::iter::once(first).chain(rest).collect()
}

fn statuses(fields: &Fields<'_>, cx: &mut Context<'_>) -> Vec<u16> {
    let Some(node) = fields.get("status") else {
        return vec![200];
    };
    let mut statuses = Vec::new();
    for item in value::one_or_more(node) {
        let Some(text) = value::text(item, cx) else { continue };
        let class = text
            .strip_suffix("xx")
            .and_then(|class| class.parse::<u16>().ok())
            .filter(|class| (1..=5).contains(class));
        let single = text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
        match (class, single) {
            (Some(class), _) => statuses.extend(class * 100..class * 100 + 100),
            (None, Some(status)) => statuses.push(status),
            (None, None) => {
                let message = format!("`{text}` is not an HTTP status");
                cx.report(
                    Diagnostic::new(Code::NUMBER, item.place.clone(), message)
                        .hint("for example 200, or 2xx for all of them"),
                );
            }
        }
    }
    statuses.sort_unstable();
    statuses.dedup();
    if statuses.is_empty() { vec![200] } else { statuses }
}

/// Reads the settings of a `command` gate: a mapping, or the program and its arguments.
pub fn command(node: &Node, cx: &mut Context<'_>) -> Option<CommandGate> {
    if let Value::List(items) = &node.value {
        return Some(CommandGate {
            run: program(items, node, cx)?,
            env: BTreeMap::new(),
        });
    }
    let fields = Fields::read(node, &COMMAND, cx)?;
    let written = fields.get("run")?;
    if let Some(line) = written.as_text() {
        let words: Vec<String> = line.split_whitespace().map(|word| format!("'{word}'")).collect();
        cx.report(
            Diagnostic::new(
                Code::WRONG_TYPE,
                written.place.clone(),
                "a command is a list of its program and arguments; no shell reads it",
            )
            .hint(format!("write `[{}]`", words.join(", "))),
        );
        return None;
    }
    let items = value::list(written, cx)?;
    Some(CommandGate {
        run: program(items, written, cx)?,
        env: texts(fields.get("env"), cx),
    })
}

fn program(items: &[Node], node: &Node, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let words: Vec<String> = items.iter().filter_map(|item| value::text(item, cx)).collect();
    if words.first().is_none_or(|program| program.trim().is_empty()) {
        cx.error(Code::MISSING_KEY, &node.place.first_line(), "a command names a program");
        return None;
    }
    Some(words)
}

/// Names with texts or secrets.
fn texts(node: Option<&Node>, cx: &mut Context<'_>) -> BTreeMap<String, Text> {
    let entries = node.map(|node| value::entries(node, cx)).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(name, _, node)| Some((name.to_owned(), text(name, node, cx)?)))
        .collect()
}

fn text(name: &str, node: &Node, cx: &mut Context<'_>) -> Option<Text> {
    let secret = node
        .as_map()
        .filter(|map| map.entries.len() == 1)
        .and_then(|map| map.get("secret"));
    if let Some(secret) = secret {
        return Some(Text::Secret(kinds::secret_name(secret, cx)?));
    }
    if node.as_map().is_some() {
        value::wrong_type(node, "text or `{secret: name}`", cx);
        return None;
    }
    let text = value::text(node, cx)?;
    if name.eq_ignore_ascii_case("authorization") && !text.contains("${{") {
        cx.report(
            Diagnostic::new(
                Code::SECRET,
                node.place.clone(),
                format!("`{name}` is a secret and stands in plain text"),
            )
            .hint("write `{secret: name}`; the operator's configuration says where the name's value is kept"),
        );
    }
    Some(Text::Template(text))
}

//! The `kayenta` gate: a canary analysis by a Kayenta server, which has the metrics and the judge.

use std::collections::BTreeMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional, required};
use crate::decode::{kinds, value};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::duration::Duration;
use crate::expression::Template;
use crate::workflow::{KayentaGate, KayentaScope};

pub static KAYENTA: Shape = Shape {
    name: "a `kayenta` gate",
    summary: "A canary analysis by a Kayenta server (Spinnaker's): one for every reading, over the time since the share last changed.",
    one_of: &[],
    keys: &[
        required("address", Form::Text, "the server, as in `https://kayenta.example.com`"),
        optional(
            "token",
            Form::TextOrSecret,
            "sent as `Authorization: Bearer …`: `{secret: name}`",
        ),
        required(
            "canaryConfigId",
            Form::Text,
            "the canary configuration that is stored in Kayenta",
        ),
        optional(
            "application",
            Form::Text,
            "under which Kayenta keeps it (default: the workflow's name)",
        ),
        optional(
            "metricsAccount",
            Form::Text,
            "Kayenta's account for metrics (default: its only one)",
        ),
        optional(
            "storageAccount",
            Form::Text,
            "Kayenta's account for results (default: its only one)",
        ),
        optional(
            "configurationAccount",
            Form::Text,
            "Kayenta's account for configurations (default: its only one)",
        ),
        required(
            "scopes",
            Form::Map(&Form::Object(&SCOPE)),
            "the scopes that the configuration's metrics name, filled in once for each arm",
        ),
        optional(
            "lookback",
            Form::Duration,
            "a sliding window of this length (default: all since the share last changed)",
        ),
        optional(
            "delay",
            Form::Duration,
            "how far metrics lag behind: the window ends so long ago (default 1m)",
        ),
        optional("step", Form::Duration, "time between two points (default 1m)"),
        optional(
            "minSamples",
            Form::Integer { min: 1, max: 100_000 },
            "fewer points in the window are no verdict yet (default 50, below which Kayenta's judge is inaccurate)",
        ),
        optional(
            "pass",
            Form::Integer { min: 0, max: 100 },
            "scores from here on pass (default 95)",
        ),
        optional(
            "marginal",
            Form::Integer { min: 0, max: 100 },
            "scores below fail; those between are marginal, and `onInconclusive` follows (default 75)",
        ),
        optional(
            "completesWithin",
            Form::Duration,
            "an analysis that takes longer is an error (default 15m)",
        ),
    ],
};

static SCOPE: Shape = Shape {
    name: "a scope",
    summary: "Where Kayenta finds one arm's metrics. `${{ arm.version }}`, `${{ arm.labels.* }}` and `${{ region.name }}` are filled in.",
    one_of: &[],
    keys: &[
        required("scope", Form::Template, "often the name of a server group or a version"),
        optional(
            "location",
            Form::Template,
            "a region or zone (default: the region's name)",
        ),
        optional(
            "params",
            Form::Map(&Form::Template),
            "what else the configuration's queries ask for",
        ),
    ],
};

/// Reads the settings of a `kayenta` gate.
pub fn read(node: &Node, cx: &mut Context<'_>) -> Option<KayentaGate> {
    let fields = Fields::read(node, &KAYENTA, cx)?;
    let address = address(&fields, cx);
    let scopes = scopes(&fields, cx);
    let text = |key: &'static str, cx: &mut Context<'_>| fields.text(key, cx);
    let config = fields.get("canaryConfigId").and_then(|node| {
        let text = value::text(node, cx)?;
        if text.trim().is_empty() {
            cx.error(
                Code::NAME,
                &node.place,
                "`canaryConfigId` is empty; `GET /canaryConfig` of the server lists them",
            );
            return None;
        }
        Some(text)
    });
    let gate = KayentaGate {
        address: address?,
        token: match fields.get("token") {
            Some(node) => Some(token(node, cx)?),
            None => None,
        },
        canary_config_id: config?,
        application: text("application", cx),
        metrics_account: text("metricsAccount", cx),
        storage_account: text("storageAccount", cx),
        configuration_account: text("configurationAccount", cx),
        scopes: scopes?,
        lookback: fields
            .get("lookback")
            .and_then(|node| value::positive_duration(node, cx)),
        delay: fields.duration("delay", cx).unwrap_or(Duration::from_secs(60)),
        step: step(&fields, cx)?,
        min_samples: fields.integer("minSamples", 1, 100_000, cx).unwrap_or(50),
        pass: score("pass", 95, &fields, cx),
        marginal: score("marginal", 75, &fields, cx),
        completes_within: fields
            .get("completesWithin")
            .and_then(|node| value::positive_duration(node, cx))
            .unwrap_or(Duration::from_secs(15 * 60)),
    };
    check(&gate, &fields, cx);
    Some(gate)
}

fn score(key: &'static str, default: u8, fields: &Fields<'_>, cx: &mut Context<'_>) -> u8 {
    let written = fields.integer(key, 0, 100, cx);
    written.and_then(|score| u8::try_from(score).ok()).unwrap_or(default)
}

fn address(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<String> {
    let node = fields.get("address")?;
    let text = value::text(node, cx)?;
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    if !is_url || text.contains(char::is_whitespace) {
        cx.report(
            Diagnostic::new(Code::URL, node.place.clone(), format!("`{text}` is not a URL"))
                .hint("it begins with `http://` or `https://` and has no blanks"),
        );
        return None;
    }
    Some(text)
}

fn token(node: &Node, cx: &mut Context<'_>) -> Option<String> {
    match node.as_map().and_then(|map| map.get("secret")) {
        Some(secret) => kinds::secret_name(secret, cx),
        None => {
            cx.report(
                Diagnostic::new(
                    Code::SECRET,
                    node.place.clone(),
                    "`token` is a secret and stands in plain text",
                )
                .hint("write `{secret: name}`; the operator's configuration says where the name's value is kept"),
            );
            None
        }
    }
}

/// Kayenta takes whole seconds.
fn step(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Duration> {
    let Some(node) = fields.get("step") else {
        return Some(Duration::from_secs(60));
    };
    let step = value::positive_duration(node, cx)?;
    if !step.as_millis().is_multiple_of(1_000) {
        cx.error(
            Code::DURATION,
            &node.place,
            format!("`step` is {step}, and Kayenta counts in whole seconds"),
        );
        return None;
    }
    Some(step)
}

fn scopes(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<BTreeMap<String, KayentaScope>> {
    let mut scopes = BTreeMap::new();
    for (name, place, node) in fields.entries("scopes", cx) {
        let Some(of) = Fields::read(node, &SCOPE, cx) else {
            continue;
        };
        let Some(scope) = of.text("scope", cx) else { continue };
        let scope = KayentaScope {
            scope,
            location: of.text("location", cx),
            params: of.text_map("params", cx),
        };
        let texts = std::iter::once(&scope.scope)
            .chain(&scope.location)
            .chain(scope.params.values());
        if !texts.into_iter().any(|text| Template::parse(text).0.mentions("arm")) {
            cx.report(
                Diagnostic::new(
                    Code::COMPARISON,
                    place.clone(),
                    format!(
                        "the scope `{name}` does not mention the arm, so the candidate would be compared with itself"
                    ),
                )
                .hint("for example `scope: 'payments-${{ arm.version }}'`"),
            );
        }
        scopes.insert(name.to_owned(), scope);
    }
    if scopes.is_empty() {
        let place = fields
            .get("scopes")
            .map_or_else(|| fields.place().clone(), |node| node.place.clone());
        cx.report(
            Diagnostic::new(
                Code::COMPARISON,
                place,
                "without a scope Kayenta has nothing to look at",
            )
            .hint("most configurations name one: `scopes: {default: {scope: …}}`"),
        );
        return None;
    }
    Some(scopes)
}

fn check(gate: &KayentaGate, fields: &Fields<'_>, cx: &mut Context<'_>) {
    if gate.marginal > gate.pass {
        let message = format!(
            "`marginal` is {} and lies above `pass`, {}: nothing could be marginal",
            gate.marginal, gate.pass
        );
        let place = fields.key_place(if fields.get("marginal").is_some() {
            "marginal"
        } else {
            "pass"
        });
        cx.report(
            Diagnostic::new(Code::COMPARISON, place, message)
                .hint("scores below `marginal` fail, from `pass` on they pass"),
        );
    }
    let Some(lookback) = gate.lookback else { return };
    let points = lookback.as_millis() / gate.step.as_millis().max(1);
    if points < gate.min_samples {
        let message = format!(
            "a window of {lookback} in steps of {} has {points} points, and `minSamples` asks for {}: there would never be a verdict",
            gate.step, gate.min_samples
        );
        cx.report(
            Diagnostic::new(Code::COMPARISON, fields.key_place("lookback"), message)
                .hint("a longer `lookback`, a shorter `step`, or fewer `minSamples`"),
        );
    }
}

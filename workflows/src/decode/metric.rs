//! Metrics and the sources they are read from.

use crate::decode::context::Context;
use crate::decode::definitions::Definition;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Kinds, Shape, optional, required};
use crate::decode::{expressions, kinds, value};
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::Node;
use crate::document::source::Place;
use crate::duration::Duration;
use crate::expression::Template;
use crate::vocabulary::Availability;
use crate::workflow::{Metric, MetricUnit, Source};

pub static METRIC: Shape = Shape {
    name: "a metric",
    summary: "A named question to a metric source, rendered once per arm.",
    one_of: &[],
    keys: &[
        optional(
            "source",
            Form::Name,
            "the source that is asked; may be left out where there is only one",
        ),
        required(
            "unit",
            Form::Either(&[
                Form::Choice(&["ratio", "percent", "seconds", "bytes", "count", "perSecond", "custom"]),
                Form::Text,
            ]),
            "what the number counts: ratio, percent, seconds, bytes, count, perSecond or custom(name)",
        ),
        optional(
            "window",
            Form::Duration,
            "how far back a reading looks, `${{ window }}` in the query (default 2m)",
        ),
        required(
            "query",
            Form::Template,
            "the query; `${{ arm.version }}`, `${{ region.name }}` and `${{ window }}` are filled in",
        ),
        optional(
            "samples",
            Form::Template,
            "a query whose answer is the number of samples in the window, for `minSamples`",
        ),
        optional("description", Form::Text, "what the metric means"),
    ],
};

const WINDOW_DEFAULT: Duration = Duration::from_secs(120);

/// A metric with the places that gates' problems point at.
pub struct Placed {
    pub metric: Metric,
    pub query: Place,
    pub mentions_arm: bool,
    /// It cannot be read where there is no region, at a phase's barrier.
    pub needs_region: bool,
    pub has_samples: bool,
}

/// A source, and whether this build can ask it.
pub struct Asked {
    pub source: Source,
    pub availability: Availability,
}

/// Reads one source.
pub fn source(definition: &Definition, cx: &mut Context<'_>) -> Option<Asked> {
    let chosen = kinds::read(&definition.node, Kinds::Sources, cx)?;
    Some(Asked {
        source: Source {
            kind: chosen.kind,
            settings: chosen.settings,
        },
        availability: chosen.availability,
    })
}

/// Reads one metric. `sources` are the names that may be asked.
pub fn read(name: &str, definition: &Definition, sources: &[&str], cx: &mut Context<'_>) -> Option<Placed> {
    let fields = Fields::read(&definition.node, &METRIC, cx)?;
    let source = source_of(name, &fields, sources, definition, cx);
    let unit = fields.get("unit").and_then(|node| unit(node, cx));
    let window = fields
        .get("window")
        .map_or(Some(WINDOW_DEFAULT), |node| value::positive_duration(node, cx));
    let query = fields.get("query")?;
    let text = value::text(query, cx)?;
    let samples = fields.text("samples", cx);
    let templates = std::iter::once(&text).chain(&samples);
    let needs_region = templates.into_iter().any(|text| expressions::needs_region(text));
    Some(Placed {
        query: query.place.clone(),
        mentions_arm: Template::parse(&text).0.mentions("arm"),
        needs_region,
        has_samples: samples.is_some(),
        metric: Metric {
            source: source?,
            unit: unit?,
            window: window?,
            query: text,
            samples,
            description: fields.text("description", cx),
        },
    })
}

/// The named source, or the only one there is. A built-in metric without any source is passed over: nothing can ask it.
fn source_of(
    name: &str,
    fields: &Fields<'_>,
    sources: &[&str],
    definition: &Definition,
    cx: &mut Context<'_>,
) -> Option<String> {
    if let Some(node) = fields.get("source") {
        let source = value::text(node, cx)?;
        if !sources.contains(&source.as_str()) {
            cx.unknown(
                Code::UNKNOWN_SOURCE,
                &node.place,
                "metric source",
                &source,
                sources.iter().copied(),
            );
            return None;
        }
        return Some(source);
    }
    match sources {
        [only] => Some((*only).to_owned()),
        _ if definition.is_built_in() => None,
        _ => {
            let message = format!("the metric `{name}` must say which source it asks");
            let known = if sources.is_empty() {
                "none is defined".to_owned()
            } else {
                sources.join(", ")
            };
            cx.report(
                Diagnostic::new(Code::UNKNOWN_SOURCE, definition.key.clone(), message)
                    .hint(format!("add `source:`; sources here: {known}")),
            );
            None
        }
    }
}

fn unit(node: &Node, cx: &mut Context<'_>) -> Option<MetricUnit> {
    let text = value::text(node, cx)?;
    let unit = match text.as_str() {
        "ratio" => MetricUnit::Ratio,
        "percent" => MetricUnit::Percent,
        "seconds" => MetricUnit::Seconds,
        "bytes" => MetricUnit::Bytes,
        "count" => MetricUnit::Count,
        "perSecond" => MetricUnit::PerSecond,
        "custom" => MetricUnit::Custom("custom".to_owned()),
        other => match other.strip_prefix("custom(").and_then(|rest| rest.strip_suffix(')')) {
            Some(name) if !name.trim().is_empty() => MetricUnit::Custom(name.trim().to_owned()),
            Some(_) | None => {
                let known = ["ratio", "percent", "seconds", "bytes", "count", "perSecond", "custom"];
                let message = format!("unknown unit `{text}`");
                cx.report(
                    Diagnostic::new(Code::CHOICE, node.place.clone(), message)
                        .maybe_hint(suggestion::hint(&text, known)),
                );
                return None;
            }
        },
    };
    Some(unit)
}

//! Policies: rules of a Library, asked of the workflow that imports it.

use crate::decode::context::Context;
use crate::decode::definitions::{Definition, POLICY};
use crate::decode::expressions;
use crate::decode::fields::Fields;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::document::source::Place;
use crate::expression::{Expression, Record, Scope, Type, Unit, Value, Values};
use crate::workflow::{Exposure, Workflow};

/// Reads a policy; whether its expressions make sense does not depend on any workflow.
pub fn check(definition: &Definition, cx: &mut Context<'_>) -> Option<Policy> {
    let fields = Fields::read(&definition.node, &POLICY, cx)?;
    let name = fields.text("name", cx)?;
    let scope = scope();
    let when = match fields.get("when") {
        None => None,
        Some(node) => Some((expressions::condition(node, &scope, cx)?, node.clone())),
    };
    let require = fields.get("require")?;
    let message = fields.text("message", cx);
    if let Some(node) = fields.get("name") {
        value::check_name(&name, &node.place, cx);
    }
    Some(Policy {
        name,
        when,
        require: (expressions::condition(require, &scope, cx)?, require.clone()),
        message,
    })
}

/// A policy that can be asked.
pub struct Policy {
    name: String,
    when: Option<(Expression, Node)>,
    require: (Expression, Node),
    message: Option<String>,
}

impl Policy {
    /// Asks the policy of a workflow; no answer is never a pass.
    pub fn judge(&self, values: &Values, workflow: &Place, cx: &mut Context<'_>) {
        let applies = match &self.when {
            None => Ok(true),
            Some(when) => ask(when, values),
        };
        let verdict = applies.and_then(|applies| if applies { ask(&self.require, values) } else { Ok(true) });
        let (message, hint, place) = match verdict {
            Ok(true) => return,
            Ok(false) => {
                let written = self.require.0.source();
                let message = format!("the workflow breaks the policy `{}`", self.name);
                let hint = self
                    .message
                    .clone()
                    .unwrap_or_else(|| format!("it requires `{written}`"));
                (message, hint, self.require.1.place.first_line())
            }
            Err((reason, place)) => {
                let message = format!("the policy `{}` cannot be judged: {reason}", self.name);
                let hint =
                    "a label or field that the policy asks for is missing; `has(…)` in the policy allows for that";
                (message, hint.to_owned(), place)
            }
        };
        cx.report(
            Diagnostic::new(Code::POLICY, workflow.clone(), message)
                .and(place, "the policy")
                .hint(hint),
        );
    }
}

fn ask((expression, node): &(Expression, Node), values: &Values) -> Result<bool, (String, Place)> {
    let refused = |reason: String| (reason, node.place.first_line());
    let predicate = expression
        .predicate(&scope())
        .map_err(|problems| refused(problems.first().map(ToString::to_string).unwrap_or_default()))?;
    predicate
        .holds(values)
        .map_err(|error| (error.fault.to_string(), node.part(error.span.range())))
}

/// What policies may ask for.
fn scope() -> Scope {
    let text_list = || Type::list(Type::String);
    let workflow = Record::new("workflow")
        .with("name", Type::String)
        .with("description", Type::String)
        .with("labels", Type::map(Type::String))
        .with("onConflict", Type::String);
    let stage = Record::new("stage")
        .with("phase", Type::String)
        .with("regions", text_list())
        .with("exposure", Type::String)
        .with("traffic", Unit::Ratio)
        .with("bake", Unit::Seconds)
        .with("before", text_list())
        .with("watch", text_list())
        .with("after", text_list());
    let phase = Record::new("phase")
        .with("name", Type::String)
        .with("regions", text_list())
        .with("needs", text_list())
        .with("maxParallel", Type::Int)
        .with("maxFailures", Type::Int)
        .with("bake", Unit::Seconds)
        .with("before", text_list())
        .with("after", text_list());
    let region = Record::new("region")
        .with("name", Type::String)
        .with("provider", Type::String)
        .with("timezone", Type::String)
        .with("globalTraffic", Unit::Ratio);
    let gate = Record::new("gate")
        .with("name", Type::String)
        .with("kind", Type::String)
        .with("dryRun", Type::Bool);
    Scope::new()
        .with("workflow", workflow)
        .with("stages", Type::list(stage))
        .with("phases", Type::list(phase))
        .with("regions", Type::list(region))
        .with("gates", Type::list(gate))
}

/// A workflow as policies see it. What is not written is empty text or zero.
pub fn values(workflow: &Workflow) -> Values {
    let texts = |names: &[String]| Value::list(names.iter().map(String::as_str));
    let stages = workflow.phases.iter().flat_map(|phase| {
        phase.stages.iter().map(move |stage| {
            Value::record([
                ("phase", Value::from(phase.name.as_str())),
                ("regions", texts(&phase.regions)),
                ("exposure", Value::from(exposure(&stage.exposure))),
                ("traffic", Value::from(stage.exposure.traffic().fraction())),
                ("bake", Value::from(stage.bake.as_secs_f64())),
                ("before", texts(&stage.before)),
                ("watch", texts(&stage.watch)),
                ("after", texts(&stage.after)),
            ])
        })
    });
    let phases = workflow.phases.iter().map(|phase| {
        Value::record([
            ("name", Value::from(phase.name.as_str())),
            ("regions", texts(&phase.regions)),
            ("needs", texts(&phase.needs)),
            ("maxParallel", Value::from(i64::from(phase.max_parallel))),
            ("maxFailures", Value::from(i64::from(phase.max_failures))),
            ("bake", Value::from(phase.bake.as_secs_f64())),
            ("before", texts(&phase.before)),
            ("after", texts(&phase.after)),
        ])
    });
    let regions = workflow.regions.iter().map(|(name, region)| {
        Value::record([
            ("name", Value::from(name.as_str())),
            ("provider", Value::from(region.provider.as_str())),
            ("timezone", Value::from(region.timezone.as_deref().unwrap_or_default())),
            (
                "globalTraffic",
                Value::from(region.global_traffic.unwrap_or_default().fraction()),
            ),
        ])
    });
    let gates = workflow.gates.iter().map(|(name, gate)| {
        Value::record([
            ("name", Value::from(name.as_str())),
            ("kind", Value::from(gate.kind.name())),
            ("dryRun", Value::from(gate.dry_run)),
        ])
    });
    let labels = workflow
        .labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let on_conflict = serde_json::to_value(workflow.on_conflict).unwrap_or_default();
    let header = Value::record([
        ("name", Value::from(workflow.name.as_str())),
        (
            "description",
            Value::from(workflow.description.as_deref().unwrap_or_default()),
        ),
        ("labels", Value::record(labels)),
        ("onConflict", Value::from(on_conflict)),
    ]);
    Values::new()
        .with("workflow", header)
        .with("stages", Value::list(stages))
        .with("phases", Value::list(phases))
        .with("regions", Value::list(regions))
        .with("gates", Value::list(gates))
}

fn exposure(exposure: &Exposure) -> &'static str {
    match exposure {
        Exposure::Traffic(_) => "traffic",
        Exposure::Shadow(_) => "shadow",
        Exposure::Audience(_) => "audience",
    }
}

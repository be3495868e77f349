//! What the templates of a gate may see, and how they become text.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::Question;
use meridian_engine::ports::secret::Secrets;
use meridian_engine::run::version::Version;
use meridian_workflows::expression::{Template, Value, Values};
use meridian_workflows::workflow::Text;

/// The values for a gate that asks about the candidate: `arm`, `region`, `window`, `inputs`.
pub fn values(question: &Question<'_>) -> Values {
    let inputs = question
        .workflow
        .inputs
        .iter()
        .map(|(name, value)| (name.as_str(), Value::from(value.as_str())));
    let mut values = Values::new()
        .with("inputs", Value::record(inputs))
        .with("window", question.window.to_string().as_str());
    if let Some(region) = &question.region {
        values.set("region", Value::record([("name", region.name)]));
        if let Some(candidate) = region.candidate {
            values.set("arm", arm("candidate", candidate));
        }
    }
    values
}

/// One side of the comparison as a template sees it.
pub fn arm(name: &str, version: &Version) -> Value {
    let labels = version
        .labels
        .iter()
        .map(|(label, value)| (label.as_str(), Value::from(value.as_str())));
    Value::record([
        ("name", Value::from(name)),
        ("version", Value::from(version.name.as_str())),
        ("labels", Value::record(labels)),
    ])
}

/// A gate that was handed to the reader of another kind.
pub fn other_kind(question: &Question<'_>, kind: &str) -> Failure {
    Failure::lasting(format!("gate `{}` is no {kind} gate", question.gate))
}

/// A template's text.
///
/// # Errors
/// Lasting: a template that cannot be read, or that names what this place does not have.
pub fn rendered(what: &str, template: &str, values: &Values) -> Result<String, Failure> {
    let (template, problems) = Template::parse(template);
    if let Some(problem) = problems.first() {
        return Err(Failure::lasting(format!("{what} cannot be read: {problem}")));
    }
    template
        .render(values)
        .map_err(|error| Failure::lasting(format!("{what} cannot be filled in: {error}")))
}

/// Named texts, secrets resolved at this moment.
///
/// # Errors
/// As [`rendered`], and a secret that the workflow was not given.
pub fn texts(
    what: &str,
    texts: &BTreeMap<String, Text>,
    values: &Values,
    workflow: &str,
    secrets: &Arc<dyn Secrets>,
) -> Result<Vec<(String, String)>, Failure> {
    let text = |(name, text): (&String, &Text)| {
        let text = match text {
            Text::Template(template) => rendered(&format!("{what} `{name}`"), template, values)?,
            Text::Secret(secret) => secrets.resolve(workflow, secret)?.expose().to_owned(),
        };
        Ok((name.clone(), text))
    };
    texts.iter().map(text).collect()
}

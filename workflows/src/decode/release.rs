//! What is being released: an image, a package, a task definition or a flag.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Node, Value};
use crate::workflow::Release;

pub static RELEASE: Shape = Shape {
    name: "a release",
    summary: "What is being released: exactly one of image, package, taskDefinition and flag.",
    one_of: &["image", "package", "taskDefinition", "flag"],
    keys: &[
        optional(
            "image",
            Form::Text,
            "a container image, as in `registry.example.com/api:v2`",
        ),
        optional("package", Form::Text, "the URL of a package; `sha256` goes with it"),
        optional("sha256", Form::Text, "the package's SHA-256, 64 hexadecimal digits"),
        optional(
            "taskDefinition",
            Form::Text,
            "an ECS task definition, family:revision or ARN",
        ),
        optional("flag", Form::Text, "the name of a feature flag"),
    ],
};

/// A string is an image; a mapping says which.
pub fn read(node: &Node, cx: &mut Context<'_>) -> Option<Release> {
    match &node.value {
        Value::Scalar(_) => Some(Release::Image(name(node, "an image", cx)?)),
        Value::Map(_) => one_of(node, cx),
        Value::Null | Value::List(_) => {
            value::wrong_type(node, "an image or a mapping such as `{package: …, sha256: …}`", cx);
            None
        }
    }
}

fn one_of(node: &Node, cx: &mut Context<'_>) -> Option<Release> {
    let fields = Fields::read(node, &RELEASE, cx)?;
    let kinds = RELEASE.one_of;
    let given: Vec<&str> = kinds
        .iter()
        .copied()
        .filter(|kind| fields.get(kind).is_some())
        .collect();
    let [kind] = given[..] else {
        let found = if given.is_empty() {
            "none".to_owned()
        } else {
            given.join(" and ")
        };
        let message = format!("a release has exactly one of {}, found {found}", kinds.join(", "));
        cx.error(Code::ONE_OF, fields.place(), message);
        return None;
    };
    if let Some(digest) = fields.get("sha256").filter(|_| kind != "package") {
        cx.error(Code::ONE_OF, &digest.place, "`sha256` goes with `package` only");
    }
    match kind {
        "image" => Some(Release::Image(name(fields.get("image")?, "an image", cx)?)),
        "taskDefinition" => Some(Release::TaskDefinition(name(
            fields.get("taskDefinition")?,
            "a task definition",
            cx,
        )?)),
        "flag" => Some(Release::Flag(name(fields.get("flag")?, "a flag", cx)?)),
        _ => package(&fields, cx),
    }
}

fn package(fields: &Fields<'_>, cx: &mut Context<'_>) -> Option<Release> {
    let url = name(fields.get("package")?, "a package's URL", cx)?;
    let Some(node) = fields.get("sha256") else {
        cx.report(
            Diagnostic::new(
                Code::MISSING_KEY,
                fields.key_place("package"),
                "a package needs its `sha256`",
            )
            .hint("without it nobody can prove that every region received the same bytes"),
        );
        return None;
    };
    let sha256 = value::text(node, cx)?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digest && !sha256.contains("${{") {
        cx.error(Code::RELEASE, &node.place, "a SHA-256 has 64 hexadecimal digits");
        return None;
    }
    Some(Release::Package {
        url,
        sha256: sha256.to_ascii_lowercase(),
    })
}

/// A reference: text without blanks. What stands inside `${{ … }}` is not looked at.
fn name(node: &Node, what: &str, cx: &mut Context<'_>) -> Option<String> {
    let text = value::text(node, cx)?;
    let is_template = text.contains("${{");
    if text.is_empty() || (!is_template && text.chars().any(char::is_whitespace)) {
        cx.error(
            Code::RELEASE,
            &node.place,
            format!("{what} has no blanks and is not empty, got `{text}`"),
        );
        return None;
    }
    Some(text)
}

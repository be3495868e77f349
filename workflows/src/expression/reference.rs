//! Which variables an expression uses.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::expression::problem::Span;
use crate::expression::tree::{Kind, Node};

/// A use of a variable: its name, the fields taken from it by name, and the place of the whole path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `["arm", "version"]` for `arm.version` and for `arm["version"]`.
    pub path: Vec<Arc<str>>,
    pub span: Span,
}

impl Reference {
    #[must_use]
    pub fn variable(&self) -> &str {
        self.path.first().map_or("", |name| name)
    }
}

/// Every use of a variable from outside, in reading order; what a macro names for itself does not count.
pub(crate) fn references(root: &Node) -> Vec<Reference> {
    let mut found = Vec::new();
    collect(root, &mut Vec::new(), &mut found);
    found
}

fn collect<'a>(node: &'a Node, own: &mut Vec<&'a str>, found: &mut Vec<Reference>) {
    if let Some(path) = path(node) {
        if !own.contains(&&**path[0]) {
            found.push(Reference {
                path: path.into_iter().cloned().collect(),
                span: node.span,
            });
        }
        return;
    }
    if let Kind::Fold {
        over,
        variable,
        filter,
        body,
        ..
    } = &node.kind
    {
        collect(over, own, found);
        own.push(&variable.text);
        filter.iter().for_each(|node| collect(node, own, found));
        collect(body, own, found);
        own.pop();
        return;
    }
    if let Kind::Has { of, field } = &node.kind
        && let Some(mut path) = path(of)
        && !own.contains(&&**path[0])
    {
        path.push(&field.text);
        found.push(Reference {
            path: path.into_iter().cloned().collect(),
            span: node.span,
        });
        return;
    }
    node.kind.each_child(&mut |child| collect(child, own, found));
}

/// `a.b["c"]` as its names; at least one.
fn path(node: &Node) -> Option<Vec<&Arc<str>>> {
    match &node.kind {
        Kind::Name(name) => Some(vec![name]),
        Kind::Select { of, field } => {
            let mut path = path(of)?;
            path.push(&field.text);
            Some(path)
        }
        Kind::Index { of, at } => {
            let Kind::Text(field) = &at.kind else { return None };
            let mut path = path(of)?;
            path.push(field);
            Some(path)
        }
        _ => None,
    }
}

/// The variables used, each once.
pub(crate) fn variables(root: &Node) -> BTreeSet<Arc<str>> {
    references(root)
        .into_iter()
        .filter_map(|reference| reference.path.into_iter().next())
        .collect()
}

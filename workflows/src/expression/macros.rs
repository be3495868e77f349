//! The macros of CEL: calls whose arguments are not values but names and expressions.

use crate::expression::problem::Problem;
use crate::expression::tree::{Fold, Kind, Label, Node};

/// `has(a.b)` is a macro: it asks for the field without taking it. Everything else in this form is a function.
pub(crate) fn called(function: Label, mut arguments: Vec<Node>) -> Result<Kind, Problem> {
    if &*function.text != "has" {
        return Ok(Kind::Call {
            receiver: None,
            function,
            arguments,
        });
    }
    let place = arguments
        .iter()
        .fold(function.span, |span, argument| span.to(argument.span));
    match (arguments.pop(), arguments.is_empty()) {
        (
            Some(Node {
                kind: Kind::Select { of, field },
                ..
            }),
            true,
        ) => Ok(Kind::Has { of, field }),
        _ => Err(Problem::new(place, "`has` asks for one field").hint("as in `has(arm.labels.zone)`")),
    }
}

/// `over.all(x, …)` and its siblings give each element a name.
pub(crate) fn folded(over: Box<Node>, fold: Fold, name: &Label, arguments: Vec<Node>) -> Result<Kind, Problem> {
    let name_of_macro = fold.name();
    let count = arguments.len();
    let mut arguments = arguments.into_iter();
    let (variable, filter, body) = match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(variable), Some(body), None) => (variable, None, body),
        (Some(variable), Some(filter), Some(body)) if fold == Fold::Map && count == 3 => {
            (variable, Some(Box::new(filter)), body)
        }
        _ => {
            return Err(Problem::new(
                name.span,
                format!("`{name_of_macro}` needs a name and an expression, not {count} arguments"),
            )
            .hint(format!("as in `regions.{name_of_macro}(r, r.share > 0)`")));
        }
    };
    let Kind::Name(text) = variable.kind else {
        return Err(Problem::new(
            variable.span,
            format!("the first argument of `{name_of_macro}` is the name each element gets"),
        )
        .hint(format!("as in `regions.{name_of_macro}(r, r.share > 0)`")));
    };
    let variable = Label {
        text,
        span: variable.span,
    };
    Ok(Kind::Fold {
        over,
        fold,
        variable,
        filter,
        body: Box::new(body),
    })
}

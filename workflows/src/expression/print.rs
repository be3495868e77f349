//! The tree as text again: the shortest that reads back as the same tree.

use crate::expression::tree::{AND, CHOICE, Kind, Node, OR, POSTFIX, PREFIX};

pub(crate) fn canonical(root: &Node) -> String {
    let mut text = String::new();
    write(root, CHOICE, &mut text);
    text
}

fn strength(node: &Node) -> u8 {
    match &node.kind {
        Kind::Choice { .. } => CHOICE,
        Kind::Or(_) => OR,
        Kind::And(_) => AND,
        Kind::Binary { operator, .. } => operator.strength(),
        Kind::Not(_) | Kind::Negate(_) => PREFIX,
        _ => POSTFIX,
    }
}

/// Writes a node where nothing that binds weaker than `weakest` may stand bare.
fn write(node: &Node, weakest: u8, out: &mut String) {
    let needs_parentheses = strength(node) < weakest;
    if needs_parentheses {
        out.push('(');
    }
    match &node.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Int(number) => out.push_str(&number.to_string()),
        Kind::Uint(number) => out.push_str(&format!("{number}u")),
        // The debug form always has a fraction or an exponent, and reads back as the same number.
        Kind::Double(number) => out.push_str(&format!("{number:?}")),
        Kind::Text(text) => quoted(text, out),
        Kind::Name(name) => out.push_str(name),
        Kind::List(items) => bracketed('[', items, ']', out),
        Kind::Map(entries) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write(key, CHOICE, out);
                out.push_str(": ");
                write(value, CHOICE, out);
            }
            out.push('}');
        }
        Kind::Select { of, field } => {
            write(of, POSTFIX, out);
            out.push('.');
            out.push_str(&field.text);
        }
        Kind::Index { of, at } => {
            write(of, POSTFIX, out);
            bracketed('[', std::slice::from_ref(at), ']', out);
        }
        Kind::Call {
            receiver,
            function,
            arguments,
        } => {
            if let Some(receiver) = receiver {
                write(receiver, POSTFIX, out);
                out.push('.');
            }
            out.push_str(&function.text);
            bracketed('(', arguments, ')', out);
        }
        Kind::Has { of, field } => {
            out.push_str("has(");
            write(of, POSTFIX, out);
            out.push('.');
            out.push_str(&field.text);
            out.push(')');
        }
        Kind::Fold {
            over,
            fold,
            variable,
            filter,
            body,
        } => {
            write(over, POSTFIX, out);
            out.push_str(&format!(".{}({}", fold.name(), variable.text));
            for argument in filter.iter().chain([body]) {
                out.push_str(", ");
                write(argument, CHOICE, out);
            }
            out.push(')');
        }
        Kind::Not(operand) => {
            out.push('!');
            write(operand, PREFIX, out);
        }
        Kind::Negate(operand) => {
            out.push('-');
            // A minus before bare digits would become part of the number.
            let digits = matches!(operand.kind, Kind::Int(0..) | Kind::Double(_)) && !starts_with_minus(operand);
            write(operand, if digits { POSTFIX + 1 } else { PREFIX }, out);
        }
        Kind::Binary { operator, left, right } => {
            write(left, operator.strength(), out);
            out.push_str(&format!(" {} ", operator.text()));
            write(right, operator.strength() + 1, out);
        }
        Kind::And(terms) => joined(" && ", terms, AND, out),
        Kind::Or(terms) => joined(" || ", terms, OR, out),
        Kind::Choice {
            condition,
            then,
            otherwise,
        } => {
            write(condition, OR, out);
            out.push_str(" ? ");
            write(then, OR, out);
            out.push_str(" : ");
            write(otherwise, CHOICE, out);
        }
    }
    if needs_parentheses {
        out.push(')');
    }
}

fn starts_with_minus(node: &Node) -> bool {
    matches!(&node.kind, Kind::Double(number) if number.is_sign_negative())
}

fn bracketed(open: char, items: &[Node], close: char, out: &mut String) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        write(item, CHOICE, out);
    }
    out.push(close);
}

fn joined(between: &str, terms: &[Node], strength: u8, out: &mut String) {
    for (at, term) in terms.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { between });
        write(term, strength + 1, out);
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other.is_control() => out.push_str(&format!("\\U{:08x}", u32::from(other))),
            other => out.push(other),
        }
    }
    out.push('"');
}

//! Where gates are named: `before`, `watch` and `after` of stages, strategies and phases.

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::strategy::GateNames;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::source::Place;
use crate::workflow::GateKind;

/// One of the three places in which a gate is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Must pass before traffic moves.
    Before,
    /// Read from a stage's first order on.
    Watch,
    /// Must pass once the bake is over.
    After,
}

impl Use {
    fn key(self) -> &'static str {
        match self {
            Use::Before => "before",
            Use::Watch => "watch",
            Use::After => "after",
        }
    }
}

/// Gates by use, each once, in the order in which they were named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub before: Vec<String>,
    pub watch: Vec<String>,
    pub after: Vec<String>,
}

impl Uses {
    /// Reads the keys `before`, `watch` and `after`. *Assumptions*: the mapping's table has all three.
    pub fn read(fields: &Fields<'_>, gates: &GateNames<'_>, cx: &mut Context<'_>) -> Uses {
        Uses {
            before: names(fields, Use::Before, gates, cx),
            watch: names(fields, Use::Watch, gates, cx),
            after: names(fields, Use::After, gates, cx),
        }
    }

    /// Adds what another names and this does not.
    pub fn add(&mut self, other: &Uses) {
        for (own, others) in [
            (&mut self.before, &other.before),
            (&mut self.watch, &other.watch),
            (&mut self.after, &other.after),
        ] {
            for name in others {
                if !own.contains(name) {
                    own.push(name.clone());
                }
            }
        }
    }
}

fn names(fields: &Fields<'_>, using: Use, gates: &GateNames<'_>, cx: &mut Context<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for item in fields.list(using.key(), cx) {
        let Some(name) = value::text(item, cx) else { continue };
        if names.contains(&name) {
            cx.error(
                Code::TWICE_IN_LIST,
                &item.place,
                format!("the gate `{name}` stands in the list twice"),
            );
        } else if fits(&name, &item.place, using, gates, cx) {
            names.push(name);
        }
    }
    names
}

/// Whether the gate exists and can be used there. One that exists but could not be read has been reported already.
fn fits(name: &str, place: &Place, using: Use, gates: &GateNames<'_>, cx: &mut Context<'_>) -> bool {
    let Some(gate) = gates.read.get(name) else {
        if !gates.written.contains_key(name) {
            cx.unknown(
                Code::UNKNOWN_GATE,
                place,
                "gate",
                name,
                gates.written.keys().map(String::as_str),
            );
        }
        return false;
    };
    let reason = match (&gate.gate.kind, using) {
        (GateKind::Approval(_), Use::Watch) => Some("people are asked once, they cannot be watched"),
        (GateKind::Window(_), Use::Watch) => {
            Some("a window that closes never interrupts a stage, it only guards the next rise")
        }
        (GateKind::Signal(_), Use::Watch) => Some("it is posted once, so nothing would vouch for the bake between"),
        (GateKind::Lock(_), Use::Watch | Use::After) => {
            Some("a lock is taken before the work that it guards, and kept until that is done")
        }
        (GateKind::Completed(_), Use::Watch) => Some("another run's end says nothing about this one's traffic"),
        (GateKind::Lock(_), Use::Before)
        | (GateKind::Completed(_), Use::Before | Use::After)
        | (GateKind::Approval(_) | GateKind::Window(_) | GateKind::Signal(_), Use::Before | Use::After)
        | (
            GateKind::Metric(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Budget(_)
            | GateKind::Health
            | GateKind::NotYet { .. },
            _,
        )
        | (GateKind::Compare(_) | GateKind::Trend(_) | GateKind::Kayenta(_), Use::Watch | Use::After) => None,
        (GateKind::Compare(_) | GateKind::Trend(_) | GateKind::Kayenta(_), Use::Before) => {
            return misplaced(
                name,
                place,
                using,
                "before its stage the candidate has no traffic to judge",
                "watch",
                cx,
            );
        }
    };
    reason.is_none_or(|reason| misplaced(name, place, using, reason, "before", cx))
}

fn misplaced(name: &str, place: &Place, using: Use, reason: &str, instead: &str, cx: &mut Context<'_>) -> bool {
    let message = format!("the gate `{name}` cannot be used in `{}`: {reason}", using.key());
    let hint = format!("name it in `{instead}` instead");
    cx.report(Diagnostic::new(Code::GATE_MISPLACED, place.clone(), message).hint(hint));
    false
}

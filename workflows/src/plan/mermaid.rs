//! A plan as a Mermaid flowchart: one box a phase, one chain a region.

use super::drawing::{Cluster, clusters, lines};
use super::{Node, NodeKind, Plan};

/// The flowchart's text; it ends with a line break.
pub fn render(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    for Cluster { phase, nodes } in clusters(plan) {
        text.push_str(&format!(
            "  subgraph p{}[\"{}\"]\n",
            phase.0,
            escape(&plan.phase(phase).name)
        ));
        for id in nodes {
            text.push_str(&format!("    n{}{}\n", id.0, shape(plan, plan.node(id))));
        }
        text.push_str("  end\n");
    }
    for (id, _) in plan.nodes() {
        for child in plan.children(id) {
            text.push_str(&format!("  n{} --> n{}\n", id.0, child.0));
        }
    }
    text
}

/// The node's label in the brackets of its kind's shape.
fn shape(plan: &Plan, node: &Node) -> String {
    let label = lines(plan, node)
        .iter()
        .map(|line| escape(line))
        .collect::<Vec<_>>()
        .join("<br>");
    let (left, right) = match node.kind {
        NodeKind::Phase => ("{{", "}}"),
        NodeKind::Open { .. } => ("([", "])"),
        NodeKind::Stage { .. } => ("[", "]"),
        NodeKind::Close { .. } => ("[[", "]]"),
    };
    format!("{left}\"{label}\"{right}")
}

/// Mermaid's entities are written with `#`; letters that could end a label, open a tag or start an entity become one.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' | ';' => escaped.push_str(&format!("#{};", u32::from(letter))),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{escape, render};
    use crate::plan::compile::compile;
    use crate::plan::story::Story;

    #[test]
    fn a_small_plan_is_drawn_with_its_phases_bakes_and_gates() {
        let workflow = Story::new()
            .region("eu", None, Some("Europe/Dublin"))
            .phase("one", &["eu"], &["25% 30m", "100%"])
            .window("hours", "one")
            .edit(|phase| phase.bake = "2h".parse().unwrap())
            .build();
        let expected = "\
flowchart TD
  subgraph p0[\"one\"]
    n0{{\"one\"}}
    n1([\"eu: open<br>before hours\"])
    n2[\"eu: 25%<br>bake 30m<br>before hours\"]
    n3[\"eu: 100%<br>before hours\"]
    n4[[\"eu: close<br>bake 2h\"]]
  end
  n0 --> n1
  n1 --> n2
  n2 --> n3
  n3 --> n4
";
        assert_eq!(render(&compile(workflow)), expected);
    }

    #[test]
    fn names_cannot_break_out_of_their_label() {
        assert_eq!(escape("a\"]<b>&#1;\n"), "a#34;]#60;b#62;#38;#35;1#59; ");
    }
}

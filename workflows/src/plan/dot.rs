//! A plan as a Graphviz digraph: one cluster a phase, one chain a region.

use super::drawing::{Cluster, clusters, lines};
use super::{Node, NodeKind, Plan};

/// The digraph's text; it ends with a line break.
pub fn render(plan: &Plan) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n  rankdir=TB;\n  node [fontname=\"sans-serif\"];\n",
        escape(&plan.workflow().name)
    );
    for Cluster { phase, nodes } in clusters(plan) {
        let name = escape(&plan.phase(phase).name);
        text.push_str(&format!("  subgraph cluster_{} {{\n    label=\"{name}\";\n", phase.0));
        for id in nodes {
            let node = plan.node(id);
            text.push_str(&format!(
                "    n{} [shape={}, label=\"{}\"];\n",
                id.0,
                shape(node),
                label(plan, node)
            ));
        }
        text.push_str("  }\n");
    }
    for (id, _) in plan.nodes() {
        for child in plan.children(id) {
            text.push_str(&format!("  n{} -> n{};\n", id.0, child.0));
        }
    }
    text.push_str("}\n");
    text
}

fn shape(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Phase => "hexagon",
        NodeKind::Open { .. } => "ellipse",
        NodeKind::Stage { .. } => "box",
        NodeKind::Close { .. } => "box3d",
    }
}

fn label(plan: &Plan, node: &Node) -> String {
    lines(plan, node)
        .iter()
        .map(|line| escape(line))
        .collect::<Vec<_>>()
        .join("\\n")
}

/// Within quotes Graphviz reads only the quote itself and the backslash.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\\' => escaped.extend(['\\', letter]),
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
    fn a_small_plan_is_drawn_with_its_phases_and_bakes() {
        let workflow = Story::new().phase("o\"ne", &["eu"], &["100% 30m"]).build();
        let expected = r#"digraph "story" {
  rankdir=TB;
  node [fontname="sans-serif"];
  subgraph cluster_0 {
    label="o\"ne";
    n0 [shape=hexagon, label="o\"ne"];
    n1 [shape=ellipse, label="eu: open"];
    n2 [shape=box, label="eu: 100%\nbake 30m"];
    n3 [shape=box3d, label="eu: close"];
  }
  n0 -> n1;
  n1 -> n2;
  n2 -> n3;
}
"#;
        assert_eq!(render(&compile(workflow)), expected);
    }

    #[test]
    fn names_cannot_break_out_of_their_label() {
        assert_eq!(escape("a\"\\N\n"), "a\\\"\\\\N ");
    }
}

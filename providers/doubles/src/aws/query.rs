//! The query protocol's requests: a flat form whose dotted names spell a tree.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Reads `application/x-www-form-urlencoded` into its pairs; the last of two equal names wins.
pub fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok()) {
                Some(pair) if u8::from_str_radix(pair, 16).is_ok() => {
                    bytes.extend(u8::from_str_radix(pair, 16));
                    rest = &tail[2..];
                }
                _ => bytes.push(b'%'),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The tree that the dotted names spell: `Actions.member.1.Type=forward` is `{"Actions": [{"Type": "forward"}]}`.
/// An empty list is spelled `Actions=`, and stays an empty text.
pub fn tree(pairs: &BTreeMap<String, String>) -> Value {
    let mut root = Node::default();
    for (name, value) in pairs {
        let place = name.split('.').fold(&mut root, |node, part| {
            node.children.entry(part.to_owned()).or_default()
        });
        place.value = Some(value.clone());
    }
    root.json()
}

#[derive(Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn json(self) -> Value {
        if self.children.is_empty() {
            return Value::String(self.value.unwrap_or_default());
        }
        let mut children = self.children;
        if children.len() == 1
            && let Some(list) = children.remove("member")
        {
            let mut items: Vec<(u32, Node)> = list
                .children
                .into_iter()
                .map(|(place, node)| (place.parse().unwrap_or(u32::MAX), node))
                .collect();
            items.sort_by_key(|(place, _)| *place);
            return Value::Array(items.into_iter().map(|(_, node)| node.json()).collect());
        }
        let members: Map<String, Value> = children.into_iter().map(|(name, node)| (name, node.json())).collect();
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dotted_names_spell_a_tree() {
        let pairs =
            form(b"Action=ModifyRule&Actions.member.1.Type=forward&Actions.member.10.Type=b&Actions.member.2.Order=2");
        assert_eq!(
            tree(&pairs),
            json!({"Action": "ModifyRule", "Actions": [{"Type": "forward"}, {"Order": "2"}, {"Type": "b"}]})
        );
    }

    #[test]
    fn escapes_are_read_and_broken_ones_kept() {
        assert_eq!(decoded("a%3Ab+c%zz%"), "a:b c%zz%");
    }
}

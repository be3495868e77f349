//! The query protocol's answers: a value written as XML, lists as `<member>`s.

use std::fmt::Write as _;

use serde_json::Value;

use crate::aws::refusal::Refusal;

/// The answer to one operation.
pub fn answer(namespace: &str, operation: &str, result: &Value, request: &str) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write!(text, "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>");
    write_value(&mut text, result);
    let _ = write!(
        text,
        "</{operation}Result><ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{operation}Response>"
    );
    text
}

/// The answer that refuses.
pub fn error(namespace: &str, refusal: &Refusal, request: &str) -> String {
    let blame = if refusal.status < 500 { "Sender" } else { "Receiver" };
    let mut text = String::new();
    let _ = write!(
        text,
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{blame}</Type><Code>{}</Code><Message>",
        refusal.code
    );
    escape(&mut text, &refusal.message);
    let _ = write!(
        text,
        "</Message></Error><RequestId>{request}</RequestId></ErrorResponse>"
    );
    text
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(words) => escape(text, words),
        Value::Array(items) => items.iter().for_each(|item| element(text, "member", item)),
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(_, member)| !member.is_null()) {
                element(text, name, member);
            }
        }
    }
}

fn element(text: &mut String, name: &str, value: &Value) {
    let _ = write!(text, "<{name}>");
    write_value(text, value);
    let _ = write!(text, "</{name}>");
}

fn escape(text: &mut String, words: &str) {
    for letter in words.chars() {
        match letter {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_become_members_and_text_is_escaped() {
        let text = answer(
            "ns",
            "DescribeTags",
            &json!({"Tags": [{"Key": "a<b", "On": true}], "None": null}),
            "r-1",
        );
        assert_eq!(
            text,
            "<DescribeTagsResponse xmlns=\"ns\"><DescribeTagsResult><Tags><member><Key>a&lt;b</Key><On>true</On></member></Tags>\
             </DescribeTagsResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></DescribeTagsResponse>"
        );
    }
}

//! What a text may be, and what happens to the ones that may not.

use crate::diagnostic::Diagnostic;
use crate::document::node::{Document, Node, Value};
use crate::document::parse;
use crate::limits;

fn read(text: &str) -> Vec<Document> {
    let (documents, diagnostics) = parse("a.yaml", text.as_bytes());
    assert_eq!(diagnostics, []);
    documents
}

/// The codes and places (`M004 2:5`) of everything that is wrong with a text.
fn problems(bytes: &[u8]) -> Vec<String> {
    let (_, diagnostics) = parse("a.yaml", bytes);
    diagnostics.iter().map(place).collect()
}

fn place(diagnostic: &Diagnostic) -> String {
    let position = diagnostic.place.position();
    format!("{} {}:{}", diagnostic.code, position.line, position.column)
}

fn at<'a>(node: &'a Node, path: &str) -> &'a Node {
    path.split('.').fold(node, |node, step| match &node.value {
        Value::Map(map) => map.get(step).unwrap(),
        Value::List(items) => &items[step.parse::<usize>().unwrap()],
        Value::Null | Value::Scalar(_) => panic!("{step} of a scalar"),
    })
}

#[test]
fn scalars_keep_the_text_that_was_written() {
    let documents = read("a: 1.10\nb: '010'\nc: yes\nd: ~\ne: |\n  one\n  two\n");
    let root = &documents[0].root;
    assert_eq!(at(root, "a").as_text(), Some("1.10"));
    assert_eq!(at(root, "b").as_text(), Some("010"));
    assert_eq!(at(root, "c").as_text(), Some("yes"));
    assert!(matches!(at(root, "d").value, Value::Null));
    assert_eq!(at(root, "e").as_text(), Some("one\ntwo\n"));
}

#[test]
fn every_key_and_value_knows_its_place() {
    let documents = read("ü: x\nspec:\n  list: [one, {two: 'three'}]\n---\nlast: 1\n");
    let root = &documents[0].root;
    assert_eq!(at(root, "ü").place.to_string(), "a.yaml:1:4");
    assert_eq!(at(root, "spec.list.1.two").place.to_string(), "a.yaml:3:21");
    assert_eq!(at(root, "spec.list.1.two").place.text(), "'three'");
    assert_eq!(root.as_map().unwrap().entries["spec"].key.to_string(), "a.yaml:2:1");
    assert_eq!(at(root, "spec").place.text(), "list: [one, {two: 'three'}]");
    assert_eq!(documents[1].root.place.to_string(), "a.yaml:5:1");
}

#[test]
fn a_part_of_a_text_is_found_in_every_way_of_writing_it() {
    let documents = read("a: one two\nb: 'one two'\nc: |\n    zero\n    one two\nd: \"\\x6fne two\"\n");
    let root = &documents[0].root;
    assert_eq!(at(root, "a").part(4..7).to_string(), "a.yaml:1:8");
    assert_eq!(at(root, "b").part(4..7).text(), "two");
    assert_eq!(at(root, "c").part(9..12).text(), "two");
    assert_eq!(at(root, "c").part(9..12).to_string(), "a.yaml:5:9");
    assert_eq!(
        at(root, "d").part(4..7).text(),
        "\"\\x6fne two\"",
        "escapes move bytes, so the whole value is shown"
    );
}

#[test]
fn aliases_and_merges_are_written_out() {
    let documents = read("base: &base {a: 1, b: 2}\none: *base\ntwo: {<<: *base, b: 3}\n");
    let root = &documents[0].root;
    assert_eq!(at(root, "one.b").as_text(), Some("2"));
    assert_eq!(at(root, "two.a").as_text(), Some("1"));
    assert_eq!(at(root, "two.b").as_text(), Some("3"));
    assert_eq!(
        at(root, "two.a").place.to_string(),
        "a.yaml:1:17",
        "a merged value is shown where it is defined"
    );
}

#[test]
fn empty_documents_are_passed_over() {
    assert!(read("").is_empty());
    assert!(read("# nothing\n---\n---\n").is_empty());
    assert_eq!(read("\u{feff}a: 1\n").len(), 1);
}

#[test]
fn one_file_reports_all_its_problems() {
    let text = "a: 1\na: 2\nb: !tag x\nc: *nowhere\n? [k]\n: v\nd: 1\nd: 2\n---\nx: [1\n---\ny: \tok\nz: 'open\n";
    assert_eq!(
        problems(text.as_bytes()),
        [
            "M007 2:1",
            "M008 3:4",
            "M009 4:4",
            "M010 5:3",
            "M007 8:1",
            "M004 10:4",
            "M004 14:1"
        ]
    );
}

#[test]
fn a_document_behind_a_broken_one_is_still_read() {
    let (documents, diagnostics) = parse("a.yaml", b"broken: [1, 2\n---\nhealthy: true\n");
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(at(&documents[0].root, "healthy").as_text(), Some("true"));
}

/// Bad input must cost neither time nor memory: it is cut off where the limit is reached, with one diagnostic.
fn cut_off(name: &str, bytes: &[u8], expected: &str) {
    let (documents, diagnostics) = parse("a.yaml", bytes);
    assert!(documents.is_empty(), "{name} gives no document");
    assert_eq!(
        diagnostics.iter().map(|d| d.code.id()).collect::<Vec<_>>(),
        [expected],
        "{name}: {diagnostics:?}"
    );
}

#[test]
fn bombs_and_binaries_get_one_diagnostic_each() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let quadratic = format!(
        "a: &a \"{}\"\nb: [{}]\n",
        "x".repeat(60_000),
        vec!["*a"; 400].join(", ")
    );
    let keys: String = (0..60_000).map(|n| format!("k{n}: 0\n")).collect();
    cut_off("billion laughs", laughs.as_bytes(), "M006");
    cut_off("quadratic blow-up", quadratic.as_bytes(), "M006");
    cut_off(
        "many aliases",
        format!("a: &a 1\nb: [{}]\n", vec!["*a"; 501].join(", ")).as_bytes(),
        "M006",
    );
    cut_off(
        "many keys",
        format!("{keys}{}", "- x\n".repeat(10)).replace("- x", "? x").as_bytes(),
        "M006",
    );
    cut_off("many documents", "---\na\n".repeat(100).as_bytes(), "M006");
    cut_off("brackets", "[".repeat(200_000).as_bytes(), "M005");
    cut_off("braces", "{a: ".repeat(200_000).as_bytes(), "M005");
    cut_off("dashes", "- ".repeat(200_000).as_bytes(), "M005");
    cut_off("long scalar", format!("a: {}\n", "x".repeat(70_000)).as_bytes(), "M006");
    cut_off("100 MB", &vec![b'a'; 100_000_000], "M001");
    cut_off("NUL", b"a: \0\n", "M003");
    cut_off("right-to-left override", "a: \u{202e}x\n".as_bytes(), "M003");
    cut_off("latin 1", b"a: caf\xe9\n", "M002");
    cut_off("UTF-16", b"\xff\xfea\0:\0", "M002");
}

#[test]
fn a_value_cannot_contain_itself() {
    assert_eq!(problems(b"a: &a [1, *a]\n"), ["M009 1:11"]);
    assert_eq!(problems(b"a: &a {b: *a}\n"), ["M009 1:11"]);
}

#[test]
fn depth_counts_through_aliases() {
    let deep = format!(
        "a: &a {}x{}\nb: {}*a{}\n",
        "[".repeat(30),
        "]".repeat(30),
        "[".repeat(15),
        "]".repeat(15)
    );
    assert_eq!(parse("a.yaml", deep.as_bytes()).1[0].code.id(), "M005");
}

#[test]
fn a_large_file_inside_the_limits_is_read() {
    let line = "key: {a: 'some text that is a little longer', b: [1, 2, 3]}\n";
    let mut text = String::new();
    while text.len() + line.len() + 10 < limits::FILE_BYTES_MAX / 4 {
        text.push_str(&format!("k{}", text.len()));
        text.push_str(line);
    }
    let (documents, diagnostics) = parse("a.yaml", text.as_bytes());
    assert_eq!((documents.len(), diagnostics.len()), (1, 0));
}

//! docs/sources.md: every example is valid, every kind has a section, and every setting is in its table.

use std::collections::BTreeMap;
use std::path::Path;

use meridian_providers::metric::kinds;
use meridian_workflows::decode::{Given, Surroundings, read};
use meridian_workflows::diagnostic::render::{Colour, render_all};
use meridian_workflows::vocabulary::Vocabulary;

/// The page in sections by their headings.
fn sections() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sources.md");
    let page = std::fs::read_to_string(file).unwrap();
    let sections = page.split("\n## ").skip(1);
    let section = |section: &str| {
        let (heading, text) = section.split_once('\n').unwrap();
        (heading.to_owned(), text.to_owned())
    };
    sections.map(section).collect()
}

#[test]
fn every_example_is_valid() {
    let vocabulary = Vocabulary {
        sources: kinds(),
        ..Vocabulary::default()
    };
    let mut tried = 0;
    for (heading, text) in sections() {
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let spec: String = block.lines().map(|line| format!("  {line}\n")).collect();
            let library = format!("apiVersion: meridian/v1\nkind: Library\nmetadata: {{name: page}}\nspec:\n{spec}");
            let surroundings = Surroundings {
                vocabulary: &vocabulary,
                load: &|_| Err("nothing is imported".to_owned()),
                inputs: Given::All(&BTreeMap::new()),
            };
            let reading = read("sources.md", library.as_bytes(), &surroundings);
            // The language's own presets want gates, which this vocabulary lacks; that is a warning.
            assert!(
                !reading.has_errors(),
                "{heading}:\n{}",
                render_all(&reading.diagnostics, Colour::Plain)
            );
            tried += 1;
        }
    }
    assert_eq!(tried, kinds().len());
}

#[test]
fn every_setting_is_in_the_table_of_its_source() {
    let sections = sections();
    for kind in kinds() {
        let found = sections.iter().find(|(heading, _)| heading == kind.name);
        let (_, text) = found.unwrap_or_else(|| panic!("docs/sources.md has no section `{}`", kind.name));
        let table: String = text.lines().filter(|line| line.starts_with("| `")).collect();
        for setting in kind.settings {
            let word = format!("`{}`", setting.name);
            assert!(table.contains(&word), "the table of `{}` lacks {word}", kind.name);
        }
    }
}

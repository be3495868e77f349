//! The corpus of bad files: one for every code, with what an author reads beside it.
//!
//! Lines `#: …` at the beginning of a file say how it is read: `repeat N` (the file is that many times as long), `input k=v`,
//! `all-inputs` (a release starts). `MERIDIAN_BLESS=1` writes the expectations anew; read them before you commit them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::decode::testing::vocabulary;
use crate::decode::{Given, Reading, Surroundings, read};
use crate::diagnostic::code;
use crate::diagnostic::render::{Colour, render_all};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus")
}

fn files() -> Vec<String> {
    let entries = std::fs::read_dir(directory()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
}

fn read_file(name: &str) -> Reading {
    let mut bytes = std::fs::read(directory().join(name)).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut inputs = BTreeMap::new();
    let mut starts = false;
    for order in text.lines().map_while(|line| line.strip_prefix("#: ")) {
        match order.split_once(' ') {
            Some(("repeat", times)) => bytes = bytes.repeat(times.parse().unwrap()),
            Some(("input", pair)) => {
                let (name, value) = pair.split_once('=').unwrap();
                inputs.insert(name.to_owned(), value.to_owned());
            }
            None if order == "all-inputs" => starts = true,
            Some(_) | None => panic!("{name}: unknown order {order:?}"),
        }
    }
    let load = |path: &str| {
        std::fs::read(directory().join(path)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "no such file".to_owned(),
            other => other.to_string(),
        })
    };
    let inputs = if starts {
        Given::All(&inputs)
    } else {
        Given::Some(&inputs)
    };
    read(
        name,
        &bytes,
        &Surroundings {
            vocabulary: &vocabulary(),
            load: &load,
            inputs,
        },
    )
}

#[test]
fn every_code_has_a_file_that_shows_it() {
    let files = files();
    for code in code::ALL {
        let name = files.iter().find(|name| name.starts_with(code.id()));
        let name = name.unwrap_or_else(|| panic!("no file in tests/corpus begins with {code}"));
        let reading = read_file(name);
        assert!(
            reading.diagnostics.iter().any(|diagnostic| diagnostic.code == *code),
            "{name} does not show {code}"
        );
    }
}

#[test]
fn authors_read_what_stands_beside_the_file() {
    let mut wrong = Vec::new();
    for name in files() {
        let shown = render_all(&read_file(&name).diagnostics, Colour::Plain);
        let beside = directory().join(name.replace(".yaml", ".expected"));
        if std::env::var_os("MERIDIAN_BLESS").is_some() {
            std::fs::write(&beside, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if shown != expected {
            wrong.push(format!("--- {name}: expected\n{expected}--- found\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_with_errors_gives_no_workflow_and_one_with_warnings_does() {
    for name in files() {
        let reading = read_file(&name);
        assert!(!(reading.has_errors() && reading.workflow.is_some()), "{name}");
        if name.starts_with("M08") {
            assert!(
                reading.workflow.is_some(),
                "{name} shows a warning and must give a workflow"
            );
        }
    }
}

//! Any bytes at all, and good files with mistakes in them, through text → Document → Workflow → Plan: nothing may panic.
//!
//! `MERIDIAN_FUZZ_SECONDS` says for how long (default 20), `MERIDIAN_FUZZ_SEED` where to begin (default 0).

use std::cell::Cell;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::decode::testing::read_among;
use crate::diagnostic::render::{Colour, render_all};
use crate::plan::compile::compile;

const SEEDS: [&str; 7] = [
    include_str!("examples/payments-api.yaml"),
    include_str!("examples/platform.yaml"),
    include_str!("../../presets/metrics.yaml"),
    include_str!("../../presets/risk-critical.yaml"),
    include_str!("../../../examples/01-three-regions.yaml"),
    include_str!("../../../examples/02-memory-leak.yaml"),
    include_str!("../../../examples/03-people-and-hours.yaml"),
];

/// What authors type by mistake, and what YAML, CEL and templates stumble over.
const PIECES: [&str; 48] = [
    "\n",
    "  ",
    "\t",
    ": ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "|",
    ">",
    "&a ",
    "*a",
    "!t ",
    "<<: ",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "${{",
    "}}",
    "$${{",
    "inputs.version",
    "arm",
    "&&",
    "(",
    "candidate > baseline",
    "0%",
    "100.001%",
    "1d12h",
    "-1",
    "99999999999999999999",
    "true",
    "~",
    "é",
    "\u{feff}",
    "\u{0}",
    "\u{202e}",
    "Europe/Dublin",
    "'25:00'",
    "* * * * *",
    "..",
    "risk/high",
    "/",
    ",",
];

/// Texts of one batch.
const CASES: u32 = 32;

#[derive(Clone, Debug)]
enum Change {
    Insert(Index, &'static str),
    Delete(Index, usize),
    Byte(Index, u8),
    RepeatLine(Index, usize),
    DropLine(Index),
    MoveLine(Index, Index),
    /// Another word of the same file in the place of one.
    SwapWords(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), select(&PIECES[..])).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), 1..40usize).prop_map(|(at, length)| Change::Delete(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<Index>(), 1..5usize).prop_map(|(at, times)| Change::RepeatLine(at, times)),
        any::<Index>().prop_map(Change::DropLine),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::MoveLine(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::SwapWords(one, other)),
    ]
}

fn apply(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    let at = |index: &Index| index.index(bytes.len().max(1)).min(bytes.len());
    let lines = || {
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    match change {
        Change::Insert(index, piece) => {
            let at = at(index);
            bytes.splice(at..at, piece.bytes());
            bytes
        }
        Change::Delete(index, length) => {
            let start = at(index);
            let end = (start + length).min(bytes.len());
            bytes.drain(start..end);
            bytes
        }
        Change::Byte(index, byte) => {
            let at = at(index);
            if let Some(place) = bytes.get_mut(at) {
                *place = *byte;
            }
            bytes
        }
        Change::RepeatLine(index, times) => {
            let mut lines = lines();
            if !lines.is_empty() {
                let at = index.index(lines.len());
                let line = lines[at].clone();
                lines.splice(at..at, std::iter::repeat_n(line, *times));
            }
            lines.concat()
        }
        Change::DropLine(index) => {
            let mut lines = lines();
            if !lines.is_empty() {
                lines.remove(index.index(lines.len()));
            }
            lines.concat()
        }
        Change::MoveLine(from, to) => {
            let mut lines = lines();
            if !lines.is_empty() {
                let line = lines.remove(from.index(lines.len()));
                lines.insert(to.index(lines.len() + 1), line);
            }
            lines.concat()
        }
        Change::SwapWords(one, other) => swap_words(&bytes, one, other),
    }
}

fn swap_words(bytes: &[u8], one: &Index, other: &Index) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let is_border = |character: char| !(character.is_alphanumeric() || "-_./%".contains(character));
    let mut pieces: Vec<&str> = text.split_inclusive(is_border).collect();
    let word = |piece: &str| piece.trim_end_matches(is_border).len();
    let words: Vec<usize> = (0..pieces.len()).filter(|&index| word(pieces[index]) > 1).collect();
    if !words.is_empty() {
        let (from, to) = (words[one.index(words.len())], words[other.index(words.len())]);
        pieces[to] = pieces[from];
    }
    pieces.concat().into_bytes()
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let mutated = (select(&SEEDS[..]), vec(change(), 0..4))
        .prop_map(|(seed, changes)| changes.iter().fold(seed.as_bytes().to_vec(), apply));
    let pieces = vec(select(&PIECES[..]), 0..60).prop_map(|pieces| pieces.concat().into_bytes());
    let spec = vec(select(&PIECES[..]), 0..40).prop_map(|pieces| {
        format!(
            "apiVersion: meridian/v1\nkind: Workflow\nmetadata: {{name: a}}\nspec:\n  {}",
            pieces.concat()
        )
        .into_bytes()
    });
    prop_oneof![6 => mutated, 2 => spec, 1 => pieces, 1 => vec(any::<u8>(), 0..400), 1 => Just(Vec::new())]
}

/// What must hold for any bytes.
fn examine(bytes: &[u8], compiled: &Cell<u64>) -> Result<(), TestCaseError> {
    let files = [
        ("platform.yaml", SEEDS[1]),
        ("sandbox.yaml", include_str!("../../../examples/sandbox.yaml")),
        ("holidays.ics", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"),
    ];
    for (inputs, starts) in [(&[][..], false), (&[("version", "v1.2.3")][..], true)] {
        let reading = read_among(bytes, &files, inputs, starts);
        for diagnostic in &reading.diagnostics {
            let span = diagnostic.place.span();
            let source = diagnostic.place.source().text();
            proptest::prop_assert!(source.get(span).is_some(), "{diagnostic:?} points outside of its text");
            proptest::prop_assert!(
                !diagnostic.message.is_empty() && !diagnostic.message.contains('\n'),
                "{diagnostic:?}"
            );
        }
        let shown = render_all(&reading.diagnostics, Colour::Plain);
        proptest::prop_assert_eq!(shown.is_empty(), reading.diagnostics.is_empty());
        let has_errors = reading.has_errors();
        if let Some(workflow) = reading.workflow {
            proptest::prop_assert!(!has_errors);
            let written = serde_json::to_string(&workflow).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let again = serde_json::from_str(&written).map_err(|error| TestCaseError::fail(error.to_string()))?;
            proptest::prop_assert_eq!(&workflow, &again, "a workflow survives being stored");
            compile(workflow);
            compiled.set(compiled.get() + 1);
        }
    }
    Ok(())
}

#[test]
fn no_text_makes_the_language_panic() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let until = Instant::now() + Duration::from_secs(number("MERIDIAN_FUZZ_SECONDS", 20));
    let first = number("MERIDIAN_FUZZ_SEED", 0);
    let mut batches = 0;
    let compiled = Cell::new(0);
    while Instant::now() < until {
        // A runner counts its cases over its whole life, so every batch has one of its own, and a seed that can be named.
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(first + batches).to_le_bytes());
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        if let Err(failure) = runner.run(&texts(), |bytes| examine(&bytes, &compiled)) {
            panic!("MERIDIAN_FUZZ_SEED={}: {failure}", first + batches);
        }
        batches += 1;
    }
    println!("{} texts, {} plans", batches * u64::from(CASES), compiled.get());
    assert!(
        compiled.get() > 0,
        "some of the texts must be good enough to reach the plan"
    );
}

//! The crate `cel` as a second opinion over what both languages share.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::{any, proptest};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::expression::Expression;
use crate::expression::evaluation::Fault;
use crate::expression::problem::Problem;
use crate::expression::tests::generator::{Tape, condition, scope, values};
use crate::expression::value::{Key, Value};

/// Enough for the other parser, which recurses deeply in debug builds.
const STACK_BYTES: usize = 256 * 1024 * 1024;

fn on_a_large_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

fn context() -> cel::Context<'static, 'static> {
    let mut context = cel::Context::default();
    let text = |text: &str| cel::Value::from(text);
    context.add_variable_from_value("n", 7i64);
    context.add_variable_from_value("d", 2.5f64);
    context.add_variable_from_value("s", text("release"));
    context.add_variable_from_value("b", true);
    context.add_variable_from_value("l", vec![1i64, 2, 3]);
    context.add_variable_from_value("m", HashMap::from([("a", 1i64), ("c", -4)]));
    let record = HashMap::from([("a", cel::Value::Int(5)), ("b", text("x"))]);
    context.add_variable_from_value("record", record);
    context
}

fn translated(value: &cel::Value) -> Value {
    match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => Value::Bool(*value),
        cel::Value::Int(number) => Value::Int(*number),
        cel::Value::UInt(number) => Value::Uint(*number),
        cel::Value::Float(number) => Value::Double(*number),
        cel::Value::String(text) => Value::from(text.as_str()),
        cel::Value::List(items) => Value::List(Arc::new(items.iter().map(translated).collect())),
        cel::Value::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| {
                let key = match key {
                    cel::objects::Key::Int(number) => Key::Int((*number).into()),
                    cel::objects::Key::Uint(number) => Key::Int((*number).into()),
                    cel::objects::Key::Bool(value) => Key::Bool(*value),
                    cel::objects::Key::String(text) => Key::String(text.as_str().into()),
                };
                (key, translated(value))
            });
            Value::Map(Arc::new(entries.collect()))
        }
        other => panic!("not in our language: {other:?}"),
    }
}

/// A division by a literal zero is refused beforehand here, and fails when evaluated there.
fn only_zero_division(problems: &[Problem]) -> bool {
    problems.iter().all(|problem| problem.message == "division by zero")
}

/// Both answers to one expression; `None` is an error.
fn answers(source: &str) -> (Result<Value, Fault>, Option<Value>) {
    let expression = Expression::parse(source).unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
    let ours = match expression.check(&scope()) {
        Ok(checked) => checked.evaluate(&values()).map_err(|error| error.fault),
        Err(problems) if only_zero_division(&problems) => Err(Fault::DivisionByZero),
        Err(problems) => panic!("{source}: {problems:?}"),
    };
    let program = cel::Program::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let theirs = program.execute(&context()).ok().map(|value| translated(&value));
    (ours, theirs)
}

#[test]
fn what_both_accept_means_the_same() {
    on_a_large_stack(|| {
        let differing: Vec<String> = [
            "1 + 2 * 3 - 4 / 2 % 3",
            "-7 / 2",
            "-7 % 3",
            "7u / 2u",
            "n - -3",
            "- n",
            "--5",
            "2.5 * d - .5",
            "1 == 1.0",
            "1u == 1",
            "2 < 2.5",
            "9223372036854775807 + 1",
            "-9223372036854775808 - 1",
            "1 / 0",
            "1 % 0",
            "0u - 1u",
            "'a' + \"b\" + r'\\n' == 'ab\\\\n'",
            "'b' > 'a' && 'Z' < 'a'",
            "'\\u00e9' == 'é'",
            "'''a'b''' == \"a'b\"",
            "size('été')",
            "size([1, 2]) + size({'a': 1})",
            "[1, 2][1]",
            "[1, 2][2]",
            "{'a': 1}['a'] + {'a': 2}.a",
            "{'a': 1}.b",
            "{1: 'x', 2u: 'y', true: 'z'}[1]",
            "has(m.a) && !has(m.b)",
            "1 in [1, 2] && !('z' in m) && 'a' in m",
            "[1, [2, 3]] == [1, [2, 3]]",
            "{'a': [1]} == {'a': [1]}",
            "l.all(x, x > 0) && l.exists(x, x == 2) && l.exists_one(x, x > 2)",
            "l.map(x, x * 2).filter(x, x > 2)",
            "l.map(x, x > 1, x * 10)",
            "m.exists(k, k == 'c')",
            "[].all(x, x > 0) && ![].exists(x, x > 0)",
            "l.exists(x, 1 / (x - 2) > 0)",
            "l.exists(x, x / 0 > 0)",
            "false && 1 / (n - 7) > 0",
            "true || 1 / (n - 7) > 0",
            "true && 1 / (n - 7) > 0",
            "1 / (n - 7) > 0 || true",
            "1 / (n - 7) > 0 && false",
            "b ? 1 : 1 / (n - 7)",
            "b ? s : 'x'",
            "false ? 1 : true ? 2 : 3",
            "1 < 2 == true",
            "!b == false",
            "2 + 3 * 4 > 13 || false && true",
            "s.startsWith('rel') && s.endsWith('se') && s.contains('ea')",
            "s.matches('^r.*e$')",
            "'a.b'.matches(r'a\\.b')",
            "int('42') + int(2.9) + int(-2.9) + int(3u)",
            "int('x')",
            "double('1.5') + double(2)",
            "uint(3) + uint('4')",
            "uint(-1)",
            "string(12) + string(1.5) + string(true) + string('x')",
            "0x10 + 0xfF + int(0x1u)",
            "null == null",
            "[1, 2,].size() == 2",
            "// a comment\n1 + 1",
        ]
        .into_iter()
        .filter_map(|source| {
            let (ours, theirs) = answers(source);
            (ours.clone().ok() != theirs).then(|| format!("{source}\n  ours: {ours:?}\n  cel:  {theirs:?}"))
        })
        .collect();
        assert!(differing.is_empty(), "{}", differing.join("\n"));
    });
}

#[test]
fn generated_conditions_have_one_meaning() {
    on_a_large_stack(|| {
        let mut runner = TestRunner::new(Config {
            cases: 512,
            failure_persistence: None,
            ..Config::default()
        });
        let tapes = proptest::collection::vec(any::<u8>(), 0..48);
        let outcome = runner.run(&tapes, |tape| {
            let source = condition(&mut Tape::new(&tape), 3);
            let (ours, theirs) = answers(&source);
            let is_refused_beforehand =
                ours == Err(Fault::DivisionByZero) && source.contains("/ 0") | source.contains("% 0");
            if ours.clone().ok() == theirs || is_refused_beforehand {
                return Ok(());
            }
            Err(TestCaseError::fail(format!(
                "{source}\n  ours: {ours:?}\n  cel:  {theirs:?}"
            )))
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    });
}

proptest! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    /// The generator itself: it must not quietly write only what is trivial.
    #[test]
    fn generated_conditions_are_well_typed(tape in proptest::collection::vec(any::<u8>(), 0..48)) {
        let source = condition(&mut Tape::new(&tape), 3);
        let problems = Expression::parse(&source).and_then(|expression| expression.predicate(&scope())).err().unwrap_or_default();
        assert!(only_zero_division(&problems), "{source}: {problems:?}");
    }
}

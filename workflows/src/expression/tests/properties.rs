//! What holds for every text: no panic, no overflow of the stack, an end within the budget, and types that are kept.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;

use crate::expression::evaluation::{Fault, conforming};
use crate::expression::problem::Problem;
use crate::expression::template::Template;
use crate::expression::tests::generator::{Tape, condition, scope, values};
use crate::expression::value::{Value, Values};
use crate::expression::{Expression, Scope, Type};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

/// A quarter of what the smallest thread of the engine has.
const STACK_BYTES: usize = 512 * 1024;

/// Texts that look like expressions more often than chance would make them.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        ".",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "<",
        "<=",
        "==",
        "!=",
        "&&",
        "||",
        "in",
        "n",
        "d",
        "s",
        "b",
        "l",
        "m",
        "record",
        "json",
        ".a",
        "x",
        "1",
        "-9223372036854775808",
        "2u",
        "1.5",
        "'t'",
        "\"é\"",
        "r'\\d'",
        "null",
        "true",
        "has(",
        "size(",
        ".all(x, ",
        ".map(x, ",
        ".exists_one(x, ",
        ".filter(x, ",
        "percent(",
        "max(",
        ".matches(",
        "string(",
        "int(",
        "}}",
        "${{",
        " ",
        "//",
        "'",
        "\\",
        "é",
    ];
    let piece = (0..pieces.len()).prop_map(move |at| pieces[at].to_owned());
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.join(" "))
}

/// Well-formed text: from the generator, or soup that happens to be.
fn text() -> impl Strategy<Value = String> {
    let generated = proptest::collection::vec(any::<u8>(), 0..64).prop_map(|tape| condition(&mut Tape::new(&tape), 4));
    prop_oneof![soup(), generated, any::<String>(), Just(String::new())]
}

fn places_fit(problems: &[Problem], source: &str) {
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(
            problem.span.start <= problem.span.end && source.get(problem.span.range()).is_some(),
            "{source:?}: {problem:?}"
        );
    }
}

proptest! {
    #![proptest_config(Config { cases: 2048, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_text_is_an_expression_or_has_problems_in_it(source in text()) {
        match Expression::parse(&source) {
            Ok(expression) => {
                if let Err(problems) = expression.check(&scope()) {
                    places_fit(&problems, &source);
                }
                for reference in expression.references() {
                    assert!(reference.span.of(&source).starts_with(reference.variable()) || source.contains('('), "{source}");
                }
            }
            Err(problems) => places_fit(&problems, &source),
        }
    }

    #[test]
    fn printed_expressions_read_back_as_themselves(source in text()) {
        if let Ok(expression) = Expression::parse(&source) {
            let printed = expression.canonical();
            if printed.len() <= EXPRESSION_BYTES_MAX {
                let again = Expression::parse(&printed).unwrap_or_else(|problems| panic!("{source} → {printed}: {problems:?}"));
                assert_eq!(again.root, expression.root, "{source} → {printed}");
                assert_eq!(again.canonical(), printed);
            }
        }
    }

    #[test]
    fn a_result_is_of_the_type_that_was_promised(source in text(), json in any::<i64>()) {
        let scope = scope().with("json", Type::Dyn);
        let Ok(checked) = Expression::parse(&source).and_then(|expression| expression.check(&scope)) else { return Ok(()) };
        for budget in [0, 1, 10, 10_000] {
            match checked.evaluate_within(&values().with("json", json), budget) {
                Ok(value) => {
                    let kept = conforming(value.clone(), checked.of(), checked.root.span);
                    assert_eq!(kept, Ok(value), "{source} is {}", checked.of());
                }
                Err(error) => {
                    assert!(source.get(error.span.range()).is_some(), "{source}: {error:?}");
                    assert!(budget > 0 || error.fault == Fault::BudgetExceeded { budget: 0 });
                }
            }
        }
    }

    #[test]
    fn every_text_is_a_template_or_has_problems_in_it(pieces in proptest::collection::vec(prop_oneof![text(), Just("${{".to_owned()), Just("}}".to_owned()), Just("$".to_owned())], 0..6)) {
        let source = pieces.concat();
        let (template, problems) = Template::parse(&source);
        if !problems.is_empty() {
            places_fit(&problems, &source);
        }
        if let Err(problems) = template.check(&scope()) {
            places_fit(&problems, &source);
        }
        for reference in template.references() {
            assert!(source.get(reference.span.range()).is_some());
        }
        if !source.contains("${{") {
            assert_eq!(template.render(&Values::new()).unwrap(), source);
        }
    }

    #[test]
    fn what_is_put_in_is_never_read_again(value in text(), around in "[^$]*") {
        let (template, problems) = Template::parse(&format!("{around}${{{{ value }}}}{around}"));
        assert_eq!(problems, []);
        let value = format!("${{{{ secret }}}}{value}");
        let values = Values::new().with("value", value.as_str()).with("secret", "leaked");
        assert_eq!(template.render(&values).unwrap(), format!("{around}{value}{around}"));
    }
}

/// Every way to nest, as often as the length allows.
#[test]
fn nesting_ends_at_the_limit_and_not_at_the_end_of_the_stack() {
    let ways = [
        ("(", "n", ")"),
        ("!", "b", ""),
        ("-", "n", ""),
        ("[", "n", "]"),
        ("[", "n", "][0]"),
        ("{'a':", "n", "}"),
        ("size(", "n", ")"),
        ("n+", "n", ""),
        ("", "n", "+n"),
        ("n*", "n", "-n"),
        ("", "n", ".a"),
        ("", "n", "[0]"),
        ("n[", "n", "]"),
        ("b?", "b", ":b"),
        ("b?b:", "b", ""),
        ("", "l", ".map(x,x)"),
        ("l.map(x,", "x", ")"),
        ("b&&!(", "b", ")"),
        ("(b||", "b", ")&&b"),
        ("({[", "n", ""),
        ("has(", "n", ".a)"),
        ("n.f(", "n", ")"),
    ];
    let work = move || {
        for (before, middle, after) in ways {
            for times in [
                1,
                10,
                EXPRESSION_DEPTH_MAX / 2,
                EXPRESSION_DEPTH_MAX - 1,
                EXPRESSION_DEPTH_MAX,
                EXPRESSION_DEPTH_MAX + 1,
                1300,
            ] {
                let source = [before.repeat(times), middle.to_owned(), after.repeat(times)].concat();
                let Ok(expression) = Expression::parse(&source) else {
                    continue;
                };
                assert!(
                    times <= EXPRESSION_DEPTH_MAX || source.len() > EXPRESSION_BYTES_MAX,
                    "{before}…{after} × {times}"
                );
                let dynamic = Scope::new()
                    .with("n", Type::Dyn)
                    .with("b", Type::Bool)
                    .with("l", Type::list(Type::Int));
                for scope in [scope(), dynamic] {
                    if let Ok(checked) = expression.check(&scope) {
                        let outcome = checked.evaluate(&values().with("n", Value::record([("a", 1i64)])));
                        assert!(!format!("{outcome:?}").is_empty());
                    }
                }
                assert!(expression.canonical().len() <= source.len() * 2 && expression.variables().len() <= 3);
            }
        }
    };
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn long_chains_are_flat_and_long_texts_are_refused() {
    let chain = ["b"; 500].join(" && ");
    let checked = Expression::parse(&chain).unwrap().predicate(&scope()).unwrap();
    assert_eq!(checked.holds(&values()), Ok(true));
    let long = format!("'{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    assert_eq!(
        Expression::parse(&long).unwrap_err()[0].message,
        "the expression is longer than 4096 bytes"
    );
}

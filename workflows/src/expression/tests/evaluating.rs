//! What evaluation answers, and when it refuses to.

use serde_json::json;

use crate::expression::Expression;
use crate::expression::evaluation::{Error, Fault};
use crate::expression::scope::{Record, Scope, Type};
use crate::expression::unit::Unit;
use crate::expression::value::{Value, Values};

fn scope() -> Scope {
    let arm = Record::new("arm")
        .with("version", Type::String)
        .with("labels", Type::map(Type::String));
    Scope::new()
        .with("candidate", Unit::Ratio)
        .with("baseline", Unit::Ratio)
        .with("share", Unit::Percent)
        .with("latency", Unit::Seconds)
        .with("memory", Unit::Bytes)
        .with("n", Type::Int)
        .with("arm", arm)
        .with("json", Type::Dyn)
}

fn values() -> Values {
    let body = json!({"ok": true, "depth": 3, "rate": 0.5, "items": [1, 2, {"a": "b"}], "none": null, "huge": 18_446_744_073_709_551_615_u64});
    Values::new()
        .with("candidate", 0.02)
        .with("baseline", 0.01)
        .with("share", 25.0)
        .with("latency", 0.25)
        .with("memory", 536_870_912.0)
        .with("n", 7i64)
        .with(
            "arm",
            Value::record([
                ("version", Value::from("v2")),
                ("labels", Value::record([("zone", "a")])),
            ]),
        )
        .with("json", Value::from(body))
}

fn evaluated(source: &str, values: &Values) -> Result<Value, Error> {
    let checked = Expression::parse(source).and_then(|expression| expression.check(&scope()));
    checked
        .unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
        .evaluate(values)
}

fn fault(source: &str, values: &Values) -> Fault {
    match evaluated(source, values) {
        Ok(value) => panic!("{source} is {value:?}"),
        Err(error) => error.fault,
    }
}

#[test]
fn thresholds_hold_in_the_unit_they_name() {
    for (source, holds) in [
        ("candidate > percent(1)", true),
        ("candidate > percent(2)", false),
        ("candidate >= percent(2)", true),
        ("candidate > 2 * baseline", false),
        ("candidate > 1.5 * baseline", true),
        ("share >= ratio(0.25) && share <= 25 && share == percent(25)", true),
        (
            "latency == ms(250) && latency < seconds(1) && minutes(1) == seconds(60) && hours(1) == minutes(60)",
            true,
        ),
        (
            "memory == Mi(512) && memory == Gi(0.5) && memory == Ki(524288) && memory > MB(512) && KB(1) == bytes(1000)",
            true,
        ),
        (
            "share * 2 == ratio(0.5) && 2 * share == percent(50) && share / 5 == percent(5) && share / share == 1",
            true,
        ),
        (
            "share / ratio(0.5) == 0.5 && 1 / share == 4 && share * share == ratio(0.0625) && -share == percent(-25)",
            true,
        ),
        ("candidate / baseline > 1.9", true),
        ("percent(50) * memory == Mi(256)", true),
        ("ratio(json.rate) > candidate", true),
        ("candidate in [percent(1), percent(2)]", true),
        (
            "max(candidate, percent(5)) == percent(5) && min(candidate, 0.5) == candidate",
            true,
        ),
        ("abs(baseline - candidate) <= percent(1)", true),
    ] {
        assert_eq!(evaluated(source, &values()), Ok(Value::Bool(holds)), "{source}");
    }
}

#[test]
fn what_is_not_a_number_is_never_an_answer() {
    let nan = values().with("candidate", f64::NAN);
    for source in [
        "candidate > 0.01",
        "candidate < 0.01",
        "candidate == candidate",
        "candidate != 0.01",
        "candidate in [0.01]",
        "[candidate] == [0.01]",
        "max(candidate, 0.01) > 0",
        "max(candidate) > 0",
        "!(candidate > 0.01)",
        "candidate + baseline > 0",
    ] {
        assert_eq!(fault(source, &nan), Fault::NotANumber, "{source}");
    }
    assert_eq!(
        evaluated("isNaN(candidate) || candidate > 1", &nan),
        Ok(Value::Bool(true))
    );
    assert_eq!(fault("int(candidate)", &nan), Fault::NotANumber);
}

#[test]
fn faults_are_told_apart() {
    let zero = values().with("baseline", 0.0);
    assert_eq!(fault("candidate / baseline > 2", &zero), Fault::DivisionByZero);
    assert_eq!(fault("n * 9223372036854775807 > 0", &values()), Fault::Overflow);
    assert_eq!(fault("int(1e300)", &values()), Fault::Overflow);
    assert_eq!(
        fault("json.missing", &values()),
        Fault::Missing { name: "missing".into() }
    );
    assert_eq!(
        fault("candidate > 0", &Values::new()),
        Fault::Missing {
            name: "candidate".into()
        }
    );
    assert_eq!(
        fault("json.items[5]", &values()),
        Fault::OutOfBounds { index: 5, length: 3 }
    );
    assert_eq!(
        fault("json.items[-1]", &values()),
        Fault::OutOfBounds { index: -1, length: 3 }
    );
    assert_eq!(
        fault("int('12x')", &values()),
        Fault::Conversion {
            wanted: "an integer",
            text: "12x".to_owned()
        }
    );
    assert_eq!(
        fault("{'a': 1, 'a': 2}", &values()),
        Fault::RepeatedKey { key: "a".to_owned() }
    );
    assert!(matches!(
        fault("json.ok + 1", &values()),
        Fault::Mismatch {
            found: "a condition",
            ..
        }
    ));
    assert!(matches!(fault("json.depth && true", &values()), Fault::Mismatch { .. }));
    assert!(matches!(fault("json.depth.x", &values()), Fault::Mismatch { .. }));
    assert!(matches!(fault("json > 1", &values()), Fault::Mismatch { .. }));
    assert!(matches!(
        fault("arm.version.matches(json.items[2].a + '(')", &values()),
        Fault::Pattern { .. }
    ));
}

#[test]
fn the_place_of_a_fault_is_the_part_that_failed() {
    let source = "n > 3 && json.items[5] > 0";
    assert_eq!(
        evaluated(source, &values()).unwrap_err().span.of(source),
        "json.items[5]"
    );
}

#[test]
fn what_decides_wins_over_what_fails() {
    for (source, holds) in [
        ("json.missing || true", true),
        ("true || json.missing", true),
        ("json.missing && false", false),
        ("json.items.exists(i, i == 2) || false", true),
        ("json.items.exists(i, i > 1)", true),
        ("json.items.all(i, i < 2)", false),
        ("json.missing == 1 || n == 8 || n == 7", true),
    ] {
        assert_eq!(evaluated(source, &values()), Ok(Value::Bool(holds)), "{source}");
    }
    for source in [
        "json.missing || false",
        "json.missing && true",
        "false || json.missing",
        "json.items.all(i, i > 0)",
        "json.items.exists(i, i > 5)",
    ] {
        assert!(evaluated(source, &values()).is_err(), "{source}");
    }
}

#[test]
fn values_must_be_what_they_were_declared() {
    assert!(matches!(
        fault("candidate > 0", &values().with("candidate", "0.02")),
        Fault::Mismatch { .. }
    ));
    assert!(matches!(
        fault(
            "arm.version == 'v2'",
            &values().with("arm", Value::record([("version", 2i64)]))
        ),
        Fault::Mismatch { .. }
    ));
    assert!(matches!(
        fault("has(arm.version)", &values().with("arm", "v2")),
        Fault::Mismatch { .. }
    ));
    // An integer is a number.
    assert_eq!(
        evaluated("candidate / 2 == 0.5", &values().with("candidate", 1i64)),
        Ok(Value::Bool(true))
    );
    assert_eq!(
        evaluated("has(arm.version)", &values().with("arm", Value::record([("x", 1i64)]))),
        Ok(Value::Bool(false))
    );
}

#[test]
fn a_number_that_says_its_unit_is_converted_or_refused() {
    let given = |unit| Values::new().with_number("candidate", 2.0, unit);
    assert_eq!(
        evaluated("candidate == 0.02", &given(Unit::Percent)),
        Ok(Value::Bool(true))
    );
    assert_eq!(
        evaluated("candidate == 2.0", &given(Unit::Ratio)),
        Ok(Value::Bool(true))
    );
    assert!(matches!(
        fault("candidate > 0", &given(Unit::Seconds)),
        Fault::Mismatch { .. }
    ));
    assert!(matches!(
        fault("json > 0", &Values::new().with_number("json", 2.0, Unit::Seconds)),
        Fault::Mismatch { .. }
    ));
}

#[test]
fn numbers_of_json_compare_whatever_they_are_written_as() {
    for source in [
        "json.depth == 3.0",
        "json.huge > 9223372036854775807",
        "json.rate < 1",
        "json.none == null",
        "json.ok == true",
        "json.depth != 'three'",
    ] {
        assert_eq!(evaluated(source, &values()), Ok(Value::Bool(true)), "{source}");
    }
}

#[test]
fn expressions_without_a_declared_scope_take_that_of_their_values() {
    let evaluated = |source: &str| {
        Expression::parse(source)
            .unwrap()
            .evaluate(&values().with_number("rate", 1.0, Unit::Percent))
    };
    assert_eq!(
        evaluated("arm.version == 'v2' && rate == ratio(0.01)"),
        Ok(Value::Bool(true))
    );
    assert!(matches!(
        evaluated("unknown > 1").unwrap_err().fault,
        Fault::Unchecked { .. }
    ));
    assert!(matches!(
        evaluated("rate > seconds(1)").unwrap_err().fault,
        Fault::Unchecked { .. }
    ));
}

#[test]
fn the_budget_ends_what_grows_without_bound() {
    let long = Value::list((0..200i64).map(Value::Int));
    let values = Values::new().with("json", long).with("n", 1i64);
    for source in [
        "json.all(a, json.all(b, json.all(c, a + b + c >= 0)))",
        // An exceeded budget is not absorbed by what would decide.
        "json.all(a, json.all(b, json.all(c, a + b + c >= 0))) || true",
        "['aaaaaaaaaaaaaaaa'].map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a)\
         .map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a).map(a,a+a)",
        "[[n]].map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a])\
         .map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).exists(a, a != a)",
        "json.all(a, string(a).matches('' + string(a)))",
    ] {
        assert!(
            matches!(fault(source, &values), Fault::BudgetExceeded { .. }),
            "{source}"
        );
    }
    let one = Expression::parse("n + 1").unwrap().check(&scope()).unwrap();
    assert_eq!(one.evaluate_within(&values, 3), Ok(Value::Int(2)));
    assert!(one.evaluate_within(&values, 2).is_err());
}

#[test]
fn what_is_too_expensive_is_not_passed_over_for_what_is_cheap() {
    let values = values().with("arm", Value::record([("version", "x".repeat(1000))]));
    for source in [
        "arm.version.matches('y') || true",
        "[1].exists(i, arm.version.matches('y')) || true",
        "arm.version.matches('y') && false",
    ] {
        let checked = Expression::parse(source).unwrap().check(&scope()).unwrap();
        assert!(
            matches!(
                checked.evaluate_within(&values, 100).unwrap_err().fault,
                Fault::BudgetExceeded { budget: 100 }
            ),
            "{source}"
        );
        assert!(checked.evaluate(&values).is_ok());
    }
}

#[test]
fn stored_expressions_are_their_source() {
    let expression = Expression::parse("a  >  1 // why").unwrap();
    let stored = serde_json::to_string(&expression).unwrap();
    assert_eq!(stored, r#""a  >  1 // why""#);
    assert_eq!(serde_json::from_str::<Expression>(&stored).unwrap(), expression);
    assert!(serde_json::from_str::<Expression>(r#""a >""#).is_err());
    assert_eq!(expression.canonical(), "a > 1");
    assert_ne!(expression, Expression::parse("a > 1").unwrap());
}

#[test]
fn an_expression_tells_what_it_uses() {
    let expression =
        Expression::parse("arm.labels['zone'] == 'a' && [1].all(x, x < n && has(json.y)) && arm.version != x").unwrap();
    let paths: Vec<String> = expression
        .references()
        .iter()
        .map(|reference| reference.path.join("."))
        .collect();
    assert_eq!(paths, ["arm.labels.zone", "n", "json.y", "arm.version", "x"]);
    assert!(expression.mentions("n") && expression.mentions("x") && !expression.mentions("zone"));
    assert_eq!(
        expression.variables().iter().map(|name| &**name).collect::<Vec<_>>(),
        ["arm", "json", "n", "x"]
    );
    assert!(!Expression::parse("[1].all(x, x > 0)").unwrap().mentions("x"));
}

//! What the check accepts, and what it says about the rest.

use crate::expression::Expression;
use crate::expression::problem::Problem;
use crate::expression::scope::{Record, Scope, Type};
use crate::expression::unit::Unit;

fn scope() -> Scope {
    let arm = Record::new("arm")
        .with("name", Type::String)
        .with("version", Type::String)
        .with("pod-hash", Type::String)
        .with("labels", Type::map(Type::String));
    let stage = Record::new("stage")
        .with("watch", Type::list(Type::String))
        .with("traffic", Unit::Percent);
    Scope::new()
        .with("candidate", Unit::Ratio)
        .with("baseline", Unit::Percent)
        .with("total", Unit::Count)
        .with("latency", Unit::Seconds)
        .with("memory", Unit::Bytes)
        .with("queue", Unit::custom("messages"))
        .with("n", Type::Int)
        .with("on", Type::Bool)
        .with("arm", arm)
        .with("stages", Type::list(stage))
        .with("shares", Type::list(Unit::Ratio))
        .with("json", Type::Dyn)
}

fn type_of(source: &str) -> String {
    let checked = Expression::parse(source).and_then(|expression| expression.check(&scope()));
    checked.map_or_else(|problems| format!("{problems:?}"), |checked| checked.of().to_string())
}

fn problems(source: &str) -> Vec<Problem> {
    match Expression::parse(source).and_then(|expression| expression.check(&scope())) {
        Ok(checked) => panic!("{source} is accepted as {}", checked.of()),
        Err(problems) => problems,
    }
}

/// The place and text of the only problem.
fn problem(source: &str) -> (String, String) {
    let problems = problems(source);
    assert_eq!(problems.len(), 1, "{source}: {problems:?}");
    (problems[0].span.of(source).to_owned(), problems[0].to_string())
}

#[test]
fn a_literal_takes_the_unit_of_what_it_meets() {
    for source in [
        "candidate > 0.01",
        "0.01 < candidate",
        "candidate > 1 - 0.99",
        "candidate in [0.01, 0.02]",
        "candidate > (on ? 0.01 : 0.02)",
        "candidate > max(0.01, 0.02)",
        "max(candidate, 0.5) == candidate",
        "queue > 1000",
        "memory > 512 * 1024",
    ] {
        assert_eq!(type_of(source), "bool", "{source}");
    }
}

#[test]
fn units_follow_the_arithmetic() {
    for (source, of) in [
        ("candidate + baseline", "ratio"),
        ("baseline + 1", "percent"),
        ("1.5 * baseline", "percent"),
        ("baseline * candidate", "ratio"),
        ("latency * 2", "seconds"),
        ("latency * n", "seconds"),
        ("candidate / baseline", "double"),
        ("memory / 2.0", "bytes"),
        ("percent(80) * memory", "bytes"),
        ("total / latency", "perSecond"),
        ("total / perSecond(10)", "seconds"),
        ("abs(candidate - baseline)", "ratio"),
        ("-latency", "seconds"),
        ("round(latency)", "seconds"),
        ("double(latency)", "double"),
        ("json.factor * latency", "seconds"),
        ("json.factor * 2", "dyn"),
        ("seconds(json.wait)", "seconds"),
        ("ratio(baseline)", "ratio"),
        ("[candidate, percent(1)]", "list(ratio)"),
        ("shares.map(s, s * 2)", "list(ratio)"),
        ("on ? candidate : percent(1)", "ratio"),
        ("n + 1", "int"),
        ("n + 1.5", "double"),
        ("size(arm.name)", "int"),
    ] {
        assert_eq!(type_of(source), of, "{source}");
    }
}

#[test]
fn numbers_that_count_different_things_do_not_meet() {
    let (place, text) = problem("on && candidate > total");
    assert_eq!(place, "candidate > total");
    assert!(
        text.starts_with("`candidate` is a ratio and `total` is a count: they cannot be compared"),
        "{text}"
    );
    for source in [
        "candidate == total",
        "candidate + latency > 1",
        "latency - memory > 0",
        "max(candidate, total) > 1",
        "total in shares",
        "[candidate, total].size() > 0",
        "(on ? candidate : total) > 0",
        "total * latency > 1",
        "1 / latency > 1",
        "shares.exists(s, s > total)",
        "queue > count(5)",
        "seconds(candidate) > 1",
        "ms(latency) > 1",
    ] {
        problem(source);
    }
}

#[test]
fn a_number_without_a_unit_must_say_one() {
    let (_, text) = problem("candidate > n");
    assert!(text.ends_with("(say what `n` counts, as in `ratio(n)`)"), "{text}");
    let (_, text) = problem("json.rate > candidate");
    assert!(
        text.ends_with("(say what `json.rate` counts, as in `ratio(json.rate)`)"),
        "{text}"
    );
    assert_eq!(type_of("ratio(json.rate) > candidate"), "bool");
    // A unit must not vanish on the way through something of unknown type either.
    for source in [
        "[candidate, json.x] == []",
        "candidate == json.x",
        "candidate in json.list",
        "(on ? candidate : json.x) == json.y",
        "json[candidate]",
    ] {
        problem(source);
    }
}

#[test]
fn an_integer_division_does_not_quietly_become_zero() {
    let (place, text) = problem("candidate > 1/100");
    assert_eq!(place, "1/100");
    assert!(
        text.starts_with("`1/100` divides integers and drops the fraction"),
        "{text}"
    );
    for source in [
        "ratio(n / 100) > candidate",
        "n / 2 < 1.5",
        "candidate > max(1/2, 1)",
        "latency * (n / 3) > 1",
    ] {
        problem(source);
    }
    assert_eq!(type_of("n / 2 == 3"), "bool");
}

#[test]
fn unknown_names_are_refused_with_their_neighbours() {
    for (source, place, hint) in [
        ("canditate > 1", "canditate", "did you mean `candidate`?"),
        ("arm.versoin == 'x'", "versoin", "did you mean `version`?"),
        ("arm['nam'] == 'x'", "'nam'", "did you mean `name`?"),
        (
            "arm.pod == 'x'",
            "pod",
            "a name with a hyphen is asked for as `[\"pod-hash\"]`",
        ),
        ("arm.name.startswith('x')", "startswith", "did you mean `startsWith`?"),
        ("stages.every(s, on)", "every", "write `all(…)`"),
        ("candidate > precent(1)", "precent", "did you mean `percent`?"),
        (
            "duration('1h') > latency",
            "duration",
            "write `seconds(…)`, `minutes(…)` or `hours(…)`",
        ),
        ("on == True", "True", "write `true`"),
        ("size(arm)(1)", "", ""),
    ] {
        if place.is_empty() {
            assert!(Expression::parse(source).is_err());
            continue;
        }
        let found: Vec<Problem> = problems(source)
            .into_iter()
            .filter(|problem| problem.span.of(source) == place)
            .collect();
        assert_eq!(
            found.first().and_then(|problem| problem.hint.as_deref()),
            Some(hint),
            "{source}"
        );
    }
}

#[test]
fn all_independent_mistakes_are_reported_at_once() {
    let source = "canditate > 1 && memory < seconds(1) || stages.all(s, s.wach == []) || size(1) > 0";
    let places: Vec<&str> = problems(source).iter().map(|problem| problem.span.of(source)).collect();
    assert_eq!(places, ["canditate", "memory < seconds(1)", "wach", "1"]);
}

#[test]
fn conditions_must_be_conditions() {
    for (source, place) in [
        ("!candidate", "candidate"),
        ("n && on", "n"),
        ("on ? 1 : 'x'", "on ? 1 : 'x'"),
        ("n ? 1 : 2", "n"),
        ("stages.all(s, s.traffic)", "s.traffic"),
        ("1 < n < 3", "1 < n < 3"),
        ("n == 'x'", "n == 'x'"),
        ("n == null", "n == null"),
        ("'a' in arm.name", "arm.name"),
        ("arm.name > 1", "arm.name > 1"),
        ("-on", "-on"),
        ("candidate % 2", "candidate % 2"),
        ("n.all(x, x)", "n"),
        ("arm.labels[1]", "1"),
        ("shares['a']", "'a'"),
        ("{1.5: 2}", "1.5"),
        ("arm[arm.name]", "arm.name"),
        ("candidate / 0", "0"),
        ("arm.name.matches('(')", "'('"),
        ("size()", "size()"),
        ("percent(1, 2)", "percent(1, 2)"),
        ("candidate.size", "size"),
    ] {
        assert_eq!(problem(source).0, place, "{source}");
    }
    let predicate = Expression::parse("candidate").unwrap().predicate(&scope()).unwrap_err();
    assert_eq!(
        predicate[0].hint.as_deref(),
        Some("compare it with something, as in `x > 0`")
    );
    assert!(Expression::parse("json.ok").unwrap().predicate(&scope()).is_ok());
}

#[test]
fn a_ratio_above_one_is_doubted() {
    let warnings = |source: &str| {
        Expression::parse(source)
            .unwrap()
            .predicate(&scope())
            .unwrap()
            .warnings()
            .to_vec()
    };
    let doubted = warnings("candidate > 5");
    assert_eq!(doubted[0].hint.as_deref(), Some("did you mean `percent(5)`?"));
    assert_eq!(warnings("1 < candidate").len(), 1);
    for fine in [
        "candidate >= 1",
        "baseline > 5",
        "candidate > percent(5)",
        "candidate > 1.5 * baseline",
        "candidate / baseline > 5",
    ] {
        assert_eq!(warnings(fine), [], "{fine}");
    }
}

#[test]
fn names_of_macros_shadow_and_end_with_their_macro() {
    assert_eq!(type_of("stages.all(candidate, size(candidate.watch) > 0)"), "bool");
    assert_eq!(type_of("shares.all(s, shares.exists(t, s < t))"), "bool");
    assert_eq!(type_of("arm.labels.all(k, k.startsWith('x'))"), "bool");
    assert_eq!(problem("shares.all(s, s > 0) && s > 0").0, "s");
}

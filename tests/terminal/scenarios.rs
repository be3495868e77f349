//! Scenarios, drawn worlds and what-if replays, as people and scripts meet them.

use super::{Place, fits, repository};

/// The examples beside a place of their own, so that the names of files are short.
fn examples() -> Place {
    let place = Place::new();
    for entry in std::fs::read_dir(repository("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "ics")
        {
            std::fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    place
}

/// A scenario of the second example.
fn leak(name: &str, world: &str, expect: &str) -> String {
    format!(
        "apiVersion: meridian/v1\nkind: Scenario\nmetadata: {{name: {name}}}\nspec:\n  workflow: ./02-memory-leak.yaml\n  start: 2026-03-02T10:00:00Z\n  world: {world}\n  expect: {expect}\n"
    )
}

const LEAK: &str = "{metrics: {memory-in-90s: [{candidate: 380Mi}, {from: 25%, candidate: {ramp: {from: 500Mi, by: 100Mi, per: 1s}}}]}}";

#[test]
fn every_scenario_of_the_examples_holds() {
    let place = examples();
    let said = place.run(&["test"]);
    assert_eq!(said.code(), 0, "{}{}", said.out(), said.err());
    insta::assert_snapshot!(said.out(), @r"
    ✓ errors-in-one-of-two-regions-take-all-three-back          rolled-back after 47s             ./01-three-regions.scenarios.yaml
    ✓ a-spike-shorter-than-for-is-forgiven                      promoted after 51s                ./01-three-regions.scenarios.yaml
    ✓ too-few-requests-are-no-evidence                          held after 1h59m                  ./01-three-regions.scenarios.yaml
    ✓ an-order-that-sticks-goes-back                            rolled-back after 1m09s           ./01-three-regions.scenarios.yaml
    ✓ a-leak-is-caught-at-a-quarter                             rolled-back after 31s             ./02-memory-leak.scenarios.yaml
    ✓ the-fix-goes-everywhere                                   promoted after 1m20s              ./02-memory-leak.scenarios.yaml
    ✓ a-cache-that-fills-is-no-leak                             promoted after 1m20s              ./02-memory-leak.scenarios.yaml
    ✓ without-telemetry-nothing-advances                        promoted after 11m15s             ./02-memory-leak.scenarios.yaml
    ✓ a-crash-in-the-middle-changes-nothing                     rolled-back after 31s             ./02-memory-leak.scenarios.yaml
    ✓ the-on-call-approves-after-twenty-minutes                 promoted after 20m40s             ./03-people-and-hours.scenarios.yaml
    ✓ nobody-answers-for-a-day                                  needs-attention after 1d          ./03-people-and-hours.scenarios.yaml
    ✓ somebody-without-the-role-cannot-approve                  needs-attention after 10m20s      ./03-people-and-hours.scenarios.yaml
    ✓ a-candidate-that-fails-its-smoke-test-meets-no-user       rolled-back after 10s             ./03-people-and-hours.scenarios.yaml
    ✓ in-the-freeze-it-waits-until-january                      promoted after 9d19h              ./03-people-and-hours.scenarios.yaml
    ✓ a-platform-that-fails-for-a-minute-is-asked-again         promoted after 6m29s              ./03-people-and-hours.scenarios.yaml
    ✓ as-good-as-what-serves-goes-everywhere                    promoted after 1m13s              ./06-judged-by-evidence.scenarios.yaml
    ✓ one-in-ten-that-fails-is-proven-at-ten-percent            rolled-back after 10s             ./06-judged-by-evidence.scenarios.yaml
    ✓ without-an-error-budget-nothing-begins                    needs-attention after 1d          ./06-judged-by-evidence.scenarios.yaml
    ✓ everybody-comes-in-time                                   promoted after 1h01m              ./07-waiting-for-others.scenarios.yaml
    ✓ a-load-test-that-fails-takes-the-region-back              rolled-back after 15m17s          ./07-waiting-for-others.scenarios.yaml
    ✓ nobody-reports-and-nothing-goes-on                        held after 2h59m                  ./07-waiting-for-others.scenarios.yaml
    ✓ an-engine-that-is-gone-during-a-shift-rolls-nothing-back  promoted after 6h                 ./07-waiting-for-others.scenarios.yaml

    22 scenarios: all hold
    ");
    assert_eq!(
        said.out(),
        place.run(&["test", "."]).out(),
        "equal seeds tell equal stories"
    );
    let json = place.run(&["test", "-o", "json"]).fits("test");
    assert_eq!(json["ok"], true);
    assert!(json["scenarios"].as_array().unwrap().len() >= 15);
}

#[test]
fn a_scenario_that_does_not_hold_tells_what_was_expected_what_happened_and_how_it_ended() {
    let place = examples();
    let expect = "{outcome: promoted, within: 5s, neverAbove: {eu-west-1: 5%}, promoted: [eu-west-1, us-east-1]}";
    let text = [
        leak("a-leak-goes-out", LEAK, expect),
        leak("a-leak-is-caught", LEAK, "{outcome: rolled-back}"),
    ]
    .join("---\n");
    place.write("leaks.yaml", &text);
    let said = place.run(&["test", "leaks.yaml"]);
    assert_eq!(said.code(), 1, "{}", said.err());
    let told = said.out();
    let plan = told.lines().find(|line| line.contains("plan ")).map(str::to_owned);
    assert_eq!(plan, None, "the tail of the story leaves its beginning out");
    insta::assert_snapshot!(told, @r"
    ✗ a-leak-goes-out   rolled-back after 31s             leaks.yaml
        expected  the outcome `promoted`
        happened  `rolled-back` (gate/memory-exhaustion: candidate 1.48 GiB: candidate > Gi(1))
        expected  a decision within 5s of its start in eu-west-1
        happened  it took 25s
        expected  `eu-west-1` never above 5%
        happened  the candidate was given 25% there after 14s
        expected  exactly eu-west-1, us-east-1 promoted in the end
        happened  promoted: no region
        how it ended
          10:00:03  → eu-west-1   5%   shifting 5% to v3.2.0
          10:00:06  ◐ eu-west-1   5%   serves 5%, baking 8s
          10:00:14  ✓ eu-west-1   5%   passed: error-rate 0.1 %; memory-exhaustion 380 MiB
          10:00:14  → eu-west-1  25%   shifting 25% to v3.2.0
          10:00:15  ◐ eu-west-1  25%   serves 25%, baking 15s
          10:00:21  ✗ eu-west-1  25%   memory-exhaustion 1.08 GiB: candidate > Gi(1)
          10:00:25  ↩ run              rolls back the run (eu-west-1): gate/memory-exhaustion: candidate 1.48 GiB: candidate > Gi(1)
          10:00:25  ↩ eu-west-1        sending all traffic back to baseline
          10:00:28  ↩ eu-west-1        read back: baseline serves everything
          10:00:30  ↩ eu-west-1        removing v3.2.0
          10:00:31  ↩ eu-west-1        the candidate is removed
          10:00:31  ↩ run              rolled back: every region in scope serves its baseline
    ✓ a-leak-is-caught  rolled-back after 31s             leaks.yaml

    2 scenarios: 1 failed
    ");
    let json = place.run(&["test", "leaks.yaml", "-o", "json"]).fits("test");
    assert_eq!(
        (&json["ok"], &json["scenarios"][1]["ok"]),
        (&false.into(), &true.into())
    );
    assert!(json["scenarios"][0]["story"].as_array().unwrap().len() > 5);
    let one = place.run(&["test", "leaks.yaml", "--filter", "caught"]);
    assert_eq!(one.code(), 0, "{}", one.out());
}

#[test]
fn a_scenario_that_is_not_valid_is_told_with_its_place_and_the_others_are_played() {
    let place = examples();
    place.write("good.yaml", &leak("good", LEAK, "{outcome: rolled-back}"));
    place.write(
        "bad.yaml",
        &leak(
            "bad",
            "{metrics: {memory-in-90s: {candidate: 380}}}",
            "{outcome: rolled-bak}",
        ),
    );
    let said = place.run(&["test", "good.yaml", "bad.yaml"]);
    assert_eq!(said.code(), 2, "{}", said.out());
    assert!(
        said.err().contains("M070") && said.err().contains("did you mean `rolled-back`"),
        "{}",
        said.err()
    );
    assert!(said.out().contains("1 scenario: all hold"), "{}", said.out());
    let valid = place.run(&["validate", "bad.yaml"]);
    assert_eq!(
        (valid.code(), valid.out().as_str()),
        (2, "bad.yaml: not valid, 2 errors\n")
    );
}

#[test]
fn where_nothing_is_tested_that_is_said() {
    let place = Place::new();
    place.run(&["init"]);
    let said = place.run(&["test"]);
    assert_eq!((said.code(), said.out().as_str()), (2, ""));
    assert!(said.err().contains("kind: Scenario"), "{}", said.err());
    let filtered = examples().run(&["test", "--filter", "no such name"]);
    assert_eq!(filtered.code(), 2);
    assert!(
        filtered.err().contains("scenarios has `no such name`"),
        "{}",
        filtered.err()
    );
    assert_eq!(place.run(&["test", "nowhere"]).code(), 2);
}

#[test]
fn a_hundred_worlds_are_told_as_a_table_and_one_of_them_in_full() {
    let place = examples();
    let arguments = [
        "simulate",
        "01-three-regions.yaml",
        "--start",
        "2026-03-02T10:00:00Z",
        "--seed",
        "7",
        "--faulty",
        "50%",
    ];
    let many = |more: &[&str]| place.run(&arguments.iter().chain(more).copied().collect::<Vec<&str>>());
    let said = many(&["--runs", "100"]);
    assert_eq!(said.code(), 0, "{}", said.err());
    insta::assert_snapshot!(said.out(), @r"
    100 worlds, seeds 7 to 106
    a fault in 50% of them; people answer after 1m to 8h; numbers stray by up to 30%; engines crash in 10%

                      worlds                            p50       p90       longest
    promoted              53  █████████████             48s       3m02s     9m06s
    rolled-back           47  ███████████               50s       10m21s    10m45s

    rolled back                                         p50       p90       worst
    most of the world that met it                       55%       100%      100%
    minutes of all traffic that it served               0.2       1.0       10.1

    caught by         worlds
    gate/error-rate             27
    stuck                       12
    deadline                     8

    the first that was not promoted: meridian simulate 01-three-regions.yaml --runs 1 --faulty 50% --start 2026-03-02T10:00:00Z --seed 8
    ");
    let json = many(&["--runs", "100", "-o", "json"]).fits("worlds");
    let outcomes = json["outcomes"].as_array().unwrap();
    assert_eq!(
        outcomes
            .iter()
            .map(|outcome| outcome["worlds"].as_u64().unwrap())
            .sum::<u64>(),
        100
    );
    let back = outcomes
        .iter()
        .find(|outcome| outcome["outcome"] == "rolled-back")
        .unwrap();
    let seed = back["seeds"][0].as_u64().unwrap().to_string();
    let one = place.run(&[
        "simulate",
        "01-three-regions.yaml",
        "--start",
        "2026-03-02T10:00:00Z",
        "--seed",
        &seed,
        "--faulty",
        "50%",
        "--runs",
        "1",
    ]);
    assert_eq!(one.code(), 1, "{}{}", one.out(), one.err());
    assert!(one.out().contains("rolled back"), "{}", one.out());
}

/// A candidate with errors, watched: rolled back within seconds.
const ERRORS: &str = "
apiVersion: meridian/v1
kind: Workflow
metadata: {name: errors}
spec:
  imports: [./sandbox.yaml]
  release: registry.example.com/errors:v2
  regions:
    here: {sandbox: {serving: v1, requestsPerSecond: 100, faults: {v2: {errors: 20%}}}}
  strategies:
    watched: {watch: [error-rate], stages: [{traffic: 50%, bake: 20s}, {traffic: 100%}]}
  phases: [{name: only, regions: [here], strategy: watched}]
  gates:
    error-rate: {metric: {query: error-rate, minSamples: 20, rollbackWhen: candidate > percent(5)}, every: 1s, for: 3s}
  rollback: {scope: run, deadline: 30s, drain: 0s}
";

#[test]
fn a_past_run_is_judged_by_changed_gates_and_what_was_not_recorded_is_said() {
    let place = Place::new();
    std::fs::copy(repository("examples/sandbox.yaml"), place.path().join("sandbox.yaml")).unwrap();
    place.write("errors.yaml", ERRORS);
    let run = place.run(&["run", "errors.yaml", "--as", "ana"]);
    assert_eq!(run.code(), 1, "{}{}", run.out(), run.err());
    let against = |text: &str, more: &[&str]| {
        place.write("changed.yaml", text);
        let arguments = ["replay", "errors-0001", "--against", "changed.yaml"];
        place.run(&arguments.iter().chain(more).copied().collect::<Vec<&str>>())
    };
    let same = against(ERRORS, &["-o", "json"]).fits("against");
    assert!(
        same["gates"]
            .as_array()
            .unwrap()
            .iter()
            .all(|gate| gate["same"] == true),
        "{same:#}"
    );
    assert_eq!(same["wouldRollBack"]["at"], same["rolledBack"]["at"], "{same:#}");

    let hasty = against(&ERRORS.replace("for: 3s", "for: 0s"), &[]);
    assert_eq!(hasty.code(), 0, "{}", hasty.err());
    assert!(hasty.out().contains("earlier than it was"), "{}", hasty.out());

    let lax = against(&ERRORS.replace("percent(5)", "percent(90)"), &[]);
    assert!(
        lax.out()
            .contains("would not have rolled this run back on what it recorded"),
        "{}",
        lax.out()
    );

    let other = ERRORS
        .replace("query: error-rate, minSamples: 20", "query: memory")
        .replace("percent(5)", "Mi(1)");
    let other = against(&other, &[]);
    assert!(other.out().contains("by another query"), "{}", other.out());
    let baseline = against(&ERRORS.replace("percent(5)", "2 * baseline"), &["-o", "json"]).fits("against");
    assert!(
        baseline["gates"][0]["lacking"]["no reading of the baseline was recorded"]
            .as_u64()
            .unwrap()
            > 0
    );
    fits(&baseline, "against");
}

//! Real rollouts on the sandbox, as short as they can be.

use super::{Place, Said, fits};

/// One region, no gates that need time: about three seconds.
const QUICK: &str = "
apiVersion: meridian/v1
kind: Workflow
metadata: {name: quick}
spec:
  release: registry.example.com/quick:v2
  regions:
    here: {sandbox: {serving: v1}}
  strategies:
    quick: {stages: [{traffic: 50%, bake: 1s}, {traffic: 100%, before: [go-on]}]}
  phases: [{name: only, regions: [here], strategy: quick}]
  gates:
    go-on: {approval: {count: 1, from: [sre]}}
  rollback: {scope: run, deadline: 30s, drain: 0s}
";

/// Started, and left as soon as it waits for the approval.
fn waiting() -> Place {
    let place = Place::new();
    place.write("quick.yaml", QUICK);
    let said = place.run(&["run", "quick.yaml", "--detach-on-hold", "--as", "ana", "-o", "json"]);
    assert_eq!(said.code(), 3, "{}{}", said.out(), said.err());
    let json = said.fits("status");
    assert_eq!(json["regions"]["here"]["share"], "50%");
    assert!(
        said.err().contains("meridian approve quick-0001 go-on"),
        "{}",
        said.err()
    );
    place
}

fn taken(said: &Said) {
    assert_eq!(said.code(), 0, "{}{}", said.out(), said.err());
}

#[test]
fn a_run_waits_for_a_person_goes_on_and_can_be_read_afterwards() {
    let place = waiting();
    let why = place.run(&["why", "quick-0001"]);
    assert!(
        why.out().contains("waits for the approval `go-on`: 0 of 1 given"),
        "{}",
        why.out()
    );
    assert!(
        why.out()
            .contains("sre may answer; ana may not, having started the run."),
        "{}",
        why.out()
    );
    assert!(why.out().contains("No process drives it now"), "{}", why.out());
    let json = place.run(&["why", "quick-0001", "-o", "json"]).fits("why");
    assert_eq!(json["waits"][0]["needsPerson"], true);

    let unknown = place.run(&["approve", "quick-0001", "go-in", "--as", "ben", "--role", "sre"]);
    assert_eq!(unknown.code(), 2);
    assert!(unknown.err().contains("`go-on`"), "{}", unknown.err());
    let starter = place.run(&["approve", "quick-0001", "go-on", "--as", "ana", "--role", "sre"]);
    assert_eq!(starter.code(), 2, "the starter may not: {}", starter.out());
    taken(&place.run(&["approve", "quick-0001", "--as", "ben", "--role", "sre", "-m", "fine"]));

    let resumed = place.run(&["resume", "quick-0001"]);
    assert_eq!(resumed.code(), 0, "{}{}", resumed.out(), resumed.err());
    assert!(
        resumed
            .out()
            .contains("go-on: approved by ben (sre), unauthenticated: “fine”"),
        "{}",
        resumed.out()
    );
    assert!(
        resumed.out().contains("promoted: every region serves the candidate"),
        "{}",
        resumed.out()
    );

    let verified = place.run(&["journal", "quick-0001", "--verify"]);
    assert!(
        verified.code() == 0 && verified.out().contains("the chain holds"),
        "{}",
        verified.err()
    );
    for line in place.run(&["journal", "quick-0001", "-o", "json"]).out().lines() {
        fits(&serde_json::from_str(line).unwrap(), "journal");
    }
    let proven = place.run(&["replay", "quick-0001", "--prove"]);
    assert_eq!(proven.code(), 0, "{}{}", proven.out(), proven.err());
    let runs = place.run(&["runs", "-o", "json"]).fits("runs");
    assert_eq!(
        (&runs[0]["outcome"], &runs[0]["isDone"]),
        (&"promoted".into(), &true.into())
    );
    let unknown = place.run(&["status", "quick-001"]);
    assert_eq!(unknown.code(), 2);
    assert!(unknown.err().contains("did you mean quick-0001?"), "{}", unknown.err());
}

#[test]
fn an_abort_takes_traffic_back_although_nobody_drives_the_run() {
    let place = waiting();
    let aborted = place.run(&["abort", "quick-0001", "--reason", "enough"]);
    taken(&aborted);
    assert!(
        aborted.out().contains("aborted by tester, unauthenticated: “enough”"),
        "{}",
        aborted.out()
    );
    let json = place.run(&["status", "quick-0001", "-o", "json"]).fits("status");
    assert_eq!(
        (&json["outcome"], &json["regions"]["here"]["share"]),
        (&"rolled-back".into(), &"0%".into())
    );
    let again = place.run(&["abort", "quick-0001"]);
    assert_eq!(again.code(), 2, "{}", again.out());
    assert!(again.err().contains("does not fit run quick-0001"), "{}", again.err());
}

#[test]
fn a_journal_that_was_changed_is_not_believed() {
    let place = waiting();
    let store = place.path().join(".meridian/state.db");
    let connection = rusqlite::Connection::open(store).unwrap();
    let changed = connection
        .execute(
            "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'ana', 'eve') AS BLOB) WHERE seq = 1",
            [],
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(connection);
    let said = place.run(&["journal", "quick-0001", "--verify"]);
    assert_eq!(said.code(), 1, "{}", said.out());
    assert!(
        said.err().contains("cannot be believed from entry 1 on"),
        "{}",
        said.err()
    );
}

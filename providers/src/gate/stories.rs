//! Stories of the gates that ask programs and services: real processes, real sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::gate::{Question, RegionArms};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_engine::run::reading::Answer;
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{CommandGate, Gate, GateKind, HttpGate, Policy, Text, Workflow};
use serde_json::json;
use tokio::time::Instant;

use crate::gate::command::Command;
use crate::gate::http::Http;

struct OneSecret;

impl Secrets for OneSecret {
    fn resolve(&self, workflow: &str, name: &str) -> Result<Secret, Failure> {
        match (workflow, name) {
            ("shop", "token") => Ok(Secret::new("s3cr3t-value".into())),
            _ => Err(Failure::lasting(format!(
                "workflow `{workflow}` was not given a secret `{name}`"
            ))),
        }
    }
}

fn secrets() -> Arc<dyn Secrets> {
    Arc::new(OneSecret)
}

fn workflow() -> Workflow {
    serde_json::from_value(json!({
        "name": "shop", "labels": {}, "description": null, "inputs": {"change": "bugfix"}, "release": {"image": "shop:v2"},
        "regions": {}, "phases": [], "gates": {}, "metrics": {}, "sources": {}, "calendars": {},
        "rollback": {"scope": "run", "deadline": "60s", "drain": "30s"}, "onConflict": "queue", "schedules": [],
        "notifications": [], "notifiers": {}, "notAvailableYet": []
    }))
    .unwrap()
}

fn definition(kind: GateKind, timeout: Duration) -> Gate {
    Gate {
        kind,
        every: Duration::from_secs(30),
        breached_for: Duration::ZERO,
        initial_delay: Duration::ZERO,
        timeout,
        on_no_data: Policy::Hold,
        on_error: Policy::Hold,
        on_fail: Policy::Rollback,
        on_inconclusive: Policy::Hold,
        on_pending: Policy::Hold,
        from: Share::ZERO,
        hold_for: Duration::from_secs(60),
        dry_run: false,
    }
}

async fn asked(gate: &dyn meridian_engine::ports::gate::Gate, definition: &Gate) -> Result<Answer, Failure> {
    let (workflow, version, settings) = (workflow(), Version::named("v2"), json!({}));
    let question = Question {
        run: "shop-0001",
        workflow: &workflow,
        node: "stage:all/eu/1%",
        gate: "smoke",
        definition,
        region: Some(RegionArms {
            name: "eu",
            settings: &settings,
            candidate: Some(&version),
            baseline: None,
        }),
        window: Duration::from_secs(60),
        since: Timestamp::UNIX_EPOCH,
        now: Timestamp::UNIX_EPOCH,
    };
    gate.read(&question).await
}

async fn run(script: &str, timeout: Duration) -> Result<Answer, Failure> {
    run_program(
        &["/bin/sh", "-c", script, "sh", "${{ arm.version }} ${{ region.name }}"],
        timeout,
    )
    .await
}

async fn run_program(run: &[&str], timeout: Duration) -> Result<Answer, Failure> {
    let env = BTreeMap::from([
        ("TOKEN".to_owned(), Text::Secret("token".into())),
        ("CHANGE".to_owned(), Text::Template("${{ inputs.change }}".into())),
    ]);
    let run = run.iter().map(|&argument| argument.to_owned()).collect();
    let definition = definition(GateKind::Command(CommandGate { run, env }), timeout);
    asked(&Command::new(secrets()), &definition).await
}

fn check(answer: Result<Answer, Failure>) -> (bool, String) {
    match answer.unwrap() {
        Answer::Check { passed, detail } => (passed, detail),
        other => panic!("{other:?}"),
    }
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_exit_code_is_the_answer_and_the_last_line_is_told() {
    let (passed, detail) = check(
        run(
            "echo first; echo \"$1 $CHANGE $MERIDIAN_REGION $MERIDIAN_VERSION\"",
            LONG,
        )
        .await,
    );
    assert_eq!(
        (passed, detail.as_str()),
        (true, "`/bin/sh` exited with 0: v2 eu bugfix eu v2")
    );
    let (passed, detail) = check(run("echo fine; echo 3 of 7 checks failed >&2; exit 7", LONG).await);
    assert_eq!(
        (passed, detail.as_str()),
        (false, "`/bin/sh` exited with 7: 3 of 7 checks failed")
    );
}

#[tokio::test]
async fn a_command_sees_a_clean_environment_and_its_secrets_are_not_quoted() {
    let (_, detail) = check(run("echo \"${CARGO_MANIFEST_DIR:-clean} $TOKEN\"", LONG).await);
    assert_eq!(detail, "`/bin/sh` exited with 0: clean ***");
}

#[tokio::test]
async fn no_shell_reads_what_a_template_brings() {
    let (_, detail) = check(run_program(&["/bin/echo", "${{ '$(id)' }}; true"], LONG).await);
    assert_eq!(detail, "`/bin/echo` exited with 0: $(id); true");
}

#[tokio::test]
async fn a_command_that_gives_no_answer_is_a_failure() {
    let missing = run_program(&["/nonexistent/program"], LONG).await.unwrap_err();
    assert_eq!(missing.lasting, Lasting::Yes);
    let killed = run("kill -9 $$", LONG).await.unwrap_err();
    assert!(killed.what.contains("signal 9"), "{killed}");
    let unknown = run_program(&["/bin/echo", "${{ nothing.here }}"], LONG)
        .await
        .unwrap_err();
    assert!(unknown.what.contains("nothing"), "{unknown}");
}

#[tokio::test]
async fn a_late_command_ends_with_everything_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("trap '' TERM; sleep 600 & echo $! > {}; wait; wait", pid.display());
    let late = run(&script, Duration::from_millis(300)).await.unwrap_err();
    assert!(late.what.contains("took longer than 300ms"), "{late}");
    let child: u32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let began = Instant::now();
    while is_running(child) {
        assert!(began.elapsed() < StdDuration::from_secs(10), "{child} still runs");
        tokio::time::sleep(StdDuration::from_millis(10)).await;
    }
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A process that nobody has reaped yet is a zombie, which runs no more.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn much_output_neither_blocks_nor_fills_memory_and_a_left_child_does_not_hold_the_answer() {
    let (passed, detail) = check(run("yes x | head -c 3000000; echo; echo end", LONG).await);
    assert_eq!((passed, detail.as_str()), (true, "`/bin/sh` exited with 0: end"));
    let began = Instant::now();
    assert!(check(run("sleep 600 & echo done", LONG).await).0);
    assert!(
        began.elapsed() < StdDuration::from_secs(15),
        "the answer did not wait for what was left running"
    );
}

/// A service that answers as its path says.
async fn service() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/json", get(|| async { Json(json!({ "status": "ok", "failed": 0 })) }))
        .route("/html", get(|| async { "<html>all is well</html>" }))
        .route("/down", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "down") }))
        .route(
            "/moved",
            get(|| async { (StatusCode::FOUND, [("location", "/json")], "") }),
        )
        .route("/huge", get(|| async { format!("\"{}\"", "x".repeat(2 << 20)) }))
        .route(
            "/slow",
            get(|| async { tokio::time::sleep(StdDuration::from_secs(600)).await }),
        )
        .route(
            "/token",
            get(|headers: HeaderMap| async move { headers["x-token"].to_str().unwrap().to_owned() }),
        )
        .route("/region/eu/v2", get(|| async { Json(json!(["v2"])) }));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn get_gate(url: String, pass_when: Option<&str>, timeout: Duration) -> Result<Answer, Failure> {
    let gate = HttpGate {
        url,
        method: "GET".into(),
        headers: BTreeMap::from([("x-token".to_owned(), Text::Secret("token".into()))]),
        body: None,
        status: vec![200],
        pass_when: pass_when.map(str::to_owned),
    };
    asked(&Http::new(secrets()), &definition(GateKind::Http(gate), timeout)).await
}

#[tokio::test]
async fn a_status_and_a_condition_over_json_answer() {
    let url = service().await;
    let ask = async |path: &str, pass_when| check(get_gate(format!("{url}{path}"), pass_when, LONG).await);
    assert_eq!(ask("/json", None).await, (true, "status 200".into()));
    let condition = r#"body.status == "ok" && body.failed == 0"#;
    assert_eq!(
        ask("/json", Some(condition)).await,
        (true, format!("status 200, `{condition}` is true"))
    );
    assert!(!ask("/json", Some("body.failed > 0")).await.0);
    assert!(
        ask("/region/${{ region.name }}/${{ arm.version }}", Some("body[0] == 'v2'"))
            .await
            .0
    );
    assert_eq!(ask("/down", None).await, (false, "status 503, not 200".into()));
    assert!(!ask("/moved", Some("true")).await.0, "a redirect is not followed");
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure_and_never_a_pass() {
    let url = service().await;
    let ask =
        async |path: &str, pass_when, timeout| get_gate(format!("{url}{path}"), pass_when, timeout).await.unwrap_err();
    assert!(ask("/html", Some("body == 1"), LONG).await.what.contains("no JSON"));
    assert!(
        ask("/json", Some("body.missing == 1"), LONG)
            .await
            .what
            .contains("no answer")
    );
    assert!(ask("/huge", Some("true"), LONG).await.what.contains("1 MiB"));
    assert!(
        ask("/slow", None, Duration::from_millis(200))
            .await
            .what
            .contains("no answer within 200ms")
    );
    assert_eq!(ask("/json", Some("body +"), LONG).await.lasting, Lasting::Yes);
    let nobody = get_gate("http://127.0.0.1:1/".into(), None, LONG).await.unwrap_err();
    assert!(
        matches!(nobody.lasting, Lasting::No { .. }) && nobody.what.starts_with("no answer"),
        "{nobody}"
    );
    let scheme = get_gate("file:///etc/passwd".into(), None, LONG).await.unwrap_err();
    assert_eq!(scheme.lasting, Lasting::Yes);
}

#[tokio::test]
async fn a_secret_header_is_sent_and_not_told() {
    let url = service().await;
    let (passed, detail) = check(get_gate(format!("{url}/token"), None, LONG).await);
    assert_eq!((passed, detail.as_str()), (true, "status 200"));
}

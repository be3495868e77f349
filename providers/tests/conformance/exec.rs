//! The example provider, a program in another language, behind the provider `exec`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, On, Rig, Strike, Truth, Workshop};
use meridian_conformance::{suite, table};
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Fence, Ladder, Order, Provider, Target};
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_providers::cloud::exec::{ExecCloud, kind};
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::ProviderKind;
use meridian_workflows::workflow::Release;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How much of the platform's time is ours: a version of the example starts in five of its seconds.
const PACE: f64 = 0.02;
const START_SECONDS: f64 = 5.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_in_another_language_does_what_every_provider_does() {
    let report = suite::run(&Programs).await;
    assert_eq!(table::hold(&report), Ok(()));
}

struct Programs;

#[async_trait]
impl Workshop for Programs {
    fn name(&self) -> String {
        "exec (the example)".to_owned()
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        let place = tempfile::tempdir().map_err(|error| error.to_string())?;
        let cloud = json!({"traffic": {"v1": 100}, "versions": {"v1": 0}, "broken": {}, "fence": null, "shifted": 0, "writes": 0});
        std::fs::write(place.path().join("cloud.json"), cloud.to_string()).map_err(|error| error.to_string())?;
        Ok(Box::new(ProgramRig { place }))
    }

    fn at_once(&self) -> usize {
        2
    }
}

struct ProgramRig {
    place: TempDir,
}

/// The interpreter itself: what stands for it in `PATH` may be a script that takes its time.
fn python() -> &'static str {
    static PYTHON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PYTHON.get_or_init(|| {
        let mut command = std::process::Command::new("python3");
        let said = command
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    })
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/exec/provider.py")
}

fn faulty() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/faulty.py")
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, _: &str, name: &str) -> Result<Secret, Failure> {
        match name {
            "token" => Ok(Secret::new("s3cret".to_owned())),
            _ => Err(Failure::lasting(format!("no secret `{name}`"))),
        }
    }
}

impl ProgramRig {
    fn file(&self) -> PathBuf {
        self.place.path().join("cloud.json")
    }

    fn cloud(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.file()).unwrap()).unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut cloud = self.cloud();
        change(&mut cloud);
        std::fs::write(self.file(), cloud.to_string()).unwrap();
    }

    fn targeting(&self, file: &Path, version: &str) -> Target {
        let with = json!({"file": file, "startSeconds": START_SECONDS * PACE});
        let faults = self.place.path().join("faults.json");
        Target {
            workflow: "edge".to_owned(),
            region: "eu".to_owned(),
            settings: json!({"command": [python(), "-S", faulty(), faults, example()], "timeout": "5s", "with": with}),
            release: Release::Image(format!("registry.example.com/edge:{version}")),
            ladder: Ladder {
                rungs: super::rungs(&[10, 50, 100]),
                drain: meridian_workflows::duration::Duration::from_millis(40),
                ..Ladder::default()
            },
        }
    }
}

#[async_trait]
impl Rig for ProgramRig {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(ExecCloud::new(Arc::new(NoSecrets)))
    }

    fn target(&self) -> Target {
        self.targeting(&self.file(), "v2")
    }

    async fn truth(&self) -> Truth {
        let cloud = self.cloud();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let parts = cloud["traffic"].as_object().unwrap();
        let points = |part: &Value| Share::percent(part.as_f64().unwrap() as u16).unwrap();
        let is_ready = |version: &String| cloud["versions"][version].as_f64().is_some_and(|since| since <= now);
        let lost: u16 = parts
            .iter()
            .filter(|(v, _)| !is_ready(v))
            .map(|(_, part)| points(part).basis_points())
            .sum();
        Truth {
            candidate_share: parts.get("v2").map_or(Share::ZERO, points),
            lost: Share::from_basis_points(lost).unwrap(),
            standing: cloud["versions"]
                .as_object()
                .unwrap()
                .keys()
                .map(Version::named)
                .collect(),
            writes: cloud["writes"].as_u64(),
        }
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time.mul_f64(PACE)).await;
    }

    async fn ail(&self, ailment: Ailment) -> Offered {
        let why = match ailment {
            Ailment::CrashLoop(code) => format!("v2 ends with exit code {code}"),
            Ailment::NeverReady => "the health check of v2 fails".to_owned(),
            _ => return Offered::No("a file has nothing to run"),
        };
        self.change(|cloud| cloud["broken"]["v2"] = json!(why));
        Offered::Yes
    }

    async fn fault(&self, fault: Fault, strike: Strike) -> Offered {
        let what = match fault {
            Fault::TooManyRequests { retry_after } => json!({"later": retry_after}),
            Fault::Status(_) | Fault::Refused => json!({"exit": 75}),
            Fault::Unauthenticated | Fault::Forbidden => json!({"exit": 77}),
            Fault::Hang => json!({"hang": true}),
            Fault::Malformed => json!({"say": "<html>"}),
            Fault::AppliedWithoutAnswer => json!({"killed": true}),
            Fault::EverySecondWrite => json!({"exit": 75, "everySecond": true}),
            Fault::HalfBody => return Offered::No("a program that ends well has said all that it had to say"),
            Fault::StaleReads => return Offered::No("the example reads and writes its cloud as one"),
        };
        let on = match (fault, strike.on) {
            (Fault::EverySecondWrite, _) | (_, On::Writes) => json!(["ensure"]),
            (_, On::Reads) => json!(["identify", "observe"]),
            (_, On::All) => json!(["identify", "observe", "ensure"]),
        };
        let armed = json!({"what": what, "on": on, "skip": strike.skip, "times": strike.times, "seen": 0});
        std::fs::write(self.place.path().join("faults.json"), armed.to_string()).unwrap();
        Offered::Yes
    }

    async fn heal(&self) {
        std::fs::write(self.place.path().join("faults.json"), "{}").unwrap();
    }

    async fn meddle(&self, meddling: Meddling) -> Offered {
        self.change(|cloud| match meddling {
            Meddling::RevertTraffic => cloud["traffic"] = json!({"v1": 100}),
            Meddling::ScaleCandidateAway | Meddling::DeleteCandidate => {
                cloud["versions"].as_object_mut().unwrap().remove("v2");
            }
        });
        Offered::Yes
    }

    fn kind(&self) -> Option<ProviderKind> {
        Some(kind())
    }

    fn other_spelling(&self) -> Option<Target> {
        let dotted = self.place.path().join(".").join("cloud.json");
        Some(self.targeting(&dotted, "v2"))
    }

    fn other_target(&self) -> Option<Target> {
        Some(self.targeting(&self.place.path().join("another.json"), "v2"))
    }

    fn missing(&self) -> Option<(Target, String)> {
        let target = self.targeting(&self.place.path().join("nowhere.json"), "v2");
        Some((target, "nowhere.json".to_owned()))
    }

    fn unsound(&self) -> Vec<(Value, String)> {
        vec![
            (json!({}), "command".to_owned()),
            (json!({"command": []}), "command".to_owned()),
            (json!({"command": ["true"], "timeout": "1h"}), "timeout".to_owned()),
            (json!({"command": ["true"], "comand": 1}), "comand".to_owned()),
        ]
    }

    fn released_already(&self) -> Option<Target> {
        Some(self.targeting(&self.file(), "v1"))
    }
}

fn order() -> Order {
    let desired = Desired {
        candidate: Version::named("v2"),
        baseline: Version::named("v1"),
        state: DesiredState::Reverted,
    };
    let fence = Fence {
        claim: 1,
        epoch: 1,
        seq: 1,
    };
    Order::rehearsed(desired, fence)
}

/// What a program that is one line of Python makes of an order.
async fn ensured(line: &str, settings: Value) -> Result<Progress, Failure> {
    let mut all = json!({"command": [python(), "-S", "-c", line]});
    all.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    let rig = ProgramRig {
        place: tempfile::tempdir().unwrap(),
    };
    let target = Target {
        settings: all,
        ..rig.target()
    };
    rig.provider().ensure(&target, &order()).await
}

#[tokio::test]
async fn a_program_ends_in_its_own_way_and_is_told_so() {
    let transient = |failure: &Failure| failure.lasting != Lasting::Yes;
    let retry = |failure: &Failure| match failure.lasting {
        Lasting::No { retry_after } => retry_after,
        Lasting::Yes => None,
    };
    let settled = "print('{\"version\": 1, \"progress\": \"settled\"}')";
    assert_eq!(ensured(settled, json!({})).await, Ok(Progress::Settled));

    let busy = "import sys; print('{\"version\": 1, \"retryAfterSeconds\": 2.5}'); print('busy', file=sys.stderr); sys.exit(75)";
    let failure = ensured(busy, json!({})).await.unwrap_err();
    let soon = meridian_workflows::duration::Duration::from_millis(2_500);
    assert!(
        retry(&failure) == Some(soon) && failure.what.contains("busy"),
        "{failure:?}"
    );

    let failure = ensured("import sys; sys.exit('no such edge')", json!({}))
        .await
        .unwrap_err();
    assert!(
        !transient(&failure) && failure.what.contains("exited with 1: no such edge"),
        "{failure:?}"
    );

    let failure = ensured("print('NaN of it')", json!({})).await.unwrap_err();
    assert!(
        !transient(&failure) && failure.what.contains("`NaN of it`"),
        "{failure:?}"
    );

    let other =
        "import sys; sys.stdout.buffer.write(b'{\"version\": 1, \"progress\": \"stuck\", \"why\": \"M\\xfcnchen\"}')";
    let failure = ensured(other, json!({})).await.unwrap_err();
    assert!(
        !transient(&failure) && failure.what.contains("not UTF-8"),
        "{failure:?}"
    );

    let failure = ensured("import os; os.kill(os.getpid(), 9)", json!({}))
        .await
        .unwrap_err();
    assert!(transient(&failure) && failure.what.contains("signal 9"), "{failure:?}");

    let failure = ensured("print('x' * 2_000_000)", json!({})).await.unwrap_err();
    assert!(!transient(&failure) && failure.what.contains("1048576"), "{failure:?}");

    let failure = ensured("", json!({"command": ["/nowhere/at/all"]})).await.unwrap_err();
    assert!(
        !transient(&failure) && failure.what.contains("/nowhere/at/all"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_late_program_ends_with_all_that_it_started() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("child");
    let line = format!(
        "import subprocess, time; c = subprocess.Popen(['sleep', '600']); open({file:?}, 'w').write(str(c.pid)); time.sleep(600)"
    );
    let failure = ensured(&line, json!({"timeout": "2s"})).await.unwrap_err();
    assert!(
        failure.lasting != Lasting::Yes && failure.what.contains("longer than 2s"),
        "{failure:?}"
    );
    let child = std::fs::read_to_string(file).unwrap();
    let stat = format!("/proc/{child}/stat");
    // It is dead at once; who inherits it reaps it in its own time.
    let is_over = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    while !is_over() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_program_knows_what_is_named_and_its_secrets_are_not_quoted() {
    let line = "import os, sys; sys.exit(' '.join(sorted(os.environ)) + ' ' + os.environ['TOKEN'])";
    let env = json!({"env": {"TOKEN": {"secret": "token"}, "EDGE": "eu"}});
    let failure = ensured(line, env).await.unwrap_err();
    assert!(
        failure.what.contains("EDGE") && failure.what.contains("***"),
        "{failure}"
    );
    assert!(
        !failure.what.contains("s3cret") && !failure.what.contains("CARGO"),
        "{failure}"
    );
    let failure = ensured(line, json!({"env": {"TOKEN": {"secret": "other"}}}))
        .await
        .unwrap_err();
    assert!(
        failure.lasting == Lasting::Yes && failure.what.contains("other"),
        "{failure}"
    );
}

/// Both sides of the protocol are what the schemas say, as the example's whole suite goes over it.
#[tokio::test]
async fn requests_and_answers_are_as_described() {
    let schema = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas").join(name);
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    };
    let (request, answer) = (schema("exec-request.schema.json"), schema("exec-answer.schema.json"));
    let rig = Programs.rig().await.unwrap();
    let mut target = rig.target();
    let journal = tempfile::tempdir().unwrap();
    let heard = journal.path().join("heard.jsonl");
    let listener = "import subprocess, sys; t = sys.stdin.read(); r = subprocess.run(sys.argv[2:], input=t, text=True, \
                    capture_output=True); open(sys.argv[1], 'a').write(t.strip() + '\\n' + r.stdout); print(r.stdout)";
    target.settings["command"] = json!([python(), "-S", "-c", listener, heard, python(), "-S", example()]);
    let provider = rig.provider();
    provider.identify(&target).await.unwrap();
    provider.observe(&target).await.unwrap();
    let states = [
        DesiredState::Serving(meridian_workflows::workflow::Exposure::Traffic(Share::ZERO)),
        DesiredState::Promoted,
        DesiredState::Reverted,
        DesiredState::Withdrawn,
    ];
    for (seq, state) in (1..).zip(states) {
        let desired = Desired {
            state,
            ..order().desired().clone()
        };
        let fence = Fence {
            claim: 1,
            epoch: 1,
            seq,
        };
        provider
            .ensure(&target, &Order::rehearsed(desired, fence))
            .await
            .unwrap();
        provider.observe(&target).await.unwrap();
    }
    let late = Fence {
        claim: 0,
        epoch: 1,
        seq: 1,
    };
    let stale = provider
        .ensure(&target, &Order::rehearsed(order().desired().clone(), late))
        .await;
    assert!(matches!(stale, Ok(Progress::Stale { .. })), "{stale:?}");
    let text = std::fs::read_to_string(heard).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 22);
    for pair in lines.chunks(2) {
        for (schema, said) in [(&request, &pair[0]), (&answer, &pair[1])] {
            let errors: Vec<_> = schema.iter_errors(said).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{said}: {errors:?}");
        }
    }
}

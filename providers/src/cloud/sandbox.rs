//! The sandbox as a cloud: orders and observations over its control address.

use std::path::PathBuf;

use async_trait::async_trait;
use hyper::Method;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Fence, Observed, Order, Provider, Target, VersionState};
use meridian_engine::run::effect::{Desired, DesiredState, Observation, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{Availability, Capabilities, ProviderKind, SettingKey, SettingsReader};
use meridian_workflows::workflow::Exposure;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::optional;
use crate::sandbox::Ensured;
use crate::sandbox::address;
use crate::sandbox::client::{Client, Unanswered};
use crate::sandbox::diagnosis::Standing;
use crate::sandbox::observed;
use crate::sandbox::order::{self, Answer};
use crate::sandbox::quantity::Percent;
use crate::sandbox::record::{Key, Settings};

/// The variable that names a sandbox's address for regions whose settings do not.
pub const ADDRESS_VARIABLE: &str = "MERIDIAN_SANDBOX";

const SETTINGS: &[SettingKey] = &[
    optional(
        "address",
        "the control address of a sandbox; without one, the sandbox of this directory",
    ),
    optional("app", "the app; the workflow's name by default"),
    optional("region", "the region's name there; the same as here by default"),
    optional("serving", "the version that serves when the region is created"),
    optional("instances", "instances of each version (default 2)"),
    optional("requestsPerSecond", "generated requests a second"),
    optional(
        "faults",
        "what is wrong with which version: errors, latency, memoryLeak, crashLoop, neverReady, slowStart, stuckDeploy",
    ),
];

/// The sandbox as the language knows it.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: "sandbox",
        availability: Availability::Available,
        settings: SETTINGS,
        read: SettingsReader(|settings| {
            read(settings)?;
            Ok(Capabilities {
                mirroring: true,
                preview: true,
                ..Capabilities::splitting(1)
            })
        }),
    }
}

/// A region's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Written {
    address: Option<String>,
    app: Option<String>,
    region: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Which region of which sandbox, and what the workflow says about it.
#[derive(Debug, Clone)]
struct Place {
    address: Option<String>,
    key: Key,
    settings: Settings,
}

/// The provider `sandbox`.
#[derive(Debug)]
pub struct SandboxCloud {
    state_dir: PathBuf,
    /// What the environment says, for regions whose settings name no address.
    address: Option<String>,
    /// The client of the last call without an address of its own; looked up anew after every call that failed.
    found: Mutex<Option<Client>>,
}

impl SandboxCloud {
    /// A provider that finds its sandbox by the region's settings, by `address` (from [`ADDRESS_VARIABLE`]), or in `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>, address: Option<String>) -> Self {
        Self {
            state_dir: state_dir.into(),
            address,
            found: Mutex::new(None),
        }
    }

    async fn client(&self, place: &Place) -> Result<Client, Failure> {
        if let Some(address) = &place.address {
            return Ok(Client::new(address));
        }
        if let Some(client) = self.found.lock().clone() {
            return Ok(client);
        }
        let url = match &self.address {
            Some(address) => address.clone(),
            None => {
                let found = address::find(&self.state_dir).await;
                let none = || {
                    Failure::transient(format!(
                        "no sandbox runs in {} (start one: meridian sandbox --background)",
                        self.state_dir.display()
                    ))
                };
                found.ok_or_else(none)?.url
            }
        };
        let client = Client::new(url);
        *self.found.lock() = Some(client.clone());
        Ok(client)
    }

    async fn call(&self, place: &Place, method: Method, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let answer = self.client(place).await?.call(method, path, body).await;
        answer.map_err(|unanswered| {
            // The sandbox may come back at another address.
            *self.found.lock() = None;
            match unanswered {
                Unanswered::Address(_) => Failure::lasting(unanswered.to_string()),
                Unanswered::Connection(_) | Unanswered::TooLate(_) | Unanswered::NotJson(_) => {
                    Failure::transient(unanswered.to_string())
                }
            }
        })
    }

    /// Looks at the region; it is created when it does not exist, and takes what the workflow says about it.
    async fn visit(&self, place: &Place) -> Result<observed::Observed, Failure> {
        let settings = serde_json::to_value(&place.settings).map_err(|error| Failure::lasting(error.to_string()))?;
        match self.call(place, Method::PUT, &path(&place.key), &settings).await? {
            (200, observed) => understood(observed),
            (status, refusal) => Err(refused(&place.key, status, &refusal)),
        }
    }
}

#[async_trait]
impl Provider for SandboxCloud {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        let place = place(target)?;
        let address = place.address.map(|address| format!("{address}/")).unwrap_or_default();
        Ok(format!("sandbox:{address}{}", place.key))
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        let place = place(target)?;
        seen(&self.visit(&place).await?, target, &place.key)
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        let place = place(target)?;
        let fence = order.fence();
        let ordered = order::Order {
            fence: order::Fence {
                claim: fence.claim,
                epoch: fence.epoch,
                seq: fence.seq,
            },
            desired: desired(order.desired())?,
        };
        let ordered = serde_json::to_value(ordered).map_err(|error| Failure::lasting(error.to_string()))?;
        let path = format!("{}/ensure", path(&place.key));
        let (mut status, mut answer) = self.call(&place, Method::POST, &path, &ordered).await?;
        if status == 404 && answer["error"]["kind"] == "unknownRegion" {
            self.visit(&place).await?;
            (status, answer) = self.call(&place, Method::POST, &path, &ordered).await?;
        }
        if answer.get("outcome").is_none() {
            return Err(refused(&place.key, status, &answer));
        }
        progress(understood(answer)?, &place.key)
    }
}

fn path(key: &Key) -> String {
    format!("/apps/{}/regions/{}", key.app, key.region)
}

/// A region's settings as this provider understands them.
fn read(settings: &Value) -> Result<(Written, Settings), String> {
    let settings = if settings.is_null() {
        json!({})
    } else {
        settings.clone()
    };
    let mut written: Written = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    let rest = Value::Object(std::mem::take(&mut written.rest));
    let settings: Settings = serde_json::from_value(rest).map_err(|error| error.to_string())?;
    settings.fault().map_or(Ok((written, settings)), Err)
}

/// What a target points at.
fn place(target: &Target) -> Result<Place, Failure> {
    let region = &target.region;
    let unsound = |why: String| {
        Failure::lasting(format!(
            "the sandbox settings of region `{region}` are not sound: {why}"
        ))
    };
    let (written, settings) = read(&target.settings).map_err(unsound)?;
    let app = written.app.as_deref().unwrap_or(&target.workflow);
    let key = Key::new(app, written.region.as_deref().unwrap_or(region)).map_err(unsound)?;
    Ok(Place {
        address: written.address,
        key,
        settings,
    })
}

/// The order in the sandbox's terms. A release of what already serves has one arm, which gets everything.
fn desired(desired: &Desired) -> Result<order::Desired, Failure> {
    let Desired {
        candidate,
        baseline,
        state,
    } = desired;
    let only = |version: &Version| Ok(order::Desired::only(version.name.clone()));
    if candidate.is_same_as(baseline) {
        return only(baseline);
    }
    let arms = |share: Share, shadow: Share, idle: bool| {
        let candidate = order::Candidate {
            version: candidate.name.clone(),
            share: part(share),
            shadow: part(shadow),
            idle,
        };
        Ok(order::Desired {
            primary: baseline.name.clone(),
            candidate: Some(candidate),
        })
    };
    match state {
        DesiredState::Serving(Exposure::Traffic(share)) => arms(*share, Share::ZERO, false),
        DesiredState::Serving(Exposure::Shadow(share)) => arms(Share::ZERO, *share, false),
        DesiredState::Serving(Exposure::Audience(_)) => Err(Failure::lasting("the sandbox cannot route by audience")),
        DesiredState::Promoted => only(candidate),
        DesiredState::Reverted => arms(Share::ZERO, Share::ZERO, true),
        DesiredState::Withdrawn => only(baseline),
    }
}

fn part(share: Share) -> Percent {
    Percent::new(share.basis_points()).unwrap_or(Percent::ALL)
}

fn share(part: Percent) -> Share {
    Share::from_basis_points(part.hundredths()).unwrap_or(Share::FULL)
}

fn progress(ensured: Ensured, key: &Key) -> Result<Progress, Failure> {
    Ok(match ensured.answer {
        Answer::Applied | Answer::Repeated => match ensured.observed.standing {
            Standing::Settled => Progress::Settled,
            Standing::Moving { why } => Progress::Moving { why: Some(why) },
            Standing::Stuck { why } => Progress::Stuck { why },
        },
        Answer::Stale { last } => Progress::Stale {
            why: format!("an order with the fence {last} was applied to {key} before"),
        },
        Answer::Refused { why } => {
            return Err(Failure::lasting(format!(
                "the sandbox refuses the order for {key}: {why}"
            )));
        }
    })
}

/// What was seen, in the engine's terms.
fn seen(observed: &observed::Observed, target: &Target, key: &Key) -> Result<Observed, Failure> {
    let version = |name: &str| {
        let mut version = Version::named(name);
        version.labels.insert("app".to_owned(), key.app.clone());
        version
    };
    let candidate = version(target.release.version());
    order::check_name("version", &candidate.name).map_err(Failure::lasting)?;
    // With nothing ready there are no shares; what the proxy was told then says best who serves.
    let by_share = |v: &&observed::Version| (v.share, v.weight);
    let serving = observed
        .versions
        .iter()
        .max_by_key(by_share)
        .map(|v| version(&v.version));
    let found = observed.versions.iter().find(|v| v.version == candidate.name);
    let versions = observed.versions.iter().map(|v| VersionState {
        version: version(&v.version),
        share: share(v.share),
        instances: u32::try_from(v.instances.len()).unwrap_or(u32::MAX),
        ready: u32::try_from(v.ready).unwrap_or(u32::MAX),
    });
    let remarks = observed.diagnosis.join("; ");
    Ok(Observed {
        observation: Observation {
            serving,
            candidate_share: found.map_or(Share::ZERO, |v| share(v.share)),
            candidate,
            is_settled: observed.standing == Standing::Settled,
            diagnosis: (!remarks.is_empty()).then_some(remarks),
            candidate_digest: None,
        },
        fence: observed.fence.map(|fence| Fence {
            claim: fence.claim,
            epoch: fence.epoch,
            seq: fence.seq,
        }),
        versions: versions.collect(),
    })
}

fn understood<T: for<'de> Deserialize<'de>>(answer: Value) -> Result<T, Failure> {
    let other = |error| Failure::transient(format!("the sandbox's answer cannot be understood: {error}"));
    serde_json::from_value(answer).map_err(other)
}

fn refused(key: &Key, status: u16, refusal: &Value) -> Failure {
    let message = refusal["error"]["message"].as_str().unwrap_or("no reason given");
    let what = format!("the sandbox answers {status} for {key}: {message}");
    if status >= 500 || status == 429 {
        Failure::transient(what)
    } else {
        Failure::lasting(what)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use meridian_engine::ports::failure::Lasting;
    use meridian_engine::ports::provider::{Fence, Ladder, Order, Provider, Target};
    use meridian_engine::run::effect::{Desired, DesiredState, Progress};
    use meridian_engine::run::version::Version;
    use meridian_workflows::share::Share;
    use meridian_workflows::workflow::{Exposure, Release};
    use serde_json::{Value, json};

    use super::SandboxCloud;
    use crate::sandbox::Sandbox;
    use crate::sandbox::options::{Options, Timings};

    fn quick(dir: &Path) -> Options {
        let timings = Timings {
            drain: Duration::from_millis(30),
            // A busy machine is not a stuck deployment.
            stuck_after: Duration::from_secs(15),
            ..Timings::default().paced(0.02)
        };
        Options {
            requests_per_second: 0.0,
            timings,
            ..Options::new(dir)
        }
    }

    fn target(settings: Value) -> Target {
        let release = Release::Image("registry.example.com/shop:v2".into());
        Target {
            workflow: "shop".into(),
            region: "eu".into(),
            settings,
            release,
            ladder: Ladder::default(),
        }
    }

    fn order(seq: u64, state: DesiredState) -> Order {
        let desired = Desired {
            candidate: Version::named("v2"),
            baseline: Version::named("v1"),
            state,
        };
        Order::rehearsed(
            desired,
            Fence {
                claim: 1,
                epoch: 1,
                seq,
            },
        )
    }

    fn traffic(percent: u16) -> DesiredState {
        DesiredState::Serving(Exposure::Traffic(Share::percent(percent).unwrap()))
    }

    /// Asks again, as the engine does, until the order is no longer on its way.
    async fn arrived(cloud: &SandboxCloud, target: &Target, order: &Order) -> Progress {
        let asked = async {
            loop {
                match cloud.ensure(target, order).await.unwrap() {
                    Progress::Moving { why } => assert!(why.is_some_and(|why| !why.is_empty())),
                    progress => return progress,
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked)
            .await
            .expect("arrives in time")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_release_goes_out_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(quick(dir.path())).await.unwrap();
        let (cloud, target) = (SandboxCloud::new(dir.path(), None), target(json!({ "serving": "v1" })));
        let first = cloud.observe(&target).await.unwrap();
        assert_eq!(
            (first.fence, first.observation.serving.unwrap().name),
            (None, "v1".into())
        );
        assert_eq!(
            (
                first.observation.candidate.name.as_str(),
                first.observation.candidate_share
            ),
            ("v2", Share::ZERO)
        );

        let states = [
            (traffic(0), 0),
            (DesiredState::Serving(Exposure::Shadow(Share::FULL)), 0),
            (traffic(25), 25),
            (traffic(100), 100),
            (DesiredState::Reverted, 0),
            (traffic(50), 50),
            (DesiredState::Withdrawn, 0),
            (traffic(100), 100),
            (DesiredState::Promoted, 100),
        ];
        for (seq, (state, percent)) in (1..).zip(states) {
            assert_eq!(
                arrived(&cloud, &target, &order(seq, state.clone())).await,
                Progress::Settled,
                "{state:?}"
            );
            let observed = cloud.observe(&target).await.unwrap();
            assert_eq!(
                observed.observation.candidate_share,
                Share::percent(percent).unwrap(),
                "{state:?}"
            );
            assert_eq!(
                observed.fence,
                Some(Fence {
                    claim: 1,
                    epoch: 1,
                    seq
                })
            );
            assert!(observed.observation.is_settled);
        }
        assert_eq!(
            cloud.observe(&target).await.unwrap().observation.serving.unwrap().name,
            "v2"
        );
        sandbox.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_overtaken_order_is_stale_and_a_stuck_one_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(quick(dir.path())).await.unwrap();
        let faults = json!({ "v2": { "crashLoop": { "exitCode": 9 } } });
        let target = target(json!({ "serving": "v1", "faults": faults }));
        let cloud = SandboxCloud::new(dir.path(), None);
        let Progress::Stuck { why } = arrived(&cloud, &target, &order(5, traffic(10))).await else {
            panic!("a crash loop is stuck");
        };
        assert!(why.contains("crash loop") && why.contains("exit code 9"), "{why}");
        let back = arrived(&cloud, &target, &order(6, DesiredState::Reverted)).await;
        assert_eq!(
            back,
            Progress::Settled,
            "a broken candidate does not hold up its own rollback"
        );
        let Progress::Stale { why } = cloud.ensure(&target, &order(4, traffic(0))).await.unwrap() else {
            panic!("an older order is stale");
        };
        assert!(why.contains("(1, 1, 6)"), "{why}");
        let refused = cloud.ensure(&target, &order(6, traffic(20))).await.unwrap_err();
        assert_eq!(refused.lasting, Lasting::Yes);
        sandbox.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sandbox_that_is_away_is_transient_and_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let (cloud, target) = (SandboxCloud::new(dir.path(), None), target(json!({ "serving": "v1" })));
        let away = cloud.observe(&target).await.unwrap_err();
        assert!(
            matches!(away.lasting, Lasting::No { .. }) && away.what.contains("no sandbox runs"),
            "{away}"
        );
        for _ in 0..2 {
            let sandbox = Sandbox::start(quick(dir.path())).await.unwrap();
            assert!(cloud.observe(&target).await.is_ok());
            sandbox.stop().await;
            assert!(matches!(
                cloud.observe(&target).await.unwrap_err().lasting,
                Lasting::No { .. }
            ));
        }
    }

    #[tokio::test]
    async fn settings_that_are_not_sound_are_lasting_and_spellings_of_one_target_are_one() {
        let cloud = SandboxCloud::new("/nonexistent", None);
        for settings in [
            json!({ "instances": 0 }),
            json!({ "fault": {} }),
            json!({ "app": "a/b" }),
            json!([]),
        ] {
            let failure = cloud.observe(&target(settings)).await.unwrap_err();
            assert!(
                failure.lasting == Lasting::Yes && failure.what.contains("`eu`"),
                "{failure}"
            );
        }
        let named = cloud
            .identify(&target(json!({ "app": "shop", "region": "eu" })))
            .await
            .unwrap();
        assert_eq!(named, cloud.identify(&target(json!({ "instances": 3 }))).await.unwrap());
        assert_ne!(named, cloud.identify(&target(json!({ "region": "us" }))).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn releasing_what_already_serves_moves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(quick(dir.path())).await.unwrap();
        let (cloud, target) = (SandboxCloud::new(dir.path(), None), target(json!({ "serving": "v2" })));
        let same = |seq, state| {
            let desired = Desired {
                candidate: Version::named("v2"),
                baseline: Version::named("v2"),
                state,
            };
            Order::rehearsed(
                desired,
                Fence {
                    claim: 1,
                    epoch: 1,
                    seq,
                },
            )
        };
        cloud.observe(&target).await.unwrap();
        for (seq, state) in (1..).zip([traffic(0), traffic(5), DesiredState::Promoted, DesiredState::Withdrawn]) {
            assert_eq!(arrived(&cloud, &target, &same(seq, state)).await, Progress::Settled);
        }
        assert_eq!(
            cloud.observe(&target).await.unwrap().observation.candidate_share,
            Share::FULL
        );
        sandbox.stop().await;
    }
}

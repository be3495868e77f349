//! What is said on stdin and stdout: version 1 of the protocol, described in `docs/schemas/exec-request.schema.json` and
//! `exec-answer.schema.json`.

use std::collections::BTreeMap;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Fence, Observed, Order, Target, VersionState};
use meridian_engine::run::effect::{Desired, Observation, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{Exposure, Release};
use serde::{Deserialize, Serialize};

use super::settings::Settings;

const VERSION: u8 = 1;

/// Characters of a target's name: it stands in a table of claims and in messages.
const IDENTITY_CHARS_MAX: usize = 512;

/// No cloud is asked to wait longer before it is asked again.
const RETRY_AFTER_SECONDS_MAX: f64 = 3_600.0;

/// What is asked.
pub enum Verb<'a> {
    Identify,
    Observe,
    Ensure(&'a Order),
}

impl Verb<'_> {
    fn name(&self) -> &'static str {
        match self {
            Verb::Identify => "identify",
            Verb::Observe => "observe",
            Verb::Ensure(_) => "ensure",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    version: u8,
    verb: &'static str,
    target: AskedTarget<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<AskedOrder<'a>>,
    /// How long the program has.
    timeout_seconds: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AskedTarget<'a> {
    workflow: &'a str,
    region: &'a str,
    with: &'a serde_json::Value,
    release: &'a Release,
    /// The release's short name, as people and telemetry use it.
    release_name: &'a str,
    ladder: AskedLadder<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AskedLadder<'a> {
    rungs: Vec<AskedRung<'a>>,
    bake_seconds: f64,
    drain_seconds: f64,
    keep_baseline_seconds: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AskedRung<'a> {
    exposure: &'a Exposure,
    bake_seconds: f64,
}

#[derive(Serialize)]
struct AskedOrder<'a> {
    fence: Fence,
    desired: &'a Desired,
}

impl<'a> Request<'a> {
    pub fn new(target: &'a Target, settings: &'a Settings, verb: &Verb<'a>) -> Request<'a> {
        let ladder = &target.ladder;
        let rungs = ladder.rungs.iter().map(|rung| AskedRung {
            exposure: &rung.exposure,
            bake_seconds: rung.bake.as_secs_f64(),
        });
        Request {
            version: VERSION,
            verb: verb.name(),
            target: AskedTarget {
                workflow: &target.workflow,
                region: &target.region,
                with: &settings.with,
                release: &target.release,
                release_name: target.release.version(),
                ladder: AskedLadder {
                    rungs: rungs.collect(),
                    bake_seconds: ladder.bake.as_secs_f64(),
                    drain_seconds: ladder.drain.as_secs_f64(),
                    keep_baseline_seconds: ladder.keep_baseline.as_secs_f64(),
                },
            },
            order: match verb {
                Verb::Identify | Verb::Observe => None,
                Verb::Ensure(order) => Some(AskedOrder {
                    fence: order.fence(),
                    desired: order.desired(),
                }),
            },
            timeout_seconds: settings.timeout.as_secs_f64(),
        }
    }

    /// One line of JSON.
    pub fn text(&self) -> Result<String, Failure> {
        let text = serde_json::to_string(self);
        text.map_err(|error| Failure::lasting(format!("the request could not be written: {error}")))
    }
}

/// What came back.
#[derive(Debug)]
pub enum Answer {
    Identity(String),
    Observed(Box<Observed>),
    Progress(Progress),
}

/// The version again, which has been read before.
type Seen = serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaidIdentity {
    #[serde(rename = "version")]
    _version: Seen,
    identity: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaidProgress {
    #[serde(rename = "version")]
    _version: Seen,
    progress: ProgressName,
    #[serde(default)]
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum ProgressName {
    Settled,
    Moving,
    Waiting,
    Stuck,
    Stale,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaidObserved {
    #[serde(rename = "version")]
    _version: Seen,
    observed: SaidRegion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaidRegion {
    /// Null where nothing serves; left out it is a mistake.
    #[serde(deserialize_with = "present")]
    serving: Option<SaidVersion>,
    candidate: SaidVersion,
    candidate_share: Share,
    is_settled: bool,
    #[serde(default)]
    diagnosis: Option<String>,
    /// As `sha256:…`: what the candidate's instances run, where the platform tells.
    #[serde(default)]
    candidate_digest: Option<String>,
    #[serde(deserialize_with = "present")]
    fence: Option<SaidFence>,
    versions: Vec<SaidVersionState>,
}

/// A value that may be null and may not be left out.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaidVersion {
    name: String,
    #[serde(default)]
    pinned: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidFence {
    claim: u64,
    epoch: u64,
    seq: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaidVersionState {
    version: SaidVersion,
    share: Share,
    instances: u32,
    ready: u32,
}

/// *Errors*: what is wrong with the answer.
pub fn understood(text: &str, verb: &Verb<'_>) -> Result<Answer, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    of_our_version(text)?;
    match verb {
        Verb::Identify => identity(read::<SaidIdentity>(text)?.identity).map(Answer::Identity),
        Verb::Observe => {
            let said: SaidObserved = read(text)?;
            said.observed.observed().map(Box::new).map(Answer::Observed)
        }
        Verb::Ensure(_) => read::<SaidProgress>(text)?.progress().map(Answer::Progress),
    }
}

fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The version alone, whatever stands beside it.
#[derive(Deserialize)]
struct SaidVersionOnly {
    version: u64,
}

/// Read before anything else: the fields of another version mean something else, or nothing.
fn of_our_version(text: &str) -> Result<(), String> {
    match read::<SaidVersionOnly>(text)?.version {
        version if version == u64::from(VERSION) => Ok(()),
        version => Err(format!(
            "it is in version {version} of the protocol, the request is in {VERSION}"
        )),
    }
}

fn identity(identity: String) -> Result<String, String> {
    let length = identity.chars().count();
    if length == 0 || length > IDENTITY_CHARS_MAX || identity.chars().any(char::is_control) {
        return Err(format!("`identity` is 1 to {IDENTITY_CHARS_MAX} printable characters"));
    }
    Ok(identity)
}

impl SaidProgress {
    fn progress(self) -> Result<Progress, String> {
        let why = self.why.filter(|why| !why.trim().is_empty());
        let needed = |why: Option<String>| why.ok_or_else(|| "`why` is missing".to_owned());
        Ok(match self.progress {
            ProgressName::Settled if why.is_some() => return Err("`settled` has no `why`".to_owned()),
            ProgressName::Settled => Progress::Settled,
            ProgressName::Moving => Progress::Moving { why },
            ProgressName::Waiting => Progress::Waiting { why: needed(why)? },
            ProgressName::Stuck => Progress::Stuck { why: needed(why)? },
            ProgressName::Stale => Progress::Stale { why: needed(why)? },
        })
    }
}

impl SaidVersion {
    fn version(self) -> Result<Version, String> {
        if self.name.is_empty() || self.pinned.as_deref() == Some("") {
            return Err("a version's `name` or `pinned` is empty".to_owned());
        }
        Ok(Version {
            pinned: self.pinned.unwrap_or_else(|| self.name.clone()),
            name: self.name,
            labels: self.labels,
        })
    }
}

impl SaidRegion {
    fn observed(self) -> Result<Observed, String> {
        let candidate = self.candidate.version()?;
        let mut versions = Vec::new();
        for said in self.versions {
            if said.ready > said.instances {
                return Err(format!("{} of {} instances are ready", said.ready, said.instances));
            }
            versions.push(VersionState {
                version: said.version.version()?,
                share: said.share,
                instances: said.instances,
                ready: said.ready,
            });
        }
        let sum: u32 = versions.iter().map(|state| u32::from(state.share.basis_points())).sum();
        if sum > u32::from(Share::FULL.basis_points()) {
            return Err("the shares of `versions` come to more than 100%".to_owned());
        }
        let listed = versions.iter().find(|state| state.version.is_same_as(&candidate));
        if let Some(listed) = listed.filter(|state| state.share != self.candidate_share) {
            let (told, share) = (self.candidate_share, listed.share);
            return Err(format!(
                "`candidateShare` is {told}, and `versions` gives the candidate {share}"
            ));
        }
        Ok(Observed {
            observation: Observation {
                serving: self.serving.map(SaidVersion::version).transpose()?,
                candidate,
                candidate_share: self.candidate_share,
                is_settled: self.is_settled,
                diagnosis: self.diagnosis.filter(|diagnosis| !diagnosis.trim().is_empty()),
                candidate_digest: self.candidate_digest.filter(|digest| !digest.trim().is_empty()),
            },
            fence: self
                .fence
                .map(|SaidFence { claim, epoch, seq }| Fence { claim, epoch, seq }),
            versions,
        })
    }
}

/// What a program may say when it ends as transient.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SaidLater {
    version: u8,
    retry_after_seconds: f64,
}

/// When to ask again, where a program that ends as transient says so; it need not.
pub fn retry_after(text: &str) -> Option<Duration> {
    let said: SaidLater = serde_json::from_str(text).ok()?;
    let is_sound = said.version == VERSION && (0.0..=RETRY_AFTER_SECONDS_MAX).contains(&said.retry_after_seconds);
    // Between nothing and an hour: neither sign nor size is lost.
    is_sound.then(|| Duration::from_millis((said.retry_after_seconds * 1_000.0) as u64))
}

#[cfg(test)]
mod tests {
    use meridian_engine::ports::provider::{Fence, Order};
    use meridian_engine::run::effect::{Desired, DesiredState, Progress};
    use meridian_engine::run::version::Version;

    use super::{Answer, Verb, understood};

    fn order() -> Order {
        let desired = Desired {
            candidate: Version::named("v2"),
            baseline: Version::named("v1"),
            state: DesiredState::Promoted,
        };
        let fence = Fence {
            claim: 1,
            epoch: 1,
            seq: 1,
        };
        Order::rehearsed(desired, fence)
    }

    #[test]
    fn an_answer_is_read_strictly() {
        let order = order();
        let (look, ensure) = (Verb::Observe, Verb::Ensure(&order));
        let region = |rest: &str| {
            format!(
                r#"{{"version": 1, "observed": {{"serving": {{"name": "v1"}}, "candidate": {{"name": "v2"}}, "fence": null, "isSettled": true, {rest}}}}}"#
            )
        };
        let one = |share: &str, ready: u32| {
            format!(r#"[{{"version": {{"name": "v2"}}, "share": "{share}", "instances": 1, "ready": {ready}}}]"#)
        };
        let good = region(&format!(r#""candidateShare": "10%", "versions": {}"#, one("10%", 1)));
        assert!(understood(&good, &look).is_ok());
        for (text, verb, word) in [
            ("", &ensure, "empty"),
            ("yes", &ensure, "expected"),
            (r#"{"version": 2, "progress": "settled"}"#, &ensure, "version 2"),
            (r#"{"version": 2, "state": {"done": true}}"#, &ensure, "version 2"),
            (r#"{"version": 300, "observed": []}"#, &look, "version 300"),
            (r#"{"progress": "settled"}"#, &ensure, "version"),
            (r#"{"version": 1, "progress": "done"}"#, &ensure, "done"),
            (r#"{"version": 1, "progress": "settled", "extra": 1}"#, &ensure, "extra"),
            (r#"{"version": 1, "progress": "stuck"}"#, &ensure, "why"),
            (r#"{"version": 1, "progress": "settled"} more"#, &ensure, "trailing"),
            (r#"{"version": 1, "identity": ""}"#, &Verb::Identify, "identity"),
            (&region(r#""candidateShare": NaN, "versions": []"#), &look, "expected"),
            (&region(r#""candidateShare": 10, "versions": []"#), &look, "10"),
            (&region(r#""candidateShare": "110%", "versions": []"#), &look, "110%"),
            (&region(r#""candidateShare": "10%""#), &look, "versions"),
            (
                &region(&format!(r#""candidateShare": "20%", "versions": {}"#, one("10%", 1))),
                &look,
                "candidateShare",
            ),
            (
                &region(&format!(r#""candidateShare": "10%", "versions": {}"#, one("10%", 2))),
                &look,
                "instances",
            ),
        ] {
            let why = understood(text, verb).unwrap_err();
            assert!(why.contains(word), "{text}: {why}");
        }
        let moving = understood(r#"{"version": 1, "progress": "moving", "why": "slow"}"#, &ensure);
        assert!(matches!(
            moving,
            Ok(Answer::Progress(Progress::Moving { why: Some(_) }))
        ));
    }
}

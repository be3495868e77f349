//! A provider for the cloud in memory that does everything right, but for one mistake that it can be given.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Fence, Observed, Order, Provider, Target, VersionState};
use meridian_engine::run::effect::{DesiredState, Observation, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde_json::Value;

use super::platform::{Platform, Refusal, State};
use meridian_conformance::rig::Ailment;

const CALL_MAX: Duration = Duration::from_secs(10);

/// One thing that a provider gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    IgnoresFences,
    ComparesClaimsOnly,
    ComparesNumbersOnly,
    ForgetsTheFence,
    KeepsTheFenceToItself,
    Waits,
    NeverGivesUp,
    RaisesBeforeReady,
    BelievesTheFirstReady,
    SettlesOnWriting,
    SettlesFromMemory,
    TakesCapacityFirst,
    RetiresTheBaselineFirst,
    DeploysAgain,
    WritesEveryTime,
    OvershootsOnTheWay,
    RoundsUp,
    RevertWaitsForTheCandidate,
    CannotUndoPromotion,
    LeavesTheCandidate,
    DrainsFirst,
    RemembersInProcess,
    NeverStuck,
    SaysNothingOfUse,
    HidesTheDiagnosis,
    EverythingIsTransient,
    EverythingIsLasting,
    ForgetsWhenToRetry,
    TakesErrorsForRest,
    IgnoresFailedWrites,
    NamesEachSpelling,
    NamesEachRelease,
    NamesAllAlike,
    TakesAnySettings,
    MissingIsTransient,
    MissingIsMade,
    WritesWhileLooking,
    TellsWhatWasOrdered,
    TellsNoBaseline,
    SaysYesToEverything,
    MirrorsAreLive,
    RetiresWhatServes,
    DoesNotNoticeOthers,
    StuckOnSecondPromotion,
}

pub struct Model {
    pub platform: Arc<Platform>,
    pub mistake: Option<Mistake>,
    /// What no provider should keep.
    pub kept: parking_lot::Mutex<Option<Duration>>,
}

pub const SETTINGS: [&str; 2] = ["target", "note"];

/// The model's settings, as the language reads them.
pub fn read(settings: &Value) -> Result<String, String> {
    let settings = settings.as_object().ok_or("the settings are a map")?;
    if let Some(other) = settings.keys().find(|key| !SETTINGS.contains(&key.as_str())) {
        return Err(format!("unknown key `{other}`"));
    }
    let target = settings.get("target").and_then(Value::as_str);
    Ok(target.ok_or("`target` is a name")?.trim().to_owned())
}

impl Model {
    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn place(&self, target: &Target) -> Result<String, Failure> {
        let place = match read(&target.settings) {
            Err(_) if self.has(Mistake::TakesAnySettings) => "shop".to_owned(),
            read => read.map_err(Failure::lasting)?,
        };
        match place.as_str() {
            "nowhere" if self.has(Mistake::MissingIsTransient) => Err(Failure::transient("there is no `nowhere`")),
            "nowhere" if !self.has(Mistake::MissingIsMade) => Err(Failure::lasting("there is no `nowhere`")),
            _ => Ok(place),
        }
    }

    fn failure(&self, refusal: Refusal) -> Failure {
        let failure = refusal.failure();
        match self.mistake {
            Some(Mistake::EverythingIsTransient) => Failure::transient(failure.what),
            Some(Mistake::EverythingIsLasting) => Failure::lasting(failure.what),
            Some(Mistake::ForgetsWhenToRetry) if failure.lasting != Lasting::Yes => Failure::transient(failure.what),
            _ => failure,
        }
    }

    async fn state(&self) -> Result<State, Failure> {
        let read = self.platform.read();
        if self.has(Mistake::NeverGivesUp) {
            return read.await.map_err(|refusal| self.failure(refusal));
        }
        match tokio::time::timeout(CALL_MAX, read).await {
            Ok(Err(_)) if self.has(Mistake::TakesErrorsForRest) => Ok(self.platform.state()),
            Ok(read) => read.map_err(|refusal| self.failure(refusal)),
            Err(_) => Err(Failure::transient("the cloud says nothing")),
        }
    }

    async fn write(&self, state: &State, change: impl FnOnce(&mut State)) -> Result<State, Failure> {
        let write = self.platform.write(state.revision, change);
        if self.has(Mistake::NeverGivesUp) {
            return write.await.map_err(|refusal| self.failure(refusal));
        }
        match tokio::time::timeout(CALL_MAX, write).await {
            Ok(Err(_)) if self.has(Mistake::IgnoresFailedWrites) => Ok(state.clone()),
            Ok(written) => written.map_err(|refusal| self.failure(refusal)),
            Err(_) => Err(Failure::transient("the cloud says nothing")),
        }
    }

    fn is_behind(&self, ordered: Fence, shown: Fence) -> bool {
        match self.mistake {
            Some(Mistake::IgnoresFences) => false,
            Some(Mistake::ComparesClaimsOnly) => ordered.claim < shown.claim,
            Some(Mistake::ComparesNumbersOnly) => ordered.seq < shown.seq,
            _ => ordered < shown,
        }
    }

    async fn order(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        self.place(target)?;
        let mut state = self.state().await?;
        if let Some(shown) = state.fence.filter(|shown| self.is_behind(order.fence(), *shown)) {
            return Ok(Progress::Stale {
                why: format!("{shown} was first"),
            });
        }
        let desired = order.desired();
        let is_new = state.fence != Some(order.fence());
        if self.has(Mistake::SettlesFromMemory) && !is_new && state.is_acting() {
            return Ok(Progress::Settled);
        }
        if is_new && !self.has(Mistake::KeepsTheFenceToItself) {
            state = self.write(&state, |state| state.fence = Some(order.fence())).await?;
        }
        if desired.candidate.is_same_as(&desired.baseline) {
            if self.has(Mistake::RetiresWhatServes) && desired.state == DesiredState::Promoted {
                self.write(&state, |state| state.remove(&desired.baseline.name)).await?;
            }
            return Ok(Progress::Settled);
        }
        let names = Names {
            candidate: &desired.candidate.name,
            baseline: &desired.baseline.name,
            is_new,
            drain: Duration::from_millis(target.ladder.drain.as_millis()),
        };
        match &desired.state {
            DesiredState::Serving(Exposure::Traffic(share)) => self.serve(&state, &names, *share, Share::ZERO).await,
            DesiredState::Serving(Exposure::Shadow(share)) if self.has(Mistake::MirrorsAreLive) => {
                self.serve(&state, &names, *share, Share::ZERO).await
            }
            DesiredState::Serving(Exposure::Shadow(share)) => self.serve(&state, &names, Share::ZERO, *share).await,
            DesiredState::Serving(Exposure::Audience(_)) if self.has(Mistake::SaysYesToEverything) => {
                Ok(Progress::Settled)
            }
            DesiredState::Serving(Exposure::Audience(_)) => Err(Failure::lasting("the model knows no audiences")),
            DesiredState::Promoted => self.promote(&state, &names).await,
            DesiredState::Reverted => self.revert(&state, &names, true).await,
            DesiredState::Withdrawn => self.revert(&state, &names, false).await,
        }
    }

    async fn serve(&self, state: &State, names: &Names<'_>, share: Share, mirror: Share) -> Result<Progress, Failure> {
        let again = self.has(Mistake::DeploysAgain) && names.is_new && share.is_zero() && mirror.is_zero();
        if state.deployment(names.candidate).is_none() || again {
            self.write(state, |state| state.deploy(names.candidate)).await?;
            return moving("the candidate starts");
        }
        if share < state.weight {
            self.write(state, |state| state.weigh(share)).await?;
            return moving("traffic goes back");
        }
        if state.deployment(names.baseline).is_none() {
            self.write(state, |state| state.deploy(names.baseline)).await?;
            return moving("the baseline starts");
        }
        if let Some(unready) = self.unready(state, names.candidate) {
            return Ok(unready);
        }
        if state.mirrored != mirror {
            self.write(state, |state| state.mirrored = mirror).await?;
            return moving("traffic is mirrored");
        }
        let goal = match self.mistake {
            Some(Mistake::RoundsUp) if !share.is_zero() => Share::FULL,
            Some(Mistake::OvershootsOnTheWay) if !share.is_zero() && state.weight.is_zero() => Share::FULL,
            _ => share,
        };
        self.weighted(state, goal).await
    }

    /// Why capacity is not to be believed in yet.
    fn unready(&self, state: &State, version: &str) -> Option<Progress> {
        let is_ready = match self.mistake {
            Some(Mistake::RaisesBeforeReady) => true,
            Some(Mistake::BelievesTheFirstReady) => state.is_ready(version),
            Some(Mistake::DoesNotNoticeOthers) if !state.weight.is_zero() => true,
            _ => state.is_stable(version),
        };
        if is_ready {
            return None;
        }
        Some(match diagnosis(state, version) {
            Some(_) if self.has(Mistake::NeverStuck) => Progress::Moving {
                why: Some("it starts".to_owned()),
            },
            Some(_) if self.has(Mistake::SaysNothingOfUse) => Progress::Stuck {
                why: "it did not work".to_owned(),
            },
            Some(why) => Progress::Stuck { why },
            None => Progress::Moving {
                why: Some(format!("{version} starts")),
            },
        })
    }

    async fn weighted(&self, state: &State, goal: Share) -> Result<Progress, Failure> {
        if state.weight != goal {
            if self.has(Mistake::DoesNotNoticeOthers) && !goal.is_zero() && state.weight.is_zero() && !state.is_acting()
            {
                return Ok(Progress::Settled);
            }
            self.write(state, |state| state.weigh(goal)).await?;
            if self.has(Mistake::SettlesOnWriting) {
                return Ok(Progress::Settled);
            }
            return moving("traffic shifts");
        }
        if self.has(Mistake::WritesEveryTime) {
            self.write(state, |_| {}).await?;
        }
        if state.is_acting() {
            Ok(Progress::Settled)
        } else {
            moving("traffic shifts")
        }
    }

    async fn promote(&self, state: &State, names: &Names<'_>) -> Result<Progress, Failure> {
        if state.primary == names.candidate && self.has(Mistake::StuckOnSecondPromotion) && names.is_new {
            return Ok(Progress::Stuck {
                why: "it is promoted".to_owned(),
            });
        }
        if self.has(Mistake::RetiresTheBaselineFirst) && state.deployment(names.baseline).is_some() {
            self.write(state, |state| state.remove(names.baseline)).await?;
            return moving("the baseline is retired");
        }
        if state.deployment(names.candidate).is_none() {
            self.write(state, |state| state.deploy(names.candidate)).await?;
            return moving("the candidate starts");
        }
        if let Some(unready) = self.unready(state, names.candidate) {
            return Ok(unready);
        }
        let weighted = self.weighted(state, Share::FULL).await?;
        if weighted != Progress::Settled {
            return Ok(weighted);
        }
        if state.primary != names.candidate {
            let promoted = |state: &mut State| state.primary = names.candidate.to_owned();
            self.write(state, promoted).await?;
            return moving("the candidate becomes the baseline");
        }
        if state.deployment(names.baseline).is_some() {
            self.write(state, |state| state.remove(names.baseline)).await?;
            return moving("the old version is retired");
        }
        Ok(Progress::Settled)
    }

    async fn revert(&self, state: &State, names: &Names<'_>, keeps: bool) -> Result<Progress, Failure> {
        if state.deployment(names.baseline).is_none() {
            if self.has(Mistake::CannotUndoPromotion) {
                return Ok(Progress::Stuck {
                    why: "the baseline is gone".to_owned(),
                });
            }
            self.write(state, |state| state.deploy(names.baseline)).await?;
            return moving("the baseline comes back");
        }
        if let Some(unready) = self.unready(state, names.baseline) {
            return Ok(unready);
        }
        if self.has(Mistake::RevertWaitsForTheCandidate)
            && let Some(unready) = state
                .deployment(names.candidate)
                .and_then(|c| self.unready(state, &c.version))
        {
            return Ok(unready);
        }
        let is_standing = state.deployment(names.candidate).is_some();
        if self.has(Mistake::TakesCapacityFirst) && !keeps && is_standing {
            self.write(state, |state| state.remove(names.candidate)).await?;
            return moving("the candidate goes");
        }
        if self.has(Mistake::DrainsFirst) && state.weight > Share::ZERO {
            return self.drained(state, names).await;
        }
        let weighted = self.weighted(state, Share::ZERO).await?;
        if weighted != Progress::Settled {
            return Ok(weighted);
        }
        if state.primary != names.baseline {
            self.write(state, |state| state.primary = names.baseline.to_owned())
                .await?;
            return moving("the baseline is the baseline again");
        }
        if keeps || !is_standing || self.has(Mistake::LeavesTheCandidate) {
            return Ok(Progress::Settled);
        }
        self.drained_away(state, names).await
    }

    /// Takes the candidate away once its connections had time to end; when that began stands on the platform.
    async fn drained_away(&self, state: &State, names: &Names<'_>) -> Result<Progress, Failure> {
        let since = match self.mistake {
            Some(Mistake::RemembersInProcess) => Some(*self.kept.lock().get_or_insert(state.now)),
            _ => state.draining_since,
        };
        match since {
            None => {
                self.write(state, |state| state.draining_since = Some(state.now))
                    .await?;
                moving("the candidate drains")
            }
            Some(since) if state.now - since < names.drain => moving("the candidate drains"),
            Some(_) => {
                let forgets = self.has(Mistake::ForgetsTheFence);
                let gone = |state: &mut State| {
                    state.remove(names.candidate);
                    state.draining_since = None;
                    if forgets {
                        state.fence = None;
                    }
                };
                self.write(state, gone).await?;
                moving("the candidate goes")
            }
        }
    }

    /// The wrong way round: waits for connections to end while new ones come.
    async fn drained(&self, state: &State, names: &Names<'_>) -> Result<Progress, Failure> {
        match state.draining_since {
            None => {
                self.write(state, |state| state.draining_since = Some(state.now))
                    .await?;
            }
            Some(since) if state.now - since < names.drain => {}
            Some(_) => {
                let back = |state: &mut State| {
                    state.draining_since = None;
                    state.weigh(Share::ZERO);
                };
                self.write(state, back).await?;
            }
        }
        moving("the candidate drains")
    }

    fn told(&self, state: &State, candidate: &str) -> (bool, Option<String>) {
        let diagnosis = diagnosis(state, candidate);
        let is_settled = state.is_acting() && diagnosis.is_none();
        match self.mistake {
            Some(Mistake::HidesTheDiagnosis) => (is_settled, None),
            _ => (is_settled, diagnosis),
        }
    }
}

struct Names<'a> {
    candidate: &'a str,
    baseline: &'a str,
    /// The platform had not seen the order before.
    is_new: bool,
    drain: Duration,
}

fn moving(why: &str) -> Result<Progress, Failure> {
    Ok(Progress::Moving {
        why: Some(why.to_owned()),
    })
}

fn diagnosis(state: &State, version: &str) -> Option<String> {
    let ailment = state.deployment(version)?.ailment?;
    Some(match ailment {
        Ailment::ImageMissing => format!("the image of {version} cannot be pulled"),
        Ailment::CrashLoop(code) => format!("{version} ends with exit code {code}, again and again"),
        Ailment::FlappingReady => format!("{version} is ready and crashes"),
        Ailment::OutOfMemory => format!("{version} is out of memory"),
        Ailment::NeverReady => format!("the health check of {version} fails"),
        Ailment::Unschedulable => format!("no machine has room for {version}"),
        Ailment::QuotaExceeded => format!("{version} exceeds the quota"),
    })
}

#[async_trait]
impl Provider for Model {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        let place = self.place(target)?;
        Ok(match self.mistake {
            Some(Mistake::NamesEachSpelling) => target.settings.to_string(),
            Some(Mistake::NamesEachRelease) => format!("{place}@{}", target.release.version()),
            Some(Mistake::NamesAllAlike) => "model".to_owned(),
            _ => format!("model:{place}"),
        })
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        self.place(target)?;
        let state = self.state().await?;
        if self.has(Mistake::WritesWhileLooking) {
            self.write(&state, |_| {}).await?;
        }
        let candidate = Version::named(target.release.version());
        let share = match self.mistake {
            Some(Mistake::TellsWhatWasOrdered) => state.weight,
            _ => state.acting,
        };
        let others = state
            .deployments
            .iter()
            .find(|deployment| deployment.version != candidate.name);
        let serves = match others {
            Some(other) if share <= Share::percent(50).unwrap() && state.primary != candidate.name => {
                other.version.clone()
            }
            _ if share.is_full() => candidate.name.clone(),
            _ => state.primary.clone(),
        };
        let versions = state.deployments.iter().map(|deployment| VersionState {
            version: Version::named(&deployment.version),
            share: if deployment.version == candidate.name {
                share
            } else {
                Share::ZERO
            },
            instances: 1,
            ready: u32::from(deployment.ready_since.is_some()),
        });
        let versions = versions.collect();
        let (is_settled, diagnosis) = self.told(&state, &candidate.name);
        Ok(Observed {
            observation: Observation {
                serving: (!self.has(Mistake::TellsNoBaseline)).then(|| Version::named(serves)),
                candidate_share: share,
                is_settled,
                diagnosis,
                candidate,
                candidate_digest: None,
            },
            fence: state.fence,
            versions,
        })
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        if !self.has(Mistake::Waits) {
            return self.order(target, order).await;
        }
        loop {
            match self.order(target, order).await? {
                Progress::Moving { .. } => tokio::time::sleep(Duration::from_secs(1)).await,
                other => return Ok(other),
            }
        }
    }
}

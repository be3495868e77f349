//! Amazon ECS as a cloud of the engine: looks afresh at every call, takes one step at most, and remembers nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ecs::config::Credentials;
use jiff::Timestamp;
use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Fence, Observed, Order, Provider, Target};
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::workflow::Exposure;
use parking_lot::Mutex;

use crate::aws::Account;
use crate::aws::definitions::Definition;
use crate::fence::{self, Marks};
use crate::hand::Hand;
use crate::look::{self, Ground, Means, Native, Pair};
use crate::observed::{self, Picture};
use crate::pair;
use crate::release;
use crate::settings::{self, Place, Settings};
use crate::strategy::{self, Strategy};
use crate::{native, weights};

/// So often at most a fence is written again within a call.
const FENCE_WRITES_MAX: usize = 3;
/// Each call ends before the engine gives it up.
const CALL_MAX: Duration = Duration::from_secs(25);

/// What tells the time. Drains, kept baselines and the age of crashes are counted by it.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The provider `ecs`.
pub struct EcsCloud {
    now: Now,
    keys: Option<Credentials>,
    accounts: Mutex<HashMap<Place, Arc<Account>>>,
    /// What task definitions say. A revision never changes, so this is no memory of what goes on.
    definitions: Mutex<HashMap<String, Definition>>,
}

impl std::fmt::Debug for EcsCloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EcsCloud").finish_non_exhaustive()
    }
}

impl Default for EcsCloud {
    fn default() -> Self {
        Self::new()
    }
}

impl EcsCloud {
    /// A provider that finds credentials as every AWS tool does: environment, profile, process, container or instance role.
    pub fn new() -> EcsCloud {
        EcsCloud {
            now: Arc::new(Timestamp::now),
            keys: None,
            accounts: Mutex::new(HashMap::new()),
            definitions: Mutex::new(HashMap::new()),
        }
    }

    /// The same with another clock, for platforms whose time is not ours.
    pub fn with_clock(self, now: Now) -> EcsCloud {
        EcsCloud { now, ..self }
    }

    /// The same with keys of its own instead of those that it would find: for doubles, whose keys are no secret.
    pub fn with_keys(self, id: &str, secret: &str) -> EcsCloud {
        EcsCloud {
            keys: Some(Credentials::new(id, secret, None, None, "given")),
            ..self
        }
    }

    async fn account(&self, place: &Place) -> Arc<Account> {
        if let Some(account) = self.accounts.lock().get(place) {
            return account.clone();
        }
        let account = Arc::new(Account::open(place, self.keys.clone()).await);
        self.accounts.lock().insert(place.clone(), account.clone());
        account
    }

    /// Runs one call within its time. After a lasting failure credentials are read afresh: somebody may have mended them.
    async fn within<T>(&self, place: &Place, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let result = tokio::time::timeout(CALL_MAX, call).await;
        let result = result.unwrap_or_else(|_| Err(Failure::transient("AWS takes too long to answer")));
        if let Err(failure) = &result
            && (failure.lasting == Lasting::Yes || failure.what.contains("credentials"))
        {
            self.accounts.lock().remove(place);
        }
        result
    }

    async fn definition(&self, account: &Account, arn: &str) -> Result<Definition, Failure> {
        if let Some(known) = self.definitions.lock().get(arn) {
            return Ok(known.clone());
        }
        let definition = account.definition(arn).await?;
        self.definitions.lock().insert(arn.to_owned(), definition.clone());
        Ok(definition)
    }

    async fn look(&self, account: &Account, settings: &Settings, target: &Target) -> Result<Observed, Failure> {
        let ground = look::ground(account, settings, &target.ladder).await?;
        ground.is_one_target()?;
        ground.admits(settings, &target.ladder)?;
        let scene = Scene::look(account, settings, &ground, &[]).await?;
        scene.admits()?;
        let mut picture = scene.picture(&ground);
        if let Scene::Native(_, Strategy::BlueGreen | Strategy::Canary { .. } | Strategy::Linear { .. }) = scene {
            picture.remarks.extend(strategy::cut_short(&target.ladder));
        }
        let serving = picture.serving().map(ToOwned::to_owned);
        let serving = serving.ok_or_else(|| Failure::transient("ECS does not say yet what the service runs"))?;
        let serving = self.definition(account, &serving).await?;
        let container = settings.container.as_deref().or(ground.container());
        let candidate = release::resolve(account, settings, &target.release, &serving, container).await?;
        let mut names = BTreeMap::new();
        for running in &picture.running {
            let definition = self.definition(account, &running.task_definition).await?;
            names.insert(
                definition.arn.clone(),
                release::version(&definition, &target.release, container),
            );
        }
        names.insert(candidate.pinned.clone(), candidate.clone());
        let illness = scene
            .illness(account, settings, &ground, &candidate.pinned, (self.now)())
            .await?;
        let stands = picture
            .running
            .iter()
            .any(|running| running.task_definition == candidate.pinned);
        let digest = if stands {
            self.digest(account, settings, &ground, &candidate.pinned, container)
                .await?
        } else {
            None
        };
        Ok(picture.observed(&ground, candidate, digest, &names, illness.as_ref()))
    }

    /// The content that the candidate's tasks were given; none where its image says nothing of it.
    async fn digest(
        &self,
        account: &Account,
        settings: &Settings,
        ground: &Ground,
        candidate: &str,
        container: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let definition = self.definition(account, candidate).await?;
        let named = container.or(definition.images.first().map(|(name, _)| name.as_str()));
        let Some(container) = named else { return Ok(None) };
        let mut found = BTreeSet::new();
        for service in &ground.services {
            let name = &service.facts.name;
            found.append(&mut account.digests(&settings.cluster, name, candidate, container).await?);
        }
        let told: Vec<String> = found.into_iter().collect();
        Ok((!told.is_empty()).then(|| told.join(" and ")))
    }

    async fn carry_out(
        &self,
        account: &Account,
        settings: &Settings,
        target: &Target,
        order: &Order,
    ) -> Result<Progress, Failure> {
        let ground = look::ground(account, settings, &target.ladder).await?;
        // Before anything is written: the fence of another target's run stands there.
        if is_way_out(&order.desired().state) {
            ground.is_one_target()?;
        }
        if let Some(stale) = fenced(account, &ground, order.fence()).await? {
            return Ok(stale);
        }
        let desired = order.desired();
        let now = (self.now)();
        let candidate = desired.candidate.pinned.as_str();
        let scene = Scene::look(account, settings, &ground, &[candidate, &desired.baseline.pinned]).await?;
        if desired.state.share() >= scene.picture(&ground).share(candidate) && is_way_out(&desired.state) {
            ground.admits(settings, &target.ladder)?;
            scene.admits()?;
        }
        let illness = match desired.state {
            DesiredState::Serving(_) | DesiredState::Promoted => {
                scene.illness(account, settings, &ground, candidate, now).await?
            }
            DesiredState::Reverted | DesiredState::Withdrawn => None,
        };
        let step = match &scene {
            Scene::Native(native, strategy) => {
                let sight = native.sight(&ground, *strategy, order.fence().claim, now, illness.as_ref());
                Step::Native(native::next(&sight, desired))
            }
            Scene::Pair(pair) => {
                let sight = pair_sight(pair, &ground, target, order.fence(), now, illness.as_ref());
                Step::Pair(pair::next(&sight, desired))
            }
        };
        match &step {
            Step::Native(native::Step::Rest(progress)) | Step::Pair(pair::Step::Rest(progress)) => {
                return Ok(progress.clone());
            }
            Step::Native(_) | Step::Pair(_) => {}
        }
        // The last look before anything is changed: ECS has no compare-and-set for tags, so this is what keeps the window small.
        if let Some(stale) = overtaken(account, &ground, order.fence()).await? {
            return Ok(stale);
        }
        let hand = Hand {
            account,
            settings,
            target,
            ground: &ground,
            fence: order.fence(),
            now,
        };
        let why = match (&step, &scene) {
            (Step::Native(step), Scene::Native(native, strategy)) => hand.take(step, native, *strategy).await?,
            (Step::Pair(step), Scene::Pair(pair)) => hand.shift(step, pair).await?,
            (Step::Native(_), Scene::Pair(_)) | (Step::Pair(_), Scene::Native(..)) => None,
        };
        Ok(Progress::Moving { why })
    }
}

#[async_trait]
impl Provider for EcsCloud {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        let settings = read(target)?;
        let account = self.account(&settings.place).await;
        self.within(&settings.place, async {
            let first = account.service(&settings.cluster, &settings.service).await?.facts.arn;
            let Some(green) = &settings.green else {
                return Ok(first);
            };
            let second = account.service(&settings.cluster, green).await?.facts.arn;
            let (one, other) = if first < second {
                (first, second)
            } else {
                (second, first)
            };
            Ok(format!("{one}+{other}"))
        })
        .await
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        let settings = read(target)?;
        let account = self.account(&settings.place).await;
        self.within(&settings.place, self.look(&account, &settings, target))
            .await
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        let settings = read(target)?;
        match &order.desired().state {
            DesiredState::Serving(Exposure::Shadow(_)) => return Err(Failure::lasting("ecs cannot mirror traffic")),
            DesiredState::Serving(Exposure::Audience(_)) => {
                return Err(Failure::lasting("ecs cannot route by audience"));
            }
            DesiredState::Serving(Exposure::Traffic(_))
            | DesiredState::Promoted
            | DesiredState::Reverted
            | DesiredState::Withdrawn => {}
        }
        let account = self.account(&settings.place).await;
        self.within(&settings.place, self.carry_out(&account, &settings, target, order))
            .await
    }
}

/// Whether an order is on the way out; one for a lower share may still be on the way back.
fn is_way_out(state: &DesiredState) -> bool {
    match state {
        DesiredState::Serving(_) | DesiredState::Promoted => true,
        DesiredState::Reverted | DesiredState::Withdrawn => false,
    }
}

fn read(target: &Target) -> Result<Settings, Failure> {
    settings::read(&target.settings).map_err(|why| {
        Failure::lasting(format!(
            "the ecs settings of region `{}` are not sound: {why}",
            target.region
        ))
    })
}

/// Writes the order's fence down, unless a larger one stands there.
async fn fenced(account: &Account, ground: &Ground, fence: Fence) -> Result<Option<Progress>, Failure> {
    match ground.marks.fence {
        Some(seen) if seen > fence => return Ok(Some(stale(seen))),
        Some(seen) if seen == fence => return Ok(None),
        Some(_) | None => {}
    }
    let anchor = &ground.anchor().arn;
    for (service, beside) in ground.beside() {
        let mut marks = Vec::new();
        if !service.tags.contains_key(fence::BESIDE) {
            marks.push((fence::BESIDE, beside.to_owned()));
        }
        if service.arn == *anchor {
            marks.push((fence::FENCE, fence.to_string()));
        }
        if !marks.is_empty() {
            account.tag(&service.arn, &marks).await?;
        }
    }
    overtaken(account, ground, fence).await
}

/// Whether a larger fence has come meanwhile. A smaller one is an older owner's that was written after ours, or a read that is
/// older than ours: ours is written again, so that the older owner finds it, and nothing is done before it shows.
async fn overtaken(account: &Account, ground: &Ground, fence: Fence) -> Result<Option<Progress>, Failure> {
    let anchor = &ground.anchor().arn;
    for _ in 0..FENCE_WRITES_MAX {
        let marks = Marks::read(&account.tags(anchor).await?).map_err(Failure::lasting)?;
        match marks.fence {
            Some(seen) if seen > fence => return Ok(Some(stale(seen))),
            Some(seen) if seen == fence => return Ok(None),
            Some(_) | None => account.tag(anchor, &[(fence::FENCE, fence.to_string())]).await?,
        }
    }
    Ok(Some(Progress::Moving {
        why: Some("the order's fence does not show on the service yet".into()),
    }))
}

fn stale(seen: Fence) -> Progress {
    Progress::Stale {
        why: format!("an order with the fence {seen} was applied to the service before"),
    }
}

/// What there is beyond the services themselves, by the means that shift their traffic.
enum Scene {
    Native(Native, Strategy),
    Pair(Pair),
}

enum Step {
    Native(native::Step),
    Pair(pair::Step),
}

impl Scene {
    async fn look(
        account: &Account,
        settings: &Settings,
        ground: &Ground,
        versions: &[&str],
    ) -> Result<Scene, Failure> {
        Ok(match ground.means {
            Means::Native(strategy) => Scene::Native(look::native(account, settings, ground.first()).await?, strategy),
            Means::TaskSets | Means::TwoServices => Scene::Pair(look::pair(account, settings, ground, versions).await?),
        })
    }

    /// Whether nothing that others have put there is in the way up.
    fn admits(&self) -> Result<(), Failure> {
        match self {
            Scene::Native(..) => Ok(()),
            Scene::Pair(pair) => pair.admits(),
        }
    }

    async fn illness(
        &self,
        account: &Account,
        settings: &Settings,
        ground: &Ground,
        version: &str,
        now: Timestamp,
    ) -> Result<Option<crate::diagnosis::Illness>, Failure> {
        match self {
            Scene::Native(native, _) => {
                native
                    .illness(account, settings, &ground.first().facts, version, now)
                    .await
            }
            Scene::Pair(pair) => pair.illness(account, settings, ground, version, now).await,
        }
    }

    fn picture(&self, ground: &Ground) -> Picture {
        match self {
            Scene::Native(native, strategy) => observed::native(ground, native, *strategy),
            Scene::Pair(pair) => {
                let sum = pair.production.weights.values().copied().fold(0, u32::saturating_add);
                let weight = |slot: usize| {
                    pair.production
                        .weights
                        .get(&pair.slots[slot].target_group)
                        .copied()
                        .unwrap_or(0)
                };
                let shares = [0, 1].map(|slot| weights::share(weight(slot), sum));
                observed::pair(pair, shares, ground.means == Means::TaskSets)
            }
        }
    }
}

fn pair_sight<'a>(
    pair: &Pair,
    ground: &Ground,
    target: &'a Target,
    fence: Fence,
    now: Timestamp,
    illness: Option<&'a crate::diagnosis::Illness>,
) -> pair::Sight<'a> {
    pair::Sight {
        slots: pair.slots.clone(),
        full: pair.full,
        production: pair.production.clone(),
        test: pair.test.clone(),
        now,
        shifted: ground.marks.shifted,
        promoted: ground.marks.promoted(fence),
        ladder: &target.ladder,
        illness,
    }
}

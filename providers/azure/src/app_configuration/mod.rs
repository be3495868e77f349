//! Azure App Configuration: a feature flag's filter as the share of users on the candidate, which is the flag being on.
//!
//! Flag and fence are one key-value, written with `If-Match`: an order lands over exactly what it was decided on, or not at all.

mod audience;
mod flag;
mod kind;
mod settings;
mod signature;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration as Wait;

use async_trait::async_trait;
use azure_core::http::policies::Policy;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Fence, Observed, Order, Provider, Target, VersionState};
use meridian_engine::ports::secret::Secrets;
use meridian_engine::run::effect::{Desired, DesiredState, Observation, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use parking_lot::Mutex;

use crate::app_configuration::audience::Audience;
use crate::app_configuration::flag::{Flag, State};
use crate::app_configuration::settings::{Access, Filter, Settings};
use crate::app_configuration::signature::{Connection, Signature};
use crate::app_configuration::store::{Store, Stored, Tokens};
use crate::credentials::Services;
use crate::endpoint::Endpoint;
use crate::fence;
use crate::service::Service;

pub use kind::kind;

/// The tag that holds what was last ordered, so that a change by somebody else can be told from an order.
const ORDERED: &str = "meridian-ordered";

/// The tag that counts how often an order was put back over somebody else's change.
const REASSERTED: &str = "meridian-reasserted";

/// The tag that says whether a release is under way, which must be able to end whatever stands in the way of the next.
const OPEN: &str = "meridian-open";

/// After so many times a rising order gives in and says so: two tools that fight over a flag are worse than either.
const REASSERTED_MAX: u32 = 5;

/// How long one call may take; the engine gives thirty seconds.
const CALL_TIMEOUT: Wait = Wait::from_secs(26);

/// The provider `appConfiguration`.
pub struct AppConfiguration {
    services: Services,
    /// By store; a hint, no state.
    tokens: Mutex<HashMap<String, Arc<Tokens>>>,
}

impl AppConfiguration {
    pub fn new(secrets: Arc<dyn Secrets>) -> AppConfiguration {
        AppConfiguration {
            services: Services::new(secrets),
            tokens: Mutex::new(HashMap::new()),
        }
    }

    fn connection(&self, target: &Target, secret: &str) -> Result<Connection, Failure> {
        let text = self.services.secret(&target.workflow, secret)?;
        Connection::parse(&text).map_err(|why| Failure::lasting(format!("the secret `{secret}`: {why}")))
    }

    fn endpoint(&self, target: &Target, settings: &Settings) -> Result<Endpoint, Failure> {
        match &settings.access {
            Access::ConnectionString { secret } => Ok(self.connection(target, secret)?.endpoint),
            Access::Identity { endpoint, .. } => Ok(endpoint.clone()),
        }
    }

    fn service(&self, target: &Target, settings: &Settings) -> Result<Arc<Service>, Failure> {
        match &settings.access {
            Access::ConnectionString { secret } => {
                let text = self.services.secret(&target.workflow, secret)?;
                let Connection { endpoint, key } = self.connection(target, secret)?;
                self.services.kept(&text, || {
                    let policy: Arc<dyn Policy> = Arc::new(Signature(key));
                    Service::new(endpoint, policy)
                })
            }
            Access::Identity {
                endpoint,
                cloud,
                credentials,
            } => {
                let audience = cloud.app_configuration();
                self.services
                    .bearer(&target.workflow, endpoint, *cloud, credentials, audience)
            }
        }
    }

    fn store(&self, target: &Target, settings: &Settings, flag: &str) -> Result<Store, Failure> {
        let service = self.service(target, settings)?;
        let tokens = {
            let mut known = self.tokens.lock();
            Arc::clone(known.entry(service.endpoint.authority()).or_default())
        };
        Ok(Store::new(service, tokens, flag, settings.label.as_deref()))
    }
}

/// A target's settings and the name of its flag.
fn settings_of(target: &Target) -> Result<(Settings, String), Failure> {
    let settings = Settings::of(target).map_err(Failure::lasting)?;
    let flag = settings
        .flag
        .clone()
        .ok_or_else(|| Failure::lasting("no flag is named"))?;
    Ok((settings, flag))
}

#[async_trait]
impl Provider for AppConfiguration {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        let (settings, flag) = settings_of(target)?;
        let store = self.endpoint(target, &settings)?.authority();
        let label = settings
            .label
            .map(|label| format!("?label={label}"))
            .unwrap_or_default();
        Ok(format!("appConfiguration:{store}/{flag}{label}"))
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        let (settings, flag) = settings_of(target)?;
        for rung in &target.ladder.rungs {
            part(&rung.exposure, &settings, target)?;
        }
        let store = self.store(target, &settings, &flag)?;
        let read = within(&store, async { store.read().await.map_err(Failure::from) }).await?;
        observed(&store, &settings, &flag, read)
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        let (settings, flag) = settings_of(target)?;
        let store = self.store(target, &settings, &flag)?;
        within(&store, ensured(&store, &settings, &flag, target, order)).await
    }
}

async fn within<T>(store: &Store, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| Failure::transient(format!("{} did not answer in time", store.about));
    tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(late)?
}

/// The two versions of a flag: on and off.
fn version(flag: &str, label: Option<&str>, name: &str) -> Version {
    let label = label.map(|label| format!("@{label}")).unwrap_or_default();
    let labels = [("flag", flag), ("cohort", name)];
    Version {
        name: name.to_owned(),
        pinned: format!("{flag}{label}={name}"),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

fn fence_of(tags: &BTreeMap<String, String>) -> Result<Option<Fence>, Failure> {
    let text = tags.get(fence::TAG);
    text.map(|text| fence::parse(text).map_err(Failure::lasting))
        .transpose()
}

fn missing(store: &Store) -> Failure {
    Failure::lasting(format!(
        "{} does not exist: create it, or set `create: true`",
        store.about
    ))
}

/// A flag in the engine's terms.
fn observed(store: &Store, settings: &Settings, name: &str, read: Option<Stored>) -> Result<Observed, Failure> {
    let (stored, tags, is_locked) = match read {
        Some(stored) => (stored.flag, stored.tags, stored.is_locked),
        None if settings.create => (Flag::named(name), BTreeMap::new(), false),
        None => return Err(missing(store)),
    };
    let about = &store.about;
    let fence = fence_of(&tags)?;
    let cannot = |why: String| Failure::lasting(format!("{about} cannot be released: {why}"));
    let state = stored.state(settings.filter).map_err(cannot)?;
    let is_open = fence.is_some()
        && match tags.get(OPEN) {
            Some(open) => open == "true",
            None => matches!(state, State::Part { .. }) && !state.is_off(),
        };
    let mut remarks = Vec::new();
    let locked = is_locked.then(|| "it is locked: unlock it".to_owned());
    for why in [stored.hindrance(settings.filter), locked].into_iter().flatten() {
        if !is_open {
            return Err(cannot(why));
        }
        remarks.push(format!("{about}: {why}"));
    }
    if fence.is_none() && !state.is_off() && state != State::On {
        return Err(cannot(format!(
            "somebody else is rolling it out, at {state}: finish that, or set it to 0"
        )));
    }
    let [on, off] = ["on", "off"].map(|side| version(name, settings.label.as_deref(), side));
    let share = state.share();
    let rest = Share::from_basis_points(Share::FULL.basis_points() - share.basis_points()).unwrap_or(Share::ZERO);
    let changed = tags.get(ORDERED).filter(|ordered| **ordered != state.to_string());
    let serving = if share > rest { &on } else { &off };
    let is_settled = changed.is_none() && remarks.is_empty();
    remarks.extend(
        changed.map(|ordered| format!("somebody else changed {about}: {ordered} was ordered, it says {state}")),
    );
    let standing = |version: &Version, share| VersionState {
        version: version.clone(),
        share,
        instances: 1,
        ready: 1,
    };
    Ok(Observed {
        observation: Observation {
            serving: Some(serving.clone()),
            candidate_share: share,
            is_settled,
            candidate: on.clone(),
            diagnosis: (!remarks.is_empty()).then(|| remarks.join("; ")),
            candidate_digest: None,
        },
        fence,
        versions: vec![standing(&off, rest), standing(&on, share)],
    })
}

/// The state in which an exposure is served.
///
/// *Errors*: what the filter cannot hold, or a cohort that nobody defined.
fn part(exposure: &Exposure, settings: &Settings, target: &Target) -> Result<State, Failure> {
    let audience = match (settings.filter, exposure) {
        (_, Exposure::Shadow(_)) => return Err(Failure::lasting("a feature flag cannot mirror traffic")),
        (Filter::Percentage, Exposure::Audience(_)) => {
            return Err(Failure::lasting("an audience takes `filter: targeting`"));
        }
        (Filter::Percentage, Exposure::Traffic(_)) => Audience::default(),
        (Filter::Targeting, exposure) => {
            Audience::at(exposure, &target.ladder, &settings.cohorts).map_err(Failure::lasting)?
        }
    };
    let share = exposure.traffic();
    if !share.basis_points().is_multiple_of(settings.filter.step()) {
        return Err(Failure::lasting(format!(
            "the percentage filter takes whole percents, not {share}: use `filter: targeting`"
        )));
    }
    Ok(State::Part { share, audience })
}

/// The state that an order asks for.
fn wanted(desired: &Desired, settings: &Settings, target: &Target) -> Result<State, Failure> {
    let nobody = Audience::default();
    Ok(match &desired.state {
        DesiredState::Serving(exposure) => part(exposure, settings, target)?,
        DesiredState::Promoted => State::On,
        DesiredState::Reverted => State::Part {
            share: Share::ZERO,
            audience: nobody,
        },
        // The filter stays at 0, so that a flag that somebody enables by hand again does not come on for everybody.
        DesiredState::Withdrawn => State::Disabled {
            share: Share::ZERO,
            audience: nobody,
        },
    })
}

async fn ensured(
    store: &Store,
    settings: &Settings,
    name: &str,
    target: &Target,
    order: &Order,
) -> Result<Progress, Failure> {
    let desired = order.desired();
    let wanted = wanted(desired, settings, target)?;
    let goes_back = matches!(desired.state, DesiredState::Reverted | DesiredState::Withdrawn);
    let stood = store.read().await?;
    let (flag, mut tags, is_locked) = match &stood {
        Some(stored) => (stored.flag.clone(), stored.tags.clone(), stored.is_locked),
        // A flag that is gone is off for everybody: there is nothing to take back.
        None if goes_back => return Ok(Progress::Settled),
        None if settings.create => (Flag::named(name), BTreeMap::new(), false),
        None => return Err(missing(store)),
    };
    let (ours, theirs) = (order.fence(), fence_of(&tags)?);
    if let Some(theirs) = theirs.filter(|theirs| *theirs > ours) {
        return Ok(Progress::Stale {
            why: format!("an order with the fence {theirs} was given to {} before", store.about),
        });
    }
    let stuck = |why: String| Ok(Progress::Stuck { why });
    let state = flag.state(settings.filter);
    if desired.candidate.is_same_as(&desired.baseline) {
        return match state {
            Ok(State::On) => Ok(Progress::Settled),
            Ok(state) if state.share().is_full() => Ok(Progress::Settled),
            Ok(state) => stuck(format!(
                "{} was on for everybody, and somebody else set it to {state}",
                store.about
            )),
            Err(why) => stuck(format!("{}: {why}", store.about)),
        };
    }
    let is_repeat = theirs == Some(ours);
    let off = State::Disabled {
        share: Share::ZERO,
        audience: Audience::default(),
    };
    let is_falling = goes_back
        || match (&desired.state, &state) {
            // What brought it down to nobody, by turning it off, has arrived.
            (DesiredState::Serving(_), Ok(stands)) if stands.is_off() => {
                is_repeat && wanted.is_off() && tags.get(ORDERED) == Some(&off.to_string())
            }
            (DesiredState::Serving(_), Ok(stands)) => wanted.is_within(stands) && wanted != *stands,
            (DesiredState::Serving(_), Err(_)) => false,
            (DesiredState::Promoted | DesiredState::Reverted | DesiredState::Withdrawn, _) => false,
        };
    // Users are taken off the candidate whatever others made of the flag. Beside filters of others of which any turns it on, our
    // filter at 0 is not off; `enabled: false` is.
    let hindrance = flag.hindrance(settings.filter);
    let wanted = match &hindrance {
        Some(_) if is_falling && wanted.is_off() => off,
        Some(why) if !is_falling => return stuck(format!("{}: {why}", store.about)),
        Some(_) | None => wanted,
    };
    if is_repeat && stood.is_some() && state.as_ref() == Ok(&wanted) {
        return Ok(Progress::Settled);
    }
    if is_locked {
        return stuck(format!("{} is locked: unlock it", store.about));
    }
    // A filter that cannot be read is no way to turn a flag off, but `enabled: false` is; a rising order waits for a person.
    let next = match &state {
        Ok(_) => flag.with(&wanted, settings.filter),
        Err(_) if goes_back => flag.disabled(),
        Err(why) => return stuck(format!("{}: {why}", store.about)),
    };
    if is_repeat && state.is_err() && next == flag {
        return Ok(Progress::Settled);
    }
    let drift = is_repeat && tags.get(ORDERED) == Some(&wanted.to_string());
    let reasserted = match tags.get(REASSERTED).and_then(|count| count.parse::<u32>().ok()) {
        Some(count) if drift => count.saturating_add(1),
        None if drift => 1,
        Some(_) | None => 0,
    };
    if reasserted > REASSERTED_MAX && !is_falling {
        return stuck(format!(
            "somebody else keeps changing {}: it was put back {REASSERTED_MAX} times",
            store.about
        ));
    }
    tags.insert(fence::TAG.to_owned(), ours.to_string());
    tags.insert(ORDERED.to_owned(), wanted.to_string());
    tags.insert(REASSERTED.to_owned(), reasserted.to_string());
    let is_open = matches!(desired.state, DesiredState::Serving(_) | DesiredState::Reverted);
    tags.insert(OPEN.to_owned(), is_open.to_string());
    match store.write(&next, &tags, stood.as_ref()).await {
        Ok(()) if drift => moving(format!(
            "somebody else changed {}; it is set to {wanted} again",
            store.about
        )),
        Ok(()) => moving(format!("{} is set to {wanted}", store.about)),
        Err(trouble) if trouble.is_status(412) => {
            moving(format!("{} was changed in between; it is looked at again", store.about))
        }
        Err(trouble) => Err(trouble.failure),
    }
}

fn moving(why: String) -> Result<Progress, Failure> {
    Ok(Progress::Moving { why: Some(why) })
}

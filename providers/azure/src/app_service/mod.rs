//! Azure App Service: the candidate in a deployment slot, shares by ramp-up rules, everything by a swap.

mod act;
mod content;
mod fitness;
mod kind;
mod memory;
mod next;
mod observed;
mod preflight;
mod ramp;
mod settings;
mod site;
mod swap;
#[cfg(test)]
mod trials;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration as Wait, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Observed, Order, Provider, Target};
use meridian_engine::ports::secret::Secrets;
use meridian_engine::run::effect::Progress;
use meridian_workflows::duration::Duration;
use parking_lot::Mutex;

use crate::app_service::content::Deployable;
use crate::app_service::settings::Settings;
use crate::app_service::site::Site;
use crate::credentials::Services;
use crate::operation::Standing;
use crate::trouble::Trouble;

pub use kind::kind;

/// How long one call may take; the engine gives thirty seconds.
const CALL_TIMEOUT: Wait = Wait::from_secs(26);

/// How long the platform's answers may lie behind what was written to it.
const BEHIND_FOR: Wait = Wait::from_secs(120);

/// What time it is: a double's clock moves as its test wants.
type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The provider `appService`.
pub struct AppService {
    services: Services,
    now: Now,
    /// Which serial was last written to which site by this process, to tell an old answer from a new one.
    ///
    /// A hint, no state: it can be lost at any time, and another process has none.
    written: Mutex<HashMap<String, (u64, Instant)>>,
    /// Until when an operation asked to be left alone. A hint as well.
    resting: Mutex<HashMap<String, Timestamp>>,
}

impl AppService {
    pub fn new(secrets: Arc<dyn Secrets>) -> AppService {
        AppService {
            services: Services::new(secrets),
            now: Arc::new(Timestamp::now),
            written: Mutex::new(HashMap::new()),
            resting: Mutex::new(HashMap::new()),
        }
    }

    /// The same with another clock, for doubles whose time is not ours.
    #[must_use]
    pub fn with_clock(self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> AppService {
        AppService {
            now: Arc::new(now),
            ..self
        }
    }

    fn site(&self, target: &Target) -> Result<Site, Failure> {
        let settings = Settings::of(target).map_err(Failure::lasting)?;
        let audience = settings.cloud.resource_manager();
        let (endpoint, credentials) = (&settings.endpoint, &settings.credentials);
        let service = self
            .services
            .bearer(&target.workflow, endpoint, settings.cloud, credentials, audience)?;
        Ok(Site::new(service, settings))
    }

    /// Whether an answer with this serial is older than what this process wrote.
    fn is_behind(&self, site: &Site, serial: u64) -> bool {
        let written = self.written.lock();
        let known = written.get(&site.settings.resource());
        known.is_some_and(|(last, at)| serial < *last && at.elapsed() < BEHIND_FOR)
    }

    /// What an operation says, asked no sooner than it wants to be.
    async fn polled(&self, site: &Site, link: &str, now: Timestamp) -> Result<Option<Standing>, Trouble> {
        if self.resting.lock().get(link).is_some_and(|until| *until > now) {
            return Ok(Some(Standing::Running { retry_after: None }));
        }
        let standing = site.standing(link).await?;
        if let Some(Standing::Running { retry_after }) = &standing {
            self.rest(link, *retry_after, now);
        }
        Ok(standing)
    }

    /// Leaves an operation alone for as long as it asked.
    fn rest(&self, link: &str, retry_after: Option<Duration>, now: Timestamp) {
        let mut resting = self.resting.lock();
        resting.retain(|_, until| *until > now);
        if let Some(after) = retry_after {
            resting.insert(link.to_owned(), after.after(now));
        }
    }

    fn has_written(&self, site: &Site, serial: u64) {
        let mut written = self.written.lock();
        written.retain(|_, (_, at)| at.elapsed() < BEHIND_FOR);
        written.insert(site.settings.resource(), (serial, Instant::now()));
    }
}

#[async_trait]
impl Provider for AppService {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        let settings = Settings::of(target).map_err(Failure::lasting)?;
        // Azure's names do not tell capitals from small letters. The slot is no part: two releases through two slots of one site
        // would both swap into the same production.
        let resource = settings.resource().to_lowercase();
        Ok(format!("appService:{}{resource}", settings.endpoint.authority()))
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        let site = self.site(target)?;
        let deployable = Deployable::of(&target.release).map_err(Failure::lasting)?;
        let observed = observed::observed(self, &site, target, &deployable);
        tokio::time::timeout(CALL_TIMEOUT, observed)
            .await
            .unwrap_or_else(|_| Err(late(&site)))
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        let site = self.site(target)?;
        let ensured = act::ensured(self, &site, target, order);
        tokio::time::timeout(CALL_TIMEOUT, ensured)
            .await
            .unwrap_or_else(|_| Err(late(&site)))
    }
}

fn late(site: &Site) -> Failure {
    Failure::transient(format!(
        "the site `{}` did not answer everything within {}s",
        site.settings.site,
        CALL_TIMEOUT.as_secs()
    ))
}

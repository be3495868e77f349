//! App Service slots: the suite of behaviours against the double.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use meridian_azure::app_service::{AppService, kind};
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Truth, Workshop};
use meridian_doubles::azure;
use meridian_doubles::azure::app_service::{ArmManners, Behaviour, NewSite};
use meridian_doubles::wire::{Served, Wire};
use meridian_engine::ports::provider::{Ladder, Provider, Target};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::ProviderKind;
use meridian_workflows::workflow::Release;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{Given, rungs};

pub const CANDIDATE: &str = "registry.example.com/shop:v2";
pub const BASELINE: &str = "registry.example.com/shop:v1";

/// A site with its slot, a wire to it, and a clock that both sides go by.
pub struct Bench {
    pub tenant: Arc<azure::AppService>,
    pub served: Served,
    pub now: Arc<Mutex<Timestamp>>,
    pub preview: bool,
}

impl Bench {
    pub async fn new(preview: bool) -> Bench {
        Bench::of(NewSite::named("shop"), preview).await
    }

    pub async fn of(site: NewSite, preview: bool) -> Bench {
        let now = Arc::new(Mutex::new(Timestamp::now()));
        let tenant = azure::AppService::new();
        tenant.make(site);
        let served = Wire::serve_with(tenant.router(), ArmManners, 0).await.unwrap();
        Bench {
            tenant,
            served,
            now,
            preview,
        }
    }

    pub fn settings(&self) -> Value {
        json!({
            "subscription": "00000000-0000-0000-0000-000000000001",
            "resourceGroup": "shop",
            "site": "shop",
            "slot": "staging",
            "endpoint": self.served.url,
            "credentials": {"token": {"secret": "arm"}},
            "checks": {"health": {"url": format!("{}/-/shop-staging.azurewebsites.net/health", self.served.url)}},
            "preview": self.preview,
            "startWithin": "5m",
        })
    }

    pub fn target_of(&self, settings: Value, image: &str) -> Target {
        Target {
            workflow: "shop".to_owned(),
            region: "west-europe".to_owned(),
            settings,
            release: Release::Image(image.to_owned()),
            ladder: Ladder {
                rungs: rungs(&[10, 50, 100]),
                ..Ladder::default()
            },
        }
    }

    pub fn cloud(&self) -> AppService {
        let secrets = Given(BTreeMap::from([("arm", "a-token".to_owned())]));
        let now = Arc::clone(&self.now);
        AppService::new(Arc::new(secrets)).with_clock(move || *now.lock())
    }

    pub fn advance(&self, time: Duration) {
        self.tenant.advance(time);
        let mut now = self.now.lock();
        *now = now.checked_add(time).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_do_what_every_provider_does() {
    held(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_with_preview_do_what_every_provider_does() {
    held(true).await;
}

async fn held(preview: bool) {
    crate::held(&Slots { preview }).await;
}

struct Slots {
    preview: bool,
}

#[async_trait]
impl Workshop for Slots {
    fn name(&self) -> String {
        if self.preview {
            "appService preview"
        } else {
            "appService"
        }
        .to_owned()
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        Ok(Box::new(Bench::new(self.preview).await))
    }
}

#[async_trait]
impl Rig for Bench {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.cloud())
    }

    fn target(&self) -> Target {
        self.target_of(self.settings(), CANDIDATE)
    }

    async fn truth(&self) -> Truth {
        let standing = self.tenant.standing("shop").unwrap();
        let share = |percent: f64| Share::from_basis_points((percent * 100.0).round() as u16).unwrap();
        let version = |image: &str| Version::named(Release::Image(image.to_owned()).version());
        // A slot that was released and runs on for clients whose cookies hold them there is no capacity that anybody counts on:
        // stopping it would be an outage for them, and `ways_back` sees it stopped once their hour is over.
        let production = standing.slot("production").unwrap();
        let is_released = production
            .tags
            .get("meridian-phase")
            .is_some_and(|phase| phase.starts_with("released "));
        let now = *self.now.lock();
        let pinned_until = production.tags.get("meridian-pinned-until");
        let is_pinned = pinned_until.is_some_and(|until| until.parse::<Timestamp>().is_ok_and(|until| until > now));
        let is_kept_for_pins = is_released && is_pinned && standing.share_of(CANDIDATE) == 0.0;
        Truth {
            candidate_share: share(standing.share_of(CANDIDATE)),
            lost: share(standing.lost()),
            standing: standing
                .slots
                .iter()
                .filter(|slot| slot.ready > 0 && !(slot.slot == "staging" && is_kept_for_pins))
                .filter_map(|slot| slot.image.as_deref().map(version))
                .collect(),
            writes: Some(self.served.wire.writes()),
        }
    }

    async fn pass(&self, time: Duration) {
        self.advance(time);
    }

    async fn ail(&self, ailment: Ailment) -> Offered {
        let behaviour = match ailment {
            Ailment::ImageMissing => Behaviour::ImageMissing,
            Ailment::CrashLoop(code) => Behaviour::CrashLoop(code),
            Ailment::FlappingReady => Behaviour::Flapping,
            Ailment::OutOfMemory => Behaviour::OutOfMemory,
            Ailment::NeverReady => Behaviour::NeverReady,
            Ailment::Unschedulable => Behaviour::NoRoom,
            Ailment::QuotaExceeded => Behaviour::Quota,
        };
        self.tenant.behave(CANDIDATE, behaviour);
        Offered::Yes
    }

    async fn fault(&self, fault: Fault, strike: Strike) -> Offered {
        // What users and checks reach is not the resource manager.
        self.served
            .wire
            .fault(fault, strike, |asked| !asked.uri.path().starts_with("/-/"));
        Offered::Yes
    }

    async fn heal(&self) {
        self.served.wire.heal();
    }

    async fn meddle(&self, meddling: Meddling) -> Offered {
        match meddling {
            Meddling::RevertTraffic => self.tenant.meddle_with_rules("shop", &[]),
            Meddling::ScaleCandidateAway => self.tenant.stop("shop", "staging"),
            Meddling::DeleteCandidate => {
                self.tenant
                    .configure("shop", "staging", "linuxFxVersion", json!(format!("DOCKER|{BASELINE}")));
            }
        }
        Offered::Yes
    }

    fn kind(&self) -> Option<ProviderKind> {
        Some(kind())
    }

    fn other_spelling(&self) -> Option<Target> {
        let mut settings = self.settings();
        settings["site"] = json!("Shop");
        settings["resourceGroup"] = json!("SHOP");
        settings["preserveVnet"] = json!(true);
        Some(self.target_of(settings, CANDIDATE))
    }

    fn other_target(&self) -> Option<Target> {
        let mut settings = self.settings();
        settings["site"] = json!("shop-us");
        Some(self.target_of(settings, CANDIDATE))
    }

    fn missing(&self) -> Option<(Target, String)> {
        let mut settings = self.settings();
        settings["slot"] = json!("nowhere");
        Some((self.target_of(settings, CANDIDATE), "nowhere".to_owned()))
    }

    fn unsound(&self) -> Vec<(Value, String)> {
        let with = |key: &str, value: Value| {
            let mut settings = self.settings();
            settings[key] = value;
            (settings, key.to_owned())
        };
        vec![
            with("slot", json!("production")),
            with("endpoint", json!("http://management.azure.com")),
            with("colour", json!("blue")),
            with("warmUp", json!({"path": "health"})),
        ]
    }

    fn released_already(&self) -> Option<Target> {
        Some(self.target_of(self.settings(), BASELINE))
    }
}

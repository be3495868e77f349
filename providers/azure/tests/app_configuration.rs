//! App Configuration flags: the suite of behaviours against the double, through signed requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_azure::app_configuration::{AppConfiguration, kind};
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Truth, Workshop};
use meridian_doubles::azure::app_configuration;
use meridian_doubles::azure::app_configuration::{ConfigurationManners, Flag};
use meridian_doubles::wire::{Served, Wire};
use meridian_engine::ports::provider::{Ladder, Provider, Target};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::ProviderKind;
use meridian_workflows::workflow::Release;
use serde_json::{Value, json};

use crate::{Given, rungs};

pub const FLAG: &str = "new-checkout";

/// A store with one flag that is off, and a wire to it.
pub struct Bench {
    pub store: Arc<app_configuration::AppConfiguration>,
    pub served: Served,
    pub filter: &'static str,
}

impl Bench {
    pub async fn new(filter: &'static str) -> Bench {
        let store = app_configuration::AppConfiguration::new();
        store.put_flag(&Flag::off(FLAG), None);
        let served = Wire::serve_with(store.router(), ConfigurationManners, 0).await.unwrap();
        Bench { store, served, filter }
    }

    pub fn cloud(&self) -> AppConfiguration {
        let connection = self.store.connection_string(&self.served.url);
        AppConfiguration::new(Arc::new(Given(BTreeMap::from([("flags", connection)]))))
    }

    pub fn settings(&self) -> Value {
        json!({"connectionString": {"secret": "flags"}, "filter": self.filter, "create": true})
    }

    pub fn target_of(&self, settings: Value, flag: &str) -> Target {
        Target {
            workflow: "shop".to_owned(),
            region: "everywhere".to_owned(),
            settings,
            release: Release::Flag(flag.to_owned()),
            ladder: Ladder {
                rungs: rungs(&[10, 50, 100]),
                ..Ladder::default()
            },
        }
    }

    /// Changes the flag's JSON as somebody else would.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut value = self.store.flag(FLAG, None).unwrap().flag.json();
        change(&mut value);
        self.store.put_flag(&serde_json::from_value(value).unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_by_percentage_do_what_every_provider_does() {
    crate::held(&Flags("percentage")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_by_targeting_do_what_every_provider_does() {
    crate::held(&Flags("targeting")).await;
}

struct Flags(&'static str);

#[async_trait]
impl Workshop for Flags {
    fn name(&self) -> String {
        format!("appConfiguration {}", self.0)
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        Ok(Box::new(Bench::new(self.0).await))
    }
}

#[async_trait]
impl Rig for Bench {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.cloud())
    }

    fn target(&self) -> Target {
        self.target_of(self.settings(), FLAG)
    }

    async fn truth(&self) -> Truth {
        let flag = self.store.flag(FLAG, None);
        let share = flag.as_ref().map_or(0.0, |flag| flag.share());
        let mut standing = vec![Version::named("off")];
        if flag.is_some_and(|flag| flag.flag.enabled) {
            standing.push(Version::named("on"));
        }
        Truth {
            candidate_share: Share::from_basis_points((share * 100.0).round() as u16).unwrap(),
            lost: Share::ZERO,
            standing,
            writes: Some(self.served.wire.writes()),
        }
    }

    async fn pass(&self, time: Duration) {
        self.store.advance(time);
    }

    async fn ail(&self, _: Ailment) -> Offered {
        Offered::No("a flag runs nowhere: what it turns on is an app's own")
    }

    async fn fault(&self, fault: Fault, strike: Strike) -> Offered {
        self.served.wire.fault(fault, strike, |_| true);
        Offered::Yes
    }

    async fn heal(&self) {
        self.served.wire.heal();
    }

    async fn meddle(&self, meddling: Meddling) -> Offered {
        match meddling {
            Meddling::RevertTraffic => self.change(|flag| {
                let parameters = &mut flag["conditions"]["client_filters"][0]["parameters"];
                match self.filter {
                    "percentage" => parameters["Value"] = json!(0),
                    _ => parameters["Audience"]["DefaultRolloutPercentage"] = json!(0),
                }
            }),
            Meddling::ScaleCandidateAway => self.change(|flag| flag["enabled"] = json!(false)),
            Meddling::DeleteCandidate => self.store.delete_flag(FLAG, None),
        }
        Offered::Yes
    }

    fn kind(&self) -> Option<ProviderKind> {
        Some(kind())
    }

    fn other_spelling(&self) -> Option<Target> {
        let mut settings = self.settings();
        settings["flag"] = json!(FLAG);
        Some(self.target_of(settings, FLAG))
    }

    fn other_target(&self) -> Option<Target> {
        let mut settings = self.settings();
        settings["label"] = json!("eu");
        Some(self.target_of(settings, FLAG))
    }

    fn missing(&self) -> Option<(Target, String)> {
        let settings = json!({"connectionString": {"secret": "flags"}, "filter": self.filter});
        Some((self.target_of(settings, "nothing-there"), "nothing-there".to_owned()))
    }

    fn unsound(&self) -> Vec<(Value, String)> {
        let with = |key: &str, value: Value| {
            let mut settings = self.settings();
            settings[key] = value;
            (settings, key.to_owned())
        };
        vec![
            with("filter", json!("dice")),
            with("endpoint", json!("https://shop.azconfig.io")),
            with("label", json!("*")),
            with("colour", json!("blue")),
        ]
    }
}

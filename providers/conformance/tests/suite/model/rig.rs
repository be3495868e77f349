//! The model's workshop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Truth, Workshop};
use meridian_engine::ports::provider::{Ladder, Provider, Rung, Target};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{Availability, Capabilities, ProviderKind, SettingsReader};
use meridian_workflows::workflow::{Exposure, Release};
use serde_json::json;

use super::platform::Platform;
use super::provider::{Mistake, Model, read};

pub struct Models {
    pub mistake: Option<Mistake>,
}

#[async_trait]
impl Workshop for Models {
    fn name(&self) -> String {
        match self.mistake {
            None => "model".to_owned(),
            Some(mistake) => format!("model that {mistake:?}"),
        }
    }

    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        Ok(Box::new(ModelRig {
            platform: Platform::new("v1"),
            mistake: self.mistake,
        }))
    }
}

struct ModelRig {
    platform: Arc<Platform>,
    mistake: Option<Mistake>,
}

fn release(version: &str) -> Release {
    Release::Image(format!("registry.example.com/shop:{version}"))
}

fn rung(percent: u16) -> Rung {
    Rung {
        exposure: Exposure::Traffic(Share::percent(percent).unwrap()),
        bake: meridian_workflows::duration::Duration::default(),
    }
}

#[async_trait]
impl Rig for ModelRig {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Model {
            platform: Arc::clone(&self.platform),
            mistake: self.mistake,
            kept: parking_lot::Mutex::default(),
        })
    }

    fn target(&self) -> Target {
        Target {
            workflow: "shop".to_owned(),
            region: "eu".to_owned(),
            settings: json!({"target": "shop"}),
            release: release("v2"),
            ladder: Ladder {
                rungs: vec![rung(10), rung(50), rung(100)],
                drain: meridian_workflows::duration::Duration::from_secs(3),
                ..Ladder::default()
            },
        }
    }

    async fn truth(&self) -> Truth {
        let state = self.platform.state();
        let (candidate, other) = (state.acting, Share::FULL.basis_points() - state.acting.basis_points());
        let mut lost = 0;
        if !state.is_ready("v2") {
            lost += candidate.basis_points();
        }
        if !state.is_ready("v1") {
            lost += other;
        }
        Truth {
            candidate_share: candidate,
            lost: Share::from_basis_points(lost).unwrap(),
            standing: state.deployments.iter().map(|d| Version::named(&d.version)).collect(),
            writes: Some(self.platform.writes()),
        }
    }

    async fn pass(&self, time: Duration) {
        self.platform.advance(time);
    }

    async fn ail(&self, ailment: Ailment) -> Offered {
        self.platform.ail("v2", ailment);
        Offered::Yes
    }

    async fn fault(&self, fault: Fault, strike: Strike) -> Offered {
        self.platform.fault(fault, strike);
        Offered::Yes
    }

    async fn heal(&self) {
        self.platform.heal();
    }

    async fn meddle(&self, meddling: Meddling) -> Offered {
        self.platform.meddle(|state| match meddling {
            Meddling::RevertTraffic => {
                state.weigh(Share::ZERO);
                state.acting = Share::ZERO;
            }
            Meddling::ScaleCandidateAway | Meddling::DeleteCandidate => state.remove("v2"),
        });
        Offered::Yes
    }

    fn kind(&self) -> Option<ProviderKind> {
        Some(ProviderKind {
            name: "model",
            availability: Availability::Available,
            settings: &[],
            read: SettingsReader(|settings| {
                read(settings)?;
                Ok(Capabilities {
                    mirroring: true,
                    ..Capabilities::splitting(1)
                })
            }),
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }

    fn other_spelling(&self) -> Option<Target> {
        Some(Target {
            settings: json!({"target": " shop ", "note": "the same"}),
            ..self.target()
        })
    }

    fn other_target(&self) -> Option<Target> {
        Some(Target {
            settings: json!({"target": "cart"}),
            ..self.target()
        })
    }

    fn missing(&self) -> Option<(Target, String)> {
        let target = Target {
            settings: json!({"target": "nowhere"}),
            ..self.target()
        };
        Some((target, "nowhere".to_owned()))
    }

    fn unsound(&self) -> Vec<(serde_json::Value, String)> {
        vec![
            (json!({"target": 1}), "target".to_owned()),
            (json!({"target": "shop", "tarket": 1}), "tarket".to_owned()),
        ]
    }

    fn released_already(&self) -> Option<Target> {
        Some(Target {
            release: release("v1"),
            ..self.target()
        })
    }
}

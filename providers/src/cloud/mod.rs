//! Clouds: one file or crate each, and one line each in the list.

pub mod exec;
#[cfg(not(all(feature = "kubernetes", feature = "aws", feature = "azure")))]
mod left_out;
pub mod sandbox;

use std::path::PathBuf;
use std::sync::Arc;

use meridian_engine::ports::provider::Provider;
use meridian_engine::ports::secret::Secrets;
use meridian_workflows::vocabulary::{ProviderKind, SettingKey};

use self::exec::ExecCloud;
#[cfg(not(all(feature = "kubernetes", feature = "aws", feature = "azure")))]
use self::left_out::{left_out, unread};
use self::sandbox::SandboxCloud;

/// What clouds need of the place where they run.
pub struct Surroundings {
    pub secrets: Arc<dyn Secrets>,
    /// Where the sandbox of this machine lives.
    pub sandbox_dir: PathBuf,
    /// Where a sandbox answers, for regions whose settings do not say.
    pub sandbox_address: Option<String>,
}

/// Opens what a kind of cloud is reached by.
type Opening = fn(&Surroundings) -> Arc<dyn Provider>;

/// One kind of cloud: how the language reads its regions, and who does what they order.
struct Cloud {
    kind: fn() -> ProviderKind,
    /// None in a build that leaves this cloud's own client out.
    provider: Option<Opening>,
}

const CLOUDS: &[Cloud] = &[
    Cloud {
        kind: sandbox::kind,
        provider: Some(|here| Arc::new(SandboxCloud::new(&here.sandbox_dir, here.sandbox_address.clone()))),
    },
    Cloud {
        kind: exec::kind,
        provider: Some(|here| Arc::new(ExecCloud::new(Arc::clone(&here.secrets)))),
    },
    #[cfg(feature = "kubernetes")]
    Cloud {
        kind: meridian_kubernetes::kind,
        provider: Some(|_| Arc::new(meridian_kubernetes::KubernetesCloud::new())),
    },
    #[cfg(feature = "aws")]
    Cloud {
        kind: meridian_ecs::kind,
        provider: Some(|_| Arc::new(meridian_ecs::EcsCloud::new())),
    },
    #[cfg(feature = "azure")]
    Cloud {
        kind: meridian_azure::app_service::kind,
        provider: Some(|here| Arc::new(meridian_azure::app_service::AppService::new(Arc::clone(&here.secrets)))),
    },
    #[cfg(feature = "azure")]
    Cloud {
        kind: meridian_azure::app_configuration::kind,
        provider: Some(|here| {
            Arc::new(meridian_azure::app_configuration::AppConfiguration::new(Arc::clone(
                &here.secrets,
            )))
        }),
    },
    #[cfg(not(feature = "kubernetes"))]
    left_out(|| unread("kubernetes")),
    #[cfg(not(feature = "aws"))]
    left_out(|| unread("ecs")),
    #[cfg(not(feature = "azure"))]
    left_out(|| unread("appService")),
    #[cfg(not(feature = "azure"))]
    left_out(|| unread("appConfiguration")),
];

/// Every kind of region that the language knows, whether or not this build can run it.
pub fn kinds() -> Vec<ProviderKind> {
    CLOUDS.iter().map(|cloud| (cloud.kind)()).collect()
}

/// Every cloud that this build can reach, by its key.
pub fn providers(here: &Surroundings) -> Vec<(&'static str, Arc<dyn Provider>)> {
    let reachable = CLOUDS
        .iter()
        .filter_map(|cloud| Some(((cloud.kind)().name, cloud.provider?(here))));
    reachable.collect()
}

/// One key of a provider's settings that may be left out.
const fn optional(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: false,
        summary,
    }
}

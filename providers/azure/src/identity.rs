//! Who a metric source is to Azure: the same kinds of identity as a region's, and a token for one of the services that keep metrics.

use std::sync::Arc;

use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::time::{Duration, OffsetDateTime};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::secret::Secret;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::credentials::{Cloud, Credentials, credential, spelled_out};
use crate::trouble;

/// A token is asked for anew this long before it ends.
const RENEWED_BEFORE: Duration = Duration::minutes(5);

/// Where metrics are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Azure Monitor's metrics, behind the resource manager.
    ResourceManager,
    /// Log Analytics workspaces.
    Logs,
    /// Application Insights by an application's own id.
    ApplicationInsights,
}

/// One identity, read from `cloud` and `credentials` of a source's settings.
pub struct Identity {
    cloud: Cloud,
    credentials: Credentials,
    kept: Mutex<Option<Kept>>,
}

/// What was got with one value of the secret. It can be lost at any time.
struct Kept {
    keeper: Keeper,
    secret: String,
    credential: Arc<dyn TokenCredential>,
    token: Option<AccessToken>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    cloud: Cloud,
    credentials: Credentials,
}

impl Identity {
    /// Reads the keys `cloud` (may be missing) and `credentials`.
    ///
    /// *Errors*: what does not fit.
    pub fn read(cloud: Option<&Value>, credentials: &Value) -> Result<Identity, String> {
        let mut settings = serde_json::json!({ "credentials": credentials });
        if let Some(cloud) = cloud {
            settings["cloud"] = cloud.clone();
        }
        spelled_out(&mut settings);
        let written: Written = serde_json::from_value(settings).map_err(|error| error.to_string())?;
        Ok(Identity {
            cloud: written.cloud,
            credentials: written.credentials,
            kept: Mutex::new(None),
        })
    }

    /// The secret that [`Identity::token`] needs the value of, by its name.
    pub fn secret_name(&self) -> Option<&str> {
        match &self.credentials {
            Credentials::ClientSecret { secret, .. } => Some(secret),
            Credentials::Token(named) => Some(&named.secret),
            Credentials::ManagedIdentity { .. }
            | Credentials::WorkloadIdentity { .. }
            | Credentials::AzureCli { .. } => None,
        }
    }

    /// The address of a keeper in this cloud, which is also whom its tokens are made out to
    /// (learn.microsoft.com/azure/azure-monitor/logs/api/access-api and …/app/app-insights-azure-ad-api).
    pub fn address(&self, keeper: Keeper) -> &'static str {
        match (keeper, self.cloud) {
            (Keeper::ResourceManager, cloud) => cloud.resource_manager(),
            (Keeper::Logs, Cloud::Public) => "https://api.loganalytics.azure.com",
            (Keeper::Logs, Cloud::Government) => "https://api.loganalytics.us",
            (Keeper::Logs, Cloud::China) => "https://api.loganalytics.azure.cn",
            (Keeper::ApplicationInsights, Cloud::Public) => "https://api.applicationinsights.io",
            (Keeper::ApplicationInsights, Cloud::Government) => "https://api.applicationinsights.us",
            (Keeper::ApplicationInsights, Cloud::China) => "https://api.applicationinsights.azure.cn",
        }
    }

    /// A token for a keeper; `secret` is the value of [`Identity::secret_name`], read anew by the caller so that a rotated one
    /// takes effect with the next question.
    ///
    /// *Errors*: lasting when the credentials are no good, transient when the authority cannot be reached.
    pub async fn token(&self, keeper: Keeper, secret: Option<&Secret>) -> Result<Secret, Failure> {
        let secret = secret.map_or("", Secret::expose);
        let mut kept = self.kept.lock().await;
        let is_other = |kept: &Kept| kept.keeper != keeper || kept.secret != secret;
        if kept.as_ref().is_none_or(is_other) {
            *kept = Some(Kept {
                keeper,
                secret: secret.to_owned(),
                credential: credential(&self.credentials, self.cloud, secret.to_owned())?,
                token: None,
            });
        }
        let Some(kept) = kept.as_mut() else {
            return Err(Failure::transient("no token can be had"));
        };
        let now = OffsetDateTime::now_utc();
        let fresh = kept
            .token
            .as_ref()
            .filter(|token| token.expires_on - RENEWED_BEFORE > now);
        if let Some(token) = fresh {
            return Ok(Secret::new(token.token.secret().to_owned()));
        }
        let scope = format!("{}/.default", self.address(keeper));
        let asked = kept.credential.get_token(&[scope.as_str()], None).await;
        let token = asked.map_err(|error| Failure::from(trouble::unanswered(self.address(keeper), &error)))?;
        let value = Secret::new(token.token.secret().to_owned());
        kept.token = Some(token);
        Ok(value)
    }
}

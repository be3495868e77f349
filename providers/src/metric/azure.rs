//! What the sources of Azure share: `cloud`, `credentials`, and the token for where metrics are kept.

use meridian_azure::identity::{Identity, Keeper};
use meridian_engine::ports::failure::Failure;
use meridian_workflows::vocabulary::SettingKey;
use reqwest::header::HeaderValue;
use serde_json::Value as Json;

use crate::metric::web::{Visit, bearer};
use crate::metric::words::{SecretName, optional, required};

pub const CLOUD: SettingKey = optional("cloud", "public (default), government or china");
pub const CREDENTIALS: SettingKey = required(
    "credentials",
    "who Meridian is: azureCli, {managedIdentity: {client}}, {workloadIdentity: {tenant, client, tokenFile}}, \
     {clientSecret: {tenant, client, secret}} or {token: {secret}}",
);

/// The identity that the settings name.
///
/// *Errors*: what does not fit, naming its key.
pub fn identity(cloud: Option<&Json>, credentials: &Json) -> Result<Identity, String> {
    Identity::read(cloud, credentials).map_err(|why| {
        if why.starts_with('`') {
            why
        } else {
            format!("`credentials` (or `cloud`) cannot be read: {why}")
        }
    })
}

/// `Authorization: Bearer …` for a keeper.
pub async fn authorization(visit: &Visit<'_>, identity: &Identity, keeper: Keeper) -> Result<HeaderValue, Failure> {
    let secret = match identity.secret_name() {
        Some(name) => Some(visit.secret(&SecretName {
            secret: name.to_owned(),
        })?),
        None => None,
    };
    let token = identity.token(keeper, secret.as_ref()).await?;
    visit.hide(&token);
    bearer(&token)
}

/// Code and message of an error as Azure's services write it, down to the innermost one, which says the most.
pub fn said(answer: &Json) -> Option<String> {
    let mut error = answer.get("error")?;
    while let Some(inner) = error.get("innererror").filter(|inner| inner.get("message").is_some()) {
        error = inner;
    }
    let of = |key: &str| error.get(key).and_then(Json::as_str);
    match (of("code").unwrap_or_default(), of("message")?) {
        ("", message) => Some(message.to_owned()),
        (code, message) => Some(format!("{code}: {message}")),
    }
}

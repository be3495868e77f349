//! Who a metric source is to AWS: the same credentials and roles as a region's, and requests signed with them.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::secret::Secret;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::aws::{failure, found};
use crate::settings::{self, Role};

/// Credentials are looked for anew this long before they end.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);
/// Those that do not say when they end are looked for this often, since a file may have changed.
const KEPT_FOR: Duration = Duration::from_secs(900);

/// One identity in one region.
pub struct Identity {
    region: String,
    role: Option<Role>,
    sts: Option<String>,
    kept: Mutex<Option<Kept>>,
}

/// What was found. It can be lost at any time.
struct Kept {
    keys: Option<(String, String)>,
    config: SdkConfig,
    credentials: Option<(Credentials, SystemTime)>,
}

/// An access key that somebody gives instead of the credentials that would be found.
pub struct Key<'a> {
    pub id: &'a str,
    pub secret: &'a Secret,
}

/// One request as it will be sent. Header names are in lower case; `host` is taken from the URL.
pub struct Unsigned<'a> {
    pub service: &'a str,
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Identity {
    /// An identity in `region`, with `role` as a region's settings write it and `sts` instead of AWS's own address.
    ///
    /// *Errors*: what does not fit.
    pub fn read(region: &str, role: Option<&Value>, sts: Option<&str>) -> Result<Identity, String> {
        let is_region = !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_region {
            return Err(format!("`region` is the name of an AWS region, got `{region}`"));
        }
        Ok(Identity {
            region: region.to_owned(),
            role: role.cloned().map(settings::role).transpose()?,
            sts: sts.map(str::to_owned),
            kept: Mutex::new(None),
        })
    }

    /// The headers that sign a request now (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).
    ///
    /// *Errors*: lasting when there are no usable credentials, transient when their source cannot be reached.
    pub async fn sign(&self, request: &Unsigned<'_>, key: Option<Key<'_>>) -> Result<Vec<(String, String)>, Failure> {
        let credentials = self.credentials(key).await?;
        let unsigned = |error: &dyn std::fmt::Display| {
            Failure::lasting(format!("the request for {} cannot be signed: {error}", request.service))
        };
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(request.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let signable = SignableRequest::new(
            request.method,
            request.url,
            request.headers.iter().copied(),
            SignableBody::Bytes(request.body),
        );
        let signable = signable.map_err(|error| unsigned(&error))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| unsigned(&error))?
            .into_parts();
        let headers = instructions.headers();
        Ok(headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    async fn credentials(&self, key: Option<Key<'_>>) -> Result<Credentials, Failure> {
        let keys = key.map(|key| (key.id.to_owned(), key.secret.expose().to_owned()));
        let mut kept = self.kept.lock().await;
        let mut current = match kept.take().filter(|kept| kept.keys == keys) {
            Some(current) => current,
            None => {
                let given = keys
                    .as_ref()
                    .map(|(id, secret)| Credentials::new(id, secret, None, None, "given"));
                Kept {
                    config: found(&self.region, self.role.as_ref(), self.sts.as_deref(), given).await,
                    keys,
                    credentials: None,
                }
            }
        };
        let now = SystemTime::now();
        let fresh = current.credentials.as_ref().filter(|(_, until)| *until > now);
        if let Some((credentials, _)) = fresh {
            let credentials = credentials.clone();
            *kept = Some(current);
            return Ok(credentials);
        }
        let provider = current
            .config
            .credentials_provider()
            .ok_or_else(|| Failure::lasting("no usable AWS credentials: none are configured"))?;
        let provided = provider.provide_credentials().await;
        let credentials = provided.map_err(|error| {
            let chain = aws_sdk_ecs::error::DisplayErrorContext(&error).to_string();
            Failure::from(failure::unsent("sts:AssumeRole", &chain))
        })?;
        let until = credentials
            .expiry()
            .map_or(now + KEPT_FOR, |end| end.checked_sub(RENEWED_BEFORE).unwrap_or(now));
        current.credentials = Some((credentials.clone(), until));
        *kept = Some(current);
        Ok(credentials)
    }
}

/// Whether a refusal with this code passes by itself, whatever its status says: AWS throttles with a 400.
pub fn passes(code: &str) -> bool {
    failure::passes(code)
}

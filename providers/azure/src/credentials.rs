//! Who Meridian is to Azure: the kinds of identity that a region's settings may name, and the tokens they get.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::http::ClientOptions;
use azure_core::http::policies::Policy;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::time::OffsetDateTime;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::secret::Secrets;
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::endpoint::Endpoint;
use crate::service::Service;
use crate::wire;

/// A secret by its name; the operator's configuration says where its value stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    pub(crate) secret: String,
}

/// `credentials` of a region.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(crate) enum Credentials {
    /// The identity of the machine or app that Meridian runs on; a user-assigned one by its client id.
    ManagedIdentity { client: Option<String> },
    /// A Kubernetes service account that Entra trusts; what is left out comes from the pod's `AZURE_…` variables.
    WorkloadIdentity {
        tenant: Option<String>,
        client: Option<String>,
        token_file: Option<PathBuf>,
    },
    ClientSecret {
        tenant: String,
        client: String,
        secret: String,
    },
    /// Who is signed in to the Azure CLI, for a person's own machine.
    AzureCli { tenant: Option<String> },
    /// A token that somebody else renews, by the name of its secret.
    Token(Named),
}

/// Which of Azure's clouds, for the authority that gives tokens and the addresses of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Cloud {
    #[default]
    Public,
    Government,
    China,
}

impl Cloud {
    pub(crate) fn resource_manager(self) -> &'static str {
        match self {
            Cloud::Public => "https://management.azure.com",
            Cloud::Government => "https://management.usgovcloudapi.net",
            Cloud::China => "https://management.chinacloudapi.cn",
        }
    }

    /// Whom tokens for App Configuration are made out to.
    pub(crate) fn app_configuration(self) -> &'static str {
        match self {
            Cloud::Public => "https://azconfig.io",
            Cloud::Government => "https://azconfig.azure.us",
            Cloud::China => "https://azconfig.azure.cn",
        }
    }
}

/// `credentials: azureCli` means `credentials: {azureCli: {}}`.
pub(crate) fn spelled_out(settings: &mut serde_json::Value) {
    if let Some(written) = settings.get_mut("credentials")
        && let Some(name) = written.as_str().map(str::to_owned)
    {
        *written = serde_json::json!({ name: {} });
    }
}

/// The services that were talked to, so that connections and tokens outlive a call.
///
/// Nothing in here is needed for a right answer: it can be lost at any time.
pub(crate) struct Services {
    secrets: Arc<dyn Secrets>,
    known: Mutex<HashMap<[u8; 32], Arc<Service>>>,
}

/// More than so many services at once are not kept; the next one starts afresh.
const KNOWN_MAX: usize = 256;

impl Services {
    pub(crate) fn new(secrets: Arc<dyn Secrets>) -> Services {
        Services {
            secrets,
            known: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn secret(&self, workflow: &str, name: &str) -> Result<String, Failure> {
        Ok(self.secrets.resolve(workflow, name)?.expose().to_owned())
    }

    /// The service at `endpoint` for a workflow, with tokens made out to `audience`.
    ///
    /// Secrets are read anew at each call, so that a rotated one takes effect with the next order.
    pub(crate) fn bearer(
        &self,
        workflow: &str,
        endpoint: &Endpoint,
        cloud: Cloud,
        credentials: &Credentials,
        audience: &str,
    ) -> Result<Arc<Service>, Failure> {
        let secret = match credentials {
            Credentials::ClientSecret { secret, .. } => self.secret(workflow, secret)?,
            Credentials::Token(named) => self.secret(workflow, &named.secret)?,
            Credentials::ManagedIdentity { .. }
            | Credentials::WorkloadIdentity { .. }
            | Credentials::AzureCli { .. } => String::new(),
        };
        let described = format!("{endpoint:?}\n{cloud:?}\n{credentials:?}\n{audience}\n{secret}");
        self.kept(&described, || {
            let credential = credential(credentials, cloud, secret)?;
            let scope = format!("{audience}/.default");
            let policy: Arc<dyn Policy> = Arc::new(BearerTokenAuthorizationPolicy::new(credential, [scope]));
            Service::new(endpoint.clone(), policy)
        })
    }

    /// The service that `described` says everything about, made where it is not known yet.
    pub(crate) fn kept(
        &self,
        described: &str,
        make: impl FnOnce() -> Result<Service, Failure>,
    ) -> Result<Arc<Service>, Failure> {
        let key: [u8; 32] = Sha256::digest(described.as_bytes()).into();
        if let Some(service) = self.known.lock().get(&key) {
            return Ok(Arc::clone(service));
        }
        let service = Arc::new(make()?);
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, Arc::clone(&service));
        Ok(service)
    }
}

/// What gets tokens for these credentials; `secret` is the value of the one that they name.
pub(crate) fn credential(
    credentials: &Credentials,
    cloud: Cloud,
    secret: String,
) -> Result<Arc<dyn TokenCredential>, Failure> {
    let unsound = |error: azure_core::Error| Failure::lasting(format!("the credentials cannot be used: {error}"));
    let client_options = || -> Result<ClientOptions, Failure> {
        Ok(ClientOptions {
            transport: Some(wire::transport(false).map_err(Failure::lasting)?),
            cloud: Some(Arc::new(authority(cloud))),
            ..ClientOptions::default()
        })
    };
    Ok(match credentials {
        Credentials::ManagedIdentity { client } => {
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: client.clone().map(UserAssignedId::ClientId),
                client_options: client_options()?,
            };
            ManagedIdentityCredential::new(Some(options)).map_err(unsound)?
        }
        Credentials::WorkloadIdentity {
            tenant,
            client,
            token_file,
        } => {
            let options = WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions {
                    client_options: client_options()?,
                },
                client_id: client.clone(),
                tenant_id: tenant.clone(),
                token_file_path: token_file.clone(),
            };
            WorkloadIdentityCredential::new(Some(options)).map_err(unsound)?
        }
        Credentials::ClientSecret { tenant, client, .. } => {
            let options = ClientSecretCredentialOptions {
                client_options: client_options()?,
            };
            let secret = Secret::new(secret);
            ClientSecretCredential::new(tenant, client.clone(), secret, Some(options)).map_err(unsound)?
        }
        Credentials::AzureCli { tenant } => {
            let options = AzureCliCredentialOptions {
                tenant_id: tenant.clone(),
                ..AzureCliCredentialOptions::default()
            };
            AzureCliCredential::new(Some(options)).map_err(unsound)?
        }
        Credentials::Token(_) => Arc::new(Given(Secret::new(secret))),
    })
}

fn authority(cloud: Cloud) -> CloudConfiguration {
    match cloud {
        Cloud::Public => CloudConfiguration::AzurePublic,
        Cloud::Government => {
            let mut custom = CustomConfiguration::default();
            custom.authority_host = "https://login.microsoftonline.us".to_owned();
            custom.into()
        }
        Cloud::China => {
            let mut custom = CustomConfiguration::default();
            custom.authority_host = "https://login.chinacloudapi.cn".to_owned();
            custom.into()
        }
    }
}

/// A token as it was given. When it ends is not known; the service says so.
#[derive(Debug)]
struct Given(Secret);

/// How long a given token is taken for valid before it is looked at again.
const GIVEN_FOR: Duration = Duration::from_secs(3600);

#[async_trait]
impl TokenCredential for Given {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new(self.0.clone(), OffsetDateTime::now_utc() + GIVEN_FOR))
    }
}

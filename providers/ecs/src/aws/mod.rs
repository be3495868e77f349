//! AWS as this provider needs it: thin calls that answer in plain facts. Nothing here decides.

pub mod balancer;
pub mod definitions;
pub mod deployments;
pub mod failure;
pub mod orders;
pub mod own;
pub mod services;
pub mod sets;
pub mod tasks;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecs::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use jiff::Timestamp;

use crate::settings::{Place, Role};

/// One account in one region.
#[derive(Debug)]
pub struct Account {
    ecs: aws_sdk_ecs::Client,
    elb: aws_sdk_elasticloadbalancingv2::Client,
}

impl Account {
    /// Clients for a place. No request is made but those that credentials need, and these when the first call is.
    ///
    /// `keys` stand in for the credentials that would be found.
    pub async fn open(place: &Place, keys: Option<Credentials>) -> Account {
        let base = found(&place.region, place.role.as_ref(), place.endpoints.sts.as_deref(), keys).await;
        let mut ecs = aws_sdk_ecs::config::Builder::from(&base);
        if let Some(url) = &place.endpoints.ecs {
            ecs = ecs.endpoint_url(url);
        }
        let mut elb = aws_sdk_elasticloadbalancingv2::config::Builder::from(&base);
        if let Some(url) = &place.endpoints.elb {
            elb = elb.endpoint_url(url);
        }
        Account {
            ecs: aws_sdk_ecs::Client::from_conf(ecs.build()),
            elb: aws_sdk_elasticloadbalancingv2::Client::from_conf(elb.build()),
        }
    }
}

/// What every client is made from: the credentials that are found as every AWS tool finds them, or those of a role.
pub async fn found(region: &str, role: Option<&Role>, sts: Option<&str>, keys: Option<Credentials>) -> SdkConfig {
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    // A call of the engine has 30 s for several requests: each ends well before, and the engine tries again.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(6))
        .operation_timeout(Duration::from_secs(8))
        .build();
    // One more try hides a single lost packet; everything beyond is the engine's to pace.
    let retries = RetryConfig::standard()
        .with_max_attempts(2)
        .with_initial_backoff(Duration::from_millis(200));
    let mut found = aws_config::defaults(BehaviorVersion::latest());
    if let Some(keys) = keys {
        found = found.credentials_provider(keys);
    }
    let base = found
        .region(Region::new(region.to_owned()))
        .http_client(client)
        .timeout_config(timeouts)
        .retry_config(retries)
        .load()
        .await;
    match role {
        Some(role) => assume(&base, region, sts, role).await,
        None => base,
    }
}

async fn assume(base: &SdkConfig, region: &str, sts: Option<&str>, role: &Role) -> SdkConfig {
    let asking = match sts {
        Some(url) => base.to_builder().endpoint_url(url).build(),
        None => base.clone(),
    };
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .session_name("meridian")
        .region(Region::new(region.to_owned()))
        .configure(&asking);
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    let provider = SharedCredentialsProvider::new(provider.build().await);
    base.to_builder().credentials_provider(provider).build()
}

/// AWS counts in signed numbers what is never below nothing.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn instant(at: Option<&aws_sdk_ecs::primitives::DateTime>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).ok()?).ok())
}

fn text(part: Option<&str>) -> String {
    part.unwrap_or_default().to_owned()
}

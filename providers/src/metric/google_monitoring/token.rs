//! Tokens for Google's APIs, kept until shortly before they end.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::secret::Secret;
use reqwest::{Method, Url};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

use super::Credentials;
use crate::metric::web::Visit;
use crate::metric::words::{self, Way};

/// Where machines and pods of Google Cloud get their tokens; the name leads to a link-local address.
const METADATA: &str = "http://metadata.google.internal";
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// Where the metadata server is when it is elsewhere, as Google's own clients read it.
const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.read";
/// A token is asked for anew this long before it ends.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);
/// How long an assertion is good for; Google takes at most an hour.
const ASSERTED_FOR: u64 = 3_600;

/// The tokens of one identity.
pub struct Tokens {
    credentials: Credentials,
    kept: Mutex<Option<Kept>>,
}

/// A token that was got with one value of the secret. It can be lost at any time.
struct Kept {
    secret: String,
    token: Secret,
    until: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

/// A service account's key file, as far as it is needed.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: String,
    token_uri: String,
}

impl Tokens {
    pub fn new(credentials: Credentials) -> Tokens {
        Tokens {
            credentials,
            kept: Mutex::new(None),
        }
    }

    /// A token that is good for some minutes.
    ///
    /// *Errors*: lasting when the credentials are no good, transient when nobody answers who gives tokens.
    pub async fn token(&self, visit: &Visit<'_>) -> Result<Secret, Failure> {
        let secret = match &self.credentials {
            Credentials::Token(name) => return visit.secret(name),
            Credentials::ServiceAccount(name) => visit.secret(name)?.expose().to_owned(),
            Credentials::MetadataServer => String::new(),
        };
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > now && kept.secret == secret) {
            visit.hide(&kept.token);
            return Ok(kept.token.clone());
        }
        let granted = if secret.is_empty() {
            of_machine(visit).await
        } else {
            of_account(visit, &secret).await
        };
        let granted = granted.map_err(|failure| Failure {
            what: format!("no token can be had: {}", failure.what),
            lasting: failure.lasting,
        })?;
        let token = Secret::new(granted.access_token);
        visit.hide(&token);
        let lives = Duration::from_secs(granted.expires_in).saturating_sub(RENEWED_BEFORE);
        *kept = now.checked_add(lives).map(|until| Kept {
            secret,
            token: token.clone(),
            until,
        });
        Ok(token)
    }
}

async fn of_machine(visit: &Visit<'_>) -> Result<Granted, Failure> {
    let root = match std::env::var(METADATA_VARIABLE) {
        Ok(host) if !host.is_empty() => format!("http://{host}"),
        Ok(_) | Err(_) => METADATA.to_owned(),
    };
    let url: Url = format!("{root}{METADATA_PATH}")
        .parse()
        .map_err(|_| Failure::lasting(format!("`{METADATA_VARIABLE}` names no host")))?;
    let request = visit
        .request_to(Method::GET, url)?
        .header("Metadata-Flavor", "Google")
        .query(&[("scopes", SCOPE)]);
    visit.json(request, said).await
}

async fn of_account(visit: &Visit<'_>, key_file: &str) -> Result<Granted, Failure> {
    let key: KeyFile = serde_json::from_str(key_file).map_err(|_| {
        Failure::lasting("the secret of `serviceAccount` is not the JSON of a service account's key file")
    })?;
    let url = words::address(&key.token_uri, Way::Guarded)
        .map_err(|_| Failure::lasting("the key file's `token_uri` is no address that a key may be sent to"))?;
    let assertion = assertion(&key)?;
    let request = visit.request_to(Method::POST, url)?.form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", &assertion),
    ]);
    visit.json(request, said).await
}

/// A JSON Web Token that says who asks for what, signed with the account's key (RFC 7523).
fn assertion(key: &KeyFile) -> Result<String, Failure> {
    let unfit = || Failure::lasting("the key file's `private_key` is no RSA key");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key.private_key_id});
    let claims = json!({
        "iss": key.client_email,
        "scope": SCOPE,
        "aud": key.token_uri,
        "iat": now,
        "exp": now + ASSERTED_FOR,
    });
    let encoded = |part: &Json| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let body: String = key
        .private_key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    let der = STANDARD.decode(body).map_err(|_| unfit())?;
    let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| unfit())?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .map_err(|_| unfit())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn said(answer: &Json) -> Option<String> {
    let of = |key: &str| answer.get(key).and_then(Json::as_str);
    match (of("error")?, of("error_description").unwrap_or_default()) {
        (error, "") => Some(error.to_owned()),
        (error, description) => Some(format!("{error}: {description}")),
    }
}

//! Requests signed with an access key of the store, as App Configuration prescribes: HMAC-SHA256 over method, path, date, host and body.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Body, Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::endpoint::Endpoint;

const SIGNED: &str = "x-ms-date;host;x-ms-content-sha256";

/// What a connection string holds.
pub(crate) struct Connection {
    pub(crate) endpoint: Endpoint,
    pub(crate) key: Key,
}

/// An access key. It has no `Debug` that shows it.
#[derive(Clone)]
pub(crate) struct Key {
    id: String,
    secret: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}, …)", self.id)
    }
}

impl Connection {
    /// From `Endpoint=…;Id=…;Secret=…`.
    ///
    /// *Errors*: which part is missing or wrong, never what it holds.
    pub(crate) fn parse(text: &str) -> Result<Connection, String> {
        let part = |wanted: &str| {
            let mut parts = text.trim().split(';').filter_map(|part| part.split_once('='));
            let found = parts.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            let value = found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("the connection string has no `{wanted}`"))
        };
        let endpoint =
            Endpoint::parse(part("Endpoint")?).map_err(|why| format!("`Endpoint` of the connection string: {why}"))?;
        let secret = STANDARD.decode(part("Secret")?);
        Ok(Connection {
            endpoint,
            key: Key {
                id: part("Id")?.to_owned(),
                secret: secret.map_err(|_| "`Secret` of the connection string is no base64".to_owned())?,
            },
        })
    }
}

/// Signs every request that passes.
#[derive(Debug)]
pub(crate) struct Signature(pub(crate) Key);

// The trait leaves the context's lifetime out, and an implementation that names it is another signature.
#[allow(elided_lifetimes_in_paths)]
#[async_trait]
impl Policy for Signature {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let date = to_rfc7231(&OffsetDateTime::now_utc());
        let bytes: &[u8] = match request.body() {
            Body::Bytes(bytes) => bytes,
            // We send texts only; a stream would not be signed right, and the store would say so.
            Body::SeekableStream(_) => &[],
        };
        let digest = STANDARD.encode(Sha256::digest(bytes));
        let url = request.url();
        let mut host = url.host_str().unwrap_or_default().to_owned();
        if let Some(port) = url.port() {
            host.push_str(&format!(":{port}"));
        }
        let method = request.method().as_ref().to_ascii_uppercase();
        let signature = self.0.sign(&method, &request.path_and_query(), &date, &host, &digest);
        let authorization = format!(
            "HMAC-SHA256 Credential={}&SignedHeaders={SIGNED}&Signature={signature}",
            self.0.id
        );
        request.insert_header("x-ms-date", date);
        request.insert_header("x-ms-content-sha256", digest);
        request.insert_header("authorization", authorization);
        match next.split_first() {
            Some((policy, rest)) => policy.send(context, request, rest).await,
            None => Err(azure_core::Error::with_message(
                azure_core::error::ErrorKind::Other,
                "nothing follows the signature in this pipeline",
            )),
        }
    }
}

impl Key {
    fn sign(&self, method: &str, path: &str, date: &str, host: &str, digest: &str) -> String {
        let text = format!("{method}\n{path}\n{date};{host};{digest}");
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of every length");
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::Connection;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_connection_string_is_read_and_never_quoted() {
        let secret = STANDARD.encode("hidden");
        let text = format!("Endpoint=https://shop.azconfig.io;Id=ab-l0-s0:xyz;Secret={secret}");
        let connection = Connection::parse(&text).unwrap();
        assert_eq!(connection.endpoint.authority(), "shop.azconfig.io");
        assert!(!format!("{:?}", connection.key).contains("hidden"));
        for broken in [
            "",
            "Endpoint=https://a;Id=b",
            "Endpoint=http://shop.azconfig.io;Id=b;Secret=YQ==",
            "Endpoint=https://a;Id=b;Secret=!topsecret",
        ] {
            let why = Connection::parse(broken).err().unwrap();
            assert!(!why.contains("topsecret"), "{why}");
        }
    }

    #[test]
    fn the_signature_is_the_hmac_of_the_prescribed_text() {
        let secret = STANDARD.encode("key");
        let connection = Connection::parse(&format!("Endpoint=https://a;Id=i;Secret={secret}")).unwrap();
        // HMAC-SHA256 with the key `key` over "GET\n/kv?x=1\nd;h;e", made with OpenSSL.
        let signed = connection.key.sign("GET", "/kv?x=1", "d", "h", "e");
        assert_eq!(signed, "S2G79ujXVSnqJ43B6ew4bLSKPaxLeNMOz6VxIyfIDMU=");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reading(text in any::<String>()) {
            let _ = Connection::parse(&text);
        }
    }
}

//! `googleMonitoring` before recorded answers of Cloud Monitoring's PromQL API, and its tokens before recorded grants.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::secret::{Secret, Secrets};
use meridian_providers::metric::source_for;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::answers::{Answers, NOW, lasting, made, none, now, number, over, points, purpose, surroundings, transient};

/// A key of nobody's, made for this test: PKCS #8 in base64.
const KEY: &str = include_str!("key.base64");
/// Its public half, as PKCS #1.
const PUBLIC_KEY: &[u8] = include_bytes!("key.der");

fn settings(address: &str) -> Value {
    json!({"address": address, "project": "shop-1", "credentials": {"token": {"secret": "google"}}})
}

fn vector(elements: Value) -> Value {
    json!({"status": "success", "data": {"resultType": "vector", "result": elements}})
}

#[tokio::test]
async fn it_speaks_as_prometheus_does() {
    let server = Answers::json(200, vector(json!([{"metric": {}, "value": [NOW, "0.5"]}]))).await;
    let source = made("googleMonitoring", &settings(&server.address)).unwrap();
    let query = "sum(rate(run_googleapis_com:request_count[2m]))";
    assert_eq!(source.query(query, now()).await.unwrap(), number(0.5, NOW));
    let asked = server.last();
    assert_eq!(asked.method, "GET");
    assert_eq!(
        asked.path,
        "/v1/projects/shop-1/location/global/prometheus/api/v1/query"
    );
    assert_eq!(asked.header("authorization"), "Bearer s3cr3t-value");
    assert_eq!((asked.pair("query"), asked.pair("time")), (query, "1700000000.000"));
    let matrix = json!({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[NOW - 60, "1"], [NOW, "2"]]}]}});
    let server = Answers::json(200, matrix).await;
    let source = made("googleMonitoring", &settings(&server.address)).unwrap();
    let course = source.series(query, over(NOW - 60, NOW, 60)).await.unwrap();
    assert_eq!(points(&course), [(NOW - 60, 1.0), (NOW, 2.0)]);
    assert_eq!(
        (server.last().pair("step"), server.last().pair("start")),
        ("60s", "1699999940.000")
    );
}

#[tokio::test]
async fn nothing_several_and_errors_are_told_apart() {
    let of = |status: u16, body: Value| async move {
        let server = Answers::json(status, body).await;
        made("googleMonitoring", &settings(&server.address))
            .unwrap()
            .query("q", now())
            .await
    };
    assert_eq!(of(200, vector(json!([]))).await.unwrap(), none());
    let one = json!({"metric": {}, "value": [NOW, "1"]});
    assert!(lasting(of(200, vector(json!([one, one]))).await).contains("2 series"));
    let error = json!({"status": "error", "errorType": "bad_data", "error": "1:1: parse error"});
    assert!(lasting(of(400, error).await).contains("bad_data: 1:1: parse error"));
    let denied = json!({"error": {"code": 403, "message": "Permission monitoring.timeSeries.list denied", "status": "PERMISSION_DENIED"}});
    let what = lasting(of(403, denied).await);
    assert!(
        what.contains(
            "PERMISSION_DENIED: Permission monitoring.timeSeries.list denied; check the source's `credentials`"
        ),
        "{what}"
    );
    let exhausted = json!({"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}});
    assert!(transient(of(429, exhausted).await).contains("RESOURCE_EXHAUSTED"));
}

fn private_key() -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{KEY}-----END PRIVATE KEY-----\n")
}

/// The key file of a service account whose tokens come from the test's server.
struct KeyFile(String);

impl Secrets for KeyFile {
    fn resolve(&self, _workflow: &str, _name: &str) -> Result<Secret, Failure> {
        Ok(Secret::new(self.0.clone()))
    }
}

fn key_file(token_uri: &str, private_key: &str) -> Arc<KeyFile> {
    let file = json!({
        "type": "service_account", "project_id": "shop-1", "private_key_id": "k1", "private_key": private_key,
        "client_email": "meridian@shop-1.iam.gserviceaccount.com", "token_uri": token_uri,
    });
    Arc::new(KeyFile(file.to_string()))
}

#[tokio::test]
async fn a_service_account_asserts_itself_once_for_many_questions() {
    let grants = Answers::json(
        200,
        json!({"access_token": "granted-token", "expires_in": 3600, "token_type": "Bearer"}),
    )
    .await;
    let server = Answers::json(200, vector(json!([]))).await;
    let token_uri = format!("{}/token", grants.address);
    let settings =
        json!({"address": server.address, "project": "shop-1", "credentials": {"serviceAccount": {"secret": "key"}}});
    let here = surroundings(key_file(&token_uri, &private_key()));
    let source = source_for("googleMonitoring", &settings, &purpose(None), &here).unwrap();
    source.query("q", now()).await.unwrap();
    source.query("q", now()).await.unwrap();
    assert_eq!((grants.count(), server.count()), (1, 2));
    assert_eq!(server.last().header("authorization"), "Bearer granted-token");
    let asked = grants.last();
    assert_eq!(asked.pair("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = asked.pair("assertion");
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC_KEY);
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(claims["aud"], token_uri);
    assert_eq!(claims["iss"], "meridian@shop-1.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/monitoring.read");
}

#[tokio::test]
async fn a_key_that_is_none_is_a_lasting_failure() {
    let settings = json!({"project": "shop-1", "credentials": {"serviceAccount": {"secret": "key"}}, "address": "http://127.0.0.1:1"});
    let of = |secrets: Arc<KeyFile>| {
        let settings = settings.clone();
        async move {
            let source = source_for("googleMonitoring", &settings, &purpose(None), &surroundings(secrets)).unwrap();
            source.query("q", now()).await
        }
    };
    assert!(lasting(of(Arc::new(KeyFile("nonsense".into()))).await).contains("not the JSON of a service account"));
    assert!(
        lasting(
            of(key_file(
                "https://oauth2.googleapis.com/token",
                "-----BEGIN-----\nAAAA\n"
            ))
            .await
        )
        .contains("no RSA key")
    );
    assert!(lasting(of(key_file("http://example.com/token", &private_key())).await).contains("`token_uri`"));
    let grants = Answers::json(
        400,
        json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
    )
    .await;
    assert!(
        lasting(of(key_file(&grants.address, &private_key())).await)
            .contains("no token can be had: it refused the query with status 400: invalid_grant: Invalid JWT")
    );
}

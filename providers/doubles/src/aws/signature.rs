//! Signature version 4 by its form: a request that no AWS service would look at is refused before anything is done.
//!
//! The signature itself is not recomputed: a stand-in that knew the caller's secret would prove only that both know it.

use axum::http::HeaderMap;

use crate::aws::refusal::Refusal;

/// Checks the `Authorization` header: its algorithm, the scope of the credential and what it signs.
///
/// *Errors*: as AWS answers them, `MissingAuthenticationTokenException`, `IncompleteSignatureException` and
/// `InvalidSignatureException`.
pub fn check(headers: &HeaderMap, region: &str, service: &str) -> Result<(), Refusal> {
    let Some(header) = headers.get("authorization").and_then(|value| value.to_str().ok()) else {
        return Err(Refusal::new(
            "MissingAuthenticationTokenException",
            403,
            "Missing Authentication Token",
        ));
    };
    let incomplete = |what: &str| Refusal::new("IncompleteSignatureException", 403, what.to_owned());
    let fields = header
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| incomplete("Authorization header requires 'AWS4-HMAC-SHA256'."))?;
    let field = |name: &str| {
        let found = fields
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| incomplete(&format!("Authorization header requires '{name}' parameter.")))
    };

    let signature = field("Signature")?;
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(incomplete(
            "Authorization header's 'Signature' must be 64 hexadecimal digits.",
        ));
    }
    let signed = field("SignedHeaders")?;
    for name in ["host", "x-amz-date"] {
        if !signed.split(';').any(|header| header == name) {
            return Err(incomplete(&format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
    }
    scope(field("Credential")?, headers, region, service)
}

fn scope(credential: &str, headers: &HeaderMap, region: &str, service: &str) -> Result<(), Refusal> {
    let invalid = |what: String| Refusal::new("InvalidSignatureException", 403, what);
    let parts: Vec<&str> = credential.split('/').collect();
    let [key, date, scope_region, scope_service, "aws4_request"] = parts[..] else {
        return Err(invalid(
            "Credential must have five slash-delimited elements.".to_owned(),
        ));
    };
    if key.is_empty() {
        return Err(invalid("Credential must name an access key.".to_owned()));
    }
    if scope_region != region {
        return Err(invalid(format!(
            "Credential should be scoped to a valid region, not '{scope_region}'."
        )));
    }
    if scope_service != service {
        return Err(invalid(format!(
            "Credential should be scoped to correct service: '{service}'."
        )));
    }
    let stamp = headers
        .get("x-amz-date")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if date.len() != 8 || !stamp.starts_with(date) {
        return Err(invalid(format!(
            "Date in Credential scope does not match: '{date}' and '{stamp}'."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        headers.insert("x-amz-date", "20260302T100000Z".parse().unwrap());
        headers
    }

    fn signed(scope: &str) -> String {
        let signature = "0".repeat(64);
        format!("AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}")
    }

    #[test]
    fn a_request_without_a_well_formed_signature_is_refused() {
        assert!(
            check(
                &headers(&signed("20260302/eu-west-1/ecs/aws4_request")),
                "eu-west-1",
                "ecs"
            )
            .is_ok()
        );
        let code = |text: &str| check(&headers(text), "eu-west-1", "ecs").unwrap_err().code;
        assert_eq!(
            code(&signed("20260302/us-east-1/ecs/aws4_request")),
            "InvalidSignatureException"
        );
        assert_eq!(
            code(&signed("20260302/eu-west-1/s3/aws4_request")),
            "InvalidSignatureException"
        );
        assert_eq!(
            code(&signed("20260301/eu-west-1/ecs/aws4_request")),
            "InvalidSignatureException"
        );
        assert_eq!(code("Bearer abc"), "IncompleteSignatureException");
        let none = check(&HeaderMap::new(), "eu-west-1", "ecs").unwrap_err();
        assert_eq!(none.code, "MissingAuthenticationTokenException");
    }
}

//! What AWS's refusals mean: whether trying again can help, and what somebody has to change.

use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use meridian_engine::ports::failure::Failure;
use meridian_workflows::duration::Duration;

/// Without a word from AWS, a throttled call is tried again after this long.
const THROTTLED: Duration = Duration::from_secs(2);
/// A message longer than this says nothing more.
const MESSAGE_MAX: usize = 400;

/// A call that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub failure: Failure,
    pub kind: Kind,
}

/// What kind of no it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Throttled,
    /// The credentials are no longer good, and fresh ones may be.
    Expired,
    /// The credentials are no good, or may not do this.
    Forbidden,
    /// The thing is not there (any more).
    Missing,
    /// The thing is in no state for this.
    Conflict,
    /// The request is refused as such.
    Invalid,
    /// The other side, or the way there.
    Fault,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        refusal.failure
    }
}

/// Reads a failed call; `action` is its name in IAM, as in `ecs:UpdateService`.
pub fn of<E>(action: &str, error: &SdkError<E, HttpResponse>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(refused) => {
            let response = refused.raw();
            let retry_after = response
                .headers()
                .get("retry-after")
                .and_then(|text| text.trim().parse::<u64>().ok());
            let error = refused.err();
            said(
                action,
                response.status().as_u16(),
                error.code().unwrap_or_default(),
                error.message().unwrap_or_default(),
                retry_after,
            )
        }
        SdkError::ResponseError(broken) => {
            let status = broken.raw().status().as_u16();
            said(action, status, "", "the answer cannot be understood", None)
        }
        SdkError::TimeoutError(_) => fault(action, "no answer in time".into()),
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            unsent(action, &format!("{}", DisplayErrorContext(error)))
        }
        _ => fault(action, "the call failed in an unknown way".into()),
    }
}

/// A request that never was answered: no connection, or no credentials to sign it with.
pub fn unsent(action: &str, chain: &str) -> Refusal {
    let chain = brief(chain);
    let lower = chain.to_ascii_lowercase();
    if lower.contains("expiredtoken") {
        return Refusal {
            failure: Failure::transient(format!("{action}: the credentials have expired")),
            kind: Kind::Expired,
        };
    }
    let is_credentials = ["credential", "identity", "assumerole", "accessdenied"]
        .iter()
        .any(|word| lower.contains(word));
    if is_credentials && !lower.contains("timeout") && !lower.contains("timed out") && !lower.contains("connect") {
        return Refusal {
            failure: Failure::lasting(format!("{action}: no usable AWS credentials: {chain}")),
            kind: Kind::Forbidden,
        };
    }
    fault(action, format!("AWS cannot be reached: {chain}"))
}

fn fault(action: &str, why: String) -> Refusal {
    Refusal {
        failure: Failure::transient(format!("{action}: {why}")),
        kind: Kind::Fault,
    }
}

/// What an answer with an error in it means.
fn said(action: &str, status: u16, code: &str, message: &str, retry_after: Option<u64>) -> Refusal {
    let kind = kind(status, code, message);
    let message = brief(message);
    let named = match (code, message.as_str()) {
        ("", "") => format!("status {status}"),
        ("", message) => format!("status {status}: {message}"),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    let failure = match kind {
        Kind::Throttled => {
            let after = retry_after.map_or(THROTTLED, Duration::from_secs);
            Failure::overloaded(format!("{action} is throttled ({named})"), after)
        }
        Kind::Expired => Failure::transient(format!("{action}: the credentials have expired ({named})")),
        Kind::Forbidden => Failure::lasting(format!("{action} is not allowed ({named})")),
        Kind::Missing => Failure::lasting(format!("{action}: not found ({named})")),
        Kind::Conflict => Failure::transient(format!("{action} does not fit right now ({named})")),
        Kind::Invalid => Failure::lasting(format!("{action} is refused ({named})")),
        Kind::Fault => match retry_after {
            Some(seconds) => Failure::overloaded(
                format!("{action} failed at AWS ({named})"),
                Duration::from_secs(seconds),
            ),
            None => Failure::transient(format!("{action} failed at AWS ({named})")),
        },
    };
    Refusal { failure, kind }
}

/// Whether a refusal with this code passes by itself, whatever its status says: AWS throttles with a 400.
pub fn passes(code: &str) -> bool {
    match kind(400, code, "") {
        Kind::Throttled | Kind::Expired | Kind::Fault => true,
        Kind::Forbidden | Kind::Missing | Kind::Conflict | Kind::Invalid => false,
    }
}

fn kind(status: u16, code: &str, message: &str) -> Kind {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "SlowDown" => Kind::Throttled,
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Kind::Expired,
        "AccessDeniedException"
        | "AccessDenied"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "OptInRequired"
        | "BlockedException" => Kind::Forbidden,
        // Clocks that disagree are put right by somebody or by themselves.
        "RequestTimeTooSkewed" => Kind::Fault,
        "ServiceNotFoundException"
        | "ClusterNotFoundException"
        | "TaskSetNotFoundException"
        | "ResourceNotFoundException"
        | "ServiceDeploymentNotFoundException"
        | "RuleNotFound"
        | "ListenerNotFound"
        | "TargetGroupNotFound" => Kind::Missing,
        "ConflictException"
        | "UpdateInProgressException"
        | "ResourceInUseException"
        | "ResourceInUse"
        | "PriorityInUse" => Kind::Conflict,
        "ServerException"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Kind::Fault,
        // ECS says so with a general code when it is asked too much of one thing at once.
        "ClientException" if message.contains("Too many concurrent") => Kind::Throttled,
        _ => match status {
            429 => Kind::Throttled,
            401 | 403 => Kind::Forbidden,
            404 => Kind::Missing,
            409 => Kind::Conflict,
            408 | 500.. => Kind::Fault,
            // A 200 that cannot be read, and what no server should say.
            0..=399 => Kind::Fault,
            _ => Kind::Invalid,
        },
    }
}

fn brief(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use meridian_engine::ports::failure::Lasting;
    use meridian_workflows::duration::Duration;

    use super::{Kind, said, unsent};

    #[test]
    fn refusals_are_told_apart() {
        let cases = [
            (400, "ThrottlingException", Kind::Throttled, false),
            (429, "", Kind::Throttled, false),
            (400, "AccessDeniedException", Kind::Forbidden, true),
            (403, "", Kind::Forbidden, true),
            (400, "ExpiredTokenException", Kind::Expired, false),
            (400, "UnrecognizedClientException", Kind::Forbidden, true),
            (500, "ServerException", Kind::Fault, false),
            (503, "", Kind::Fault, false),
            (400, "ServiceNotFoundException", Kind::Missing, true),
            (400, "InvalidParameterException", Kind::Invalid, true),
            (400, "ConflictException", Kind::Conflict, false),
            (200, "", Kind::Fault, false),
        ];
        for (status, code, kind, is_lasting) in cases {
            let refusal = said("ecs:UpdateService", status, code, "because", None);
            assert_eq!(refusal.kind, kind, "{status} {code}");
            assert_eq!(refusal.failure.lasting == Lasting::Yes, is_lasting, "{status} {code}");
            assert!(refusal.failure.what.contains("ecs:UpdateService"));
        }
    }

    #[test]
    fn the_wait_that_aws_names_is_kept() {
        let refusal = said("ecs:UpdateService", 429, "", "", Some(7));
        let after = Some(Duration::from_secs(7));
        assert_eq!(refusal.failure.lasting, Lasting::No { retry_after: after });
    }

    #[test]
    fn no_way_there_is_transient_and_no_credentials_are_not() {
        let refused = unsent(
            "ecs:DescribeServices",
            "dispatch failure: io error: tcp connect error: Connection refused",
        );
        assert_eq!(refused.kind, Kind::Fault);
        let none = unsent(
            "ecs:DescribeServices",
            "the credential provider was not enabled: no providers in chain provided credentials",
        );
        assert_eq!((none.kind, none.failure.lasting), (Kind::Forbidden, Lasting::Yes));
    }
}

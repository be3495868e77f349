//! How the world says no: whether trying again can help, and when.

use meridian_workflows::duration::Duration;

/// Something outside did not do what it was asked, or its answer is not known.
///
/// The text is a lower-case phrase that names the thing; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    pub what: String,
    pub lasting: Lasting,
}

/// Whether the same request can succeed later without anybody's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Overload, time-outs, a connection that broke: try again, not before the given time where the other side named one.
    No { retry_after: Option<Duration> },
    /// Wrong credentials, a request that is refused as such: it stays so until somebody changes something.
    Yes,
}

impl Failure {
    pub fn transient(what: impl Into<String>) -> Failure {
        Failure {
            what: what.into(),
            lasting: Lasting::No { retry_after: None },
        }
    }

    pub fn overloaded(what: impl Into<String>, retry_after: Duration) -> Failure {
        Failure {
            what: what.into(),
            lasting: Lasting::No {
                retry_after: Some(retry_after),
            },
        }
    }

    pub fn lasting(what: impl Into<String>) -> Failure {
        Failure {
            what: what.into(),
            lasting: Lasting::Yes,
        }
    }
}

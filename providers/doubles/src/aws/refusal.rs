//! How an AWS service says no: an error code, a sentence and an HTTP status.

/// An error answer. Its code is the shape's name in AWS's service model (or the shape's `error.code` in the query protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub status: u16,
}

impl Refusal {
    pub fn new(code: &str, status: u16, message: impl Into<String>) -> Refusal {
        Refusal {
            code: code.to_owned(),
            message: message.into(),
            status,
        }
    }

    /// An ECS refusal that blames the caller without naming a parameter.
    pub fn client(message: impl Into<String>) -> Refusal {
        Refusal::new("ClientException", 400, message)
    }

    /// An ECS refusal of one parameter.
    pub fn parameter(message: impl Into<String>) -> Refusal {
        Refusal::new("InvalidParameterException", 400, message)
    }

    /// What both protocols answer to an operation they do not have.
    pub fn unknown_operation(message: impl Into<String>) -> Refusal {
        Refusal::new("UnknownOperationException", 400, message)
    }

    /// An ELBv2 refusal of a request that breaks the service model.
    pub fn validation(message: impl Into<String>) -> Refusal {
        Refusal::new("ValidationError", 400, message)
    }
}

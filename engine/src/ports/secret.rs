//! Secrets are names; only a provider that needs a value resolves one, at the moment of use.

use super::failure::Failure;

/// A secret's value: it has no `Debug` that shows it and no way into an event.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: String) -> Secret {
        Secret(value)
    }

    /// The value itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Resolves the name that a workflow uses, as far as the operator's configuration gives it to that workflow.
pub trait Secrets: Send + Sync {
    /// *Errors*: the workflow was not given a secret of this name, or its source cannot be read.
    fn resolve(&self, workflow: &str, name: &str) -> Result<Secret, Failure>;
}

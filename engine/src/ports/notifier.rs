//! Tells people. Best effort: it never blocks or changes a run.

use super::failure::Failure;

#[async_trait::async_trait]
pub trait Notifier: Send + Sync {
    /// `settings` are those of the workflow's notifier, as the plan has them.
    async fn tell(&self, settings: &serde_json::Value, message: &Message) -> Result<(), Failure>;
}

/// One message about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub run: String,
    pub workflow: String,
    /// What happened, as in `rollback-started`.
    pub event: String,
    pub text: String,
}

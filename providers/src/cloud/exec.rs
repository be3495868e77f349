//! A cloud of your own: an executable that is asked in JSON and answers in JSON.

mod program;
mod protocol;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Observed, Order, Provider, Target};
use meridian_engine::ports::secret::Secrets;
use meridian_engine::run::effect::Progress;
use meridian_workflows::vocabulary::{Availability, ProviderKind, SettingKey, SettingsReader};

use self::program::Program;
use self::protocol::{Answer, Request, Verb};
use self::settings::{Settings, Value};
use super::optional;

const SETTINGS: &[SettingKey] = &[
    SettingKey {
        name: "command",
        required: true,
        summary: "the program and its arguments, as a list; no shell reads it",
    },
    optional("timeout", "how long one call may take (default 20s, at most 25s)"),
    optional(
        "env",
        "variables for the program, texts or `{secret: name}`; of the engine's own it has few",
    ),
    optional("with", "anything; handed to the program with every request"),
    optional(
        "can",
        "what the platform can do: shares (a step as in 1%, or whole), mirroring, audiences (true, or its keys), preview, rollback (instant, restarts)",
    ),
];

/// The provider `exec` as the language knows it.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: "exec",
        availability: Availability::Available,
        settings: SETTINGS,
        read: SettingsReader(|settings| Ok(Settings::read(settings)?.capabilities())),
    }
}

/// The provider `exec`.
///
/// *Guarantees*: no shell; the program, with everything it started in its process group, ends with its time or with the call;
/// what it is told of the engine's environment is [`INHERITED`](crate::process::INHERITED) and nothing else; values of secrets
/// are taken out of what is quoted of it.
pub struct ExecCloud {
    secrets: Arc<dyn Secrets>,
}

impl ExecCloud {
    pub fn new(secrets: Arc<dyn Secrets>) -> ExecCloud {
        ExecCloud { secrets }
    }

    async fn ask(&self, target: &Target, verb: Verb<'_>) -> Result<Answer, Failure> {
        let region = &target.region;
        let settings = Settings::read(&target.settings);
        let settings = settings
            .map_err(|why| Failure::lasting(format!("the exec settings of region `{region}` are not sound: {why}")))?;
        let (env, hidden) = self.environment(target, &settings)?;
        let program = Program {
            command: &settings.command,
            env,
            hidden,
            timeout: settings.timeout,
        };
        let request = Request::new(target, &settings, &verb);
        let output = program.run(&request.text()?).await?;
        protocol::understood(&output.text, &verb).map_err(|why| output.not_understood(&why))
    }

    fn environment(
        &self,
        target: &Target,
        settings: &Settings,
    ) -> Result<(BTreeMap<String, String>, Vec<String>), Failure> {
        let (mut env, mut hidden) = (BTreeMap::new(), Vec::new());
        for (name, value) in &settings.env {
            let text = match value {
                Value::Text(text) => text.clone(),
                Value::Secret(secret) => {
                    let text = self.secrets.resolve(&target.workflow, secret)?.expose().to_owned();
                    if !text.is_empty() {
                        hidden.push(text.clone());
                    }
                    text
                }
            };
            if text.contains('\0') {
                return Err(Failure::lasting(format!("the variable `{name}` holds a NUL character")));
            }
            env.insert(name.clone(), text);
        }
        Ok((env, hidden))
    }
}

#[async_trait]
impl Provider for ExecCloud {
    async fn identify(&self, target: &Target) -> Result<String, Failure> {
        match self.ask(target, Verb::Identify).await? {
            Answer::Identity(identity) => Ok(format!("exec:{identity}")),
            Answer::Observed(_) | Answer::Progress(_) => Err(unasked()),
        }
    }

    async fn observe(&self, target: &Target) -> Result<Observed, Failure> {
        match self.ask(target, Verb::Observe).await? {
            Answer::Observed(observed) => Ok(*observed),
            Answer::Identity(_) | Answer::Progress(_) => Err(unasked()),
        }
    }

    async fn ensure(&self, target: &Target, order: &Order) -> Result<Progress, Failure> {
        match self.ask(target, Verb::Ensure(order)).await? {
            Answer::Progress(progress) => Ok(progress),
            Answer::Identity(_) | Answer::Observed(_) => Err(unasked()),
        }
    }
}

/// An answer is read as what was asked for; another cannot come out of that.
fn unasked() -> Failure {
    Failure::lasting("the program answers what was not asked")
}

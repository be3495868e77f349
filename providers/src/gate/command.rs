//! The gate `command`: a program's exit code is the answer.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::gate::{Gate, Question};
use meridian_engine::ports::secret::Secrets;
use meridian_engine::run::reading::Answer;
use meridian_workflows::workflow::{CommandGate, GateKind, Text};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command as Program};
use tokio::time::timeout;

use crate::gate::question;
use crate::process::{Group, inherited, shortened};

/// How much of the end of each output is kept.
const OUTPUT_BYTES_MAX: usize = 8 << 10;
/// How much of the last line goes into the journal.
const DETAIL_CHARS_MAX: usize = 240;
/// From asking a late program to end until it is killed.
const END_GRACE: Duration = Duration::from_secs(1);
/// How long the outputs are waited for once the program has ended: what it left running may hold them open.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// Runs a program, with little of the engine's environment ([`INHERITED`](crate::process::INHERITED)): everything else it is told
/// by the gate's `env`. `MERIDIAN_RUN`, `MERIDIAN_WORKFLOW`, `MERIDIAN_NODE`, `MERIDIAN_GATE`, `MERIDIAN_REGION` and
/// `MERIDIAN_VERSION` (the candidate's) are added.
///
/// *Guarantees*: no shell; no input; it and everything it started in its process group ends with the gate's timeout, and when
/// nobody waits for the answer any more. Exit code 0 is a yes, any other a no. A program that cannot be started, is killed, or
/// takes too long gave no answer, which is a failure, never a pass. Values of secrets are taken out of what is quoted.
pub struct Command {
    secrets: Arc<dyn Secrets>,
}

impl Command {
    /// A gate that takes secrets from here.
    pub fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets }
    }

    fn program(&self, question: &Question<'_>, gate: &CommandGate) -> Result<(Program, Vec<String>), Failure> {
        let values = question::values(question);
        let argument = |template: &String| {
            let text = question::rendered("the command", template, &values)?;
            if text.contains('\0') {
                Err(Failure::lasting("the command holds a NUL character"))
            } else {
                Ok(text)
            }
        };
        let arguments: Vec<String> = gate.run.iter().map(argument).collect::<Result<_, _>>()?;
        let (name, arguments) = arguments
            .split_first()
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Failure::lasting("the command names no program"))?;
        let env = question::texts(
            "the variable",
            &gate.env,
            &values,
            &question.workflow.name,
            &self.secrets,
        )?;
        if let Some((variable, _)) = env
            .iter()
            .find(|(name, text)| name.contains(['=', '\0']) || text.contains('\0'))
        {
            return Err(Failure::lasting(format!(
                "the variable `{variable}` cannot be set with this name and value"
            )));
        }
        let secret = |name: &str| matches!(gate.env.get(name), Some(Text::Secret(_)));
        let hidden = env
            .iter()
            .filter(|(name, text)| secret(name) && !text.is_empty())
            .map(|(_, text)| text.clone());
        let hidden = hidden.collect();
        let mut program = Program::new(name);
        program
            .args(arguments)
            .env_clear()
            .envs(inherited())
            .envs(told(question))
            .envs(env);
        program
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        program.process_group(0).kill_on_drop(true);
        Ok((program, hidden))
    }
}

#[async_trait]
impl Gate for Command {
    async fn read(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let GateKind::Command(gate) = &question.definition.kind else {
            return Err(Failure::lasting(format!("gate `{}` is no command gate", question.gate)));
        };
        let (mut program, hidden) = self.program(question, gate)?;
        let name = program.as_std().get_program().to_string_lossy().into_owned();
        let mut child = program.spawn().map_err(|error| unstarted(&name, &error))?;
        let group = Group::of(&child);
        let limit = question.definition.timeout;
        let ended = finish(&mut child, limit.std()).await;
        let (status, output) = match ended {
            Ok(Some(ended)) => ended,
            Ok(None) => {
                group.ask_to_end();
                // Its answer would come too late; what counts is that it is gone.
                let _ = timeout(END_GRACE, child.wait()).await;
                return Err(Failure::transient(format!(
                    "`{name}` took longer than {limit} and was ended"
                )));
            }
            Err(error) => return Err(Failure::transient(format!("could not wait for `{name}`: {error}"))),
        };
        answer(&name, status, &quoted(&output, &hidden))
    }
}

fn answer(name: &str, status: ExitStatus, said: &str) -> Result<Answer, Failure> {
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(Answer::Check {
            passed: code == 0,
            detail: format!("`{name}` exited with {code}{said}"),
        }),
        (None, Some(signal)) => Err(Failure::transient(format!(
            "`{name}` was ended by signal {signal}{said}"
        ))),
        (None, None) => Err(Failure::transient(format!("`{name}` ended without an exit code{said}"))),
    }
}

fn unstarted(name: &str, error: &io::Error) -> Failure {
    let what = format!("could not start `{name}`: {error}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
            Failure::lasting(what)
        }
        _ => Failure::transient(what),
    }
}

fn told(question: &Question<'_>) -> Vec<(&'static str, String)> {
    let mut told = vec![
        ("MERIDIAN_RUN", question.run.to_owned()),
        ("MERIDIAN_WORKFLOW", question.workflow.name.clone()),
        ("MERIDIAN_NODE", question.node.to_owned()),
        ("MERIDIAN_GATE", question.gate.to_owned()),
    ];
    if let Some(region) = &question.region {
        told.push(("MERIDIAN_REGION", region.name.to_owned()));
        told.extend(
            region
                .candidate
                .map(|candidate| ("MERIDIAN_VERSION", candidate.name.clone())),
        );
    }
    told
}

/// Waits for the program and reads the ends of what it says meanwhile; nothing when it takes longer than `limit`.
async fn finish(child: &mut Child, limit: Duration) -> io::Result<Option<(ExitStatus, Output)>> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (VecDeque::new(), VecDeque::new());
    let status = {
        let reading = async { tokio::join!(tail(stdout, &mut out), tail(stderr, &mut err)) };
        tokio::pin!(reading);
        let waiting = async {
            // Outputs are read all the while: a program that fills a pipe would otherwise wait for ever.
            tokio::select! {
                status = child.wait() => {
                    let _ = timeout(OUTPUT_GRACE, &mut reading).await;
                    status
                }
                _ = &mut reading => child.wait().await,
            }
        };
        match timeout(limit, waiting).await {
            Ok(status) => status?,
            Err(_) => return Ok(None),
        }
    };
    Ok(Some((status, Output { out, err })))
}

/// The ends of both outputs.
struct Output {
    out: VecDeque<u8>,
    err: VecDeque<u8>,
}

async fn tail(pipe: Option<impl AsyncRead + Unpin>, kept: &mut VecDeque<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0; 4 << 10];
    // An output that cannot be read says nothing; the exit code still does.
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        kept.extend(&chunk[..length]);
        let excess = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        kept.drain(..excess);
    }
}

/// The last line that was said, errors first, in one short printable line without secrets.
fn quoted(output: &Output, hidden: &[String]) -> String {
    let last_line = |bytes: &VecDeque<u8>| {
        let bytes: Vec<u8> = bytes.iter().copied().collect();
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for secret in hidden {
            text = text.replace(secret.as_str(), "***");
        }
        text.lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    };
    let line = last_line(&output.err)
        .or_else(|| last_line(&output.out))
        .unwrap_or_default();
    shortened(&line, DETAIL_CHARS_MAX)
}

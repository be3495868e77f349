//! One run of the program: a request in, an answer out, in time.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_workflows::duration::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::protocol;
use crate::process::{Group, inherited, shortened};

/// An answer is a few lines; more is a mistake, and is not kept in memory.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What is kept of stderr: its end.
const COMPLAINT_BYTES_MAX: usize = 8 << 10;
const COMPLAINT_LINES_MAX: usize = 5;
/// How much of either is quoted.
const QUOTED_CHARS_MAX: usize = 400;
/// From asking a late program to end until it is killed.
const END_GRACE: std::time::Duration = std::time::Duration::from_secs(1);
/// `EX_TEMPFAIL` of sysexits: trying again can help.
const TRANSIENT: i32 = 75;

/// A program, ready to be run.
pub struct Program<'a> {
    pub command: &'a [String],
    pub env: BTreeMap<String, String>,
    /// Values that are never quoted.
    pub hidden: Vec<String>,
    pub timeout: Duration,
}

/// What a program said that ended well.
pub struct Output {
    pub text: String,
    name: String,
    quoted: String,
    complaint: String,
}

impl Output {
    /// An answer that is none.
    pub fn not_understood(&self, why: &str) -> Failure {
        let Output {
            name,
            quoted,
            complaint,
            ..
        } = self;
        Failure::lasting(format!(
            "the answer of `{name}` cannot be used: {why}; it says `{quoted}`{complaint}"
        ))
    }
}

struct Ended {
    status: ExitStatus,
    out: Vec<u8>,
    is_too_long: bool,
    err: Vec<u8>,
}

impl Program<'_> {
    /// *Errors*: transient where it says so, is late or is killed; lasting where it cannot be started or ends otherwise.
    pub async fn run(&self, request: &str) -> Result<Output, Failure> {
        let name = self.command.first().map(String::as_str).unwrap_or_default();
        let mut child = self.command().spawn().map_err(|error| unstarted(name, &error))?;
        let group = Group::of(&child);
        let ended = tokio::time::timeout(self.timeout.std(), converse(&mut child, request)).await;
        let ended = match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => return Err(Failure::transient(format!("could not talk to `{name}`: {error}"))),
            Err(_) => {
                group.ask_to_end();
                // Its answer would come too late; what counts is that it is gone.
                let _ = tokio::time::timeout(END_GRACE, child.wait()).await;
                let limit = self.timeout;
                return Err(Failure::transient(format!(
                    "`{name}` took longer than {limit} and was ended"
                )));
            }
        };
        drop(group);
        self.judged(name, ended)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.command.first().map(String::as_str).unwrap_or_default());
        command
            .args(self.command.iter().skip(1))
            .env_clear()
            .envs(inherited())
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    fn judged(&self, name: &str, ended: Ended) -> Result<Output, Failure> {
        let complaint = self.complaint(&ended.err);
        // What is quoted may be mended, what is understood may not: a name with a letter replaced is another name.
        let is_text = std::str::from_utf8(&ended.out).is_ok();
        let text = String::from_utf8_lossy(&ended.out).into_owned();
        match (ended.status.code(), ended.status.signal()) {
            (Some(0), _) if ended.is_too_long => Err(Failure::lasting(format!(
                "`{name}` says more than {ANSWER_BYTES_MAX} bytes{complaint}"
            ))),
            (Some(0), _) => {
                let output = Output {
                    quoted: shortened(self.without_secrets(&text).trim(), QUOTED_CHARS_MAX),
                    text,
                    name: name.to_owned(),
                    complaint,
                };
                if is_text {
                    Ok(output)
                } else {
                    Err(output.not_understood("it is not UTF-8"))
                }
            }
            (Some(TRANSIENT), _) => Err(Failure {
                what: format!("`{name}` says that it may work later{complaint}"),
                lasting: Lasting::No {
                    retry_after: protocol::retry_after(&text),
                },
            }),
            (Some(code), _) => Err(Failure::lasting(format!("`{name}` exited with {code}{complaint}"))),
            (None, Some(signal)) => Err(Failure::transient(format!(
                "`{name}` was ended by signal {signal}{complaint}"
            ))),
            (None, None) => Err(Failure::transient(format!(
                "`{name}` ended without an exit code{complaint}"
            ))),
        }
    }

    /// The last lines of stderr.
    fn complaint(&self, err: &[u8]) -> String {
        let text = self.without_secrets(&String::from_utf8_lossy(err));
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(COMPLAINT_LINES_MAX)..];
        match last {
            [] => String::new(),
            lines => format!(": {}", shortened(&lines.join("; "), QUOTED_CHARS_MAX)),
        }
    }

    fn without_secrets(&self, text: &str) -> String {
        self.hidden
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Says the request, hears both outputs to their ends, and waits for the program.
async fn converse(child: &mut Child, request: &str) -> io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let asking = async {
        if let Some(mut stdin) = stdin {
            // A program that answers without listening closes its end; its answer counts.
            let _ = stdin.write_all(request.as_bytes()).await;
            let _ = stdin.shutdown().await;
        }
    };
    let hearing = async { tokio::join!(head(stdout), tail(stderr), asking) };
    let ((out, is_too_long), err, ()) = hearing.await;
    let status = child.wait().await?;
    Ok(Ended {
        status,
        out,
        is_too_long,
        err,
    })
}

/// The beginning of an output, and whether there was more.
async fn head(pipe: Option<impl AsyncRead + Unpin>) -> (Vec<u8>, bool) {
    let (mut kept, mut is_too_long) = (Vec::new(), false);
    hear(pipe, |bytes| {
        let room = ANSWER_BYTES_MAX - kept.len();
        is_too_long |= bytes.len() > room;
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    })
    .await;
    (kept, is_too_long)
}

/// The end of an output.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    hear(pipe, |bytes| {
        kept.extend_from_slice(bytes);
        kept.drain(..kept.len().saturating_sub(COMPLAINT_BYTES_MAX));
    })
    .await;
    kept
}

async fn hear(pipe: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0; 8 << 10];
    // An output that breaks has said what it has said; the exit code tells the rest.
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        take(&chunk[..length]);
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

//! What every verb has at hand: where the state is, how to print, who asks, what time zone people read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use meridian_engine::run::signal::Person;
use meridian_workflows::duration::Duration;

use super::problem::Problem;
use crate::report::paper::Paper;

/// Options of the process itself.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where runs, journals and the sandbox live
    #[arg(long, global = true, value_name = "DIR", default_value = STATE_DEFAULT, env = "MERIDIAN_STATE")]
    state: PathBuf,
    /// How logs are written to stderr (what is logged: MERIDIAN_LOG=info)
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    pub log: Log,
    /// How long a run stays this process's when it can no longer say so: others may take it over afterwards
    // Hidden: the default is right everywhere but in tests of taking over, which would otherwise wait for it dozens of times.
    #[arg(long, global = true, hide = true, value_name = "DURATION", default_value = LEASE_DEFAULT, env = "MERIDIAN_LEASE", value_parser = lease)]
    lease: Duration,
}

const STATE_DEFAULT: &str = ".meridian";

/// A lease of a process at a terminal: short, so that a run is soon free again after `kill -9`.
const LEASE_DEFAULT: &str = "6s";

/// Shorter ones are lost to a slow disk alone; longer ones keep a run from everybody.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

fn lease(text: &str) -> Result<Duration, String> {
    let lease: Duration = text
        .parse()
        .map_err(|error: meridian_workflows::duration::Error| error.to_string())?;
    if LEASES.contains(&lease) {
        Ok(lease)
    } else {
        Err(format!("a lease lasts between {} and {}", LEASES.start(), LEASES.end()))
    }
}

/// The form of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Log {
    Text,
    Json,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// `-o`, where a verb prints data.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Printing {
    /// How the answer is printed
    #[arg(long, short, value_enum, default_value = "text", value_name = "FORM")]
    pub output: Output,
}

impl Printing {
    pub fn is_json(self) -> bool {
        self.output == Output::Json
    }
}

/// Who asks, where a verb acts in somebody's name.
#[derive(Clone, Debug, clap::Args)]
pub struct Author {
    /// In whose name; recorded as unauthenticated [default: the login name]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// A role that the person acts in, as in `sre`; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
}

impl Author {
    /// The person. Nobody checks the name in embedded use, and the journal says so.
    pub fn person(&self) -> Result<Person, Problem> {
        let login = || {
            ["USER", "LOGNAME"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok())
        };
        let name = self
            .name
            .clone()
            .or_else(|| login().filter(|name| !name.is_empty()))
            .unwrap_or_else(login_name);
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(Problem::usage("a person needs a name").next("give one with `--as NAME`"));
        }
        Ok(Person::unauthenticated(name, self.roles.clone()))
    }
}

/// The name of this process's user, where the environment does not tell; in a container it may have none.
fn login_name() -> String {
    use std::os::unix::fs::MetadataExt;
    let id = std::fs::metadata("/proc/self")
        .map_or(0, |metadata| metadata.uid())
        .to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("uid-{id}"))
}

/// `--input k=v`, where a verb reads a workflow.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Inputs {
    /// An input of the workflow; may be given several times
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, String)>,
}

fn input(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(format!("an input is written as NAME=VALUE, got `{text}`")),
    }
}

impl Inputs {
    /// The inputs by name.
    ///
    /// *Errors*: one that is given twice with different values.
    pub fn map(&self) -> Result<BTreeMap<String, String>, Problem> {
        let mut map = BTreeMap::new();
        for (name, value) in &self.inputs {
            if let Some(other) = map.insert(name.clone(), value.clone())
                && other != *value
            {
                return Err(
                    Problem::usage(format!("the input `{name}` is given twice: `{other}` and `{value}`"))
                        .next("give it once"),
                );
            }
        }
        Ok(map)
    }
}

/// What every verb has at hand.
#[derive(Debug)]
pub struct Desk {
    pub paper: Paper,
    pub zone: TimeZone,
    /// How long the leases of this process last.
    pub lease: Duration,
    state: PathBuf,
}

impl Desk {
    pub fn new(args: Args) -> Desk {
        Desk {
            paper: Paper::new(),
            zone: TimeZone::system(),
            lease: args.lease,
            state: args.state,
        }
    }

    /// The directory that holds everything.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// The store's file.
    pub fn state_file(&self) -> PathBuf {
        self.state.join("state.db")
    }

    /// Where the sandbox lives.
    pub fn sandbox_dir(&self) -> PathBuf {
        self.state.join("sandbox")
    }

    /// How `meridian` is called so that it finds the same state, for commands that people are told to type.
    pub fn program(&self) -> String {
        if self.state == Path::new(STATE_DEFAULT) || std::env::var_os("MERIDIAN_STATE").is_some() {
            "meridian".to_owned()
        } else {
            format!("meridian --state {}", self.state.display())
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[cfg(test)]
mod tests {
    use super::{Inputs, LEASE_DEFAULT, input, lease};

    #[test]
    fn a_lease_is_neither_a_moment_nor_a_day() {
        assert!(lease(LEASE_DEFAULT).is_ok());
        for wrong in ["0s", "999ms", "1d", "6", "soon"] {
            assert!(lease(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_input_keeps_everything_after_the_first_equals_sign() {
        assert_eq!(input("version=v1=2"), Ok(("version".into(), "v1=2".into())));
        assert!(input("version").is_err());
        assert!(input("=v1").is_err());
    }

    #[test]
    fn an_input_with_two_values_is_refused() {
        let inputs = Inputs {
            inputs: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        };
        assert!(inputs.map().is_err());
    }
}

//! One machine of a story: a state directory, the sandbox that belongs to it, and real `meridian` processes that work on both.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that takes a moment on an idle machine. Only a hang is ever as long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The lease of processes that are to die: taking over from them waits for it, dozens of times.
pub const SHORT: &str = "2s";

/// The lease of all others: a machine that is busy for seconds must not take their runs from them.
const LONG: &str = "60s";

/// Ends with its sandbox and its directory.
pub struct Machine {
    dir: TempDir,
    has_sandbox: bool,
    /// What its processes find in their environment beside the usual.
    environment: Vec<(&'static str, String)>,
    spawned: AtomicU32,
}

/// What a finished process has left.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    /// With a sandbox that answers; its cloud needs a fifth of the usual time for everything.
    pub fn new() -> Machine {
        let mut machine = Machine::without_sandbox(Vec::new());
        machine.start_sandbox();
        machine.has_sandbox = true;
        machine
    }

    /// With no cloud of its own, and this in the environment of its processes.
    pub fn without_sandbox(environment: Vec<(&'static str, String)>) -> Machine {
        Machine {
            dir: tempfile::Builder::new().prefix("meridian-story-").tempdir().unwrap(),
            has_sandbox: false,
            environment,
            spawned: AtomicU32::new(0),
        }
    }

    /// A file for the story, beside the state.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A file in the state directory itself.
    pub fn write_state(&self, name: &str, text: &str) {
        let state = self.dir.path().join("state");
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("MERIDIAN_STATE", self.dir.path().join("state"))
            .env("MERIDIAN_LEASE", LONG)
            .env("USER", "oskar")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("NO_COLOR", "1");
        command
    }

    /// Starts a process; what it says goes to files, so that it can be read while it runs.
    pub fn spawn(&self, arguments: &[&str]) -> Process {
        self.spawn_for(LONG, arguments)
    }

    /// The same, with a lease of its own.
    pub fn spawn_for(&self, lease: &str, arguments: &[&str]) -> Process {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let said = |stream| self.dir.path().join(format!("{number}.{stream}"));
        let (stdout, stderr) = (said("out"), said("err"));
        let child = self
            .command(arguments)
            .env("MERIDIAN_LEASE", lease)
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Process {
            what: arguments.join(" "),
            child,
            stdout,
            stderr,
        }
    }

    /// Runs a process to its end.
    pub fn ask(&self, arguments: &[&str]) -> Answer {
        self.spawn(arguments).end()
    }

    /// Runs a process that succeeds, and reads its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.ask(&[arguments, &["-o", "json"]].concat());
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:#?}");
        serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {answer:#?}"))
    }

    /// A run's entries, oldest first.
    pub fn journal(&self, run: &str) -> Vec<Value> {
        let answer = self.ask(&["journal", run, "-o", "json"]);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        let entry = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        answer.stdout.lines().map(entry).collect()
    }

    /// Waits until the journal holds an event that is looked for, and answers with it.
    pub fn until_event(&self, run: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let journal = self.journal(run);
            events(&journal).find(|event| wanted(event)).cloned()
        })
    }

    /// Whether nobody is writing to the store at this moment.
    pub fn is_free(&self) -> bool {
        let store = rusqlite::Connection::open(self.dir.path().join("state/state.db")).unwrap();
        store.busy_timeout(Duration::ZERO).unwrap();
        store.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
    }

    // --- the sandbox ---

    pub fn start_sandbox(&self) {
        let answer = self.ask(&["sandbox", "--background", "--pace", "0.2"]);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
    }

    /// Ends the sandbox as a power cut would.
    pub fn kill_sandbox(&self) {
        let address = self.address().expect("a sandbox was started");
        signal("KILL", &address["pid"].to_string());
    }

    fn address(&self) -> Option<Value> {
        let text = fs::read(self.dir.path().join("state/sandbox/address.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// What the sandbox answers at a path.
    pub fn sandbox(&self, path: &str) -> Value {
        let address = self.address().expect("a sandbox was started");
        let host = address["url"]
            .as_str()
            .unwrap()
            .trim_start_matches("http://")
            .to_owned();
        get(&host, path).unwrap_or_else(|error| panic!("{host}{path}: {error}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.has_sandbox {
            return;
        }
        // It outlives every process of the story, this one too, unless it is told to end.
        let stopped = self
            .command(&["sandbox", "--stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("no sandbox was there to stop in {}", self.dir.path().display());
        }
    }
}

/// A `meridian` that runs; killed when the story lets go of it.
pub struct Process {
    what: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said so far, on both streams.
    pub fn said(&self) -> String {
        format!("{}{}", read(&self.stdout), read(&self.stderr))
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it ends within this time.
    pub fn ends_within(&mut self, bound: Duration) -> bool {
        let end = Instant::now() + bound;
        while !self.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(Duration::from_millis(2)));
        }
        true
    }

    /// Waits until it has said something.
    pub fn until_said(&mut self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.said().contains(words) {
            let is_late = self.is_over() && !self.said().contains(words);
            assert!(
                !is_late && Instant::now() < end,
                "`{}` never said `{words}`: {}",
                self.what,
                self.said()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// `STOP`, `CONT`, `INT`, …
    pub fn signal(&self, name: &str) {
        signal(name, &self.pid().to_string());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Answer {
        assert!(
            self.ends_within(PATIENCE),
            "`{}` goes on and on: {}",
            self.what,
            self.said()
        );
        Answer {
            code: self.child.wait().unwrap().code(),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already over in most stories; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until there is something to see; a bound, not a time that must pass.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "waited too long: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// All events of a journal, in order.
pub fn events(journal: &[Value]) -> impl Iterator<Item = &Value> {
    journal
        .iter()
        .flat_map(|entry| entry["events"].as_array().into_iter().flatten())
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Through the shell: the workspace has no unsafe code to call the kernel with.
fn signal(name: &str, pid: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .unwrap();
    assert!(status.success(), "could not send {name} to {pid}");
}

/// The body of a loopback answer; `Connection: close` makes its end the end of the stream.
fn get(host: &str, path: &str) -> std::io::Result<Value> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(|error| std::io::Error::other(format!("{error}: {answer}")))
}

//! The account as tests hold it: a router for the wire, hands for everything else, and a clock.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::aws::manners::AwsManners;
use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::ecs::behaviour::Behaviour;
use crate::ecs::serve;
use crate::ecs::state::State;
use crate::ecs::traffic::Traffic;
use crate::wire::{Served, Wire};

/// One region of one AWS account.
///
/// *Guarantees*: nothing moves but by requests and by [`Account::advance`]; the same calls give the same answers. Where
/// `MERIDIAN_TEST_JOURNALS` names a directory, the exchanges of every account are written there, a file each.
#[derive(Debug)]
pub struct Account {
    pub(super) state: Mutex<State>,
    writes: AtomicU64,
    /// Where every exchange is written for the judge of `tests/clouds`.
    journal: Option<Mutex<File>>,
}

impl Account {
    /// An empty account; its clock stands at 2 March 2026, 10:00 UTC.
    pub fn new(region: &str) -> Arc<Account> {
        Account::starting(
            region,
            Timestamp::from_second(1_772_445_600).unwrap_or(Timestamp::UNIX_EPOCH),
        )
    }

    /// An empty account whose clock stands at this instant.
    pub fn starting(region: &str, at: Timestamp) -> Arc<Account> {
        Arc::new(Account {
            state: Mutex::new(State::new(region, at)),
            writes: AtomicU64::new(0),
            journal: journal_for_the_judge().map(Mutex::new),
        })
    }

    /// Serves ECS (JSON 1.1), ELBv2 and STS (query) at one endpoint, told apart as their protocols do.
    pub fn router(self: &Arc<Account>) -> Router {
        serve::router(Arc::clone(self))
    }

    /// Serves the account behind a wire on a free port of loopback.
    ///
    /// *Errors*: no port can be had.
    pub async fn served(self: &Arc<Account>) -> std::io::Result<Served> {
        Wire::serve_with(self.router(), AwsManners, 0).await
    }

    pub fn region(&self) -> String {
        self.state.lock().world.region.clone()
    }

    pub fn now(&self) -> Timestamp {
        self.state.lock().world.now
    }

    /// Moves the clock; everything that is due on the way happens in its order.
    pub fn advance(&self, time: Duration) {
        self.state.lock().advance(time);
    }

    /// Lets the clock run by itself, `pace` times as fast as time does, as long as somebody holds the account.
    pub fn run_live(self: &Arc<Account>, pace: f64) {
        let account = Arc::downgrade(self);
        tokio::spawn(async move {
            let beat = Duration::from_millis(50);
            let mut beats = tokio::time::interval(beat);
            loop {
                beats.tick().await;
                let Some(account) = account.upgrade() else { return };
                account.advance(Duration::try_from_secs_f64(beat.as_secs_f64() * pace).unwrap_or(beat));
            }
        });
    }

    /// From now on the tasks of this image or task definition (`family:revision` or ARN) behave so, running ones included;
    /// a Lambda function's ARN with `Exits` fails its hooks.
    pub fn behave(&self, whose: &str, behaviour: Behaviour) {
        self.state.lock().world.behave(whose, behaviour);
    }

    /// Sets a CloudWatch alarm's state: ALARM or OK.
    pub fn alarm(&self, name: &str, ringing: bool) {
        let alarms = &mut self.state.lock().world.alarms;
        if ringing {
            alarms.insert(name.to_owned());
        } else {
            alarms.remove(name);
        }
    }

    /// At most so many entries on a page of any ECS list, whatever a request asks for.
    pub fn page_size(&self, entries: usize) {
        self.state.lock().page_max = entries;
    }

    /// New service deployments show late, as ECS's reads may: so long in `ListServiceDeployments`, and so long as a service's
    /// `currentServiceDeployment`.
    pub fn show_deployments_late(&self, listed: Duration, named: Duration) {
        let signed = |time: Duration| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        self.state.lock().world.late = [signed(listed), signed(named)];
    }

    /// Somebody else's ECS request: carried out as on the wire, but neither counted nor written down.
    pub fn ecs(&self, operation: &str, request: Value) -> Result<Value, Refusal> {
        self.state.lock().ecs(operation, Members::of(request))
    }

    /// Somebody else's ELBv2 request, its scalars as texts or JSON scalars.
    pub fn elb(&self, operation: &str, request: Value) -> Result<Value, Refusal> {
        self.state.lock().elb(operation, Members::query(texts(request)))
    }

    /// Who gets the traffic of this listener rule or listener, by weights and health.
    pub fn traffic(&self, rule: &str) -> Option<Traffic> {
        self.state.lock().traffic(rule)
    }

    /// Task definitions with at least one running task of this service.
    pub fn standing(&self, service: &str) -> Vec<String> {
        self.state.lock().standing(service)
    }

    /// Requests on the wire that changed something.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    pub(super) fn write_down(&self, line: impl FnOnce() -> Value) {
        if let Some(journal) = &self.journal {
            // A journal that cannot be written shows itself where it is read: the judge misses exchanges.
            let _ = writeln!(journal.lock(), "{}", line());
        }
    }

    pub(super) fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// A new file in the directory that `MERIDIAN_TEST_JOURNALS` names.
fn journal_for_the_judge() -> Option<File> {
    static ACCOUNTS: AtomicU64 = AtomicU64::new(0);
    let directory = std::env::var_os("MERIDIAN_TEST_JOURNALS")?;
    let name = format!(
        "{}-{}.jsonl",
        std::process::id(),
        ACCOUNTS.fetch_add(1, Ordering::Relaxed)
    );
    File::options()
        .create(true)
        .append(true)
        .open(Path::new(&directory).join(name))
        .ok()
}

/// The same tree with every scalar as text, as the query protocol has them.
fn texts(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.to_string()),
        Value::Bool(truth) => json!(truth.to_string()),
        Value::Array(items) => items.into_iter().map(texts).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, texts(value))).collect(),
        other => other,
    }
}

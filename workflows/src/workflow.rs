//! What a workflow means: valid, with inputs, defaults, presets and libraries applied. Nothing here is executable yet.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::share::Share;

/// A release as a platform team wrote it, with every default written out.
///
/// *Guarantees* (held by the decoder): names refer to things that exist; phases' `needs` have no cycle; shares of a region
/// rise; expressions parse and their units agree; zones exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub description: Option<String>,
    /// Inputs with their values, defaults applied.
    pub inputs: BTreeMap<String, String>,
    pub release: Release,
    /// In the order of the file.
    pub regions: IndexMap<String, Region>,
    /// In the order of the file.
    pub phases: Vec<Phase>,
    /// Gates that something uses, of the workflow and its libraries.
    pub gates: IndexMap<String, Gate>,
    pub metrics: BTreeMap<String, Metric>,
    pub sources: BTreeMap<String, Source>,
    pub calendars: BTreeMap<String, Calendar>,
    pub rollback: Rollback,
    pub on_conflict: OnConflict,
    pub schedules: Vec<Schedule>,
    pub notifications: Vec<Notification>,
    pub notifiers: BTreeMap<String, Notifier>,
    /// Known features that this build cannot run yet: `validate` warns about each, `run` refuses the workflow.
    pub not_available_yet: Vec<String>,
}

/// What is being released. A plain string is an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Release {
    Image(String),
    Package { url: String, sha256: String },
    TaskDefinition(String),
    Flag(String),
}

impl Release {
    /// The short name that people and telemetry use for this version: an image's tag (or digest), else the last path segment.
    pub fn version(&self) -> &str {
        let text = match self {
            Release::Image(image) => {
                let name = image.rsplit('/').next().unwrap_or(image);
                return match (name.split_once('@'), name.split_once(':')) {
                    (Some((_, digest)), _) => digest,
                    (None, Some((_, tag))) => tag,
                    (None, None) => name,
                };
            }
            Release::Package { url, .. } => url,
            Release::TaskDefinition(text) | Release::Flag(text) => text,
        };
        text.rsplit('/').next().unwrap_or(text)
    }
}

/// One region: where traffic is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    /// The provider's key, as in `kubernetes`.
    pub provider: String,
    /// The provider's settings, defaults merged under them.
    pub settings: serde_json::Value,
    /// This region's part of the world's traffic, for the blast-radius arithmetic.
    pub global_traffic: Option<Share>,
    /// An IANA zone; windows with `timezone: region` are judged in it.
    pub timezone: Option<String>,
    /// Overrides the workflow's release.
    pub release: Option<Release>,
}

/// A group of regions that are rolled out by one strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    pub name: String,
    pub regions: Vec<String>,
    /// Phases that must have passed; resolved (the phase before, when the file names none).
    pub needs: Vec<String>,
    /// Regions at once, at least 1.
    pub max_parallel: u32,
    /// Regions that may fail before the phase does.
    pub max_failures: u32,
    /// After each region's last stage, still watched.
    pub bake: Duration,
    pub before: Vec<String>,
    /// Gates judged once each region's bake is over.
    pub after: Vec<String>,
    /// Strategy resolved: presets applied, its `watch`, `before`, `after` added to each stage's.
    pub stages: Vec<Stage>,
}

/// One step of exposure inside a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    pub exposure: Exposure,
    pub bake: Duration,
    pub before: Vec<String>,
    pub watch: Vec<String>,
    pub after: Vec<String>,
    /// How long the shift may take until it counts as stuck.
    pub deadline: Duration,
}

/// Who meets the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exposure {
    /// Mirrored traffic: users see only the baseline's answers.
    Shadow(Share),
    /// Requests by what they carry, or users by name; several names under one key have commas between them.
    Audience(BTreeMap<String, String>),
    Traffic(Share),
}

impl Exposure {
    /// The share of live traffic on the candidate: zero for mirrored traffic and audiences.
    pub fn traffic(&self) -> Share {
        match self {
            Exposure::Traffic(share) => *share,
            Exposure::Shadow(_) | Exposure::Audience(_) => Share::ZERO,
        }
    }
}

/// A question that a node must pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    pub kind: GateKind,
    /// Time between two readings, at least one second.
    pub every: Duration,
    /// How long a breach must last before it acts.
    #[serde(rename = "for")]
    pub breached_for: Duration,
    /// No reading counts before this much of the node has passed.
    pub initial_delay: Duration,
    /// One reading's own deadline.
    pub timeout: Duration,
    pub on_no_data: Policy,
    pub on_error: Policy,
    /// What a failed `http`, `command` or threshold without its own severity does.
    pub on_fail: Policy,
    /// What evidence leads to that says neither yes nor no although there is enough of it.
    #[serde(default = "Policy::hold")]
    pub on_inconclusive: Policy,
    /// What it leads to that a bake is over and the gate cannot say anything yet: hold, or advance for a gate that only stops.
    #[serde(default = "Policy::hold")]
    pub on_pending: Policy,
    /// Left out of stages below this share of live traffic.
    #[serde(default)]
    pub from: Share,
    /// A hold lasts at most this long, then the run needs attention.
    pub hold_for: Duration,
    /// Judged and recorded, never acts.
    pub dry_run: bool,
}

/// What a judgement other than a pass leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// Must be written out and is warned about; never allowed for failures.
    Advance,
    Hold,
    Ask,
    Rollback,
}

impl Policy {
    fn hold() -> Policy {
        Policy::Hold
    }
}

/// The kinds of gate, one key each in the language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateKind {
    Metric(MetricGate),
    Approval(Approval),
    Window(Window),
    Signal(SignalGate),
    Lock(LockGate),
    Http(HttpGate),
    Command(CommandGate),
    Compare(CompareGate),
    Trend(TrendGate),
    Budget(BudgetGate),
    Kayenta(KayentaGate),
    Health,
    Completed(CompletedGate),
    /// Known to the language, not to this build; kept so that nothing is lost.
    NotYet {
        kind: String,
        settings: serde_json::Value,
    },
}

impl GateKind {
    /// The gate's key in the language.
    pub fn name(&self) -> &str {
        match self {
            GateKind::Metric(_) => "metric",
            GateKind::Approval(_) => "approval",
            GateKind::Window(_) => "window",
            GateKind::Signal(_) => "signal",
            GateKind::Lock(_) => "lock",
            GateKind::Http(_) => "http",
            GateKind::Command(_) => "command",
            GateKind::Compare(_) => "compare",
            GateKind::Trend(_) => "trend",
            GateKind::Budget(_) => "budget",
            GateKind::Kayenta(_) => "kayenta",
            GateKind::Health => "health",
            GateKind::Completed(_) => "completed",
            GateKind::NotYet { kind, .. } => kind,
        }
    }

    /// The metrics that it reads.
    pub fn metrics(&self) -> Vec<&str> {
        match self {
            GateKind::Metric(gate) => vec![&gate.query],
            GateKind::Compare(gate) => gate.of.metrics(),
            GateKind::Trend(gate) => std::iter::once(&gate.query)
                .chain(&gate.restarts)
                .map(String::as_str)
                .collect(),
            GateKind::Budget(gate) => {
                let reserve = gate.reserve.iter().map(|reserve| &reserve.requests);
                let pairs = reserve.chain(&gate.burn);
                pairs
                    .flat_map(|pair| [pair.good.as_str(), pair.total.as_str()])
                    .collect()
            }
            GateKind::Approval(_)
            | GateKind::Window(_)
            | GateKind::Signal(_)
            | GateKind::Lock(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Kayenta(_)
            | GateKind::Health
            | GateKind::Completed(_)
            | GateKind::NotYet { .. } => Vec::new(),
        }
    }

    /// Whether it asks about the baseline too.
    pub fn needs_baseline(&self) -> bool {
        match self {
            GateKind::Metric(gate) => gate.needs_baseline,
            GateKind::Compare(_) | GateKind::Kayenta(_) => true,
            GateKind::Trend(gate) => gate.against_baseline,
            GateKind::Budget(gate) => gate.burn.is_some(),
            GateKind::Approval(_)
            | GateKind::Window(_)
            | GateKind::Signal(_)
            | GateKind::Lock(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Health
            | GateKind::Completed(_)
            | GateKind::NotYet { .. } => false,
        }
    }

    /// Whether it has nothing to say where no baseline serves beside the candidate.
    pub fn is_concurrent_only(&self) -> bool {
        match self {
            GateKind::Metric(gate) => gate.concurrent_only || gate.ignores_candidate,
            // A test of two arms needs two arms.
            GateKind::Compare(_) | GateKind::Kayenta(_) => true,
            GateKind::Trend(_)
            | GateKind::Budget(_)
            | GateKind::Approval(_)
            | GateKind::Window(_)
            | GateKind::Signal(_)
            | GateKind::Lock(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::Health
            | GateKind::Completed(_)
            | GateKind::NotYet { .. } => false,
        }
    }

    /// Whether the core judges it alone, from people and time; every other kind asks the world.
    pub fn is_judged_in_the_core(&self) -> bool {
        matches!(
            self,
            GateKind::Approval(_) | GateKind::Window(_) | GateKind::Signal(_) | GateKind::Lock(_)
        )
    }
}

/// Thresholds over one metric. Expressions see `candidate`, `baseline` (in the metric's unit) and `samples` (counts).
/// At least one threshold is given; a reading that breaches none of them, with enough samples, passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricGate {
    /// A metric's name.
    pub query: String,
    /// Fewer samples in the candidate's window are no verdict yet.
    pub min_samples: Option<u64>,
    pub hold_when: Option<String>,
    pub ask_when: Option<String>,
    pub rollback_when: Option<String>,
    /// Whether any threshold mentions the baseline, so that it must be read too.
    pub needs_baseline: bool,
    /// Whether the thresholds speak of the baseline alone, so that a candidate without data says nothing against it.
    #[serde(default)]
    pub ignores_candidate: bool,
    /// Left out where no concurrent baseline serves (at 100 %).
    pub concurrent_only: bool,
}

/// A statistical test of both arms, which serve side by side. It fails once harm beyond `fails_beyond` is proven, and passes once harm as
/// large as the larger of `margin` and `floor` is ruled out; in between it says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompareGate {
    pub of: Compared,
    /// Kinds of request that are counted apart, `${{ kind }}` in the queries; none: all together.
    #[serde(default)]
    pub kinds: Vec<String>,
    pub harm: Harm,
    /// Harm that fails once it is proven, as a part of the baseline; none: the margin.
    #[serde(default)]
    pub fails_beyond: Option<f64>,
    /// Harm that a pass need not rule out, as a part of the baseline.
    pub margin: f64,
    /// The same, whatever the baseline is: a part of the candidate's requests for counts and buckets, in the metric's unit for a course.
    pub floor: f64,
    /// The same as a part of all requests of the region, which is more of the candidate's while its share is small.
    #[serde(default)]
    pub impact: f64,
    /// The chance of a false alarm that is this gate's own; none: an equal part of the stage's 1 %.
    pub alpha: Option<f64>,
    /// Fewer requests (or points of a course) in either arm are no verdict yet.
    pub min_samples: u64,
    /// Whether the split of requests is held against the share first.
    pub traffic_check: bool,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Compared {
    /// Bad requests among all of them; metrics of unit count.
    Counts { bad: String, total: String },
    /// How many requests were at most this slow, for each boundary in seconds (and without one: all of them).
    Buckets { buckets: String, boundaries: Vec<f64> },
    /// A gauge over time.
    Course {
        query: String,
        test: CourseTest,
        step: Duration,
        looks: u32,
    },
}

impl Compared {
    fn metrics(&self) -> Vec<&str> {
        match self {
            Compared::Counts { bad, total } => vec![bad, total],
            Compared::Buckets { buckets, .. } => vec![buckets],
            Compared::Course { query, .. } => vec![query],
        }
    }
}

/// How two courses are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CourseTest {
    /// Means of blocks, with the chance of a false alarm spent over the planned looks.
    Means,
    /// Mann and Whitney's test; `effect` is the least probability that a candidate's value exceeds a baseline's.
    Ranks { effect: f64 },
    /// Kayenta's judge with its own settings, and its labels; the margin is its `allowedIncrease` and `allowedDecrease`.
    Kayenta,
}

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Harm {
    More,
    Less,
    Either,
}

/// When a rising resource meets its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrendGate {
    pub query: String,
    /// In the metric's unit.
    pub limit: f64,
    /// Exhaustion proven to come sooner fails.
    pub within: Duration,
    /// To pass, it must be proven to last this long; none: it passes where the estimate lasts for `within`.
    #[serde(default)]
    pub lasts: Option<Duration>,
    /// How far back the course reaches, at most; never before the candidate's first traffic.
    pub window: Duration,
    pub step: Duration,
    /// Whether the baseline's course is subtracted: what both arms do is not the candidate's.
    pub against_baseline: bool,
    pub block: Block,
    /// A metric that counts restarts: the course begins after the last one.
    pub restarts: Option<String>,
}

/// What stands for a block of neighbouring points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Block {
    Mean,
    /// The low point: for heaps that are swept now and then.
    Minimum,
}

/// The error budget of an objective, and how fast it burns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetGate {
    /// The part of requests that must be good, between 0 and 1.
    pub objective: f64,
    pub reserve: Option<Reserve>,
    /// Burn-rate alarms on each arm's own requests.
    pub burn: Option<Requests>,
}

/// What is left of the budget of a period; the parts are of the whole budget, and may be below zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reserve {
    pub requests: Requests,
    pub over: Duration,
    pub hold_below: Option<f64>,
    pub ask_below: Option<f64>,
    /// Below this nothing is released until a person leaves the gate out.
    pub freeze_below: Option<f64>,
}

/// Two metrics of unit count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    pub good: String,
    pub total: String,
}

/// An analysis by a Kayenta server, over a window that ends now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KayentaGate {
    /// The server's root.
    pub address: String,
    /// A secret's name.
    pub token: Option<String>,
    pub canary_config_id: String,
    pub application: Option<String>,
    pub metrics_account: Option<String>,
    pub storage_account: Option<String>,
    pub configuration_account: Option<String>,
    /// At least one; by the name that the configuration's metrics give it.
    pub scopes: BTreeMap<String, KayentaScope>,
    /// None: all since the share last changed.
    pub lookback: Option<Duration>,
    /// The window ends so long before now.
    pub delay: Duration,
    /// Whole seconds.
    pub step: Duration,
    /// Points of a window; fewer are no verdict yet.
    pub min_samples: u64,
    /// Scores from here on pass.
    pub pass: u8,
    /// Scores below fail. At most `pass`.
    pub marginal: u8,
    /// An analysis that takes longer is an error.
    pub completes_within: Duration,
}

/// Where Kayenta finds the metrics of one arm: templates, filled in for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KayentaScope {
    pub scope: String,
    /// None: the region's name.
    pub location: Option<String>,
    pub params: BTreeMap<String, String>,
}

/// People say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Different people needed.
    pub count: u32,
    /// Roles (or people) who may answer; empty = anybody.
    pub from: Vec<String>,
    /// Roles of which at least one approver each is needed.
    pub require: Vec<String>,
    /// Counted from the moment of asking; none = never.
    pub expires: Option<Duration>,
    pub on_expiry: Policy,
    /// Whether the person who started the run may approve.
    pub starter_may_approve: bool,
}

/// A system outside says how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalGate {
    /// The name under which it is posted.
    pub name: String,
    /// CEL over `payload` (JSON); must be true to pass. None: the post itself says passed or failed.
    pub accept: Option<String>,
    /// Counted from the moment of asking; none = never.
    pub expires: Option<Duration>,
    /// What silence leads to; never advances.
    pub on_expiry: Policy,
}

/// Another workflow's newest run has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompletedGate {
    pub workflow: String,
    /// Only runs that released the same version count.
    pub same_release: bool,
    /// Only runs that were started with these count.
    pub inputs: BTreeMap<String, String>,
    /// An older success counts no more; none = however old.
    pub within: Option<Duration>,
}

/// What only one run may do at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockGate {
    /// Across all workflows of a store.
    pub name: String,
}

/// Opening hours. Empty `days` means every day; no `from`/`to` means the whole day; `to` before `from` crosses midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    pub days: Vec<Day>,
    pub from: Option<jiff::civil::Time>,
    pub to: Option<jiff::civil::Time>,
    pub timezone: Zone,
    /// Calendars whose denials close the window.
    pub calendars: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Zone {
    /// The zone of the region that asks.
    Region,
    /// An IANA zone.
    Named(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// When nothing may move. Deny beats allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calendar {
    pub deny: Vec<Denial>,
}

/// One closed stretch of a calendar, with the reason that people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    pub closed: Closed,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Closed {
    /// Whole days, both included, in the judged zone.
    Dates {
        from: jiff::civil::Date,
        to: jiff::civil::Date,
    },
    /// Every week; empty days = all; no times = the whole day.
    Weekly {
        days: Vec<Day>,
        from: Option<jiff::civil::Time>,
        to: Option<jiff::civil::Time>,
    },
    /// From an iCalendar file: local times in the judged zone, end excluded.
    Local {
        from: jiff::civil::DateTime,
        to: jiff::civil::DateTime,
    },
    /// From an iCalendar file: instants, end excluded.
    Instants { from: jiff::Timestamp, to: jiff::Timestamp },
}

/// An HTTP question: status, then CEL over the JSON body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGate {
    /// A template.
    pub url: String,
    pub method: String,
    /// Values are templates or secrets.
    pub headers: BTreeMap<String, Text>,
    pub body: Option<String>,
    /// Accepted statuses; at least one.
    pub status: Vec<u16>,
    /// CEL over `body` (JSON) and `status`; must be true to pass.
    pub pass_when: Option<String>,
}

/// A program's exit code is the answer: 0 passes, anything else fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandGate {
    /// Program and arguments, each a template; never a shell.
    pub run: Vec<String>,
    pub env: BTreeMap<String, Text>,
}

/// A template, or the name of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    Template(String),
    Secret(String),
}

/// A named question to a metric source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    pub source: String,
    pub unit: MetricUnit,
    pub window: Duration,
    /// A template, rendered once per arm.
    pub query: String,
    /// A template whose answer is the number of samples in the window.
    pub samples: Option<String>,
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricUnit {
    Ratio,
    Percent,
    Seconds,
    Bytes,
    Count,
    PerSecond,
    Custom(String),
}

/// Where metrics are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The source's key, as in `prometheus`.
    pub kind: String,
    pub settings: serde_json::Value,
}

/// How a rollback goes about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    pub scope: Scope,
    /// From the decision until every region in scope must be verified at share 0; then it escalates.
    pub deadline: Duration,
    /// Between share 0 and the removal of the candidate; before old capacity goes after a promotion too.
    pub drain: Duration,
    /// How long the old version stays ready to take everything back, between a region's last stage and its removal.
    #[serde(default)]
    pub keep_baseline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Back to the previous passed share, then hold.
    Stage,
    Region,
    Phase,
    Run,
}

/// What happens to a run that wants a claimed target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnConflict {
    Queue,
    Reject,
    /// Same workflow only: the older run is rolled back first.
    Supersede,
}

/// A scheduled start; it takes the newest submitted release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, day of week.
    pub cron: String,
    pub timezone: String,
    pub missed: Missed,
}

/// What happens to an instant that passed while the engine was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    Skip,
    RunOnce,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub to: String,
    pub events: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notifier {
    pub kind: String,
    pub settings: serde_json::Value,
}

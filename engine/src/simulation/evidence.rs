//! Readings of gates that judge more than one number: counts, courses and budgets of a world that is plainly healthy, or plainly not.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::{
    BudgetGate, CompareGate, Compared, Gate, GateKind, MetricUnit, Requests, TrendGate,
};

use super::curve::Arm;
use super::scene::Scene;
use super::telemetry::usual;
use crate::run::effect::Arms;
use crate::run::judge::ALARMS;
use crate::run::reading::{Analysis, Answer, Burn, Classified, Counts, Course, KindCounts, Point, Sample};

/// Requests a second of a region: enough that a stage's evidence is there with its first readings.
const REQUESTS: f64 = 100_000.0;
/// The part of requests that fails: in health, and in a breach.
const BAD: [f64; 2] = [0.0001, 0.2];

/// What is asked, and of which world. What a scenario scripts comes first; the rest is as healthy, or as sick, as it can be.
pub struct Asked<'a> {
    pub plan: &'a Plan,
    pub scene: &'a Scene<'a>,
    pub gate: &'a Gate,
    pub arms: &'a Arms,
    pub share: Share,
    pub breaches: bool,
    pub now: Timestamp,
}

impl Asked<'_> {
    /// The answer that such a world gives; none to gates of other kinds.
    pub fn answer(&self) -> Option<Answer> {
        match &self.gate.kind {
            GateKind::Compare(gate) => Some(self.compared(gate)),
            GateKind::Trend(gate) => Some(self.trend(gate)),
            GateKind::Budget(gate) => Some(self.budget(gate)),
            GateKind::Kayenta(_) => Some(analysed(!self.breaches, self.arms.since, self.now)),
            GateKind::Health => Some(Answer::Health {
                is_settled: true,
                diagnosis: self.breaches.then(|| "simulated: unhealthy".to_owned()),
            }),
            GateKind::Metric(_)
            | GateKind::Approval(_)
            | GateKind::Window(_)
            | GateKind::Signal(_)
            | GateKind::Lock(_)
            | GateKind::Completed(_)
            | GateKind::Http(_)
            | GateKind::Command(_)
            | GateKind::NotYet { .. } => None,
        }
    }

    fn bad(&self) -> f64 {
        BAD[usize::from(self.breaches)]
    }

    fn compared(&self, gate: &CompareGate) -> Answer {
        match &gate.of {
            Compared::Counts { bad, total } => {
                let of = |arm: Arm, share: f64, rate: f64| Counts {
                    window: self.arms.window,
                    total: self.counted(total, arm, self.requests(share)),
                    parts: vec![self.counted(bad, arm, self.requests(share) * rate)],
                };
                self.of_kinds(gate, of)
            }
            Compared::Buckets { boundaries, .. } => {
                // Nearly everything is below the first boundary, or a fifth of it above all of them.
                let of = |_: Arm, share: f64, bad: f64| Counts {
                    window: self.arms.window,
                    total: self.sample(Some(self.requests(share))),
                    parts: vec![self.sample(Some(self.requests(share) * (1.0 - bad))); boundaries.len()],
                };
                self.of_kinds(gate, of)
            }
            Compared::Course { query, step, .. } => {
                let level = usual(&self.unit(query));
                let factor = if self.breaches { 2.0 } else { 1.0 };
                Answer::Course {
                    candidate: self.course(query, Arm::Candidate, *step, |_| level * factor),
                    baseline: self.both(|| self.course(query, Arm::Baseline, *step, |_| level)),
                    restarts: None,
                }
            }
        }
    }

    /// Both arms' counts, by the arm, its share and the part of requests that is bad; every kind of request gets an equal part of them.
    fn of_kinds(&self, gate: &CompareGate, of: impl Fn(Arm, f64, f64) -> Counts) -> Answer {
        let share = self.share.fraction();
        let each = gate.kinds.len().max(1) as f64;
        let candidate = || of(Arm::Candidate, share / each, self.bad());
        let baseline = || self.both(|| of(Arm::Baseline, (1.0 - share) / each, BAD[0]));
        if gate.kinds.is_empty() {
            return Answer::Counts {
                candidate: candidate(),
                baseline: baseline(),
                kinds: Vec::new(),
            };
        }
        let kind = |name: &String| KindCounts {
            name: name.clone(),
            candidate: candidate(),
            baseline: baseline(),
        };
        Answer::of_kinds(gate.kinds.iter().map(kind).collect())
    }

    fn trend(&self, gate: &TrendGate) -> Answer {
        let level = (usual(&self.unit(&gate.query))).min(gate.limit / 2.0);
        let slope = if self.breaches {
            gate.limit / 2.0 / gate.within.as_secs_f64() * 4.0
        } else {
            0.0
        };
        let (query, step) = (&gate.query, gate.step);
        let rising = |lived: f64| (level + slope * lived).min(gate.limit * 0.99);
        let restarts = gate.restarts.as_ref();
        Answer::Course {
            candidate: self.course(query, Arm::Candidate, step, rising),
            baseline: self.both(|| self.course(query, Arm::Baseline, step, |_| level)),
            restarts: restarts.map(|restarts| self.course(restarts, Arm::Candidate, step, |_| 0.0)),
        }
    }

    fn budget(&self, gate: &BudgetGate) -> Answer {
        let share = self.share.fraction();
        let allowed = 1.0 - gate.objective;
        let reserve = gate.reserve.as_ref().map(|reserve| {
            let rate = if self.breaches && gate.burn.is_none() { 2.0 } else { 0.1 };
            self.spent(&reserve.requests, Arm::Candidate, 1.0, allowed * rate, reserve.over)
        });
        let burn = gate.burn.iter().flat_map(|requests| {
            ALARMS.map(|alarm| {
                let rate = if self.breaches { alarm.burn * 2.0 } else { 0.1 };
                let window = |seconds: f64| Duration::from_secs(seconds as u64).min(self.arms.window);
                let of = |window| self.spent(requests, Arm::Candidate, share, allowed * rate, window);
                let theirs = || self.spent(requests, Arm::Baseline, 1.0 - share, allowed * 0.1, window(alarm.long));
                Burn {
                    long: of(window(alarm.long)),
                    short: of(window(alarm.short)),
                    baseline: self.both(theirs),
                }
            })
        });
        Answer::Budget {
            reserve,
            burn: burn.collect(),
        }
    }

    /// All requests and the bad ones; a script tells the good ones.
    fn spent(&self, requests: &Requests, arm: Arm, share: f64, rate: f64, window: Duration) -> Counts {
        let usual = REQUESTS * window.as_secs_f64() * share;
        let total = self.counted(&requests.total, arm, usual);
        let of = total.value.unwrap_or(usual);
        let good = self.counted(&requests.good, arm, of * (1.0 - rate));
        let bad = total.value.zip(good.value).map(|(total, good)| (total - good).max(0.0));
        Counts {
            window,
            total,
            parts: vec![self.sample(bad)],
        }
    }

    fn both<T>(&self, baseline: impl FnOnce() -> T) -> Option<T> {
        self.arms.baseline.as_ref().map(|_| baseline())
    }

    fn requests(&self, share: f64) -> f64 {
        (REQUESTS * self.arms.window.as_secs_f64() * share).round()
    }

    /// What the script says of a metric now, or what is usual.
    fn counted(&self, metric: &str, arm: Arm, usual: f64) -> Sample {
        let said = self.scene.value(metric, self.arms.region, arm, self.now);
        self.sample(said.unwrap_or(Some(usual.round())))
    }

    fn sample(&self, value: Option<f64>) -> Sample {
        Sample {
            value,
            samples: None,
            at: Some(self.now),
            query: "simulated".to_owned(),
        }
    }

    /// Points back to the beginning of the window, as scripted; or `usual`, which takes the seconds since then.
    fn course(&self, metric: &str, arm: Arm, step: Duration, usual: impl Fn(f64) -> f64) -> Course {
        let window = self.arms.window;
        let from = self.now.saturating_sub(window.signed()).unwrap_or(self.now);
        let said = self.scene.values(metric, self.arms.region, arm, from, self.now, step);
        let count = window.as_millis() / step.as_millis().max(1);
        let healthy = || {
            let points = (0..=count).rev().map(|back| {
                let before = Duration::from_millis(step.as_millis().saturating_mul(back));
                let instant = self.now.saturating_sub(before.signed()).unwrap_or(self.now);
                (instant, usual(window.saturating_sub(before).as_secs_f64()))
            });
            points.collect()
        };
        let points: Vec<(Timestamp, f64)> = said.unwrap_or_else(healthy);
        Course {
            query: "simulated".to_owned(),
            step,
            points: points
                .into_iter()
                .filter(|point| point.1.is_finite())
                .map(|(at, value)| Point(at, value))
                .collect(),
        }
    }

    fn unit(&self, metric: &str) -> MetricUnit {
        let metric = self.plan.workflow().metrics.get(metric);
        metric.map_or(MetricUnit::Count, |metric| metric.unit.clone())
    }
}

/// An analysis that has just ended, for better or for worse.
pub fn analysed(passes: bool, from: Timestamp, to: Timestamp) -> Answer {
    let (score, label, classification) = if passes {
        (100.0, "Pass", "Pass")
    } else {
        (0.0, "Fail", "High")
    };
    Answer::Analysis(Box::new(Analysis {
        execution: Some("simulated".to_owned()),
        from,
        to,
        points: 60,
        is_complete: true,
        status: "succeeded".to_owned(),
        score: Some(score),
        classification: Some(label.to_owned()),
        reason: None,
        metrics: vec![Classified {
            name: "simulated".to_owned(),
            classification: classification.to_owned(),
            is_critical: false,
        }],
        query: "simulated".to_owned(),
    }))
}

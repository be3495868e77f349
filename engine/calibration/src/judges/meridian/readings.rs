//! What a metric source would answer to the gates' questions, made of the ticks that were seen.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use meridian_engine::run::reading::{Answer, Counts, Course, KindCounts, Point, Sample};
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{CompareGate, Compared, Gate, GateKind, Metric};

use crate::corpus::{self, Arm, BUCKETS, EDGES_MS, Observation, STRATA_MAX};
use crate::judges::window::quantile_ms;

/// The kinds of request as the workflow calls them.
const KINDS: [&str; STRATA_MAX] = ["a", "b", "c"];
const MIB: f64 = 1024.0 * 1024.0;
/// No window over single ticks is longer.
const TICKS_MAX: usize = 32;

/// Everything that has been scraped in one region.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    tick_seconds: f64,
    ticks: usize,
    since: usize,
    exposed: usize,
    /// The last ticks, of the candidate and the baseline.
    recent: VecDeque<[Option<corpus::Counts>; 2]>,
    /// Sums since the share last changed, by kind of request; none where no series has been seen.
    sums: [Option<[Sums; STRATA_MAX]>; 2],
    /// Gauges since the candidate's first request: the tick, memory and processor.
    gauges: [Vec<(usize, f64, f64)>; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    requests: f64,
    errors: f64,
    buckets: [f64; BUCKETS],
}

impl Readings {
    pub fn new(tick_seconds: f64) -> Readings {
        Readings {
            tick_seconds,
            ..Readings::default()
        }
    }

    pub fn ticks(&self) -> usize {
        self.ticks
    }

    pub fn now(&self) -> Timestamp {
        self.at(self.ticks)
    }

    pub fn since(&self) -> Timestamp {
        self.at(self.since)
    }

    pub fn exposed(&self) -> Timestamp {
        self.at(self.exposed)
    }

    fn at(&self, tick: usize) -> Timestamp {
        let seconds = 1_700_000_000 + (tick as f64 * self.tick_seconds) as i64;
        Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The share changes: counting begins anew.
    pub fn shifts(&mut self) {
        self.since = self.ticks;
        self.sums = [None; 2];
        if self.gauges[0].is_empty() {
            self.exposed = self.ticks;
        }
    }

    pub fn take(&mut self, tick: &Observation) {
        self.ticks += 1;
        let arms = [tick.candidate.as_ref(), tick.baseline.as_ref()];
        self.recent.push_back(arms.map(|arm| arm.map(Arm::pooled)));
        if self.recent.len() > TICKS_MAX {
            self.recent.pop_front();
        }
        for (at, arm) in arms.into_iter().enumerate() {
            let Some(arm) = arm else { continue };
            let sums = self.sums[at].get_or_insert_default();
            for (sum, counts) in sums.iter_mut().zip(&arm.strata) {
                sum.requests += f64::from(counts.requests);
                sum.errors += f64::from(counts.errors);
                for (sum, bucket) in sum.buckets.iter_mut().zip(counts.buckets) {
                    *sum += f64::from(bucket);
                }
            }
            if tick.share > 0.0 {
                self.gauges[at].push((self.ticks, arm.memory_mib * MIB, arm.cpu));
            }
        }
    }

    /// The answer to one gate's question.
    pub fn answer(&self, gate: &Gate, metrics: &BTreeMap<String, Metric>) -> Answer {
        match &gate.kind {
            GateKind::Metric(of) => {
                let window = metrics[&of.query].window;
                let sample = |arm| self.sample(&of.query, window, arm);
                let has_baseline = self.recent.back().is_some_and(|arms| arms[1].is_some());
                Answer::Metric {
                    candidate: sample(0),
                    baseline: (of.needs_baseline && has_baseline).then(|| sample(1)),
                }
            }
            GateKind::Compare(of) => match &of.of {
                Compared::Counts { .. } => self.requests(of, |sums| vec![sums.errors]),
                Compared::Buckets { boundaries, .. } => self.requests(of, |sums| {
                    let below = |boundary: &f64| {
                        let edge = EDGES_MS
                            .iter()
                            .position(|edge| (edge / 1_000.0 - boundary).abs() < 1e-9);
                        sums.buckets[..=edge.unwrap_or(BUCKETS - 1)].iter().sum()
                    };
                    boundaries.iter().map(below).collect()
                }),
                Compared::Course { query, .. } => self.course(query, self.since),
            },
            GateKind::Trend(of) => self.course(&of.query, self.exposed),
            kind => Answer::Error {
                why: format!("the corpus has no telemetry for `{}`", kind.name()),
            },
        }
    }

    /// One number over the last ticks of one arm; none where no series exists in all of them.
    fn sample(&self, query: &str, window: Duration, arm: usize) -> Sample {
        let ticks = ((window.as_secs_f64() / self.tick_seconds) as usize).clamp(1, TICKS_MAX);
        let seen: Vec<&corpus::Counts> = self
            .recent
            .iter()
            .rev()
            .take(ticks)
            .filter_map(|arms| arms[arm].as_ref())
            .collect();
        let mut all = corpus::Counts::default();
        for counts in &seen {
            all.requests += counts.requests;
            all.errors += counts.errors;
            for (sum, bucket) in all.buckets.iter_mut().zip(counts.buckets) {
                *sum += bucket;
            }
        }
        let value = match query {
            "error-rate" | "errors-now" => f64::from(all.errors) / f64::from(all.requests),
            "p99" => quantile_ms(&all, 0.99) / 1_000.0,
            _ => f64::from(all.requests),
        };
        self.of((!seen.is_empty()).then_some(value))
    }

    fn of(&self, value: Option<f64>) -> Sample {
        Sample {
            value,
            samples: None,
            at: Some(self.now()),
            query: String::new(),
        }
    }

    fn requests(&self, gate: &CompareGate, parts: impl Fn(&Sums) -> Vec<f64>) -> Answer {
        let counts = |sums: Option<&Sums>| Counts {
            window: Duration::between(self.since(), self.now()),
            total: self.of(sums.map(|sums| sums.requests)),
            parts: parts(sums.unwrap_or(&Sums::default()))
                .into_iter()
                .map(|part| self.of(sums.map(|_| part)))
                .collect(),
        };
        let kind = |at: usize, arm: usize| self.sums[arm].as_ref().map(|sums| &sums[at]);
        if gate.kinds.is_empty() {
            let all = |arm: usize| {
                self.sums[arm].map(|sums| {
                    sums.iter().fold(Sums::default(), |mut all, sums| {
                        all.requests += sums.requests;
                        all.errors += sums.errors;
                        for (sum, bucket) in all.buckets.iter_mut().zip(sums.buckets) {
                            *sum += bucket;
                        }
                        all
                    })
                })
            };
            return Answer::Counts {
                candidate: counts(all(0).as_ref()),
                baseline: self.sums[1].is_some().then(|| counts(all(1).as_ref())),
                kinds: Vec::new(),
            };
        }
        let kinds = KINDS.iter().enumerate().map(|(at, name)| KindCounts {
            name: (*name).to_owned(),
            candidate: counts(kind(at, 0)),
            baseline: self.sums[1].is_some().then(|| counts(kind(at, 1))),
        });
        Answer::of_kinds(kinds.collect())
    }

    fn course(&self, query: &str, from: usize) -> Answer {
        let course = |arm: usize| Course {
            query: String::new(),
            step: Duration::from_secs(self.tick_seconds as u64),
            points: self.gauges[arm]
                .iter()
                .filter(|(tick, ..)| *tick > from)
                .map(|(tick, memory, cpu)| Point(self.at(*tick), if query == "memory" { *memory } else { *cpu }))
                .filter(|point| point.1.is_finite())
                .collect(),
        };
        let has_baseline = self.recent.back().is_some_and(|arms| arms[1].is_some());
        Answer::Course {
            candidate: course(0),
            baseline: has_baseline.then(|| course(1)),
            restarts: None,
        }
    }
}

/// What an author would write as boundaries, in seconds: beyond which five and one in a hundred requests lay in the last hour, of every kind.
pub fn slow_from(history: &[Observation]) -> Vec<f64> {
    let mut before = [[0.0; BUCKETS]; STRATA_MAX];
    for arm in history.iter().filter_map(|tick| tick.baseline.as_ref()) {
        for (sums, counts) in before.iter_mut().zip(&arm.strata) {
            for (sum, bucket) in sums.iter_mut().zip(counts.buckets) {
                *sum += f64::from(bucket);
            }
        }
    }
    let mut edges: Vec<usize> = before
        .iter()
        .filter(|buckets| buckets.iter().sum::<f64>() > 0.0)
        .flat_map(|buckets| [0.05, 0.01].map(|part| edge_beyond(buckets, part)))
        .collect();
    edges.sort_unstable();
    edges.dedup();
    edges.into_iter().map(|edge| EDGES_MS[edge] / 1_000.0).collect()
}

/// The first edge beyond which at most this part of the requests lies.
fn edge_beyond(buckets: &[f64; BUCKETS], part: f64) -> usize {
    let mut above: f64 = buckets.iter().sum();
    let limit = above * part;
    let reached = buckets.iter().position(|bucket| {
        above -= bucket;
        above <= limit
    });
    reached.unwrap_or(BUCKETS).min(EDGES_MS.len() - 1)
}

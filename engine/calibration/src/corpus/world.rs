//! What telemetry shows of a region, tick by tick, whatever the share is.

use super::case::{Case, Fault, Rate};
use super::service::{Service, Stratum};
use crate::chance::Chance;

/// Upper edges of the latency histogram; the last bucket has none.
pub const EDGES_MS: [f64; 15] = [
    10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 750.0, 1_000.0, 2_000.0, 4_000.0,
];
pub const BUCKETS: usize = EDGES_MS.len() + 1;
pub const STRATA_MAX: usize = 3;
/// How long the baseline is watched before a region may start.
pub const HISTORY_MINUTES: f64 = 60.0;

/// Minutes in which a fresh instance fills its caches.
const WARM_UP_MINUTES: f64 = 3.0;
/// The part of its memory that a fresh instance lacks.
const COLD: f64 = 0.4;
/// The part of a tick's requests that is lost when an instance is killed for its memory.
const KILLED: f64 = 0.3;

/// Requests of one kind in one arm in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u32,
    pub errors: u32,
    pub buckets: [u32; BUCKETS],
}

/// One arm in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arm {
    /// As many as the service has; the others are empty.
    pub strata: [Counts; STRATA_MAX],
    pub memory_mib: f64,
    pub cpu: f64,
}

impl Arm {
    /// All kinds of request together, as those see it who do not tell them apart.
    pub fn pooled(&self) -> Counts {
        let mut all = Counts::default();
        for counts in &self.strata {
            all.requests += counts.requests;
            all.errors += counts.errors;
            for (sum, bucket) in all.buckets.iter_mut().zip(counts.buckets) {
                *sum += bucket;
            }
        }
        all
    }
}

/// What a judge may know of one tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The share that was meant to be the candidate's.
    pub share: f64,
    /// None where no series exists.
    pub candidate: Option<Arm>,
    pub baseline: Option<Arm>,
}

/// What nobody knows but the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Requests that the candidate served while it did harm.
    pub harmed: u64,
}

/// One region while a rollout goes through it.
#[derive(Clone, Debug)]
pub struct World<'a> {
    case: &'a Case,
    region: usize,
    /// Ticks since the region may start; negative before.
    tick: i64,
    /// Ticks since the candidate's first request.
    age: Option<usize>,
    error_level: f64,
    arms: [Levels; 2],
    leaked_mib: f64,
}

/// The levels of one arm that wander.
#[derive(Clone, Copy, Debug, Default)]
struct Levels {
    memory: f64,
    cpu: f64,
    latency: f64,
}

const CANDIDATE: usize = 0;
const BASELINE: usize = 1;

impl<'a> World<'a> {
    pub fn new(case: &'a Case, region: usize) -> World<'a> {
        World {
            case,
            region,
            tick: -(case.plan.ticks(HISTORY_MINUTES) as i64),
            age: None,
            error_level: 0.0,
            arms: [Levels::default(); 2],
            leaked_mib: 0.0,
        }
    }

    /// Whether the next tick is one at which the region may start.
    pub fn may_start(&self) -> bool {
        self.tick >= 0
    }

    /// Whether the candidate would do harm if it were served here now.
    fn is_harming(&self) -> bool {
        let Some(age) = self.age else { return false };
        match self.case.fault {
            Fault::Errors { onset, region, .. } => age >= onset && region.is_none_or(|region| region == self.region),
            Fault::Tail { onset, .. } | Fault::Silence { onset } => age >= onset,
            Fault::Leak { .. } => true,
            Fault::None | Fault::Shared { .. } | Fault::Drought { .. } => false,
        }
    }

    /// Requests a tick of a region that is fully promoted and harmed, on average: what it goes on to cost while other regions are rolled out.
    pub fn harm_a_tick(&self) -> u64 {
        if self.is_harming() {
            (self.case.plan.regions[self.region] * self.case.plan.tick_seconds) as u64
        } else {
            0
        }
    }

    /// One tick at this share of the candidate, 0 before it starts.
    pub fn step(&mut self, share: f64) -> (Observation, Truth) {
        let service = &self.case.service;
        self.age = match self.age {
            Some(age) => Some(age + 1),
            None => (share > 0.0).then_some(0),
        };
        let name = [self.case.seed, 2 + self.region as u64, self.tick as u64];
        let named = |part: u64| Chance::new(&[name[0], name[1], name[2], part]);
        let mut chance = named(0);
        wander(&mut self.error_level, 0.9, service.error_wander, &mut chance);
        let traffic = self.traffic();
        let requests = traffic * self.case.plan.regions[self.region] * self.case.plan.tick_seconds;
        let candidate = self.arm(CANDIDATE, requests * share, traffic, &mut named(1));
        let baseline = self.arm(BASELINE, requests * (1.0 - share), traffic, &mut named(2));
        let served: u32 = candidate.strata.iter().map(|counts| counts.requests).sum();
        let is_silent = matches!(self.case.fault, Fault::Silence { .. }) && self.is_harming();
        let truth = Truth {
            harmed: if self.is_harming() { u64::from(served) } else { 0 },
        };
        self.tick += 1;
        let observation = Observation {
            share,
            candidate: (share > 0.0 && !is_silent).then_some(candidate),
            baseline: (share < 1.0).then_some(baseline),
        };
        (observation, truth)
    }

    /// Traffic over its mean.
    fn traffic(&self) -> f64 {
        let service = &self.case.service;
        let hours = self.tick as f64 * self.case.plan.tick_seconds / 3_600.0;
        // Each region starts some hours later in its own day.
        let day = service.phase + hours / 24.0 + self.region as f64 * 0.25;
        let swung = 1.0 + service.swing * (std::f64::consts::TAU * day).sin();
        match self.case.fault {
            Fault::Drought {
                left,
                from,
                ticks,
                region,
            } if region == self.region && (from..from + ticks).contains(&self.tick) => swung * left,
            Fault::None
            | Fault::Errors { .. }
            | Fault::Tail { .. }
            | Fault::Leak { .. }
            | Fault::Silence { .. }
            | Fault::Shared { .. }
            | Fault::Drought { .. } => swung,
        }
    }

    fn arm(&mut self, which: usize, requests: f64, traffic: f64, chance: &mut Chance) -> Arm {
        let service = &self.case.service;
        let minute = self.case.plan.tick_seconds / 60.0;
        let memory = service.memory_of_noise.powf(minute);
        let levels = &mut self.arms[which];
        wander(&mut levels.memory, memory, service.memory_noise_mib, chance);
        wander(&mut levels.cpu, memory, 0.02, chance);
        wander(&mut levels.latency, memory, service.latency_wander, chance);
        let levels = *levels;
        let (memory_mib, is_killed) = self.memory(which, traffic, levels.memory);
        let busy = 1.0 + 0.1 * (traffic - 1.0);
        let mut arm = Arm {
            memory_mib,
            cpu: (service.cpu * self.size(which) * traffic * (1.0 + levels.cpu)).clamp(0.0, 1.0),
            ..Arm::default()
        };
        for (at, stratum) in service.strata.iter().enumerate() {
            let weight = if which == CANDIDATE {
                stratum.candidate_weight
            } else {
                stratum.weight
            };
            let slowed = stratum.median_ms * levels.latency.exp() * busy;
            let buckets = self.latency(which, slowed, stratum.sigma);
            let counts = &mut arm.strata[at];
            for (bucket, part) in counts.buckets.iter_mut().zip(buckets) {
                *bucket = chance.poisson(requests * weight * part);
            }
            counts.requests = counts.buckets.iter().sum();
            let rate = self.error_rate(which, at, stratum, is_killed);
            counts.errors = chance.binomial(counts.requests, rate);
        }
        arm
    }

    fn size(&self, which: usize) -> f64 {
        if which == CANDIDATE {
            self.case.service.candidate_gauges
        } else {
            1.0
        }
    }

    /// Memory in use, and whether the limit was met and the instance killed.
    fn memory(&mut self, which: usize, traffic: f64, noise: f64) -> (f64, bool) {
        let service: &Service = &self.case.service;
        let minute = self.case.plan.tick_seconds / 60.0;
        let age_minutes = self.age.unwrap_or(0) as f64 * minute;
        // Of a heap's swing, the collector's clock is the instance's own.
        let teeth = service.sawtooth.map_or(0.0, |tooth| {
            let start = if which == CANDIDATE {
                age_minutes
            } else {
                (self.tick + 100_000) as f64 * minute
            };
            tooth.mib * (start / tooth.minutes).fract()
        });
        let warm = if which == CANDIDATE {
            1.0 - COLD * (-age_minutes / WARM_UP_MINUTES).exp()
        } else {
            1.0
        };
        let held = service.memory_mib * self.size(which) * (1.0 + 0.1 * (traffic - 1.0)) * warm + teeth + noise;
        if which == BASELINE {
            return (held, false);
        }
        if let (Fault::Leak { mib_per_minute }, Some(_)) = (self.case.fault, self.age) {
            self.leaked_mib += mib_per_minute * minute;
        }
        if held + self.leaked_mib > service.limit_mib {
            self.leaked_mib = 0.0;
            return (held, true);
        }
        (held + self.leaked_mib, false)
    }

    fn error_rate(&self, which: usize, at: usize, stratum: &Stratum, is_killed: bool) -> f64 {
        let mut rate = stratum.error_rate * self.error_level.exp();
        if let Fault::Shared {
            rate: shared,
            from,
            ticks,
            region,
        } = self.case.fault
            && region == self.region
            && (from..from + ticks).contains(&self.tick)
        {
            rate += shared;
        }
        if which == CANDIDATE && self.is_harming() {
            rate = self.harmed_rate(rate, at);
        }
        (rate + if is_killed { KILLED } else { 0.0 }).min(1.0)
    }

    fn harmed_rate(&self, before: f64, at: usize) -> f64 {
        match self.case.fault {
            Fault::Errors {
                rate,
                onset,
                stratum,
                half,
                ..
            } => {
                let age = self.age.unwrap_or(0) - onset;
                let is_off = half.is_some_and(|half| age / half % 2 == 1);
                if is_off || stratum.is_some_and(|stratum| stratum != at) {
                    return before;
                }
                match rate {
                    Rate::Part(part) => before + part,
                    Rate::Times { ratio, more_min } => (before * ratio).max(before + more_min),
                }
            }
            Fault::None
            | Fault::Tail { .. }
            | Fault::Leak { .. }
            | Fault::Silence { .. }
            | Fault::Shared { .. }
            | Fault::Drought { .. } => before,
        }
    }

    /// The part of requests in each bucket.
    fn latency(&self, which: usize, median_ms: f64, sigma: f64) -> [f64; BUCKETS] {
        let plain = log_normal(median_ms, sigma);
        match self.case.fault {
            Fault::Tail { part, factor, .. } if which == CANDIDATE && self.is_harming() => {
                let slow = log_normal(median_ms * factor, sigma);
                std::array::from_fn(|at| (1.0 - part) * plain[at] + part * slow[at])
            }
            Fault::None
            | Fault::Errors { .. }
            | Fault::Tail { .. }
            | Fault::Leak { .. }
            | Fault::Silence { .. }
            | Fault::Shared { .. }
            | Fault::Drought { .. } => plain,
        }
    }
}

/// One step of a level that remembers `memory` of its last value and stays within `spread`.
fn wander(level: &mut f64, memory: f64, spread: f64, chance: &mut Chance) {
    *level = memory * *level + (1.0 - memory * memory).sqrt() * spread * chance.normal();
}

fn log_normal(median_ms: f64, sigma: f64) -> [f64; BUCKETS] {
    let mut below = 0.0;
    std::array::from_fn(|at| {
        let up_to = EDGES_MS
            .get(at)
            .map_or(1.0, |edge| normal_cdf((edge / median_ms).ln() / sigma));
        let part = up_to - below;
        below = up_to;
        part.max(0.0)
    })
}

/// The normal distribution function to 7e-8, fast enough for hundreds of millions of buckets.
///
/// *Source*: M. Abramowitz, I. Stegun, Handbook of Mathematical Functions (1964), 26.2.17.
fn normal_cdf(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-z * z / 2.0).exp() * series * 0.398_942_280_401_432_7;
    if z < 0.0 { tail } else { 1.0 - tail }
}

//! A service as it is when nothing is wrong: its traffic, its errors, its latency, its gauges and their noise.

use super::class::Class;
use crate::chance::Chance;

/// A kind of request (an endpoint, a tenant) that telemetry tells apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stratum {
    /// The part of the baseline's requests.
    pub weight: f64,
    /// The part of the candidate's requests: the same, unless the mix is shifted.
    pub candidate_weight: f64,
    pub error_rate: f64,
    /// The median of a log-normal latency.
    pub median_ms: f64,
    /// Its spread: the standard deviation of the logarithm.
    pub sigma: f64,
}

/// A heap that fills and is collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sawtooth {
    pub minutes: f64,
    pub mib: f64,
}

/// What is true of both arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub strata: Vec<Stratum>,
    pub memory_mib: f64,
    pub limit_mib: f64,
    pub memory_noise_mib: f64,
    pub sawtooth: Option<Sawtooth>,
    pub cpu: f64,
    /// How strongly a gauge remembers its last minute.
    pub memory_of_noise: f64,
    /// The candidate's gauges over the baseline's: no two versions need the same.
    pub candidate_gauges: f64,
    /// The spread of the logarithm of both arms' error rate, together.
    pub error_wander: f64,
    /// The spread of the logarithm of each arm's latency, on its own.
    pub latency_wander: f64,
    /// How far traffic swings around its mean within a day.
    pub swing: f64,
    /// Where in the day the first region starts, 0 to 1.
    pub phase: f64,
}

impl Service {
    /// Sizes are those of ordinary web services; a healthy P99 is below 400 ms and a healthy error rate at most 0.5 %, so that the fixed
    /// thresholds that others document (99 %, 500 ms) fit every healthy service of the corpus.
    pub fn draw(class: Class, chance: &mut Chance) -> Service {
        let is_noisy = class == Class::Noisy;
        let is_ramp = class == Class::Ramp;
        Service {
            strata: strata(class, chance),
            memory_mib: chance.between(300.0, 500.0),
            limit_mib: 1024.0,
            memory_noise_mib: chance.between(3.0, 10.0),
            sawtooth: chance.is(0.25).then(|| Sawtooth {
                minutes: chance.between(15.0, 40.0),
                mib: chance.between(30.0, 100.0),
            }),
            cpu: chance.between(0.25, 0.55),
            memory_of_noise: if is_noisy {
                chance.between(0.6, 0.95)
            } else {
                chance.between(0.2, 0.7)
            },
            candidate_gauges: chance.between(0.97, 1.04),
            error_wander: if is_noisy { 0.5 } else { 0.1 },
            latency_wander: if is_noisy { chance.between(0.02, 0.05) } else { 0.01 },
            swing: if is_ramp {
                chance.between(0.5, 0.8)
            } else {
                chance.between(0.0, 0.3)
            },
            phase: chance.uniform(),
        }
    }
}

fn strata(class: Class, chance: &mut Chance) -> Vec<Stratum> {
    let stratum = |weight: f64, chance: &mut Chance| Stratum {
        weight,
        candidate_weight: weight,
        error_rate: chance.log_between(0.000_2, 0.005),
        median_ms: chance.log_between(15.0, 80.0),
        sigma: chance.between(0.4, 0.6),
    };
    match class {
        Class::OneTenant => {
            let small = chance.between(0.03, 0.10);
            let rest = (1.0 - small) * chance.between(0.3, 0.7);
            let even = stratum(small, chance);
            // Tenants of one service: the same code, nearly the same figures.
            [small, rest, 1.0 - small - rest]
                .map(|weight| Stratum {
                    weight,
                    candidate_weight: weight,
                    median_ms: even.median_ms * chance.between(0.9, 1.1),
                    ..even
                })
                .to_vec()
        }
        Class::MixShift => {
            let heavy = chance.between(0.15, 0.35);
            let shifted = heavy * chance.between(1.6, 2.5);
            let light = stratum(1.0 - heavy, chance);
            let light = Stratum {
                error_rate: chance.log_between(0.000_2, 0.001),
                median_ms: chance.log_between(15.0, 30.0),
                candidate_weight: 1.0 - shifted,
                ..light
            };
            let heavy = Stratum {
                weight: heavy,
                candidate_weight: shifted,
                error_rate: light.error_rate * chance.between(8.0, 15.0),
                median_ms: light.median_ms * chance.between(2.0, 2.6),
                sigma: light.sigma,
            };
            vec![light, heavy]
        }
        Class::Crash
        | Class::ErrorStep
        | Class::LatencyTail
        | Class::SlowLeak
        | Class::OneRegion
        | Class::Flapping
        | Class::Silent
        | Class::Plain
        | Class::Noisy
        | Class::LowTraffic
        | Class::Ramp
        | Class::Dependency
        | Class::PreExisting
        | Class::TrafficDrop => {
            // Half of all services tell kinds of request apart, so that having several is no sign of anything.
            if chance.is(0.5) {
                vec![stratum(1.0, chance)]
            } else {
                let first = chance.between(0.4, 0.8);
                let second = (1.0 - first) * chance.between(0.5, 0.8);
                [first, second, 1.0 - first - second]
                    .map(|weight| stratum(weight, chance))
                    .to_vec()
            }
        }
    }
}

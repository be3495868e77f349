//! One rollout: its plan, its service, and what is wrong with it.

use super::class::Class;
use super::service::Service;
use crate::chance::Chance;

/// A share and how long it bakes at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Of 1.
    pub share: f64,
    pub bake_ticks: usize,
}

/// The way to full promotion: every stage in one region, then the next region.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub tick_seconds: f64,
    /// Requests a second of each region.
    pub regions: Vec<f64>,
    pub stages: Vec<Stage>,
}

impl Plan {
    /// A stage that has not been left after so many times its bake, and a start that has been put off as long, is held for a person.
    pub const BAKE_MAX: usize = 4;

    pub fn ticks(&self, minutes: f64) -> usize {
        (minutes * 60.0 / self.tick_seconds).round() as usize
    }

    /// Ticks of one region in which both arms serve, if nobody waits.
    fn ticks_of_comparison(&self) -> usize {
        let compared = self.stages.iter().filter(|stage| stage.share < 1.0);
        compared.map(|stage| stage.bake_ticks).sum()
    }
}

/// What is wrong. Instants are ticks; those of the candidate count from its first request in a region, those of the world from the moment at
/// which the region may start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// So many of the candidate's requests fail.
    Errors {
        rate: Rate,
        onset: usize,
        /// None where it is everywhere.
        region: Option<usize>,
        /// Where one kind of request alone is hurt.
        stratum: Option<usize>,
        /// Where it comes and goes: ticks of each half.
        half: Option<usize>,
    },
    /// A part of the candidate's requests takes so many times as long.
    Tail {
        part: f64,
        factor: f64,
        onset: usize,
    },
    Leak {
        mib_per_minute: f64,
    },
    Silence {
        onset: usize,
    },
    /// Both arms fail so often for a while, in one region.
    Shared {
        rate: f64,
        from: i64,
        ticks: i64,
        region: usize,
    },
    /// The region's traffic falls to this part.
    Drought {
        left: f64,
        from: i64,
        ticks: i64,
        region: usize,
    },
}

/// How often requests fail under a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many of them, whatever was before.
    Part(f64),
    /// So many times as often as before, and at least so many of them more.
    Times { ratio: f64, more_min: f64 },
}

/// A rollout of the corpus.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub seed: u64,
    pub class: Class,
    pub plan: Plan,
    pub service: Service,
    pub fault: Fault,
}

impl Case {
    pub fn new(seed: u64) -> Case {
        let class = Class::of(seed);
        let mut chance = Chance::new(&[seed, 1]);
        let service = Service::draw(class, &mut chance);
        let plan = plan(class, &mut chance);
        let fault = fault(class, &plan, &mut chance);
        Case {
            seed,
            class,
            plan,
            service,
            fault,
        }
    }
}

fn plan(class: Class, chance: &mut Chance) -> Plan {
    let tick_seconds = if chance.is(0.25) { 30.0 } else { 60.0 };
    let shares: &[f64] = match chance.below(4) {
        0 | 1 => &[0.01, 0.05, 0.25, 0.5, 1.0],
        2 => &[0.05, 0.1, 0.25, 0.5, 1.0],
        _ => &[0.1, 0.25, 0.5, 1.0],
    };
    let bake_minutes: f64 = [60.0, 75.0, 90.0][chance.below(3)];
    let stages = shares.iter().map(|share| Stage {
        share: *share,
        bake_ticks: ((if *share < 1.0 { bake_minutes } else { 30.0 }) * 60.0 / tick_seconds).round() as usize,
    });
    let stages = stages.collect();
    let regions = match class {
        Class::OneRegion => 2 + chance.below(3),
        _ => 1 + chance.below(4),
    };
    // A harm that a few requests a second can show, or that traffic must not hide: these classes come at every size.
    let low = match class {
        Class::LowTraffic => 1.0,
        Class::Crash | Class::ErrorStep | Class::Silent | Class::Flapping | Class::SlowLeak => 0.2,
        Class::LatencyTail | Class::OneRegion | Class::OneTenant => 0.0,
        Class::Plain
        | Class::Noisy
        | Class::Ramp
        | Class::MixShift
        | Class::Dependency
        | Class::PreExisting
        | Class::TrafficDrop => 0.1,
    };
    let size = if chance.is(low) {
        chance.log_between(2.0, 6.0)
    } else if chance.is(0.5) {
        chance.log_between(20.0, 80.0)
    } else {
        chance.log_between(200.0, 800.0)
    };
    Plan {
        tick_seconds,
        regions: (0..regions).map(|_| size * chance.between(0.7, 1.4)).collect(),
        stages,
    }
}

/// A harm is at least so large that it would break a 99.7 % objective; of a few requests a second, a 99 % one: less cannot be borne out by
/// any evidence that such a rollout has, and a label that nothing can bear out judges nobody.
fn fault(class: Class, plan: &Plan, chance: &mut Chance) -> Fault {
    let more_min = if plan.regions[0] < 10.0 { 0.01 } else { 0.003 };
    // Half of all faults are there at once, the others begin while the candidate is compared.
    let late = (plan.ticks_of_comparison() as f64 * 0.4) as usize;
    let onset = if chance.is(0.5) { 0 } else { chance.below(late) };
    let region = chance.below(plan.regions.len());
    let everywhere = |rate: Rate| Fault::Errors {
        rate,
        onset,
        region: None,
        stratum: None,
        half: None,
    };
    let from = chance.below(late) as i64;
    let ticks = |minutes: f64| plan.ticks(minutes) as i64;
    match class {
        Class::Crash => everywhere(Rate::Part(chance.between(0.3, 1.0))),
        Class::ErrorStep => everywhere(Rate::Times {
            ratio: chance.log_between(3.0, 20.0),
            more_min,
        }),
        Class::LatencyTail => Fault::Tail {
            part: chance.log_between(0.03, 0.10),
            factor: chance.log_between(6.0, 20.0),
            onset,
        },
        Class::SlowLeak => Fault::Leak {
            mib_per_minute: chance.log_between(0.5, 5.0),
        },
        Class::OneRegion => Fault::Errors {
            rate: Rate::Times {
                ratio: chance.log_between(3.0, 20.0),
                more_min: 0.005,
            },
            onset,
            region: Some(region),
            stratum: None,
            half: None,
        },
        Class::OneTenant => Fault::Errors {
            rate: Rate::Part(chance.log_between(0.1, 0.9)),
            onset,
            region: None,
            stratum: Some(0),
            half: None,
        },
        Class::Flapping => Fault::Errors {
            rate: Rate::Times {
                ratio: chance.log_between(5.0, 30.0),
                more_min: 0.02,
            },
            onset,
            region: None,
            stratum: None,
            half: Some(plan.ticks(5.0)),
        },
        Class::Silent => Fault::Silence { onset },
        Class::Plain | Class::Noisy | Class::LowTraffic | Class::Ramp | Class::MixShift => Fault::None,
        Class::Dependency => Fault::Shared {
            rate: chance.log_between(0.02, 0.5),
            from,
            ticks: ticks(chance.between(5.0, 30.0)),
            region,
        },
        Class::PreExisting => Fault::Shared {
            rate: chance.log_between(0.02, 0.5),
            from: -ticks(chance.between(10.0, 50.0)),
            ticks: ticks(chance.between(60.0, 170.0)),
            region,
        },
        Class::TrafficDrop => Fault::Drought {
            left: chance.between(0.01, 0.05),
            from,
            ticks: ticks(chance.between(20.0, 60.0)),
            region,
        },
    }
}

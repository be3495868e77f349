//! A case driven by a judge, from the first region's first look to promotion, roll back, or a hold that a person must end.

use crate::corpus::{Case, Observation, Plan, World};
use crate::judges::{Decision, Judge, Now};

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Promoted,
    RolledBack,
    /// Not left within the longest bake: a person decides.
    Held,
}

/// What a judge made of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    /// Requests that a harming candidate served until the end.
    pub exposed: u64,
    /// Ticks from the first region's possible start.
    pub ticks: usize,
}

/// Runs a case to its end.
pub fn run(case: &Case, judge: &mut dyn Judge) -> Outcome {
    let mut so_far = Outcome {
        end: End::Promoted,
        exposed: 0,
        ticks: 0,
    };
    // What regions that are promoted already go on to cost.
    let mut harm_a_tick = 0;
    for region in 0..case.plan.regions.len() {
        let mut world = World::new(case, region);
        let end = in_region(&case.plan, region, &mut world, judge, harm_a_tick, &mut so_far);
        if end != End::Promoted {
            so_far.end = end;
            return so_far;
        }
        harm_a_tick += world.harm_a_tick();
    }
    so_far
}

fn in_region(
    plan: &Plan,
    region: usize,
    world: &mut World<'_>,
    judge: &mut dyn Judge,
    harm_a_tick: u64,
    so_far: &mut Outcome,
) -> End {
    let mut history: Vec<Observation> = Vec::new();
    while !world.may_start() {
        history.push(world.step(0.0).0);
    }
    judge.begins(plan, region, &history);
    let mut waited = 0;
    while !judge.may_start(&history) {
        if waited == Plan::BAKE_MAX * plan.stages[0].bake_ticks {
            return End::Held;
        }
        history.push(world.step(0.0).0);
        waited += 1;
        so_far.ticks += 1;
        so_far.exposed += harm_a_tick;
    }
    let mut age = 0;
    for (stage, of) in plan.stages.iter().enumerate() {
        let mut ticks = 0;
        loop {
            let (observation, truth) = world.step(of.share);
            ticks += 1;
            age += 1;
            so_far.ticks += 1;
            so_far.exposed += truth.harmed + harm_a_tick;
            let now = Now {
                plan,
                region,
                stage,
                ticks,
                age,
            };
            match judge.observes(&now, &observation) {
                Decision::RollBack => return End::RolledBack,
                Decision::Advance if ticks >= of.bake_ticks => break,
                Decision::Advance | Decision::Wait => {}
            }
            if ticks >= Plan::BAKE_MAX * of.bake_ticks {
                return End::Held;
            }
        }
    }
    End::Promoted
}

//! Which of ECS's own deployment strategies climbs a ladder.

use meridian_engine::ports::provider::Ladder;
use meridian_workflows::duration::Duration;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

/// The smallest step that `linearConfiguration.stepPercent` takes (3.0 to 100.0, in steps of 0.1).
const LINEAR_STEP_MIN: u16 = 300;
/// ECS counts percentages in steps of 0.1 %.
const GRAIN: u16 = 10;
/// The longest `bakeTimeInMinutes`: a day.
const BAKE_MINUTES_MAX: u64 = 1_440;
/// The longest that a pause hook waits (`timeoutInMinutes`): 14 days.
pub const HOOK_MINUTES_MAX: u64 = 20_160;
/// How long a hook waits at least where nothing is said: what people need to answer.
const HOOK_MINUTES: u64 = 1_440;
/// ECS counts from the shift, the engine from when it has seen everything arrive: at least so much lies between.
const LATE_MIN: Duration = Duration::from_secs(600);

/// A strategy of ECS, with what it has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Old tasks are replaced by new ones: no target groups to shift between, so all or nothing.
    Rolling,
    BlueGreen,
    /// One first share, then the rest.
    Canary {
        first: Share,
    },
    /// Equal steps up to everything.
    Linear {
        step: Share,
    },
}

impl Strategy {
    /// The share that the next shift leads to.
    pub fn after(self, has: Share) -> Share {
        let points = match self {
            Strategy::Rolling | Strategy::BlueGreen => 10_000,
            Strategy::Canary { first } if has < first => first.basis_points(),
            Strategy::Canary { .. } => 10_000,
            Strategy::Linear { step } => has.basis_points().saturating_add(step.basis_points()).min(10_000),
        };
        Share::from_basis_points(points).unwrap_or(Share::FULL)
    }
}

/// Which strategy climbs these exposures, where the service can shift traffic between two target groups.
///
/// *Errors*: what ECS cannot do by itself and what it could.
pub fn climbing(exposures: &[Exposure]) -> Result<Strategy, String> {
    let mut shares = Vec::with_capacity(exposures.len());
    for exposure in exposures {
        match exposure {
            Exposure::Traffic(share) if share.is_zero() => {}
            // A region that is in several phases meets the share it already has again.
            Exposure::Traffic(share) if shares.last() == Some(share) => {}
            Exposure::Traffic(share) => shares.push(*share),
            Exposure::Shadow(_) => return Err("ecs cannot mirror traffic".into()),
            Exposure::Audience(_) => return Err("ecs cannot route by audience".into()),
        }
    }
    let step = shares.first().copied().unwrap_or(Share::FULL);
    match shares.as_slice() {
        [] => Ok(Strategy::BlueGreen),
        [only] if only.is_full() => Ok(Strategy::BlueGreen),
        [first, last] if last.is_full() && first.basis_points() % GRAIN == 0 => Ok(Strategy::Canary { first: *first }),
        [_, _] if shares.last().is_some_and(|last| last.is_full()) => {
            Err(format!("ecs counts a canary's share in steps of 0.1%, got {step}"))
        }
        rungs if are_equal_steps(rungs) => {
            if step.basis_points() < LINEAR_STEP_MIN || step.basis_points() % GRAIN != 0 {
                return Err(format!(
                    "ecs climbs in equal steps of at least 3%, counted in steps of 0.1%, got steps of {step}"
                ));
            }
            Ok(Strategy::Linear { step })
        }
        rungs => {
            let told: Vec<String> = rungs.iter().map(ToString::to_string).collect();
            Err(format!(
                "ecs itself climbs [100%], [x, 100%] or equal steps of at least 3% that end at 100%, not [{}]; task sets or \
                 two services serve any ladder in steps of 0.1%",
                told.join(", ")
            ))
        }
    }
}

/// Whether these are s, 2s, 3s, … 100 %.
fn are_equal_steps(rungs: &[Share]) -> bool {
    let step = rungs.first().map_or(0, |first| u32::from(first.basis_points()));
    rungs.last().is_some_and(|last| last.is_full())
        && (1..)
            .zip(rungs)
            .all(|(count, share)| u32::from(share.basis_points()) == step * count)
}

/// The strategy for a whole ladder on a service that can or cannot shift traffic.
///
/// *Errors*: as [`climbing`], and where nothing can be shifted and the ladder has shares in between.
pub fn choose(ladder: &Ladder, shifts_traffic: bool) -> Result<Strategy, String> {
    let exposures: Vec<Exposure> = ladder.rungs.iter().map(|rung| rung.exposure.clone()).collect();
    match climbing(&exposures)? {
        strategy if shifts_traffic => Ok(strategy),
        Strategy::BlueGreen | Strategy::Rolling => Ok(Strategy::Rolling),
        Strategy::Canary { .. } | Strategy::Linear { .. } => Err(
            "the service has no load balancer with an alternate target group (advancedConfiguration), so ecs replaces its \
             tasks all at once: the ladder must be [100%]"
                .into(),
        ),
    }
}

/// A time by the engine's clock, by the clock of ECS: a tenth and at least ten minutes longer.
fn by_ecs(time: Duration) -> Duration {
    let tenth = Duration::from_millis(time.as_millis() / 10);
    time.saturating_add(tenth.max(LATE_MIN))
}

fn minutes(time: Duration) -> u64 {
    time.as_millis().div_ceil(60_000)
}

fn of_minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

/// For how many minutes a pause hook waits for an order before ECS goes back by itself: as written, or a day and twice the
/// longest bake that has to be waited for, at most 14 days.
///
/// *Errors*: a rung below 100 % that bakes for as long as that. ECS would roll every release back there.
pub fn hook_minutes(ladder: &Ladder, written: Option<i32>) -> Result<i32, String> {
    let held = ladder.rungs.iter().filter(|rung| !rung.exposure.traffic().is_full());
    let longest = held.max_by_key(|rung| rung.bake);
    let bake = longest.map_or(Duration::ZERO, |rung| rung.bake);
    let wait = match written {
        Some(written) => u64::from(written.unsigned_abs()),
        None => HOOK_MINUTES
            .saturating_add(minutes(bake).saturating_mul(2))
            .min(HOOK_MINUTES_MAX),
    };
    if let Some(rung) = longest.filter(|rung| !rung.bake.is_zero() && minutes(by_ecs(rung.bake)) > wait) {
        let (share, wait) = (rung.exposure.traffic(), of_minutes(wait));
        let needed = of_minutes(minutes(by_ecs(rung.bake)));
        return Err(match written {
            Some(_) => format!(
                "ecs rolls back by itself after a `hookTimeout` of {wait}, and the stage at {share} bakes for {bake}: make it {needed} \
                 at least, or leave it out"
            ),
            None => format!(
                "ecs rolls back by itself what waits for longer than {wait}, and the stage at {share} bakes for {bake}: task sets or \
                 two services wait for any time"
            ),
        });
    }
    i32::try_from(wait).map_err(|_| format!("{wait} minutes are no time to wait"))
}

/// How long ECS keeps the old version beside the new one after the last shift, so that going back needs no new tasks: what is
/// baked at full share, what is baked before the region closes and what the old version is kept for, by the clock of ECS and in
/// whole minutes. Where nothing is baked, nothing is kept.
pub fn bake_minutes(ladder: &Ladder) -> i32 {
    i32::try_from(minutes(kept(ladder)).min(BAKE_MINUTES_MAX)).unwrap_or(1_440)
}

/// What is to be said where ECS does not keep the old version for as long as it is needed.
pub fn cut_short(ladder: &Ladder) -> Option<String> {
    let (kept, most) = (kept(ladder), of_minutes(BAKE_MINUTES_MAX));
    (kept > most).then(|| {
        format!(
            "ECS keeps the old tasks for at most 24h after the last shift, and {kept} would be needed: going back after that starts \
             them again"
        )
    })
}

fn kept(ladder: &Ladder) -> Duration {
    let at_full = |rung: &&meridian_engine::ports::provider::Rung| rung.exposure.traffic().is_full();
    let baked = ladder.rungs.iter().filter(at_full).map(|rung| rung.bake);
    let all = baked.fold(Duration::ZERO, Duration::saturating_add);
    match all.saturating_add(ladder.bake).saturating_add(ladder.keep_baseline) {
        none if none.is_zero() => none,
        all => by_ecs(all),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use meridian_engine::ports::provider::{Ladder, Rung};
    use meridian_workflows::duration::Duration;
    use meridian_workflows::share::Share;
    use meridian_workflows::workflow::Exposure;
    use proptest::prelude::{Strategy as _, prop_assert, prop_assert_eq, proptest};

    use super::{Strategy, bake_minutes, choose, climbing, cut_short, hook_minutes};

    fn rungs(points: &[u16]) -> Vec<Exposure> {
        points
            .iter()
            .map(|points| Exposure::Traffic(Share::from_basis_points(*points).unwrap()))
            .collect()
    }

    fn share(points: u16) -> Share {
        Share::from_basis_points(points).unwrap()
    }

    #[test]
    fn each_ladder_that_ecs_can_climb_has_its_strategy() {
        assert_eq!(climbing(&rungs(&[10_000])), Ok(Strategy::BlueGreen));
        assert_eq!(
            climbing(&rungs(&[500, 10_000])),
            Ok(Strategy::Canary { first: share(500) })
        );
        assert_eq!(
            climbing(&rungs(&[10, 10_000])),
            Ok(Strategy::Canary { first: share(10) })
        );
        let quarters = rungs(&[2_500, 5_000, 7_500, 10_000]);
        assert_eq!(climbing(&quarters), Ok(Strategy::Linear { step: share(2_500) }));
    }

    #[test]
    fn other_ladders_are_refused_with_what_would_fit() {
        let uneven = climbing(&rungs(&[100, 500, 2_500, 10_000])).unwrap_err();
        assert!(
            uneven.contains("[1%, 5%, 25%, 100%]") && uneven.contains("task sets"),
            "{uneven}"
        );
        let fine = climbing(&rungs(&[55, 10_000])).unwrap_err();
        assert!(fine.contains("0.1%"), "{fine}");
        let twos: Vec<u16> = (1..=50).map(|count| count * 200).collect();
        assert!(climbing(&rungs(&twos)).unwrap_err().contains("at least 3%"));
        assert!(
            climbing(&rungs(&[3_000, 6_000, 9_000, 10_000])).is_err(),
            "the last step is smaller"
        );
        assert!(
            climbing(&[Exposure::Shadow(Share::FULL)])
                .unwrap_err()
                .contains("mirror")
        );
    }

    #[test]
    fn a_service_that_cannot_shift_traffic_rolls_or_is_refused() {
        let ladder = |points: &[u16]| Ladder {
            rungs: rungs(points)
                .into_iter()
                .map(|exposure| Rung {
                    exposure,
                    bake: Duration::from_secs(90),
                })
                .collect(),
            ..Ladder::default()
        };
        assert_eq!(choose(&ladder(&[10_000]), false), Ok(Strategy::Rolling));
        assert!(
            choose(&ladder(&[500, 10_000]), false)
                .unwrap_err()
                .contains("alternate target group")
        );
        let long = Ladder {
            bake: Duration::from_secs(600),
            ..ladder(&[500, 10_000])
        };
        assert_eq!(
            bake_minutes(&long),
            22,
            "90 s at full share, 10 min before closing and 10 min between two clocks, rounded up"
        );
        assert_eq!(cut_short(&long), None);
        assert_eq!(bake_minutes(&Ladder::default()), 0);
        let longest = Ladder {
            bake: Duration::MAX,
            ..ladder(&[10_000])
        };
        assert_eq!(bake_minutes(&longest), 1440);
        assert!(cut_short(&longest).is_some());
        let hours = |hours: u64| Ladder {
            bake: Duration::from_secs(hours * 3_600),
            ..Ladder::default()
        };
        assert_eq!((bake_minutes(&hours(20)), cut_short(&hours(20))), (1_320, None));
        assert!(cut_short(&hours(22)).unwrap().contains("1d12m"));
    }

    #[test]
    fn a_hook_waits_for_longer_than_each_stage_that_it_holds() {
        let ladder = |hours: u64| Ladder {
            rungs: [(500, hours), (10_000, 10_000)]
                .map(|(points, hours)| Rung {
                    exposure: Exposure::Traffic(share(points)),
                    bake: Duration::from_secs(hours * 3_600),
                })
                .to_vec(),
            ..Ladder::default()
        };
        assert_eq!(hook_minutes(&ladder(0), None), Ok(1_440));
        assert_eq!(hook_minutes(&ladder(10), None), Ok(1_440 + 1_200));
        assert_eq!(hook_minutes(&ladder(300), None), Ok(20_160), "14 days is the most");
        assert!(hook_minutes(&ladder(14 * 24), None).unwrap_err().contains("14d"));
        assert_eq!(hook_minutes(&ladder(1), Some(71)), Ok(71));
        let why = hook_minutes(&ladder(1), Some(60)).unwrap_err();
        assert!(
            why.contains("5%") && why.contains("`hookTimeout` of 1h") && why.contains("make it 1h10m"),
            "{why}"
        );
        assert_eq!(
            hook_minutes(&ladder(0), Some(1)),
            Ok(1),
            "what is short is short where nothing bakes"
        );
    }

    proptest! {
        #[test]
        fn equal_steps_of_at_least_three_percent_are_linear(count in 3_u16..=33) {
            let exact = 10_000 % count == 0 && (10_000 / count) % 10 == 0;
            let points: Vec<u16> = (1..=count).map(|step| step * (10_000 / count)).collect();
            match climbing(&rungs(&points)) {
                Ok(Strategy::Linear { step }) => {
                    prop_assert!(exact);
                    prop_assert_eq!(u32::from(step.basis_points()) * u32::from(count), 10_000);
                }
                Ok(other) => prop_assert!(false, "{:?}", other),
                Err(_) => prop_assert!(!exact),
            }
        }

        #[test]
        fn no_ladder_makes_it_panic(points in proptest::collection::vec((0_u16..=10_000).prop_map(|p| p), 0..12)) {
            let _ = climbing(&rungs(&points));
        }
    }
}

//! Rolling deployments: tasks replaced a few at a time between two bounds, and the circuit breaker.

use crate::ecs::pool::Counts;
use crate::ecs::rollout::Status;
use crate::ecs::service::Service;
use crate::ecs::world::World;

impl Service {
    pub fn step_rolling(&mut self, place: usize, world: &mut World) -> bool {
        let back = self.rollouts[place].status == Status::RollbackInProgress;
        if !back && self.has_tripped(place) {
            return self.trip(place, world);
        }
        let changed = self.replace_some(place, world);
        if changed || !self.is_replaced(world) {
            return changed;
        }
        self.finish(
            place,
            if back {
                Status::RollbackSuccessful
            } else {
                Status::Successful
            },
            world,
        );
        true
    }

    fn has_tripped(&self, place: usize) -> bool {
        let breaker = self.rollouts[place].configuration.breaker;
        let failures = self
            .deployments
            .first()
            .map_or(0, |primary| i64::from(primary.pool.failures));
        breaker.enabled && failures >= breaker.threshold(self.desired)
    }

    fn trip(&mut self, place: usize, world: &mut World) -> bool {
        self.rollouts[place].tripped = true;
        let id = self
            .deployments
            .first()
            .map(|primary| primary.pool.id.clone())
            .unwrap_or_default();
        self.log.say(
            &self.facts,
            world.now,
            &format!("(deployment {id}) deployment failed: tasks failed to start."),
        );
        let rollback = self.rollouts[place].configuration.breaker.rollback;
        self.end_badly(
            place,
            "ECS deployment circuit breaker: tasks failed to start.",
            rollback,
            world,
        )
    }

    /// Starts new tasks up to the upper bound and stops old ones down to the lower one.
    fn replace_some(&mut self, place: usize, world: &mut World) -> bool {
        let bounds = Bounds::of(
            self.desired,
            self.rollouts[place].configuration.maximum,
            self.rollouts[place].configuration.minimum,
        );
        let mut changed = false;

        let all: Vec<Counts> = self
            .deployments
            .iter()
            .map(|deployment| deployment.pool.counts(&world.tasks))
            .collect();
        let total: usize = all.iter().map(|counts| counts.live).sum();
        if let (Some(primary), Some(counts)) = (self.deployments.first_mut(), all.first()) {
            primary.pool.desired = self.desired;
            let missing = self.desired.saturating_sub(counts.live);
            let room = bounds.most.saturating_sub(total);
            changed |= primary
                .pool
                .start_some(missing.min(room), &self.facts, &mut self.log, world);
            if counts.live > self.desired {
                changed |= primary
                    .pool
                    .stop_some(counts.live - self.desired, &self.facts, &mut self.log, world);
            }
        }

        // Only what is healthy counts against the lower bound: old tasks that serve nobody may go at once.
        let mut spare = all
            .iter()
            .map(|counts| counts.ready)
            .sum::<usize>()
            .saturating_sub(bounds.least);
        for (deployment, counts) in self.deployments.iter_mut().zip(&all).skip(1) {
            let idle = counts.live - counts.ready.min(counts.live);
            let going = counts.ready.min(spare);
            spare -= going;
            deployment.pool.desired = counts.live - idle - going;
            changed |= deployment
                .pool
                .stop_some(idle + going, &self.facts, &mut self.log, world);
        }
        changed | self.forget_empty(world)
    }

    /// Whether the primary deployment alone stands, complete and healthy.
    fn is_replaced(&self, world: &World) -> bool {
        let (mut primary, mut others) = (false, 0);
        for deployment in &self.deployments {
            if deployment.primary {
                primary = deployment.pool.counts(&world.tasks).ready == self.desired;
            } else {
                others += deployment.pool.counts(&world.tasks).live;
            }
        }
        primary && others == 0
    }
}

/// Between how many tasks a rolling deployment stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    least: usize,
    most: usize,
}

impl Bounds {
    /// The upper bound is rounded down, the lower one up, as documented.
    fn of(desired: usize, maximum: i64, minimum: i64) -> Bounds {
        let percent = |percent: i64| desired.saturating_mul(usize::try_from(percent).unwrap_or(0));
        Bounds {
            least: percent(minimum).div_ceil(100),
            most: percent(maximum) / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_bound_is_rounded_down_and_the_lower_one_up() {
        assert_eq!(Bounds::of(3, 150, 50), Bounds { least: 2, most: 4 });
        assert_eq!(Bounds::of(4, 200, 100), Bounds { least: 4, most: 8 });
    }
}

//! The system's clock, steady and anchored to the wall, and one that tests move by hand.

use std::collections::VecDeque;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ports::clock::{Clock, JUMP_TOLERANCE};

/// Steady time since the start, added to the wall's time at the start.
///
/// *Guarantees*: never runs backward, also not when the wall does; never starts before the store's newest instant. Where the wall
/// leaps ahead (a suspended host, a corrected clock) it follows and reports the leap; where the wall falls back it goes on
/// steadily ahead of it, and reports that once too.
pub struct SystemClock {
    started: Instant,
    anchor: Mutex<Anchor>,
    wall: fn() -> Timestamp,
}

struct Anchor {
    /// The instant that `started` stands for.
    base: Timestamp,
    /// How far this clock is knowingly ahead of the wall.
    ahead: SignedDuration,
}

impl SystemClock {
    /// `floor` is the newest instant of the store: time does not begin before it.
    pub fn new(floor: Option<Timestamp>) -> SystemClock {
        SystemClock::on(Timestamp::now, floor)
    }

    fn on(wall: fn() -> Timestamp, floor: Option<Timestamp>) -> SystemClock {
        let now = wall();
        let base = floor.map_or(now, |floor| floor.max(now));
        SystemClock {
            started: Instant::now(),
            anchor: Mutex::new(Anchor {
                base,
                ahead: base.duration_since(now),
            }),
            wall,
        }
    }

    fn steady(&self, anchor: &Anchor) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        anchor.base.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.steady(&self.anchor.lock())
    }

    fn take_jump(&self, tell: &(dyn Fn(Timestamp, Timestamp) + Sync)) {
        // Told under the lock: nobody can read the new time before.
        let mut anchor = self.anchor.lock();
        let steady = self.steady(&anchor);
        if let Some((from, to)) = compare(&mut anchor, steady, (self.wall)()) {
            tell(from, to);
        }
    }

    async fn sleep_until(&self, at: Timestamp) {
        let left = at.duration_since(self.now());
        if let Ok(left) = std::time::Duration::try_from(left) {
            tokio::time::sleep(left).await;
        }
    }
}

/// Compares steady time with the wall, and re-anchors where the wall has leapt ahead.
fn compare(anchor: &mut Anchor, steady: Timestamp, wall: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let tolerance = SignedDuration::from_millis(i64::try_from(JUMP_TOLERANCE.as_millis()).unwrap_or(i64::MAX));
    let leap = wall.duration_since(steady) + anchor.ahead;
    if leap > tolerance {
        let caught_up = leap.min(anchor.ahead);
        anchor.ahead -= caught_up;
        let rest = leap - caught_up;
        if rest.is_zero() {
            return None; // the wall has only come back to where this clock already was
        }
        anchor.base = anchor.base.saturating_add(rest).unwrap_or(Timestamp::MAX);
        Some((steady, steady.saturating_add(rest).unwrap_or(Timestamp::MAX)))
    } else if leap < -tolerance {
        anchor.ahead -= leap;
        Some((steady, steady.saturating_add(leap).unwrap_or(Timestamp::MIN)))
    } else {
        None
    }
}

/// The jumps of the clock that an engine has seen, for runs in memory and for those that come back into it.
#[derive(Default)]
pub struct Jumps {
    /// How many there have been, and the newest of them.
    seen: Mutex<(u64, VecDeque<Jump>)>,
}

/// From which instant to which.
pub type Jump = (Timestamp, Timestamp);

/// Jumps that are remembered for parked runs; a clock that jumps more often has one problem, not many.
const JUMPS_MAX: usize = 64;

impl Jumps {
    pub fn add(&self, from: Timestamp, to: Timestamp) {
        let mut seen = self.seen.lock();
        seen.0 += 1;
        seen.1.push_back((from, to));
        if seen.1.len() > JUMPS_MAX {
            seen.1.pop_front();
        }
    }

    /// Those after the first `count`, and how many there have been in all.
    pub fn since(&self, count: u64) -> (Vec<Jump>, u64) {
        let seen = self.seen.lock();
        let new = usize::try_from(seen.0.saturating_sub(count)).unwrap_or(usize::MAX);
        let known = seen.1.len().saturating_sub(new);
        (seen.1.iter().skip(known).copied().collect(), seen.0)
    }

    /// Those among the first `count` that are still remembered.
    pub fn before(&self, count: u64) -> Vec<Jump> {
        let seen = self.seen.lock();
        let new = usize::try_from(seen.0.saturating_sub(count)).unwrap_or(usize::MAX);
        let known = seen.1.len().saturating_sub(new);
        seen.1.iter().take(known).copied().collect()
    }
}

/// A clock that stands still until it is moved.
pub struct ManualClock {
    state: Mutex<(Timestamp, Option<Timestamp>)>,
    moved: Notify,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock {
            state: Mutex::new((now, None)),
            moved: Notify::new(),
        }
    }

    /// Time passes. Everybody who sleeps looks again. Never backward.
    pub fn advance_to(&self, to: Timestamp) {
        {
            let mut state = self.state.lock();
            state.0 = state.0.max(to);
        }
        self.moved.notify_waiters();
    }

    /// The wall leaps: nobody has lived through what lies between. Shown once the jump has been taken.
    pub fn jump_to(&self, to: Timestamp) {
        {
            self.state.lock().1 = Some(to);
        }
        self.moved.notify_waiters();
    }
}

#[async_trait::async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().0
    }

    fn take_jump(&self, tell: &(dyn Fn(Timestamp, Timestamp) + Sync)) {
        let mut state = self.state.lock();
        if let Some(to) = state.1.take() {
            tell(state.0, to);
            state.0 = state.0.max(to);
        }
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.now() >= at {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::{Anchor, SystemClock, compare};
    use crate::ports::clock::Clock;
    use jiff::{SignedDuration, Timestamp};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn noon() -> Timestamp {
        at(43_200)
    }

    #[test]
    fn time_never_starts_before_what_the_store_has_seen() {
        let clock = SystemClock::on(noon, Some(at(50_000)));
        assert!(clock.now() >= at(50_000));
        // Knowing that it is ahead, it does not call that a jump.
        clock.take_jump(&|from, to| panic!("a jump from {from} to {to}"));
        assert!(SystemClock::on(noon, Some(at(10))).now() >= noon());
    }

    #[test]
    fn each_jump_of_the_wall_is_told_once() {
        let mut anchor = Anchor {
            base: at(0),
            ahead: SignedDuration::ZERO,
        };
        assert_eq!(compare(&mut anchor, at(100), at(101)), None, "within the tolerance");
        assert_eq!(compare(&mut anchor, at(100), at(3_700)), Some((at(100), at(3_700))));
        assert_eq!(anchor.base, at(3_600));
        assert_eq!(compare(&mut anchor, at(3_701), at(3_701)), None);
        // An hour back: told once, and steady time goes on.
        assert_eq!(compare(&mut anchor, at(3_800), at(200)), Some((at(3_800), at(200))));
        assert_eq!(compare(&mut anchor, at(3_810), at(210)), None);
        // The wall comes back to where steady time is: nobody has lost anything.
        assert_eq!(compare(&mut anchor, at(3_820), at(3_820)), None);
        assert_eq!(anchor.ahead, SignedDuration::ZERO);
        assert_eq!(anchor.base, at(3_600));
    }
}

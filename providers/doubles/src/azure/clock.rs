//! A clock that moves when it is told to.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;

/// How far the clock goes before what became due is looked at.
pub const TICK: Duration = Duration::from_millis(500);

/// Virtual time: it starts at the instant of its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Timestamp,
}

impl Clock {
    pub fn started_now() -> Clock {
        Clock { now: Timestamp::now() }
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn advance(&mut self, by: Duration) {
        // Centuries later the clock stands still; no test goes there.
        self.now = self.now.checked_add(by).unwrap_or(self.now);
    }
}

/// What time can pass in.
pub trait Timed: Send + Sync + 'static {
    fn advance(&self, by: Duration);
}

/// Lets virtual time pass `pace` times as fast as the machine's, until the double is dropped.
pub fn run_live<T: Timed>(double: &Arc<T>, pace: f64) -> tokio::task::JoinHandle<()> {
    const BEAT: Duration = Duration::from_millis(50);
    let double: Weak<T> = Arc::downgrade(double);
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(BEAT);
        let mut last = tokio::time::Instant::now();
        loop {
            let now = beat.tick().await;
            let Some(double) = double.upgrade() else { return };
            double.advance((now - last).mul_f64(pace.max(0.0)));
            last = now;
        }
    })
}

/// Seconds from one instant to a later one; none where it is not later.
pub fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

//! What time it is, for the shells; the core is told.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;

/// *Guarantees*: `now` never runs backward in one process. A jump of the wall clock against steady time is told once, and before
/// `now` first shows it, so that a bake does not count what nobody lived through.
#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Looks for a jump since the last call and tells of it: from which instant to which.
    fn take_jump(&self, tell: &(dyn Fn(Timestamp, Timestamp) + Sync));

    /// Returns at `at` or later; an early return is harmless.
    async fn sleep_until(&self, at: Timestamp);
}

/// A difference between wall and steady time that is still no jump.
pub const JUMP_TOLERANCE: Duration = Duration::from_secs(2);

//! When a workflow's schedule fires, and what it starts then: the newest submitted release, each instant at most once.

use std::sync::Arc;

use cron::Cron;
use cron::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Missed, Schedule};
use tracing::{info, warn};

use crate::ports::clock::Clock;
use crate::ports::store::{Error, Fired, Store, Submission};

/// An instant that is noticed within this long after it has come is on time: an engine was restarted, a machine was busy.
pub const LATE_MAX: Duration = Duration::from_secs(60);

/// The instants of one schedule.
///
/// *Guarantees*: strictly rising, so no instant comes twice. In a spring gap a fixed time of day fires once, at the first instant
/// after the gap, and an interval goes on with the clock on the wall; in an autumn overlap a fixed time fires once, at its
/// first occurrence, and an interval fires in both hours, which are different instants.
#[derive(Clone, Debug)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
    key: String,
    missed: Missed,
}

/// Why a schedule has no timetable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("`{cron}` is no cron expression of five fields: {why}")]
    Cron { cron: String, why: String },
    #[error("there is no time zone `{0}`")]
    Zone(String),
}

impl Timetable {
    pub fn new(schedule: &Schedule) -> Result<Timetable, Unreadable> {
        let unreadable = |why: String| Unreadable::Cron {
            cron: schedule.cron.clone(),
            why,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(&schedule.cron)
            .map_err(|error| unreadable(error.to_string()))?;
        let zone = TimeZone::get(&schedule.timezone).map_err(|_| Unreadable::Zone(schedule.timezone.clone()))?;
        Ok(Timetable {
            cron,
            zone,
            key: format!("{} {}", schedule.cron, schedule.timezone),
            missed: schedule.missed,
        })
    }

    /// The schedule's name in the store: the same as long as its instants are.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The first instant after this one; none when there is none within reach of the calendar.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let found: Zoned = self.cron.find_next_occurrence(&self.local(after), false).ok()?;
        Some(found.timestamp()).filter(|found| *found > after)
    }

    /// The newest instant up to and including this one.
    pub fn newest(&self, until: Timestamp) -> Option<Timestamp> {
        let found: Zoned = self.cron.find_previous_occurrence(&self.local(until), true).ok()?;
        Some(found.timestamp()).filter(|found| *found <= until)
    }

    fn local(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.zone.clone())
    }
}

/// What a schedule asks its owner to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub submission: Submission,
    pub instant: Timestamp,
    /// Makes the start idempotent across crashes: [`crate::ports::store::NewRun::key`].
    pub key: String,
}

/// One workflow's schedule as an engine follows it.
pub struct Follower {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    workflow: String,
    timetable: Timetable,
    /// Every instant up to here has been dealt with.
    done_until: Timestamp,
}

impl Follower {
    /// Begins where the store's memory of this schedule ends; one that was never seen begins now, and owes nothing from before.
    /// The start that a crash may have cut short comes first.
    ///
    /// *Errors*: the store's.
    pub async fn begin(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        workflow: String,
        timetable: Timetable,
    ) -> Result<(Follower, Option<Start>), Error> {
        let now = clock.now();
        let last = store.last_fired(&workflow, timetable.key()).await?;
        let mut follower = Follower {
            store,
            clock,
            workflow,
            timetable,
            done_until: last.unwrap_or(now),
        };
        let mut unfinished = None;
        match last {
            None => {
                let store = &follower.store;
                store.skip(&follower.workflow, follower.timetable.key(), now).await?;
            }
            Some(last) if follower.still_counts(last) => unfinished = follower.fire(last).await?,
            Some(_) => {}
        }
        follower.done_until = follower.done_until.max(last.unwrap_or(now));
        Ok((follower, unfinished))
    }

    /// The next instant at which [`Follower::due`] has something to do.
    pub fn wake(&self) -> Option<Timestamp> {
        self.timetable.next(self.done_until)
    }

    /// What is to be started now. Of several instants that were missed at most the newest fires, once.
    ///
    /// *Errors*: the store's; the same instant is asked for again.
    pub async fn due(&mut self) -> Result<Option<Start>, Error> {
        let now = self.clock.now();
        let Some(newest) = self.timetable.newest(now).filter(|newest| *newest > self.done_until) else {
            return Ok(None);
        };
        let (workflow, schedule) = (&self.workflow, self.timetable.key());
        let start = if self.still_counts(newest) {
            self.fire(newest).await?
        } else {
            warn!(workflow, schedule, instant = %newest, "missed while no engine was running; skipped");
            self.store.skip(workflow, schedule, newest).await?;
            None
        };
        self.done_until = newest;
        Ok(start)
    }

    fn still_counts(&self, instant: Timestamp) -> bool {
        let late = Duration::between(instant, self.clock.now());
        late <= LATE_MAX || self.timetable.missed == Missed::RunOnce
    }

    async fn fire(&self, instant: Timestamp) -> Result<Option<Start>, Error> {
        let (workflow, schedule) = (&self.workflow, self.timetable.key());
        let submission = match self.store.fire(workflow, schedule, instant).await? {
            Fired::Start(submission) => Some(submission),
            // Fired before: by another replica, which is starting it now, or by this one before a crash. The key makes both one.
            Fired::Already { submission } => submission,
            Fired::Nothing => {
                info!(workflow, schedule, %instant, "no new submission since the last release; skipped");
                None
            }
        };
        Ok(submission.map(|submission| Start {
            key: format!("schedule/{workflow}/{schedule}/{instant}"),
            submission,
            instant,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{Follower, Timetable, Unreadable};
    use crate::ports::clock::Clock;
    use crate::ports::store::{Store, Submission};
    use crate::scheduler::clock::ManualClock;
    use crate::store::memory::Memory;
    use jiff::Timestamp;
    use meridian_workflows::workflow::{Missed, Schedule};

    fn schedule(cron: &str, missed: Missed) -> Schedule {
        Schedule {
            cron: cron.into(),
            timezone: "Europe/Berlin".into(),
            missed,
        }
    }

    fn instants(cron: &str, after: &str, count: usize) -> Vec<String> {
        let table = Timetable::new(&schedule(cron, Missed::Skip)).unwrap();
        std::iter::successors(table.next(after.parse().unwrap()), |at| table.next(*at))
            .take(count)
            .map(|at| at.to_string())
            .collect()
    }

    #[test]
    fn half_past_two_comes_once_a_day_in_spring_and_in_autumn() {
        // On 29 March 2026 the clock goes from 02:00 to 03:00; half past two does not exist, the day's start does.
        assert_eq!(
            instants("30 2 * * *", "2026-03-27T12:00:00Z", 4),
            [
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:30:00Z",
                "2026-03-31T00:30:00Z"
            ]
        );
        // On 25 October 2026 the hour from 02:00 comes twice; the first one counts.
        assert_eq!(
            instants("30 2 * * *", "2026-10-23T12:00:00Z", 4),
            [
                "2026-10-24T00:30:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-26T01:30:00Z",
                "2026-10-27T01:30:00Z"
            ]
        );
    }

    #[test]
    fn every_half_hour_is_every_half_hour_through_both_changes() {
        assert_eq!(
            instants("*/30 * * * *", "2026-03-29T00:00:00Z", 4),
            [
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-29T02:00:00Z"
            ]
        );
        assert_eq!(
            instants("*/30 * * * *", "2026-10-24T23:45:00Z", 7),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:00:00Z",
                "2026-10-25T02:30:00Z",
                "2026-10-25T03:00:00Z",
            ]
        );
    }

    #[test]
    fn a_year_of_instants_rises_and_the_newest_is_always_the_last_that_came() {
        let table = Timetable::new(&schedule("30 2 * * *", Missed::Skip)).unwrap();
        let mut at: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for _ in 0..365 {
            let next = table.next(at).unwrap();
            assert!(next > at);
            assert_eq!(table.newest(next), Some(next));
            let just_before = next.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
            assert!(
                table.newest(just_before).unwrap() <= at,
                "nothing lies between {at} and {next}"
            );
            at = next;
        }
        assert_eq!(at.to_string(), "2027-01-01T01:30:00Z", "365 days, 365 instants");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for cron in ["61 * * * *", "* * * *", "0 0 0 * * *", "@sometimes", ""] {
            let refused = Timetable::new(&schedule(cron, Missed::Skip));
            assert!(matches!(refused, Err(Unreadable::Cron { .. })), "{cron}: {refused:?}");
        }
        let nowhere = Schedule {
            timezone: "Mars/Olympus".into(),
            ..schedule("0 9 * * *", Missed::Skip)
        };
        assert_eq!(
            Timetable::new(&nowhere).unwrap_err(),
            Unreadable::Zone("Mars/Olympus".into())
        );
    }

    struct Place {
        store: Arc<Memory>,
        clock: Arc<ManualClock>,
    }

    fn place(now: &str) -> Place {
        Place {
            store: Arc::new(Memory::new()),
            clock: Arc::new(ManualClock::at(now.parse().unwrap())),
        }
    }

    impl Place {
        async fn begin(&self, missed: Missed) -> (Follower, Option<String>) {
            let table = Timetable::new(&schedule("0 9 * * *", missed)).unwrap();
            let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
            let (follower, start) = Follower::begin(store, clock, "app".into(), table).await.unwrap();
            (follower, start.map(|start| start.submission.id))
        }

        async fn submit(&self, id: &str) {
            let submission = Submission {
                id: id.into(),
                workflow: "app".into(),
                inputs: BTreeMap::new(),
                by: "ana".into(),
                at: self.clock.now(),
            };
            self.store.submit(submission).await.unwrap();
        }

        async fn at(&self, now: &str, follower: &mut Follower) -> Option<(String, String)> {
            self.clock.advance_to(now.parse().unwrap());
            let start = follower.due().await.unwrap();
            start.map(|start| (start.submission.id, start.instant.to_string()))
        }
    }

    #[tokio::test]
    async fn each_instant_takes_the_newest_submission_and_none_without_one() {
        let place = place("2026-06-01T00:00:00Z");
        let (mut follower, _) = place.begin(Missed::Skip).await;
        place.submit("one").await;
        place.submit("two").await;
        assert_eq!(place.at("2026-06-01T06:59:59Z", &mut follower).await, None);
        let first = ("two".to_owned(), "2026-06-01T07:00:00Z".to_owned());
        assert_eq!(place.at("2026-06-01T07:00:00Z", &mut follower).await, Some(first));
        assert_eq!(place.at("2026-06-01T07:00:05Z", &mut follower).await, None);
        assert_eq!(
            place.at("2026-06-02T07:00:00Z", &mut follower).await,
            None,
            "nothing new"
        );
    }

    #[tokio::test]
    async fn a_missed_instant_is_skipped_or_run_once_as_the_schedule_says() {
        for (missed, expected) in [(Missed::Skip, None), (Missed::RunOnce, Some("2026-06-04T07:00:00Z"))] {
            let place = place("2026-06-01T00:00:00Z");
            let (follower, _) = place.begin(missed).await;
            place.submit("one").await;
            drop(follower); // the engine is down for three instants
            place.clock.advance_to("2026-06-04T12:00:00Z".parse().unwrap());
            let (mut follower, _) = place.begin(missed).await;
            let start = place.at("2026-06-04T12:00:01Z", &mut follower).await;
            assert_eq!(start.map(|(_, instant)| instant).as_deref(), expected);
            place.submit("two").await;
            let next = place.at("2026-06-05T07:00:00Z", &mut follower).await;
            assert_eq!(next.map(|(id, _)| id).as_deref(), Some("two"));
        }
    }

    #[tokio::test]
    async fn a_start_that_a_crash_cut_short_is_asked_for_again_under_the_same_key() {
        let place = place("2026-06-01T00:00:00Z");
        let (mut follower, _) = place.begin(Missed::Skip).await;
        place.submit("one").await;
        let before = place.at("2026-06-01T07:00:00Z", &mut follower).await.unwrap();
        drop(follower);
        let (mut follower, unfinished) = place.begin(Missed::Skip).await;
        assert_eq!(unfinished, Some(before.0));
        assert_eq!(place.at("2026-06-01T07:00:02Z", &mut follower).await, None);
        // Hours later it is too late to be a crash that is being repaired.
        place.clock.advance_to("2026-06-01T12:00:00Z".parse().unwrap());
        assert_eq!(place.begin(Missed::Skip).await.1, None);
    }
}

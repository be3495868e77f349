//! Whether a window is open, why it is closed, and when that changes: by the clock on the wall of the judged zone.
//!
//! A window says when traffic may move (its days and hours), its calendars say when it may not; deny beats allow. What
//! counts is what a wall clock in the zone shows. An hour that daylight saving skips never happens, so a window inside it
//! stays closed that day; an hour that it repeats happens twice, so a window inside it opens in both passes, and so does a
//! denial close. A day names the day on which its hours start: `fri 22:00–02:00` ends on Saturday.

mod hours;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use crate::workflow::{Calendar, Closed, Denial, Window, Zone};
use hours::Hours;

/// How far ahead the next change is looked for. Beyond two years it is "never" for a release.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);

/// Whether a window is open at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Open {
        /// The first instant at which it is closed again; none = not within [`HORIZON`].
        until: Option<Timestamp>,
    },
    Closed {
        /// In plain words, as in `year-end freeze (calendar company)`.
        why: String,
        /// The first instant at which it is open; none = not within [`HORIZON`].
        opens: Option<Timestamp>,
    },
}

impl Opening {
    pub fn is_open(&self) -> bool {
        matches!(self, Opening::Open { .. })
    }

    /// One sentence for people, instants as local time in `zone`.
    pub fn sentence(&self, zone: &TimeZone) -> String {
        match self {
            Opening::Open { until: None } => "open, and stays so for the next two years".to_owned(),
            Opening::Open { until: Some(until) } => format!("open until {}", local(*until, zone)),
            Opening::Closed { why, opens: None } => format!("closed: {why}; does not open within two years"),
            Opening::Closed {
                why,
                opens: Some(opens),
            } => format!("closed: {why}; opens {}", local(*opens, zone)),
        }
    }
}

/// Why a window cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the window is judged in the region's zone, but the region has no `timezone`")]
    RegionWithoutZone,
    #[error("there is no time zone `{0}`")]
    UnknownZone(String),
}

/// An instant as people in a zone read it: `Mon 2026-03-02 09:00 (Europe/Dublin)`.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    let zoned = at.to_zoned(zone.clone());
    let pattern = if zoned.second() == 0 {
        "%a %Y-%m-%d %H:%M"
    } else {
        "%a %Y-%m-%d %H:%M:%S"
    };
    let name = zone
        .iana_name()
        .map_or_else(|| zoned.offset().to_string(), str::to_owned);
    format!("{} ({name})", zoned.strftime(pattern))
}

/// An IANA zone by its name, out of the rules that this build carries: every replica and every replay reads the same.
pub fn zone(name: &str) -> Option<TimeZone> {
    static RULES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    RULES.get_or_init(TimeZoneDatabase::bundled).get(name).ok()
}

/// The zone in which a window is judged for a region with this `timezone`.
///
/// *Errors*: the region has none though the window asks for it; the zone does not exist.
pub fn judged_zone(window: &Window, region: Option<&str>) -> Result<TimeZone, Error> {
    let name = match (&window.timezone, region) {
        (Zone::Named(name), _) => name,
        (Zone::Region, Some(name)) => name,
        (Zone::Region, None) => return Err(Error::RegionWithoutZone),
    };
    zone(name).ok_or_else(|| Error::UnknownZone(name.to_owned()))
}

/// Whether a window is open at an instant, judged in `zone` (see [`judged_zone`]).
///
/// A calendar that the window names and `calendars` lacks keeps it closed: unknown is never a pass.
///
/// *Guarantees*: pure; bounded by the horizon and the number of denials; the instants it names are exact.
pub fn opening(window: &Window, calendars: &BTreeMap<String, Calendar>, zone: &TimeZone, at: Timestamp) -> Opening {
    let judge = Judge::new(window, calendars, zone);
    let state = judge.state(at);
    let changes = judge.next_change(at, state.is_open());
    match state {
        State::Open { .. } => Opening::Open { until: changes },
        State::Closed { why, .. } => Opening::Closed {
            why: why.to_string(),
            opens: changes,
        },
    }
}

/// A window with its rules taken apart.
struct Judge<'a> {
    zone: &'a TimeZone,
    allowed: Hours<'a>,
    denials: Vec<Denied<'a>>,
    missing: Option<&'a str>,
}

struct Denied<'a> {
    calendar: &'a str,
    reason: &'a str,
    when: When<'a>,
}

enum When<'a> {
    Hours(Hours<'a>),
    /// Wall-clock time, end excluded.
    Local(DateTime, DateTime),
    Instants(Timestamp, Timestamp),
}

/// The state at one instant, and until when nothing else can be true while the zone's offset stays as it is.
enum State<'a> {
    Open { until: Moment },
    Closed { why: Why<'a>, until: Moment },
}

impl State<'_> {
    fn is_open(&self) -> bool {
        matches!(self, State::Open { .. })
    }
}

/// The earliest candidates for a change, on the wall and on the world's clock; none = no change that way.
#[derive(Clone, Copy, Default)]
struct Moment {
    wall: Option<DateTime>,
    instant: Option<Timestamp>,
}

enum Why<'a> {
    Denied {
        reason: &'a str,
        calendar: &'a str,
    },
    Missing(&'a str),
    Outside {
        hours: String,
        wall: DateTime,
        zone: String,
    },
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Denied { reason, calendar } => write!(f, "{reason} (calendar {calendar})"),
            Why::Missing(calendar) => write!(f, "its calendar {calendar} is unknown"),
            Why::Outside { hours, wall, zone } => {
                write!(f, "outside {hours}, it is {} in {zone}", wall.strftime("%a %H:%M"))
            }
        }
    }
}

impl<'a> Judge<'a> {
    fn new(window: &'a Window, calendars: &'a BTreeMap<String, Calendar>, zone: &'a TimeZone) -> Judge<'a> {
        let mut denials = Vec::new();
        let mut missing = None;
        for name in &window.calendars {
            match calendars.get(name) {
                Some(calendar) => denials.extend(calendar.deny.iter().map(|denial| Denied::new(name, denial))),
                None => missing = missing.or(Some(name.as_str())),
            }
        }
        Judge {
            zone,
            allowed: Hours::new(&window.days, window.from, window.to),
            denials,
            missing,
        }
    }

    fn state(&self, at: Timestamp) -> State<'_> {
        let wall = self.zone.to_datetime(at);
        if let Some(calendar) = self.missing {
            return State::Closed {
                why: Why::Missing(calendar),
                until: Moment::default(),
            };
        }
        if let Some(state) = self.denied(at, wall) {
            return state;
        }
        match self.allowed.covering(wall) {
            None => State::Closed {
                why: Why::Outside {
                    hours: self.allowed.to_string(),
                    wall,
                    zone: self.zone.iana_name().unwrap_or("its zone").to_owned(),
                },
                until: Moment {
                    wall: self.allowed.next_start(wall),
                    instant: None,
                },
            },
            Some(end) => {
                let starts = self.denials.iter().filter_map(|denied| denied.starts_after(at, wall));
                let until = starts.fold(
                    Moment {
                        wall: end,
                        instant: None,
                    },
                    Moment::sooner,
                );
                State::Open { until }
            }
        }
    }

    /// Of several denials the one that lasts longest tells why: waiting for the shorter one would not help.
    fn denied(&self, at: Timestamp, wall: DateTime) -> Option<State<'_>> {
        let active = self
            .denials
            .iter()
            .filter_map(|denied| Some((denied, denied.active_until(at, wall)?)));
        let (denied, until) = active.reduce(|longest, other| {
            if self.approximate(other.1) > self.approximate(longest.1) {
                other
            } else {
                longest
            }
        })?;
        Some(State::Closed {
            why: Why::Denied {
                reason: denied.reason,
                calendar: denied.calendar,
            },
            until,
        })
    }

    /// A moment as an instant, good for comparing ends of different make; none = never lies last.
    fn approximate(&self, moment: Moment) -> Timestamp {
        let wall = moment.wall.and_then(|wall| self.zone.to_timestamp(wall).ok());
        moment.instant.or(wall).unwrap_or(Timestamp::MAX)
    }

    /// The first instant after `at` at which the window is open if it was closed, or closed if it was open.
    ///
    /// Within one UTC offset the wall clock runs evenly, so the state's own end can be reached in one step. A change of the
    /// offset ends every step, and the wall is read anew behind it.
    fn next_change(&self, at: Timestamp, open: bool) -> Option<Timestamp> {
        let last = at.checked_add(HORIZON).unwrap_or(Timestamp::MAX);
        let mut shift = self.next_shift(at);
        let mut now = at;
        loop {
            let until = match self.state(now) {
                State::Open { until } | State::Closed { until, .. } => until,
            };
            let offset = self.zone.to_offset(now);
            let wall = until.wall.and_then(|wall| offset.to_timestamp(wall).ok());
            let next = [wall, until.instant, shift]
                .into_iter()
                .flatten()
                .filter(|next| *next > now)
                .min()?;
            if next > last {
                return None;
            }
            if shift.is_some_and(|shift| shift <= next) {
                shift = self.next_shift(next);
            }
            now = next;
            if self.state(now).is_open() != open {
                return Some(now);
            }
        }
    }

    fn next_shift(&self, at: Timestamp) -> Option<Timestamp> {
        self.zone.following(at).next().map(|transition| transition.timestamp())
    }
}

impl<'a> Denied<'a> {
    fn new(calendar: &'a str, denial: &'a Denial) -> Denied<'a> {
        let when = match &denial.closed {
            Closed::Dates { from, to } => {
                let end = to
                    .tomorrow()
                    .map_or(DateTime::MAX, |next| next.to_datetime(jiff::civil::Time::midnight()));
                When::Local(from.to_datetime(jiff::civil::Time::midnight()), end)
            }
            Closed::Weekly { days, from, to } => When::Hours(Hours::new(days, *from, *to)),
            Closed::Local { from, to } => When::Local(*from, *to),
            Closed::Instants { from, to } => When::Instants(*from, *to),
        };
        Denied {
            calendar,
            reason: &denial.reason,
            when,
        }
    }

    /// When this denial ends, if it holds now.
    fn active_until(&self, at: Timestamp, wall: DateTime) -> Option<Moment> {
        match &self.when {
            When::Hours(hours) => hours.covering(wall).map(|end| Moment {
                wall: end,
                instant: None,
            }),
            When::Local(from, to) => (*from <= wall && wall < *to).then_some(Moment {
                wall: Some(*to),
                instant: None,
            }),
            When::Instants(from, to) => (*from <= at && at < *to).then_some(Moment {
                wall: None,
                instant: Some(*to),
            }),
        }
    }

    fn starts_after(&self, at: Timestamp, wall: DateTime) -> Option<Moment> {
        match &self.when {
            When::Hours(hours) => hours.next_start(wall).map(|start| Moment {
                wall: Some(start),
                instant: None,
            }),
            When::Local(from, _) => (*from > wall).then_some(Moment {
                wall: Some(*from),
                instant: None,
            }),
            When::Instants(from, _) => (*from > at).then_some(Moment {
                wall: None,
                instant: Some(*from),
            }),
        }
    }
}

impl Moment {
    fn sooner(self, other: Moment) -> Moment {
        Moment {
            wall: [self.wall, other.wall].into_iter().flatten().min(),
            instant: [self.instant, other.instant].into_iter().flatten().min(),
        }
    }
}

#[cfg(test)]
mod tests;

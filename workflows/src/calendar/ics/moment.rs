//! Dates and times as iCalendar writes them.

use std::collections::HashSet;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Fault, midnight};
use crate::calendar::content::Property;
use crate::calendar::zones;

/// One of the four ways in which a calendar tells when something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A whole day, wherever one is.
    Date(Date),
    /// A wall clock's time, wherever one is.
    Floating(DateTime),
    Utc(Timestamp),
    Zoned(DateTime, TimeZone),
}

impl Moment {
    /// A property's value with its `VALUE` and `TZID`.
    pub fn of(property: &Property) -> Result<Moment, Fault> {
        Moment::read(&property.value, property.parameter("TZID"))
    }

    pub fn read(value: &str, zone: Option<&str>) -> Result<Moment, Fault> {
        let no_time = || Fault::NoTime(crate::calendar::content::plain(value, 40));
        let value = value.trim();
        if !value.is_ascii() {
            return Err(no_time());
        }
        let Some((date, time)) = value.split_once(['T', 't']) else {
            return read_date(value).map(Moment::Date).ok_or_else(no_time);
        };
        let (time, is_utc) = match time.strip_suffix(['Z', 'z']) {
            Some(time) => (time, true),
            None => (time, false),
        };
        let wall = read_date(date).zip(read_time(time)).ok_or_else(no_time)?;
        let wall = wall.0.to_datetime(wall.1);
        match (is_utc, zone) {
            (true, _) => TimeZone::UTC.to_timestamp(wall).map(Moment::Utc).map_err(|_| no_time()),
            (false, Some(id)) => {
                let zone =
                    zones::zone(id).ok_or_else(|| Fault::UnknownZone(crate::calendar::content::plain(id, 60)))?;
                Ok(Moment::Zoned(wall, zone))
            }
            (false, None) => Ok(Moment::Floating(wall)),
        }
    }

    pub fn is_date(&self) -> bool {
        matches!(self, Moment::Date(_))
    }

    /// What the calendar's own clock shows.
    pub fn wall(&self) -> DateTime {
        match self {
            Moment::Date(date) => midnight(*date),
            Moment::Floating(wall) | Moment::Zoned(wall, _) => *wall,
            Moment::Utc(at) => TimeZone::UTC.to_datetime(*at),
        }
    }

    /// The same time of day on another date.
    pub fn on(&self, date: Date) -> Moment {
        match self {
            Moment::Date(_) => Moment::Date(date),
            Moment::Floating(wall) => Moment::Floating(date.to_datetime(wall.time())),
            Moment::Zoned(wall, zone) => Moment::Zoned(date.to_datetime(wall.time()), zone.clone()),
            Moment::Utc(at) => {
                let wall = date.to_datetime(TimeZone::UTC.to_datetime(*at).time());
                // Dates of rules end at the horizon, where every time of day is an instant.
                Moment::Utc(TimeZone::UTC.to_timestamp(wall).unwrap_or(Timestamp::MAX))
            }
        }
    }

    /// The first instant that it can mean; none where it has no zone.
    pub fn earliest(&self) -> Option<Timestamp> {
        match self {
            Moment::Date(_) | Moment::Floating(_) => None,
            Moment::Utc(at) => Some(*at),
            Moment::Zoned(wall, zone) => zone.to_ambiguous_timestamp(*wall).earlier().ok(),
        }
    }

    /// The last instant that it can mean: an hour that daylight saving repeats ends twice.
    pub fn latest(&self) -> Option<Timestamp> {
        match self {
            Moment::Date(_) | Moment::Floating(_) => None,
            Moment::Utc(at) => Some(*at),
            Moment::Zoned(wall, zone) => zone.to_ambiguous_timestamp(*wall).later().ok(),
        }
    }

    /// The wall clock's time this much later; none beyond the end of time.
    pub fn later(&self, length: SignedDuration) -> Option<Moment> {
        let wall = self.wall().checked_add(length).ok()?;
        Some(match self {
            Moment::Date(_) => Moment::Date(wall.date()),
            Moment::Floating(_) => Moment::Floating(wall),
            Moment::Utc(at) => Moment::Utc(at.checked_add(length).ok()?),
            Moment::Zoned(_, zone) => Moment::Zoned(wall, zone.clone()),
        })
    }

    /// Whether it lies behind an `UNTIL`. Programs write that as a date or in UTC, whatever the start is.
    pub fn is_after(&self, until: &Moment) -> bool {
        match (self.earliest(), until.earliest()) {
            (Some(this), Some(until)) => this > until,
            (_, _) if until.is_date() || self.is_date() => self.wall().date() > until.wall().date(),
            (_, _) => self.wall() > until.wall(),
        }
    }
}

/// Times of a repeating event that are taken out of it. One that is a date means the whole day.
#[derive(Debug, Default)]
pub struct Times {
    dates: HashSet<Date>,
    walls: HashSet<DateTime>,
    instants: HashSet<Timestamp>,
}

impl Times {
    pub fn insert(&mut self, moment: &Moment) {
        match (moment, moment.earliest()) {
            (Moment::Date(date), _) => self.dates.insert(*date),
            (_, Some(at)) => self.instants.insert(at),
            (_, None) => self.walls.insert(moment.wall()),
        };
    }

    pub fn contains(&self, moment: &Moment) -> bool {
        let wall = moment.wall();
        self.dates.contains(&wall.date())
            || self.walls.contains(&wall)
            || moment.earliest().is_some_and(|at| self.instants.contains(&at))
    }
}

/// `20261225`.
fn read_date(text: &str) -> Option<Date> {
    let digits = digits(text, 8)?;
    Date::new(
        digits[..4].parse().ok()?,
        digits[4..6].parse().ok()?,
        digits[6..].parse().ok()?,
    )
    .ok()
}

/// `090000`; a leap second counts as the one before.
fn read_time(text: &str) -> Option<Time> {
    let digits = digits(text, 6)?;
    let second: i8 = digits[4..].parse().ok()?;
    let second = if second == 60 { 59 } else { second };
    Time::new(digits[..2].parse().ok()?, digits[2..4].parse().ok()?, second, 0).ok()
}

fn digits(text: &str, count: usize) -> Option<&str> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// `P2D`, `P1W`, `PT1H30M`; negative ones are none. A day is 24 hours on the wall.
pub fn read_duration(text: &str) -> Option<SignedDuration> {
    let text = text.trim();
    let (dates, times) = text
        .strip_prefix('+')
        .unwrap_or(text)
        .strip_prefix('P')?
        .split_once('T')
        .map_or_else(
            || {
                text.strip_prefix('+')
                    .unwrap_or(text)
                    .strip_prefix('P')
                    .map(|dates| (dates, None))
            },
            |(dates, times)| Some((dates, Some(times))),
        )?;
    let mut seconds: i64 = 0;
    let mut parts = 0;
    for (part, units) in [
        (dates, [('W', 604_800), ('D', 86_400), ('?', 0)]),
        (times.unwrap_or_default(), [('H', 3_600), ('M', 60), ('S', 1)]),
    ] {
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
            let unit = rest[end..].chars().next()?;
            let (_, size) = units.iter().find(|(name, size)| *name == unit && *size > 0)?;
            let count: i64 = rest[..end].parse().ok()?;
            seconds = seconds.checked_add(count.checked_mul(*size)?)?;
            rest = &rest[end + unit.len_utf8()..];
            parts += 1;
        }
    }
    // Longer than all years that dates know is no duration either.
    (parts > 0 && times != Some("") && seconds < 10_000 * 366 * 86_400).then(|| SignedDuration::from_secs(seconds))
}

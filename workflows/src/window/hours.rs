//! Hours of the week on a wall clock: on which days they start, from when, until when.

use std::fmt;

use jiff::civil::{Date, DateTime, Time, Weekday};

use crate::workflow::Day;

/// Hours that start on some days of every week. No `from` means from midnight, no `to` until midnight; a `to` that is not
/// after `from` lies on the next day, so equal times are 24 hours (the language refuses them, because people who write
/// them mean different things).
#[derive(Clone, Copy)]
pub struct Hours<'a> {
    /// Empty = every day.
    days: &'a [Day],
    from: Option<Time>,
    to: Option<Time>,
}

impl<'a> Hours<'a> {
    pub fn new(days: &'a [Day], from: Option<Time>, to: Option<Time>) -> Hours<'a> {
        Hours { days, from, to }
    }

    /// If the hours hold at this wall-clock time: when they end, none = at no time that a calendar knows.
    pub fn covering(&self, wall: DateTime) -> Option<Option<DateTime>> {
        if self.is_always() {
            return Some(None);
        }
        let today = wall.date();
        let holds = |date: Date| {
            self.starting(date)
                .filter(|(from, to)| *from <= wall && to.is_none_or(|to| wall < to))
        };
        let ends = [today.yesterday().ok(), Some(today)]
            .into_iter()
            .flatten()
            .filter_map(holds)
            .map(|(_, to)| to);
        ends.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)))
    }

    /// The next wall-clock time after this one at which the hours start, whether or not they hold already.
    pub fn next_start(&self, wall: DateTime) -> Option<DateTime> {
        if self.is_always() {
            return None;
        }
        let mut date = wall.date();
        for _ in 0..=7 {
            if let Some((from, _)) = self.starting(date).filter(|(from, _)| *from > wall) {
                return Some(from);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The hours that start on a date; an end of none lies beyond the last date there is.
    fn starting(&self, date: Date) -> Option<(DateTime, Option<DateTime>)> {
        if !self.days.is_empty() && !self.days.contains(&day(date.weekday())) {
            return None;
        }
        let from = self.from.unwrap_or(Time::midnight());
        let to = self.to.unwrap_or(Time::midnight());
        let end = if to > from { Some(date) } else { date.tomorrow().ok() };
        Some((date.to_datetime(from), end.map(|end| end.to_datetime(to))))
    }

    fn is_always(&self) -> bool {
        self.days.is_empty() && self.from.unwrap_or(Time::midnight()) == self.to.unwrap_or(Time::midnight())
    }
}

impl fmt::Display for Hours<'_> {
    /// `mon–thu 09:00–16:00`, as people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut days: Vec<Day> = self.days.to_vec();
        days.sort_unstable();
        days.dedup();
        let names: Vec<&str> = days.iter().map(|day| name(*day)).collect();
        let in_a_row = days.windows(2).all(|pair| pair[1] as u8 == pair[0] as u8 + 1);
        match names.as_slice() {
            [] => f.write_str("every day")?,
            [first, .., last] if in_a_row && names.len() > 2 => write!(f, "{first}–{last}")?,
            names => f.write_str(&names.join(", "))?,
        }
        let text = |time: Time| {
            time.strftime(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" })
                .to_string()
        };
        match (self.from, self.to) {
            (None, None) => Ok(()),
            (Some(from), None) => write!(f, " from {}", text(from)),
            (None, Some(to)) => write!(f, " until {}", text(to)),
            (Some(from), Some(to)) => write!(f, " {}–{}", text(from), text(to)),
        }
    }
}

/// The language's name of a day.
fn name(day: Day) -> &'static str {
    match day {
        Day::Mon => "mon",
        Day::Tue => "tue",
        Day::Wed => "wed",
        Day::Thu => "thu",
        Day::Fri => "fri",
        Day::Sat => "sat",
        Day::Sun => "sun",
    }
}

/// The language's day for the calendar's.
pub fn day(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

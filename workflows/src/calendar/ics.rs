//! iCalendar files (RFC 5545) as denials: every event closes the calendar, its summary is the reason.
//!
//! Whole days and floating times are judged in the region's zone, as if written there; times with a zone or in UTC are
//! instants. Repeating events become one denial each time, up to the horizon, from which the calendar stays closed. What the
//! reader does not understand and could matter is refused with its line; nothing is guessed.

use std::collections::HashMap;
use std::fmt;

use jiff::civil::{Date, DateTime};

use super::content::{Property, plain, unfold};
use super::recurrence::{self, HORIZON, Rule, Step};
use crate::workflow::{Closed, Denial};

mod event;
mod moment;

use event::Event;
use moment::{Moment, Times};

/// A year of a busy team's calendar has tens of kilobytes; this bounds the memory that a hostile file can ask for.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Denials of one file. Windows look at all of them at every question, and plans carry them.
pub const DENIALS_MAX: usize = 20_000;

/// Periods that the rules of one file may look at in all: rules that (almost) never meet a date must end too.
const PERIODS_MAX: usize = 500_000;

/// Properties of one event that matter; each `EXDATE` line counts.
const PROPERTIES_MAX: usize = 4_096;

/// Problems told at once; more would not be read.
const PROBLEMS_MAX: usize = 50;

/// Why a file is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In the file, from 1.
    pub line: usize,
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

/// What is wrong at a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the file is larger than {} MiB", BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("an iCalendar file begins with BEGIN:VCALENDAR")]
    NoCalendar,
    #[error("`{0}` is no property: expected `NAME:value`")]
    NoProperty(String),
    #[error("END:{0} ends nothing that has begun here")]
    EndsNothing(String),
    #[error("BEGIN:{0} has no END")]
    NeverEnds(String),
    #[error("components are nested too deeply")]
    TooDeep,
    #[error("the event has more than {PROPERTIES_MAX} properties")]
    TooManyProperties,
    #[error("the event has no DTSTART")]
    NoStart,
    #[error("the event has {0} twice")]
    Twice(&'static str),
    #[error("the event has both DTEND and DURATION")]
    TwoEnds,
    #[error("the event ends before it starts")]
    EndsBeforeStart,
    #[error("DTSTART and {0} must both be dates or both be times")]
    Mixed(&'static str),
    #[error("`{0}` is no date or time, expected `20261225`, `20261225T090000` or `20261225T090000Z`")]
    NoTime(String),
    #[error("`{0}` is no duration, expected `P1D` or `PT1H30M`")]
    NoDuration(String),
    #[error("there is no time zone `{0}`; IANA names and the common names of Windows are known")]
    UnknownZone(String),
    #[error("{0}")]
    Rule(#[from] recurrence::Error),
    #[error("{0} is not supported; write the denial in the calendar's `deny` instead")]
    Unsupported(&'static str),
    #[error("the file has more than {DENIALS_MAX} closed stretches: give the repeating events an UNTIL")]
    TooMany,
    #[error("the repeating events of the file take too long to follow: give them an UNTIL")]
    TooLong,
}

/// Reads a file.
///
/// *Guarantees*: never panics; bounded in time and memory by the constants above, whatever the text.
///
/// *Errors*: all problems found, at most fifty, in the order of the file.
pub fn parse(text: &str) -> Result<Vec<Denial>, Vec<Problem>> {
    if text.len() > BYTES_MAX {
        return Err(vec![Problem {
            line: 1,
            fault: Fault::TooLarge,
        }]);
    }
    let mut problems = Vec::new();
    let events = events(text, &mut problems);
    let denials = denials(&events, &mut problems);
    if problems.is_empty() {
        return Ok(denials);
    }
    problems.sort_by_key(|problem| problem.line);
    problems.truncate(PROBLEMS_MAX);
    Err(problems)
}

/// The file's events; cancelled ones too, because they may take back one time of a repeating event.
fn events(text: &str, problems: &mut Vec<Problem>) -> Vec<Event> {
    const DEPTH_MAX: usize = 16;
    let mut events = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut properties: Vec<Property> = Vec::new();
    let mut calendars = 0;
    for (line, text) in unfold(text) {
        let mut problem = |fault| problems.push(Problem { line, fault });
        let Some(property) = Property::read(line, &text) else {
            problem(Fault::NoProperty(plain(&text.replace('\\', "\\\\"), 40)));
            return events;
        };
        let component = property.value.trim().to_ascii_uppercase();
        match property.name.as_str() {
            "BEGIN" if open.len() == DEPTH_MAX => {
                problem(Fault::TooDeep);
                return events;
            }
            "BEGIN" => {
                if open.is_empty() {
                    calendars += usize::from(component == "VCALENDAR");
                }
                if component == "VEVENT" {
                    properties.clear();
                }
                open.push((line, component));
            }
            "END" => match open.pop() {
                Some((began, name)) if name == component => {
                    if name == "VEVENT" && is_calendar(&open) {
                        match Event::new(began, &properties) {
                            Ok(event) => events.push(event),
                            Err(found) => problems.push(found),
                        }
                    }
                }
                Some(_) | None => {
                    problem(Fault::EndsNothing(plain(&component, 40)));
                    return events;
                }
            },
            _ => {
                if let Some(((_, name), outer)) = open.split_last()
                    && name == "VEVENT"
                    && is_calendar(outer)
                    && event::MATTERS.contains(&property.name.as_str())
                {
                    if properties.len() == PROPERTIES_MAX {
                        problem(Fault::TooManyProperties);
                        return events;
                    }
                    properties.push(property);
                }
            }
        }
        if problems.len() >= PROBLEMS_MAX {
            return events;
        }
    }
    if calendars == 0 {
        problems.push(Problem {
            line: 1,
            fault: Fault::NoCalendar,
        });
    }
    problems.extend(open.pop().map(|(line, name)| Problem {
        line,
        fault: Fault::NeverEnds(plain(&name, 40)),
    }));
    events
}

fn is_calendar(open: &[(usize, String)]) -> bool {
    matches!(open, [(_, name)] if name == "VCALENDAR")
}

/// Follows the events' rules.
fn denials(events: &[Event], problems: &mut Vec<Problem>) -> Vec<Denial> {
    // Single times of a repeating event that stand in an event of their own.
    let mut moved: HashMap<&str, Times> = HashMap::new();
    for event in events {
        if let (Some(uid), Some(replaces)) = (&event.uid, &event.replaces) {
            moved.entry(uid.as_str()).or_default().insert(replaces);
        }
    }
    let none = Times::default();
    let mut found = Found {
        denials: Vec::new(),
        periods: 0,
        cut_off: false,
    };
    for event in events.iter().filter(|event| !event.cancelled) {
        let replaced = match (&event.uid, &event.replaces) {
            (Some(uid), None) => moved.get(uid.as_str()).unwrap_or(&none),
            (_, Some(_)) | (None, None) => &none,
        };
        if let Err(fault) = found.follow(event, replaced) {
            problems.push(Problem {
                line: event.line,
                fault,
            });
            return found.denials;
        }
    }
    if found.cut_off {
        let reason = format!("repeating events of the calendar are known only until {HORIZON}");
        found.denials.push(Denial {
            closed: Closed::Dates {
                from: HORIZON,
                to: Date::MAX,
            },
            reason,
        });
    }
    found.denials
}

struct Found {
    denials: Vec<Denial>,
    periods: usize,
    cut_off: bool,
}

impl Found {
    fn follow(&mut self, event: &Event, replaced: &Times) -> Result<(), Fault> {
        let Some(rule) = &event.rule else {
            return self.add(event, &event.start);
        };
        let until = rule
            .until
            .as_deref()
            .map(|until| Moment::read(until, None))
            .transpose()?;
        let mut dates = rule.dates(event.start.wall().date());
        let mut left = rule.count;
        while left != Some(0) {
            match dates.step() {
                Step::Period => {
                    self.periods += 1;
                    if self.periods > PERIODS_MAX {
                        return Err(Fault::TooLong);
                    }
                }
                Step::End => {
                    self.cut_off |= until.is_none_or(|until| until.wall().date() >= HORIZON);
                    return Ok(());
                }
                Step::Date(date) => {
                    let start = event.start.on(date);
                    if until.as_ref().is_some_and(|until| start.is_after(until)) {
                        return Ok(());
                    }
                    left = left.map(|left| left - 1);
                    if !event.except.contains(&start) && !replaced.contains(&start) {
                        self.add(event, &start)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, event: &Event, start: &Moment) -> Result<(), Fault> {
        let Some(closed) = event.closed(start) else {
            return Ok(());
        };
        if self.denials.len() == DENIALS_MAX {
            return Err(Fault::TooMany);
        }
        self.denials.push(Denial {
            closed,
            reason: event.reason.clone(),
        });
        Ok(())
    }
}

/// The wall-clock time at the start of a date.
fn midnight(date: Date) -> DateTime {
    date.to_datetime(jiff::civil::Time::midnight())
}

#[cfg(test)]
mod tests;

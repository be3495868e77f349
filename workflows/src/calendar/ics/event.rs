//! One `VEVENT`: when it starts, how long it lasts, how it repeats and what it is called.

use jiff::SignedDuration;
use jiff::civil::Date;

use super::moment::{Moment, Times, read_duration};
use super::{Fault, Problem, Rule};
use crate::calendar::content::{Property, plain};
use crate::workflow::Closed;

/// Letters of a reason; a summary that is longer tells no more at 3 a.m.
const REASON_MAX: usize = 200;

/// The properties that are read; all others change nothing about when an event is.
pub const MATTERS: [&str; 11] = [
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXRULE",
    "EXDATE",
    "RECURRENCE-ID",
    "SUMMARY",
    "STATUS",
    "UID",
];

pub struct Event {
    /// Where it begins.
    pub line: usize,
    pub uid: Option<String>,
    pub start: Moment,
    length: Length,
    pub rule: Option<Rule>,
    pub except: Times,
    /// The time of the repeating event with the same UID that this one stands for.
    pub replaces: Option<Moment>,
    pub cancelled: bool,
    pub reason: String,
}

/// How long each time of the event lasts.
enum Length {
    /// On the clock of its own zone, so that an event until 06:00 ends at 06:00 also when the clock changes in between.
    Wall(SignedDuration),
    /// Start and end are told in different zones.
    Exact(SignedDuration),
}

impl Event {
    pub fn new(line: usize, properties: &[Property]) -> Result<Event, Problem> {
        let at = |property: &Property, fault| Problem {
            line: property.line,
            fault,
        };
        let find = |name: &'static str| {
            let mut all = properties.iter().filter(|property| property.name == name);
            match (all.next(), all.next()) {
                (_, Some(second)) => Err(at(second, Fault::Twice(name))),
                (first, None) => Ok(first),
            }
        };
        for (name, fault) in [
            ("RDATE", Fault::Unsupported("RDATE")),
            ("EXRULE", Fault::Unsupported("EXRULE")),
        ] {
            if let Some(property) = properties.iter().find(|property| property.name == name) {
                return Err(at(property, fault));
            }
        }
        let moment = |property: &Property| Moment::of(property).map_err(|fault| at(property, fault));
        let started = find("DTSTART")?.ok_or(Problem {
            line,
            fault: Fault::NoStart,
        })?;
        let start = moment(started)?;
        let length = match (find("DTEND")?, find("DURATION")?) {
            (Some(_), Some(duration)) => return Err(at(duration, Fault::TwoEnds)),
            (Some(end), None) => length(&start, &moment(end)?).map_err(|fault| at(end, fault))?,
            (None, Some(duration)) => {
                let no_duration = || at(duration, Fault::NoDuration(plain(&duration.value, 40)));
                Length::Wall(read_duration(&duration.value).ok_or_else(no_duration)?)
            }
            (None, None) => Length::Wall(SignedDuration::from_hours(if start.is_date() { 24 } else { 0 })),
        };
        let rule = find("RRULE")?
            .map(|rule| {
                let read = Rule::read(&rule.value).map_err(|error| at(rule, error.into()))?;
                if let Some(until) = &read.until {
                    Moment::read(until, None).map_err(|fault| at(rule, fault))?;
                }
                Ok(read)
            })
            .transpose()?;
        let mut except = Times::default();
        for property in properties.iter().filter(|property| property.name == "EXDATE") {
            for value in property.value.split(',') {
                let read = Moment::read(value, property.parameter("TZID"));
                except.insert(&read.map_err(|fault| at(property, fault))?);
            }
        }
        let replaces = match find("RECURRENCE-ID")? {
            Some(property) if property.parameter("RANGE").is_some() => {
                return Err(at(property, Fault::Unsupported("RECURRENCE-ID with RANGE")));
            }
            Some(property) => Some(moment(property)?),
            None => None,
        };
        let summary = find("SUMMARY")?.map(|summary| plain(&summary.value, REASON_MAX));
        Ok(Event {
            line,
            uid: find("UID")?.map(|uid| uid.value.clone()),
            start,
            length,
            rule,
            except,
            replaces,
            cancelled: find("STATUS")?.is_some_and(|status| status.value.trim().eq_ignore_ascii_case("CANCELLED")),
            reason: summary
                .filter(|summary| !summary.is_empty())
                .unwrap_or_else(|| "an event without a summary".to_owned()),
        })
    }

    /// What one time of the event closes; none when it has no length.
    pub fn closed(&self, start: &Moment) -> Option<Closed> {
        let (end, length) = match self.length {
            Length::Wall(length) => (start.later(length), length),
            Length::Exact(length) => {
                let end = start.latest().and_then(|start| start.checked_add(length).ok());
                (end.map(Moment::Utc), length)
            }
        };
        if length.is_zero() {
            return None;
        }
        Some(match start {
            Moment::Date(from) => {
                // A date's end is excluded in the file and included in a denial.
                let last = end
                    .and_then(|end| end.wall().date().yesterday().ok())
                    .unwrap_or(Date::MAX);
                Closed::Dates {
                    from: *from,
                    to: last.max(*from),
                }
            }
            Moment::Floating(from) => Closed::Local {
                from: *from,
                to: end.map_or(jiff::civil::DateTime::MAX, |end| end.wall()),
            },
            Moment::Utc(_) | Moment::Zoned(_, _) => Closed::Instants {
                from: start.earliest()?,
                to: end.and_then(|end| end.latest()).unwrap_or(jiff::Timestamp::MAX),
            },
        })
    }
}

fn length(start: &Moment, end: &Moment) -> Result<Length, Fault> {
    let length = match (start, end) {
        (Moment::Zoned(_, zone), Moment::Zoned(_, other)) if zone == other => None,
        _ => match (start.earliest(), end.latest()) {
            (Some(start), Some(end)) => Some(start.duration_until(end)),
            (None, None) if start.is_date() == end.is_date() => None,
            (_, _) => return Err(Fault::Mixed("DTEND")),
        },
    };
    let length = match length {
        Some(exact) => Length::Exact(exact),
        None => Length::Wall(start.wall().duration_until(end.wall())),
    };
    match &length {
        Length::Wall(time) | Length::Exact(time) if time.is_negative() => Err(Fault::EndsBeforeStart),
        Length::Wall(_) | Length::Exact(_) => Ok(length),
    }
}

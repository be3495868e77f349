//! Repeating events: the dates of an `RRULE`, for the parts that calendar programs commonly write.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};

/// Rules without an end are followed to this date; the calendar counts as closed from then on, and says so.
pub const HORIZON: Date = jiff::civil::date(2040, 1, 1);

/// When an event repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    frequency: Frequency,
    interval: u16,
    /// Occurrences in all, the first included.
    pub count: Option<u32>,
    /// The raw value; what it means depends on the event's start.
    pub until: Option<String>,
    /// Which one within the month or year (0 = every, negative = from the end), and the day.
    days: Vec<(i16, Weekday)>,
    months: Vec<i8>,
    month_days: Vec<i8>,
    week_start: Weekday,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the rule has no FREQ")]
    NoFrequency,
    #[error("`{0}` is not supported in a rule; write the denial in the calendar's `deny` instead")]
    Unsupported(String),
    #[error("`{0}` is no valid part of a rule")]
    Malformed(String),
    #[error("a rule has either COUNT or UNTIL")]
    TwoEnds,
}

impl Rule {
    /// Reads a rule as in `FREQ=WEEKLY;BYDAY=SA,SU`.
    pub fn read(text: &str) -> Result<Rule, Error> {
        let mut frequency = None;
        let mut rule = Rule {
            frequency: Frequency::Daily,
            interval: 1,
            count: None,
            until: None,
            days: Vec::new(),
            months: Vec::new(),
            month_days: Vec::new(),
            week_start: Weekday::Monday,
        };
        for part in text.trim().split(';').filter(|part| !part.is_empty()) {
            let malformed = || Error::Malformed(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(malformed)?;
            match name.to_ascii_uppercase().as_str() {
                "FREQ" => frequency = Some(read_frequency(value).ok_or_else(|| Error::Unsupported(part.to_owned()))?),
                "INTERVAL" => rule.interval = value.parse().ok().filter(|count| *count > 0).ok_or_else(malformed)?,
                "COUNT" => rule.count = Some(value.parse().ok().filter(|count| *count > 0).ok_or_else(malformed)?),
                "UNTIL" => rule.until = Some(value.to_owned()),
                "BYDAY" => rule.days = list(value, read_day).ok_or_else(malformed)?,
                "BYMONTH" => rule.months = list(value, |text| number(text, 1, 12)).ok_or_else(malformed)?,
                "BYMONTHDAY" => rule.month_days = list(value, |text| number(text, -31, 31)).ok_or_else(malformed)?,
                "WKST" => rule.week_start = read_weekday(value).ok_or_else(malformed)?,
                _ => return Err(Error::Unsupported(part.to_owned())),
            }
        }
        rule.frequency = frequency.ok_or(Error::NoFrequency)?;
        rule.check(text)
    }

    fn check(self, text: &str) -> Result<Rule, Error> {
        let numbered = self.days.iter().any(|(which, _)| *which != 0);
        let unsupported = match self.frequency {
            Frequency::Daily => numbered,
            Frequency::Weekly => numbered || !self.month_days.is_empty(),
            Frequency::Monthly | Frequency::Yearly => numbered && !self.month_days.is_empty(),
        };
        match (self.count, &self.until) {
            (Some(_), Some(_)) => Err(Error::TwoEnds),
            _ if unsupported => Err(Error::Unsupported(text.to_owned())),
            _ => Ok(self),
        }
    }

    /// The dates of the rule from `start` on, in order, without regard to its end. The start is always the first.
    pub fn dates(&self, start: Date) -> Dates<'_> {
        Dates {
            rule: self,
            start,
            period: Some(self.first_period(start)),
            found: vec![start],
        }
    }

    /// The day that stands for the period in which `start` lies.
    fn first_period(&self, start: Date) -> Date {
        match self.frequency {
            Frequency::Daily => start,
            Frequency::Weekly => {
                let back = start.weekday().since(self.week_start);
                start.checked_sub(i64::from(back).days()).unwrap_or(start)
            }
            Frequency::Monthly => start.first_of_month(),
            Frequency::Yearly => start.first_of_year(),
        }
    }

    fn next_period(&self, period: Date) -> Option<Date> {
        let step = i64::from(self.interval);
        let step = match self.frequency {
            Frequency::Daily => step.days(),
            Frequency::Weekly => step.weeks(),
            Frequency::Monthly => step.months(),
            Frequency::Yearly => step.years(),
        };
        period.checked_add(step).ok()
    }

    /// The dates of the rule within one period, in order.
    fn within(&self, period: Date, start: Date) -> Vec<Date> {
        let mut dates: Vec<Date> = match self.frequency {
            Frequency::Daily => vec![period].into_iter().filter(|date| self.is_on_day(*date)).collect(),
            Frequency::Weekly => {
                let week = (0..7_i64).filter_map(|days| period.checked_add(days.days()).ok());
                let is_on = |date: &Date| match self.days.as_slice() {
                    [] => date.weekday() == start.weekday(),
                    days => days.iter().any(|(_, day)| *day == date.weekday()),
                };
                week.filter(is_on).collect()
            }
            Frequency::Monthly => self.within_month(period, start),
            Frequency::Yearly if self.months.is_empty() && self.month_days.is_empty() => match self.days.as_slice() {
                [] => Date::new(period.year(), start.month(), start.day())
                    .into_iter()
                    .collect(),
                _ => self.numbered(period, period.last_of_year()),
            },
            Frequency::Yearly => (1..=12)
                .filter_map(|month| Date::new(period.year(), month, 1).ok())
                .filter(|month| self.is_in_month(*month))
                .flat_map(|month| self.within_month(month, start))
                .collect(),
        };
        dates.retain(|date| self.is_in_month(*date));
        dates.sort_unstable();
        dates.dedup();
        dates
    }

    /// `month` is its first day.
    fn within_month(&self, month: Date, start: Date) -> Vec<Date> {
        let on = |day: i8| Date::new(month.year(), month.month(), day).ok();
        match (self.month_days.as_slice(), self.days.as_slice()) {
            ([], []) => on(start.day()).into_iter().collect(),
            ([], _) => self.numbered(month, month.last_of_month()),
            (month_days, _) => {
                let last = month.days_in_month();
                let days = month_days
                    .iter()
                    .map(|day| if *day < 0 { last + 1 + *day } else { *day });
                days.filter_map(on).filter(|date| self.is_on_day(*date)).collect()
            }
        }
    }

    /// Dates of `BYDAY` between two dates: `MO` is every Monday, `1MO` the first, `-1MO` the last.
    fn numbered(&self, first: Date, last: Date) -> Vec<Date> {
        let mut dates = Vec::new();
        for (which, day) in &self.days {
            let ahead = i64::from(day.since(first.weekday()));
            let all = (0..54_i64).map(|week| ahead + 7 * week);
            let all: Vec<Date> = all
                .filter_map(|days| first.checked_add(days.days()).ok())
                .take_while(|date| *date <= last)
                .collect();
            match *which {
                0 => dates.extend(all),
                which if which > 0 => dates.extend(all.get(usize::from(which.unsigned_abs()) - 1)),
                which => dates.extend(all.iter().rev().nth(usize::from(which.unsigned_abs()) - 1)),
            }
        }
        dates
    }

    /// Whether a date passes the rule's days when they only filter.
    fn is_on_day(&self, date: Date) -> bool {
        let last = date.days_in_month();
        let is_numbered = |day: &i8| *day == date.day() || (*day < 0 && last + 1 + *day == date.day());
        (self.days.is_empty() || self.days.iter().any(|(_, day)| *day == date.weekday()))
            && (self.month_days.is_empty() || self.month_days.iter().any(is_numbered))
    }

    fn is_in_month(&self, date: Date) -> bool {
        self.months.is_empty() || self.months.contains(&date.month())
    }
}

/// The dates of a rule. One step looks at one period, which may hold no date: callers bound the steps.
pub struct Dates<'a> {
    rule: &'a Rule,
    start: Date,
    period: Option<Date>,
    /// Dates of the last period, the next one last.
    found: Vec<Date>,
}

/// What one step found.
pub enum Step {
    Date(Date),
    /// A period is done.
    Period,
    /// The horizon is reached: later dates are not looked for.
    End,
}

impl Dates<'_> {
    pub fn step(&mut self) -> Step {
        if let Some(date) = self.found.pop() {
            return if date < HORIZON || date == self.start {
                Step::Date(date)
            } else {
                Step::End
            };
        }
        let Some(period) = self.period else {
            return Step::End;
        };
        if period >= HORIZON {
            return Step::End;
        }
        self.found = self.rule.within(period, self.start);
        self.found.retain(|date| *date > self.start);
        self.found.reverse();
        self.period = self.rule.next_period(period);
        Step::Period
    }
}

fn read_frequency(text: &str) -> Option<Frequency> {
    match text.to_ascii_uppercase().as_str() {
        "DAILY" => Some(Frequency::Daily),
        "WEEKLY" => Some(Frequency::Weekly),
        "MONTHLY" => Some(Frequency::Monthly),
        "YEARLY" => Some(Frequency::Yearly),
        _ => None,
    }
}

/// `MO`, `2TU`, `-1FR`.
fn read_day(text: &str) -> Option<(i16, Weekday)> {
    let at = text.len().checked_sub(2).filter(|at| text.is_char_boundary(*at))?;
    let (which, day) = text.split_at(at);
    let which = if which.is_empty() {
        0
    } else {
        which
            .parse()
            .ok()
            .filter(|which| *which != 0 && (-53..=53).contains(which))?
    };
    Some((which, read_weekday(day)?))
}

fn read_weekday(text: &str) -> Option<Weekday> {
    match text.to_ascii_uppercase().as_str() {
        "MO" => Some(Weekday::Monday),
        "TU" => Some(Weekday::Tuesday),
        "WE" => Some(Weekday::Wednesday),
        "TH" => Some(Weekday::Thursday),
        "FR" => Some(Weekday::Friday),
        "SA" => Some(Weekday::Saturday),
        "SU" => Some(Weekday::Sunday),
        _ => None,
    }
}

fn number(text: &str, least: i8, most: i8) -> Option<i8> {
    text.parse()
        .ok()
        .filter(|number| *number != 0 && (least..=most).contains(number))
}

/// Nobody lists more; a longer list only costs time.
const LONGEST_LIST: usize = 64;

fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let items: Vec<T> = text
        .split(',')
        .take(LONGEST_LIST + 1)
        .map(|item| read(item.trim()))
        .collect::<Option<_>>()?;
    (items.len() <= LONGEST_LIST).then_some(items)
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::{Error, Rule, Step};

    fn dates(rule: &str, start: &str, count: usize) -> String {
        let rule = Rule::read(rule).unwrap();
        let mut dates = rule.dates(start.parse::<Date>().unwrap());
        let mut found = Vec::new();
        while found.len() < count {
            match dates.step() {
                Step::Date(date) => found.push(date.to_string()),
                Step::Period => {}
                Step::End => break,
            }
        }
        found.join(" ")
    }

    #[test]
    fn rules_of_common_calendars_give_their_dates() {
        for (rule, start, expected) in [
            (
                "FREQ=DAILY;INTERVAL=10",
                "2026-12-20",
                "2026-12-20 2026-12-30 2027-01-09 2027-01-19",
            ),
            (
                "FREQ=DAILY;BYDAY=SA,SU",
                "2026-03-07",
                "2026-03-07 2026-03-08 2026-03-14 2026-03-15",
            ),
            (
                "FREQ=WEEKLY",
                "2026-03-05",
                "2026-03-05 2026-03-12 2026-03-19 2026-03-26",
            ),
            (
                "FREQ=WEEKLY;BYDAY=MO,WE;INTERVAL=2",
                "2026-03-04",
                "2026-03-04 2026-03-16 2026-03-18 2026-03-30",
            ),
            (
                "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU",
                "1997-08-05",
                "1997-08-05 1997-08-17 1997-08-19 1997-08-31",
            ),
            (
                "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO",
                "1997-08-05",
                "1997-08-05 1997-08-10 1997-08-19 1997-08-24",
            ),
            (
                "FREQ=MONTHLY",
                "2026-01-31",
                "2026-01-31 2026-03-31 2026-05-31 2026-07-31",
            ),
            (
                "FREQ=MONTHLY;BYDAY=2TU",
                "2026-01-13",
                "2026-01-13 2026-02-10 2026-03-10 2026-04-14",
            ),
            (
                "FREQ=MONTHLY;BYDAY=-1FR",
                "2026-01-30",
                "2026-01-30 2026-02-27 2026-03-27 2026-04-24",
            ),
            (
                "FREQ=MONTHLY;BYMONTHDAY=-1,1",
                "2026-01-31",
                "2026-01-31 2026-02-01 2026-02-28 2026-03-01",
            ),
            (
                "FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR",
                "2026-02-13",
                "2026-02-13 2026-03-13 2026-11-13 2027-08-13",
            ),
            (
                "FREQ=YEARLY",
                "2024-02-29",
                "2024-02-29 2028-02-29 2032-02-29 2036-02-29",
            ),
            (
                "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
                "2025-11-27",
                "2025-11-27 2026-11-26 2027-11-25 2028-11-23",
            ),
            (
                "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25",
                "2025-12-25",
                "2025-12-25 2026-12-25 2027-12-25 2028-12-25",
            ),
            (
                "FREQ=YEARLY;BYDAY=20MO",
                "1997-05-19",
                "1997-05-19 1998-05-18 1999-05-17 2000-05-15",
            ),
            (
                "FREQ=YEARLY;INTERVAL=2;BYMONTH=1,7",
                "2026-01-15",
                "2026-01-15 2026-07-15 2028-01-15 2028-07-15",
            ),
        ] {
            assert_eq!(dates(rule, start, 4), expected, "{rule}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_guessed() {
        let refused = |text: &str| Rule::read(text).unwrap_err();
        assert_eq!(refused("INTERVAL=2"), Error::NoFrequency);
        assert_eq!(refused("FREQ=HOURLY"), Error::Unsupported("FREQ=HOURLY".into()));
        assert_eq!(
            refused("FREQ=MONTHLY;BYSETPOS=1"),
            Error::Unsupported("BYSETPOS=1".into())
        );
        assert_eq!(
            refused("FREQ=WEEKLY;BYDAY=1MO"),
            Error::Unsupported("FREQ=WEEKLY;BYDAY=1MO".into())
        );
        assert_eq!(refused("FREQ=DAILY;INTERVAL=0"), Error::Malformed("INTERVAL=0".into()));
        assert_eq!(
            refused("FREQ=DAILY;BYMONTHDAY=-128"),
            Error::Malformed("BYMONTHDAY=-128".into())
        );
        assert_eq!(refused("FREQ=DAILY;BYDAY=é"), Error::Malformed("BYDAY=é".into()));
        assert_eq!(refused("FREQ=DAILY;BYDAY=0MO"), Error::Malformed("BYDAY=0MO".into()));
        assert_eq!(refused("FREQ=DAILY;COUNT=1;UNTIL=20260101"), Error::TwoEnds);
    }
}

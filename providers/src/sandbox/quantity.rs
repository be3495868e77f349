//! Quantities as the sandbox's JSON writes them: `0.5%`, `250ms`, `512Mi`; a bare number is refused, because it hides its unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of the whole in units of 0.01 %, between 0 % and 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Percent(u16);

impl Percent {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(10_000);

    /// `raw` hundredths of a percent, or nothing when that is more than 100 %.
    pub fn new(raw: u16) -> Option<Self> {
        (raw <= Self::ALL.0).then_some(Self(raw))
    }

    /// Hundredths of a percent, 0 to 10,000.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// What is left to 100 %.
    pub fn rest(self) -> Self {
        Self(Self::ALL.0 - self.0)
    }

    /// As a ratio between 0 and 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            p if p % 10 == 0 => write!(f, "{whole}.{}%", p / 10),
            p => write!(f, "{whole}.{p:02}%"),
        }
    }
}

impl FromStr for Percent {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed {
            text: text.to_owned(),
            expected: "a percentage from 0% to 100% in steps of 0.01%",
        };
        let number = text.trim().strip_suffix('%').ok_or_else(malformed)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || number.ends_with('.') || part.len() > 2 || !digits(whole) || !digits(part) {
            return Err(malformed());
        }
        let whole: u16 = whole.parse().map_err(|_| malformed())?;
        let part: u16 = format!("{part:0<2}").parse().map_err(|_| malformed())?;
        whole
            .checked_mul(100)
            .and_then(|w| w.checked_add(part))
            .and_then(Self::new)
            .ok_or_else(malformed)
    }
}

/// An amount of memory in bytes, written `512Mi`, `1Gi`, `64Ki`, `10M` or `100B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 7] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("B", 1),
];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        match self.0 {
            big if big >= 10 << 20 => write!(f, "{}Mi", big >> 20),
            small => write!(f, "{small}B"),
        }
    }
}

impl FromStr for Bytes {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed {
            text: text.to_owned(),
            expected: "an amount of memory such as 512Mi",
        };
        let text_trimmed = text.trim();
        let (unit, size) = BYTE_UNITS
            .iter()
            .find(|(unit, _)| text_trimmed.ends_with(unit))
            .ok_or_else(malformed)?;
        let number = text_trimmed.strip_suffix(unit).unwrap_or_default().trim_end();
        if number.is_empty() || !digits(number) {
            return Err(malformed());
        }
        let count: u64 = number.parse().map_err(|_| malformed())?;
        count.checked_mul(*size).map(Self).ok_or_else(malformed)
    }
}

/// A length of time in whole milliseconds, written `250ms`, `5s`, `1m30s`, `4h` or `1d12h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(Duration);

const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Span {
    /// `millis` thousandths of a second.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The length itself.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in TIME_UNITS {
            if left >= size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed {
            text: text.to_owned(),
            expected: "a duration such as 250ms, 5s or 1m30s",
        };
        let mut rest = text.trim();
        let mut total: u64 = 0;
        let mut coarser = u64::MAX;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
            let (number, tail) = rest.split_at(number_end);
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let (_, size) = TIME_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(malformed)?;
            let count: u64 = number.parse().map_err(|_| malformed())?;
            if *size >= coarser {
                return Err(malformed());
            }
            coarser = *size;
            total = count
                .checked_mul(*size)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(malformed)?;
            rest = tail;
        }
        if coarser == u64::MAX {
            Err(malformed())
        } else {
            Ok(Self::millis(total))
        }
    }
}

/// A quantity that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct Malformed {
    text: String,
    expected: &'static str,
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// JSON as text, both ways, for a type that can be printed and read.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}
as_text!(Percent, Bytes, Span);

#[cfg(test)]
mod tests {
    use super::{Bytes, Percent, Span};

    #[test]
    fn percentages_are_read_exactly_and_print_as_written() {
        for (text, raw) in [
            ("0%", 0),
            ("0.01%", 1),
            ("0.5%", 50),
            ("12.25%", 1225),
            ("100%", 10_000),
        ] {
            let percent: Percent = text.parse().unwrap();
            assert_eq!((percent.hundredths(), percent.to_string()), (raw, text.to_owned()));
        }
    }

    #[test]
    fn what_is_not_a_percentage_is_refused() {
        for text in [
            "5", "", "%", "-1%", "100.01%", "0.001%", "1.%", ".5%", "1e1%", "NaN%", "70000%",
        ] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn memory_and_time_have_units() {
        assert_eq!("512Mi".parse::<Bytes>().unwrap(), Bytes(512 << 20));
        assert_eq!("100B".parse::<Bytes>().unwrap(), Bytes(100));
        assert_eq!("1m30s".parse::<Span>().unwrap(), Span::millis(90_000));
        assert_eq!("250ms".parse::<Span>().unwrap().to_string(), "250ms");
        assert_eq!("1d12h".parse::<Span>().unwrap().to_string(), "1d12h");
        for text in ["", "5", "s", "1s1m", "1s1s", "5 minutes", "99999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "5", "Mi", "-1Mi", "1.5Gi", "99999999999999999Gi"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn json_without_a_unit_is_refused() {
        assert!(serde_json::from_str::<Percent>("5").is_err());
        assert_eq!(serde_json::from_str::<Percent>("\"5%\"").unwrap().hundredths(), 500);
    }
}

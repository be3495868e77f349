//! A number with its unit, as a person writes a limit: `512Mi`, `250ms`, `0.1%`, `40/s`, `12`.

use crate::workflow::MetricUnit;

/// A number and the unit that was written behind it.
///
/// *Guarantees*: the number is finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    number: f64,
    written: Written,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Bare,
    Percent,
    /// In seconds, scaled.
    Time,
    /// In bytes, scaled.
    Size,
    PerSecond,
}

/// Why a text is no quantity, or not one of the metric's unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("`{0}` is no quantity")]
    Malformed(String),
    #[error("`{given}` is {what}, and {unit} is needed")]
    OtherUnit {
        given: String,
        what: &'static str,
        unit: String,
    },
}

/// Suffixes with what they multiply by; longer ones first where one ends in the other.
const SUFFIXES: &[(&str, f64, Written)] = &[
    ("%", 0.01, Written::Percent),
    ("/s", 1.0, Written::PerSecond),
    ("Ki", 1024.0, Written::Size),
    ("Mi", 1024.0 * 1024.0, Written::Size),
    ("Gi", 1024.0 * 1024.0 * 1024.0, Written::Size),
    ("Ti", 1024.0 * 1024.0 * 1024.0 * 1024.0, Written::Size),
    ("k", 1e3, Written::Size),
    ("M", 1e6, Written::Size),
    ("G", 1e9, Written::Size),
    ("T", 1e12, Written::Size),
    ("B", 1.0, Written::Size),
    ("us", 1e-6, Written::Time),
    ("ms", 1e-3, Written::Time),
    ("s", 1.0, Written::Time),
    ("m", 60.0, Written::Time),
    ("h", 3_600.0, Written::Time),
    ("d", 86_400.0, Written::Time),
];

impl std::str::FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Quantity, Error> {
        let malformed = || Error::Malformed(text.to_owned());
        let suffix = SUFFIXES.iter().find(|(suffix, ..)| text.ends_with(suffix));
        let (digits, scale, written) = match suffix {
            Some((suffix, scale, written)) => (&text[..text.len() - suffix.len()], *scale, *written),
            None => (text, 1.0, Written::Bare),
        };
        let is_plain = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'e' | b'E' | b'+'));
        let number: f64 = digits.parse().map_err(|_| malformed())?;
        let scaled = number * scale;
        if !is_plain || !scaled.is_finite() {
            return Err(malformed());
        }
        Ok(Quantity {
            number: scaled,
            written,
        })
    }
}

impl Quantity {
    /// The number in the unit of a metric: ratios as parts of one, percents as hundredths, seconds, bytes.
    ///
    /// # Errors
    /// Another unit than the metric's was written, or none where the unit needs one to be understood.
    pub fn in_unit(self, unit: &MetricUnit, given: &str) -> Result<f64, Error> {
        let fits = match (unit, self.written) {
            (MetricUnit::Ratio, Written::Percent | Written::Bare) => Some(self.number),
            (MetricUnit::Percent, Written::Percent) => Some(self.number * 100.0),
            (MetricUnit::Percent, Written::Bare) => Some(self.number),
            (MetricUnit::Seconds, Written::Time) => Some(self.number),
            (MetricUnit::Bytes, Written::Size) => Some(self.number),
            (MetricUnit::PerSecond, Written::PerSecond | Written::Bare) => Some(self.number),
            (MetricUnit::Count | MetricUnit::Custom(_), Written::Bare) => Some(self.number),
            _ => None,
        };
        fits.ok_or_else(|| Error::OtherUnit {
            given: given.to_owned(),
            what: match self.written {
                Written::Bare => "a number without a unit",
                Written::Percent => "a percentage",
                Written::Time => "a time",
                Written::Size => "a size",
                Written::PerSecond => "a rate",
            },
            unit: needed(unit),
        })
    }
}

/// What has to be written for a metric of this unit, with an example.
pub fn needed(unit: &MetricUnit) -> String {
    match unit {
        MetricUnit::Ratio | MetricUnit::Percent => "a percentage, as in `0.1%`,".to_owned(),
        MetricUnit::Seconds => "a time, as in `250ms`,".to_owned(),
        MetricUnit::Bytes => "a size, as in `512Mi`,".to_owned(),
        MetricUnit::Count => "a number, as in `100`,".to_owned(),
        MetricUnit::PerSecond => "a rate, as in `40/s`,".to_owned(),
        MetricUnit::Custom(name) => format!("a number of {name}, as in `100`,"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Quantity};
    use crate::workflow::MetricUnit;

    fn read(text: &str, unit: &MetricUnit) -> Result<f64, Error> {
        text.parse::<Quantity>()?.in_unit(unit, text)
    }

    #[test]
    fn quantities_are_read_in_the_metrics_unit() {
        assert_eq!(read("1Gi", &MetricUnit::Bytes), Ok(1_073_741_824.0));
        assert_eq!(read("250ms", &MetricUnit::Seconds), Ok(0.25));
        assert_eq!(read("0.5%", &MetricUnit::Ratio), Ok(0.005));
        assert_eq!(read("85%", &MetricUnit::Percent), Ok(85.0));
        assert_eq!(read("40/s", &MetricUnit::PerSecond), Ok(40.0));
        assert_eq!(read("-3", &MetricUnit::Count), Ok(-3.0));
    }

    #[test]
    fn another_unit_is_refused_with_what_is_needed() {
        for (text, unit) in [
            ("1Gi", MetricUnit::Seconds),
            ("250", MetricUnit::Bytes),
            ("5", MetricUnit::Seconds),
            ("5%", MetricUnit::Count),
            ("5s", MetricUnit::Ratio),
        ] {
            assert!(matches!(read(text, &unit), Err(Error::OtherUnit { .. })), "{text}");
        }
        for text in ["", "%", "Gi", "inf", "NaN", "1e999", "0x10", "1 Gi", "-", "é"] {
            assert!(
                matches!(read(text, &MetricUnit::Bytes), Err(Error::Malformed(_))),
                "{text}"
            );
        }
    }
}

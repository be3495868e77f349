//! What a number counts, and which numbers may meet.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::suggestion::closest;
use crate::workflow::MetricUnit;

/// The unit of a number. `ratio` and `percent` are two scales of one thing and convert; all others meet only themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Unit {
    /// A plain number: a factor, a quotient of equal units.
    None,
    /// A share of one: 0.01 is one in a hundred.
    Ratio,
    /// A share of a hundred: 1 is one in a hundred.
    Percent,
    Seconds,
    Bytes,
    Count,
    PerSecond,
    /// A unit only its author knows; it meets numbers of the same name.
    Custom(Arc<str>),
}

/// The text names no unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown unit `{name}`{}", .meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default())]
pub struct UnknownUnit {
    pub name: String,
    pub meant: Option<&'static str>,
}

impl Unit {
    /// The names a unit may have in a workflow; `custom` takes an own name in parentheses.
    pub const NAMES: &[&'static str] = &[
        "ratio",
        "percent",
        "seconds",
        "bytes",
        "count",
        "perSecond",
        "custom",
        "none",
    ];

    #[must_use]
    pub fn custom(name: impl Into<Arc<str>>) -> Self {
        Unit::Custom(name.into())
    }

    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Unit::None
    }

    /// A share of something, on either scale: it multiplies like a plain number.
    #[must_use]
    pub fn is_fraction(&self) -> bool {
        matches!(self, Unit::Ratio | Unit::Percent)
    }

    /// The factor that turns a number of this unit into one of the other, when they measure the same thing.
    #[must_use]
    pub fn factor_to(&self, other: &Unit) -> Option<Conversion> {
        match (self, other) {
            (Unit::Percent, Unit::Ratio) => Some(Conversion::Divide(100.0)),
            (Unit::Ratio, Unit::Percent) => Some(Conversion::Multiply(100.0)),
            (one, other) if one == other => Some(Conversion::Same),
            _ => None,
        }
    }

    /// The unit of a product, fractions taken as ratios; none when the product measures nothing we have a name for.
    #[must_use]
    pub fn times(&self, other: &Unit) -> Option<Unit> {
        match (self, other) {
            (Unit::None, unit) | (unit, Unit::None) => Some(unit.clone()),
            (one, other) if one.is_fraction() && other.is_fraction() => Some(Unit::Ratio),
            (fraction, unit) | (unit, fraction) if fraction.is_fraction() => Some(unit.clone()),
            (Unit::PerSecond, Unit::Seconds) | (Unit::Seconds, Unit::PerSecond) => Some(Unit::Count),
            _ => None,
        }
    }

    /// The unit of a quotient, fractions taken as ratios; equal units leave a plain number.
    #[must_use]
    pub fn over(&self, other: &Unit) -> Option<Unit> {
        match (self, other) {
            (unit, Unit::None) => Some(unit.clone()),
            (one, other) if one == other || (one.is_fraction() && other.is_fraction()) => Some(Unit::None),
            (unit, fraction) if fraction.is_fraction() => Some(unit.clone()),
            (Unit::Count, Unit::Seconds) => Some(Unit::PerSecond),
            (Unit::Count, Unit::PerSecond) => Some(Unit::Seconds),
            _ => None,
        }
    }

    /// With its article, as a message says it: "a ratio", "seconds", "a plain number".
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Unit::None => "a plain number".to_owned(),
            Unit::Ratio => "a ratio".to_owned(),
            Unit::Percent => "a percentage".to_owned(),
            Unit::Seconds => "a number of seconds".to_owned(),
            Unit::Bytes => "a number of bytes".to_owned(),
            Unit::Count => "a count".to_owned(),
            Unit::PerSecond => "a rate per second".to_owned(),
            Unit::Custom(name) => format!("a number of the custom unit `{name}`"),
        }
    }

    /// The function that gives a plain number this unit.
    #[must_use]
    pub fn constructor(&self) -> Option<&'static str> {
        match self {
            Unit::Ratio => Some("ratio"),
            Unit::Percent => Some("percent"),
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
            Unit::Count => Some("count"),
            Unit::PerSecond => Some("perSecond"),
            Unit::None => Some("double"),
            Unit::Custom(_) => None,
        }
    }
}

/// How a number changes its scale. Percent becomes ratio by division, because 1/100 is the nearest number to 0.01 and 7 * 0.01 is not
/// the nearest to 0.07.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conversion {
    Same,
    Multiply(f64),
    Divide(f64),
}

impl Conversion {
    #[must_use]
    pub fn apply(self, number: f64) -> f64 {
        match self {
            Conversion::Same => number,
            Conversion::Multiply(factor) => number * factor,
            Conversion::Divide(divisor) => number / divisor,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::None => "none",
            Unit::Ratio => "ratio",
            Unit::Percent => "percent",
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Count => "count",
            Unit::PerSecond => "perSecond",
            Unit::Custom(name) if &**name == "custom" => "custom",
            Unit::Custom(name) => return write!(f, "custom({name})"),
        })
    }
}

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(text: &str) -> Result<Self, UnknownUnit> {
        Ok(match text.trim() {
            "none" => Unit::None,
            "ratio" => Unit::Ratio,
            "percent" => Unit::Percent,
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            "count" => Unit::Count,
            "perSecond" => Unit::PerSecond,
            "custom" => Unit::custom("custom"),
            other => match other.strip_prefix("custom(").and_then(|rest| rest.strip_suffix(')')) {
                Some(name) if !name.trim().is_empty() => Unit::custom(name.trim()),
                _ => {
                    let meant = closest(other, Unit::NAMES.iter().copied());
                    return Err(UnknownUnit {
                        name: other.to_owned(),
                        meant,
                    });
                }
            },
        })
    }
}

impl From<&MetricUnit> for Unit {
    fn from(unit: &MetricUnit) -> Self {
        match unit {
            MetricUnit::Ratio => Unit::Ratio,
            MetricUnit::Percent => Unit::Percent,
            MetricUnit::Seconds => Unit::Seconds,
            MetricUnit::Bytes => Unit::Bytes,
            MetricUnit::Count => Unit::Count,
            MetricUnit::PerSecond => Unit::PerSecond,
            MetricUnit::Custom(name) => Unit::custom(name.as_str()),
        }
    }
}

impl TryFrom<String> for Unit {
    type Error = UnknownUnit;

    fn try_from(text: String) -> Result<Self, UnknownUnit> {
        text.parse()
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> String {
        unit.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Unit;

    #[test]
    fn every_unit_is_read_back_from_its_own_text() {
        for name in Unit::NAMES.iter().copied().chain(["custom(requests)"]) {
            assert_eq!(name.parse::<Unit>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn an_unknown_unit_is_refused_with_its_neighbour() {
        let refusal = "persecond".parse::<Unit>().unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "unknown unit `persecond`, did you mean `perSecond`?"
        );
        assert!("custom()".parse::<Unit>().is_err());
    }

    #[test]
    fn percent_and_ratio_are_one_thing_on_two_scales() {
        let to_ratio = Unit::Percent.factor_to(&Unit::Ratio).unwrap();
        for percent in 0..=1000u32 {
            let exact: f64 = format!("{}.{:02}", percent / 100, percent % 100).parse().unwrap();
            assert_eq!(to_ratio.apply(f64::from(percent)), exact);
        }
        assert_eq!(Unit::Count.factor_to(&Unit::Ratio), None);
    }

    #[test]
    fn products_and_quotients_keep_their_sense() {
        assert_eq!(Unit::Seconds.over(&Unit::Seconds), Some(Unit::None));
        assert_eq!(Unit::Percent.over(&Unit::Ratio), Some(Unit::None));
        assert_eq!(Unit::Bytes.times(&Unit::None), Some(Unit::Bytes));
        assert_eq!(Unit::Percent.times(&Unit::Bytes), Some(Unit::Bytes));
        assert_eq!(Unit::Count.over(&Unit::Seconds), Some(Unit::PerSecond));
        assert_eq!(Unit::Bytes.times(&Unit::Seconds), None);
        assert_eq!(Unit::None.over(&Unit::Seconds), None);
    }
}

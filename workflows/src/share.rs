//! A share of a region's traffic, as an integer of 0.01 %.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A share of traffic between 0 % and 100 %, counted in steps of 0.01 %.
///
/// *Guarantees*: never outside 0…10,000; ordered; prints and parses as `0.5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

/// Why a text or number is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a share needs a percent sign, as in `{0}%`")]
    NoPercentSign(String),
    #[error("a share is a number followed by `%`, got `{0}`")]
    NotANumber(String),
    #[error("a share lies between 0% and 100%, got `{0}`")]
    OutOfRange(String),
    #[error("a share has steps of 0.01%, got `{0}`")]
    TooFine(String),
}

impl Share {
    pub const ZERO: Share = Share(0);
    pub const FULL: Share = Share(10_000);

    /// From hundredths of a percent.
    ///
    /// *Errors*: above 10,000.
    pub fn from_basis_points(points: u16) -> Result<Share, Error> {
        if points <= 10_000 {
            Ok(Share(points))
        } else {
            Err(Error::OutOfRange(points.to_string()))
        }
    }

    /// From whole percents.
    ///
    /// *Errors*: above 100.
    pub fn percent(percent: u16) -> Result<Share, Error> {
        percent
            .checked_mul(100)
            .ok_or_else(|| Error::OutOfRange(format!("{percent}%")))
            .and_then(Share::from_basis_points)
    }

    /// Hundredths of a percent, 0…10,000.
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// The share as a fraction between 0 and 1, for arithmetic that is shown to people, never for decisions.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub fn is_full(self) -> bool {
        self.0 == 10_000
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.0 / 100, self.0 % 100) {
            (whole, 0) => format!("{whole}%"),
            (whole, rest) if rest % 10 == 0 => format!("{whole}.{}%", rest / 10),
            (whole, rest) => format!("{whole}.{rest:02}%"),
        };
        f.pad(&text)
    }
}

impl FromStr for Share {
    type Err = Error;

    fn from_str(text: &str) -> Result<Share, Error> {
        let trimmed = text.trim();
        let Some(number) = trimmed.strip_suffix('%') else {
            return Err(if trimmed.parse::<f64>().is_ok() {
                Error::NoPercentSign(trimmed.to_owned())
            } else {
                Error::NotANumber(trimmed.to_owned())
            });
        };
        let number = number.trim_end();
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(rest) {
            return Err(Error::NotANumber(trimmed.to_owned()));
        }
        let rest = rest.trim_end_matches('0');
        if rest.len() > 2 {
            return Err(Error::TooFine(trimmed.to_owned()));
        }
        let out_of_range = || Error::OutOfRange(trimmed.to_owned());
        let whole: u16 = whole.parse().map_err(|_| out_of_range())?;
        let rest: u16 = format!("{rest:0<2}").parse().map_err(|_| out_of_range())?;
        whole
            .checked_mul(100)
            .and_then(|points| points.checked_add(rest))
            .filter(|points| *points <= 10_000)
            .map(Share)
            .ok_or_else(out_of_range)
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Share};

    #[test]
    fn every_share_prints_as_it_parses() {
        for points in 0..=10_000 {
            let share = Share::from_basis_points(points).unwrap();
            assert_eq!(share.to_string().parse::<Share>(), Ok(share));
        }
    }

    #[test]
    fn what_is_no_share_is_refused_with_its_reason() {
        assert_eq!("10".parse::<Share>(), Err(Error::NoPercentSign("10".into())));
        assert_eq!("ten%".parse::<Share>(), Err(Error::NotANumber("ten%".into())));
        assert_eq!("100.01%".parse::<Share>(), Err(Error::OutOfRange("100.01%".into())));
        assert_eq!("0.001%".parse::<Share>(), Err(Error::TooFine("0.001%".into())));
        assert_eq!("-1%".parse::<Share>(), Err(Error::NotANumber("-1%".into())));
        assert_eq!("0.500%".parse::<Share>(), Share::from_basis_points(50));
    }
}

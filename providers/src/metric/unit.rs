//! Holds the unit that a server tells against the one that the metric declares, and scales the one to the other.

use meridian_engine::ports::failure::Failure;
use meridian_workflows::workflow::MetricUnit;

/// A unit as a server tells it, in the terms of the language.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// So many of our seconds.
    Seconds(f64),
    /// So many of our bytes.
    Bytes(f64),
    /// 1 is one in a hundred.
    Percent,
    /// 1 is all.
    Ratio,
    Count,
    /// So many a second.
    PerSecond,
    /// A unit that the language has no word for.
    Other(String),
    /// The server says nothing that could be checked.
    Unsaid,
}

/// What a value has to be multiplied by to be in the declared unit.
///
/// *Errors*: lasting, when the two measure different things.
pub fn factor(declared: Option<&MetricUnit>, told: &Told) -> Result<f64, Failure> {
    let Some(declared) = declared else { return Ok(1.0) };
    match (declared, told) {
        (MetricUnit::Custom(_), _) | (_, Told::Unsaid) => Ok(1.0),
        (MetricUnit::Seconds, Told::Seconds(factor)) | (MetricUnit::Bytes, Told::Bytes(factor)) => Ok(*factor),
        (MetricUnit::Percent, Told::Percent)
        | (MetricUnit::Ratio, Told::Ratio)
        | (MetricUnit::Count, Told::Count)
        | (MetricUnit::PerSecond, Told::PerSecond) => Ok(1.0),
        (MetricUnit::Ratio, Told::Percent) => Ok(0.01),
        (MetricUnit::Percent, Told::Ratio) => Ok(100.0),
        (
            MetricUnit::Ratio
            | MetricUnit::Percent
            | MetricUnit::Seconds
            | MetricUnit::Bytes
            | MetricUnit::Count
            | MetricUnit::PerSecond,
            told,
        ) => Err(Failure::lasting(format!(
            "it answered in {}, and the metric's `unit` is {}",
            described(told),
            name(declared)
        ))),
    }
}

fn name(unit: &MetricUnit) -> &str {
    match unit {
        MetricUnit::Ratio => "ratio",
        MetricUnit::Percent => "percent",
        MetricUnit::Seconds => "seconds",
        MetricUnit::Bytes => "bytes",
        MetricUnit::Count => "count",
        MetricUnit::PerSecond => "perSecond",
        MetricUnit::Custom(name) => name,
    }
}

fn described(told: &Told) -> String {
    match told {
        Told::Seconds(factor) => format!("a time (of {factor} s)"),
        Told::Bytes(factor) => format!("a size (of {factor} bytes)"),
        Told::Percent => "percent".to_owned(),
        Told::Ratio => "a ratio".to_owned(),
        Told::Count => "a count".to_owned(),
        Told::PerSecond => "a count per second".to_owned(),
        Told::Other(name) => format!("`{name}`"),
        Told::Unsaid => "no unit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use meridian_workflows::workflow::MetricUnit;

    use super::{Told, factor};

    #[test]
    fn one_thing_on_two_scales_is_scaled_and_two_things_are_refused() {
        assert_eq!(factor(Some(&MetricUnit::Seconds), &Told::Seconds(0.001)), Ok(0.001));
        assert_eq!(factor(Some(&MetricUnit::Ratio), &Told::Percent), Ok(0.01));
        assert_eq!(factor(Some(&MetricUnit::Count), &Told::Unsaid), Ok(1.0));
        assert_eq!(
            factor(Some(&MetricUnit::Custom("carts".into())), &Told::Seconds(1.0)),
            Ok(1.0)
        );
        assert_eq!(factor(None, &Told::Seconds(0.001)), Ok(1.0));
        let refused = factor(Some(&MetricUnit::Seconds), &Told::Count).unwrap_err();
        assert_eq!(
            refused.what,
            "it answered in a count, and the metric's `unit` is seconds"
        );
        assert!(factor(Some(&MetricUnit::PerSecond), &Told::Other("BytesPerSecond".into())).is_err());
    }
}

//! Numbers with a unit, as people write them: `512Mi`, `250ms`, `0.1%`, `40/s`.

use crate::decode::context::Context;
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::Node;
use crate::workflow::MetricUnit;

/// What a suffix counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Bare,
    Percent,
    Time,
    Bytes,
    PerSecond,
}

/// Suffixes with their dimension and size in its base: seconds, bytes, a whole.
const SUFFIXES: [(&str, Dimension, f64); 19] = [
    ("", Dimension::Bare, 1.0),
    ("%", Dimension::Percent, 0.01),
    ("us", Dimension::Time, 1e-6),
    ("ms", Dimension::Time, 1e-3),
    ("s", Dimension::Time, 1.0),
    ("m", Dimension::Time, 60.0),
    ("h", Dimension::Time, 3_600.0),
    ("d", Dimension::Time, 86_400.0),
    ("B", Dimension::Bytes, 1.0),
    ("Ki", Dimension::Bytes, 1_024.0),
    ("Mi", Dimension::Bytes, 1_048_576.0),
    ("Gi", Dimension::Bytes, 1_073_741_824.0),
    ("Ti", Dimension::Bytes, 1_099_511_627_776.0),
    ("KB", Dimension::Bytes, 1e3),
    ("MB", Dimension::Bytes, 1e6),
    ("GB", Dimension::Bytes, 1e9),
    ("TB", Dimension::Bytes, 1e12),
    ("/s", Dimension::PerSecond, 1.0),
    ("/m", Dimension::PerSecond, 1.0 / 60.0),
];

/// A quantity in the base of the metric's unit; where the unit is not known, in that of its suffix.
pub fn read(node: &Node, unit: Option<&MetricUnit>, cx: &mut Context<'_>) -> Option<f64> {
    let text = value::text(node, cx)?;
    let refused =
        |message: String, hint: String| Diagnostic::new(Code::QUANTITY, node.place.clone(), message).hint(hint);
    let Some((number, suffix)) = parse(&text) else {
        let hint = match unit {
            Some(unit) => format!("for example {}", examples(unit)),
            None => "for example `512Mi`, `250ms`, `0.1%`, `40/s` or `12`".to_owned(),
        };
        cx.report(refused(format!("`{text}` is no number with a unit"), hint));
        return None;
    };
    let (_, dimension, size) = *suffix;
    let Some(unit) = unit else {
        return Some(number * size);
    };
    // Nothing is nothing, in every unit.
    if number == 0.0 && dimension == Dimension::Bare {
        return Some(0.0);
    }
    let fits = match (unit, dimension) {
        (MetricUnit::Ratio | MetricUnit::Count | MetricUnit::Custom(_), Dimension::Bare) => Some(number),
        (MetricUnit::Ratio, Dimension::Percent) => Some(number * size),
        (MetricUnit::Percent, Dimension::Percent) => Some(number),
        (MetricUnit::Seconds, Dimension::Time)
        | (MetricUnit::Bytes, Dimension::Bytes)
        | (MetricUnit::PerSecond, Dimension::PerSecond) => Some(number * size),
        _ => None,
    };
    if fits.is_none() {
        let message = format!("`{text}` is no quantity of a metric in {}", name(unit));
        cx.report(refused(message, format!("for example {}", examples(unit))));
    }
    fits
}

/// Number and suffix of a text.
fn parse(text: &str) -> Option<(f64, &'static (&'static str, Dimension, f64))> {
    let text = text.trim();
    let is_number = |character: char| character.is_ascii_digit() || matches!(character, '.' | '-' | '+' | '_');
    let end = text.find(|character| !is_number(character)).unwrap_or(text.len());
    let (digits, written) = text.split_at(end);
    let written = written.trim_start();
    let written = match written {
        "KiB" | "MiB" | "GiB" | "TiB" => &written[..2],
        other => other,
    };
    let suffix = SUFFIXES.iter().find(|(suffix, ..)| *suffix == written)?;
    let number = digits.replace('_', "").parse::<f64>().ok()?;
    number.is_finite().then_some((number, suffix))
}

fn name(unit: &MetricUnit) -> String {
    match unit {
        MetricUnit::Ratio => "ratios".to_owned(),
        MetricUnit::Percent => "percent".to_owned(),
        MetricUnit::Seconds => "seconds".to_owned(),
        MetricUnit::Bytes => "bytes".to_owned(),
        MetricUnit::Count => "counts".to_owned(),
        MetricUnit::PerSecond => "events per second".to_owned(),
        MetricUnit::Custom(name) => format!("`{name}`"),
    }
}

fn examples(unit: &MetricUnit) -> &'static str {
    match unit {
        MetricUnit::Ratio => "`0.5%` or `0.005`",
        MetricUnit::Percent => "`0.5%`",
        MetricUnit::Seconds => "`250ms` or `1.5s`",
        MetricUnit::Bytes => "`512Mi` or `1.5GB`",
        MetricUnit::Count | MetricUnit::Custom(_) => "`12` or `0.5`",
        MetricUnit::PerSecond => "`40/s`",
    }
}

#[cfg(test)]
mod tests {
    use super::{Dimension, parse};

    #[test]
    fn people_write_quantities_in_many_ways() {
        let base = |text| parse(text).map(|(number, (_, dimension, size))| (number * size, *dimension));
        assert_eq!(base("512Mi"), Some((536_870_912.0, Dimension::Bytes)));
        assert_eq!(base("1.5GiB"), Some((1_610_612_736.0, Dimension::Bytes)));
        assert_eq!(base("250 ms"), Some((0.25, Dimension::Time)));
        assert_eq!(base("0.1%"), Some((0.001, Dimension::Percent)));
        assert_eq!(base("-50Mi"), Some((-52_428_800.0, Dimension::Bytes)));
        assert_eq!(base("1_000"), Some((1_000.0, Dimension::Bare)));
        for wrong in ["", "Mi", "1 apple", "1e999", "--1", "1.2.3", "nan", "∞"] {
            assert_eq!(base(wrong), None, "{wrong}");
        }
    }
}

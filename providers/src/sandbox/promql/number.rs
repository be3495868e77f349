//! Numbers as Prometheus writes them in answers, and durations as it reads them in queries.

/// Writes a value as the API does: shortest digits that read back the same, `NaN`, `+Inf`, `-Inf`; an exponent only below
/// 1e-6 and from 1e21 on.
pub(super) fn write_value(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 {
            "+Inf".to_owned()
        } else {
            "-Inf".to_owned()
        }
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        format!("{value}")
    }
}

/// Reads `1h30m`, `500ms`, `1d` into milliseconds: units from large to small, each at most once. `None` for anything else.
pub(super) fn read_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    // What fits into Prometheus' own nanoseconds.
    const MAX_MS: i64 = i64::MAX / 1_000_000;
    let mut rest = text;
    let mut total: i64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let letters = rest[digits..]
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len() - digits);
        let amount: i64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..digits + letters];
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(amount.checked_mul(*unit_ms)?)?;
        rest = &rest[digits + letters..];
    }
    (!text.is_empty() && total <= MAX_MS).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_api_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (1e-6, "0.000001"),
            (-2.5e300, "-2.5e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(write_value(value), text);
        }
    }

    #[test]
    fn durations_have_ordered_units_that_do_not_repeat() {
        assert_eq!(read_duration("1h30m"), Some(5_400_000));
        assert_eq!(read_duration("1d500ms"), Some(86_400_500));
        for bad in [
            "",
            "5",
            "m",
            "5m1h",
            "1m1m",
            "1.5m",
            "5µs",
            "9999999999y",
            "99999999999999999999s",
        ] {
            assert_eq!(read_duration(bad), None, "{bad}");
        }
    }
}

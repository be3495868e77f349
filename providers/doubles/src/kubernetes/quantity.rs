//! Amounts as Kubernetes writes them: `500m`, `2`, `1Gi`.

/// The amount in thousandths; `None` for text that is no quantity.
pub(crate) fn milli(text: &str) -> Option<i128> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != '-')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: i128 = match unit {
        "n" | "u" => return number.parse::<f64>().ok().map(|_| 0),
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 9 || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part_value: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    Some(whole * factor + part_value * factor / scale)
}

/// The amount as text, in whole units where it is one.
pub(crate) fn said(milli: i128) -> String {
    if milli % 1000 == 0 {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    }
}

#[cfg(test)]
mod tests {
    use super::milli;

    #[test]
    fn amounts_are_read_with_their_units() {
        let read: Vec<_> = ["2", "500m", "1Ki", "0.5", "1.5Gi", "x", "1Q", ""]
            .into_iter()
            .map(milli)
            .collect();
        let gibi = 1_610_612_736_000;
        assert_eq!(
            read,
            [
                Some(2000),
                Some(500),
                Some(1_024_000),
                Some(500),
                Some(gibi),
                None,
                None,
                None
            ]
        );
    }
}

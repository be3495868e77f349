//! Instants and lengths of time as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use meridian_workflows::duration::Duration;

/// A length with its two leading units: `12s`, `3m12s`, `2h05m`, `1d04h`. What is shorter than a second says so.
pub fn length(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = millis / 1_000;
    match seconds {
        0 if millis == 0 => "0s".to_owned(),
        0 => "under 1s".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3_600 => pair(seconds, 60, "m", 1, "s"),
        3_600..86_400 => pair(seconds, 3_600, "h", 60, "m"),
        _ => pair(seconds, 86_400, "d", 3_600, "h"),
    }
}

fn pair(seconds: u64, big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    match seconds % big / small {
        0 => format!("{}{big_unit}", seconds / big),
        rest => format!("{}{big_unit}{rest:02}{small_unit}", seconds / big),
    }
}

/// What is left, rounded up: a countdown ends at zero, not a second before.
pub fn left(duration: Duration) -> String {
    length(Duration::from_secs(duration.as_millis().div_ceil(1_000)))
}

/// Time of day, `10:00:04`.
pub fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// The day, `Mon 2 Mar 2026`.
pub fn day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %-d %b %Y").to_string()
}

/// Time of day, with the day in front when it is another one than `now`'s.
pub fn instant(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let is_today = at.to_zoned(zone.clone()).date() == now.to_zoned(zone.clone()).date();
    if is_today {
        time(at, zone)
    } else {
        at.to_zoned(zone.clone()).strftime("%a %-d %b %H:%M:%S").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{instant, left, length};
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use meridian_workflows::duration::Duration;

    #[test]
    fn lengths_show_two_units() {
        let shown = |millis| length(Duration::from_millis(millis));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(900), "under 1s");
        assert_eq!(shown(59_999), "59s");
        assert_eq!(shown(192_000), "3m12s");
        assert_eq!(shown(3_600_000), "1h");
        assert_eq!(shown(7_500_000), "2h05m");
        assert_eq!(shown(100_800_000), "1d04h");
        assert_eq!(left(Duration::from_millis(1)), "1s");
    }

    #[test]
    fn another_day_is_named() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-03-02T10:00:00Z");
        assert_eq!(instant(at("2026-03-02T12:30:00Z"), now, &TimeZone::UTC), "12:30:00");
        assert_eq!(
            instant(at("2026-03-03T09:00:00Z"), now, &TimeZone::UTC),
            "Tue 3 Mar 09:00:00"
        );
    }
}

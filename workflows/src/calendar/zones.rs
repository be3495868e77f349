//! Names of time zones as exporting programs write them.

use jiff::tz::TimeZone;

use crate::window;

/// The zone that a `TZID` names: an IANA name, one behind a vendor's prefix (`/vendor.org/20050126/Europe/Dublin`), or one
/// of the names that Windows and Outlook use.
pub fn zone(id: &str) -> Option<TimeZone> {
    // The longest names of zones have about thirty letters.
    if id.len() > 200 {
        return None;
    }
    if let Some(zone) = window::zone(id) {
        return Some(zone);
    }
    let behind_prefix = id.strip_prefix('/').and_then(|path| {
        let mut rest = path;
        while let Some((_, tail)) = rest.split_once('/') {
            if let Some(zone) = window::zone(tail) {
                return Some(zone);
            }
            rest = tail;
        }
        None
    });
    behind_prefix.or_else(|| {
        let (_, iana) = WINDOWS.iter().find(|(windows, _)| windows.eq_ignore_ascii_case(id))?;
        window::zone(iana)
    })
}

/// Windows' names and the zone that Unicode's CLDR gives for each in the world at large.
const WINDOWS: [(&str, &str); 46] = [
    ("AUS Central Standard Time", "Australia/Darwin"),
    ("AUS Eastern Standard Time", "Australia/Sydney"),
    ("Alaskan Standard Time", "America/Anchorage"),
    ("Arab Standard Time", "Asia/Riyadh"),
    ("Arabian Standard Time", "Asia/Dubai"),
    ("Argentina Standard Time", "America/Buenos_Aires"),
    ("Atlantic Standard Time", "America/Halifax"),
    ("Cen. Australia Standard Time", "Australia/Adelaide"),
    ("Central Europe Standard Time", "Europe/Budapest"),
    ("Central European Standard Time", "Europe/Warsaw"),
    ("Central Standard Time", "America/Chicago"),
    ("Central Standard Time (Mexico)", "America/Mexico_City"),
    ("China Standard Time", "Asia/Shanghai"),
    ("E. Australia Standard Time", "Australia/Brisbane"),
    ("E. Europe Standard Time", "Europe/Chisinau"),
    ("E. South America Standard Time", "America/Sao_Paulo"),
    ("Eastern Standard Time", "America/New_York"),
    ("Egypt Standard Time", "Africa/Cairo"),
    ("FLE Standard Time", "Europe/Kiev"),
    ("GMT Standard Time", "Europe/London"),
    ("GTB Standard Time", "Europe/Bucharest"),
    ("Greenwich Standard Time", "Atlantic/Reykjavik"),
    ("Hawaiian Standard Time", "Pacific/Honolulu"),
    ("India Standard Time", "Asia/Kolkata"),
    ("Israel Standard Time", "Asia/Jerusalem"),
    ("Korea Standard Time", "Asia/Seoul"),
    ("Mountain Standard Time", "America/Denver"),
    ("New Zealand Standard Time", "Pacific/Auckland"),
    ("Newfoundland Standard Time", "America/St_Johns"),
    ("Pacific SA Standard Time", "America/Santiago"),
    ("Pacific Standard Time", "America/Los_Angeles"),
    ("Pakistan Standard Time", "Asia/Karachi"),
    ("Romance Standard Time", "Europe/Paris"),
    ("Russian Standard Time", "Europe/Moscow"),
    ("SA Pacific Standard Time", "America/Bogota"),
    ("SE Asia Standard Time", "Asia/Bangkok"),
    ("Singapore Standard Time", "Asia/Singapore"),
    ("South Africa Standard Time", "Africa/Johannesburg"),
    ("Taipei Standard Time", "Asia/Taipei"),
    ("Tasmania Standard Time", "Australia/Hobart"),
    ("Tokyo Standard Time", "Asia/Tokyo"),
    ("Turkey Standard Time", "Europe/Istanbul"),
    ("US Mountain Standard Time", "America/Phoenix"),
    ("UTC", "Etc/UTC"),
    ("W. Australia Standard Time", "Australia/Perth"),
    ("W. Europe Standard Time", "Europe/Berlin"),
];

#[cfg(test)]
mod tests {
    use super::{WINDOWS, zone};

    #[test]
    fn every_name_leads_to_a_zone_and_unknown_ones_to_none() {
        for (windows, iana) in WINDOWS {
            assert!(crate::window::zone(iana).is_some(), "{iana}");
            assert!(zone(windows).is_some(), "{windows}");
        }
        let dublin = crate::window::zone("Europe/Dublin");
        assert_eq!(zone("/mozilla.org/20050126_1/Europe/Dublin"), dublin);
        assert_eq!(zone("Our Office"), None);
        assert_eq!(zone("///"), None);
        assert_eq!(zone(""), None);
    }
}

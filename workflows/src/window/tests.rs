use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time, date, time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::hours::day;
use super::{Error, Opening, judged_zone, opening, zone};
use crate::workflow::{Calendar, Closed, Day, Denial, Window, Zone};

fn window(days: &[Day], from: &str, to: &str) -> Window {
    let time = |text: &str| (!text.is_empty()).then(|| text.parse::<Time>().unwrap());
    Window {
        days: days.to_vec(),
        from: time(from),
        to: time(to),
        timezone: Zone::Region,
        calendars: vec!["company".into()],
    }
}

fn company(deny: &[(Closed, &str)]) -> BTreeMap<String, Calendar> {
    let deny = deny.iter().map(|(closed, reason)| Denial {
        closed: closed.clone(),
        reason: (*reason).to_owned(),
    });
    BTreeMap::from([("company".to_owned(), Calendar { deny: deny.collect() })])
}

/// What people read at a local time (its first pass, where daylight saving repeats it).
fn says(window: &Window, calendars: &BTreeMap<String, Calendar>, place: &str, at: &str) -> String {
    let zone = zone(place).unwrap();
    let at = zone
        .to_ambiguous_timestamp(at.parse::<DateTime>().unwrap())
        .earlier()
        .unwrap();
    opening(window, calendars, &zone, at).sentence(&zone)
}

const OFFICE: [Day; 4] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu];

#[test]
fn office_hours_open_and_close_in_the_regions_zone() {
    let office = window(&OFFICE, "09:00", "16:00");
    let none = company(&[]);
    let dublin = |at| says(&office, &none, "Europe/Dublin", at);
    assert_eq!(
        dublin("2026-03-02T09:00"),
        "open until Mon 2026-03-02 16:00 (Europe/Dublin)"
    );
    assert_eq!(
        dublin("2026-03-02T08:59:59"),
        "closed: outside mon–thu 09:00–16:00, it is Mon 08:59 in Europe/Dublin; opens Mon 2026-03-02 09:00 (Europe/Dublin)"
    );
    assert_eq!(
        dublin("2026-03-05T16:00"),
        "closed: outside mon–thu 09:00–16:00, it is Thu 16:00 in Europe/Dublin; opens Mon 2026-03-09 09:00 (Europe/Dublin)"
    );
    let at = "2026-03-02T07:30:00Z".parse().unwrap();
    assert!(opening(&office, &none, &zone("Asia/Singapore").unwrap(), at).is_open());
    assert!(!opening(&office, &none, &zone("Europe/Dublin").unwrap(), at).is_open());
}

#[test]
fn a_denial_beats_the_hours_and_says_why_and_the_longest_one_speaks() {
    let office = window(&OFFICE, "09:00", "16:00");
    let freeze = Closed::Dates {
        from: date(2026, 12, 23),
        to: date(2027, 1, 2),
    };
    let day_off = Closed::Dates {
        from: date(2026, 12, 24),
        to: date(2026, 12, 24),
    };
    let calendars = company(&[(day_off, "Christmas Eve"), (freeze, "year-end freeze")]);
    // 2 January 2027 is a Saturday, so the year ends on the Monday after.
    assert_eq!(
        says(&office, &calendars, "America/New_York", "2026-12-24T10:00"),
        "closed: year-end freeze (calendar company); opens Mon 2027-01-04 09:00 (America/New_York)"
    );
    let before = says(&window(&[], "", ""), &calendars, "America/New_York", "2026-12-22T23:00");
    assert_eq!(before, "open until Wed 2026-12-23 00:00 (America/New_York)");
}

#[test]
fn hours_across_midnight_belong_to_the_day_on_which_they_start() {
    let nights = window(&[Day::Fri], "22:00", "02:00");
    let none = company(&[]);
    let open = "open until Sat 2026-03-07 02:00 (Asia/Singapore)";
    assert_eq!(says(&nights, &none, "Asia/Singapore", "2026-03-06T22:00"), open);
    assert_eq!(says(&nights, &none, "Asia/Singapore", "2026-03-07T01:59:59"), open);
    assert_eq!(
        says(&nights, &none, "Asia/Singapore", "2026-03-06T01:00"),
        "closed: outside fri 22:00–02:00, it is Fri 01:00 in Asia/Singapore; opens Fri 2026-03-06 22:00 (Asia/Singapore)"
    );
}

#[test]
fn an_hour_that_daylight_saving_skips_never_opens_and_a_longer_window_opens_behind_it() {
    // Dublin and New York skip an hour (01:00 and 02:00), Lord Howe half an hour (02:00–02:30).
    let none = company(&[]);
    for (place, day, inside, next) in [
        (
            "Europe/Dublin",
            "2026-03-29",
            ("01:10", "01:50"),
            "Mon 2026-03-30 01:10",
        ),
        (
            "America/New_York",
            "2026-03-08",
            ("02:10", "02:50"),
            "Mon 2026-03-09 02:10",
        ),
        (
            "Australia/Lord_Howe",
            "2026-10-04",
            ("02:05", "02:25"),
            "Mon 2026-10-05 02:05",
        ),
    ] {
        let skipped = window(&[], inside.0, inside.1);
        let text = says(&skipped, &none, place, &format!("{day}T00:30"));
        assert!(text.ends_with(&format!("opens {next} ({place})")), "{text}");
    }
    let longer = window(&[], "01:30", "03:00");
    let text = says(&longer, &none, "Europe/Dublin", "2026-03-29T00:30");
    assert!(text.ends_with("opens Sun 2026-03-29 02:00 (Europe/Dublin)"), "{text}");
}

#[test]
fn an_hour_that_daylight_saving_repeats_happens_twice() {
    let hour = window(&[], "01:15", "01:45");
    let none = company(&[]);
    for (place, first, second) in [
        ("Europe/Dublin", "2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z"),
        ("America/New_York", "2026-11-01T05:15:00Z", "2026-11-01T06:15:00Z"),
    ] {
        let zone = zone(place).unwrap();
        let (first, second): (Timestamp, Timestamp) = (first.parse().unwrap(), second.parse().unwrap());
        let half = SignedDuration::from_mins(30);
        assert_eq!(
            opening(&hour, &none, &zone, first),
            Opening::Open {
                until: Some(first + half)
            }
        );
        let Opening::Closed { opens, .. } = opening(&hour, &none, &zone, first + half) else {
            panic!("it closes after its first pass")
        };
        assert_eq!(opens, Some(second), "{place}");
    }
    // Lord Howe repeats 01:30–02:00 only: the second pass begins in the middle of the window.
    let zone = zone("Australia/Lord_Howe").unwrap();
    let (first, jump): (Timestamp, Timestamp) = (
        "2026-04-04T14:15:00Z".parse().unwrap(),
        "2026-04-04T15:00:00Z".parse().unwrap(),
    );
    let closes = first + SignedDuration::from_mins(30);
    assert_eq!(
        opening(&hour, &none, &zone, first),
        Opening::Open { until: Some(closes) }
    );
    let text = opening(&hour, &none, &zone, closes);
    assert!(
        matches!(text, Opening::Closed { opens, .. } if opens == Some(jump)),
        "{text:?}"
    );
}

#[test]
fn leap_days_and_year_ends_are_days_like_others() {
    let freeze = Closed::Dates {
        from: date(2028, 2, 29),
        to: date(2028, 2, 29),
    };
    let calendars = company(&[(freeze, "leap day")]);
    let all = window(&[], "", "");
    let sings = |at| says(&all, &calendars, "Asia/Singapore", at);
    assert_eq!(
        sings("2028-02-28T12:00"),
        "open until Tue 2028-02-29 00:00 (Asia/Singapore)"
    );
    assert_eq!(
        sings("2028-02-29T12:00"),
        "closed: leap day (calendar company); opens Wed 2028-03-01 00:00 (Asia/Singapore)"
    );
    let nights = window(&[Day::Thu], "20:00", "04:00");
    assert_eq!(
        says(&nights, &company(&[]), "Asia/Singapore", "2026-12-31T23:59:59"),
        "open until Fri 2027-01-01 04:00 (Asia/Singapore)"
    );
}

#[test]
fn a_window_that_opens_for_one_second_is_found() {
    let moment = window(&[Day::Wed], "10:00:00", "10:00:01");
    let text = says(&moment, &company(&[]), "Europe/Dublin", "2026-03-04T10:00:01");
    assert!(text.ends_with("opens Wed 2026-03-11 10:00 (Europe/Dublin)"), "{text}");
    let text = says(&moment, &company(&[]), "Europe/Dublin", "2026-03-04T10:00");
    assert_eq!(text, "open until Wed 2026-03-04 10:00:01 (Europe/Dublin)");
}

#[test]
fn equal_times_are_24_hours_from_then_on() {
    let mondays = window(&[Day::Mon], "09:00", "09:00");
    let text = says(&mondays, &company(&[]), "Europe/Dublin", "2026-03-02T09:00");
    assert_eq!(text, "open until Tue 2026-03-03 09:00 (Europe/Dublin)");
    let always = window(&[], "09:00", "09:00");
    let text = says(&always, &company(&[]), "Europe/Dublin", "2026-03-02T09:00");
    assert_eq!(text, "open, and stays so for the next two years");
}

#[test]
fn a_window_that_never_opens_says_so() {
    let weekly = |days: &[Day]| Closed::Weekly {
        days: days.to_vec(),
        from: None,
        to: None,
    };
    let calendars = company(&[
        (weekly(&[Day::Sat]), "no Saturdays"),
        (weekly(&[Day::Sun]), "no Sundays"),
    ]);
    let weekend = window(&[Day::Sat, Day::Sun], "09:00", "16:00");
    assert_eq!(
        says(&weekend, &calendars, "Europe/Dublin", "2026-03-07T10:00"),
        "closed: no Saturdays (calendar company); does not open within two years"
    );
    let unknown = says(&weekend, &BTreeMap::new(), "Europe/Dublin", "2026-03-07T10:00");
    assert_eq!(
        unknown,
        "closed: its calendar company is unknown; does not open within two years"
    );
}

#[test]
fn the_ends_of_time_do_not_frighten_it() {
    let office = window(&OFFICE, "22:00", "04:00");
    for at in [Timestamp::MIN, Timestamp::MAX] {
        for place in ["Australia/Lord_Howe", "America/New_York", "Etc/UTC"] {
            let _ = opening(&office, &company(&[]), &zone(place).unwrap(), at);
        }
    }
}

#[test]
fn the_judged_zone_is_the_windows_or_the_regions_and_never_guessed() {
    let mut office = window(&OFFICE, "09:00", "16:00");
    assert_eq!(
        judged_zone(&office, Some("Asia/Singapore")),
        Ok(zone("Asia/Singapore").unwrap())
    );
    assert_eq!(judged_zone(&office, None), Err(Error::RegionWithoutZone));
    assert_eq!(
        judged_zone(&office, Some("Mars/Base")),
        Err(Error::UnknownZone("Mars/Base".into()))
    );
    office.timezone = Zone::Named("Europe/Dublin".into());
    assert_eq!(judged_zone(&office, None), Ok(zone("Europe/Dublin").unwrap()));
}

/// Whether a wall clock's reading lies in weekly hours, asked the long way round: minute by minute of the day.
fn in_hours(days: &[Day], from: Option<Time>, to: Option<Time>, wall: DateTime) -> bool {
    let on = |date: Date| days.is_empty() || days.contains(&day(date.weekday()));
    let minutes = |time: Option<Time>| time.map_or(0, |time| i32::from(time.hour()) * 60 + i32::from(time.minute()));
    let (from, mut to) = (minutes(from), minutes(to));
    if to <= from {
        to += 24 * 60;
    }
    let now = minutes(Some(wall.time()));
    (on(wall.date()) && from <= now && now < to)
        || (on(wall.date() - 1.day()) && from <= now + 24 * 60 && now + 24 * 60 < to)
}

fn is_open(window: &Window, calendars: &BTreeMap<String, Calendar>, zone: &TimeZone, at: Timestamp) -> bool {
    let wall = zone.to_datetime(at);
    let denied = calendars
        .values()
        .flat_map(|calendar| &calendar.deny)
        .any(|denial| match &denial.closed {
            Closed::Dates { from, to } => *from <= wall.date() && wall.date() <= *to,
            Closed::Weekly { days, from, to } => in_hours(days, *from, *to, wall),
            Closed::Local { from, to } => *from <= wall && wall < *to,
            Closed::Instants { from, to } => *from <= at && at < *to,
        });
    !denied && in_hours(&window.days, window.from, window.to, wall)
}

/// Days as bits; several times of the night, where daylight saving changes, more likely than others.
fn some_hours() -> impl Strategy<Value = (Vec<Day>, Option<Time>, Option<Time>)> {
    let week = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
    let days = any::<u8>().prop_map(move |bits| {
        week.iter()
            .enumerate()
            .filter(|(at, _)| bits >> at & 1 == 1)
            .map(|(_, day)| *day)
            .collect()
    });
    let clock = || {
        prop_oneof![
            Just(None),
            (0i8..4, 0i8..60).prop_map(|(hour, minute)| Some(time(hour, minute, 0, 0))),
            (0i8..24, 0i8..60).prop_map(|(hour, minute)| Some(time(hour, minute, 0, 0))),
        ]
    };
    (days, clock(), clock())
}

/// Denials around a day near which the test looks.
fn some_denial(near: Timestamp) -> impl Strategy<Value = Closed> {
    let minutes = -4_000i64..6_000;
    let instant = move |offset: i64| near + SignedDuration::from_mins(offset);
    let date = move |offset: i64| TimeZone::UTC.to_datetime(instant(offset)).date();
    let wall = move |offset: i64| TimeZone::UTC.to_datetime(instant(offset));
    prop_oneof![
        some_hours().prop_map(|(days, from, to)| Closed::Weekly { days, from, to }),
        (minutes.clone(), 0i64..3).prop_map(move |(from, days)| Closed::Dates {
            from: date(from),
            to: date(from + days * 1_440)
        }),
        (minutes.clone(), 0i64..4_000).prop_map(move |(from, length)| Closed::Local {
            from: wall(from),
            to: wall(from + length)
        }),
        (minutes, 0i64..4_000).prop_map(move |(from, length)| Closed::Instants {
            from: instant(from),
            to: instant(from + length)
        }),
    ]
}

/// Instants two days around a change of the offset (or a plain night, where there is none).
fn some_case() -> impl Strategy<Value = (&'static str, Timestamp, Window, BTreeMap<String, Calendar>)> {
    let nights = [
        ("Europe/Dublin", "2026-03-29T01:00:00Z"),
        ("Europe/Dublin", "2026-10-25T01:00:00Z"),
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Asia/Singapore", "2026-12-31T16:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ];
    (prop::sample::select(nights.to_vec()), -2_880i64..2_880).prop_flat_map(|((place, night), minutes)| {
        let at = night.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes);
        (some_hours(), prop::collection::vec(some_denial(at), 0..4)).prop_map(move |((days, from, to), deny)| {
            let window = Window {
                days,
                from,
                to,
                timezone: Zone::Region,
                calendars: vec!["company".into()],
            };
            let deny: Vec<(Closed, &str)> = deny.into_iter().map(|closed| (closed, "because")).collect();
            (place, at, window, company(&deny))
        })
    })
}

proptest! {
    #[test]
    fn stepping_minute_by_minute_finds_the_same((place, at, window, calendars) in some_case()) {
        let zone = zone(place).unwrap();
        let open = is_open(&window, &calendars, &zone, at);
        let found = opening(&window, &calendars, &zone, at);
        prop_assert_eq!(found.is_open(), open);
        let changes = match found {
            Opening::Open { until } => until,
            Opening::Closed { opens, .. } => opens,
        };
        // Nine days hold every weekly pattern; what lies further must at least not have changed before.
        let steps = (1..=9 * 1_440).map(|minute| at + SignedDuration::from_mins(minute));
        match steps.into_iter().find(|step| is_open(&window, &calendars, &zone, *step) != open) {
            Some(step) => prop_assert_eq!(changes, Some(step)),
            None => assert!(changes.is_none_or(|changes| changes > at + SignedDuration::from_mins(9 * 1_440))),
        }
    }
}

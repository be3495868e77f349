use proptest::prelude::{any, prop, proptest};

use super::{BYTES_MAX, parse};
use crate::workflow::{Closed, Denial};

fn file(events: &[&str]) -> String {
    let events: Vec<String> = events
        .iter()
        .map(|event| format!("BEGIN:VEVENT\r\n{}\r\nEND:VEVENT\r\n", event.replace('\n', "\r\n")))
        .collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}END:VCALENDAR\r\n", events.concat())
}

fn told(denials: &[Denial]) -> Vec<String> {
    let told = denials.iter().map(|denial| {
        let when = match &denial.closed {
            Closed::Dates { from, to } => format!("{from}..{to} days"),
            Closed::Local { from, to } => format!("{from}..{to} local"),
            Closed::Instants { from, to } => format!("{from}..{to}"),
            Closed::Weekly { .. } => "weekly".to_owned(),
        };
        format!("{when} {}", denial.reason)
    });
    told.collect()
}

fn read(events: &[&str]) -> Vec<String> {
    told(&parse(&file(events)).unwrap())
}

/// The problems of one event, whose first line is line 4 of the file.
fn refused(event: &str) -> Vec<String> {
    parse(&file(&[event]))
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn whole_days_are_denied_in_the_regions_zone_with_their_end_included() {
    let events = [
        "DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261226\nSUMMARY:Christmas\\, at last",
        "DTSTART;VALUE=DATE:20261223\nDTEND;VALUE=DATE:20270103\nSUMMARY:year-\n end freeze\nTRANSP:TRANSPARENT",
        "DTSTART;VALUE=DATE:20280229",
        "DTSTART;VALUE=DATE:20260301\nDURATION:P1W\nSUMMARY:offsite",
    ];
    assert_eq!(
        read(&events),
        [
            "2026-12-25..2026-12-25 days Christmas, at last",
            "2026-12-23..2027-01-02 days year-end freeze",
            "2028-02-29..2028-02-29 days an event without a summary",
            "2026-03-01..2026-03-07 days offsite",
        ]
    );
}

#[test]
fn times_are_local_or_instants_as_they_are_written() {
    let events = [
        "DTSTART:20260302T090000\nDTEND:20260302T120000\nSUMMARY:floating",
        "DTSTART:20260302T090000Z\nDURATION:PT1H30M\nSUMMARY:utc",
        "DTSTART;TZID=America/New_York:20260302T090000\nDTEND;TZID=America/New_York:20260302T100000\nSUMMARY:zoned",
        "DTSTART;TZID=W. Europe Standard Time:20260702T090000\nDTEND;TZID=Europe/London:20260702T090000\nSUMMARY:two zones",
        "DTSTART:20260302T090000Z\nSUMMARY:no length",
        "DTSTART:20260302T090000Z\nDURATION:PT1H\nSTATUS:CANCELLED\nSUMMARY:cancelled",
        // The clock goes back at 02:00: the night ends at six on the wall, seven hours of sleep or not.
        "DTSTART;TZID=America/New_York:20261031T220000\nDTEND;TZID=America/New_York:20261101T013000\nSUMMARY:night",
    ];
    assert_eq!(
        read(&events),
        [
            "2026-03-02T09:00:00..2026-03-02T12:00:00 local floating",
            "2026-03-02T09:00:00Z..2026-03-02T10:30:00Z utc",
            "2026-03-02T14:00:00Z..2026-03-02T15:00:00Z zoned",
            "2026-07-02T07:00:00Z..2026-07-02T08:00:00Z two zones",
            "2026-11-01T02:00:00Z..2026-11-01T06:30:00Z night",
        ]
    );
}

#[test]
fn where_daylight_saving_leaves_a_choice_the_longer_stretch_is_closed() {
    let new_york = |from: &str, to: &str| {
        let zone = "TZID=America/New_York";
        read(&[&format!("DTSTART;{zone}:{from}\nDTEND;{zone}:{to}\nSUMMARY:hour")])
    };
    // The hour from 01:00 happens twice on 1 November, the one from 02:00 never on 8 March.
    assert_eq!(
        new_york("20261101T013000", "20261101T014500"),
        ["2026-11-01T05:30:00Z..2026-11-01T06:45:00Z hour"]
    );
    assert_eq!(
        new_york("20260308T023000", "20260308T024500"),
        ["2026-03-08T06:30:00Z..2026-03-08T07:45:00Z hour"]
    );
}

#[test]
fn repeating_events_keep_their_time_on_the_wall_and_end_as_they_say() {
    let weekly =
        "DTSTART;TZID=Europe/Dublin:20260326T160000\nDTEND;TZID=Europe/Dublin:20260326T180000\nSUMMARY:freeze\n";
    let expected = [
        "2026-03-26T16:00:00Z..2026-03-26T18:00:00Z freeze",
        "2026-04-02T15:00:00Z..2026-04-02T17:00:00Z freeze",
    ];
    for end in [
        "COUNT=2",
        "UNTIL=20260402T150000Z",
        "UNTIL=20260402",
        "UNTIL=20260408T235959Z",
    ] {
        assert_eq!(read(&[&format!("{weekly}RRULE:FREQ=WEEKLY;{end}")]), expected, "{end}");
    }
    let birthday = "DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=MONTHLY;UNTIL=20260301T000000Z\nEXDATE;VALUE=DATE:20260201";
    assert_eq!(
        read(&[birthday]),
        [
            "2026-01-01..2026-01-01 days an event without a summary",
            "2026-03-01..2026-03-01 days an event without a summary"
        ]
    );
}

#[test]
fn one_time_of_a_repeating_event_can_move_or_be_cancelled() {
    let events = [
        "UID:a\nDTSTART;TZID=Europe/Dublin:20260302T090000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=4\nSUMMARY:stand-up",
        "UID:a\nRECURRENCE-ID;TZID=Europe/Dublin:20260303T090000\nDTSTART:20260303T140000Z\nDURATION:PT1H\nSUMMARY:moved",
        "UID:a\nRECURRENCE-ID:20260304T090000Z\nDTSTART:20260304T090000Z\nSTATUS:CANCELLED",
        "UID:b\nDTSTART;TZID=Europe/Dublin:20260303T090000\nDURATION:PT1H\nSUMMARY:another",
    ];
    assert_eq!(
        read(&events),
        [
            "2026-03-02T09:00:00Z..2026-03-02T10:00:00Z stand-up",
            "2026-03-05T09:00:00Z..2026-03-05T10:00:00Z stand-up",
            "2026-03-03T14:00:00Z..2026-03-03T15:00:00Z moved",
            "2026-03-03T09:00:00Z..2026-03-03T10:00:00Z another",
        ]
    );
}

#[test]
fn a_rule_without_an_end_closes_the_calendar_where_knowledge_ends() {
    let denials = read(&["DTSTART;VALUE=DATE:20371225\nRRULE:FREQ=YEARLY\nSUMMARY:Christmas"]);
    assert_eq!(
        denials,
        [
            "2037-12-25..2037-12-25 days Christmas",
            "2038-12-25..2038-12-25 days Christmas",
            "2039-12-25..2039-12-25 days Christmas",
            "2040-01-01..9999-12-31 days repeating events of the calendar are known only until 2040-01-01",
        ]
    );
    let far = read(&["DTSTART;VALUE=DATE:20501225\nRRULE:FREQ=YEARLY;COUNT=1\nSUMMARY:far"]);
    assert_eq!(far, ["2050-12-25..2050-12-25 days far"]);
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (event, problem) in [
        ("SUMMARY:nothing", "line 3: the event has no DTSTART"),
        (
            "DTSTART:2026-03-02",
            "line 4: `2026-03-02` is no date or time, expected `20261225`, `20261225T090000` or `20261225T090000Z`",
        ),
        (
            "DTSTART:20260231",
            "line 4: `20260231` is no date or time, expected `20261225`, `20261225T090000` or `20261225T090000Z`",
        ),
        (
            "DTSTART;TZID=Our Office:20260302T090000",
            "line 4: there is no time zone `Our Office`; IANA names and the common names of Windows are known",
        ),
        (
            "DTSTART:20260302\nDTEND:20260301",
            "line 5: the event ends before it starts",
        ),
        (
            "DTSTART:20260302\nDTEND:20260303T000000",
            "line 5: DTSTART and DTEND must both be dates or both be times",
        ),
        (
            "DTSTART:20260302T000000\nDTEND:20260303T000000Z",
            "line 5: DTSTART and DTEND must both be dates or both be times",
        ),
        (
            "DTSTART:20260302\nDURATION:-P1D",
            "line 5: `-P1D` is no duration, expected `P1D` or `PT1H30M`",
        ),
        (
            "DTSTART:20260302\nDURATION:PT",
            "line 5: `PT` is no duration, expected `P1D` or `PT1H30M`",
        ),
        (
            "DTSTART:20260302\nDTEND:20260303\nDURATION:P1D",
            "line 6: the event has both DTEND and DURATION",
        ),
        (
            "DTSTART:20260302\nDTSTART:20260303",
            "line 5: the event has DTSTART twice",
        ),
        (
            "DTSTART:20260302\nRRULE:FREQ=MONTHLY;BYSETPOS=-1;BYDAY=FR",
            "line 5: `BYSETPOS=-1` is not supported in a rule; write the denial in the calendar's `deny` instead",
        ),
        (
            "DTSTART:20260302\nRDATE:20260303",
            "line 5: RDATE is not supported; write the denial in the calendar's `deny` instead",
        ),
        (
            "DTSTART:20260302\nnonsense",
            "line 5: `nonsense` is no property: expected `NAME:value`",
        ),
        (
            "BEGIN:VALARM\nEND:VTODO",
            "line 5: END:VTODO ends nothing that has begun here",
        ),
        (
            "DTSTART:19700101\nRRULE:FREQ=DAILY",
            "line 3: the file has more than 20000 closed stretches: give the repeating events an UNTIL",
        ),
    ] {
        assert_eq!(refused(event), [problem], "{event}");
    }
    let problems = |text: &str| {
        parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(problems(""), ["line 1: an iCalendar file begins with BEGIN:VCALENDAR"]);
    assert_eq!(
        problems("BEGIN:VCALENDAR\nBEGIN:VEVENT\n"),
        ["line 2: BEGIN:VEVENT has no END"]
    );
    assert_eq!(
        problems(&"BEGIN:A\n".repeat(100)),
        ["line 17: components are nested too deeply"]
    );
    assert_eq!(
        problems(&" ".repeat(BYTES_MAX + 1)),
        ["line 1: the file is larger than 4 MiB"]
    );
}

#[test]
fn all_problems_are_told_at_once_and_alarms_and_tasks_are_no_events() {
    let text = file(&[
        "DTSTART:1",
        "DTSTART:20260302\nBEGIN:VALARM\nDTSTART:3\nEND:VALARM",
        "DTSTART:2",
    ]);
    let text = text.replace(
        "END:VCALENDAR",
        "BEGIN:VTODO\r\nDTSTART:4\r\nEND:VTODO\r\nEND:VCALENDAR",
    );
    let lines: Vec<usize> = parse(&text).unwrap_err().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [4, 13]);
}

#[test]
fn rules_that_never_meet_a_date_end_all_the_same() {
    let never = "DTSTART:00010101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30";
    let problem = "line 3: the repeating events of the file take too long to follow: give them an UNTIL";
    assert_eq!(refused(never), [problem]);
}

#[test]
fn a_rule_that_ends_before_the_horizon_leaves_the_time_behind_it_open() {
    let leap = "DTSTART;VALUE=DATE:20280229\nRRULE:FREQ=YEARLY;UNTIL=20380101\nSUMMARY:leap day";
    let days = ["2028-02-29", "2032-02-29", "2036-02-29"].map(|day| format!("{day}..{day} days leap day"));
    assert_eq!(read(&[leap]), days);
    let never = "DTSTART;VALUE=DATE:20280229\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;UNTIL=20380101\nSUMMARY:once";
    assert_eq!(read(&[never]), ["2028-02-29..2028-02-29 days once"]);
}

#[test]
fn many_exceptions_of_many_times_are_read_in_a_moment() {
    let except = "20300101T000000,".repeat(100_000);
    let event = format!(
        "DTSTART:20000101T000000\nDURATION:PT1H\nEXDATE:{}\nRRULE:FREQ=DAILY;UNTIL=20391231",
        except.trim_end_matches(',')
    );
    assert_eq!(parse(&file(&[&event])).unwrap().len(), 14_609);
    let many = "EXDATE:20300101\n".repeat(5_000);
    assert_eq!(
        refused(&format!("DTSTART:20260101\n{}", many.trim_end())),
        ["line 4100: the event has more than 4096 properties"]
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_event_makes_it_panic(lines in prop::collection::vec(some_line(), 0..8)) {
        let _ = parse(&file(&[&lines.join("\n")]));
    }
}

/// Properties that are almost right.
fn some_line() -> impl proptest::strategy::Strategy<Value = String> {
    let name = "(DTSTART|DTEND|EXDATE|RECURRENCE-ID|UID)(;TZID=(Europe/Dublin|Pacific/Apia|X))?(;VALUE=DATE)?";
    let moment = "(0000|0001|1970|2026|2039|2040|9999)(0229|0301|1231|1301)(T(000000|235960|023000)Z?)?";
    let rule = "RRULE:FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;INTERVAL=(1|7|65535))?(;BYDAY=(MO|-1SU|53TH|SA,SU))?(;BYMONTH=(2|1,12))?(;BYMONTHDAY=(29|-31|31))?(;COUNT=(1|3)|;UNTIL=20391231)?";
    proptest::prop_oneof![
        prop::string::string_regex(&format!("{name}:{moment}")).unwrap(),
        "DURATION:P[0-9]{0,19}(W|D|T[0-9]{1,3}(H|M|S))",
        rule,
        "[A-Z]{1,8}[;=:\"]{0,3}[ -~]{0,12}",
    ]
}

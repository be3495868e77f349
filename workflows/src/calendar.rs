//! Calendars that other programs export: iCalendar files become denials.

mod content;
pub mod ics;
mod recurrence;
mod zones;

//! What people ask of a plan before they run it: how long, since when, how far it reaches.

use jiff::Timestamp;

use super::Plan;
use super::exposure::ExposureTable;
use super::path::{CriticalPath, Length, total_bake};
use super::platform::{Platform, platforms};
use super::schedule::{Schedule, Windows};
use crate::vocabulary::Vocabulary;

/// Everything that `meridian plan` shows beside the plan itself, for a run that starts at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    pub schedule: Schedule,
    pub critical_path: CriticalPath,
    pub exposure: ExposureTable,
    /// The bakes of all nodes together.
    pub total_bake: Length,
    /// What the platforms make of it; empty until [`Outlook::on`] has asked them.
    pub platforms: Vec<Platform>,
}

impl Outlook {
    pub fn new(plan: &Plan, start: Timestamp) -> Outlook {
        let schedule = Schedule::new(plan, start, Windows::Respected);
        Outlook {
            critical_path: CriticalPath::new(plan),
            exposure: ExposureTable::new(plan, &schedule),
            total_bake: total_bake(plan),
            schedule,
            platforms: Vec::new(),
        }
    }

    /// The same, with what the platforms of this vocabulary have to say.
    pub fn on(self, plan: &Plan, vocabulary: &Vocabulary) -> Outlook {
        Outlook {
            platforms: platforms(plan, vocabulary),
            ..self
        }
    }
}

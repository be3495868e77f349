//! What all comparisons share: which way is worse, how much of it is allowed, and what chance of a false alarm a look may spend.

use meridian_workflows::workflow::{CompareGate, Harm};

use super::Circumstances;
use crate::run::reading::Sample;
use crate::run::verdict::Level;

/// The chance of a false alarm that all `compare` gates of one stage have together.
pub(super) const STAGE_ALPHA: f64 = 0.01;

/// What the gate may spend: its own, or an equal part of the stage's.
///
/// The first gate that fails acts, so an equal part is what Holm's procedure asks of it too.
pub(super) fn alpha(gate: &CompareGate, of: &Circumstances<'_>) -> f64 {
    gate.alpha.unwrap_or(STAGE_ALPHA / of.family.max(1) as f64)
}

/// One way in which the candidate may be worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    More,
    Less,
}

impl Way {
    pub(super) fn of(harm: Harm) -> &'static [Way] {
        match harm {
            Harm::More => &[Way::More],
            Harm::Less => &[Way::Less],
            Harm::Either => &[Way::More, Way::Less],
        }
    }

    /// 1 where more is worse, −1 where less is.
    pub(super) fn sign(self) -> f64 {
        match self {
            Way::More => 1.0,
            Way::Less => -1.0,
        }
    }

    /// What the baseline is multiplied with to allow so much harm.
    pub(super) fn allowed_ratio(self, margin: f64) -> f64 {
        (1.0 + self.sign() * margin).max(0.0)
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Way::More => "more",
            Way::Less => "less",
        }
    }
}

/// A count that can be judged: finite and not negative.
pub(super) fn counted(sample: &Sample, what: &str) -> Result<f64, (Level, String)> {
    match sample.value {
        None => Err((Level::NoData, format!("{what}: no data"))),
        Some(value) if value.is_nan() => Err((Level::NoData, format!("{what}: not a number"))),
        Some(value) if value.is_infinite() || value < 0.0 => {
            Err((Level::Error, format!("{what}: {value} is no number of requests")))
        }
        Some(value) => Ok(value),
    }
}

/// A part of one as a percentage with three leading digits.
pub(super) fn percent(part: f64) -> String {
    super::shown(part, &meridian_workflows::workflow::MetricUnit::Ratio)
}

//! The two steps of judging: a reading becomes a judgement on a lattice, and the gate's policy makes a verdict of it.

use meridian_workflows::workflow::Policy;
use serde::{Deserialize, Serialize};

/// How good the evidence is. The order is the lattice: the worst wins, and only a pass opens a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    Pass,
    /// Too early or too few samples: nothing can be said yet.
    Pending,
    NoData,
    /// Evidence is there and says neither yes nor no.
    Inconclusive,
    Error,
    Fail,
}

/// What one reading of one gate says, with the sentence that people are shown.
///
/// *Guarantees*: one with [`Level::Pass`] is made only by [`super::judge`], out of non-empty evidence newer than the last
/// change of share: there is no other constructor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    level: Level,
    /// What follows if it stays so; none for a pass, and while pending unless a gate only stops.
    policy: Option<Policy>,
    because: String,
    /// The arithmetic behind it, where a test was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grounds: Option<Box<Grounds>>,
}

/// What a test found and what it was held against; with the reading beside it in the journal, anybody can work it out again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grounds {
    /// The test's name, as in `sequential count test`.
    pub test: String,
    pub statistic: f64,
    /// Beyond this the test says that there is harm.
    pub threshold: f64,
    /// The chance of a false alarm that this look could spend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The harm as found, and the least and most that the evidence allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

/// An estimate between two bounds, in the unit of what is compared. Bounds are left out where the evidence sets none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    pub estimate: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl Grounds {
    /// Numbers that JSON can keep: a statistic beyond all numbers is the largest one.
    pub(in crate::run) fn new(test: &str, statistic: f64, threshold: f64) -> Grounds {
        let finite = |number: f64| {
            if number.is_nan() {
                0.0
            } else {
                number.clamp(f64::MIN, f64::MAX)
            }
        };
        Grounds {
            test: test.to_owned(),
            statistic: finite(statistic),
            threshold: finite(threshold),
            alpha: None,
            effect: None,
        }
    }

    pub(in crate::run) fn spending(self, alpha: f64) -> Grounds {
        Grounds {
            alpha: Some(alpha),
            ..self
        }
    }

    pub(in crate::run) fn finding(self, low: f64, estimate: f64, high: f64) -> Grounds {
        let finite = |number: f64| number.is_finite().then_some(number);
        Grounds {
            effect: finite(estimate).map(|estimate| Effect {
                low: finite(low),
                estimate,
                high: finite(high),
            }),
            ..self
        }
    }
}

impl Judgement {
    /// Only the judge may say that a gate passes.
    pub(in crate::run) fn pass(because: String) -> Judgement {
        Judgement {
            level: Level::Pass,
            policy: None,
            because,
            grounds: None,
        }
    }

    pub fn pending(because: String) -> Judgement {
        Judgement {
            level: Level::Pending,
            policy: None,
            because,
            grounds: None,
        }
    }

    pub fn fail(policy: Policy, because: String) -> Judgement {
        Judgement {
            level: Level::Fail,
            policy: Some(policy),
            because,
            grounds: None,
        }
    }

    pub fn unknown(level: Level, policy: Policy, because: String) -> Judgement {
        // A pass can not come in by this door; the worst reading of "unknown" is an error.
        let level = if matches!(level, Level::Pass) {
            Level::Error
        } else {
            level
        };
        Judgement {
            level,
            policy: Some(policy),
            because,
            grounds: None,
        }
    }

    /// The same, and where nothing can be said yet, what that leads to once the bake is over: nothing else than waiting, or going on.
    pub(in crate::run) fn while_pending(self, policy: Policy) -> Judgement {
        let goes_on = self.level == Level::Pending && policy == Policy::Advance;
        Judgement {
            policy: if goes_on { Some(Policy::Advance) } else { self.policy },
            ..self
        }
    }

    /// The same with the arithmetic behind it.
    pub(in crate::run) fn on(self, grounds: Grounds) -> Judgement {
        Judgement {
            grounds: Some(Box::new(grounds)),
            ..self
        }
    }

    pub fn grounds(&self) -> Option<&Grounds> {
        self.grounds.as_deref()
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// What it leads to once it has lasted for the gate's `for`.
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// One sentence for people.
    pub fn because(&self) -> &str {
        &self.because
    }

    pub fn is_pass(&self) -> bool {
        self.level == Level::Pass
    }

    /// Whether a bake may count while this is the newest judgement: nothing is breached, nothing unknown.
    pub fn lets_bake_count(&self) -> bool {
        match self.level {
            Level::Pass | Level::Pending => true,
            Level::NoData | Level::Inconclusive | Level::Error => self.policy == Some(Policy::Advance),
            Level::Fail => false,
        }
    }

    /// Whether it opens the gate: a pass, or what is unknown or not known yet where its policy was written out as `advance`.
    pub fn opens(&self) -> bool {
        self.is_pass()
            || (self.policy == Some(Policy::Advance)
                && matches!(
                    self.level,
                    Level::Pending | Level::NoData | Level::Inconclusive | Level::Error
                ))
    }
}

/// What a node must do now. The order is severity: of several, the worst acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Advance,
    /// Stay; go on by itself on recovery.
    Hold,
    /// A person decides.
    Ask,
    RollBack,
}

impl From<Policy> for Verdict {
    fn from(policy: Policy) -> Verdict {
        match policy {
            Policy::Advance => Verdict::Advance,
            Policy::Hold => Verdict::Hold,
            Policy::Ask => Verdict::Ask,
            Policy::Rollback => Verdict::RollBack,
        }
    }
}

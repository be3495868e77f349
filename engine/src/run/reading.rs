//! What the world answered to one question of a gate: raw evidence, not yet judged.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use serde::{Deserialize, Serialize};

/// One answer, with the instant at which it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    pub at: Timestamp,
    pub answer: Answer,
}

/// The forms that evidence takes. Anything that is not an answer is an [`Answer::Error`], never left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Answer {
    /// Numbers of a metric, one sample an arm.
    Metric {
        candidate: Sample,
        baseline: Option<Sample>,
    },
    /// Requests since the share last changed, one count an arm; and those of each kind, where kinds are told apart.
    Counts {
        candidate: Counts,
        baseline: Option<Counts>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kinds: Vec<KindCounts>,
    },
    /// A gauge over time, an arm each; `restarts` counts the candidate's, where the gate asks for it.
    Course {
        candidate: Course,
        baseline: Option<Course>,
        restarts: Option<Course>,
    },
    /// Requests over several windows.
    Budget { reserve: Option<Counts>, burn: Vec<Burn> },
    /// What a Kayenta server has come to.
    Analysis(Box<Analysis>),
    /// How the platform stands in the region.
    Health {
        is_settled: bool,
        diagnosis: Option<String>,
    },
    /// The newest run of another workflow that the gate means; none where there is none.
    Completed { newest: Option<OtherRun> },
    /// A question with yes or no (HTTP check, command); `detail` says what came back, in a short line.
    Check { passed: bool, detail: String },
    /// The question could not be answered; `why` is a lower-case phrase without secrets.
    Error { why: String },
}

/// How another run stands, by its row in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherRun {
    pub run: String,
    /// In the word of lists and exit codes.
    pub outcome: String,
    /// The instant of its newest entry.
    pub at: Timestamp,
}

/// All requests of one arm in a window, and parts of them: the bad ones, or those that were at most so slow for each boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// How far back was counted.
    pub window: Duration,
    pub total: Sample,
    pub parts: Vec<Sample>,
}

/// The requests of one kind in both arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindCounts {
    pub name: String,
    pub candidate: Counts,
    pub baseline: Option<Counts>,
}

impl Answer {
    /// Requests of several kinds, and all of them together.
    pub fn of_kinds(kinds: Vec<KindCounts>) -> Answer {
        let has_baseline = kinds.iter().any(|kind| kind.baseline.is_some());
        Answer::Counts {
            candidate: Counts::together(kinds.iter().map(|kind| &kind.candidate)),
            baseline: has_baseline.then(|| Counts::together(kinds.iter().filter_map(|kind| kind.baseline.as_ref()))),
            kinds,
        }
    }
}

impl Counts {
    /// The sums; a kind without a series adds nothing, and where none has one, there is no number.
    fn together<'a>(kinds: impl Iterator<Item = &'a Counts>) -> Counts {
        let sum = |sum: Sample, next: &Sample| Sample {
            value: match (sum.value, next.value) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            },
            samples: None,
            at: sum.at.max(next.at),
            query: sum.query,
        };
        let nothing = || Sample {
            value: None,
            samples: None,
            at: None,
            query: "the sum over all kinds".to_owned(),
        };
        let start = Counts {
            window: Duration::ZERO,
            total: nothing(),
            parts: Vec::new(),
        };
        kinds.fold(start, |mut all, counts| {
            all.window = all.window.max(counts.window);
            all.total = sum(all.total, &counts.total);
            all.parts.resize_with(all.parts.len().max(counts.parts.len()), nothing);
            all.parts = all
                .parts
                .into_iter()
                .enumerate()
                .map(|(at, part)| match counts.parts.get(at) {
                    Some(next) => sum(part, next),
                    None => part,
                })
                .collect();
            all
        })
    }
}

/// One pair of windows of a burn-rate alarm; the parts are the bad requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Burn {
    pub long: Counts,
    pub short: Counts,
    /// The baseline's requests in the long window, where it serves too.
    pub baseline: Option<Counts>,
}

/// An analysis by a Kayenta server, in its own words: the newest state of it, which need not be its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Kayenta's name for it; none where there was too little to begin one.
    pub execution: Option<String>,
    /// The window that is analysed.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Points of a series in it.
    pub points: u64,
    pub is_complete: bool,
    /// Of the execution, as in `running`, `succeeded`, `terminal`; it says nothing about the candidate.
    pub status: String,
    pub score: Option<f64>,
    /// `Pass`, `Marginal` or `Fail`.
    pub classification: Option<String>,
    /// Why the score is what it is, or what went wrong.
    pub reason: Option<String>,
    /// The worst first; of very many the first hundred.
    pub metrics: Vec<Classified>,
    /// The request as it was sent.
    pub query: String,
}

/// One metric of an analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Classified {
    pub name: String,
    /// As in `Pass`, `High`, `Low`, `Nodata`, `NodataFailMetric`, `Error`.
    pub classification: String,
    pub is_critical: bool,
}

/// The course of a gauge, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Course {
    /// The query as it was sent.
    pub query: String,
    pub step: Duration,
    pub points: Vec<Point>,
}

/// One finite value of a course; what a source gave as NaN is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point(pub Timestamp, pub f64);

/// One arm's number.
///
/// *Guarantees*: two samples are equal when they are written alike: a NaN equals itself, so that equal journals give equal states.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// None: the source answered, with no data. NaN and infinities are written as text, so that a journal keeps them.
    #[serde(with = "number")]
    pub value: Option<f64>,
    /// How many samples stand behind the value, where the metric can tell.
    #[serde(with = "number")]
    pub samples: Option<f64>,
    /// The instant of the data itself, as the source reports it; older than two of its steps is stale.
    pub at: Option<Timestamp>,
    /// The query as it was sent.
    pub query: String,
}

impl PartialEq for Sample {
    fn eq(&self, other: &Sample) -> bool {
        let bits = |number: Option<f64>| number.map(|number| if number.is_nan() { f64::NAN } else { number }.to_bits());
        bits(self.value) == bits(other.value)
            && bits(self.samples) == bits(other.samples)
            && self.at == other.at
            && self.query == other.query
    }
}

/// JSON has no NaN; a journal must not lose one.
mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value
            .map(|number| {
                if number.is_finite() {
                    Written::Number(number)
                } else {
                    Written::Text(number.to_string())
                }
            })
            .serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        match Option::<Written>::deserialize(deserializer)? {
            None => Ok(None),
            Some(Written::Number(number)) => Ok(Some(number)),
            Some(Written::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn a_sample_keeps_nan_infinity_and_nothing_apart() {
        for value in [Some(f64::NAN), Some(f64::INFINITY), Some(0.25), None] {
            let sample = Sample {
                value,
                samples: None,
                at: None,
                query: "q".into(),
            };
            let back: Sample = serde_json::from_str(&serde_json::to_string(&sample).unwrap()).unwrap();
            assert_eq!(back.value.map(f64::to_bits), value.map(f64::to_bits));
        }
    }
}

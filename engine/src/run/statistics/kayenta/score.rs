//! Labels of many metrics become one score, and the score a grade.

use super::classify::{Classification, Label};

/// A group of metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Of 100; what the weighted groups leave is shared by the others.
    pub weight: Option<f64>,
    pub metrics: Vec<Classification>,
}

/// How a score compares with the two thresholds, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    Pass,
    Marginal,
    Fail,
}

/// What the canary is worth, 0 to 100, rounded to two decimals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score(pub f64);

/// A score with the scores of its groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub total: Score,
    pub groups: Vec<f64>,
}

impl Score {
    pub fn grade(self, pass: f64, marginal: f64) -> Grade {
        if self.0 >= pass {
            Grade::Pass
        } else if self.0 >= marginal {
            Grade::Marginal
        } else {
            Grade::Fail
        }
    }
}

/// Scores groups: what passes over what was labelled; nothing where a critical metric does not pass or half of all are silent.
pub fn score(groups: &[Group]) -> Scored {
    let scores: Vec<f64> = groups.iter().map(of_group).collect();
    let all = || groups.iter().flat_map(|group| &group.metrics);
    let is_critical = all().any(|metric| metric.is_critical && metric.label != Label::Pass);
    let silent = all().filter(|metric| metric.label == Label::Nodata).count();
    let total = if is_critical || 2 * silent >= all().count() {
        0.0
    } else {
        let weighted: f64 = groups.iter().filter_map(|group| group.weight).sum();
        let others = groups.iter().filter(|group| group.weight.is_none()).count();
        let share = (100.0 - weighted) / others as f64;
        groups
            .iter()
            .zip(&scores)
            .map(|(group, score)| score * group.weight.unwrap_or(share) / 100.0)
            .sum()
    };
    Scored {
        total: Score((total * 100.0).round() / 100.0),
        groups: scores,
    }
}

/// A group in which nothing was labelled counts in full: Kayenta's rule, and one of its gaps.
fn of_group(group: &Group) -> f64 {
    let counted = |label: Label| group.metrics.iter().filter(|metric| metric.label == label).count() as f64;
    let passed = counted(Label::Pass);
    let all = passed + counted(Label::High) + counted(Label::Low) + counted(Label::NodataFailMetric);
    if all > 0.0 { passed / all * 100.0 } else { 100.0 }
}

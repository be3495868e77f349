//! `kayenta`: the score and the label of a Kayenta server's judge. Its history is why the label counts and not the status of the execution:
//! a judgement below marginal still ends as succeeded, an error of the judge drops the metric, and half of the metrics may be silent.

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::KayentaGate;

use super::{Circumstances, unknown};
use crate::run::reading::{Analysis, Classified};
use crate::run::verdict::{Grounds, Judgement, Level};

/// Judges one analysis.
pub(super) fn judged(gate: &KayentaGate, analysis: &Analysis, of: &Circumstances<'_>) -> Judgement {
    let unknown = |level: Level, because: String| unknown(level, because, Duration::ZERO, of);
    let Some(execution) = &analysis.execution else {
        return Judgement::pending(format!(
            "{} of {} points since the share changed, too few for an analysis",
            analysis.points, gate.min_samples
        ));
    };
    if analysis.from < of.since {
        return Judgement::pending(format!(
            "Kayenta's execution {execution} is about the time before the share changed"
        ));
    }
    if !analysis.is_complete {
        return Judgement::pending(format!(
            "Kayenta still analyses (execution {execution} is {})",
            analysis.status
        ));
    }
    if !analysis.status.eq_ignore_ascii_case("succeeded") {
        let why = analysis
            .reason
            .as_ref()
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        let because = format!("Kayenta's execution {execution} ended as {}{why}", analysis.status);
        return unknown(Level::Error, because);
    }
    let (score, label) = match (analysis.score, analysis.classification.as_deref()) {
        (Some(score), Some(label)) if (0.0..=100.0).contains(&score) => (score, label),
        (Some(score), Some(_)) => {
            return unknown(
                Level::Error,
                format!("Kayenta's score is {score}, and 0 to 100 are possible"),
            );
        }
        _ => return unknown(Level::Error, format!("Kayenta's execution {execution} has no score")),
    };
    let grounds = Grounds::new("Kayenta's score", score, f64::from(gate.pass));
    let seen = Seen::of(&analysis.metrics);
    let said = format!("Kayenta's score is {score}, {}{}", label.to_lowercase(), seen.told());
    let judgement = match label {
        "Pass" => match seen.silence() {
            Some((level, why)) => unknown(level, format!("{said}: {why}")),
            // Its thresholds were sent along; a label that does not fit them is of another analysis.
            None if score < f64::from(gate.pass) => {
                unknown(Level::Error, format!("{said}, though {} is needed to pass", gate.pass))
            }
            None => Judgement::pass(said),
        },
        "Marginal" => unknown(Level::Inconclusive, said),
        // A score of nothing because nothing was measured says nothing about the candidate.
        "Fail" if seen.harmful == 0 && seen.silent > 0 => unknown(
            Level::NoData,
            format!("{said}: no metric was found worse, some had no data"),
        ),
        "Fail" => Judgement::fail(super::failing(of.gate.on_fail), said),
        other => unknown(Level::Error, format!("Kayenta's label `{other}` is not known")),
    };
    judgement.on(grounds)
}

/// The metrics by what the judge found.
#[derive(Default)]
struct Seen<'a> {
    all: usize,
    harmful: usize,
    silent: usize,
    broken: usize,
    /// Silent, and the configuration says that it must not be.
    must_speak: usize,
    /// The worst ones by name.
    named: Vec<&'a Classified>,
}

impl<'a> Seen<'a> {
    fn of(metrics: &'a [Classified]) -> Seen<'a> {
        let mut seen = Seen::default();
        for metric in metrics {
            seen.all += 1;
            match metric.classification.as_str() {
                "Pass" => continue,
                "High" | "Low" => seen.harmful += 1,
                "Nodata" => {
                    seen.silent += 1;
                    seen.must_speak += usize::from(metric.is_critical);
                }
                "NodataFailMetric" => {
                    seen.silent += 1;
                    seen.must_speak += 1;
                }
                // `Error`, and words of a judge to come.
                _ => seen.broken += 1,
            }
            seen.named.push(metric);
        }
        seen
    }

    /// Why a pass is none: what was not measured cannot have passed.
    fn silence(&self) -> Option<(Level, String)> {
        if self.broken > 0 {
            return Some((Level::Error, "the judge could not work out every metric".to_owned()));
        }
        if self.must_speak > 0 {
            return Some((Level::NoData, "a metric that must have data has none".to_owned()));
        }
        (self.silent == self.all).then(|| (Level::NoData, "no metric had data".to_owned()))
    }

    fn told(&self) -> String {
        const NAMED_MAX: usize = 3;
        let named: Vec<String> = self
            .named
            .iter()
            .take(NAMED_MAX)
            .map(|metric| {
                let critical = if metric.is_critical { ", critical" } else { "" };
                format!("{} ({}{critical})", metric.name, metric.classification)
            })
            .collect();
        let more = match self.named.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        if named.is_empty() {
            format!("; {} metrics, all of them pass", self.all)
        } else {
            format!("; of {} metrics: {}{more}", self.all, named.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use meridian_workflows::share::Share;
    use meridian_workflows::workflow::{Gate, GateKind, KayentaGate, Policy};
    use serde_json::json;

    use super::super::{Circumstances, judge};
    use crate::run::reading::{Analysis, Answer, Classified, Reading};
    use crate::run::verdict::{Judgement, Level};

    fn gate() -> Gate {
        let kind: KayentaGate = serde_json::from_value(json!({
            "address": "https://kayenta.example.com", "token": null, "canaryConfigId": "c", "application": null,
            "metricsAccount": null, "storageAccount": null, "configurationAccount": null,
            "scopes": {}, "lookback": null, "delay": "1m", "step": "1m", "minSamples": 50,
            "pass": 95, "marginal": 75, "completesWithin": "15m"
        }))
        .unwrap();
        Gate {
            kind: GateKind::Kayenta(kind),
            every: meridian_workflows::duration::Duration::from_secs(300),
            breached_for: meridian_workflows::duration::Duration::ZERO,
            initial_delay: meridian_workflows::duration::Duration::ZERO,
            timeout: meridian_workflows::duration::Duration::from_secs(60),
            on_no_data: Policy::Hold,
            on_error: Policy::Hold,
            on_fail: Policy::Rollback,
            on_inconclusive: Policy::Ask,
            on_pending: Policy::Hold,
            from: Share::ZERO,
            hold_for: meridian_workflows::duration::Duration::from_secs(60),
            dry_run: false,
        }
    }

    fn ended(score: f64, label: &str, metrics: &[(&str, bool)]) -> Analysis {
        let classified = |(index, (classification, is_critical)): (usize, &(&str, bool))| Classified {
            name: format!("m{index}"),
            classification: (*classification).to_owned(),
            is_critical: *is_critical,
        };
        Analysis {
            execution: Some("01ABC".to_owned()),
            from: "2026-03-02T10:00:00Z".parse().unwrap(),
            to: "2026-03-02T11:00:00Z".parse().unwrap(),
            points: 60,
            is_complete: true,
            status: "succeeded".to_owned(),
            score: Some(score),
            classification: Some(label.to_owned()),
            reason: None,
            metrics: metrics.iter().enumerate().map(classified).collect(),
            query: "{}".to_owned(),
        }
    }

    fn judged(analysis: Analysis) -> Judgement {
        let (gate, metrics) = (gate(), BTreeMap::new());
        let now: Timestamp = "2026-03-02T11:01:00Z".parse().unwrap();
        let of = Circumstances {
            since: "2026-03-02T10:00:00Z".parse().unwrap(),
            ..Circumstances::alone(&gate, &metrics, now)
        };
        let reading = Reading {
            at: now,
            answer: Answer::Analysis(Box::new(analysis)),
        };
        judge(&reading, &of)
    }

    #[test]
    fn the_label_decides_and_not_the_status() {
        let said = judged(ended(100.0, "Pass", &[("Pass", false), ("Nodata", false)]));
        assert_eq!((said.level(), said.policy()), (Level::Pass, None), "{}", said.because());
        let said = judged(ended(80.0, "Marginal", &[("High", false), ("Pass", false)]));
        assert_eq!((said.level(), said.policy()), (Level::Inconclusive, Some(Policy::Ask)));
        // Kayenta calls this execution succeeded as well.
        let said = judged(ended(33.33, "Fail", &[("High", true), ("Pass", false)]));
        assert_eq!((said.level(), said.policy()), (Level::Fail, Some(Policy::Rollback)));
        assert_eq!(
            said.because(),
            "Kayenta's score is 33.33, fail; of 2 metrics: m0 (High, critical)"
        );
        let grounds = said.grounds().unwrap();
        assert_eq!((grounds.statistic, grounds.threshold), (33.33, 95.0));
    }

    #[test]
    fn what_was_not_measured_never_passes_and_never_goes_back() {
        let level = |analysis: Analysis| judged(analysis).level();
        assert_eq!(
            level(ended(100.0, "Pass", &[("NodataFailMetric", false), ("Pass", false)])),
            Level::NoData
        );
        assert_eq!(
            level(ended(100.0, "Pass", &[("Nodata", true), ("Pass", false)])),
            Level::NoData
        );
        assert_eq!(level(ended(100.0, "Pass", &[("Nodata", false)])), Level::NoData);
        assert_eq!(level(ended(100.0, "Pass", &[])), Level::NoData);
        assert_eq!(
            level(ended(100.0, "Pass", &[("Error", true), ("Pass", false)])),
            Level::Error
        );
        assert_eq!(
            level(ended(0.0, "Fail", &[("Nodata", false), ("Pass", false)])),
            Level::NoData
        );
        assert_eq!(
            level(ended(94.0, "Pass", &[("Pass", false)])),
            Level::Error,
            "other thresholds"
        );
        assert_eq!(level(ended(f64::NAN, "Pass", &[("Pass", false)])), Level::Error);
        assert_eq!(level(ended(100.0, "Splendid", &[("Pass", false)])), Level::Error);
        let passing = || ended(100.0, "Pass", &[("Pass", false)]);
        assert_eq!(
            level(Analysis {
                score: None,
                ..passing()
            }),
            Level::Error
        );
        assert_eq!(
            level(Analysis {
                classification: None,
                ..passing()
            }),
            Level::Error
        );
        for status in ["terminal", "canceled", "failed_continue", ""] {
            let status = status.to_owned();
            assert_eq!(level(Analysis { status, ..passing() }), Level::Error);
        }
    }

    #[test]
    fn an_analysis_that_goes_on_or_is_older_than_the_share_says_nothing() {
        let passing = || ended(100.0, "Pass", &[("Pass", false)]);
        let is_complete = false;
        assert_eq!(
            judged(Analysis {
                is_complete,
                ..passing()
            })
            .level(),
            Level::Pending
        );
        let from = "2026-03-02T09:59:59Z".parse().unwrap();
        assert_eq!(judged(Analysis { from, ..passing() }).level(), Level::Pending);
        assert_eq!(
            judged(Analysis {
                execution: None,
                ..passing()
            })
            .level(),
            Level::Pending
        );
    }
}

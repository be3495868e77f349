//! A gate's readings as people read them: the number in its unit, the limit that it must not cross, and how it got there.

use std::collections::{HashMap, VecDeque};

use meridian_engine::run::entry::Entry;
use meridian_engine::run::event::Event;
use meridian_engine::run::reading::{Answer, Reading};
use meridian_workflows::expression::{Expression, Predicate, Scope, Unit, Values};
use meridian_workflows::plan::{GateId, NodeId};
use meridian_workflows::workflow::{MetricGate, MetricUnit};

/// Readings that a sparkline shows.
const KEPT: usize = 16;

/// The newest readings of every gate, fed entry by entry.
#[derive(Clone, Debug, Default)]
pub struct History {
    readings: HashMap<(NodeId, GateId), VecDeque<Option<f64>>>,
}

impl History {
    /// Takes the readings of one entry in.
    pub fn record(&mut self, entry: &Entry) {
        for event in &entry.events {
            if let Event::GateRead {
                node, gate, reading, ..
            } = event
                && let Answer::Metric { candidate, .. } = &reading.answer
            {
                let values = self.readings.entry((*node, *gate)).or_default();
                if values.len() == KEPT {
                    values.pop_front();
                }
                values.push_back(candidate.value);
            }
        }
    }

    /// The newest readings of a gate in one node, oldest first; none where there was no data.
    pub fn of(&self, node: NodeId, gate: GateId) -> Vec<Option<f64>> {
        self.readings
            .get(&(node, gate))
            .map(|values| values.iter().copied().collect())
            .unwrap_or_default()
    }
}

/// A number in its metric's unit: `0.42%`, `182ms`, `420Mi`, `40/s`.
pub fn number(value: f64, unit: &MetricUnit) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    match unit {
        MetricUnit::Ratio => format!("{}%", short(value * 100.0)),
        MetricUnit::Percent => format!("{}%", short(value)),
        MetricUnit::Seconds if value.abs() < 1.0 => format!("{}ms", short(value * 1_000.0)),
        MetricUnit::Seconds => format!("{}s", short(value)),
        MetricUnit::Bytes => bytes(value),
        MetricUnit::Count => short(value),
        MetricUnit::PerSecond => format!("{}/s", short(value)),
        MetricUnit::Custom(name) => format!("{} {name}", short(value)),
    }
}

/// Three leading digits, without zeros at the end.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.01 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn bytes(value: f64) -> String {
    let steps = [
        ("Ti", 1024.0 * 1024.0 * 1024.0 * 1024.0),
        ("Gi", 1024.0 * 1024.0 * 1024.0),
        ("Mi", 1024.0 * 1024.0),
        ("Ki", 1024.0),
    ];
    steps.into_iter().find(|(_, size)| value.abs() >= *size).map_or_else(
        || format!("{}B", short(value)),
        |(unit, size)| format!("{}{unit}", short(value / size)),
    )
}

/// Where a threshold lies for the baseline at hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Breached above this value.
    Above(f64),
    /// Breached below it.
    Below(f64),
}

impl Limit {
    /// The value at which a condition over `candidate` begins to hold, the baseline and the samples as read.
    ///
    /// It is found by halving, not by reading the expression, so that any condition that breaks on one side shows its limit.
    /// None when it has no such side, or needs what was not read.
    pub fn of(condition: &str, unit: &MetricUnit, baseline: Option<f64>, samples: Option<f64>) -> Option<Limit> {
        let unit = expression_unit(unit);
        let scope = Scope::new()
            .with("candidate", unit.clone())
            .with("baseline", unit)
            .with("samples", Unit::Count);
        let condition = Expression::parse(condition).ok()?.predicate(&scope).ok()?;
        let holds = |candidate: f64| holds(&condition, candidate, baseline, samples);
        let (lowest, highest) = (1e-9, 1e15);
        let (at_lowest, at_highest) = (holds(lowest)?, holds(highest)?);
        if at_lowest == at_highest {
            return None;
        }
        let (mut low, mut high) = (lowest, highest);
        for _ in 0..80 {
            // The geometric mean: limits lie anywhere between a thousandth and a billion.
            let middle = (low * high).sqrt();
            if holds(middle)? == at_lowest {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(if at_highest {
            Limit::Above(low)
        } else {
            Limit::Below(high)
        })
    }

    /// `above 1%`.
    pub fn sentence(self, unit: &MetricUnit) -> String {
        match self {
            Limit::Above(value) => format!("above {}", number(value, unit)),
            Limit::Below(value) => format!("below {}", number(value, unit)),
        }
    }

    fn value(self) -> f64 {
        match self {
            Limit::Above(value) | Limit::Below(value) => value,
        }
    }
}

fn holds(condition: &Predicate, candidate: f64, baseline: Option<f64>, samples: Option<f64>) -> Option<bool> {
    let mut values = Values::new().with("candidate", candidate);
    if let Some(baseline) = baseline {
        values = values.with("baseline", baseline);
    }
    if let Some(samples) = samples {
        values = values.with("samples", samples);
    }
    condition.holds(&values).ok()
}

fn expression_unit(unit: &MetricUnit) -> Unit {
    match unit {
        MetricUnit::Ratio => Unit::Ratio,
        MetricUnit::Percent => Unit::Percent,
        MetricUnit::Seconds => Unit::Seconds,
        MetricUnit::Bytes => Unit::Bytes,
        MetricUnit::Count => Unit::Count,
        MetricUnit::PerSecond => Unit::PerSecond,
        MetricUnit::Custom(name) => Unit::custom(name.as_str()),
    }
}

/// Where a condition of a gate begins to hold, for the numbers that were read.
pub fn limit(condition: &str, unit: &MetricUnit, reading: &Reading) -> Option<Limit> {
    let Answer::Metric { candidate, baseline } = &reading.answer else {
        return None;
    };
    let baseline = baseline.as_ref().and_then(|sample| sample.value);
    Limit::of(condition, unit, baseline, candidate.samples)
}

/// The worst threshold of a gate with what it does, for the numbers that were read.
pub fn worst_limit(gate: &MetricGate, unit: &MetricUnit, reading: &Reading) -> Option<(&'static str, Limit)> {
    [
        ("rolls back", &gate.rollback_when),
        ("asks", &gate.ask_when),
        ("holds", &gate.hold_when),
    ]
    .into_iter()
    .find_map(|(what, condition)| limit(condition.as_deref()?, unit, reading).map(|limit| (what, limit)))
}

/// How near a value has come to its limit: `▕███░░░░░▏`, full where it is breached.
pub fn gauge(value: f64, limit: Limit, cells: usize) -> String {
    let part = match limit {
        Limit::Above(limit) => value / limit,
        Limit::Below(limit) => limit / value,
    };
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 1.0 };
    let full = (part * cells as f64).round() as usize;
    format!("▕{}{}▏", "█".repeat(full), "░".repeat(cells.saturating_sub(full)))
}

/// The readings as a row of little bars, against the larger of the largest one and the limit; `·` where there was no data.
pub fn sparkline(values: &[Option<f64>], limit: Option<Limit>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = values
        .iter()
        .flatten()
        .copied()
        .chain(limit.map(Limit::value))
        .filter(|value| value.is_finite())
        .fold(0.0_f64, f64::max);
    let bar = |value: f64| {
        let part = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
        BARS[((part * 7.0).round() as usize).min(7)]
    };
    values
        .iter()
        .map(|value| value.filter(|value| !value.is_nan()).map_or('·', bar))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Limit, gauge, number, sparkline};
    use meridian_workflows::workflow::MetricUnit;

    #[test]
    fn numbers_carry_their_unit() {
        assert_eq!(number(0.0042, &MetricUnit::Ratio), "0.42%");
        assert_eq!(number(0.182, &MetricUnit::Seconds), "182ms");
        assert_eq!(number(440_401_920.0, &MetricUnit::Bytes), "420Mi");
        assert_eq!(number(40.0, &MetricUnit::PerSecond), "40/s");
        assert_eq!(number(f64::NAN, &MetricUnit::Count), "NaN");
        assert_eq!(number(0.0, &MetricUnit::Ratio), "0%");
    }

    #[test]
    fn the_limit_of_any_one_sided_condition_is_found() {
        let limit = |text, baseline| Limit::of(text, &MetricUnit::Ratio, baseline, None);
        let shown = |text, baseline| limit(text, baseline).map(|limit| limit.sentence(&MetricUnit::Ratio));
        assert_eq!(
            shown("candidate > percent(1) || candidate > 2 * baseline", Some(0.003)).as_deref(),
            Some("above 0.6%")
        );
        assert_eq!(shown("candidate < 0.995", None).as_deref(), Some("below 99.5%"));
        assert_eq!(limit("candidate > 2 * baseline", None), None);
        assert_eq!(limit("true", None), None);
        assert_eq!(limit("candidate >", None), None);
    }

    #[test]
    fn bars_show_how_near_the_limit_is() {
        assert_eq!(gauge(0.5, Limit::Above(1.0), 8), "▕████░░░░▏");
        assert_eq!(gauge(3.0, Limit::Above(1.0), 4), "▕████▏");
        assert_eq!(gauge(f64::NAN, Limit::Below(1.0), 4), "▕████▏");
        let values = [Some(0.0), Some(0.5), None, Some(1.0)];
        assert_eq!(sparkline(&values, Some(Limit::Above(1.0))), "▁▅·█");
    }
}

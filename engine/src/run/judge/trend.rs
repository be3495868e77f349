//! `trend`: whether a rising resource meets its limit too soon: candidate less baseline, block by block.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Block, MetricUnit, TrendGate};

use super::course::{by_instant, fresh};
use super::{Circumstances, not_in_the_plan, shown, unknown};
use crate::run::reading::Course;
use crate::run::statistics::trend::{theil_sen, until_exhausted};
use crate::run::verdict::{Grounds, Judgement, Level};

/// Fewer blocks are no trend.
const BLOCKS_MIN: usize = 8;
/// A course is cut into about as many: long blocks have forgotten the one before.
const BLOCKS: usize = 12;
/// Two-sided, so that the lower bound alone is wrong once in a hundred courses.
const CONFIDENCE: f64 = 0.98;

/// Judges the course since the candidate's first traffic, after the gate's initial delay and the last restart.
pub(super) fn judged(
    gate: &TrendGate,
    candidate: &Course,
    baseline: Option<&Course>,
    restarts: Option<&Course>,
    of: &Circumstances<'_>,
) -> Judgement {
    let Some(metric) = of.metrics.get(&gate.query) else {
        return not_in_the_plan(&gate.query, of);
    };
    let grace = gate.step.saturating_mul(3);
    if let Err((level, because)) = fresh("candidate", candidate, gate.step, of) {
        return unknown(level, because, grace, of);
    }
    if gate.restarts.is_some() && restarts.is_none_or(|course| course.points.is_empty()) {
        let because = "how often it restarted is not known".to_owned();
        return unknown(Level::NoData, because, grace, of);
    }
    let begins = begins(gate, restarts, of);
    let own: Vec<(Timestamp, f64)> = by_instant(candidate)
        .into_iter()
        .filter(|(at, _)| *at >= begins)
        .collect();
    let Some(now) = blocks(&own, gate.block).last().map(|block| block.1) else {
        return Judgement::pending(format!("no point since {begins}"));
    };
    if now >= gate.limit {
        let because = format!(
            "{} and the limit is {}: it is exhausted",
            shown(now, &metric.unit),
            shown(gate.limit, &metric.unit)
        );
        let grounds = Grounds::new("limit", now, gate.limit);
        return Judgement::fail(super::failing(of.gate.on_fail), because).on(grounds);
    }
    let differences = match (gate.against_baseline, baseline) {
        (true, Some(baseline)) => {
            if let Err((level, because)) = fresh("baseline", baseline, gate.step, of) {
                return unknown(level, because, grace, of);
            }
            let others = by_instant(baseline);
            own.iter()
                .filter_map(|(at, value)| Some((*at, value - others.get(at)?)))
                .collect()
        }
        // At the full share there is no baseline to subtract; the candidate's own course is judged.
        (true, None) | (false, _) => own,
    };
    let blocks = blocks(&differences, gate.block);
    if blocks.len() < BLOCKS_MIN {
        let because = format!(
            "{}; {} of {BLOCKS_MIN} blocks for a trend",
            shown(now, &metric.unit),
            blocks.len()
        );
        return Judgement::pending(because);
    }
    projected(gate, now, &blocks, &metric.unit, of)
}

/// Where the course begins: neither warming up nor another life of the process belongs to it.
fn begins(gate: &TrendGate, restarts: Option<&Course>, of: &Circumstances<'_>) -> Timestamp {
    let warm = of.gate.initial_delay.after(of.exposed);
    let last = restarts.map(by_instant).and_then(|course| {
        let points: Vec<(Timestamp, f64)> = course.into_iter().collect();
        let rise = points.windows(2).rev().find(|pair| pair[0].1 != pair[1].1)?;
        Some(of.gate.initial_delay.after(rise[1].0))
    });
    let window = of.now.saturating_sub(gate.window.signed()).unwrap_or(Timestamp::MIN);
    last.map_or(warm, |last| last.max(warm)).max(window)
}

/// About a dozen blocks, each with the instant of its middle in seconds and what stands for it.
fn blocks(points: &[(Timestamp, f64)], by: Block) -> Vec<(f64, f64)> {
    let size = (points.len() / BLOCKS).max(1);
    let stands_for = |block: &[(Timestamp, f64)]| {
        let time = block
            .iter()
            .map(|(at, _)| at.as_millisecond() as f64 / 1_000.0)
            .sum::<f64>();
        let value = match by {
            Block::Mean => block.iter().map(|(_, value)| value).sum::<f64>() / block.len() as f64,
            Block::Minimum => block.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min),
        };
        (time / block.len() as f64, value)
    };
    // What is left over lies at the beginning, so that the newest block is always whole.
    let spare = points.len() % size;
    points
        .get(spare..)
        .unwrap_or_default()
        .chunks(size)
        .map(stands_for)
        .collect()
}

fn projected(
    gate: &TrendGate,
    now: f64,
    blocks: &[(f64, f64)],
    unit: &MetricUnit,
    of: &Circumstances<'_>,
) -> Judgement {
    let Some(slope) = theil_sen(blocks, CONFIDENCE) else {
        let because = "the course has no slope".to_owned();
        return unknown(Level::Inconclusive, because, Duration::ZERO, of);
    };
    let within = gate.within.as_millis() as f64 / 1_000.0;
    let left = |slope: f64| until_exhausted(now, slope, gate.limit);
    let hourly = |slope: f64| format!("{} an hour", shown(slope * 3_600.0, unit));
    let against = if gate.against_baseline {
        " against the baseline"
    } else {
        ""
    };
    let limit = shown(gate.limit, unit);
    let grounds = Grounds::new(
        "Theil and Sen's slope an hour",
        slope.low * 3_600.0,
        (gate.limit - now) / within * 3_600.0,
    )
    .spending((1.0 - CONFIDENCE) / 2.0)
    .finding(slope.low * 3_600.0, slope.median * 3_600.0, slope.high * 3_600.0);
    let reached = |slope: f64| {
        left(slope).map_or_else(
            || format!("{limit} is not reached"),
            |left| format!("{limit} is reached in {}", hours(left)),
        )
    };
    let is_too_soon = |slope: f64| left(slope).is_some_and(|left| left < within);
    if is_too_soon(slope.low) {
        let because = format!(
            "{}, rising by at least {}{against}: {} at the latest ({} as it goes now), and {} must be left",
            shown(now, unit),
            hourly(slope.low),
            reached(slope.low),
            left(slope.median).map_or_else(String::new, hours),
            gate.within
        );
        return Judgement::fail(super::failing(of.gate.on_fail), because).on(grounds);
    }
    if is_too_soon(slope.median) {
        let because = format!(
            "{}, rising by about {}{against}: {} if it goes on so, but it may be chance",
            shown(now, unit),
            hourly(slope.median),
            reached(slope.median)
        );
        return unknown(Level::Inconclusive, because, Duration::ZERO, of).on(grounds);
    }
    Judgement::pass(format!(
        "{}: {}",
        shown(now, unit),
        match left(slope.median) {
            Some(_) => format!("{} if it goes on so", reached(slope.median)),
            None => "it does not rise".to_owned(),
        }
    ))
    .on(grounds)
}

/// A projection is no appointment: two digits, in the unit that fits.
fn hours(seconds: f64) -> String {
    match seconds / 3_600.0 {
        hours if hours < 1.0 => format!("{:.0} min", hours * 60.0),
        hours if hours < 48.0 => format!("{hours:.1} h"),
        hours => format!("{:.0} days", hours / 24.0),
    }
}

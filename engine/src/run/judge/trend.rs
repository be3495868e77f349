//! `trend`: whether a rising resource meets its limit too soon: candidate less baseline, block by block.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{Block, MetricUnit, TrendGate};

use super::course::{by_instant, fresh};
use super::{Circumstances, not_in_the_plan, shown, unknown};
use crate::run::reading::Course;
use crate::run::statistics::trend::{independent_after, theil_sen, until_exhausted};
use crate::run::verdict::{Grounds, Judgement, Level};

/// Fewer blocks are no trend.
const BLOCKS_MIN: usize = 8;
/// A course is cut into about as many: long blocks have forgotten the one before.
const BLOCKS: usize = 12;
/// Two-sided, so that the lower bound alone is wrong once in a thousand courses: it is looked at again and again.
const CONFIDENCE_FAIL: f64 = 0.998;
/// The same for the upper bound, once in a hundred.
const CONFIDENCE_PASS: f64 = 0.98;
/// The means of two neighbouring blocks are correlated by at most this.
const RESEMBLANCE_MAX: f64 = 0.15;
/// So many points tell how long a course remembers; and a block is never longer than so many.
const POINTS_MIN: usize = 10;
const BLOCK_MAX: usize = 45;

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
    let dozen = (own.len() / BLOCKS).max(1);
    let Some(now) = blocks(&own, gate.block, dozen).last().map(|block| block.1) else {
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
    let blocks = blocks(&differences, gate.block, dozen.max(forgetting(baseline)));
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

/// About a dozen blocks, longer where neighbouring values resemble each other; each with the instant of its middle in seconds and what stands for it.
fn blocks(points: &[(Timestamp, f64)], by: Block, size: usize) -> Vec<(f64, f64)> {
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

/// How many points make a block that has forgotten the one before, as the baseline's course shows it: a leak is not in there.
fn forgetting(baseline: Option<&Course>) -> usize {
    let Some(course) = baseline else { return 1 };
    let values: Vec<f64> = by_instant(course).into_values().collect();
    if values.len() < POINTS_MIN {
        return 1;
    }
    (independent_after(&values, RESEMBLANCE_MAX).ceil() as usize).clamp(1, BLOCK_MAX)
}

fn projected(
    gate: &TrendGate,
    now: f64,
    blocks: &[(f64, f64)],
    unit: &MetricUnit,
    of: &Circumstances<'_>,
) -> Judgement {
    let slopes = theil_sen(blocks, CONFIDENCE_FAIL).zip(theil_sen(blocks, CONFIDENCE_PASS));
    let Some((slope, wide)) = slopes.map(|(slope, pass)| (slope, pass.high)) else {
        let because = "the course has no slope".to_owned();
        return unknown(Level::Inconclusive, because, Duration::ZERO, of);
    };
    let projection = Projection { gate, now, unit };
    let seconds = |duration: Duration| duration.as_millis() as f64 / 1_000.0;
    let ends_within =
        |slope: f64, duration: Duration| projection.left(slope).is_some_and(|left| left < seconds(duration));
    let hourly = |slope: f64| slope * 3_600.0;
    let threshold = hourly((gate.limit - now) / seconds(gate.within));
    let grounds = Grounds::new("Theil and Sen's slope an hour", hourly(slope.low), threshold)
        .spending((1.0 - CONFIDENCE_FAIL) / 2.0)
        .finding(hourly(slope.low), hourly(slope.median), hourly(slope.high));
    if ends_within(slope.low, gate.within) {
        let because = format!(
            "{} at the latest ({} as it goes now), and {} must be left",
            projection.rising("at least", slope.low),
            projection.left(slope.median).map_or_else(String::new, hours),
            gate.within
        );
        return Judgement::fail(super::failing(of.gate.on_fail), because).on(grounds);
    }
    match gate.lasts {
        Some(lasts) if ends_within(wide, lasts) => Judgement::pending(format!(
            "{} if it rises as fast as it may: that it lasts {lasts} is not proven yet",
            projection.rising("at most", wide)
        )),
        None if ends_within(slope.median, gate.within) => {
            let because = format!(
                "{} if it goes on so, but it may be chance",
                projection.rising("about", slope.median)
            );
            unknown(Level::Inconclusive, because, Duration::ZERO, of)
        }
        Some(_) | None => Judgement::pass(match projection.left(slope.median) {
            Some(_) => format!(
                "{}: {} if it goes on so",
                shown(now, unit),
                projection.reached(slope.median)
            ),
            None => format!("{}: it does not rise", shown(now, unit)),
        }),
    }
    .on(grounds)
}

/// Where a slope leads to, in words.
struct Projection<'a> {
    gate: &'a TrendGate,
    now: f64,
    unit: &'a MetricUnit,
}

impl Projection<'_> {
    /// Seconds until the limit is met.
    fn left(&self, slope: f64) -> Option<f64> {
        until_exhausted(self.now, slope, self.gate.limit)
    }

    fn reached(&self, slope: f64) -> String {
        let limit = shown(self.gate.limit, self.unit);
        self.left(slope).map_or_else(
            || format!("{limit} is not reached"),
            |left| format!("{limit} is reached in {}", hours(left)),
        )
    }

    fn rising(&self, by: &str, slope: f64) -> String {
        let against = if self.gate.against_baseline {
            " against the baseline"
        } else {
            ""
        };
        format!(
            "{}, rising by {by} {} an hour{against}: {}",
            shown(self.now, self.unit),
            shown(slope * 3_600.0, self.unit),
            self.reached(slope)
        )
    }
}

/// A projection is no appointment: two digits, in the unit that fits.
fn hours(seconds: f64) -> String {
    match seconds / 3_600.0 {
        hours if hours < 1.0 => format!("{:.0} min", hours * 60.0),
        hours if hours < 48.0 => format!("{hours:.1} h"),
        hours => format!("{:.0} days", hours / 24.0),
    }
}

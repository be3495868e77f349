//! `compare` by counts: a sequential test of bad requests (or of slow ones, for each boundary of a histogram), valid at every look.

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{CompareGate, Compared};

use super::compared::{Way, alpha, counted, percent};
use super::{Circumstances, unknown};
use crate::run::reading::Counts;
use crate::run::statistics::counts::{SequentialCounts, rate_between};
use crate::run::verdict::{Grounds, Judgement, Level};

/// How strongly the expected split is believed before the first event: 10 to 30 finds gross failures soonest.
const PRIOR: f64 = 20.0;
/// A split of requests that is as far off as this by chance alone once in a thousand looks is no chance.
const SPLIT_ALPHA: f64 = 0.001;
/// And a split is wrong only where it is off by this part of the share: no platform splits to the last request.
const SPLIT_TOLERANCE: f64 = 0.25;
/// Telemetry of rates is extrapolated: a part may exceed its whole by this much.
const ROUNDING: f64 = 1.05;

/// Judges the requests of both arms since the share last changed.
pub(super) fn judged(
    gate: &CompareGate,
    candidate: &Counts,
    baseline: Option<&Counts>,
    of: &Circumstances<'_>,
) -> Judgement {
    let grace = Duration::from_secs(120);
    let Some(baseline) = baseline else {
        return unknown(
            Level::NoData,
            "there is no reading of the baseline".to_owned(),
            grace,
            of,
        );
    };
    let arms = [("candidate", candidate), ("baseline", baseline)].map(|(name, counts)| Arm::read(name, counts));
    let [candidate, baseline] = match arms {
        [Ok(candidate), Ok(baseline)] => [candidate, baseline],
        [Err((level, because)), _] | [_, Err((level, because))] => return unknown(level, because, grace, of),
    };
    for (name, arm) in [("candidate", &candidate), ("baseline", &baseline)] {
        if arm.total < gate.min_samples as f64 {
            let because = format!("the {name} has {} of {} requests", arm.total.floor(), gate.min_samples);
            return Judgement::pending(because);
        }
    }
    if gate.traffic_check
        && let Some(because) = wrong_split(candidate.total, baseline.total, of)
    {
        return unknown(Level::Inconclusive, because, grace, of);
    }
    let parts = parts(gate, &candidate, &baseline);
    let alpha = alpha(gate, of) / parts.len().max(1) as f64;
    let found: Vec<Found> = parts.iter().map(|part| part.found(gate, alpha)).collect();
    together(found, of)
}

/// One arm's numbers, sound.
struct Arm {
    total: f64,
    parts: Vec<f64>,
}

impl Arm {
    fn read(name: &str, counts: &Counts) -> Result<Arm, (Level, String)> {
        let total = counted(&counts.total, &format!("all requests of the {name}"))?;
        let parts = counts.parts.iter().map(|sample| {
            let part = counted(sample, &format!("the {name}'s part of them"))?;
            if part > total * ROUNDING + 1.0 {
                let because =
                    format!("the {name}'s part of its requests is larger than all of them: {part} of {total}");
                return Err((Level::Error, because));
            }
            Ok(part.min(total))
        });
        let parts = parts.collect::<Result<Vec<f64>, _>>()?;
        Ok(Arm { total, parts })
    }
}

/// Where the requests did not go as the share says, nothing can be compared.
fn wrong_split(candidate: f64, baseline: f64, of: &Circumstances<'_>) -> Option<String> {
    let share = of.share?.fraction();
    let seen = candidate / (candidate + baseline);
    let test = SequentialCounts::new(&[share, 1.0 - share], 100.0)?;
    let is_chance = test.p_value(&[candidate, baseline])? > SPLIT_ALPHA;
    let is_off = (seen - share).abs() > SPLIT_TOLERANCE * share.min(1.0 - share);
    (!is_chance && is_off).then(|| {
        format!(
            "the candidate got {} of the requests, its share is {}: what is compared is not what was split",
            percent(seen),
            percent(share)
        )
    })
}

/// One comparison: bad requests of both arms among all of theirs.
struct Part {
    /// As in `bad` or `slower than 250 ms`.
    what: String,
    bad: [f64; 2],
    total: [f64; 2],
}

fn parts(gate: &CompareGate, candidate: &Arm, baseline: &Arm) -> Vec<Part> {
    let total = [candidate.total, baseline.total];
    let pairs = candidate.parts.iter().zip(&baseline.parts);
    let boundaries = match &gate.of {
        Compared::Buckets { boundaries, .. } => boundaries.as_slice(),
        Compared::Counts { .. } | Compared::Course { .. } => &[],
    };
    if boundaries.is_empty() {
        return pairs
            .map(|(candidate, baseline)| Part {
                what: "bad".to_owned(),
                bad: [*candidate, *baseline],
                total,
            })
            .collect();
    }
    pairs
        .zip(boundaries)
        .map(|((candidate, baseline), boundary)| Part {
            what: format!(
                "slower than {}",
                super::shown(*boundary, &meridian_workflows::workflow::MetricUnit::Seconds)
            ),
            bad: [total[0] - candidate, total[1] - baseline],
            total,
        })
        .collect()
}

/// What one comparison has found.
struct Found {
    harm: bool,
    /// Harm as large as the margin is ruled out.
    harmless: bool,
    p: f64,
    because: String,
    grounds: Grounds,
}

impl Part {
    fn rates(&self) -> [f64; 2] {
        [self.bad[0] / self.total[0], self.bad[1] / self.total[1]]
    }

    fn found(&self, gate: &CompareGate, alpha: f64) -> Found {
        let ways = Way::of(gate.harm);
        let alpha = alpha / ways.len() as f64;
        let [rate, baseline_rate] = self.rates();
        let (p, way) = ways
            .iter()
            .map(|way| (self.p_of_harm(*way, gate), *way))
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .unwrap_or((1.0, Way::More));
        let bounds = [0, 1].map(|arm| rate_between(self.bad[arm], self.total[arm], alpha / 2.0));
        let [own, others] = bounds.map(|bounds| bounds.unwrap_or((0.0, 1.0)));
        let harmless = ways.iter().all(|way| {
            let ratio = way.allowed_ratio(gate.margin);
            match way {
                Way::More => own.1 < ratio * others.0 + gate.floor,
                Way::Less => own.0 > ratio * others.1 - gate.floor,
            }
        });
        let ratio = if baseline_rate > 0.0 {
            format!(", {:.1} times as many", rate / baseline_rate)
        } else {
            String::new()
        };
        let because = format!(
            "{} {} of {:.0} requests, baseline {} of {:.0}{ratio}",
            percent(rate),
            self.what,
            self.total[0],
            percent(baseline_rate),
            self.total[1],
        );
        let harm = p <= alpha;
        let grounds = Grounds::new("sequential count test", p, alpha).spending(alpha).finding(
            own.0 - others.1,
            rate - baseline_rate,
            own.1 - others.0,
        );
        let because = match (harm, harmless) {
            (true, _) => format!("{because}: {} than chance and margin allow ({})", way.word(), small(p)),
            (false, true) => format!("{because}: harm beyond the margin is ruled out"),
            (false, false) => format!("{because}: neither harm nor its absence is proven yet"),
        };
        Found {
            harm,
            harmless,
            p,
            because,
            grounds,
        }
    }

    /// The sequential p-value of "no worse than the margin allows"; 1 where the harm that is seen lies within margin and floor.
    fn p_of_harm(&self, way: Way, gate: &CompareGate) -> f64 {
        let [rate, baseline_rate] = self.rates();
        let ratio = way.allowed_ratio(gate.margin);
        let beyond = way.sign() * (rate - ratio * baseline_rate) - gate.floor;
        if beyond.is_nan() || beyond <= 0.0 {
            return 1.0;
        }
        let split = self.total[0] * ratio / (self.total[0] * ratio + self.total[1]);
        // Where nothing at all is allowed (a margin of 100 % less), the smallest ratio that can be tested stands for it.
        let split = split.clamp(1e-9, 1.0 - 1e-9);
        SequentialCounts::new(&[split, 1.0 - split], PRIOR)
            .and_then(|test| test.p_value(&self.bad))
            .unwrap_or(1.0)
    }
}

/// The worst of the parts decides; only all of them together pass.
fn together(found: Vec<Found>, of: &Circumstances<'_>) -> Judgement {
    let all_harmless = !found.is_empty() && found.iter().all(|part| part.harmless);
    let worst = found.into_iter().reduce(|worst, next| {
        // What has not been ruled out is worse than what has.
        let is_worse = (next.p, next.harmless) < (worst.p, worst.harmless);
        if is_worse { next } else { worst }
    });
    match worst {
        None => unknown(Level::NoData, "nothing was counted".to_owned(), Duration::ZERO, of),
        Some(worst) if worst.harm => Judgement::fail(super::failing(of.gate.on_fail), worst.because).on(worst.grounds),
        Some(worst) if all_harmless => Judgement::pass(worst.because).on(worst.grounds),
        Some(worst) => Judgement::pending(worst.because).on(worst.grounds),
    }
}

/// A p-value for people.
pub(super) fn small(p: f64) -> String {
    match p {
        p if p >= 0.001 => format!("p = {p:.3}"),
        p if p >= 1e-6 => format!("p = {p:.6}"),
        _ => "p < 0.000001".to_owned(),
    }
}

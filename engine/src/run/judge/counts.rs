//! `compare` by counts: bad requests (or slow ones, for each boundary of a histogram) of every kind, by a test that is valid at every look.

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{CompareGate, Compared, MetricUnit};

use super::compared::{Way, alpha, counted, percent};
use super::harm::{Allowed, Pair};
use super::{Circumstances, shown, unknown};
use crate::run::reading::{Counts, KindCounts};
use crate::run::statistics::counts::{SequentialCounts, rate_between};
use crate::run::statistics::holm;
use crate::run::verdict::{Grounds, Judgement, Level};

/// How strongly a split is believed before the first request.
const PRIOR_SPLIT: f64 = 20.0;
/// A split of requests that is as far off as this by chance alone once in a thousand runs is no chance.
const SPLIT_ALPHA: f64 = 0.001;
/// And a split is wrong only where its odds are off by this factor: no platform splits to the last request.
const SPLIT_TOLERANCE: f64 = 1.25;
/// Telemetry of rates is extrapolated: a part may exceed its whole by this much.
const ROUNDING: f64 = 1.05;
const GRACE: Duration = Duration::from_secs(120);

/// What was counted: all requests, and those of each kind where kinds are told apart.
pub(super) struct Read<'a> {
    pub candidate: &'a Counts,
    pub baseline: Option<&'a Counts>,
    pub kinds: &'a [KindCounts],
}

/// Judges the requests of both arms since the share last changed.
pub(super) fn judged(gate: &CompareGate, read: &Read<'_>, of: &Circumstances<'_>) -> Judgement {
    let kinds = match kinds(gate, read) {
        Ok(kinds) => kinds,
        Err((level, because)) => return unknown(level, because, GRACE, of),
    };
    let total = [0, 1].map(|arm| kinds.iter().map(|kind| kind.total[arm]).sum::<f64>());
    for (name, total) in [("candidate", total[0]), ("baseline", total[1])] {
        if total < gate.min_samples as f64 {
            let because = format!("the {name} has {} of {} requests", total.floor(), gate.min_samples);
            return Judgement::pending(because);
        }
    }
    if gate.traffic_check
        && let Some(because) = wrong_split(total, of)
    {
        return unknown(Level::Inconclusive, because, GRACE, of);
    }
    let comparison = Comparison {
        gate,
        share: of.share.map_or(1.0, |share| share.fraction()),
        has_one_mix: has_one_mix(&kinds, total),
        parts: parts(gate, &kinds),
        kinds,
    };
    if comparison.parts.is_empty() {
        return unknown(Level::NoData, "nothing was counted".to_owned(), Duration::ZERO, of);
    }
    comparison.judged(of)
}

/// Both arms' numbers of one kind of request, sound.
struct Kind {
    /// None where all requests are one kind.
    name: Option<String>,
    total: [f64; 2],
    /// For each part the candidate's and the baseline's.
    parts: Vec<[f64; 2]>,
}

fn kinds(gate: &CompareGate, read: &Read<'_>) -> Result<Vec<Kind>, (Level, String)> {
    let Some(baseline) = read.baseline else {
        return Err((Level::NoData, "there is no reading of the baseline".to_owned()));
    };
    if gate.kinds.is_empty() {
        return Ok(vec![Kind::read(None, [read.candidate, baseline], false)?]);
    }
    let read_one = |kind: &KindCounts| {
        let Some(baseline) = &kind.baseline else {
            let because = format!("{}: there is no reading of the baseline", kind.name);
            return Err((Level::NoData, because));
        };
        Kind::read(Some(&kind.name), [&kind.candidate, baseline], true)
    };
    let kinds = read.kinds.iter().map(read_one).collect::<Result<Vec<Kind>, _>>()?;
    let is_named = |name: &String| read.kinds.iter().any(|kind| kind.name == *name);
    if let Some(missing) = gate.kinds.iter().find(|name| !is_named(name)) {
        return Err((Level::NoData, format!("{missing}: no data")));
    }
    // A kind that nobody asks for has no series; where that is true of all of them, nothing is known.
    for (arm, name) in ["candidate", "baseline"].into_iter().enumerate() {
        let is_silent = |kind: &KindCounts| match arm {
            0 => kind.candidate.total.value.is_none(),
            _ => kind.baseline.as_ref().is_none_or(|counts| counts.total.value.is_none()),
        };
        if read.kinds.iter().all(is_silent) {
            return Err((Level::NoData, format!("all requests of the {name}: no data")));
        }
    }
    let is_asked_for = |kind: &Kind| kind.total.iter().any(|total| *total > 0.0);
    Ok(kinds.into_iter().filter(is_asked_for).collect())
}

impl Kind {
    fn read(name: Option<&String>, arms: [&Counts; 2], may_be_empty: bool) -> Result<Kind, (Level, String)> {
        let of = name.map_or_else(String::new, |name| format!("{name}: "));
        let mut total = [0.0; 2];
        let mut parts = vec![[0.0; 2]; arms[0].parts.len().min(arms[1].parts.len())];
        for (at, (arm, counts)) in ["candidate", "baseline"].into_iter().zip(arms).enumerate() {
            if may_be_empty && counts.total.value.is_none_or(|total| total == 0.0) {
                continue;
            }
            total[at] = counted(&counts.total, &format!("{of}all requests of the {arm}"))?;
            for (both, sample) in parts.iter_mut().zip(&counts.parts) {
                let part = counted(sample, &format!("{of}the {arm}'s part of them"))?;
                if part > total[at] * ROUNDING + 1.0 {
                    let because = format!(
                        "{of}the {arm}'s part of its requests is larger than all of them: {part} of {}",
                        total[at]
                    );
                    return Err((Level::Error, because));
                }
                both[at] = part.min(total[at]);
            }
        }
        Ok(Kind {
            name: name.cloned(),
            total,
            parts,
        })
    }
}

/// Where the requests did not go as the share says, nothing can be compared.
fn wrong_split(total: [f64; 2], of: &Circumstances<'_>) -> Option<String> {
    let share = of.share.map(|share| share.fraction()).filter(|share| *share < 1.0)?;
    let seen = total[0] / (total[0] + total[1]);
    let odds = share / (1.0 - share);
    let is_beyond = |factor: f64| {
        let edge = odds * factor / (1.0 + odds * factor);
        let is_outside = (seen - edge) * (factor - 1.0) > 0.0;
        let p = SequentialCounts::new(&[edge, 1.0 - edge], PRIOR_SPLIT).and_then(|test| test.p_value(&total));
        is_outside && p.is_some_and(|p| p <= SPLIT_ALPHA / 2.0)
    };
    (is_beyond(SPLIT_TOLERANCE) || is_beyond(1.0 / SPLIT_TOLERANCE)).then(|| {
        format!(
            "the candidate got {} of the requests, its share is {}: what is compared is not what was split",
            percent(seen),
            percent(share)
        )
    })
}

/// Whether both arms get the same parts of each kind of request: only then do all together say what each says.
fn has_one_mix(kinds: &[Kind], total: [f64; 2]) -> bool {
    let part = total[0] / (total[0] + total[1]);
    kinds.len() == 1
        || kinds.iter().all(|kind| {
            let test = SequentialCounts::new(&[part, 1.0 - part], PRIOR_SPLIT);
            test.and_then(|test| test.p_value(&kind.total))
                .is_some_and(|p| p > SPLIT_ALPHA)
        })
}

/// One question: bad requests, or those that are slower than a boundary; each kind by itself.
struct Part {
    /// As in `bad` or `slower than 250 ms`.
    what: String,
    kinds: Vec<Pair>,
}

fn parts(gate: &CompareGate, kinds: &[Kind]) -> Vec<Part> {
    let count = kinds.iter().map(|kind| kind.parts.len()).min().unwrap_or(0);
    let pairs = |at: usize, is_slow: bool| {
        let pair = |kind: &Kind| {
            let part = kind.parts[at];
            let bad = if is_slow {
                [0, 1].map(|arm| kind.total[arm] - part[arm])
            } else {
                part
            };
            Pair { bad, total: kind.total }
        };
        kinds.iter().map(pair).collect()
    };
    match &gate.of {
        Compared::Buckets { boundaries, .. } => boundaries
            .iter()
            .take(count)
            .enumerate()
            .map(|(at, boundary)| Part {
                what: format!("slower than {}", shown(*boundary, &MetricUnit::Seconds)),
                kinds: pairs(at, true),
            })
            .collect(),
        Compared::Counts { .. } | Compared::Course { .. } => (0..count)
            .map(|at| Part {
                what: "bad".to_owned(),
                kinds: pairs(at, false),
            })
            .collect(),
    }
}

struct Comparison<'a> {
    gate: &'a CompareGate,
    share: f64,
    has_one_mix: bool,
    kinds: Vec<Kind>,
    parts: Vec<Part>,
}

/// One test among those of the gate: a kind of request, or all of them, in one question and one way.
struct Tested<'a> {
    part: &'a Part,
    /// None: all kinds together.
    kind: Option<usize>,
    way: Way,
    p: f64,
}

impl Comparison<'_> {
    fn judged(&self, of: &Circumstances<'_>) -> Judgement {
        let tests = self.tests();
        let p_values: Vec<f64> = tests.iter().map(|test| test.p).collect();
        let adjusted = holm(&p_values);
        let Some((test, p)) = tests
            .iter()
            .zip(adjusted)
            .min_by(|one, other| one.1.total_cmp(&other.1))
        else {
            return unknown(Level::NoData, "nothing was compared".to_owned(), Duration::ZERO, of);
        };
        let alpha = alpha(self.gate, of);
        if p <= alpha {
            let (because, grounds) = self.said(test.part, test.kind, p, alpha);
            let because = format!(
                "{because}: {} than chance and margin allow ({})",
                test.way.word(),
                small(p)
            );
            return Judgement::fail(super::failing(of.gate.on_fail), because).on(grounds);
        }
        match self.parts.iter().find_map(|part| self.unproven(part)) {
            Some((part, kind)) => {
                let (because, grounds) = self.said(part, kind, p, alpha);
                Judgement::pending(format!("{because}: neither harm nor its absence is proven yet")).on(grounds)
            }
            None => {
                let (because, grounds) = self.said(test.part, test.kind, p, alpha);
                Judgement::pass(format!("{because}: harm beyond the margin is ruled out")).on(grounds)
            }
        }
    }

    /// Every test with its p-value. The evidence of kinds is independent, so that of all together is their sum.
    fn tests(&self) -> Vec<Tested<'_>> {
        let fails_beyond = self.gate.fails_beyond.unwrap_or(self.gate.margin);
        let mut tests = Vec::new();
        for part in &self.parts {
            for way in Way::of(self.gate.harm) {
                // What is surely too little to matter does not fail, however sure it is.
                let matters = |pair: &Pair| !(self.gate.floor > 0.0 && pair.adds_at_most(*way, self.gate.floor));
                let evidence = |pair: &Pair| {
                    if matters(pair) {
                        pair.beyond(*way, fails_beyond)
                    } else {
                        0.0
                    }
                };
                let found: Vec<f64> = part.kinds.iter().map(evidence).collect();
                let mut tested = |kind: Option<usize>, evidence: f64| {
                    tests.push(Tested {
                        part,
                        kind,
                        way: *way,
                        p: (-evidence).exp().min(1.0),
                    });
                };
                for (kind, evidence) in found.iter().enumerate() {
                    tested(Some(kind), *evidence);
                }
                if found.len() > 1 {
                    tested(None, found.iter().sum());
                }
            }
        }
        tests
    }

    /// The first kind of request of which harm is not ruled out; none where all together may speak for each, and do.
    fn unproven<'p>(&self, part: &'p Part) -> Option<(&'p Part, Option<usize>)> {
        let ways = Way::of(self.gate.harm);
        let is_within = |pair: &Pair, room: f64| {
            let more = (self.gate.impact / self.share).max(self.gate.floor) * room;
            let margin = self.gate.margin;
            ways.iter().all(|way| pair.is_within(*way, Allowed { margin, more }))
        };
        let all = Pair::together(part.kinds.iter());
        if self.has_one_mix && is_within(&all, 1.0) {
            return None;
        }
        // A small kind may add more, so that all kinds together may add as much.
        let room = |pair: &Pair| {
            let part_of_all = pair.total[1] / all.total[1];
            (1.0 / (part_of_all * self.kinds.len() as f64)).max(1.0)
        };
        let unproven = |pair: &Pair| !is_within(pair, room(pair));
        let kind = part.kinds.iter().position(unproven)?;
        Some((part, (part.kinds.len() > 1).then_some(kind)))
    }

    /// What was seen, for people and as grounds.
    fn said(&self, part: &Part, kind: Option<usize>, p: f64, alpha: f64) -> (String, Grounds) {
        let pair = match kind {
            Some(kind) => part.kinds[kind],
            None => Pair::together(part.kinds.iter()),
        };
        let name = kind
            .and_then(|kind| self.kinds[kind].name.as_ref())
            .map_or_else(String::new, |name| format!("{name}: "));
        let [rate, others] = pair.rates();
        let ratio = if others > 0.0 {
            format!(", {:.1} times as many", rate / others)
        } else {
            String::new()
        };
        let because = format!(
            "{name}{} {} of {:.0} requests, baseline {} of {:.0}{ratio}",
            percent(rate),
            part.what,
            pair.total[0],
            percent(others),
            pair.total[1],
        );
        let grounds = Grounds::new("sequential count test", p, alpha).spending(alpha);
        let bounds = [0, 1].map(|arm| rate_between(pair.bad[arm], pair.total[arm], alpha / 2.0).unwrap_or((0.0, 1.0)));
        let [own, other] = bounds;
        let grounds = grounds.finding(own.0 - other.1, rate - others, own.1 - other.0);
        (because, grounds)
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

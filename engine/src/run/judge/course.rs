//! `compare` over time: the courses of a gauge, by means of blocks or by ranks, at a planned number of looks.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{CompareGate, Compared, CourseTest, Harm, MetricUnit};

use super::compared::{Way, alpha};
use super::counts::small;
use super::{Circumstances, not_in_the_plan, unknown};
use crate::run::reading::Course;
use crate::run::statistics::kayenta;
use crate::run::statistics::means::Looks;
use crate::run::statistics::rank::{mann_whitney, shift, shift_interval};
use crate::run::verdict::{Grounds, Judgement, Level};

/// Judges the courses of both arms since the share last changed.
pub(super) fn judged(
    gate: &CompareGate,
    candidate: &Course,
    baseline: Option<&Course>,
    of: &Circumstances<'_>,
) -> Judgement {
    let Compared::Course {
        query,
        test,
        step,
        looks,
    } = &gate.of
    else {
        let because = "the answer is a course, and the gate compares counts".to_owned();
        return unknown(Level::Error, because, Duration::ZERO, of);
    };
    let Some(metric) = of.metrics.get(query) else {
        return not_in_the_plan(query, of);
    };
    let grace = step.saturating_mul(3);
    // A fresh instance is not compared: its caches are empty and its heap is small.
    let warm = of.gate.initial_delay.after(of.exposed);
    let candidate = &later(candidate, warm);
    let baseline = baseline.map(|course| later(course, warm));
    let baseline = baseline.as_ref();
    let pairs = match pairs(candidate, baseline, *step, of) {
        Ok(pairs) => pairs,
        Err((level, because)) => return unknown(level, because, grace, of),
    };
    let planned = of.bake.as_millis() / step.as_millis().max(1);
    let planned = usize::try_from(planned.max(gate.min_samples)).unwrap_or(usize::MAX);
    let alpha = alpha(gate, of) / Way::of(gate.harm).len() as f64;
    let looks = (*looks as usize).clamp(1, planned);
    if (pairs.len() as u64) < gate.min_samples {
        return Judgement::pending(format!("{} of {} points of both arms", pairs.len(), gate.min_samples));
    }
    let compared = Compare {
        gate,
        unit: &metric.unit,
        planned,
        looks,
        alpha,
        pairs: &pairs,
    };
    match test {
        CourseTest::Means => compared.means(of),
        CourseTest::Ranks { effect } => compared.ranks(*effect, of),
        CourseTest::Kayenta => compared.kayenta(candidate, baseline, of),
    }
}

/// Values of both arms at the same instants, oldest first.
fn pairs(
    candidate: &Course,
    baseline: Option<&Course>,
    step: Duration,
    of: &Circumstances<'_>,
) -> Result<Vec<(f64, f64)>, (Level, String)> {
    let Some(baseline) = baseline else {
        return Err((Level::NoData, "there is no reading of the baseline".to_owned()));
    };
    for (name, course) in [("candidate", candidate), ("baseline", baseline)] {
        fresh(name, course, step, of)?;
    }
    let others = by_instant(baseline);
    let pairs = by_instant(candidate)
        .into_iter()
        .filter_map(|(at, own)| Some((own, *others.get(&at)?)))
        .collect::<Vec<_>>();
    if pairs.is_empty() {
        return Err((Level::NoData, "the arms have no instant in common".to_owned()));
    }
    Ok(pairs)
}

/// The course has points, finite ones, and its newest is not stale.
pub(super) fn fresh(
    name: &str,
    course: &Course,
    step: Duration,
    of: &Circumstances<'_>,
) -> Result<(), (Level, String)> {
    if course.points.iter().any(|point| !point.1.is_finite()) {
        return Err((
            Level::Error,
            format!("the {name}'s course holds a value that is no number"),
        ));
    }
    let Some(newest) = course.points.iter().map(|point| point.0).max() else {
        return Err((Level::NoData, format!("the {name} has no data")));
    };
    let age = Duration::between(newest, of.now);
    let stale_after = course.step.max(step).max(of.gate.every).saturating_mul(3);
    if age > stale_after {
        return Err((Level::NoData, format!("the {name}'s newest data is {age} old")));
    }
    Ok(())
}

/// Points by instant, whatever their order; of two at one instant the later one in the list counts.
pub(super) fn by_instant(course: &Course) -> std::collections::BTreeMap<jiff::Timestamp, f64> {
    course.points.iter().map(|point| (point.0, point.1)).collect()
}

/// The points of a course from an instant on.
fn later(course: &Course, from: Timestamp) -> Course {
    Course {
        query: course.query.clone(),
        step: course.step,
        points: course.points.iter().filter(|point| point.0 >= from).copied().collect(),
    }
}

struct Compare<'a> {
    gate: &'a CompareGate,
    unit: &'a MetricUnit,
    /// Points, when everything has been seen.
    planned: usize,
    looks: usize,
    alpha: f64,
    pairs: &'a [(f64, f64)],
}

impl Compare<'_> {
    /// How far the candidate is beyond so much harm (the larger of a part of the baseline and the floor), point by point.
    fn beyond(&self, way: Way, margin: f64) -> Vec<f64> {
        let beyond = |(own, other): &(f64, f64)| {
            // A margin on a negative baseline widens it too.
            way.sign() * (own - other) - (margin * other.abs()).max(self.gate.floor)
        };
        self.pairs.iter().map(beyond).collect()
    }

    fn means(&self, of: &Circumstances<'_>) -> Judgement {
        let ways = Way::of(self.gate.harm);
        let mut harmless = true;
        let mut newest = None;
        let looks = Looks::new(self.planned, self.looks, self.alpha);
        for way in ways {
            let look_at = |margin: f64| {
                looks
                    .as_ref()
                    .and_then(|looks| looks.newest(&self.beyond(*way, margin)))
            };
            let fails_beyond = self.gate.fails_beyond.unwrap_or(self.gate.margin);
            let (Some(look), Some(margin)) = (look_at(fails_beyond), look_at(self.gate.margin)) else {
                return self.too_few();
            };
            let grounds = Grounds::new("means of blocks", look.t, look.bound)
                .spending(look.spent)
                .finding(look.mean - look.half_width, look.mean, look.mean + look.half_width);
            let said = self.said(look.number);
            if look.t > look.bound {
                let because = format!("{said}: {} than chance and margin allow", way.word());
                return Judgement::fail(super::failing(of.gate.on_fail), because).on(grounds);
            }
            harmless &= margin.mean + margin.half_width < 0.0;
            newest = Some((said, grounds));
        }
        match newest {
            Some((said, grounds)) if harmless => {
                Judgement::pass(format!("{said}: harm beyond the margin is ruled out")).on(grounds)
            }
            Some((said, grounds)) => {
                Judgement::pending(format!("{said}: neither harm nor its absence is proven yet")).on(grounds)
            }
            None => unknown(Level::NoData, "nothing was compared".to_owned(), Duration::ZERO, of),
        }
    }

    fn ranks(&self, effect: f64, of: &Circumstances<'_>) -> Judgement {
        let size = (self.planned / self.looks).max(1);
        let number = (self.pairs.len() / size).min(self.looks);
        let seen = self.pairs.get(..number * size).unwrap_or(self.pairs);
        let (own, other): (Vec<f64>, Vec<f64>) = seen.iter().copied().unzip();
        let (Some(test), Some(shift)) = (mann_whitney(&own, &other), shift(&own, &other)) else {
            return self.too_few();
        };
        // Looked at a planned number of times, each may spend an equal part.
        let alpha = self.alpha / self.looks as f64;
        let (low, high) = shift_interval(&own, &other, 1.0 - 2.0 * alpha).unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let said = self.said(number);
        let middle = median(&other).abs();
        let largest = |margin: f64| (margin * middle).max(self.gate.floor);
        let allowed = largest(self.gate.margin);
        let fails_beyond = largest(self.gate.fails_beyond.unwrap_or(self.gate.margin));
        let mut harmless = true;
        let mut least_p = 1.0_f64;
        for way in Way::of(self.gate.harm) {
            let (p, probability, most) = match way {
                Way::More => (test.greater, test.a12, high),
                Way::Less => (test.less, 1.0 - test.a12, -low),
            };
            least_p = least_p.min(p);
            harmless &= most < allowed || (most <= allowed && allowed > 0.0);
            if p <= alpha && probability >= effect && way.sign() * shift > fails_beyond {
                let grounds = Grounds::new("Mann and Whitney's ranks", p, alpha)
                    .spending(alpha)
                    .finding(low, shift, high);
                let because = format!("{said}: {} than chance and margin allow ({})", way.word(), small(p));
                return Judgement::fail(super::failing(of.gate.on_fail), because).on(grounds);
            }
        }
        let grounds = Grounds::new("Mann and Whitney's ranks", least_p, alpha)
            .spending(alpha)
            .finding(low, shift, high);
        if harmless {
            Judgement::pass(format!("{said}: harm beyond the margin is ruled out")).on(grounds)
        } else {
            Judgement::pending(format!("{said}: neither harm nor its absence is proven yet")).on(grounds)
        }
    }

    /// Kayenta's label as it is, over all points of both arms: the first look decides, and so does every later one.
    fn kayenta(&self, candidate: &Course, baseline: Option<&Course>, of: &Circumstances<'_>) -> Judgement {
        let values = |course: &Course| by_instant(course).into_values().collect::<Vec<f64>>();
        let (own, others) = (values(candidate), baseline.map(values).unwrap_or_default());
        let metric = kayenta::Metric {
            direction: match self.gate.harm {
                Harm::More => kayenta::Direction::Increase,
                Harm::Less => kayenta::Direction::Decrease,
                Harm::Either => kayenta::Direction::Either,
            },
            allowed: Some(kayenta::Thresholds {
                decrease: 1.0 - self.gate.margin,
                increase: 1.0 + self.gate.margin,
            }),
            ..kayenta::Metric::default()
        };
        let found = kayenta::classify(&own, &others, &metric, kayenta::JUDGE);
        let effect = found.effect.unwrap_or(f64::NAN);
        let because = format!("{}: {}", self.averages(), label(found.label));
        let grounds = Grounds::new("Kayenta's judge, ratio of means", effect, 1.0 + self.gate.margin);
        let judgement = match found.label {
            kayenta::Label::Pass => Judgement::pass(because),
            kayenta::Label::High | kayenta::Label::Low => Judgement::fail(super::failing(of.gate.on_fail), because),
            kayenta::Label::Nodata | kayenta::Label::NodataFailMetric => {
                return unknown(Level::NoData, because, Duration::ZERO, of);
            }
        };
        judgement.on(grounds)
    }

    fn too_few(&self) -> Judgement {
        Judgement::pending(format!(
            "{} of {} points, too few for a look",
            self.pairs.len(),
            self.planned
        ))
    }

    fn said(&self, look: usize) -> String {
        format!("{} (look {look} of {})", self.averages(), self.looks)
    }

    fn averages(&self) -> String {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / self.pairs.len().max(1) as f64;
        let own = mean(&mut self.pairs.iter().map(|pair| pair.0));
        let other = mean(&mut self.pairs.iter().map(|pair| pair.1));
        format!(
            "candidate {}, baseline {} on average",
            super::shown(own, self.unit),
            super::shown(other, self.unit),
        )
    }
}

fn label(label: kayenta::Label) -> &'static str {
    match label {
        kayenta::Label::Pass => "Kayenta's judge says `Pass`",
        kayenta::Label::High => "Kayenta's judge says `High`",
        kayenta::Label::Low => "Kayenta's judge says `Low`",
        kayenta::Label::Nodata | kayenta::Label::NodataFailMetric => "Kayenta's judge says `Nodata`",
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

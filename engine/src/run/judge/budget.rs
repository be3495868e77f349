//! `budget`: what is left of an objective's error budget, and how fast the candidate's own requests burn it.

use meridian_workflows::duration::Duration;
use meridian_workflows::workflow::{BudgetGate, Policy, Reserve};

use super::compared::{counted, percent};
use super::{Circumstances, unknown};
use crate::run::reading::{Burn, Counts};
use crate::run::statistics::burn::{Alarm, FAST, STEADY, budget_left, burn_rate};
use crate::run::statistics::counts::rate_at_least;
use crate::run::verdict::{Grounds, Judgement, Level};

/// The alarms by their place in a reading; the slow one takes days, and no stage lasts so long unwatched.
pub const ALARMS: [Alarm; 2] = [FAST, STEADY];
/// With fewer requests than this in the short window a rate says little: the least rate that they prove is taken instead.
const REQUESTS_MIN: f64 = 1_000.0;
const ALPHA: f64 = 0.01;

/// The worse of both questions counts.
pub(super) fn judged(gate: &BudgetGate, reserve: Option<&Counts>, burn: &[Burn], of: &Circumstances<'_>) -> Judgement {
    let left = gate.reserve.as_ref().map(|bands| {
        reserve.map_or_else(
            || unknown(Level::NoData, "the budget was not read".to_owned(), Duration::ZERO, of),
            |counts| left(gate, bands, counts, of),
        )
    });
    let burns = gate.burn.as_ref().map(|_| burning(gate, burn, of));
    let judgements = left.into_iter().chain(burns);
    let worst = judgements.reduce(|worst, next| {
        let severity = |judgement: &Judgement| (judgement.policy(), judgement.level());
        if severity(&next) > severity(&worst) {
            next
        } else {
            worst
        }
    });
    worst.unwrap_or_else(|| unknown(Level::NoData, "nothing was judged".to_owned(), Duration::ZERO, of))
}

/// Bad and all requests, sound.
fn requests(counts: &Counts, what: &str) -> Result<(f64, f64), (Level, String)> {
    let total = counted(&counts.total, &format!("all requests ({what})"))?;
    let Some(bad) = counts.parts.first() else {
        return Err((Level::NoData, format!("bad requests ({what}): not read")));
    };
    let bad = counted(bad, &format!("bad requests ({what})"))?;
    if total <= 0.0 {
        return Err((Level::NoData, format!("no requests ({what})")));
    }
    Ok((bad.min(total), total))
}

fn left(gate: &BudgetGate, bands: &Reserve, counts: &Counts, of: &Circumstances<'_>) -> Judgement {
    let what = format!("last {}", bands.over);
    let left = match requests(counts, &what) {
        Ok((bad, total)) => budget_left(bad, total, gate.objective),
        Err((level, because)) => return unknown(level, because, Duration::ZERO, of),
    };
    let Some(left) = left else {
        return unknown(
            Level::Error,
            "the budget cannot be worked out".to_owned(),
            Duration::ZERO,
            of,
        );
    };
    let said = format!(
        "{} of the error budget is left ({} over {})",
        percent(left),
        percent(gate.objective),
        bands.over
    );
    let bands = [
        (bands.freeze_below, Policy::Hold, "releases are frozen below"),
        (bands.ask_below, Policy::Ask, "a person decides below"),
        (bands.hold_below, Policy::Hold, "releases wait below"),
    ];
    for (below, policy, words) in bands {
        if let Some(below) = below.filter(|below| left < *below) {
            let because = format!("{said}: {words} {}", percent(below));
            return Judgement::fail(policy, because).on(Grounds::new("budget left", left, below));
        }
    }
    let threshold = bands.iter().filter_map(|band| band.0).fold(f64::NEG_INFINITY, f64::max);
    Judgement::pass(said).on(Grounds::new("budget left", left, threshold))
}

fn burning(gate: &BudgetGate, burn: &[Burn], of: &Circumstances<'_>) -> Judgement {
    let grace = Duration::from_secs(120);
    let mut calmest: Option<(f64, Alarm, String)> = None;
    for (pair, alarm) in burn.iter().zip(ALARMS) {
        let rates = [&pair.long, &pair.short].map(|counts| {
            let what = format!("last {}", counts.window);
            requests(counts, &what).and_then(|(bad, total)| {
                proven_burn(bad, total, gate.objective)
                    .ok_or_else(|| (Level::Error, format!("the burn rate cannot be worked out ({what})")))
            })
        });
        let [long, short] = match rates {
            [Ok(long), Ok(short)] => [long, short],
            [Err((level, because)), _] | [_, Err((level, because))] => return unknown(level, because, grace, of),
        };
        let said = format!(
            "the candidate burns {long:.1} times its budget over {} and {short:.1} times over {}",
            pair.long.window, pair.short.window
        );
        let grounds = Grounds::new("burn rate", long.min(short), alarm.burn);
        if alarm.fires(long, short) {
            if let Some(others) = pair.baseline.as_ref().and_then(|counts| theirs(counts, gate.objective))
                && others > alarm.burn
            {
                let because = format!(
                    "{said}, but the baseline burns {others:.1} times as well: it is not the candidate's alone"
                );
                return unknown(Level::Inconclusive, because, Duration::ZERO, of).on(grounds);
            }
            let because = format!("{said}: more than {} is an alarm", alarm.burn);
            return Judgement::fail(super::failing(of.gate.on_fail), because).on(grounds);
        }
        let nearness = long.min(short) / alarm.burn;
        if calmest.as_ref().is_none_or(|(nearest, ..)| nearness > *nearest) {
            calmest = Some((nearness, alarm, said));
        }
    }
    match calmest {
        Some((nearness, alarm, said)) => {
            Judgement::pass(said).on(Grounds::new("burn rate", nearness * alarm.burn, alarm.burn))
        }
        None => unknown(Level::NoData, "no requests have been read".to_owned(), grace, of),
    }
}

/// How many times too fast, at least: few requests prove little.
fn proven_burn(bad: f64, total: f64, objective: f64) -> Option<f64> {
    if total >= REQUESTS_MIN {
        return burn_rate(bad, total, objective);
    }
    let least = rate_at_least(bad.floor() as u64, total.ceil() as u64, ALPHA)?;
    burn_rate(least, 1.0, objective)
}

fn theirs(counts: &Counts, objective: f64) -> Option<f64> {
    let (bad, total) = requests(counts, "baseline").ok()?;
    burn_rate(bad, total, objective)
}

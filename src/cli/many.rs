//! `simulate --runs`: many worlds at once, and how their rollouts end, how long they take, and how much they expose.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use meridian_engine::run::entry::Broken;
use meridian_engine::simulation::many::{Odds, Told, draw, told};
use meridian_engine::simulation::simulate::{Simulated, simulate};
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use ratatui::text::Line;
use serde_json::{Value, json};

use super::desk::Desk;
use crate::report::clock;
use crate::report::ink::{Tone, ink, line, padded};

/// One drawn world, told in full.
pub fn one(plan: &Arc<Plan>, odds: Odds, seed: u64, start: Timestamp) -> Result<Simulated, Broken> {
    simulate(plan, &draw(plan, odds, seed), seed, start)
}

/// Draws and plays `runs` worlds, whose seeds follow one another, on every core.
///
/// *Errors*: a journal that does not fold, which would be a bug.
pub fn play(plan: &Arc<Plan>, odds: Odds, runs: u64, seed: u64, start: Timestamp) -> Result<Vec<Told>, Broken> {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let work = || {
        let mut played = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= runs {
                return Ok(played);
            }
            let seed = seed.wrapping_add(index);
            played.push((index, told(seed, &one(plan, odds, seed, start)?)));
        }
    };
    let all: Result<Vec<Vec<(u64, Told)>>, Broken> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(played) => played,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    });
    let mut all: Vec<(u64, Told)> = all?.into_iter().flatten().collect();
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, told)| told).collect())
}

const OUTCOMES: [&str; 5] = ["promoted", "rolled-back", "needs-attention", "held", "running"];

/// Cells of a bar that stands for all worlds.
const BAR: usize = 24;

/// Prints the table. `again` is the command that plays one of these worlds, up to its seed.
pub fn print(worlds: &[Told], odds: Odds, seed: u64, again: &str, desk: &Desk) {
    let count = worlds.len();
    desk.paper.data_line(&line(
        Tone::Strong,
        format!(
            "{count} worlds, seeds {seed} to {}",
            seed.wrapping_add(count.saturating_sub(1) as u64)
        ),
    ));
    desk.paper.data_line(&line(
        Tone::Dim,
        format!(
            "a fault in {} of them; people answer after 1m to 8h; numbers stray by up to 30%; engines crash in 10%",
            odds.faulty
        ),
    ));
    desk.paper.data("\n");
    heading("", &["worlds", "", "p50", "p90", "longest"], desk);
    for outcome in outcomes(worlds) {
        let of: Vec<&Told> = worlds.iter().filter(|told| told.outcome == outcome).collect();
        let lengths = Quantiles::of(of.iter().map(|told| told.length.as_secs_f64()));
        let length = |seconds: f64| clock::length(Duration::from_secs(seconds.round() as u64));
        desk.paper.data_line(&Line::from(vec![
            padded(tone(outcome), outcome, NAME),
            padded(Tone::Plain, format!("{:>6}", of.len()), 8),
            padded(Tone::Plain, bar(of.len(), count), BAR + 2),
            padded(Tone::Plain, length(lengths.p50), 10),
            padded(Tone::Plain, length(lengths.p90), 10),
            ink(Tone::Plain, length(lengths.max)),
        ]));
    }
    exposure(worlds, desk);
    causes(worlds, desk);
    if let Some(told) = worlds.iter().find(|told| told.outcome != "promoted") {
        desk.paper.data("\n");
        desk.paper.data_line(&line(
            Tone::Dim,
            format!("the first that was not promoted: {again} --seed {}", told.seed),
        ));
    }
}

/// Columns of the first column.
const NAME: usize = 18;

fn heading(first: &str, rest: &[&str], desk: &Desk) {
    let widths = [8, BAR + 2, 10, 10, 10];
    let mut spans = vec![padded(Tone::Dim, first, NAME)];
    spans.extend(
        rest.iter()
            .zip(widths)
            .map(|(text, width)| padded(Tone::Dim, *text, width)),
    );
    desk.paper.data_line(&Line::from(spans));
}

fn outcomes(worlds: &[Told]) -> Vec<&'static str> {
    let others = worlds
        .iter()
        .map(|told| told.outcome)
        .filter(|outcome| !OUTCOMES.contains(outcome));
    let mut all: Vec<&'static str> = OUTCOMES.into_iter().chain(others).collect();
    all.retain(|outcome| worlds.iter().any(|told| told.outcome == *outcome));
    all.dedup();
    all
}

fn tone(outcome: &str) -> Tone {
    match outcome {
        "promoted" => Tone::Good,
        "rolled-back" => Tone::Bad,
        _ => Tone::Caution,
    }
}

/// As long as the part is of the whole, and never nothing where there is something.
fn bar(part: usize, whole: usize) -> String {
    let cells = (part * BAR + whole / 2).checked_div(whole).unwrap_or(0);
    "█".repeat(if part > 0 { cells.max(1) } else { 0 })
}

/// What rolled-back candidates met before they were taken back.
fn exposure(worlds: &[Told], desk: &Desk) {
    let back = || worlds.iter().filter(|told| told.outcome == "rolled-back");
    if back().next().is_none() {
        return;
    }
    desk.paper.data("\n");
    let most: Option<Vec<f64>> = back().map(|told| told.exposure_max).collect();
    let hours: Option<Vec<f64>> = back().map(|told| told.traffic_hours).collect();
    let (Some(most), Some(hours)) = (most, hours) else {
        let text = "exposure: unknown, because not every region says its `globalTraffic`";
        desk.paper.data_line(&line(Tone::Caution, text));
        return;
    };
    heading("rolled back", &["", "", "p50", "p90", "worst"], desk);
    let row = |name: &str, quantiles: Quantiles, shown: &dyn Fn(f64) -> String| {
        let before = format!("{name:<width$}", width = NAME + 8 + BAR + 2);
        desk.paper.data_line(&Line::from(vec![
            ink(Tone::Plain, before),
            padded(Tone::Plain, shown(quantiles.p50), 10),
            padded(Tone::Plain, shown(quantiles.p90), 10),
            ink(Tone::Plain, shown(quantiles.max)),
        ]));
    };
    row("most of the world that met it", Quantiles::of(most), &|percent| {
        format!("{percent:.3}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
            + "%"
    });
    row(
        "minutes of all traffic that it served",
        Quantiles::of(hours),
        &|hours| format!("{:.1}", hours * 60.0),
    );
}

fn causes(worlds: &[Told], desk: &Desk) {
    let counted = counted(worlds);
    if counted.is_empty() {
        return;
    }
    desk.paper.data("\n");
    heading("caught by", &["worlds", ""], desk);
    for (cause, count) in counted {
        desk.paper.data_line(&Line::from(vec![
            padded(Tone::Plain, cause, NAME.max(24)),
            ink(Tone::Plain, format!("{count:>6}")),
        ]));
    }
}

/// Causes with the number of worlds, the most frequent first.
fn counted(worlds: &[Told]) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for cause in worlds.iter().filter_map(|told| told.cause.as_deref()) {
        *counts.entry(cause).or_default() += 1;
    }
    let mut counted: Vec<(String, usize)> = counts
        .into_iter()
        .map(|(cause, count)| (cause.to_owned(), count))
        .collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Quantiles {
    p50: f64,
    p90: f64,
    max: f64,
}

impl Quantiles {
    /// By rank: each is a value that was measured.
    fn of(values: impl IntoIterator<Item = f64>) -> Quantiles {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let rank = (part * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            max: values.last().copied().unwrap_or(0.0),
        }
    }

    fn json(self) -> Value {
        json!({"p50": self.p50, "p90": self.p90, "max": self.max})
    }
}

pub fn json(worlds: &[Told], odds: Odds, seed: u64, start: Timestamp) -> Value {
    let of = |outcome: &'static str| {
        let of: Vec<&Told> = worlds.iter().filter(|told| told.outcome == outcome).collect();
        let seeds: Vec<u64> = of.iter().map(|told| told.seed).take(10).collect();
        let seconds = Quantiles::of(of.iter().map(|told| told.length.as_secs_f64()));
        json!({"outcome": outcome, "worlds": of.len(), "seconds": seconds.json(), "seeds": seeds})
    };
    let back = || worlds.iter().filter(|told| told.outcome == "rolled-back");
    let quantiles = |of: fn(&Told) -> Option<f64>| {
        let values: Option<Vec<f64>> = back().map(of).collect();
        values
            .filter(|values| !values.is_empty())
            .map(|values| Quantiles::of(values).json())
    };
    let causes: Vec<Value> = counted(worlds)
        .into_iter()
        .map(|(cause, count)| json!({"cause": cause, "worlds": count}))
        .collect();
    json!({
        "worlds": worlds.len(),
        "seed": seed,
        "start": start,
        "faulty": odds.faulty,
        "outcomes": outcomes(worlds).into_iter().map(of).collect::<Vec<_>>(),
        "rolledBack": {
            "exposureMaxPercent": quantiles(|told| told.exposure_max),
            "trafficHours": quantiles(|told| told.traffic_hours),
        },
        "causes": causes,
    })
}

#[cfg(test)]
mod tests {
    use super::{BAR, Quantiles, bar};

    #[test]
    fn a_bar_shows_the_least_and_never_overruns() {
        assert_eq!([0, 1, 1_000].map(|part| bar(part, 1_000).chars().count()), [0, 1, BAR]);
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let quantiles = Quantiles::of((1..=10).map(f64::from));
        assert_eq!((quantiles.p50, quantiles.p90, quantiles.max), (5.0, 9.0, 10.0));
        assert_eq!(Quantiles::of([]), Quantiles::default());
    }
}

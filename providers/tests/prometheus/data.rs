//! The samples that both servers hold: counters with resets, histograms, leaks, gaps, ends, and odd values.

use meridian_providers::sandbox::promql::labels::Labels;
use meridian_providers::sandbox::promql::store::{Sample, Store};

use crate::generate::Chance;

/// When the data begins, in milliseconds.
pub const START: i64 = 1_700_000_000_000;
/// How long it lasts.
pub const LENGTH: i64 = 40 * 60_000;

pub struct Series {
    /// Sorted by name, `__name__` included.
    pub labels: Vec<(String, String)>,
    pub samples: Vec<(i64, f64)>,
}

fn series(name: &str, labels: &[(&str, &str)], samples: Vec<(i64, f64)>) -> Series {
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    pairs.extend(
        labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    pairs.sort();
    Series { labels: pairs, samples }
}

/// The end marker that Prometheus writes when a series vanishes.
fn stale(t: i64) -> (i64, f64) {
    (t, Sample::stale(t).value)
}

/// Instants `every` milliseconds apart, each off by at most `jitter`.
fn instants(chance: &mut Chance, every: i64, jitter: i64) -> Vec<i64> {
    (0..LENGTH / every)
        .map(|step| START + step * every + chance.below(jitter as u64 + 1) as i64)
        .collect()
}

/// A counter in whole steps that falls to zero now and then.
fn counter(chance: &mut Chance, instants: &[i64], first: u64, per_step: u64, resets: bool) -> Vec<(i64, f64)> {
    let mut value = first;
    let mut step = |t: &i64| {
        value = if resets && chance.below(25) == 0 {
            chance.below(5)
        } else {
            value + chance.below(per_step + 1)
        };
        (*t, value as f64)
    };
    instants.iter().map(&mut step).collect()
}

pub fn all() -> Vec<Series> {
    let mut chance = Chance::new(2026);
    let mut all = Vec::new();
    requests(&mut chance, &mut all);
    durations(&mut chance, &mut all);
    gauges(&mut chance, &mut all);
    ends_and_gaps(&mut chance, &mut all);
    all.push(series(
        "same_a",
        &[("x", "1")],
        vec![(START, 1.0), (START + 15_000, 2.0)],
    ));
    all.push(series(
        "same_b",
        &[("x", "1")],
        vec![(START + 900_000, 3.0), (START + 915_000, 4.0)],
    ));
    all
}

fn requests(chance: &mut Chance, all: &mut Vec<Series>) {
    for region in ["eu", "us"] {
        for version in ["v1", "v2"] {
            for (code, per_step) in [("200", 300), ("500", 4), ("503", 2)] {
                let jitter = if region == "us" { 4_000 } else { 0 };
                let instants = instants(chance, 15_000, jitter);
                let first = chance.below(50);
                let samples = counter(chance, &instants, first, per_step, region == "us");
                let labels = [("code", code), ("region", region), ("version", version)];
                all.push(series("http_requests_total", &labels, samples));
            }
            let labels = [
                ("commit", if version == "v1" { "abc" } else { "def" }),
                ("region", region),
                ("version", version),
            ];
            all.push(series(
                "build_info",
                &labels,
                instants(chance, 60_000, 0).into_iter().map(|t| (t, 1.0)).collect(),
            ));
        }
        let limit = if region == "eu" { 0.5 } else { 0.25 };
        all.push(series(
            "limit",
            &[("region", region)],
            instants(chance, 60_000, 0).into_iter().map(|t| (t, limit)).collect(),
        ));
    }
}

fn durations(chance: &mut Chance, all: &mut Vec<Series>) {
    const BOUNDS: [&str; 6] = ["0.05", "0.1", "0.25", "0.5", "1", "+Inf"];
    for version in ["v1", "v2"] {
        for region in ["eu", "us"] {
            let instants = instants(chance, 15_000, 0);
            let mut buckets = vec![Vec::new(); BOUNDS.len()];
            let mut counts = [0_u64; BOUNDS.len()];
            for t in &instants {
                let mut observed = 0;
                for (bucket, count) in counts.iter_mut().enumerate() {
                    observed += chance.below(40 / (bucket as u64 + 1));
                    *count += observed;
                    buckets[bucket].push((*t, *count as f64));
                }
            }
            for (bound, samples) in BOUNDS.iter().zip(buckets) {
                let labels = [("le", *bound), ("region", region), ("version", version)];
                all.push(series("http_request_duration_seconds_bucket", &labels, samples));
            }
        }
    }
    // Counts that fall from one bucket to the next, as rates over a partly scraped histogram do.
    let crooked = instants(chance, 15_000, 0);
    for le in BOUNDS {
        let samples = crooked.iter().map(|t| (*t, chance.below(100) as f64)).collect();
        all.push(series("crooked_bucket", &[("le", le)], samples));
    }
    // Without an upper bucket, and with a bound that is no number.
    let instants = instants(chance, 15_000, 0);
    for le in ["0.1", "1", "many"] {
        all.push(series(
            "partial_bucket",
            &[("le", le)],
            counter(chance, &instants, 1, 9, false),
        ));
    }
}

fn gauges(chance: &mut Chance, all: &mut Vec<Series>) {
    for (pod, per_step) in [("a-1", 1024), ("a-2", 0), ("b-1", 7_000)] {
        let version = if pod.starts_with('a') { "v1" } else { "v2" };
        let value =
            |chance: &mut Chance, step: usize| (400_000_000 + step * per_step * 15) as f64 + chance.below(5_000) as f64;
        let instants = instants(chance, 15_000, 1_000);
        let samples = instants
            .iter()
            .enumerate()
            .map(|(step, t)| (*t, value(chance, step)))
            .collect();
        all.push(series("memory_bytes", &[("pod", pod), ("version", version)], samples));
    }
    const ODD: [f64; 8] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        -273.15,
        1e300,
        1e-300,
    ];
    for zone in ["a", "b", "c"] {
        let value = |chance: &mut Chance| match chance.below(12) {
            0 if zone != "c" => ODD[chance.below(ODD.len() as u64) as usize],
            _ => chance.below(400) as f64 / 8.0 - 20.0,
        };
        let samples = instants(chance, 20_000, 0)
            .into_iter()
            .map(|t| (t, value(chance)))
            .collect();
        all.push(series("temperature", &[("zone", zone)], samples));
    }
    all.push(series(
        "constant",
        &[],
        instants(chance, 30_000, 0).into_iter().map(|t| (t, 0.1)).collect(),
    ));
}

fn ends_and_gaps(chance: &mut Chance, all: &mut Vec<Series>) {
    // Ends, comes back, ends again.
    let mut samples: Vec<(i64, f64)> = Vec::new();
    for (step, t) in instants(chance, 15_000, 0).into_iter().enumerate() {
        match step % 40 {
            0..20 => samples.push((t, step as f64)),
            20 => samples.push(stale(t)),
            _ => {}
        }
    }
    all.push(series("flaky_total", &[("pod", "a-1")], samples));
    // Silent for seven minutes without an end.
    let is_silent = |t: &i64| (START + 600_000..START + 1_020_000).contains(t);
    let spoken: Vec<i64> = instants(chance, 15_000, 0)
        .into_iter()
        .filter(|t| !is_silent(t))
        .collect();
    all.push(series(
        "flaky_total",
        &[("pod", "a-2")],
        counter(chance, &spoken, 0, 3, false),
    ));
    all.push(series("flaky_total", &[("pod", "b-1")], vec![(START + 1_200_000, 7.0)]));
    // A young counter that begins in the middle.
    let young: Vec<i64> = instants(chance, 15_000, 0)
        .into_iter()
        .filter(|t| *t > START + 1_500_000)
        .collect();
    all.push(series(
        "young_total",
        &[("pod", "b-1")],
        counter(chance, &young, 0, 9, false),
    ));
}

/// The same samples in our store.
pub fn store(all: &[Series]) -> Store {
    let mut store = Store::default();
    for Series { labels, samples } in all {
        let name = &labels.iter().find(|(label, _)| label == "__name__").unwrap().1;
        let rest = labels
            .iter()
            .filter(|(label, _)| label != "__name__")
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = Labels::new(name, rest).unwrap();
        for (t, value) in samples {
            store.append(&labels, Sample { t: *t, value: *value }).unwrap();
        }
    }
    store
}

//! Turns what the regions measured into metric families, and samples them into the time-series store every second.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;

use crate::sandbox::instance::Stage;
use crate::sandbox::listener::Stop;
use crate::sandbox::meter::{BOUNDS, Meter};
use crate::sandbox::promql::exposition::{Family, MetricKind};
use crate::sandbox::promql::labels::Labels;
use crate::sandbox::promql::store::Store;
use crate::sandbox::region::Region;
use crate::sandbox::world::World;

/// The store that all queries are answered from; in memory only, so history begins anew with every start.
pub type Samples = Arc<RwLock<Store>>;

/// Samples every region until the stop is asked for.
pub async fn sample(world: Arc<World>, samples: Samples, mut stop: Stop) {
    let mut every = tokio::time::interval(world.options.timings.scrape);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut targets: Vec<String> = Vec::new();
    loop {
        tokio::select! {
            () = stop.asked() => break,
            _ = every.tick() => {}
        }
        let (regions, samples) = (world.regions(), Arc::clone(&samples));
        // A long query may hold the store; requests under way must not wait for that.
        let sampled = tokio::task::spawn_blocking(move || sample_once(&regions, &targets, &samples)).await;
        match sampled {
            Ok(shown) => targets = shown,
            Err(error) => {
                tracing::warn!(%error, "no samples are taken any more");
                break;
            }
        }
    }
}

/// Takes what every region shows now, ends the series of targets that are gone, and tells the targets there are.
fn sample_once(regions: &[Arc<Region>], before: &[String], samples: &RwLock<Store>) -> Vec<String> {
    let now = Timestamp::now().as_millisecond();
    let shown: Vec<String> = regions.iter().map(|region| region.key.to_string()).collect();
    let mut samples = samples.write();
    for (target, region) in shown.iter().zip(regions) {
        let families = families(std::slice::from_ref(region));
        let scraped = samples.scrape(target, now, families.into_iter().flat_map(|family| family.series));
        if let Some(refused) = scraped.refused.first() {
            tracing::debug!(%target, ?refused, "samples were not taken");
        }
    }
    for gone in before.iter().filter(|target| !shown.contains(target)) {
        samples.scrape(gone, now, []);
    }
    samples.expire(now);
    shown
}

/// Everything the regions show at this moment.
pub fn families(regions: &[Arc<Region>]) -> Vec<Family> {
    let mut families = Families::default();
    for region in regions {
        families.add_requests(region);
        families.add_instances(region);
        families.add_weights(region);
    }
    families.into_vec()
}

/// The families by their place in the text.
struct Families {
    requests: Family,
    durations: Family,
    memory: Family,
    instance_memory: Family,
    restarts: Family,
    up: Family,
    weight: Family,
}

impl Default for Families {
    fn default() -> Self {
        let family = |name: &str, kind, help: &str| Family {
            name: name.to_owned(),
            help: help.to_owned(),
            kind,
            series: Vec::new(),
        };
        use MetricKind::{Counter, Gauge, Histogram};
        Self {
            requests: family("http_requests_total", Counter, "Answers of a version, by status code."),
            durations: family(
                "http_request_duration_seconds",
                Histogram,
                "How long answers took, as the proxy saw it.",
            ),
            memory: family(
                "process_resident_memory_bytes",
                Gauge,
                "Memory of the version's largest instance.",
            ),
            instance_memory: family("container_memory_working_set_bytes", Gauge, "Memory of each instance."),
            restarts: family(
                "instance_restarts_total",
                Counter,
                "Starts of a version's instances after their first.",
            ),
            up: family("up", Gauge, "Whether an instance is ready."),
            weight: family(
                "traffic_weight_ratio",
                Gauge,
                "The part of live traffic that a version truly gets.",
            ),
        }
    }
}

impl Families {
    fn add_requests(&mut self, region: &Region) {
        region.proxy.meters().each(|version, traffic, meter| {
            let labels = Named {
                region,
                version,
                extra: [("traffic", traffic.label())],
            };
            for (code, count) in &meter.codes {
                let code = code.to_string();
                labels.push(&mut self.requests, "", Some(("code", &code)), float(*count));
            }
            self.add_durations(&labels, meter);
        });
    }

    fn add_durations(&mut self, labels: &Named<'_, 1>, meter: &Meter) {
        for (bound, count) in BOUNDS.iter().zip(meter.buckets) {
            let bound = bound.to_string();
            labels.push(&mut self.durations, "_bucket", Some(("le", &bound)), float(count));
        }
        labels.push(&mut self.durations, "_bucket", Some(("le", "+Inf")), float(meter.count));
        labels.push(&mut self.durations, "_sum", None, meter.seconds);
        labels.push(&mut self.durations, "_count", None, float(meter.count));
    }

    fn add_instances(&mut self, region: &Region) {
        for (version, deployment) in region.proxy.routes().deployments() {
            let (mut largest, mut restarts) = (None, 0);
            for instance in &deployment.instances {
                let vitals = instance.vitals();
                restarts += vitals.restarts;
                let labels = Named {
                    region,
                    version,
                    extra: [("instance", &instance.name)],
                };
                labels.push(
                    &mut self.up,
                    "",
                    None,
                    f64::from(u8::from(vitals.stage == Stage::Ready)),
                );
                if vitals.address.is_some() {
                    labels.push(&mut self.instance_memory, "", None, float(vitals.memory_bytes));
                    largest = largest.max(Some(vitals.memory_bytes));
                }
            }
            let labels = Named {
                region,
                version,
                extra: [],
            };
            labels.push(&mut self.restarts, "", None, float(restarts));
            // No process, no memory: a zero would look like a version that needs none.
            if let Some(largest) = largest.filter(|bytes| *bytes > 0) {
                labels.push(&mut self.memory, "", None, float(largest));
            }
        }
    }

    fn add_weights(&mut self, region: &Region) {
        let routes = region.proxy.routes();
        let shares = routes.shares();
        for version in routes.deployments().keys() {
            let share = shares.get(version).copied().unwrap_or_default();
            Named {
                region,
                version,
                extra: [],
            }
            .push(&mut self.weight, "", None, share.ratio());
        }
    }

    fn into_vec(self) -> Vec<Family> {
        let Self {
            requests,
            durations,
            memory,
            instance_memory,
            restarts,
            up,
            weight,
        } = self;
        vec![requests, durations, memory, instance_memory, restarts, up, weight]
    }
}

/// The labels that all series of a version share.
struct Named<'a, const N: usize> {
    region: &'a Region,
    version: &'a str,
    extra: [(&'a str, &'a str); N],
}

impl<const N: usize> Named<'_, N> {
    fn push(&self, family: &mut Family, suffix: &str, own: Option<(&str, &str)>, value: f64) {
        let key = &self.region.key;
        let common = [
            ("app", key.app.as_str()),
            ("region", key.region.as_str()),
            ("version", self.version),
        ];
        let name = format!("{}{suffix}", family.name);
        let labels = Labels::new(&name, common.into_iter().chain(self.extra).chain(own));
        family
            .series
            .push((labels.expect("the names are constants and differ"), value));
    }
}

/// Counters as Prometheus has them; beyond 2^53 it would round, which no sandbox reaches.
fn float(count: u64) -> f64 {
    count as f64
}

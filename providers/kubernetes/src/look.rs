//! What a look at a target shows.

use std::collections::BTreeSet;

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Observed, Target, VersionState};
use meridian_engine::run::effect::{Desired, Observation};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use serde_json::Value;

use crate::api::resource::PODS;
use crate::cloud::{Place, text};
use crate::diagnosis;
use crate::plan::{self, Runs, View};
use crate::record::Record;
use crate::settings::Strategy;
use crate::traffic::of_arms;
use crate::version;
use crate::workload::{labels, selects};
use crate::world::World;

/// Reads the target.
pub(crate) async fn observe(place: &Place, target: &Target, now: Timestamp) -> Result<Observed, Failure> {
    let world = World::read(&place.namespace, &place.settings, place.mechanism.as_deref()).await?;
    let release = version::of_release(&target.release)?;
    let ours = of_arms(world.original.name());
    let copy_pods = match &world.copy {
        Some(_) => place.namespace.list(&PODS, &ours).await?,
        None => Vec::new(),
    };
    let seen = Seen {
        place,
        world: &world,
        copy_pods: &copy_pods,
    };
    let versions = match &place.settings.strategy {
        Strategy::Rolling(_) => seen.by_template(&release),
        Strategy::Canary(_) | Strategy::BlueGreen(_) => seen.by_arm(&release),
    };
    let candidate = versions
        .iter()
        .find(|state| state.version.is_same_as(&release))
        .map(|state| &state.version);
    let candidate = candidate
        .cloned()
        .unwrap_or_else(|| seen.labelled_candidate(release.clone()));
    let share = total_share(&versions, &release);
    let serving = versions
        .iter()
        .max_by_key(|state| (state.share, state.ready))
        .map(|state| state.version.clone());
    Ok(Observed {
        observation: Observation {
            serving,
            candidate,
            candidate_share: share,
            is_settled: is_settled(&world),
            diagnosis: diagnosis(place, target, &world, now).await?,
            candidate_digest: seen.candidate_digest(&release),
        },
        fence: world.fence,
        versions,
    })
}

fn total_share(versions: &[VersionState], of: &Version) -> Share {
    let points = versions
        .iter()
        .filter(|state| state.version.is_same_as(of))
        .fold(0_u16, |sum, state| sum.saturating_add(state.share.basis_points()));
    Share::from_basis_points(points).unwrap_or(Share::FULL)
}

/// Whether the platform has nothing left to do.
fn is_settled(world: &World) -> bool {
    let copy = world.copy.as_ref();
    world.original.is_rolled_out() && copy.is_none_or(|copy| copy.is_rolled_out() && !copy.is_leaving())
}

async fn diagnosis(place: &Place, target: &Target, world: &World, now: Timestamp) -> Result<Option<String>, Failure> {
    let mut said = Vec::new();
    for workload in [Some(&world.original), world.copy.as_ref()].into_iter().flatten() {
        if workload.is_rolled_out() {
            continue;
        }
        let evidence = diagnosis::gather(&place.namespace, workload.object()).await?;
        if let Some(found) = diagnosis::diagnose(&evidence, now) {
            said.push(format!("{}: {}", workload.name(), found.why));
        }
    }
    said.extend(world.standing.oddity.clone());
    said.extend(world.remarks());
    if let Some(record) = &world.record {
        match (changed(place, target, world, record, now), &record.noticed) {
            (Some(changed), _) => said.push(changed),
            (None, Some(noticed)) => said.push(format!("{noticed}; it was put right")),
            (None, None) => {}
        }
        let runs = plan::runs(world.original.image(), &record.baseline, &record.candidate);
        if let Runs::Other(image) = runs {
            said.push(format!(
                "somebody else has deployed {image} to {}",
                world.original.name()
            ));
        }
    }
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

/// What others have changed since the newest order was reached, whether or not anything is done about it.
fn changed(place: &Place, target: &Target, world: &World, record: &Record, now: Timestamp) -> Option<String> {
    let desired = Desired {
        candidate: version::of_image(&record.candidate),
        baseline: version::of_image(&record.baseline),
        state: record.state.clone()?,
    };
    let view = View {
        world,
        settings: &place.settings,
        mechanism: place.mechanism.as_deref(),
        desired: &desired,
        fence: world.fence?,
        record,
        content: &BTreeSet::new(),
        drain: place.settings.drain.unwrap_or(target.ladder.drain),
        keep_baseline: place.settings.keep_baseline.unwrap_or(target.ladder.keep_baseline),
        now,
    };
    plan::changed(&view)
}

struct Seen<'a> {
    place: &'a Place,
    world: &'a World,
    copy_pods: &'a [Value],
}

impl Seen<'_> {
    /// Two Deployments, and what the routes give the second.
    fn by_arm(&self, release: &Version) -> Vec<VersionState> {
        let (world, namespace) = (self.world, self.place.namespace.name());
        let share = self.share();
        let rest = Share::from_basis_points(Share::FULL.basis_points().saturating_sub(share.basis_points()));
        let original = &world.original;
        let baseline = self.version(original.image(), release);
        let baseline = version::with_labels(baseline, namespace, original, &world.arms.baseline, &world.pods);
        let mut versions = vec![VersionState {
            version: baseline,
            share: rest.unwrap_or(Share::ZERO),
            instances: original.standing(),
            ready: original.ready(),
        }];
        if let Some(copy) = &world.copy {
            let version = named(copy.image(), release);
            versions.push(VersionState {
                version: version::with_labels(version, namespace, copy, &world.arms.candidate, self.copy_pods),
                share,
                instances: copy.standing(),
                ready: copy.ready(),
            });
        }
        versions
    }

    /// One Deployment on its way from one image to another: ready pods are the share.
    fn by_template(&self, release: &Version) -> Vec<VersionState> {
        let (world, namespace) = (self.world, self.place.namespace.name());
        let original = &world.original;
        let mut images: Vec<String> = vec![original.image().to_owned()];
        for pod in &world.pods {
            if let Some(image) = self.image(pod)
                && !images.contains(&image)
            {
                images.push(image);
            }
        }
        let ready_in_all = count(world.pods.iter().filter(is_ready).count());
        let mut versions: Vec<VersionState> = Vec::new();
        for image in images {
            let of: Vec<&Value> = world
                .pods
                .iter()
                .filter(|pod| self.image(pod).as_deref() == Some(image.as_str()))
                .collect();
            let ready = count(of.iter().copied().filter(is_ready).count());
            versions.push(VersionState {
                version: version::with_labels(
                    self.version(&image, release),
                    namespace,
                    original,
                    &world.arms.baseline,
                    &world.pods,
                ),
                share: part_of(ready, ready_in_all),
                instances: count(of.len()),
                ready,
            });
        }
        // With nothing ready, what is asked for says best what serves.
        if ready_in_all == 0
            && let Some(first) = versions.first_mut()
        {
            first.share = Share::FULL;
        }
        versions
    }

    /// What an image of the original is: the release, where it was given that here.
    fn version(&self, image: &str, release: &Version) -> Version {
        let is_given = self.world.record.as_ref().is_some_and(|record| {
            record.candidate == release.pinned
                && plan::runs(image, &record.baseline, &record.candidate) == Runs::Candidate
        });
        if is_given {
            named(image, release)
        } else {
            version::of_image(image)
        }
    }

    /// What the candidate has: where pods are the share, by the pods themselves. A Deployment whose pods are being replaced counts
    /// those of its last template among the ready ones.
    fn share(&self) -> Share {
        let world = self.world;
        let counts = self.place.mechanism.as_deref();
        if counts.is_none_or(|mechanism| mechanism.counts(Share::FULL, 1).is_none()) {
            return world.standing.split.share;
        }
        let is_selected = |pod: &&Value| selects(world.original.selector(), &labels(pod.pointer("/metadata/labels")));
        let candidates = count(self.copy_pods.iter().filter(is_ready).filter(is_selected).count());
        let baselines = count(world.pods.iter().filter(is_ready).count());
        part_of(candidates, candidates.saturating_add(baselines))
    }

    fn image(&self, pod: &Value) -> Option<String> {
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        let name = self.world.original.container_name();
        let container = containers
            .into_iter()
            .flatten()
            .find(|one| text(one, "/name") == name)?;
        Some(text(container, "/image").to_owned())
    }

    /// The content that the candidate's pods run.
    fn candidate_digest(&self, release: &Version) -> Option<String> {
        let pods = match &self.place.settings.strategy {
            Strategy::Rolling(_) => &self.world.pods,
            Strategy::Canary(_) | Strategy::BlueGreen(_) => self.copy_pods,
        };
        let found = version::digests(pods, self.world.original.container_name(), &release.pinned);
        let told: Vec<&str> = found.into_iter().collect();
        (!told.is_empty()).then(|| told.join(" and "))
    }

    /// A candidate that does not stand yet: what can be known of its telemetry before.
    fn labelled_candidate(&self, version: Version) -> Version {
        let world = self.world;
        let arm = match &self.place.settings.strategy {
            Strategy::Rolling(_) => &world.arms.baseline,
            Strategy::Canary(_) | Strategy::BlueGreen(_) => &world.arms.candidate,
        };
        let mut arm = arm.clone();
        arm.hash = None;
        version::with_labels(
            version,
            self.place.namespace.name(),
            &world.original,
            &arm,
            self.copy_pods,
        )
    }
}

/// The release, where this image is it but for the digest that an admission webhook has pinned it by.
fn named(image: &str, release: &Version) -> Version {
    let mut version = version::of_image(image);
    if version::is_same_image(image, &release.pinned) {
        version.name.clone_from(&release.name);
        version.pinned.clone_from(&release.pinned);
    }
    version
}

fn is_ready(pod: &&Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A part to the next hundredth of a percent: what is, not what may be relied on.
fn part_of(part: u32, of: u32) -> Share {
    if of == 0 {
        return Share::ZERO;
    }
    let points = (u64::from(part) * 10_000 + u64::from(of) / 2) / u64::from(of);
    Share::from_basis_points(u16::try_from(points).unwrap_or(10_000)).unwrap_or(Share::FULL)
}

#[cfg(test)]
mod tests {
    use super::part_of;

    #[test]
    fn parts_are_told_to_the_next_hundredth_of_a_percent() {
        let told = [(0, 0), (0, 3), (1, 3), (2, 3), (3, 3)].map(|(part, of)| part_of(part, of).basis_points());
        assert_eq!(told, [0, 0, 3_333, 6_667, 10_000]);
    }
}

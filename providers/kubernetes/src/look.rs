//! What a look at a target shows.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Observed, Target, VersionState};
use meridian_engine::run::effect::Observation;
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use serde_json::Value;

use crate::api::resource::PODS;
use crate::cloud::{Place, text};
use crate::diagnosis;
use crate::settings::Strategy;
use crate::traffic::{ARM_LABEL, OWNER_LABEL};
use crate::version;
use crate::world::World;

/// Reads the target.
pub(crate) async fn observe(place: &Place, target: &Target, now: Timestamp) -> Result<Observed, Failure> {
    let world = World::read(&place.namespace, &place.settings, place.mechanism.as_deref()).await?;
    let release = version::of_release(&target.release)?;
    let ours = format!("{OWNER_LABEL}={},{ARM_LABEL}", world.original.name());
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
        Strategy::Rolling(_) => seen.by_template(),
        Strategy::Canary(_) | Strategy::BlueGreen(_) => seen.by_arm(),
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
            diagnosis: diagnosis(place, &world, now).await?,
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

async fn diagnosis(place: &Place, world: &World, now: Timestamp) -> Result<Option<String>, Failure> {
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
        said.extend(record.noticed.clone());
        let image = world.original.image();
        if image != record.baseline && image != record.candidate {
            said.push(format!(
                "somebody else has deployed {image} to {}",
                world.original.name()
            ));
        }
    }
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

struct Seen<'a> {
    place: &'a Place,
    world: &'a World,
    copy_pods: &'a [Value],
}

impl Seen<'_> {
    /// Two Deployments, and what the routes give the second.
    fn by_arm(&self) -> Vec<VersionState> {
        let (world, namespace) = (self.world, self.place.namespace.name());
        let share = world.standing.split.share;
        let rest = Share::from_basis_points(Share::FULL.basis_points().saturating_sub(share.basis_points()));
        let original = &world.original;
        let baseline = version::of_image(original.image());
        let baseline = version::with_labels(baseline, namespace, original, &world.arms.baseline, &world.pods);
        let mut versions = vec![VersionState {
            version: baseline,
            share: rest.unwrap_or(Share::ZERO),
            instances: original.standing(),
            ready: original.ready(),
        }];
        if let Some(copy) = &world.copy {
            let version = version::of_image(copy.image());
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
    fn by_template(&self) -> Vec<VersionState> {
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
        let is_ready = |pod: &&Value| {
            let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
            pod.pointer("/metadata/deletionTimestamp").is_none()
                && conditions
                    .into_iter()
                    .flatten()
                    .any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
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
                    version::of_image(&image),
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

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A part in hundredths of a percent, rounded down.
fn part_of(part: u32, of: u32) -> Share {
    if of == 0 {
        return Share::ZERO;
    }
    let points = u64::from(part) * 10_000 / u64::from(of);
    Share::from_basis_points(u16::try_from(points).unwrap_or(10_000)).unwrap_or(Share::FULL)
}

//! A site and its slot in the engine's terms.

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Observed, Target, VersionState};
use meridian_engine::run::effect::Observation;
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;

use crate::app_service::AppService;
use crate::app_service::content::{Content, Deployable, without_query};
use crate::app_service::fitness::{Instances, fitness};
use crate::app_service::memory::{Memory, Phase};
use crate::app_service::next::{Fitness, Whose};
use crate::app_service::preflight::{self, findings};
use crate::app_service::ramp::Rules;
use crate::app_service::site::{Half, Shown, Site};

/// The site as it is now.
///
/// *Errors*: beside the others, a lasting one that names everything that stands in the way of a release, while none is under way.
pub(super) async fn observed(
    cloud: &AppService,
    site: &Site,
    target: &Target,
    deployable: &Deployable,
) -> Result<Observed, Failure> {
    let shown = match site.look().await {
        Ok(shown) => shown,
        Err(trouble) => return Err(preflight::unseen(site, trouble).await),
    };
    let memory = Memory::read(preflight::tags(&shown.production)).map_err(Failure::lasting)?;
    if cloud.is_behind(site, memory.serial) {
        return Err(Failure::transient(format!(
            "the site `{}` still shows what was there before the last order",
            site.settings.site
        )));
    }
    let found = findings(site, &shown, deployable).await?;
    let share = Rules::of(&shown.production.config).share(shown.slot.host());
    if !is_open(&memory, share.clone().unwrap_or(Share::FULL)) && !found.problems.is_empty() {
        return Err(Failure::lasting(format!(
            "region `{}` cannot be released: {}",
            target.region,
            found.problems.join("; ")
        )));
    }
    let share = share.map_err(Failure::lasting)?;
    let (of_production, of_slot) = tokio::try_join!(site.instances(Whose::Production), site.instances(Whose::Slot))?;
    let production = version(site, &shown.production, "production");
    let slot = version(site, &shown.slot, &site.settings.slot);
    let candidate = deployable.content();
    let is_in_production = Content::pinned(&production) == candidate;
    let is_in_slot = Content::pinned(&slot) == candidate;
    let named = named(
        deployable,
        target,
        &shown,
        if is_in_production { &production } else { &slot },
    );
    let candidate_share = match (is_in_production, is_in_slot) {
        (true, true) => Share::FULL,
        (true, false) => less(Share::FULL, share),
        (false, true) => share,
        (false, false) => Share::ZERO,
    };
    let state = |version: &Version, share: Share, instances: Instances, is_running: bool| VersionState {
        version: version.clone(),
        share,
        instances: if is_running { instances.all } else { 0 },
        ready: if is_running {
            instances.ready + instances.unknown
        } else {
            0
        },
    };
    let unfit = unfit(site, &shown, &memory, is_in_slot).await?;
    let rest = less(Share::FULL, share);
    let serving = if rest >= share { &production } else { &slot };
    let mut remarks = told(&memory, (cloud.now)(), site, &shown);
    let drifted = drifted(&memory, share);
    let is_settled = drifted.is_none()
        && unfit.is_none()
        && !is_moving(&memory)
        && shown.production.property("inProgressOperationId").is_none();
    remarks.extend(unfit.into_iter().chain(drifted));
    remarks.extend(found.problems);
    remarks.extend(found.remarks);
    Ok(Observed {
        observation: Observation {
            serving: Some(serving.clone()),
            candidate: named,
            candidate_share,
            is_settled,
            diagnosis: (!remarks.is_empty()).then(|| remarks.join("; ")),
            candidate_digest: None,
        },
        fence: memory.fence,
        versions: vec![
            state(
                &production,
                rest,
                Instances::of(&of_production),
                shown.production.is_running(),
            ),
            state(&slot, share, Instances::of(&of_slot), shown.slot.is_running()),
        ],
    })
}

/// What a side runs, with what tells its telemetry apart now. After a swap both have changed places, and so do the labels.
fn version(site: &Site, half: &Half, slot: &str) -> Version {
    let content = Content::of(site.fx(half), &half.app_settings);
    let mut version = content.version(&half.app_settings);
    version.labels.insert("slot".to_owned(), slot.to_owned());
    version.labels.insert("hostName".to_owned(), half.host().to_owned());
    version
}

/// The release as this site would run it, labelled by where it stands or will stand.
fn named(deployable: &Deployable, target: &Target, shown: &Shown, place: &Version) -> Version {
    let name = match deployable {
        Deployable::Image(_) => target.release.version().to_owned(),
        Deployable::Package { url, .. } => {
            let url = without_query(url);
            url.rsplit('/').next().unwrap_or(url).to_owned()
        }
    };
    let mut labels = place.labels.clone();
    labels
        .entry("hostName".to_owned())
        .or_insert_with(|| shown.slot.host().to_owned());
    Version {
        name,
        pinned: deployable.content().to_string(),
        labels,
    }
}

fn less(share: Share, taken: Share) -> Share {
    let points = share.basis_points().saturating_sub(taken.basis_points());
    Share::from_basis_points(points).unwrap_or(Share::ZERO)
}

/// Whether a release is under way, which must be able to end whatever stands in the way of the next.
fn is_open(memory: &Memory, share: Share) -> bool {
    match memory.phase {
        Phase::Starting { .. }
        | Phase::Preview { .. }
        | Phase::PreviewFit { .. }
        | Phase::Swapping(_)
        | Phase::Swapped { .. }
        | Phase::Failed { .. } => true,
        // A way back is read before its slot is released.
        Phase::Idle | Phase::Fit { .. } => memory.fence.is_some(),
        Phase::Released => memory.fence.is_some() && !share.is_zero(),
    }
}

fn is_moving(memory: &Memory) -> bool {
    matches!(
        memory.phase,
        Phase::Starting { .. }
            | Phase::Preview { .. }
            | Phase::PreviewFit { .. }
            | Phase::Swapping(_)
            | Phase::Failed { .. }
    )
}

/// Why the side that a release depends on now could not take traffic, where it could not.
async fn unfit(site: &Site, shown: &Shown, memory: &Memory, is_in_slot: bool) -> Result<Option<String>, Failure> {
    let Some(since) = memory.phase.since() else {
        return Ok(None);
    };
    let (whose, half) = match &memory.phase {
        Phase::Swapped { .. } => (Whose::Production, &shown.production),
        _ if is_in_slot && shown.slot.is_running() => (Whose::Slot, &shown.slot),
        _ => return Ok(None),
    };
    Ok(match fitness(site, whose, half, since).await? {
        Fitness::Fit => None,
        Fitness::Unfit { why, .. } => Some(why),
    })
}

/// What somebody else made of the ramp-up rule, where the newest order wrote it and it says something else now.
fn drifted(memory: &Memory, share: Share) -> Option<String> {
    let written = memory.ramped.filter(|written| Some(written.fence) == memory.fence)?;
    (written.share != share).then(|| {
        format!(
            "somebody else changed the ramp-up rules: {} was ordered, they say {share}",
            written.share
        )
    })
}

/// What an operator should read about the state of this release.
fn told(memory: &Memory, now: jiff::Timestamp, site: &Site, shown: &Shown) -> Vec<String> {
    let slot = &site.settings.slot;
    let mut told = Vec::new();
    match &memory.phase {
        Phase::Failed { why } => told.push(why.clone()),
        Phase::Swapping(swap) => told.push(format!("a swap has been under way since {}", swap.since)),
        Phase::Preview { .. } | Phase::PreviewFit { .. } => {
            told.push(format!(
                "slot `{slot}` runs with production's settings, the first phase of a swap"
            ));
        }
        Phase::Idle | Phase::Starting { .. } | Phase::Fit { .. } | Phase::Swapped { .. } | Phase::Released => {}
    }
    if let Some(until) = memory.pinned_until.filter(|until| *until > now) {
        told.push(pinned(slot, until));
    }
    if !shown.slot.is_running() {
        told.push(format!("slot `{slot}` is stopped"));
    }
    told
}

/// The sentence about clients who stay where a ramp-up rule had sent them.
pub(super) fn pinned(slot: &str, until: jiff::Timestamp) -> String {
    format!(
        "clients that a ramp-up rule had sent to slot `{slot}` may stay there until {until}: their cookie x-ms-routing-name lasts \
         for an hour (deleting it, or one request with ?x-ms-routing-name=self, brings a client back at once)"
    )
}

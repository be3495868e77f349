//! One order: read the world, decide one step, do it, read again, for as long as nothing has to be waited for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Fence, Order, Target};
use meridian_engine::run::effect::{DesiredState, Progress};
use serde_json::Value;

use crate::act::{self, Done};
use crate::api::resource::{DEPLOYMENTS, ENDPOINT_SLICES, PODS};
use crate::cloud::{Now, Place, text};
use crate::diagnosis::{self, Prospect};
use crate::plan::{self, Act, Step, View, Which};
use crate::record::{Record, digest};
use crate::traffic::{Arms, Placement, Split, Written, of_arms};
use crate::version::digests;
use crate::workload::labels as labels_of;
use crate::world::World;

/// Steps of one call. An order that needs more is asked again.
const STEPS_MAX: usize = 14;
/// No further step is begun after this much of a call.
const CALL_BUDGET: Duration = Duration::from_secs(12);

/// Brings the target one call's worth nearer to the order.
pub(crate) async fn ensure(place: &Place, target: &Target, order: &Order, now: &Now) -> Result<Progress, Failure> {
    let begun = Instant::now();
    refuse(place, order)?;
    let mut prepared: Option<Arms> = None;
    let mut last: Option<Act> = None;
    for _ in 0..STEPS_MAX {
        if begun.elapsed() > CALL_BUDGET {
            break;
        }
        let world = World::read(&place.namespace, &place.settings, place.mechanism.as_deref()).await?;
        let content = content(place, order, &world).await?;
        let record = match claim(&world, place, order)? {
            Claimed::Ours(record) => record,
            Claimed::Anew(record) => {
                let view = view(place, target, order, &world, &record, &content, now);
                // The fence goes first: from here on an older order changes nothing.
                match act::carry_out(&place.namespace, &view, &Act::Remember(record.clone())).await? {
                    Done::Yes | Done::Overtaken => continue,
                    Done::Stale(higher) => return Ok(stale(target, higher)),
                }
            }
            Claimed::Stale(higher) => return Ok(stale(target, higher)),
        };
        let view = view(place, target, order, &world, &record, &content, now);
        let takes_away = plan::takes_away(&view);
        if let Some(unfit) = world
            .standing
            .unfit
            .as_ref()
            .filter(|_| !takes_away && !is_way_back(&view))
        {
            return Err(unfit.clone());
        }
        let needs_mechanism = needs_mechanism(&view);
        if needs_mechanism && !takes_away && world.arms.baseline.hash.is_none() {
            let why = format!(
                "the Deployment controller has not seen the new pods of {} yet",
                world.original.name()
            );
            return Ok(told(&record, Progress::Moving { why: Some(why) }));
        }
        if needs_mechanism && world.arms.baseline.hash.is_some() && prepared.as_ref() != Some(&world.arms) {
            match prepare(place, &view).await {
                Ok(Written::Already) => prepared = Some(world.arms.clone()),
                Ok(Written::Changed) => continue,
                Ok(Written::Stale(higher)) => return Ok(stale(target, higher)),
                // What stands is enough to take traffic away by; what lacks of it is for the orders that give some.
                Err(_) if takes_away => prepared = Some(world.arms.clone()),
                Err(failure) => return Err(failure),
            }
        }
        let act = match plan::next(&view) {
            Step::Do(act) => act,
            Step::Done(Progress::Settled) if !world.original.is_observed() => {
                let name = world.original.name();
                let why = format!("the Deployment controller has not seen the last change of {name} yet");
                return Ok(told(&record, Progress::Moving { why: Some(why) }));
            }
            Step::Done(Progress::Settled) if is_end(&view) && has_joined_pods(place, &view).await? => {
                let name = &world.arms.candidate.deployment;
                let why = format!("the last pods of {name} go before the routes are left as they were found");
                return Ok(told(&record, Progress::Moving { why: Some(why) }));
            }
            Step::Done(Progress::Settled) => match leave(place, &view).await? {
                Some(Done::Stale(higher)) => return Ok(stale(target, higher)),
                Some(Done::Yes | Done::Overtaken) => continue,
                None => return Ok(Progress::Settled),
            },
            Step::Done(progress) => return Ok(told(&record, progress)),
            Step::Await { deployment, why } => return waiting(place, &world, &view, deployment, why).await,
        };
        if last.as_ref() == Some(&act) {
            // What was written has not come back: reads lag, or somebody writes against us. Asked again, it is looked at again.
            return Ok(Progress::Moving {
                why: Some(format!(
                    "waits until the cluster shows what was written ({})",
                    told_act(&act)
                )),
            });
        }
        if let Act::Split(split) = &act
            && let Some(why) = unreachable(place, &view, split).await?
        {
            return Ok(told(&record, Progress::Moving { why: Some(why) }));
        }
        match act::carry_out(&place.namespace, &view, &act).await? {
            Done::Yes => {
                // Told once: within this call it would be put right and settled. The way back is not kept waiting for that.
                if let Act::Remember(after) = &act
                    && let Some(noticed) = after.noticed.as_ref().filter(|_| after.reasserted != record.reasserted)
                    && !is_way_back(&view)
                {
                    let why = format!("{noticed}; it is being put right");
                    return Ok(Progress::Moving { why: Some(why) });
                }
                last = Some(act);
            }
            Done::Overtaken => last = None,
            Done::Stale(higher) => return Ok(stale(target, higher)),
        }
    }
    Ok(Progress::Moving {
        why: Some("is on its way, a few steps a call".to_owned()),
    })
}

/// What this way of splitting traffic cannot do is refused before anything is touched.
fn refuse(place: &Place, order: &Order) -> Result<(), Failure> {
    let DesiredState::Serving(exposure) = &order.desired().state else {
        return Ok(());
    };
    let split = Split::of(exposure);
    let why = match place.mechanism.as_deref() {
        Some(mechanism) => mechanism.refusal(&split),
        None if split == Split::none() || split.share.is_full() => None,
        None => Some("a rolling update serves 0% or 100% and nothing between".to_owned()),
    };
    match why {
        Some(why) => Err(Failure::lasting(why)),
        None => Ok(()),
    }
}

enum Claimed {
    /// This order's own memory.
    Ours(Record),
    /// The memory that this order is to write first.
    Anew(Record),
    Stale(Fence),
}

/// Whose the target is.
///
/// *Errors*: lasting, where the same fence was used for another order.
fn claim(world: &World, place: &Place, order: &Order) -> Result<Claimed, Failure> {
    let fence = order.fence();
    // The copy and the routes carry fences too: an annotation that a GitOps tool dropped from the original is not the end of order.
    let copied = world.copy.as_ref().map(|copy| copy.fence()).transpose()?.flatten();
    let highest = world.fence.max(copied).max(world.standing.fence);
    if let Some(higher) = highest.filter(|higher| *higher > fence) {
        return Ok(Claimed::Stale(higher));
    }
    match &world.record {
        Some(record) if world.fence == Some(fence) => {
            if record.order == digest(order.desired()) {
                Ok(Claimed::Ours(record.clone()))
            } else {
                Err(Failure::lasting(format!(
                    "the order {fence} for {} was another one before: one fence is one order",
                    world.original.name()
                )))
            }
        }
        before => {
            let counts = place
                .mechanism
                .as_deref()
                .is_some_and(|mechanism| mechanism.counts(meridian_workflows::share::Share::FULL, 1).is_some());
            let desired = order.desired();
            let runs = plan::runs(
                world.original.image(),
                &desired.baseline.pinned,
                &desired.candidate.pinned,
            );
            let record = Record::of(order, before.as_ref(), world.original.replicas(), counts);
            Ok(Claimed::Anew(record.found(&runs)))
        }
    }
}

fn view<'a>(
    place: &'a Place,
    target: &'a Target,
    order: &'a Order,
    world: &'a World,
    record: &'a Record,
    content: &'a BTreeSet<String>,
    now: &Now,
) -> View<'a> {
    View {
        world,
        settings: &place.settings,
        mechanism: place.mechanism.as_deref(),
        desired: order.desired(),
        fence: order.fence(),
        record,
        content,
        drain: place.settings.drain.unwrap_or(target.ladder.drain),
        keep_baseline: place.settings.keep_baseline.unwrap_or(target.ladder.keep_baseline),
        now: now(),
    }
}

/// Whether the mechanism's own objects must stand: for every order that gives the candidate something, and on the way back for as
/// long as it has something.
fn needs_mechanism(view: &View<'_>) -> bool {
    if view.world.standing.unfit.is_some() {
        return false;
    }
    if view.desired.candidate.is_same_as(&view.desired.baseline) {
        return false;
    }
    match &view.desired.state {
        DesiredState::Serving(_) => true,
        DesiredState::Promoted => view.world.copy.is_some() || view.runs() == plan::Runs::Baseline,
        DesiredState::Reverted | DesiredState::Withdrawn => !view.world.standing.split.is_none(),
    }
}

/// Whether nothing may rise by this order: it goes on whatever others have made of the routes.
fn is_way_back(view: &View<'_>) -> bool {
    match &view.desired.state {
        DesiredState::Reverted | DesiredState::Withdrawn => true,
        DesiredState::Serving(_) | DesiredState::Promoted => view.desired.candidate.is_same_as(&view.desired.baseline),
    }
}

async fn prepare(place: &Place, view: &View<'_>) -> Result<Written, Failure> {
    match place.mechanism.as_deref() {
        Some(mechanism) => mechanism.prepare(&place.namespace, &view.world.arms, view.fence).await,
        None => Ok(Written::Already),
    }
}

/// Ready pods get requests only once the Services that select them list them: why weight may not go up yet.
async fn unreachable(place: &Place, view: &View<'_>, split: &Split) -> Result<Option<String>, Failure> {
    let (world, standing) = (view.world, &view.world.standing.split);
    let rises = split.share > standing.share || split.mirror > standing.mirror || !split.audience.is_empty();
    let Some(copy) = world.copy.as_ref().filter(|_| rises) else {
        return Ok(None);
    };
    let labels = copy.pod_labels();
    let selecting = world.services.iter().filter(|service| {
        let selector = labels_of(service.pointer("/spec/selector"));
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    });
    let names: Vec<&str> = selecting.map(|service| text(service, "/metadata/name")).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let of_services = format!("kubernetes.io/service-name in ({})", names.join(","));
    let of_copy = of_arms(world.original.name());
    let (slices, pods) = tokio::try_join!(
        place.namespace.list(&ENDPOINT_SLICES, &of_services),
        place.namespace.list(&PODS, &of_copy),
    )?;
    let need = usize::try_from(view.need(split)).unwrap_or(usize::MAX);
    for name in names {
        let listed = listed(&slices, name, &pods);
        if listed < need {
            return Ok(Some(format!(
                "the Service {name} lists {listed} of {need} pods of {}",
                copy.name()
            )));
        }
    }
    Ok(None)
}

/// How many of these pods a Service sends to. With two families of addresses it has each pod in two slices; and a pod's name says
/// nothing of its Deployment's, which is cut where it is long.
fn listed(slices: &[Value], service: &str, pods: &[Value]) -> usize {
    let uids: BTreeSet<&str> = pods.iter().map(|pod| text(pod, "/metadata/uid")).collect();
    let of_service = slices.iter().filter(|slice| {
        slice
            .pointer("/metadata/labels")
            .is_some_and(|labels| labels["kubernetes.io/service-name"] == service)
    });
    let ready = of_service
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten()
        .filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)));
    let of_pods: BTreeSet<&str> = ready
        .map(|endpoint| text(endpoint, "/targetRef/uid"))
        .filter(|uid| uids.contains(uid))
        .collect();
    of_pods.len()
}

/// The content that the copy's pods run: asked for by the order to promote, before the original pulls the same tag.
async fn content(place: &Place, order: &Order, world: &World) -> Result<BTreeSet<String>, Failure> {
    let (candidate, is_split) = (&order.desired().candidate.pinned, place.mechanism.is_some());
    let is_judged = world.record.as_ref().is_some_and(|record| record.reached);
    if order.desired().state != DesiredState::Promoted || candidate.contains('@') || is_judged || !is_split {
        return Ok(BTreeSet::new());
    }
    let pods = place.namespace.list(&PODS, &of_arms(world.original.name())).await?;
    let found = digests(&pods, world.original.container_name(), candidate);
    Ok(found.into_iter().map(str::to_owned).collect())
}

/// Whether nothing of the candidate is to be left at the end of this order.
fn is_end(view: &View<'_>) -> bool {
    match &view.desired.state {
        DesiredState::Promoted | DesiredState::Withdrawn => true,
        DesiredState::Serving(_) | DesiredState::Reverted => view.desired.candidate.is_same_as(&view.desired.baseline),
    }
}

/// Whether pods of the copy are left that the baseline's Service selects: with the finer routes gone they would get a share.
async fn has_joined_pods(place: &Place, view: &View<'_>) -> Result<bool, Failure> {
    if view.placement(&Split::none()) == Placement::Apart {
        return Ok(false);
    }
    let pods = place
        .namespace
        .list(&PODS, &of_arms(view.world.original.name()))
        .await?;
    Ok(pods
        .iter()
        .any(|pod| pod.pointer("/metadata/deletionTimestamp").is_none()))
}

/// Where nothing of the candidate is to be left, the mechanism's objects are not either; none where there is nothing to take away.
async fn leave(place: &Place, view: &View<'_>) -> Result<Option<Done>, Failure> {
    let Some(mechanism) = place.mechanism.as_deref().filter(|_| is_end(view)) else {
        return Ok(None);
    };
    Ok(
        match mechanism.clean(&place.namespace, &view.world.arms, view.fence).await? {
            Written::Already => None,
            Written::Changed => Some(Done::Yes),
            Written::Stale(higher) => Some(Done::Stale(higher)),
        },
    )
}

/// Asks what keeps a Deployment from being there.
async fn waiting(
    place: &Place,
    world: &World,
    view: &View<'_>,
    which: Which,
    why: String,
) -> Result<Progress, Failure> {
    let workload = match which {
        Which::Original => Some(&world.original),
        Which::Copy => world.copy.as_ref(),
    };
    let Some(workload) = workload else {
        return Ok(told(view.record, Progress::Moving { why: Some(why) }));
    };
    // Until its controller has seen the last change, a Deployment tells the troubles of what was wanted before.
    if !workload.is_observed() {
        let why = Some(format!(
            "{why}: the Deployment controller has not seen the last change yet"
        ));
        return Ok(told(view.record, Progress::Moving { why }));
    }
    let evidence = diagnosis::gather(&place.namespace, workload.object()).await?;
    let progress = match diagnosis::diagnose(&evidence, view.now) {
        Some(found) => {
            let why = format!("{why}: {}", found.why);
            match found.prospect {
                Prospect::Stuck => Progress::Stuck { why },
                Prospect::Moving => Progress::Moving { why: Some(why) },
            }
        }
        None => Progress::Moving { why: Some(why) },
    };
    Ok(told(view.record, progress))
}

/// What others changed and was put right again is told with the progress.
fn told(record: &Record, progress: Progress) -> Progress {
    match (progress, &record.noticed) {
        (Progress::Moving { why: Some(why) }, Some(noticed)) => Progress::Moving {
            why: Some(format!("{why} ({noticed}; it is being put right)")),
        },
        (progress, _) => progress,
    }
}

fn stale(target: &Target, higher: Fence) -> Progress {
    Progress::Stale {
        why: format!(
            "an order with the fence {higher} was applied to region `{}` before",
            target.region
        ),
    }
}

fn told_act(act: &Act) -> String {
    match act {
        Act::Remember(_) => format!("an annotation of the {}", DEPLOYMENTS.kind),
        Act::Stand { .. } => "the candidate's Deployment".to_owned(),
        Act::ScaleCopy(replicas) => format!("{replicas} candidate pods"),
        Act::Autoscale(_) => "the candidate's autoscaler".to_owned(),
        Act::Shield { .. } => "the candidate's disruption budget".to_owned(),
        Act::Split(split) if *split == Split::none() => "no share for the candidate".to_owned(),
        Act::Split(split) => format!("a share of {}", split.share),
        Act::Image { image, .. } => format!("the image {image}"),
        Act::ScaleOriginal(replicas) => format!("{replicas} baseline pods"),
        Act::Floor { least, .. } => format!("{least} as the least pods of the baseline's autoscaler"),
        Act::RemoveCopy => "the candidate's Deployment gone".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::listed;

    fn slice(service: &str, uids: &[&str], ready: bool) -> Value {
        let endpoint = |uid: &&str| json!({"conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": "cut-short", "uid": uid}});
        json!({"metadata": {"labels": {"kubernetes.io/service-name": service}},
            "endpoints": uids.iter().map(endpoint).collect::<Vec<_>>()})
    }

    #[test]
    fn a_pod_counts_once_by_its_uid_whatever_its_name_and_however_many_families_of_addresses() {
        let pods = [json!({"metadata": {"uid": "a"}}), json!({"metadata": {"uid": "b"}})];
        let slices = [
            slice("shop", &["a", "x"], true),
            slice("shop", &["a", "x"], true),
            slice("other", &["b"], true),
            slice("shop", &["b"], false),
        ];
        assert_eq!(listed(&slices, "shop", &pods), 1);
        assert_eq!(listed(&slices, "other", &pods), 1);
    }
}

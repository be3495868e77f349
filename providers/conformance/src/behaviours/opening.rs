//! Before the first order: looking, naming, refusing.

use std::collections::BTreeMap;

use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::Target;
use meridian_engine::run::effect::DesiredState;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{AudienceKey, Capabilities};
use meridian_workflows::workflow::Exposure;

use crate::rig::Workshop;
use crate::trial::{Outcome, Trial, check, failed, names, not_tried, serving};

pub async fn tells_the_baseline(workshop: &dyn Workshop) -> Outcome {
    let trial = Trial::begin(workshop).await?;
    let observed = trial.seen().await?.observation;
    trial.check(!trial.is_same_release(), || {
        format!("the rig's release is what serves: {}", trial.baseline)
    })?;
    trial.check(observed.candidate.is_same_as(&trial.candidate), || {
        let (first, second) = (&trial.candidate.pinned, &observed.candidate.pinned);
        format!("two looks resolve the release differently: {first}, then {second}")
    })?;
    trial.check(observed.candidate_share.is_zero(), || {
        format!("the candidate is given {} before any order", observed.candidate_share)
    })?;
    let truth = trial.rig.truth().await;
    trial.check(truth.writes.unwrap_or(0) == 0, || {
        format!("two looks made {} changes", truth.writes.unwrap_or(0))
    })
}

pub async fn names_the_target(workshop: &dyn Workshop) -> Outcome {
    let trial = Trial::begin(workshop).await?;
    let name = identify(&trial, &trial.target).await?;
    trial.check(!name.is_empty(), || "the target's name is empty".to_owned())?;
    let again = identify(&trial, &trial.target).await?;
    trial.check(name == again, || {
        format!("one target has two names: {name} and {again}")
    })?;
    let released_otherwise = trial.rig.released_already();
    for same in [trial.rig.other_spelling(), released_otherwise].into_iter().flatten() {
        let other = identify(&trial, &same).await?;
        trial.check(name == other, || {
            format!("two spellings of one target have two names: {name} and {other}")
        })?;
    }
    if let Some(another) = trial.rig.other_target() {
        let other = identify(&trial, &another).await?;
        trial.check(name != other, || format!("two targets have one name: {name}"))?;
    }
    Ok(())
}

async fn identify(trial: &Trial, target: &Target) -> Outcome<String> {
    match trial.rig.provider().identify(target).await {
        Ok(name) => Ok(name),
        Err(failure) => failed(format!("the target could not be identified: {failure}")),
    }
}

pub async fn refuses_a_missing_target(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let Some((missing, word)) = trial.rig.missing() else {
        return not_tried("no target can be named that does not exist");
    };
    trial.target = missing;
    match trial.look().await? {
        Ok(_) => return failed("a look at what does not exist succeeds"),
        Err(failure) => is_refused(&failure, &word)?,
    }
    let order = trial.order(serving(Share::ZERO));
    match trial.ask(&order).await? {
        Ok(progress) => failed(format!("an order to what does not exist is answered {progress:?}")),
        Err(failure) => is_refused(&failure, &word),
    }
}

/// For good, and naming what is wrong.
fn is_refused(failure: &Failure, word: &str) -> Outcome {
    check(failure.lasting == Lasting::Yes, || {
        format!("the refusal is told as transient: {failure}")
    })?;
    check(names(&failure.what, &[word.to_owned()]), || {
        format!("the refusal does not name `{word}`: {failure}")
    })
}

pub async fn refuses_unsound_settings(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let unsound = trial.rig.unsound();
    if unsound.is_empty() {
        return not_tried("the rig has no unsound settings to try");
    }
    for (settings, word) in unsound {
        if let Some(kind) = trial.rig.kind() {
            match (kind.read.0)(&settings) {
                Ok(_) => return failed(format!("the language takes {settings}")),
                Err(why) => check(names(&why, std::slice::from_ref(&word)), || {
                    format!("the language's refusal of {settings} does not name `{word}`: {why}")
                })?,
            }
        }
        trial.target.settings = settings;
        match trial.look().await? {
            Ok(_) => return failed(format!("a look takes {}", trial.target.settings)),
            Err(failure) => is_refused(&failure, &word)?,
        }
    }
    Ok(())
}

pub async fn refuses_what_it_cannot(workshop: &dyn Workshop) -> Outcome {
    let mut trial = Trial::begin(workshop).await?;
    let can = capabilities(&trial)?;
    let mut cannot = Vec::new();
    if !can.mirroring {
        cannot.push(Exposure::Shadow(Share::FULL));
    }
    if !can.audiences.keys.contains(&AudienceKey::Header) {
        let header = BTreeMap::from([("header".to_owned(), "x-tester=yes".to_owned())]);
        cannot.push(Exposure::Audience(header));
    }
    if cannot.is_empty() {
        return not_tried("the platform can do all that a stage can ask");
    }
    for exposure in cannot {
        let order = trial.order(DesiredState::Serving(exposure));
        match trial.ask(&order).await? {
            Ok(progress) => return trial.fail(format!("it cannot, and answers {progress:?}")),
            Err(failure) => trial.check(failure.lasting == Lasting::Yes, || {
                format!("it cannot, and tells it as transient: {failure}")
            })?,
        }
    }
    Ok(())
}

/// What the language is told about the rig's target.
pub fn capabilities(trial: &Trial) -> Outcome<Capabilities> {
    let Some(kind) = trial.rig.kind() else {
        return not_tried("the rig does not say what the language knows about its target");
    };
    (kind.read.0)(&trial.target.settings).or_else(|why| failed(format!("the rig's settings are refused: {why}")))
}

pub async fn releases_what_serves(workshop: &dyn Workshop) -> Outcome {
    let rig = workshop
        .rig()
        .await
        .or_else(|why| failed(format!("no rig could be built: {why}")))?;
    let Some(target) = rig.released_already() else {
        return not_tried("the rig has no release of what already serves");
    };
    let mut trial = Trial::at(rig, target).await?;
    trial.check(trial.is_same_release(), || {
        let (candidate, baseline) = (&trial.candidate.pinned, &trial.baseline.pinned);
        format!("what serves is {baseline}, and its release is resolved to {candidate}")
    })?;
    let mut states = vec![serving(Share::ZERO)];
    states.extend(trial.shares().into_iter().map(serving));
    states.extend([DesiredState::Promoted, DesiredState::Reverted, DesiredState::Withdrawn]);
    for state in states {
        trial.reach(state).await?;
        let observed = trial.seen().await?.observation;
        trial.check(
            observed.serving.as_ref().is_some_and(|v| v.is_same_as(&trial.baseline)),
            || format!("{:?} serves in a release of what served", observed.serving),
        )?;
    }
    Ok(())
}

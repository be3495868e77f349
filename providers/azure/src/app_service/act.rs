//! One order at a site: read, compare the fence, take the next step, and say how far it is.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Fence, Order, Target};
use meridian_engine::run::effect::{DesiredState, Progress};
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;
use serde_json::{Value, json};

use crate::app_service::AppService;
use crate::app_service::content::{Content, Deployable, PACKAGE_DIGEST, RUN_FROM_PACKAGE, bound};
use crate::app_service::fitness;
use crate::app_service::kind::PINNED_FOR;
use crate::app_service::memory::{Memory, Phase, Ramped, Swap, Way};
use crate::app_service::next::{self, Arm, Goal, Seen, Side, Step, Whose, Wish};
use crate::app_service::observed::pinned;
use crate::app_service::preflight::{self, findings};
use crate::app_service::ramp::Rules;
use crate::app_service::site::{Half, Shown, Site};
use crate::trouble::{Fate, Trouble};

/// After so many times a rising share gives in and says so: two tools that fight over a rule are worse than either.
const REASSERTED_MAX: u32 = 5;

/// One call's view of a site that it may change.
struct Act<'a> {
    cloud: &'a AppService,
    site: &'a Site,
    target: &'a Target,
    order: &'a Order,
    shown: Shown,
    memory: Memory,
    now: Timestamp,
}

pub(super) async fn ensured(
    cloud: &AppService,
    site: &Site,
    target: &Target,
    order: &Order,
) -> Result<Progress, Failure> {
    let wish = wish(site, order)?;
    let shown = match site.look().await {
        Ok(shown) => shown,
        Err(trouble) => return Err(preflight::unseen(site, trouble).await),
    };
    let memory = Memory::read(preflight::tags(&shown.production)).map_err(Failure::lasting)?;
    if cloud.is_behind(site, memory.serial) {
        return moving("the platform still shows what was there before the last step");
    }
    let mut act = Act {
        cloud,
        site,
        target,
        order,
        shown,
        memory,
        now: (cloud.now)(),
    };
    if let Some(progress) = act.claim().await? {
        return Ok(progress);
    }
    let step = act.decide(&wish).await?;
    act.take(step, &wish).await
}

fn moving(why: impl Into<String>) -> Result<Progress, Failure> {
    Ok(Progress::Moving { why: Some(why.into()) })
}

/// A swap that the platform will not let go of.
fn uncancelled(phase: &Phase, trouble: &Trouble) -> Progress {
    let refusal = &trouble.failure.what;
    match phase {
        Phase::Failed { why } => Progress::Stuck {
            why: format!("{why}; it cannot be cancelled while the platform is at it: {refusal}"),
        },
        _ => Progress::Moving {
            why: Some(format!("the platform is at it still: {refusal}")),
        },
    }
}

/// The order in this platform's terms.
fn wish(site: &Site, order: &Order) -> Result<Wish, Failure> {
    let desired = order.desired();
    let goal = match &desired.state {
        DesiredState::Serving(Exposure::Traffic(share)) if share.is_full() => Goal::Full,
        DesiredState::Serving(Exposure::Traffic(share)) => Goal::Share(*share),
        DesiredState::Serving(Exposure::Shadow(_)) => {
            return Err(Failure::lasting("App Service cannot mirror traffic"));
        }
        DesiredState::Serving(Exposure::Audience(_)) => {
            return Err(Failure::lasting("App Service cannot route an audience to a slot"));
        }
        DesiredState::Promoted => Goal::Promoted,
        DesiredState::Reverted => Goal::Reverted,
        DesiredState::Withdrawn => Goal::Withdrawn,
    };
    let settings = &site.settings;
    Ok(Wish {
        candidate: Content::pinned(&desired.candidate),
        baseline: Content::pinned(&desired.baseline),
        goal,
        can_redeploy: Deployable::again(&desired.baseline).is_some(),
        preview: settings.preview,
        start_within: settings.start_within,
        swap_within: settings.swap_within,
        steady_for: settings.steady_for,
    })
}

impl Act<'_> {
    /// Compares the fence, and writes ours where it is the larger. Gives an answer where the order ends here.
    ///
    /// App Service has no conditional request for a site or its tags, so this is a comparison, a write and a look at what stands
    /// there then. Each step is preceded by such a look too: two orders are told apart by then, or at the next call of the smaller
    /// one, which does nothing more.
    async fn claim(&mut self) -> Result<Option<Progress>, Failure> {
        let ours = self.order.fence();
        match self.memory.fence {
            Some(theirs) if theirs > ours => return Ok(Some(self.stale(theirs))),
            Some(theirs) if theirs == ours => return Ok(None),
            Some(_) | None => {}
        }
        let phase = match &self.memory.phase {
            Phase::Failed { .. } | Phase::Released => Phase::Idle,
            phase => phase.clone(),
        };
        let claimed = Memory {
            fence: Some(ours),
            phase,
            ..self.memory.clone()
        };
        self.remember(claimed, Memory::claim).await?;
        let (resource, stands) = self.stands().await?;
        match stands.fence {
            Some(theirs) if theirs > ours => Ok(Some(self.stale(theirs))),
            Some(theirs) if theirs == ours => {
                self.shown.production.resource = resource;
                self.memory = stands;
                Ok(None)
            }
            Some(_) | None => moving("the order was written down and is not shown yet").map(Some),
        }
    }

    fn stale(&self, theirs: Fence) -> Progress {
        Progress::Stale {
            why: format!(
                "an order with the fence {theirs} was given to the site `{}` before",
                self.site.settings.site
            ),
        }
    }

    /// The site and what its tags say at this moment.
    async fn stands(&self) -> Result<(Value, Memory), Failure> {
        let resource = self.site.get(Whose::Production, "").await?;
        let memory = Memory::read(resource.get("tags").unwrap_or(&Value::Null)).map_err(Failure::lasting)?;
        Ok((resource, memory))
    }

    /// Whether somebody came in between, right before a step: another order, or another process with this one. Seconds have gone
    /// by since the site was looked at, because instances and checks were asked.
    async fn overtaken(&self) -> Result<Option<Progress>, Failure> {
        let (_, stands) = self.stands().await?;
        match stands.fence {
            Some(theirs) if theirs > self.order.fence() => Ok(Some(self.stale(theirs))),
            _ if stands == self.memory => Ok(None),
            Some(_) | None => moving("the site was changed in between; it is looked at again").map(Some),
        }
    }

    /// Notes what is about to be ordered, and looks whether somebody came in between while that was written. Gives an answer where
    /// nothing is to be ordered any more.
    async fn announce(&mut self, phase: Phase) -> Result<Option<Progress>, Failure> {
        let before = self.memory.phase.clone();
        self.note(phase).await?;
        let stands = match self.stands().await {
            Ok((_, stands)) => stands,
            Err(failure) => {
                self.note(before).await?;
                return Err(failure);
            }
        };
        match stands.fence {
            Some(theirs) if theirs > self.order.fence() => Ok(Some(self.stale(theirs))),
            // What was noted a moment ago the platform need not show yet: only what is newer counts.
            _ if stands == self.memory || stands.serial < self.memory.serial => Ok(None),
            Some(_) | None => moving("the site was changed in between; it is looked at again").map(Some),
        }
    }

    /// Writes what is to be remembered, one serial further.
    async fn remember(&mut self, memory: Memory, tags: fn(&Memory) -> Value) -> Result<(), Trouble> {
        let memory = Memory {
            serial: self.memory.serial.saturating_add(1),
            ..memory
        };
        self.site.merge_tags(&tags(&memory)).await?;
        self.cloud.has_written(self.site, memory.serial);
        self.memory = memory;
        Ok(())
    }

    async fn note(&mut self, phase: Phase) -> Result<(), Trouble> {
        let memory = Memory {
            phase,
            ..self.memory.clone()
        };
        self.remember(memory, Memory::note).await
    }

    fn host(&self) -> &str {
        self.shown.slot.host()
    }

    fn rules(&self) -> Rules {
        Rules::of(&self.shown.production.config)
    }

    /// The share that the rules give to the slot. Where they make no sense it is taken for all of it: the way down is to be taken
    /// then too, and the way up is refused by [`Rules::foreign`].
    fn share(&self) -> Share {
        self.rules().share(self.host()).unwrap_or(Share::FULL)
    }

    async fn seen(&self) -> Result<Seen, Failure> {
        let operation = match &self.memory.phase {
            Phase::Swapping(Swap { link: Some(link), .. }) => self.cloud.polled(self.site, link, self.now).await?,
            _ => None,
        };
        let side = |half: &Half| Side {
            content: Content::of(self.site.fx(half), &half.app_settings),
            is_running: half.is_running(),
        };
        let stamp = self
            .shown
            .production
            .resource
            .pointer("/properties/slotSwapStatus/timestampUtc");
        let preview = self.shown.slot.property("targetSwapSlot");
        Ok(Seen {
            production: side(&self.shown.production),
            slot: side(&self.shown.slot),
            share: self.share(),
            is_restless: self.rules().is_restless(self.host()),
            in_preview: preview.is_some(),
            is_busy: self.shown.production.property("inProgressOperationId").is_some(),
            // A stamp is compared as a word of a tag, so it must be one.
            last_swap: stamp.and_then(Value::as_str).map(|stamp| stamp.replace(' ', "T")),
            memory: self.memory.clone(),
            operation,
            slot_fitness: None,
            production_fitness: None,
        })
    }

    /// The next step, with a look at what it depends on.
    async fn decide(&self, wish: &Wish) -> Result<Step, Failure> {
        let mut seen = self.seen().await?;
        // Traffic comes down whatever others have made of the rules beside ours.
        let falls = next::comes_down(&seen, wish) || self.has_come_down(wish);
        if !falls && let Some(why) = self.rules().foreign(self.host(), &self.site.settings.slot) {
            return Ok(Step::Stuck(why));
        }
        loop {
            let step = next::next(&seen, wish, self.now);
            let whose = match step {
                Step::Prove(Whose::Slot) if seen.slot_fitness.is_none() => Whose::Slot,
                Step::Prove(Whose::Production) if seen.production_fitness.is_none() => Whose::Production,
                step => return Ok(step),
            };
            let since = self.memory.phase.since().unwrap_or(self.now);
            let half = match whose {
                Whose::Slot => &self.shown.slot,
                Whose::Production => &self.shown.production,
            };
            let fitness = fitness::fitness(self.site, whose, half, since).await?;
            match whose {
                Whose::Slot => seen.slot_fitness = Some(fitness),
                Whose::Production => seen.production_fitness = Some(fitness),
            }
        }
    }

    /// Whether the order is one back, or has brought the share down to what it asks for.
    fn has_come_down(&self, wish: &Wish) -> bool {
        match wish.goal {
            Goal::Reverted | Goal::Withdrawn => true,
            Goal::Share(share) => {
                let of_order = self.memory.ramped.filter(|ramped| ramped.fence == self.order.fence());
                of_order.is_some_and(|ramped| ramped.is_lower && ramped.share == share)
            }
            Goal::Full | Goal::Promoted => false,
        }
    }

    async fn take(&mut self, step: Step, wish: &Wish) -> Result<Progress, Failure> {
        if step.changes_something()
            && let Some(progress) = self.overtaken().await?
        {
            return Ok(progress);
        }
        match step {
            Step::Settled => Ok(Progress::Settled),
            Step::Wait(why) => moving(why),
            Step::Stuck(why) => Ok(Progress::Stuck { why }),
            Step::Prove(_) => moving("whether the app is fit is looked at"),
            Step::Note(phase, why) => {
                if matches!(
                    (&self.memory.phase, &phase),
                    (Phase::Idle | Phase::Released, Phase::Starting { .. })
                ) {
                    self.warm_up().await?;
                }
                self.note(phase).await?;
                moving(why)
            }
            Step::Ramp(share) => self.ramp(share).await,
            Step::Deploy(arm) => self.deploy(arm, wish).await,
            Step::StartSlot => {
                self.site.tell(Whose::Slot, "start").await?;
                moving("the slot is started")
            }
            Step::StopSlot => {
                self.site.tell(Whose::Slot, "stop").await?;
                moving("the slot is stopped")
            }
            Step::Preview => self.preview().await,
            Step::Reset(phase) => {
                // Both sides, as the platform's own tool does it: either may have been given the other's settings.
                for whose in [Whose::Slot, Whose::Production] {
                    match self.site.tell(whose, "resetSlotConfig").await {
                        Err(trouble) if trouble.is_status(409) => return Ok(uncancelled(&phase, &trouble)),
                        told => told?,
                    }
                }
                let why = match &phase {
                    Phase::Failed { why } => why.clone(),
                    _ => "the first phase of the swap is taken back on both sides".to_owned(),
                };
                self.note(phase).await?;
                moving(why)
            }
            Step::Swap(way) => self.swap(way).await,
        }
    }

    async fn ramp(&mut self, share: Share) -> Result<Progress, Failure> {
        let rules = self.rules();
        let stood = self.share();
        let slot = self.site.settings.slot.clone();
        let fence = self.order.fence();
        let written = self
            .memory
            .ramped
            .filter(|written| written.fence == fence && written.share == share);
        let again = written.map_or(0, |written| written.again.saturating_add(1));
        if again > REASSERTED_MAX && share > stood {
            return Ok(Progress::Stuck {
                why: format!(
                    "somebody else keeps changing the ramp-up rules of site `{}`: {share} was put back {REASSERTED_MAX} times",
                    self.site.settings.site
                ),
            });
        }
        let body = rules.with(self.host(), &slot, share);
        self.site.set_config(Whose::Production, &body).await?;
        // The traffic first: what is remembered of it is a report, and can be lost.
        let was = self.memory.ramped.map_or(stood, |ramped| stood.max(ramped.share));
        let until = (share < was).then(|| PINNED_FOR.after(self.now));
        let memory = Memory {
            pinned_until: until.or(self.memory.pinned_until),
            ramped: Some(Ramped {
                fence,
                share,
                again,
                is_lower: share < stood || written.is_some_and(|written| written.is_lower),
            }),
            ..self.memory.clone()
        };
        self.remember(memory, Memory::note).await?;
        let drifted = if again > 0 {
            "somebody else changed the ramp-up rules; "
        } else {
            ""
        };
        match until {
            Some(until) => moving(format!(
                "{drifted}traffic to slot `{slot}` goes from {was} to {share}; {}",
                pinned(&slot, until)
            )),
            None => moving(format!("{drifted}{share} of the traffic is sent to slot `{slot}`")),
        }
    }

    /// What can be deployed for an arm.
    fn deployable(&self, arm: Arm) -> Result<Deployable, Failure> {
        let desired = self.order.desired();
        let version = match arm {
            Arm::Candidate => &desired.candidate,
            Arm::Baseline => &desired.baseline,
        };
        let of_release = Deployable::of(&self.target.release).map_err(Failure::lasting)?;
        if of_release.content() == Content::pinned(version) {
            return Ok(of_release);
        }
        Deployable::again(version).ok_or_else(|| {
            Failure::lasting(format!(
                "`{version}` cannot be deployed from its pin `{}` alone, and the release is another one",
                version.pinned
            ))
        })
    }

    async fn deploy(&mut self, arm: Arm, wish: &Wish) -> Result<Progress, Failure> {
        let deployable = self.deployable(arm)?;
        if arm == Arm::Candidate {
            let found = findings(self.site, &self.shown, &deployable).await?;
            if !found.problems.is_empty() {
                return Ok(Progress::Stuck {
                    why: found.problems.join("; "),
                });
            }
        }
        if let Some(progress) = self.announce(Phase::Starting { since: self.now }).await? {
            return Ok(progress);
        }
        if !self.shown.slot.is_running() {
            self.site.tell(Whose::Slot, "start").await?;
        }
        self.warm_up().await?;
        match &deployable {
            Deployable::Image(image) => {
                let body = json!({"properties": {self.site.settings.container.key(): format!("DOCKER|{image}")}});
                self.site.set_config(Whose::Slot, &body).await?;
            }
            Deployable::Package { url, sha256 } => {
                let settings = [(RUN_FROM_PACKAGE, url.clone()), (PACKAGE_DIGEST, bound(sha256, url))];
                self.site.set_app_settings(Whose::Slot, &settings).await?;
            }
        }
        let content = match arm {
            Arm::Candidate => &wish.candidate,
            Arm::Baseline => &wish.baseline,
        };
        let slot = &self.site.settings.slot;
        let deployed = format!("`{content}` is deployed to slot `{slot}`");
        match self.memory.pinned_until.filter(|until| *until > self.now) {
            Some(until) => moving(format!("{deployed}, which restarts; {}", pinned(slot, until))),
            None => moving(deployed),
        }
    }

    /// Sets the platform's warm-up request where the settings name one.
    async fn warm_up(&self) -> Result<(), Trouble> {
        let Some(warm_up) = &self.site.settings.warm_up else {
            return Ok(());
        };
        self.site.set_app_settings(Whose::Slot, &warm_up.settings()).await?;
        if warm_up.production {
            self.site
                .set_app_settings(Whose::Production, &warm_up.settings())
                .await?;
        }
        Ok(())
    }

    /// Orders the first phase of a swap. It is written down before, so that whoever comes next takes it back where it must be.
    async fn preview(&mut self) -> Result<Progress, Failure> {
        let before = self.memory.phase.clone();
        if let Some(progress) = self.announce(Phase::Preview { since: self.now }).await? {
            return Ok(progress);
        }
        match self.site.preview().await {
            Ok(()) => moving("production's settings are applied to the slot, which restarts with them"),
            Err(Trouble {
                failure,
                fate: Fate::Refused { .. },
            }) => {
                self.note(before).await?;
                Err(failure)
            }
            // It may have been carried out: what the slot shows decides.
            Err(trouble) => Err(trouble.failure),
        }
    }

    /// Orders a swap. It is written down before, because a swap that is ordered twice undoes itself.
    async fn swap(&mut self, way: Way) -> Result<Progress, Failure> {
        let stamp = self.seen().await?.last_swap;
        let swap = Swap {
            since: self.now,
            way,
            before: stamp,
            link: None,
        };
        let before = self.memory.phase.clone();
        if let Some(progress) = self.announce(Phase::Swapping(swap.clone())).await? {
            return Ok(progress);
        }
        match self.site.swap().await {
            Ok(begun) => {
                let begun = begun.filter(|begun| Memory::can_keep(&begun.link));
                if let Some(begun) = &begun {
                    self.cloud.rest(&begun.link, begun.retry_after, self.now);
                }
                let link = begun.map(|begun| begun.link);
                self.note(Phase::Swapping(Swap { link, ..swap })).await?;
                moving(match way {
                    Way::Forth => "the candidate is swapped into production",
                    Way::Back => "the baseline is swapped back into production",
                })
            }
            // Another one is under way: perhaps ours, whose answer was lost.
            Err(trouble) if trouble.is_status(409) => moving(trouble.failure.what),
            Err(Trouble {
                failure,
                fate: Fate::Refused { status, .. },
            }) => {
                let phase = match status {
                    // Nothing was begun, and the same may succeed once the way is free.
                    None | Some(401 | 403 | 429) => before,
                    Some(_) => Phase::Failed {
                        why: format!("the swap was refused: {}", failure.what),
                    },
                };
                self.note(phase).await?;
                Err(failure)
            }
            Err(trouble) => Err(trouble.failure),
        }
    }
}

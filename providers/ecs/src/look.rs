//! A fresh look at a target: who moves it, what runs there, what the listener says.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::Ladder;
use meridian_workflows::share::Share;

use crate::aws::Account;
use crate::aws::services::Seen;
use crate::diagnosis::{self, Evidence, Illness};
use crate::facts::{Controller, Deployment, Forward, Health, Service};
use crate::fence::{self, Marks};
use crate::native::{self, GATE};
use crate::pair::{Arm, Slot};
use crate::settings::{Mode, NO_ALARMS, Settings};
use crate::strategy::{self, Strategy};
use crate::weights;

/// Services as they are, and how traffic is shifted between their versions.
#[derive(Debug)]
pub struct Ground {
    /// The service, or both of two.
    pub services: Vec<Seen>,
    pub means: Means,
    pub marks: Marks,
}

/// How traffic is shifted, decided for this target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Native(Strategy),
    TaskSets,
    TwoServices,
}

impl Ground {
    /// The service that a target is known by and that bears its tags: the same one, whichever is called blue.
    pub fn anchor(&self) -> &Service {
        let least = self
            .services
            .iter()
            .min_by(|one, other| one.facts.arn.cmp(&other.facts.arn));
        &least
            .or(self.services.first())
            .expect("there is always a service")
            .facts
    }

    pub fn first(&self) -> &Seen {
        self.services.first().expect("there is always a service")
    }

    /// The services, each with what is released together with it.
    pub fn beside(&self) -> impl Iterator<Item = (&Service, &str)> {
        let other = |one: &Service| {
            let mut others = self
                .services
                .iter()
                .map(|seen| &seen.facts)
                .filter(|other| other.arn != one.arn);
            others.next().map_or(fence::ALONE, |other| other.name.as_str())
        };
        self.services.iter().map(move |seen| (&seen.facts, other(&seen.facts)))
    }

    /// Whether no service of this target is part of another target too: two runs could hold it then, each under its own name.
    ///
    /// *Errors*: a lasting one that names the service and what it is part of.
    pub fn is_one_target(&self) -> Result<(), Failure> {
        for (service, beside) in self.beside() {
            let name = &service.name;
            let known = match service.tags.get(fence::BESIDE).map(String::as_str) {
                Some(known) if known != beside => known,
                Some(_) | None => continue,
            };
            let as_known = match known {
                fence::ALONE => "alone".to_owned(),
                other => format!("as one of two, beside `{other}`"),
            };
            return Err(Failure::lasting(format!(
                "the service `{name}` has been released {as_known}, and another run could hold it so: name it in the same way, or \
                 remove its tag `{}` once no run has it open",
                fence::BESIDE
            )));
        }
        Ok(())
    }

    /// The container behind the load balancer.
    pub fn container(&self) -> Option<&str> {
        self.first()
            .facts
            .balancers
            .iter()
            .find_map(|balancer| balancer.container.as_deref())
    }
}

/// Reads the services of a target and decides by which means it is moved.
///
/// *Errors*: lasting ones where no means is left, not even for the way back. Whether there is a way out as well, [`Ground::admits`]
/// says.
pub async fn ground(account: &Account, settings: &Settings, ladder: &Ladder) -> Result<Ground, Failure> {
    let mut services = vec![account.service(&settings.cluster, &settings.service).await?];
    if let Some(green) = &settings.green {
        services.push(account.service(&settings.cluster, green).await?);
    }
    let means = means(settings, &services, ladder).map_err(Failure::lasting)?;
    let mut ground = Ground {
        services,
        means,
        marks: Marks::default(),
    };
    ground.marks = Marks::read(&ground.anchor().tags).map_err(Failure::lasting)?;
    Ok(ground)
}

fn means(settings: &Settings, services: &[Seen], ladder: &Ladder) -> Result<Means, String> {
    for seen in services {
        let name = &seen.facts.name;
        match (&seen.facts.controller, settings.mode) {
            (Controller::CodeDeploy, _) => {
                return Err(format!(
                    "the service `{name}` is moved by CodeDeploy, which would undo what anybody else does: change its \
                     deployment controller to ECS (update-service --deployment-controller type=ECS) to release it here"
                ));
            }
            (Controller::Other(other), _) => {
                return Err(format!(
                    "the service `{name}` has the deployment controller {other}, which is not known here"
                ));
            }
            (Controller::External, Mode::Native | Mode::TwoServices) => {
                return Err(format!(
                    "the service `{name}` has the deployment controller EXTERNAL: its mode is taskSets"
                ));
            }
            (Controller::External, _) if settings.green.is_some() => {
                return Err(format!(
                    "the service `{name}` has the deployment controller EXTERNAL: name it alone, as `service`"
                ));
            }
            (Controller::Ecs, Mode::TaskSets) => {
                return Err(format!(
                    "the service `{name}` has the deployment controller ECS: task sets need EXTERNAL"
                ));
            }
            (Controller::Ecs | Controller::External, _) => {}
        }
    }
    let Some(first) = services.first() else {
        return Err("no service is named".into());
    };
    let means = match (&first.facts.controller, &settings.green) {
        (_, Some(_)) => Means::TwoServices,
        (Controller::External, None) => Means::TaskSets,
        (_, None) => Means::Native(native_strategy(&first.facts, ladder)),
    };
    if means == Means::TaskSets && (settings.target_groups.is_none() || settings.rules.production.is_none()) {
        return Err(format!(
            "the service `{}` has the deployment controller EXTERNAL: task sets need `targetGroups` and \
             `listenerRules.production`",
            first.facts.name
        ));
    }
    Ok(means)
}

fn native_strategy(service: &Service, ladder: &Ladder) -> Strategy {
    strategy::choose(ladder, service.shifts_traffic()).unwrap_or(match service.shifts_traffic() {
        true => Strategy::BlueGreen,
        false => Strategy::Rolling,
    })
}

impl Ground {
    /// Whether this target can be taken up its ladder. Asked before a region opens and before each step up, and never on the way
    /// back: what others have changed since must not keep users on the candidate.
    ///
    /// *Errors*: lasting ones for what cannot be done there.
    pub fn admits(&self, settings: &Settings, ladder: &Ladder) -> Result<(), Failure> {
        self.judge(settings, ladder).map_err(Failure::lasting)
    }

    fn judge(&self, settings: &Settings, ladder: &Ladder) -> Result<(), String> {
        let first = &self.first().facts;
        match self.means {
            Means::Native(_) => climbs(settings, first, ladder)?,
            Means::TaskSets | Means::TwoServices => {
                if settings.alarms.is_some() {
                    return Err(NO_ALARMS.into());
                }
                for rung in &ladder.rungs {
                    weights::of(rung.exposure.traffic())?;
                }
            }
        }
        match self.services.iter().all(|seen| seen.facts.desired == 0) {
            true => Err(format!(
                "the service `{}` is scaled to 0 tasks: nothing serves",
                first.name
            )),
            false => Ok(()),
        }
    }
}

fn climbs(settings: &Settings, service: &Service, ladder: &Ladder) -> Result<(), String> {
    let cannot = |why: String| format!("the service `{}` cannot climb this ladder: {why}", service.name);
    let strategy = strategy::choose(ladder, service.shifts_traffic()).map_err(cannot)?;
    if strategy != Strategy::Rolling {
        strategy::hook_minutes(ladder, settings.hook_timeout).map_err(cannot)?;
    }
    let foreign = service.pauses.iter().find(|stages| stages.as_slice() != [GATE]);
    match foreign {
        Some(stages) => Err(format!(
            "the service `{}` has a pause hook of its own at {}: nobody could tell which pause an order ends; remove it",
            service.name,
            stages.join(", ")
        )),
        None => Ok(()),
    }
}

/// A service that ECS itself moves.
#[derive(Debug)]
pub struct Native {
    pub newest: Option<Deployment>,
    pub listener: Option<Share>,
    pub health: Option<Health>,
}

/// Looks at the deployments of a service and at what its listener says.
pub async fn native(account: &Account, settings: &Settings, seen: &Seen) -> Result<Native, Failure> {
    let newest = account.newest_deployment(&settings.cluster, seen).await?;
    let group = newest
        .as_ref()
        .and_then(|newest| newest.target.as_ref()?.target_group.clone());
    let rule = settings
        .rules
        .production
        .clone()
        .or_else(|| seen.facts.advanced().find_map(|advanced| advanced.production.clone()));
    let mut native = Native {
        newest,
        listener: None,
        health: None,
    };
    if let Some(group) = group {
        native.health = Some(account.health(&group).await?);
        if let Some(rule) = rule {
            let forward = account.forward(&rule).await?;
            native.listener = Some(share_of(&forward, &group));
        }
    }
    Ok(native)
}

fn share_of(forward: &Forward, group: &str) -> Share {
    let sum = forward.weights.values().copied().fold(0, u32::saturating_add);
    weights::share(forward.weights.get(group).copied().unwrap_or(0), sum)
}

impl Native {
    /// What is wrong with a version, if it is the one that is being deployed.
    pub async fn illness(
        &self,
        account: &Account,
        settings: &Settings,
        service: &Service,
        version: &str,
        now: Timestamp,
    ) -> Result<Option<Illness>, Failure> {
        let deployed = self
            .newest
            .as_ref()
            .filter(|newest| newest.task_definition() == Some(version));
        let Some(deployment) = deployed else {
            return Ok(None);
        };
        let stopped = account.stopped_tasks(&settings.cluster, &service.name).await?;
        let target = deployment.target.as_ref();
        Ok(diagnosis::of(
            &Evidence {
                task_definition: version,
                since: deployment.created,
                stopped: &stopped,
                events: &service.events,
                health: self.health.as_ref(),
                is_complete: target.is_some_and(|target| target.requested > 0 && target.running >= target.requested),
            },
            now,
        ))
    }

    pub fn sight<'a>(
        &'a self,
        ground: &'a Ground,
        strategy: Strategy,
        claim: u64,
        now: Timestamp,
        illness: Option<&'a Illness>,
    ) -> native::Sight<'a> {
        let service = &ground.first().facts;
        let newest = self.newest.as_ref().map(|newest| newest.arn.as_str());
        native::Sight {
            strategy,
            newest: self.newest.as_ref(),
            since: ground.marks.since(claim),
            ordered: ground.marks.ordered(newest),
            now,
            step: self.newest.as_ref().and_then(|newest| ground.marks.step(&newest.arn)),
            task_definition: service.task_definition.as_deref(),
            listener: self.listener,
            illness,
            is_altered: service.pauses.iter().any(|stages| stages.as_slice() == [GATE]) || ground.marks.own.is_some(),
        }
    }
}

/// Two sets of tasks behind one weighted rule.
#[derive(Debug)]
pub struct Pair {
    pub slots: [Slot; 2],
    /// When what is in each slot was started.
    pub started: [Option<Timestamp>; 2],
    pub healths: [Health; 2],
    pub full: u32,
    pub production: Forward,
    pub test: Option<Forward>,
    /// What somebody else has put there, and what makes the slots hard to tell apart.
    pub strays: Vec<String>,
}

/// Looks at both slots and at the rules. Where a slot holds more than it should, `versions` are preferred, the first most.
pub async fn pair(account: &Account, settings: &Settings, ground: &Ground, versions: &[&str]) -> Result<Pair, Failure> {
    let ((mut slots, started), strays) = match ground.means {
        Means::TwoServices => (service_slots(&ground.services)?, Vec::new()),
        Means::TaskSets | Means::Native(_) => set_slots(settings, &ground.first().facts, versions)?,
    };
    let mut healths = [Health::default(), Health::default()];
    for (slot, health) in slots.iter_mut().zip(&mut healths) {
        if let Some(arm) = &mut slot.arm {
            *health = account.health(&slot.target_group).await?;
            arm.ready = arm.ready.min(health.healthy);
        }
    }
    let production = account.forward(production(settings)?).await?;
    let test = match &settings.rules.test {
        Some(rule) => Some(account.forward(rule).await?),
        None => None,
    };
    let full = ground.services.iter().map(|seen| seen.facts.desired).max().unwrap_or(0);
    Ok(Pair {
        slots,
        started,
        healths,
        full,
        production,
        test,
        strays,
    })
}

/// The rule whose weights are shifted.
pub fn production(settings: &Settings) -> Result<&str, Failure> {
    let rule = settings.rules.production.as_deref();
    rule.ok_or_else(|| Failure::lasting("`listenerRules.production` is missing"))
}

type Slots = ([Slot; 2], [Option<Timestamp>; 2]);

fn set_slots(settings: &Settings, service: &Service, versions: &[&str]) -> Result<(Slots, Vec<String>), Failure> {
    let rank = |definition: &str, is_primary: bool| {
        let place = versions.iter().position(|version| *version == definition);
        (is_primary, std::cmp::Reverse(place.unwrap_or(versions.len())))
    };
    let mut strays = Vec::new();
    let groups = settings.target_groups.as_ref();
    let groups = groups.ok_or_else(|| Failure::lasting("`targetGroups` is missing"))?;
    let mut started = [None, None];
    let mut slots = [&groups.blue, &groups.green].map(|group| Slot {
        target_group: group.clone(),
        arm: None,
        is_clearing: false,
    });
    for set in &service.task_sets {
        let group = set.target_group.as_deref().unwrap_or_default();
        let Some(slot) = slots.iter().position(|slot| slot.target_group == group) else {
            if set.is_draining {
                continue;
            }
            strays.push(format!(
                "the task set {} is behind the target group `{group}`, which is neither blue nor green",
                set.id
            ));
            continue;
        };
        if set.is_draining {
            slots[slot].is_clearing = true;
            continue;
        }
        if let Some(other) = &slots[slot].arm {
            strays.push(format!(
                "the task sets {} and {} share the target group {group}: delete one of them",
                other.id, set.id
            ));
            if rank(&set.task_definition, set.is_primary) <= rank(&other.task_definition, other.is_primary) {
                continue;
            }
        }
        started[slot] = set.created;
        slots[slot].arm = Some(Arm {
            id: set.id.clone(),
            task_definition: set.task_definition.clone(),
            desired: set.desired,
            ready: set.running,
            is_steady: set.is_steady,
            is_primary: set.is_primary,
        });
    }
    Ok(((slots, started), strays))
}

fn service_slots(services: &[Seen]) -> Result<Slots, Failure> {
    let [blue, green] = services else {
        return Err(Failure::lasting("`services` names two services"));
    };
    let (blue, green) = (service_slot(&blue.facts)?, service_slot(&green.facts)?);
    if blue.0.target_group == green.0.target_group {
        return Err(Failure::lasting(
            "both services are behind the same target group, so their shares cannot be told apart",
        ));
    }
    Ok(([blue.0, green.0], [blue.1, green.1]))
}

fn service_slot(service: &Service) -> Result<(Slot, Option<Timestamp>), Failure> {
    let group = service
        .balancers
        .iter()
        .find_map(|balancer| balancer.target_group.clone());
    let group =
        group.ok_or_else(|| Failure::lasting(format!("the service `{}` is behind no target group", service.name)))?;
    let rollout = service.primary_rollout();
    let is_steady = rollout.is_some_and(|rollout| rollout.is_completed && !rollout.has_failed)
        && service.rollouts.len() == 1
        && service.running == service.desired;
    let definition = rollout
        .map(|rollout| rollout.task_definition.clone())
        .or(service.task_definition.clone());
    let arm = (service.desired > 0).then(|| Arm {
        id: service.arn.clone(),
        task_definition: definition.unwrap_or_default(),
        desired: service.desired,
        ready: rollout.map_or(service.running, |rollout| rollout.running),
        is_steady,
        is_primary: true,
    });
    let slot = Slot {
        target_group: group,
        is_clearing: arm.is_none() && service.running > 0,
        arm,
    };
    Ok((slot, rollout.and_then(|rollout| rollout.created)))
}

impl Pair {
    /// Whether both slots can be told apart from what others have put there: needed for the way up alone.
    ///
    /// *Errors*: lasting ones with what is in the way.
    pub fn admits(&self) -> Result<(), Failure> {
        match self.strays.first() {
            Some(stray) => Err(Failure::lasting(stray)),
            None => Ok(()),
        }
    }

    /// What is wrong with a version, if it is there.
    pub async fn illness(
        &self,
        account: &Account,
        settings: &Settings,
        ground: &Ground,
        version: &str,
        now: Timestamp,
    ) -> Result<Option<Illness>, Failure> {
        let holds = |slot: &&usize| {
            self.slots[**slot]
                .arm
                .as_ref()
                .is_some_and(|arm| arm.task_definition == version)
        };
        let Some(slot) = [0, 1].iter().find(holds).copied() else {
            return Ok(None);
        };
        let service = match ground.means {
            Means::TwoServices => &ground.services.get(slot).unwrap_or(ground.first()).facts,
            Means::TaskSets | Means::Native(_) => &ground.first().facts,
        };
        let stopped = account.stopped_tasks(&settings.cluster, &service.name).await?;
        let arm = self.slots[slot].arm.as_ref();
        let failed = service.primary_rollout().filter(|rollout| rollout.has_failed);
        let told = diagnosis::of(
            &Evidence {
                task_definition: version,
                since: self.started[slot],
                stopped: &stopped,
                events: &service.events,
                health: Some(&self.healths[slot]),
                is_complete: arm.is_some_and(|arm| arm.ready >= arm.desired),
            },
            now,
        );
        // ECS gave up on it, whatever the reason.
        Ok(told.or_else(|| {
            failed.map(|rollout| Illness {
                why: rollout
                    .reason
                    .clone()
                    .unwrap_or_else(|| "ECS gave the rollout up".into()),
                is_lasting: true,
            })
        }))
    }
}

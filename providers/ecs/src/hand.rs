//! Carrying one step out: what has to be remembered is written down before what makes it necessary.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::provider::{Fence, Target};
use sha2::{Digest as _, Sha256};

use crate::aws::Account;
use crate::aws::balancer::Others;
use crate::aws::orders::Way;
use crate::aws::sets::NewSet;
use crate::look::{self, Ground, Means, Native, Pair};
use crate::settings::Settings;
use crate::strategy::{self, Strategy};
use crate::{fence, native, pair};

/// What carries one step out.
pub struct Hand<'a> {
    pub account: &'a Account,
    pub settings: &'a Settings,
    pub target: &'a Target,
    pub ground: &'a Ground,
    pub fence: Fence,
    pub now: Timestamp,
}

impl Hand<'_> {
    /// A step of ECS's own deployments. What has to be remembered is written down before what makes it necessary.
    pub async fn take(
        &self,
        step: &native::Step,
        native: &Native,
        strategy: Strategy,
    ) -> Result<Option<String>, Failure> {
        let (cluster, seen) = (self.settings.cluster.as_str(), self.ground.first());
        let newest = native.newest.as_ref().map(|newest| newest.arn.as_str());
        let shifts_traffic = seen.facts.shifts_traffic();
        Ok(Some(match step {
            native::Step::Climb { task_definition } => {
                let ladder = &self.target.ladder;
                let wait = strategy::hook_minutes(ladder, self.settings.hook_timeout).map_err(Failure::lasting)?;
                let way = Way::gated(self.settings, strategy, strategy::bake_minutes(ladder), wait);
                self.mark_ordered(newest, task_definition).await?;
                self.account.deploy(cluster, seen, task_definition, &way).await?;
                format!("a deployment of {task_definition} is ordered")
            }
            native::Step::Return { task_definition } => {
                self.mark_ordered(newest, task_definition).await?;
                let way = Way::at_once(self.settings, shifts_traffic);
                self.account.deploy(cluster, seen, task_definition, &way).await?;
                format!("a deployment back to {task_definition} is ordered")
            }
            native::Step::Continue { deployment, hook, to } => {
                let mark = fence::step_of(deployment, hook, *to);
                self.account
                    .tag(&self.ground.anchor().arn, &[(fence::STEP, mark)])
                    .await?;
                match self.account.go_on(deployment, hook).await? {
                    Some(refused) => format!("ECS is let go on to {to}, and its hook does not wait: {refused}"),
                    None => format!("ECS is let go on to {to}"),
                }
            }
            native::Step::RollBack { deployment, hook } => {
                self.mark_since(Some(deployment)).await?;
                self.account.roll_back(deployment, hook.as_deref()).await?;
                "ECS is told to roll back".to_owned()
            }
            native::Step::Acknowledge { deployment } => {
                self.mark_since(Some(deployment)).await?;
                "ECS has rolled back".to_owned()
            }
            native::Step::Ungate => {
                let own = self.ground.marks.own.as_deref();
                self.account.ungate(cluster, seen, own).await?;
                if own.is_some() {
                    self.mark(fence::own_of(None).map_err(Failure::lasting)?).await?;
                }
                "the service is configured as before".to_owned()
            }
            native::Step::Rest(_) => return Ok(None),
        }))
    }

    /// Before a deployment is ordered: what came before it, and that it comes.
    async fn mark_ordered(&self, newest: Option<&str>, task_definition: &str) -> Result<(), Failure> {
        let claim = self.fence.claim;
        let since = fence::since_of(claim, newest);
        let ordered = fence::ordered_of(claim, newest, task_definition, self.now);
        let mut marks = vec![(fence::SINCE.to_owned(), since), (fence::ORDERED.to_owned(), ordered)];
        let seen = self.ground.first();
        // What an earlier deployment of ours left is not the service's own.
        if self.ground.marks.own.is_none() || !seen.is_configured_by(self.settings) {
            let own = fence::own_of(Some(&seen.configured()));
            marks.extend(own.map_err(Failure::lasting)?);
        }
        self.mark(marks).await
    }

    async fn mark(&self, marks: Vec<(String, String)>) -> Result<(), Failure> {
        let marks: Vec<(&str, String)> = marks.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        self.account.tag(&self.ground.anchor().arn, &marks).await
    }

    async fn mark_since(&self, deployment: Option<&str>) -> Result<(), Failure> {
        let mark = fence::since_of(self.fence.claim, deployment);
        self.account
            .tag(&self.ground.anchor().arn, &[(fence::SINCE, mark)])
            .await
    }

    /// A step of two sets of tasks behind one rule.
    pub async fn shift(&self, step: &pair::Step, pair: &Pair) -> Result<Option<String>, Failure> {
        let anchor = self.ground.anchor().arn.as_str();
        Ok(Some(match step {
            pair::Step::Place {
                slot,
                task_definition,
                capacity,
            } => {
                self.place(*slot, task_definition, *capacity, pair).await?;
                format!("{task_definition} is started")
            }
            pair::Step::Scale { slot, capacity } => {
                self.scale(*slot, *capacity, pair).await?;
                format!("a version is scaled to {} tasks", capacity.tasks)
            }
            pair::Step::Weigh { weights } => {
                let shifted = self.now.as_second().to_string();
                self.account.tag(anchor, &[(fence::SHIFTED, shifted)]).await?;
                let groups = [0, 1].map(|slot| (pair.slots[slot].target_group.as_str(), weights[slot]));
                let rule = look::production(self.settings)?;
                self.account.weigh(rule, &groups, Others::Stay).await?;
                format!("the weights {} : {} are written", weights[0], weights[1])
            }
            pair::Step::Test { slot } => {
                if let Some(rule) = &self.settings.rules.test {
                    let all = [(pair.slots[*slot].target_group.as_str(), 1)];
                    self.account.weigh(rule, &all, Others::Go).await?;
                }
                "the testers' rule is written".to_owned()
            }
            pair::Step::MarkPromotion => {
                let mark = fence::promotion_of(self.fence, self.now);
                self.account.tag(anchor, &[(fence::PROMOTED, mark)]).await?;
                "the promotion is under way".to_owned()
            }
            pair::Step::MakePrimary { slot } => {
                if let Some(arm) = &pair.slots[*slot].arm {
                    self.account
                        .make_primary(&self.settings.cluster, &self.ground.first().facts.arn, &arm.id)
                        .await?;
                }
                "the task set is made the primary one".to_owned()
            }
            pair::Step::Vacate { slot } => {
                self.vacate(*slot, pair).await?;
                "an old version's tasks are removed".to_owned()
            }
            pair::Step::Rest(_) => return Ok(None),
        }))
    }

    async fn place(&self, slot: usize, version: &str, capacity: pair::Capacity, pair: &Pair) -> Result<(), Failure> {
        let cluster = self.settings.cluster.as_str();
        if self.ground.means == Means::TwoServices {
            let service = self.service(slot)?;
            return self
                .account
                .resize(cluster, service, capacity.tasks, Some(version))
                .await;
        }
        let seen = self.ground.first();
        let target_group = pair.slots[slot].target_group.as_str();
        // The same for every try of this order, whoever owns the run by then; another order makes another set.
        let Fence { claim, seq, .. } = self.fence;
        let digest = Sha256::digest(format!("{claim}.{seq} {} {version} {target_group}", seen.facts.arn));
        let token: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let new = NewSet {
            task_definition: version,
            target_group,
            share: capacity.share,
            token,
            external_id: format!("meridian-{}", self.fence),
        };
        self.account.create_set(cluster, seen, new).await
    }

    async fn scale(&self, slot: usize, capacity: pair::Capacity, pair: &Pair) -> Result<(), Failure> {
        let cluster = self.settings.cluster.as_str();
        match (&self.ground.means, &pair.slots[slot].arm) {
            (Means::TwoServices, _) => {
                self.account
                    .resize(cluster, self.service(slot)?, capacity.tasks, None)
                    .await
            }
            (_, Some(arm)) => {
                let service = &self.ground.first().facts.arn;
                self.account.scale_set(cluster, service, &arm.id, capacity.share).await
            }
            (_, None) => Ok(()),
        }
    }

    async fn vacate(&self, slot: usize, pair: &Pair) -> Result<(), Failure> {
        let cluster = self.settings.cluster.as_str();
        match (&self.ground.means, &pair.slots[slot].arm) {
            (Means::TwoServices, _) => self.account.resize(cluster, self.service(slot)?, 0, None).await,
            (_, Some(arm)) => {
                self.account
                    .delete_set(cluster, &self.ground.first().facts.arn, &arm.id)
                    .await
            }
            (_, None) => Ok(()),
        }
    }

    fn service(&self, slot: usize) -> Result<&str, Failure> {
        let seen = self.ground.services.get(slot);
        seen.map(|seen| seen.facts.arn.as_str())
            .ok_or_else(|| Failure::lasting("`services` names two services"))
    }
}

//! Performs one effect: carries it to the store, a cloud or a gate and brings the answer back, whatever happens there.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, select, try_join_all};
use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, Plan, RegionId};
use meridian_workflows::workflow::{GateKind, OnConflict};

use super::clock::Jumps;
use super::completed;
use super::leases::Leases;
use super::world::World;
use crate::ports::clock::Clock;
use crate::ports::failure::{Failure, Lasting};
use crate::ports::gate::{Question, RegionArms};
use crate::ports::provider::{Ladder, Order, Target};
use crate::ports::store::{Claiming, Error, Lease, Locking, Store};
use crate::run::effect::{Arms, Ask, Desired, Effect, EffectKey, Outcome};
use crate::run::reading::{Answer, Reading};
use crate::run::signal::{Person, Request, Signal};
use crate::run::state::RunId;

/// One call to a cloud may take this long: long enough for a slow control plane, short enough that a hanging one is
/// noticed within a stage.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// No order goes out with less than this part of a lease left: the answer should come back while it still counts.
const MARGIN_PARTS: u64 = 5;

/// What an effect is performed with; shared by all runs of one engine.
pub struct Hands {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub world: Arc<World>,
    pub leases: Arc<Leases>,
    pub jumps: Jumps,
    pub lease_length: Duration,
}

/// For whom an effect is performed.
#[derive(Clone)]
pub struct Errand {
    pub run: RunId,
    pub epoch: u64,
    pub plan: Arc<Plan>,
    /// The run's claim on its targets; none before it has one.
    pub claim: Option<u64>,
}

impl Hands {
    /// *Guarantees*: always answers, within the deadlines of its calls; a panic on the other side is a failure. An order goes
    /// out only under a live lease of the errand's epoch.
    pub async fn perform(&self, errand: &Errand, effect: &Effect) -> Outcome {
        let performed = AssertUnwindSafe(self.attempt(errand, effect)).catch_unwind().await;
        match performed {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => failed(failure),
            Err(panic) => failed(Failure::transient(format!(
                "{} broke inside: {}",
                effect.key,
                panic_text(panic.as_ref())
            ))),
        }
    }

    async fn attempt(&self, errand: &Errand, effect: &Effect) -> Result<Outcome, Failure> {
        match &effect.ask {
            Ask::Claim { only_if_newest } => self.claim(errand, *only_if_newest).await,
            Ask::Release => {
                let lease = self.lease(errand)?;
                let released = self.store.release_claims(&lease).await;
                released.map(|()| Outcome::Released).map_err(store_failure)
            }
            Ask::Lock { name } => self.lock(errand, name).await,
            Ask::Unlock { name } => {
                let lease = self.lease(errand)?;
                let unlocked = self.store.unlock(&lease, name).await;
                unlocked.map(|()| Outcome::Unlocked).map_err(store_failure)
            }
            Ask::Observe { region } => self.observe(errand, *region).await,
            Ask::Ensure { region, desired } => self.ensure(errand, effect.key, *region, desired).await,
            Ask::Read { node, gate, arms } => self.read(errand, *node, *gate, arms).await,
        }
    }

    /// Names every target, looks at what fences they show, then takes them all.
    async fn claim(&self, errand: &Errand, only_if_newest: bool) -> Result<Outcome, Failure> {
        let looks = errand.plan.region_ids().map(|region| self.identified(errand, region));
        let (targets, claims): (Vec<String>, Vec<u64>) = try_join_all(looks).await?.into_iter().unzip();
        let floor = claims.into_iter().max().unwrap_or(0);
        let lease = self.lease(errand)?;
        let claiming = self.store.claim(&lease, &targets, floor, only_if_newest).await;
        match claiming.map_err(store_failure)? {
            Claiming::Claimed { claim } => Ok(Outcome::Claimed { claim }),
            Claiming::Busy { target, by, workflow } => self.busy(errand, target, by, &workflow).await,
            Claiming::Superseded { target, by } => Ok(Outcome::ClaimRefused {
                why: format!("{by} has held target {target} since"),
            }),
        }
    }

    async fn lock(&self, errand: &Errand, name: &str) -> Result<Outcome, Failure> {
        let lease = self.lease(errand)?;
        let locking = self.store.lock(&lease, name, self.clock.now()).await;
        Ok(match locking.map_err(store_failure)? {
            Locking::Held { number } => Outcome::Locked { number },
            Locking::Waits { by, ahead } => {
                let by = by.to_string();
                Outcome::LockBusy { by, ahead }
            }
        })
    }

    async fn identified(&self, errand: &Errand, region: RegionId) -> Result<(String, u64), Failure> {
        let (kind, target) = target(&errand.plan, region);
        let provider = self.provider(kind)?;
        let _place = self.world.lane(kind, &target.region).await;
        let what = || format!("identifying the target of region `{}`", target.region);
        let name = self.within(CALL_DEADLINE, what, provider.identify(&target)).await??;
        let what = || format!("looking at region `{}`", target.region);
        let observed = self.within(CALL_DEADLINE, what, provider.observe(&target)).await??;
        Ok((name, observed.fence.map_or(0, |fence| fence.claim)))
    }

    async fn busy(&self, errand: &Errand, target: String, by: RunId, workflow: &str) -> Result<Outcome, Failure> {
        let own = errand.plan.workflow();
        match own.on_conflict {
            OnConflict::Reject => {
                return Ok(Outcome::ClaimRefused {
                    why: format!("target {target} is claimed by {by}, and the workflow rejects conflicts"),
                });
            }
            OnConflict::Supersede if workflow == own.name => {
                let signal = Signal {
                    // The same however often this run asks, so that the older one is told once.
                    id: format!("supersede/{by}/{}", errand.run),
                    by: Person {
                        name: errand.run.to_string(),
                        roles: Vec::new(),
                        authenticated: true,
                    },
                    ask: Request::Supersede {
                        by_run: errand.run.to_string(),
                    },
                };
                let posted = self.store.post(&by, signal, self.clock.now()).await;
                posted.map_err(store_failure)?;
            }
            OnConflict::Supersede | OnConflict::Queue => {}
        }
        Ok(Outcome::Busy {
            target,
            by: by.to_string(),
        })
    }

    async fn observe(&self, errand: &Errand, region: RegionId) -> Result<Outcome, Failure> {
        let (kind, target) = target(&errand.plan, region);
        let provider = self.provider(kind)?;
        let _place = self.world.lane(kind, &target.region).await;
        let what = || format!("looking at region `{}`", target.region);
        let observed = self.within(CALL_DEADLINE, what, provider.observe(&target)).await??;
        Ok(Outcome::Observed(observed.observation))
    }

    async fn ensure(
        &self,
        errand: &Errand,
        key: EffectKey,
        region: RegionId,
        desired: &Desired,
    ) -> Result<Outcome, Failure> {
        let EffectKey::Ensure { intent, .. } = key else {
            return Err(Failure::lasting(format!("{key} carries an order and names no intent")));
        };
        let (kind, target) = target(&errand.plan, region);
        let provider = self.provider(kind)?;
        let _place = self.world.lane(kind, &target.region).await;
        // Asked for after the place in the lane, as close to the call as can be: a lease may have ended in the queue.
        let lease = self.lease(errand)?;
        let claim = errand
            .claim
            .ok_or_else(|| Failure::lasting(format!("{} orders a region that it has not claimed", errand.run)))?;
        let order = Order::committed(&lease, claim, intent, desired.clone());
        let left = Duration::between(self.clock.now(), lease.until());
        let what = || format!("ordering region `{}`", target.region);
        let progress = self
            .within(left.min(CALL_DEADLINE), what, provider.ensure(&target, &order))
            .await??;
        Ok(Outcome::Progress(progress))
    }

    async fn read(&self, errand: &Errand, node: NodeId, gate: GateId, arms: &Arms) -> Result<Outcome, Failure> {
        let plan = &errand.plan;
        let (name, definition) = plan.gate(gate);
        let kind = definition.kind.name();
        if let GateKind::Completed(gate) = &definition.kind {
            let at = self.clock.now();
            let newest = completed::newest(&*self.store, &errand.run, plan, gate).await;
            return Ok(match newest {
                Ok(newest) => Outcome::Read(Reading {
                    at,
                    answer: Answer::Completed { newest },
                }),
                Err(error) => unknown(at, error.to_string()),
            });
        }
        if matches!(definition.kind, GateKind::Health) {
            return self.health(errand, arms).await;
        }
        let region = arms.region.map(|id| plan.region(id));
        let _place = self.world.lane(kind, region.map_or("", |(name, _)| name)).await;
        // The instant of asking, not of the answer: evidence must not look newer than it is.
        let at = self.clock.now();
        let question = Question {
            run: &errand.run.0,
            workflow: plan.workflow(),
            node: &plan.node(node).key,
            gate: name,
            definition,
            region: region.map(|(name, region)| RegionArms {
                name,
                settings: &region.settings,
                candidate: arms.candidate.as_ref(),
                baseline: arms.baseline.as_ref(),
            }),
            window: arms.window,
            since: arms.since,
            now: at,
        };
        let Some(reader) = self.world.gate(kind) else {
            return Ok(unknown(at, format!("this build has no gate `{kind}`")));
        };
        let what = || format!("reading gate `{name}`");
        // A gate that breaks inside has not answered; that is an unknown of this gate and no business of the run's.
        let asked = AssertUnwindSafe(self.within(definition.timeout, what, reader.read(&question))).catch_unwind();
        Ok(match asked.await {
            Ok(Ok(Ok(answer))) => Outcome::Read(Reading { at, answer }),
            Ok(Ok(Err(failure)) | Err(failure)) => unknown(at, failure.what),
            Err(panic) => unknown(
                at,
                format!("gate `{name}` broke inside: {}", panic_text(panic.as_ref())),
            ),
        })
    }

    /// The gate `health` asks no reader of its own: the region's platform is looked at.
    async fn health(&self, errand: &Errand, arms: &Arms) -> Result<Outcome, Failure> {
        let at = self.clock.now();
        let Some(region) = arms.region else {
            return Ok(unknown(
                at,
                "there is no region whose health could be asked about".to_owned(),
            ));
        };
        Ok(match self.observe(errand, region).await {
            Ok(Outcome::Observed(observation)) => Outcome::Read(Reading {
                at,
                answer: Answer::Health {
                    is_settled: observation.is_settled,
                    diagnosis: observation.diagnosis,
                },
            }),
            Ok(_) => unknown(at, "the platform was looked at and answered something else".to_owned()),
            Err(failure) => unknown(at, failure.what),
        })
    }

    fn provider(&self, kind: &str) -> Result<&Arc<dyn crate::ports::provider::Provider>, Failure> {
        self.world
            .provider(kind)
            .ok_or_else(|| Failure::lasting(format!("this build has no provider `{kind}`")))
    }

    fn lease(&self, errand: &Errand) -> Result<Lease, Failure> {
        let margin = Duration::from_millis(self.lease_length.as_millis() / MARGIN_PARTS);
        self.leases
            .live(&errand.run, errand.epoch, self.clock.now(), margin)
            .ok_or_else(|| Failure::transient(format!("the lease of {} is at its end", errand.run)))
    }

    /// The answer, or a failure that names what did not come back in time.
    async fn within<T>(
        &self,
        length: Duration,
        what: impl Fn() -> String,
        call: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut call = Box::pin(call);
        // Most answers of a quick world are there at once and need no timer.
        if let Some(answer) = call.as_mut().now_or_never() {
            return Ok(answer);
        }
        let over = self.clock.sleep_until(length.after(self.clock.now()));
        match select(call, over).await {
            Either::Left((answer, _)) => Ok(answer),
            Either::Right(((), _)) => Err(Failure::transient(format!("{} took longer than {length}", what()))),
        }
    }
}

/// The provider's kind and what the region's settings point at.
fn target(plan: &Plan, region: RegionId) -> (&str, Target) {
    let (name, settings) = plan.region(region);
    let workflow = plan.workflow();
    let target = Target {
        workflow: workflow.name.clone(),
        region: name.to_owned(),
        settings: settings.settings.clone(),
        release: settings.release.clone().unwrap_or_else(|| workflow.release.clone()),
        ladder: Ladder::of(plan, region),
    };
    (&settings.provider, target)
}

fn failed(failure: Failure) -> Outcome {
    let retry_after = match failure.lasting {
        Lasting::No { retry_after } => retry_after,
        Lasting::Yes => None,
    };
    Outcome::Failed {
        error: failure.what,
        lasting: failure.lasting == Lasting::Yes,
        retry_after,
    }
}

fn unknown(at: Timestamp, why: String) -> Outcome {
    Outcome::Read(Reading {
        at,
        answer: Answer::Error { why },
    })
}

/// Nothing about a store is for good: it may come back, and who has lost a lease is told by the next append.
fn store_failure(error: Error) -> Failure {
    Failure::transient(error.to_string())
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic without a text".to_owned(),
    }
}

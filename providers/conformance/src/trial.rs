//! One behaviour being tried: orders with rising fences to a provider, with an eye on the platform all the way.

mod eye;

use std::time::Duration;

use meridian_engine::ports::failure::{Failure, Lasting};
use meridian_engine::ports::provider::{Fence, Observed, Order, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::workflow::Exposure;

use crate::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Workshop};

/// What the engine gives a call.
pub const CALL_MAX: Duration = Duration::from_secs(30);

/// How many transient failures in a row are asked through before an order counts as lost.
const FAILURES_MAX: usize = 100;

/// Why a behaviour did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    Failed(String),
    NotTried(String),
}

pub type Outcome<T = ()> = Result<T, Flaw>;

/// A failed behaviour, unless this holds.
pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Flaw::Failed(otherwise())) }
}

pub fn failed<T>(what: impl Into<String>) -> Outcome<T> {
    Err(Flaw::Failed(what.into()))
}

pub fn not_tried<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Flaw::NotTried(why.into()))
}

/// One provider at one target, from the first look on.
pub struct Trial {
    pub rig: Box<dyn Rig>,
    pub target: Target,
    pub candidate: Version,
    pub baseline: Version,
    fence: Fence,
    /// The share of the order before: a platform may still be on its way there when the next one arrives.
    ordered: Share,
    /// Whether traffic may go to what is not ready: a candidate that fell ill while it served is nobody's order.
    may_lose: bool,
    /// Whether failures are ordered.
    is_faulty: bool,
    /// What was asked and answered, for the complaint.
    trail: Vec<String>,
}

impl Trial {
    /// A fresh rig and a first look at it.
    pub async fn begin(workshop: &dyn Workshop) -> Outcome<Trial> {
        let rig = workshop.rig().await;
        let rig = rig.or_else(|why| failed(format!("no rig could be built: {why}")))?;
        let target = rig.target();
        Trial::at(rig, target).await
    }

    /// A first look at a target of a rig.
    pub async fn at(rig: Box<dyn Rig>, target: Target) -> Outcome<Trial> {
        let fence = Fence {
            claim: rig.claim(),
            epoch: 1,
            seq: 0,
        };
        let hiccups = rig.hiccups();
        let observed = look_through(&*rig, &target, hiccups).await?;
        let observed = observed.or_else(|failure| failed(format!("the first look failed: {failure}")))?;
        let Some(baseline) = observed.observation.serving else {
            return failed("the first look does not tell which version serves");
        };
        Ok(Trial {
            rig,
            target,
            candidate: observed.observation.candidate,
            baseline,
            fence,
            ordered: Share::ZERO,
            may_lose: false,
            is_faulty: false,
            trail: Vec::new(),
        })
    }

    /// An order behind all orders before.
    pub fn order(&mut self, state: DesiredState) -> Order {
        self.fence.seq += 1;
        self.rehearsed(state, self.fence)
    }

    /// An order with a fence of its own choosing; later ones are behind it where it is the highest.
    pub fn order_at(&mut self, state: DesiredState, fence: Fence) -> Order {
        self.fence = self.fence.max(fence);
        self.rehearsed(state, fence)
    }

    pub fn fence(&self) -> Fence {
        self.fence
    }

    fn rehearsed(&self, state: DesiredState, fence: Fence) -> Order {
        let desired = Desired {
            candidate: self.candidate.clone(),
            baseline: self.baseline.clone(),
            state,
        };
        Order::rehearsed(desired, fence)
    }

    /// Looks once.
    pub async fn look(&self) -> Outcome<Result<Observed, Failure>> {
        look_through(&*self.rig, &self.target, self.hiccups()).await
    }

    /// Looks once, where that has to work.
    pub async fn seen(&self) -> Outcome<Observed> {
        match self.look().await? {
            Ok(observed) => Ok(observed),
            Err(failure) => self.fail(format!("a look failed: {failure}")),
        }
    }

    /// Asks once, of a provider that remembers nothing, and holds a settled answer to the truth.
    pub async fn ask(&mut self, order: &Order) -> Outcome<Result<Progress, Failure>> {
        let mut answer = self.ask_once(order).await?;
        for _ in 0..self.hiccups() {
            if !matches!(&answer, Err(failure) if is_transient(failure)) {
                break;
            }
            self.rig.pass(self.rig.beat()).await;
            answer = self.ask_once(order).await?;
        }
        if answer == Ok(Progress::Settled) {
            self.hold_to(order).await?;
        }
        Ok(answer)
    }

    async fn ask_once(&mut self, order: &Order) -> Outcome<Result<Progress, Failure>> {
        let provider = self.rig.provider();
        let answer = tokio::time::timeout(CALL_MAX, provider.ensure(&self.target, order)).await;
        let line = describe(order);
        let Ok(answer) = answer else {
            return self.fail(format!("{line}: no answer within {} s", CALL_MAX.as_secs()));
        };
        self.note(match &answer {
            Ok(progress) => format!("{line}: {progress:?}"),
            Err(failure) => format!("{line}: {failure:?}"),
        });
        Ok(answer)
    }

    /// Failures that are nobody's fault: none while some are ordered.
    fn hiccups(&self) -> usize {
        if self.is_faulty { 0 } else { self.rig.hiccups() }
    }

    /// Asks once, where that has to work.
    pub async fn told(&mut self, order: &Order) -> Outcome<Progress> {
        match self.ask(order).await? {
            Ok(progress) => Ok(progress),
            Err(failure) => self.fail(format!("{}: failed: {failure}", describe(order))),
        }
    }

    /// Asks again and again, as the engine does, until the order is settled; the traffic is watched all the way.
    pub async fn settle(&mut self, order: &Order) -> Outcome {
        self.arrive(order, false).await
    }

    /// The same, through transient failures.
    pub async fn settle_through(&mut self, order: &Order) -> Outcome {
        self.arrive(order, true).await
    }

    /// A new order, settled.
    pub async fn reach(&mut self, state: DesiredState) -> Outcome {
        let order = self.order(state);
        self.settle(&order).await
    }

    async fn arrive(&mut self, order: &Order, through_failures: bool) -> Outcome {
        let line = describe(order);
        let asks = self.asks();
        let mut before = self.underway(order).await;
        let mut failures = 0;
        for _ in 0..asks {
            match self.ask(order).await? {
                Ok(Progress::Settled) => return Ok(()),
                Ok(Progress::Moving { .. } | Progress::Waiting { .. }) => failures = 0,
                Ok(Progress::Stuck { why }) => {
                    return self.fail(format!("{line}: stuck, though nothing is wrong: {why}"));
                }
                Ok(Progress::Stale { why }) => {
                    return self.fail(format!("{line}: stale, though it is the newest: {why}"));
                }
                Err(failure) if through_failures && is_transient(&failure) && failures < FAILURES_MAX => failures += 1,
                Err(failure) => return self.fail(format!("{line}: failed: {failure}")),
            }
            before = self.watch(order, before).await?;
            self.rig.pass(self.rig.beat()).await;
            before = self.watch(order, before).await?;
        }
        let patience = self.rig.patience().as_secs();
        self.fail(format!("{line}: not settled after {patience} s of the platform's time"))
    }

    /// Asks and lets time pass until an answer is like that; none where none is within the rig's patience.
    pub async fn until(&mut self, order: &Order, like: impl Fn(&Progress) -> bool) -> Outcome<Option<Progress>> {
        let mut before = self.underway(order).await;
        for _ in 0..self.asks() {
            let progress = self.told(order).await?;
            if like(&progress) {
                return Ok(Some(progress));
            }
            before = self.watch(order, before).await?;
            self.rig.pass(self.rig.beat()).await;
            before = self.watch(order, before).await?;
        }
        Ok(None)
    }

    /// The same with an eye on nothing: others than this order move the traffic here.
    pub async fn until_any(&mut self, order: &Order, like: impl Fn(&Progress) -> bool) -> Outcome<Option<Progress>> {
        for _ in 0..self.asks() {
            let progress = self.told(order).await?;
            if like(&progress) {
                return Ok(Some(progress));
            }
            self.rig.pass(self.rig.beat()).await;
        }
        Ok(None)
    }

    /// Asks so many times with time between, whatever the answers; the traffic is watched.
    pub async fn ask_times(&mut self, order: &Order, times: usize) -> Outcome<Option<Progress>> {
        let mut last = None;
        let mut before = self.underway(order).await;
        for _ in 0..times {
            last = Some(self.told(order).await?);
            before = self.watch(order, before).await?;
            self.rig.pass(self.rig.beat()).await;
            before = self.watch(order, before).await?;
        }
        Ok(last)
    }

    /// The most that the candidate may have when a new order arrives.
    async fn underway(&mut self, order: &Order) -> Share {
        let ordered = std::mem::replace(&mut self.ordered, order.desired().state.share());
        ordered.max(self.rig.truth().await.candidate_share)
    }

    /// How often an order is asked within the rig's patience.
    pub fn asks(&self) -> usize {
        let beat = self.rig.beat().as_millis().max(1);
        usize::try_from(self.rig.patience().as_millis() / beat)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Whether the release is what already serves.
    pub fn is_same_release(&self) -> bool {
        self.candidate.is_same_as(&self.baseline)
    }

    /// The ladder's shares of live traffic, in their order.
    pub fn shares(&self) -> Vec<Share> {
        let rungs = self.target.ladder.rungs.iter();
        let shares = rungs.filter_map(|rung| match &rung.exposure {
            Exposure::Traffic(share) => Some(*share),
            Exposure::Shadow(_) | Exposure::Audience(_) => None,
        });
        shares.collect()
    }

    /// The ladder's lowest share of live traffic.
    pub fn first_share(&self) -> Outcome<Share> {
        match self.shares().first() {
            Some(share) => Ok(*share),
            None => failed("the rig's ladder has no share of live traffic"),
        }
    }

    /// Stages the candidate and climbs the first `rungs` shares of the ladder.
    pub async fn climb(&mut self, rungs: usize) -> Outcome {
        self.reach(serving(Share::ZERO)).await?;
        for share in self.shares().into_iter().take(rungs) {
            self.reach(serving(share)).await?;
        }
        Ok(())
    }

    /// Stages and climbs all of the ladder.
    pub async fn climb_all(&mut self) -> Outcome {
        self.climb(self.shares().len()).await
    }

    /// Reverts and withdraws, and sees that the baseline serves.
    pub async fn roll_back(&mut self) -> Outcome {
        self.reach(DesiredState::Reverted).await?;
        self.reach(DesiredState::Withdrawn).await?;
        self.is_back().await
    }

    /// The baseline serves everything, by the provider's own account.
    pub async fn is_back(&mut self) -> Outcome {
        let observed = self.seen().await?.observation;
        let serving = observed.serving.as_ref();
        self.check(
            serving.is_some_and(|version| version.is_same_as(&self.baseline)),
            || {
                format!(
                    "after the rollback a look says that {serving:?} serves, not {:?}",
                    self.baseline
                )
            },
        )?;
        self.check(observed.candidate_share.is_zero() || self.is_same_release(), || {
            format!(
                "after the rollback a look gives the candidate {}",
                observed.candidate_share
            )
        })
    }

    /// Requests so far that changed something.
    pub async fn writes(&self) -> Outcome<u64> {
        match self.rig.truth().await.writes {
            Some(writes) => Ok(writes),
            None => not_tried("nobody can count what the provider writes here"),
        }
    }

    pub async fn ail(&mut self, ailment: Ailment) -> Outcome {
        self.note(format!("the candidate is given {ailment:?}"));
        offered(self.rig.ail(ailment).await)
    }

    /// From here on the candidate may be ill while it has traffic.
    pub fn may_lose(&mut self) {
        self.may_lose = true;
    }

    pub async fn fault(&mut self, fault: Fault, strike: Strike) -> Outcome {
        self.note(format!("the API is given {fault:?}, {strike:?}"));
        self.is_faulty = true;
        offered(self.rig.fault(fault, strike).await)
    }

    pub async fn heal(&mut self) {
        self.note("the API is healed".to_owned());
        self.rig.heal().await;
        self.is_faulty = false;
    }

    pub async fn meddle(&mut self, meddling: Meddling) -> Outcome {
        self.note(format!("others do {meddling:?}"));
        offered(self.rig.meddle(meddling).await)
    }

    pub fn check(&self, holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
        if holds { Ok(()) } else { self.fail(otherwise()) }
    }

    /// A failure with the way that led there.
    pub fn fail<T>(&self, what: String) -> Outcome<T> {
        let trail = self.trail.iter().rev().take(8).rev();
        let trail: Vec<_> = trail.map(|line| format!("\n  {line}")).collect();
        failed(format!("{what}{}", trail.concat()))
    }

    fn note(&mut self, line: String) {
        if self.trail.last() != Some(&line) {
            self.trail.push(line);
        }
    }
}

/// One look, and more where it fails for no reason.
async fn look_through(rig: &dyn Rig, target: &Target, hiccups: usize) -> Outcome<Result<Observed, Failure>> {
    let mut answer = look(rig, target).await?;
    for _ in 0..hiccups {
        if !matches!(&answer, Err(failure) if is_transient(failure)) {
            break;
        }
        rig.pass(rig.beat()).await;
        answer = look(rig, target).await?;
    }
    Ok(answer)
}

/// One look, in the time that the engine gives it.
async fn look(rig: &dyn Rig, target: &Target) -> Outcome<Result<Observed, Failure>> {
    let provider = rig.provider();
    match tokio::time::timeout(CALL_MAX, provider.observe(target)).await {
        Ok(answer) => Ok(answer),
        Err(_) => failed(format!("a look has no answer within {} s", CALL_MAX.as_secs())),
    }
}

fn offered(offered: Offered) -> Outcome {
    match offered {
        Offered::Yes => Ok(()),
        Offered::No(why) => not_tried(why),
    }
}

/// This share of live traffic.
pub fn serving(share: Share) -> DesiredState {
    DesiredState::Serving(Exposure::Traffic(share))
}

pub fn is_transient(failure: &Failure) -> bool {
    match failure.lasting {
        Lasting::No { .. } => true,
        Lasting::Yes => false,
    }
}

/// An order in a few words, as in `serving 25% (1.1.3)`.
fn describe(order: &Order) -> String {
    let state = match &order.desired().state {
        DesiredState::Serving(Exposure::Traffic(share)) => format!("serving {share}"),
        DesiredState::Serving(Exposure::Shadow(share)) => format!("mirroring {share}"),
        DesiredState::Serving(Exposure::Audience(_)) => "serving an audience".to_owned(),
        DesiredState::Promoted => "promoted".to_owned(),
        DesiredState::Reverted => "reverted".to_owned(),
        DesiredState::Withdrawn => "withdrawn".to_owned(),
    };
    format!("{state} ({})", order.fence())
}

/// Whether a text names each of these words, where `a|b` is one or the other, in any case.
pub fn names(text: &str, words: &[String]) -> bool {
    let text = text.to_lowercase();
    words
        .iter()
        .all(|word| word.split('|').any(|word| text.contains(&word.to_lowercase())))
}

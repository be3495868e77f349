//! A real target as a rig: only the provider's own account of it, and real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use meridian_conformance::rig::{Ailment, Fault, Meddling, Offered, Rig, Strike, Truth, Workshop};
use meridian_engine::ports::failure::Lasting;
use meridian_engine::ports::provider::{Fence, Observed, Order, Provider, Target};
use meridian_engine::run::effect::{Desired, DesiredState, Progress};
use meridian_engine::run::version::Version;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::{ProviderKind, Shares};

/// Why nothing is broken on purpose here.
const REAL: &str = "not done to a real target";

/// Looks that may fail in a row until nothing is known of the target.
const LOOKS_MAX: usize = 5;

/// How fast a real target is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub every: Duration,
    /// For one order.
    pub patience: Duration,
}

/// One region's target, tried again and again.
#[derive(Clone)]
pub struct Live {
    pub provider: Arc<dyn Provider>,
    pub target: Target,
    pub kind: Option<ProviderKind>,
    pub identity: String,
    pub candidate: Version,
    pub baseline: Version,
    pub pace: Pace,
}

impl Live {
    /// Withdraws the candidate and waits until the baseline serves.
    ///
    /// *Errors*: what keeps it from that.
    pub async fn put_back(&self) -> Result<(), String> {
        let observed = self.look().await.ok_or("it does not answer")?;
        let order = Order::rehearsed(
            Desired {
                candidate: self.candidate.clone(),
                baseline: self.baseline.clone(),
                state: DesiredState::Withdrawn,
            },
            Fence {
                claim: next_claim(&observed),
                epoch: 1,
                seq: 0,
            },
        );
        let mut last = String::new();
        let every = self.pace.every.as_millis().max(1);
        for _ in 0..=self.pace.patience.as_millis() / every {
            last = match self.provider.ensure(&self.target, &order).await {
                Ok(Progress::Settled) => return self.is_back().await,
                Ok(Progress::Moving { why }) => why.unwrap_or_else(|| "it is still moving".to_owned()),
                Ok(Progress::Waiting { why } | Progress::Stuck { why }) => why,
                Ok(Progress::Stale { why }) => return Err(format!("somebody else has taken the target: {why}")),
                Err(failure) if failure.lasting == Lasting::Yes => return Err(failure.to_string()),
                Err(failure) => failure.to_string(),
            };
            tokio::time::sleep(self.pace.every).await;
        }
        Err(last)
    }

    async fn is_back(&self) -> Result<(), String> {
        let observed = self.look().await.ok_or("it does not answer")?.observation;
        match observed.serving {
            Some(serving) if serving.is_same_as(&self.baseline) => Ok(()),
            Some(serving) => Err(format!("{serving} serves")),
            None => Err("nothing serves".to_owned()),
        }
    }

    /// None where several looks in a row fail.
    async fn look(&self) -> Option<Observed> {
        for _ in 0..LOOKS_MAX {
            if let Ok(observed) = self.provider.observe(&self.target).await {
                return Some(observed);
            }
            tokio::time::sleep(self.pace.every).await;
        }
        None
    }
}

/// Above every claim that the target has seen.
fn next_claim(observed: &Observed) -> u64 {
    observed.fence.map_or(1, |fence| fence.claim.saturating_add(1))
}

#[async_trait]
impl Workshop for Live {
    fn name(&self) -> String {
        let kind = self.kind.as_ref().map_or("provider", |kind| kind.name);
        format!("{kind} {}", self.target.region)
    }

    /// The target as it was before anything was ordered.
    async fn rig(&self) -> Result<Box<dyn Rig>, String> {
        self.put_back().await?;
        let observed = self.look().await.ok_or("it does not answer")?;
        Ok(Box::new(LiveRig {
            live: self.clone(),
            claim: next_claim(&observed),
            last: AtomicU16::new(0),
        }))
    }

    fn hands(&self) -> Offered {
        Offered::No(REAL)
    }

    /// There is one target.
    fn at_once(&self) -> usize {
        1
    }
}

struct LiveRig {
    live: Live,
    claim: u64,
    /// The candidate's share when it was looked at last, in hundredths of a percent.
    last: AtomicU16,
}

#[async_trait]
impl Rig for LiveRig {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.live.provider)
    }

    fn target(&self) -> Target {
        self.live.target.clone()
    }

    /// What the provider says of it: who else could be asked differs from cloud to cloud.
    async fn truth(&self) -> Truth {
        let truth = match self.live.look().await {
            Some(observed) => told(&observed),
            // Where nothing is known nothing counts as well.
            None => Truth {
                candidate_share: Share::FULL,
                lost: Share::FULL,
                standing: Vec::new(),
                writes: None,
            },
        };
        self.last.store(truth.candidate_share.basis_points(), Ordering::SeqCst);
        truth
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn ail(&self, _: Ailment) -> Offered {
        Offered::No(REAL)
    }

    async fn fault(&self, _: Fault, _: Strike) -> Offered {
        Offered::No(REAL)
    }

    async fn heal(&self) {}

    async fn meddle(&self, _: Meddling) -> Offered {
        Offered::No(REAL)
    }

    fn kind(&self) -> Option<ProviderKind> {
        self.live.kind.clone()
    }

    fn claim(&self) -> u64 {
        self.claim
    }

    fn granted(&self, ordered: Share) -> Share {
        let capabilities = self.live.kind.as_ref().and_then(|kind| (kind.read.0)(&self.live.target.settings).ok());
        let down_to = |step: u16| {
            let points = ordered.basis_points() / step.max(1) * step.max(1);
            Share::from_basis_points(points).unwrap_or(ordered)
        };
        match capabilities.map(|capabilities| capabilities.shares) {
            Some(Shares::Steps(step)) => down_to(step),
            // Whole instances: less than was ordered is as much as there can be.
            Some(Shares::Instances(_) | Shares::SomeInstances) => {
                let last = Share::from_basis_points(self.last.load(Ordering::SeqCst));
                ordered.min(last.unwrap_or(ordered))
            }
            Some(Shares::Whole | Shares::Ladder(_)) | None => ordered,
        }
    }

    /// A real API throttles, and is away for a moment.
    fn hiccups(&self) -> usize {
        LOOKS_MAX
    }

    fn beat(&self) -> Duration {
        self.live.pace.every
    }

    fn patience(&self) -> Duration {
        self.live.pace.patience
    }
}

fn told(observed: &Observed) -> Truth {
    let unready = observed.versions.iter().filter(|state| state.ready == 0);
    let lost: u32 = unready.map(|state| u32::from(state.share.basis_points())).sum();
    let standing = observed.versions.iter().filter(|state| state.instances > 0);
    Truth {
        candidate_share: observed.observation.candidate_share,
        lost: u16::try_from(lost)
            .ok()
            .and_then(|points| Share::from_basis_points(points).ok())
            .unwrap_or(Share::FULL),
        standing: standing.map(|state| state.version.clone()).collect(),
        writes: None,
    }
}

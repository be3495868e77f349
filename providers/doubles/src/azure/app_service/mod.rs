//! App Service: sites with deployment slots, behind the resource manager.

mod api;
mod behaviour;
mod hands;
mod operation;
mod routing;
mod serve;
mod site;
mod standing;
#[cfg(test)]
mod stories;
mod swap;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;

pub use self::behaviour::{Behaviour, Health, UnknownBehaviour};
pub use self::hands::NewSite;
pub use self::routing::{PINNED, Rule};
pub use self::serve::{ArmManners, serve};
pub use self::site::PRODUCTION;
pub use self::standing::{SlotStanding, Standing};
pub use self::swap::Phase;

use self::operation::{Operations, Outcome};
use self::site::{Address, Site, Slot};
use self::swap::Ended;
use crate::azure::clock::{self, Clock, TICK, Timed};
use crate::azure::exchange::{self, Answers, Asked, Reply};

/// The version of `Microsoft.Web` that is spoken.
pub const API_VERSION: &str = "2025-05-01";

/// One tenant's App Service. Its clock stands still until [`AppService::advance`] or [`AppService::run_live`].
pub struct AppService {
    world: Mutex<World>,
}

/// Everything that there is.
struct World {
    clock: Clock,
    sites: BTreeMap<(String, String, String), Site>,
    operations: Operations,
    /// What content does, by image, package or `site/slot`.
    behaviours: BTreeMap<String, Behaviour>,
    /// Requests that changed something.
    writes: u64,
    /// A reset of a swap that is under way is refused as any other operation is.
    is_reset_refused: bool,
    /// Also answer with `Azure-AsyncOperation`.
    has_async_operations: bool,
}

impl AppService {
    /// A tenant without a site.
    pub fn new() -> Arc<AppService> {
        Arc::new(AppService {
            world: Mutex::new(World {
                clock: Clock::started_now(),
                sites: BTreeMap::new(),
                operations: Operations::default(),
                behaviours: BTreeMap::new(),
                writes: 0,
                is_reset_refused: false,
                has_async_operations: false,
            }),
        })
    }

    /// What a listener serves.
    pub fn router(self: &Arc<Self>) -> Router {
        exchange::router(self, "app-service")
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.world.lock().advance(by);
    }

    /// Lets time pass by itself, `pace` times as fast as the machine's, until the double is dropped.
    pub fn run_live(self: &Arc<Self>, pace: f64) -> tokio::task::JoinHandle<()> {
        clock::run_live(self, pace)
    }

    /// Requests that changed something so far.
    pub fn writes(&self) -> u64 {
        self.world.lock().writes
    }
}

impl Timed for AppService {
    fn advance(&self, by: Duration) {
        AppService::advance(self, by);
    }
}

impl Answers for AppService {
    fn answer(&self, asked: &Asked) -> Reply {
        api::answer(&mut self.world.lock(), asked)
    }
}

impl World {
    fn advance(&mut self, by: Duration) {
        let mut left = by;
        // Once even when no time passes: what an order made due shows without waiting.
        loop {
            let tick = left.min(self.next_tick());
            let before = self.clock.now();
            self.clock.advance(tick);
            self.tick(before);
            left -= tick;
            if left.is_zero() {
                return;
            }
        }
    }

    /// How far time can go at once with nothing becoming due on the way: hours, where nothing moves.
    fn next_tick(&self) -> Duration {
        let now = self.clock.now();
        let dues = self.sites.values().map(|site| {
            let is_moving = site
                .swap
                .as_ref()
                .is_some_and(|swap| swap.phase != Phase::Previewed || swap.operation.is_some());
            if is_moving || routing::is_ramping(site) {
                return TICK;
            }
            // Everybody whose pin ends by then calls again at that instant.
            site.population
                .next_end()
                .map_or(Duration::MAX, |end| clock::since(now, end))
        });
        dues.min().unwrap_or(Duration::MAX).max(TICK)
    }

    fn tick(&mut self, before: jiff::Timestamp) {
        let now = self.clock.now();
        let World {
            sites,
            operations,
            behaviours,
            ..
        } = self;
        for site in sites.values_mut() {
            routing::ramp(site, before, now);
            let operation = site.swap.as_ref().and_then(|swap| swap.operation);
            let ended = swap::step(site, |site, slot| behaviour_of(behaviours, site, slot), now);
            if let (Some(ended), Some(operation)) = (ended, operation) {
                operations.end(
                    operation,
                    match ended {
                        Ended::Swapped => Outcome::Succeeded,
                        Ended::Reverted { status, fault } => Outcome::Failed { status, fault },
                    },
                );
            }
            let shares = routing::shares(site);
            site.population.call(&shares, now);
        }
    }

    fn site(&self, address: &Address) -> Option<&Site> {
        self.sites.get(&address.key())
    }

    fn site_mut(&mut self, address: &Address) -> Option<&mut Site> {
        self.sites.get_mut(&address.key())
    }

    fn behaviour(&self, site: &Site, slot: &Slot) -> Behaviour {
        behaviour_of(&self.behaviours, site, slot)
    }
}

/// What a slot's content does: by its package, by its image, by an image's tag, or by the slot.
fn behaviour_of(behaviours: &BTreeMap<String, Behaviour>, site: &Site, slot: &Slot) -> Behaviour {
    let of_slot = format!("{}/{}", site.address.name, slot.name);
    let keys = [
        slot.package(),
        slot.image(),
        slot.image()
            .and_then(|image| image.rsplit_once(':'))
            .map(|(_, tag)| tag),
        Some(of_slot.as_str()),
    ];
    let found = keys.into_iter().flatten().find_map(|key| behaviours.get(key));
    found.copied().unwrap_or_default()
}

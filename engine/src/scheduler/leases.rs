//! The leases that this process holds now, so that one batch can renew them all and no order goes out without one.

use std::collections::HashMap;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use parking_lot::Mutex;

use crate::ports::store::Lease;
use crate::run::state::RunId;

/// Leases by run.
#[derive(Default)]
pub struct Leases {
    held: Mutex<HashMap<RunId, Lease>>,
}

impl Leases {
    /// A lease that was granted; a higher epoch replaces a lower one, never the other way round.
    pub fn hold(&self, lease: Lease) {
        let mut held = self.held.lock();
        match held.get(lease.run()) {
            Some(known) if known.epoch() > lease.epoch() => {}
            Some(_) | None => {
                held.insert(lease.run().clone(), lease);
            }
        }
    }

    /// Takes over the later end of a renewed lease, if it is still the one that is held.
    pub fn renewed(&self, lease: Lease) {
        if let Some(known) = self.held.lock().get_mut(lease.run())
            && known.epoch() == lease.epoch()
        {
            *known = lease;
        }
    }

    pub fn drop_of(&self, run: &RunId, epoch: u64) {
        let mut held = self.held.lock();
        if held.get(run).is_some_and(|lease| lease.epoch() == epoch) {
            held.remove(run);
        }
    }

    /// The run's lease of this epoch, if at least `margin` of it is left.
    pub fn live(&self, run: &RunId, epoch: u64, now: Timestamp, margin: Duration) -> Option<Lease> {
        let held = self.held.lock();
        let lease = held.get(run).filter(|lease| lease.epoch() == epoch)?;
        (margin.after(now) < lease.until()).then(|| lease.clone())
    }

    /// Those that end before `instant`.
    pub fn ending_before(&self, instant: Timestamp) -> Vec<Lease> {
        let held = self.held.lock();
        held.values().filter(|lease| lease.until() < instant).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.held.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

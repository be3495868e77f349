//! A fault that waits for its requests.

use meridian_conformance::rig::{Fault, Strike};

use super::asked::Asked;
use super::counts;

/// Which requests a fault is for.
type Matching = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

pub struct Armed {
    fault: Fault,
    strike: Strike,
    matching: Matching,
    /// Whether the last write was let through, where every second one fails.
    is_second: bool,
}

impl Armed {
    pub fn new(fault: Fault, strike: Strike, matching: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Armed {
        Armed {
            fault,
            strike,
            matching: Box::new(matching),
            is_second: false,
        }
    }

    pub fn fault(&self) -> Fault {
        self.fault
    }

    pub fn is_spent(&self) -> bool {
        self.strike.times == 0
    }

    /// Counts a request and says whether it is struck. `is_past`: a read whose answer before the last change is known.
    pub fn strikes(&mut self, asked: &Asked, is_write: bool, is_past: bool) -> Option<Fault> {
        if self.is_spent() || !counts(self.strike.on, is_write) || !(self.matching)(asked) {
            return None;
        }
        let is_for = match self.fault {
            Fault::StaleReads => !is_write && is_past,
            Fault::EverySecondWrite => is_write && self.is_second_write(),
            Fault::TooManyRequests { .. }
            | Fault::Status(_)
            | Fault::Refused
            | Fault::Hang
            | Fault::HalfBody
            | Fault::Malformed
            | Fault::AppliedWithoutAnswer
            | Fault::Unauthenticated
            | Fault::Forbidden => true,
        };
        if !is_for {
            return None;
        }
        if self.strike.skip > 0 {
            self.strike.skip -= 1;
            return None;
        }
        self.strike.times -= 1;
        Some(self.fault)
    }

    /// Counts a write and says whether the one before was let through.
    fn is_second_write(&mut self) -> bool {
        let is_second = self.is_second;
        self.is_second = !is_second;
        is_second
    }
}

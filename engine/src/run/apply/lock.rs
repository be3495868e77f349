//! Folding what concerns locks.

use crate::run::effect::EffectKey;
use crate::run::event::Event;
use crate::run::state::{LockState, LockWait, Run};

impl Run {
    pub(super) fn apply_lock(&mut self, event: &Event) {
        let locks = &mut self.state.locks;
        match event {
            Event::LockSought { lock, gate, at } => {
                self.state.lock_rounds += 1;
                let asked = LockState {
                    round: self.state.lock_rounds,
                    gate: *gate,
                    sought_at: *at,
                    number: None,
                    taken_at: None,
                    waits: None,
                    again_at: None,
                    why: None,
                    is_leaving: false,
                };
                locks.insert(lock.clone(), asked);
            }
            Event::LockBusy {
                lock,
                by,
                ahead,
                again_at,
                ..
            } => {
                if let Some(lock) = locks.get_mut(lock) {
                    // The next question is another one: an answer that comes twice answers nothing.
                    self.state.lock_rounds += 1;
                    lock.round = self.state.lock_rounds;
                    lock.waits = Some(LockWait {
                        by: by.clone(),
                        ahead: *ahead,
                    });
                    lock.again_at = Some(*again_at);
                    lock.why = None;
                }
            }
            Event::LockTaken { lock, number, at } => {
                if let Some(lock) = locks.get_mut(lock) {
                    lock.number = Some(*number);
                    lock.taken_at = Some(*at);
                    lock.waits = None;
                    lock.again_at = None;
                    lock.why = None;
                }
            }
            Event::LockDropped { lock, .. } => {
                if let Some(lock) = locks.get_mut(lock) {
                    lock.is_leaving = true;
                    lock.waits = None;
                    lock.again_at = None;
                    lock.why = None;
                }
            }
            Event::LockReleased { lock, .. } => {
                locks.remove(lock);
            }
            _ => {}
        }
    }

    pub(super) fn lock_failed(&mut self, key: EffectKey, error: &str, again_at: jiff::Timestamp) {
        let (EffectKey::Lock { round, .. } | EffectKey::Unlock { round, .. }) = key else {
            return;
        };
        if let Some(lock) = self.state.locks.values_mut().find(|lock| lock.round == round) {
            lock.again_at = Some(again_at);
            lock.why = Some(error.to_owned());
        }
    }
}

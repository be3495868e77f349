//! What a piece of content does once an instance starts it, and what that looks like from outside at any later instant.

use std::str::FromStr;
use std::time::Duration;

/// How long an instance takes to run content that nothing is said about.
const START: Duration = Duration::from_secs(10);
/// Between the end of a process and its next start.
const BACKOFF: Duration = Duration::from_secs(10);
/// How long a flapping process is up.
const FLAP: Duration = Duration::from_millis(500);
/// `WEBSITES_CONTAINER_START_TIME_LIMIT`'s default: a container that answers no ping until then is stopped.
pub const START_LIMIT: Duration = Duration::from_secs(230);

/// What content does. In words, as [`FromStr`] reads them: `ready`, `slow 120`, `status 503`, `never-ready`, `image-missing`,
/// `pull-denied`, `crash-loop 3`, `out-of-memory`, `flapping`, `no-room`, `quota`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs after this time and answers 200.
    Ready { start: Duration },
    /// Runs, and answers every request with this status.
    Status(u16),
    /// The process runs and answers nothing.
    NeverReady,
    /// The registry has no such image.
    ImageMissing,
    /// The registry does not let this site pull.
    PullDenied,
    /// The process ends with this code, again and again.
    CrashLoop(i32),
    /// Killed for its memory, again and again.
    OutOfMemory,
    /// Ready for half a second, then it ends, again and again.
    Flapping,
    /// The plan has no worker for it: instances never start.
    NoRoom,
    /// The plan's quota is used up: the site is suspended.
    Quota,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour::Ready { start: START }
    }
}

/// Words that name no behaviour.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no behaviour")]
pub struct UnknownBehaviour(String);

impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(words: &str) -> Result<Behaviour, UnknownBehaviour> {
        let unknown = || UnknownBehaviour(words.to_owned());
        let (what, number) = match words.trim().split_once(' ') {
            Some((what, number)) => (what, Some(number.trim().parse::<i32>().map_err(|_| unknown())?)),
            None => (words.trim(), None),
        };
        Ok(match (what, number) {
            ("ready", None) => Behaviour::default(),
            ("slow", Some(seconds)) => Behaviour::Ready {
                start: Duration::from_secs(u64::try_from(seconds).map_err(|_| unknown())?),
            },
            ("status", Some(status @ 100..=599)) => Behaviour::Status(u16::try_from(status).map_err(|_| unknown())?),
            ("never-ready", None) => Behaviour::NeverReady,
            ("image-missing", None) => Behaviour::ImageMissing,
            ("pull-denied", None) => Behaviour::PullDenied,
            ("crash-loop", code) => Behaviour::CrashLoop(code.unwrap_or(1)),
            ("out-of-memory", None) => Behaviour::OutOfMemory,
            ("flapping", None) => Behaviour::Flapping,
            ("no-room", None) => Behaviour::NoRoom,
            ("quota", None) => Behaviour::Quota,
            _ => return Err(unknown()),
        })
    }
}

/// One instance at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing has failed yet and nothing answers yet.
    Starting,
    /// Answers every request with this status.
    Answering(u16),
    /// The process stands and has not answered one ping.
    Silent,
    /// The process has ended this many times and is about to be started again.
    Down { ends: u32 },
}

impl Health {
    /// Whether the front end sends requests here: any answer to a ping makes an instance one that does.
    pub fn is_serving(self) -> bool {
        matches!(self, Health::Answering(_))
    }
}

impl Behaviour {
    /// How an instance is, this long after it was told to start.
    pub fn after(self, time: Duration) -> Health {
        match self {
            Behaviour::Ready { start } if time >= start => Health::Answering(200),
            Behaviour::Status(status) if time >= START => Health::Answering(status),
            Behaviour::NeverReady if time >= START => Health::Silent,
            Behaviour::Ready { .. } | Behaviour::Status(_) | Behaviour::NeverReady | Behaviour::NoRoom => {
                Health::Starting
            }
            // Pulling is tried again and again; what ends is the attempt.
            Behaviour::ImageMissing | Behaviour::PullDenied | Behaviour::CrashLoop(_) | Behaviour::OutOfMemory => {
                match ends(time, START + BACKOFF, START) {
                    0 => Health::Starting,
                    ends => Health::Down { ends },
                }
            }
            Behaviour::Flapping => {
                let cycle = START + FLAP + BACKOFF;
                let into = Duration::from_nanos(u64::try_from(time.as_nanos() % cycle.as_nanos()).unwrap_or_default());
                if into >= START && into < START + FLAP {
                    return Health::Answering(200);
                }
                match ends(time, cycle, START + FLAP) {
                    0 => Health::Starting,
                    ends => Health::Down { ends },
                }
            }
            Behaviour::Quota => Health::Down { ends: 0 },
        }
    }

    /// Whether content like this can be brought up at all: what a swap finds out before it pings.
    pub fn comes_up(self) -> bool {
        match self {
            Behaviour::Ready { .. } | Behaviour::Status(_) | Behaviour::NeverReady | Behaviour::Flapping => true,
            Behaviour::ImageMissing
            | Behaviour::PullDenied
            | Behaviour::CrashLoop(_)
            | Behaviour::OutOfMemory
            | Behaviour::NoRoom
            | Behaviour::Quota => false,
        }
    }
}

/// How often something that ends `first` after each of its starts has ended by now.
fn ends(time: Duration, cycle: Duration, first: Duration) -> u32 {
    let Some(after_first) = time.checked_sub(first) else {
        return 0;
    };
    let more = after_first.as_nanos() / cycle.as_nanos().max(1);
    u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(words: &str, seconds: f64) -> Health {
        words
            .parse::<Behaviour>()
            .unwrap()
            .after(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn content_needs_its_time_to_start() {
        assert_eq!(at("ready", 9.9), Health::Starting);
        assert_eq!(at("ready", 10.0), Health::Answering(200));
        assert_eq!(at("slow 120", 119.0), Health::Starting);
    }

    #[test]
    fn flapping_content_answers_for_half_a_second_at_a_time() {
        assert_eq!(at("flapping", 10.2), Health::Answering(200));
        assert_eq!(at("flapping", 10.5), Health::Down { ends: 1 });
        assert_eq!(at("flapping", 30.7), Health::Answering(200));
        assert_eq!(at("flapping", 31.1), Health::Down { ends: 2 });
    }

    #[test]
    fn a_crash_loop_counts_its_ends() {
        assert_eq!(at("crash-loop 3", 9.0), Health::Starting);
        assert_eq!(at("crash-loop 3", 10.0), Health::Down { ends: 1 });
        assert_eq!(at("crash-loop 3", 30.0), Health::Down { ends: 2 });
    }

    #[test]
    fn words_that_name_no_behaviour_are_refused() {
        for words in ["", "redy", "status 42", "slow -1", "slow", "ready 5"] {
            assert!(words.parse::<Behaviour>().is_err(), "{words}");
        }
    }
}

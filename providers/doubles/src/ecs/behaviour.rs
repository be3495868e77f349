//! How the tasks of an image or a task definition behave, in words that tests and command lines share.

use std::fmt;

/// What a task does from its placement on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Pulled, started, healthy after a few checks.
    Healthy,
    /// Healthy only after so many seconds.
    Slow(u32),
    /// The image cannot be pulled.
    CannotPull,
    /// The essential container ends with this code before it is healthy.
    Exits(i32),
    /// The container is killed for its memory before it is healthy.
    OutOfMemory,
    /// Healthy for half a second, then it exits with 1.
    Flaps,
    /// It runs, and its health check never passes.
    NeverHealthy,
    /// No machine has memory for it.
    NoCapacity,
    /// The account's quota of running vCPUs is used up.
    NoQuota,
}

impl Behaviour {
    /// Reads `healthy`, `slow:SECONDS`, `cannot-pull`, `exits:CODE`, `out-of-memory`, `flaps`, `never-healthy`,
    /// `no-capacity` or `no-quota`.
    pub fn read(words: &str) -> Option<Behaviour> {
        match words.split_once(':') {
            Some(("exits", code)) => code.parse().ok().map(Behaviour::Exits),
            Some(("slow", seconds)) => seconds.parse().ok().map(Behaviour::Slow),
            Some(_) => None,
            None => match words {
                "healthy" => Some(Behaviour::Healthy),
                "cannot-pull" => Some(Behaviour::CannotPull),
                "out-of-memory" => Some(Behaviour::OutOfMemory),
                "flaps" => Some(Behaviour::Flaps),
                "never-healthy" => Some(Behaviour::NeverHealthy),
                "no-capacity" => Some(Behaviour::NoCapacity),
                "no-quota" => Some(Behaviour::NoQuota),
                _ => None,
            },
        }
    }

    /// Why a task that behaves so is not even placed.
    pub fn refuses_placement(self) -> Option<&'static str> {
        match self {
            Behaviour::NoCapacity => Some(
                "because no container instance met all of its requirements. Reason: RESOURCE:MEMORY. The closest matching \
                 container-instance has insufficient memory available",
            ),
            Behaviour::NoQuota => {
                Some("Reason: You've reached the limit on the number of vCPUs you can run concurrently")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Behaviour::Healthy => f.write_str("healthy"),
            Behaviour::Slow(seconds) => write!(f, "slow:{seconds}"),
            Behaviour::CannotPull => f.write_str("cannot-pull"),
            Behaviour::Exits(code) => write!(f, "exits:{code}"),
            Behaviour::OutOfMemory => f.write_str("out-of-memory"),
            Behaviour::Flaps => f.write_str("flaps"),
            Behaviour::NeverHealthy => f.write_str("never-healthy"),
            Behaviour::NoCapacity => f.write_str("no-capacity"),
            Behaviour::NoQuota => f.write_str("no-quota"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_is_read_as_it_is_written() {
        for behaviour in [
            Behaviour::Healthy,
            Behaviour::Slow(90),
            Behaviour::CannotPull,
            Behaviour::Exits(-1),
            Behaviour::OutOfMemory,
            Behaviour::Flaps,
            Behaviour::NeverHealthy,
            Behaviour::NoCapacity,
            Behaviour::NoQuota,
        ] {
            assert_eq!(Behaviour::read(&behaviour.to_string()), Some(behaviour));
        }
        assert_eq!(Behaviour::read("exits:soon"), None);
    }
}

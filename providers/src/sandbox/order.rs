//! Orders to a region and the one rule about them: the larger fence wins, an older one changes nothing.

use serde::{Deserialize, Serialize};

use crate::sandbox::quantity::Percent;

/// Who ordered, ordered so that the later owner is the larger: the claim on the target, the lease's epoch, the journal's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fence {
    /// Rises whenever a run takes the target.
    pub claim: u64,
    /// Rises whenever another engine takes the run.
    pub epoch: u64,
    /// Rises with the run's journal.
    pub seq: u64,
}

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({}, {}, {})", self.claim, self.epoch, self.seq)
    }
}

/// What a region should be like: a state, never a step. The primary gets what the candidate's share leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Desired {
    /// The version that serves the rest of the traffic.
    pub primary: String,
    /// The version being released; without one, every other version is retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
}

/// The candidate's part of a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Candidate {
    /// Its name.
    pub version: String,
    /// Its share of the live traffic; at 0 % it only runs.
    pub share: Percent,
    /// The part of the live requests that it receives as copies, with its answers thrown away.
    #[serde(default)]
    pub shadow: Percent,
    /// It is left standing after a rollback: without traffic, not started when it does not run, and whether it is well is
    /// nobody's concern. A broken candidate must not keep its own rollback from arriving.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
}

impl Desired {
    /// Only this version.
    pub fn only(primary: impl Into<String>) -> Self {
        Self {
            primary: primary.into(),
            candidate: None,
        }
    }

    /// Why this cannot be ordered, when it cannot.
    pub fn fault(&self) -> Option<String> {
        let candidate = self.candidate.as_ref();
        for version in [Some(&self.primary), candidate.map(|c| &c.version)]
            .into_iter()
            .flatten()
        {
            if let Err(why) = check_name("version", version) {
                return Some(why);
            }
        }
        if candidate.is_some_and(|c| c.idle && (c.share > Percent::NONE || c.shadow > Percent::NONE)) {
            return Some("an idle candidate has no traffic".to_owned());
        }
        candidate
            .filter(|c| c.version == self.primary)
            .map(|c| format!("version `{}` cannot be candidate and primary at once", c.version))
    }

    /// The versions that should run or may go on running, the primary first.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.primary.as_str()).chain(self.candidate.iter().map(|c| c.version.as_str()))
    }

    /// The versions that must be well for the order to be carried out, the primary first.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        let candidate = self.candidate.iter().filter(|c| !c.idle);
        std::iter::once(self.primary.as_str()).chain(candidate.map(|c| c.version.as_str()))
    }

    /// The share of live traffic that this version should get.
    pub fn share(&self, version: &str) -> Percent {
        let candidate = self.candidate.as_ref();
        let candidates = candidate.map_or(Percent::NONE, |c| c.share);
        match candidate {
            _ if version == self.primary => candidates.rest(),
            Some(c) if c.version == version => candidates,
            _ => Percent::NONE,
        }
    }

    /// The part of the live requests that should be copied to this version.
    pub fn shadow(&self, version: &str) -> Percent {
        self.candidate
            .as_ref()
            .filter(|c| c.version == version)
            .map_or(Percent::NONE, |c| c.shadow)
    }
}

/// An order as it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Who orders.
    pub fence: Fence,
    /// What for.
    pub desired: Desired,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Answer {
    /// It is now what the region converges to.
    Applied,
    /// It was applied before; nothing changed.
    Repeated,
    /// A later order was applied already; nothing changed.
    Stale {
        /// That order's fence.
        last: Fence,
    },
    /// It cannot be carried out as written; nothing changed.
    Refused {
        /// The reason in plain words.
        why: String,
    },
}

/// Judges an order against the last one that was applied to the region.
pub fn judge(order: &Order, last: Option<Fence>, applied: &Desired) -> Answer {
    if let Some(last) = last.filter(|last| order.fence < *last) {
        return Answer::Stale { last };
    }
    if let Some(why) = order.desired.fault() {
        return Answer::Refused { why };
    }
    match last {
        Some(last) if order.fence == last && order.desired == *applied => Answer::Repeated,
        Some(last) if order.fence == last => Answer::Refused {
            why: format!("an order with the fence {last} and another content was applied before"),
        },
        _ => Answer::Applied,
    }
}

/// Longest name of an app, a region or a version: all of them become metric labels and parts of an address.
const NAME_BYTES_MAX: usize = 128;

/// Refuses names that could not stand in a path or a label.
///
/// # Errors
/// The reason in plain words, naming the name.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || "._-:@+".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(sound) || name.starts_with('.') {
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        return Err(format!(
            "{what} `{shown}` is not a name of 1 to {NAME_BYTES_MAX} letters, digits and `._-:@+` that starts without a dot"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Answer, Candidate, Desired, Fence, Order, check_name, judge};
    use crate::sandbox::quantity::Percent;

    fn fence(claim: u64, epoch: u64, seq: u64) -> Fence {
        Fence { claim, epoch, seq }
    }

    fn candidate_at(share: u16) -> Desired {
        let share = Percent::new(share).unwrap();
        Desired {
            primary: "v1".into(),
            candidate: Some(Candidate {
                version: "v2".into(),
                share,
                shadow: Percent::NONE,
                idle: false,
            }),
        }
    }

    #[test]
    fn claim_counts_before_epoch_and_epoch_before_seq() {
        let last = Some(fence(2, 5, 9));
        let judged = |fence| {
            judge(
                &Order {
                    fence,
                    desired: candidate_at(100),
                },
                last,
                &Desired::only("v1"),
            )
        };
        for stale in [fence(1, 9, 99), fence(2, 4, 99), fence(2, 5, 8)] {
            assert_eq!(judged(stale), Answer::Stale { last: fence(2, 5, 9) });
        }
        for later in [fence(3, 0, 0), fence(2, 6, 0), fence(2, 5, 10)] {
            assert_eq!(judged(later), Answer::Applied);
        }
    }

    #[test]
    fn an_equal_fence_repeats_its_content_and_nothing_else() {
        let last = Some(fence(1, 1, 1));
        let order = Order {
            fence: fence(1, 1, 1),
            desired: candidate_at(100),
        };
        assert_eq!(judge(&order, last, &candidate_at(100)), Answer::Repeated);
        assert!(matches!(
            judge(&order, last, &candidate_at(200)),
            Answer::Refused { .. }
        ));
    }

    #[test]
    fn shares_of_both_arms_make_the_whole() {
        for raw in [0, 1, 500, 9_999, 10_000] {
            let desired = candidate_at(raw);
            assert_eq!(
                desired.share("v1").hundredths() + desired.share("v2").hundredths(),
                10_000
            );
            assert_eq!(desired.share("v3"), Percent::NONE);
        }
    }

    #[test]
    fn one_version_cannot_be_both_arms() {
        let mut desired = candidate_at(100);
        desired.primary = "v2".into();
        let answer = judge(
            &Order {
                fence: fence(1, 1, 1),
                desired,
            },
            None,
            &Desired::only("v1"),
        );
        assert!(matches!(answer, Answer::Refused { why } if why.contains("v2")));
    }

    #[test]
    fn an_idle_candidate_has_no_traffic_and_is_not_needed() {
        let mut desired = candidate_at(0);
        assert_eq!(desired.needed().collect::<Vec<_>>(), ["v1", "v2"]);
        desired.candidate.as_mut().unwrap().idle = true;
        assert_eq!(desired.needed().collect::<Vec<_>>(), ["v1"]);
        assert_eq!((desired.versions().count(), desired.fault()), (2, None));
        desired.candidate.as_mut().unwrap().share = Percent::ALL;
        assert!(desired.fault().is_some());
    }

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for name in ["", "..", "a/b", "a b", "é", "a\"b", &"x".repeat(129)] {
            assert!(check_name("app", name).is_err(), "{name}");
        }
        assert!(check_name("version", "v1.2.3-rc.1+b@sha256:abc").is_ok());
    }
}

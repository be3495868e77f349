//! What this provider must remember of a workload: it stands in annotations on the Deployment that serves, because the process
//! may die at any point and the candidate's copy may be deleted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use meridian_engine::ports::provider::{Fence, Order};
use meridian_engine::run::effect::{Desired, DesiredState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::plan::Runs;
use crate::traffic::{FENCE_ANNOTATION, Split};

/// The annotation that holds the record, as JSON.
pub const RECORD_ANNOTATION: &str = "meridian/record";
/// The stretch in which putting right what others change is counted.
const REASSERTED_WITHIN_SECONDS: i64 = 600;

/// The memory of one workload. Fields that a later version adds are defaulted by older records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// A digest of the order that the fence belongs to: one fence is one order.
    pub order: String,
    /// The images of the two arms, as written.
    pub baseline: String,
    pub candidate: String,
    /// How many pods all of the traffic needs.
    pub total: u32,
    #[serde(default)]
    pub original: Original,
    /// Labels of the candidate's pods whose values were changed to keep them apart from the baseline's Services.
    #[serde(default)]
    pub apart: BTreeMap<String, String>,
    /// Whether the candidate has been given any traffic.
    #[serde(default)]
    pub exposed: bool,
    /// Whether the cluster has once been as this order wants it: what differs later was changed by somebody else.
    #[serde(default)]
    pub reached: bool,
    /// Since when no request reaches the candidate's copy any more.
    #[serde(default)]
    pub idle_since: Option<Timestamp>,
    /// Since when the candidate has more capacity than its share needs.
    #[serde(default)]
    pub spare_since: Option<Timestamp>,
    /// Since when the candidate serves everything and is to stay: the old version is kept from here on.
    #[serde(default)]
    pub promoted_since: Option<Timestamp>,
    /// When this order put right what somebody else had changed.
    #[serde(default)]
    pub reasserted: Vec<Timestamp>,
    /// What was changed last by somebody else.
    #[serde(default)]
    pub noticed: Option<String>,
    /// What was ordered, for a look at what others have changed since.
    #[serde(default)]
    pub state: Option<DesiredState>,
    /// The content that the candidate's pods ran when it was judged fit to stay.
    #[serde(default)]
    pub content: BTreeSet<String>,
    /// The pace of a rolling update as it stood in the Deployment before.
    #[serde(default)]
    pub pace: Option<Value>,
}

/// What has been done to the Deployment that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum Original {
    #[default]
    Untouched,
    /// It was given the candidate's image.
    Promoted,
    /// It was given the baseline's image back.
    Restored,
}

impl Record {
    /// The record of a new order, on top of the one that stood before.
    pub fn of(order: &Order, before: Option<&Record>, replicas: u32, counts_pods: bool) -> Record {
        let desired = order.desired();
        let split = goal_split(desired);
        let before = before.filter(|record| {
            record.baseline == desired.baseline.pinned && record.candidate == desired.candidate.pinned
        });
        let leaves = matches!(
            desired.state,
            DesiredState::Reverted | DesiredState::Withdrawn | DesiredState::Promoted
        );
        let is_promotion = desired.state == DesiredState::Promoted;
        let total = match before {
            // The baseline's own pods shrink as the candidate's grow: what all traffic needs was seen before.
            Some(record) if counts_pods => record.total,
            Some(record) => record.total.max(replicas),
            None => replicas,
        };
        Record {
            order: digest(desired),
            baseline: desired.baseline.pinned.clone(),
            candidate: desired.candidate.pinned.clone(),
            total: total.max(1),
            original: before.map(|record| record.original).unwrap_or_default(),
            apart: before.map(|record| record.apart.clone()).unwrap_or_default(),
            exposed: before.is_some_and(|record| record.exposed) || !split.is_none(),
            reached: false,
            idle_since: before.filter(|_| leaves).and_then(|record| record.idle_since),
            promoted_since: before.filter(|_| is_promotion).and_then(|record| record.promoted_since),
            spare_since: None,
            reasserted: Vec::new(),
            noticed: None,
            state: Some(desired.state.clone()),
            content: before
                .filter(|_| is_promotion)
                .map(|record| record.content.clone())
                .unwrap_or_default(),
            pace: before.and_then(|record| record.pace.clone()),
        }
    }

    /// The same over an original that runs one of the two images: what others did before this order is how it was found.
    pub fn found(mut self, runs: &Runs) -> Record {
        if *runs == Runs::Baseline && self.original == Original::Promoted {
            self.original = Original::Restored;
        }
        self
    }

    /// How often others' changes were put right in the last ten minutes.
    pub fn reasserted_lately(&self, now: Timestamp) -> usize {
        let lately = |at: &&Timestamp| now.as_second() - at.as_second() < REASSERTED_WITHIN_SECONDS;
        self.reasserted.iter().filter(lately).count()
    }

    /// The record after somebody else's change is to be put right.
    pub fn reasserting(&self, what: &str, now: Timestamp) -> Record {
        let mut record = self.clone();
        record
            .reasserted
            .retain(|at| now.as_second() - at.as_second() < REASSERTED_WITHIN_SECONDS);
        record.reasserted.push(now);
        record.noticed = Some(what.to_owned());
        record.reached = false;
        record
    }

    /// The annotations that carry this record and its fence.
    pub fn annotations(&self, fence: Fence) -> Value {
        let record = serde_json::to_string(self).unwrap_or_default();
        json!({ FENCE_ANNOTATION: fence.to_string(), RECORD_ANNOTATION: record })
    }
}

/// Who meets the candidate at the end of this order; nobody where it does not say.
fn goal_split(desired: &Desired) -> Split {
    match &desired.state {
        DesiredState::Serving(exposure) => Split::of(exposure),
        DesiredState::Promoted => Split {
            share: meridian_workflows::share::Share::FULL,
            ..Split::default()
        },
        DesiredState::Reverted | DesiredState::Withdrawn => Split::none(),
    }
}

/// The same for equal orders. Labels of versions are left out: telemetry's words do not change what is ordered.
pub fn digest(desired: &Desired) -> String {
    let said = json!([desired.candidate.pinned, desired.baseline.pinned, desired.state]);
    let sum = Sha256::digest(said.to_string().as_bytes());
    sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The fence in an annotation's text; none where it is none.
pub fn fence(text: &str) -> Option<Fence> {
    let parts: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts?.as_slice() {
        [claim, epoch, seq] => Some(Fence {
            claim: *claim,
            epoch: *epoch,
            seq: *seq,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use meridian_engine::ports::provider::{Fence, Order};
    use meridian_engine::run::effect::{Desired, DesiredState};
    use meridian_engine::run::version::Version;
    use meridian_workflows::share::Share;
    use meridian_workflows::workflow::Exposure;

    use super::{Original, Record, digest, fence};
    use crate::plan::Runs;

    fn order(candidate: &str, state: DesiredState) -> Order {
        let desired = Desired {
            candidate: Version::named(candidate),
            baseline: Version::named("v1"),
            state,
        };
        let fence = Fence {
            claim: 1,
            epoch: 1,
            seq: 1,
        };
        Order::rehearsed(desired, fence)
    }

    #[test]
    fn a_fence_reads_back_as_it_was_written() {
        let written = Fence {
            claim: 7,
            epoch: 2,
            seq: 19,
        };
        assert_eq!(fence(&written.to_string()), Some(written));
        for other in ["", "7", "7.2", "7.2.x", "7.2.19.1", "-1.2.3"] {
            assert_eq!(fence(other), None, "{other}");
        }
    }

    #[test]
    fn another_release_starts_with_an_empty_memory() {
        let half = DesiredState::Serving(Exposure::Traffic(Share::percent(50).unwrap()));
        let mut first = Record::of(&order("v2", half), None, 10, false);
        first.original = Original::Promoted;
        assert!(first.exposed);
        let next = Record::of(&order("v2", DesiredState::Reverted), Some(&first), 4, false);
        assert_eq!(
            (next.total, next.original, next.exposed),
            (10, Original::Promoted, true)
        );
        let other = Record::of(&order("v3", DesiredState::Reverted), Some(&first), 4, false);
        assert_eq!(
            (other.total, other.original, other.exposed),
            (4, Original::Untouched, false)
        );
    }

    #[test]
    fn a_new_order_takes_the_image_for_what_it_finds() {
        let mut record = Record::of(&order("v2", DesiredState::Promoted), None, 4, false);
        record.original = Original::Promoted;
        assert_eq!(record.clone().found(&Runs::Candidate).original, Original::Promoted);
        assert_eq!(record.found(&Runs::Baseline).original, Original::Restored);
    }

    #[test]
    fn records_of_earlier_versions_are_read() {
        let text = r#"{"order":"a","baseline":"v1","candidate":"v2","total":4,"idleSince":"2026-01-01T00:00:00Z"}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert!(record.idle_since.is_some() && record.state.is_none() && record.content.is_empty());
    }

    #[test]
    fn labels_of_a_version_do_not_make_another_order() {
        let plain = order("v2", DesiredState::Promoted);
        let mut labelled = plain.desired().clone();
        labelled.candidate.labels.insert("digest".into(), "sha256:1".into());
        assert_eq!(digest(plain.desired()), digest(&labelled));
        assert_ne!(
            digest(plain.desired()),
            digest(order("v2", DesiredState::Reverted).desired())
        );
    }
}

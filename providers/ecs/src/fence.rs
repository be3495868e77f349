//! What Meridian writes down on a service: the newest order, and what must outlive the process that gave it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::share::Share;

/// The tag that holds the newest order's fence, as `claim.epoch.seq`.
pub const FENCE: &str = "meridian/fence";
/// The tag that names the service deployment up to which everything has been dealt with, as `claim deployment`: only what comes
/// after it belongs to that claim's orders.
pub const SINCE: &str = "meridian/since";
/// The tag on each service of a target that names the other one, or says that there is none. It stays where it is once
/// written: a service that is released alone and as one of two could be held by two runs at once.
pub const BESIDE: &str = "meridian/beside";
/// What [`BESIDE`] says where a service is released alone. No service has such a name.
pub const ALONE: &str = "@alone";
/// The tag that holds what was ordered to be deployed last, and after which service deployment: `claim deployment seconds
/// definition`. ECS shows a deployment some time after it was ordered.
pub const ORDERED: &str = "meridian/ordered";
/// The tag that begins what the service was configured with before: how many tags hold it, and a first part; further ones are
/// called `meridian/own.1` and so on.
pub const OWN: &str = "meridian/own";
/// The tag that holds which pause hook was let go on and where to: `deployment hook hundredths`.
pub const STEP: &str = "meridian/step";
/// The tag that holds when weights were last changed, in seconds of Unix time.
pub const SHIFTED: &str = "meridian/shifted";
/// The tag that holds which order asked for promotion first, and when: `claim.seq seconds`.
pub const PROMOTED: &str = "meridian/promoted";

/// So much of a task definition's name tells it apart; a tag holds 256 characters, and a family may have 255.
const NAME_MAX: usize = 150;

/// So many tags at most hold what a service was configured with, and so much of it each. A resource has 50 tags.
const OWN_PARTS_MAX: usize = 20;
const OWN_PART: usize = 240;

/// Says that no service deployment was there yet.
pub const NONE_YET: &str = "none";

/// What the tags of a service say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub fence: Option<Fence>,
    since: Option<(u64, String)>,
    ordered: Option<Ordered>,
    /// What the service was configured with before it was released here; nothing where that is restored.
    pub own: Option<String>,
    step: Option<(String, String, Share)>,
    pub shifted: Option<Timestamp>,
    promoted: Option<(u64, u64, Timestamp)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ordered {
    after: String,
    definition: String,
    at: Timestamp,
}

impl Marks {
    /// Reads the tags.
    ///
    /// *Errors*: a fence that cannot be read. Taking it for none would let an older order through.
    pub fn read(tags: &BTreeMap<String, String>) -> Result<Marks, String> {
        let fence = match tags.get(FENCE) {
            None => None,
            Some(text) => Some(
                parse(text)
                    .ok_or_else(|| format!("the tag `{FENCE}` holds `{text}`, which is no fence; remove the tag"))?,
            ),
        };
        Ok(Marks {
            fence,
            since: tags.get(SINCE).and_then(|text| {
                let (claim, deployment) = text.split_once(' ')?;
                Some((claim.parse().ok()?, deployment.to_owned()))
            }),
            ordered: tags.get(ORDERED).and_then(|text| ordered(text)),
            own: own(tags),
            step: tags.get(STEP).and_then(|text| step(text)),
            shifted: tags.get(SHIFTED).and_then(|text| seconds(text)),
            promoted: tags.get(PROMOTED).and_then(|text| promotion(text)),
        })
    }

    /// Up to which deployment everything has been dealt with under this claim.
    pub fn since(&self, claim: u64) -> Option<&str> {
        self.since
            .as_ref()
            .filter(|(by, _)| *by == claim)
            .map(|(_, deployment)| deployment.as_str())
    }

    /// What was ordered to be deployed while this deployment was the newest, and when: as [`named`] calls it. Whose claim that
    /// was is of no matter: it comes.
    pub fn ordered(&self, newest: Option<&str>) -> Option<(&str, Timestamp)> {
        let ordered = self.ordered.as_ref()?;
        (ordered.after == newest.map_or(NONE_YET, short)).then_some((ordered.definition.as_str(), ordered.at))
    }

    /// The last hook of this deployment that was let go on, and where to.
    pub fn step(&self, deployment: &str) -> Option<(&str, Share)> {
        let (of, hook, to) = self.step.as_ref()?;
        (of == short(deployment)).then_some((hook.as_str(), *to))
    }

    /// When the promotion that this order asks for was first asked for.
    pub fn promoted(&self, fence: Fence) -> Option<Timestamp> {
        self.promoted
            .filter(|(claim, seq, _)| (*claim, *seq) == (fence.claim, fence.seq))
            .map(|(_, _, at)| at)
    }
}

/// The text of the tag [`SINCE`].
pub fn since_of(claim: u64, deployment: Option<&str>) -> String {
    format!("{claim} {}", deployment.map_or(NONE_YET, short))
}

/// The text of the tag [`ORDERED`].
pub fn ordered_of(claim: u64, newest: Option<&str>, definition: &str, at: Timestamp) -> String {
    let (after, definition) = (newest.map_or(NONE_YET, short), named(definition));
    format!("{claim} {after} {} {definition}", at.as_second())
}

/// The tags that hold what a service was configured with; with nothing to hold, the tag that says so.
///
/// *Errors*: more than tags can hold.
pub fn own_of(configured: Option<&str>) -> Result<Vec<(String, String)>, String> {
    // The text is plain ASCII, so that every cut is between characters.
    let parts: Vec<String> = configured
        .unwrap_or_default()
        .as_bytes()
        .chunks(OWN_PART)
        .map(lossy)
        .collect();
    if parts.len() > OWN_PARTS_MAX {
        return Err("the service watches more alarms than its tags can remember: disable some".into());
    }
    let count = parts.len();
    let tag = |(place, part): (usize, String)| match place {
        0 => (OWN.to_owned(), format!("{count}+{part}")),
        _ => (format!("{OWN}.{place}"), part),
    };
    match count {
        0 => Ok(vec![(OWN.to_owned(), NONE_YET.to_owned())]),
        _ => Ok(parts.into_iter().enumerate().map(tag).collect()),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn own(tags: &BTreeMap<String, String>) -> Option<String> {
    let (count, first) = tags.get(OWN)?.split_once('+')?;
    let mut text = first.to_owned();
    for place in 1..count.parse().ok().filter(|count| *count <= OWN_PARTS_MAX)? {
        text.push_str(tags.get(&format!("{OWN}.{place}"))?);
    }
    Some(text)
}

/// The text of the tag [`STEP`].
pub fn step_of(deployment: &str, hook: &str, to: Share) -> String {
    format!("{} {hook} {}", short(deployment), to.basis_points())
}

/// The last part of an ARN, which is unique within a service: a tag holds 256 characters.
pub fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// A task definition by the end of its ARN, `family:revision`.
pub fn named(definition: &str) -> &str {
    let name = short(definition);
    let cut = name.char_indices().rev().nth(NAME_MAX - 1);
    cut.map_or(name, |(at, _)| &name[at..])
}

fn ordered(text: &str) -> Option<Ordered> {
    let mut parts = text.splitn(4, ' ').skip(1);
    let (after, at, definition) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Ordered {
        after: after.to_owned(),
        definition: definition.to_owned(),
        at: seconds(at)?,
    })
}

fn step(text: &str) -> Option<(String, String, Share)> {
    let mut parts = text.split(' ');
    let (deployment, hook, to) = (parts.next()?, parts.next()?, parts.next()?);
    Some((
        deployment.to_owned(),
        hook.to_owned(),
        Share::from_basis_points(to.parse().ok()?).ok()?,
    ))
}

/// The text of the promotion's tag.
pub fn promotion_of(fence: Fence, at: Timestamp) -> String {
    format!("{}.{} {}", fence.claim, fence.seq, at.as_second())
}

fn parse(text: &str) -> Option<Fence> {
    let mut parts = text.split('.').map(|part| part.parse::<u64>().ok());
    let fence = Fence {
        claim: parts.next()??,
        epoch: parts.next()??,
        seq: parts.next()??,
    };
    parts.next().is_none().then_some(fence)
}

fn seconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_second(text.trim().parse().ok()?).ok()
}

fn promotion(text: &str) -> Option<(u64, u64, Timestamp)> {
    let (order, at) = text.split_once(' ')?;
    let (claim, seq) = order.split_once('.')?;
    Some((claim.parse().ok()?, seq.parse().ok()?, seconds(at)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use meridian_engine::ports::provider::Fence;
    use meridian_workflows::share::Share;
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{
        FENCE, Marks, ORDERED, PROMOTED, SINCE, STEP, named, ordered_of, own_of, promotion_of, since_of, step_of,
    };

    fn tags(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn a_fence_that_cannot_be_read_is_no_missing_one() {
        assert_eq!(Marks::read(&BTreeMap::new()).unwrap(), Marks::default());
        for text in ["", "1.2", "1.2.3.4", "1.2.x", "-1.2.3"] {
            assert!(Marks::read(&tags(&[(FENCE, text.to_owned())])).is_err(), "{text}");
        }
    }

    #[test]
    fn a_promotion_counts_for_its_own_order_only() {
        let fence = |seq| Fence {
            claim: 3,
            epoch: 9,
            seq,
        };
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let marks = Marks::read(&tags(&[(PROMOTED, promotion_of(fence(7), at))])).unwrap();
        assert_eq!(marks.promoted(fence(7)), Some(at));
        let taken_over = Fence { epoch: 10, ..fence(7) };
        assert_eq!(
            marks.promoted(taken_over),
            Some(at),
            "the order is the same under the next owner"
        );
        assert_eq!(marks.promoted(fence(8)), None);
    }

    #[test]
    fn marks_of_another_claim_or_deployment_say_nothing() {
        let ten = Share::percent(10).unwrap();
        let marks = Marks::read(&tags(&[
            (SINCE, since_of(4, Some("arn:aws:ecs:x:1:service-deployment/c/s/abc"))),
            (
                STEP,
                step_of("arn:aws:ecs:x:1:service-deployment/c/s/abc", "ecs-pause-1", ten),
            ),
        ]))
        .unwrap();
        assert_eq!((marks.since(4), marks.since(5)), (Some("abc"), None));
        assert_eq!(marks.step("other/abc"), Some(("ecs-pause-1", ten)));
        assert_eq!(marks.step("other/abd"), None);
    }

    #[test]
    fn an_ordered_deployment_counts_until_another_one_shows() {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let long = format!("arn:aws:ecs:x:1:task-definition/{}:17", "f".repeat(255));
        let text = ordered_of(3, Some("service-deployment/c/s/abc"), &long, at);
        assert!(text.len() <= 256, "{text}");
        let marks = Marks::read(&tags(&[(ORDERED, text)])).unwrap();
        assert_eq!(marks.ordered(Some("x/abc")), Some((named(&long), at)));
        assert!(named(&long).ends_with("ff:17"));
        assert_eq!((marks.ordered(Some("x/abd")), marks.ordered(None)), (None, None));
        let first = Marks::read(&tags(&[(ORDERED, ordered_of(3, None, "web:1", at))])).unwrap();
        assert_eq!(first.ordered(None), Some(("web:1", at)));
    }

    #[test]
    fn what_a_service_was_configured_with_is_held_in_as_many_tags_as_it_takes() {
        let read = |text: Option<&str>| {
            let tags = own_of(text).unwrap().into_iter().collect::<BTreeMap<_, _>>();
            assert!(tags.values().all(|value| value.len() <= 256));
            Marks::read(&tags).unwrap().own
        };
        for length in [1, 239, 240, 241, 3_000] {
            let text = "a+b=20c.".repeat(400)[..length].to_owned();
            assert_eq!(read(Some(&text)), Some(text));
        }
        assert_eq!(read(None), None);
        assert!(own_of(Some(&"a".repeat(5_000))).is_err());
    }

    proptest! {
        #[test]
        fn a_fence_reads_back(claim: u64, epoch: u64, seq: u64) {
            let fence = Fence { claim, epoch, seq };
            let read = Marks::read(&tags(&[(FENCE, fence.to_string())])).unwrap();
            prop_assert_eq!(read.fence, Some(fence));
        }
    }
}

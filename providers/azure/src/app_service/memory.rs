//! What Meridian remembers about a site between two calls: tags on the site, which do not take part in swaps.

use jiff::Timestamp;
use meridian_engine::ports::provider::Fence;
use meridian_workflows::share::Share;
use serde_json::{Map, Value};

use crate::fence;
use crate::trouble::brief;

const PHASE: &str = "meridian-phase";
const OPERATION: [&str; 3] = ["meridian-operation", "meridian-operation-2", "meridian-operation-3"];
const NOTE: [&str; 3] = ["meridian-note", "meridian-note-2", "meridian-note-3"];
const PINNED: &str = "meridian-pinned-until";
const RAMPED: &str = "meridian-ramped";

/// The word for a share that was brought down.
const LOWER: &str = "lower";

/// Azure's limit for a tag's value.
const VALUE_MAX: usize = 256;

/// What Meridian remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) fence: Option<Fence>,
    /// Rises with each change of these tags: an answer with a lower one than was written is an old one.
    pub(crate) serial: u64,
    pub(crate) phase: Phase,
    /// Until when users may be held on the slot by a cookie after its share was lowered.
    pub(crate) pinned_until: Option<Timestamp>,
    /// The ramp-up rule as it was last written.
    pub(crate) ramped: Option<Ramped>,
}

/// A share that was written, under which order, and how often it was put back over a change by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ramped {
    pub(crate) fence: Fence,
    pub(crate) share: Share,
    pub(crate) again: u32,
    /// Whether the order brought the share down to this.
    pub(crate) is_lower: bool,
}

impl Ramped {
    fn parse(text: &str) -> Option<Ramped> {
        let mut words = text.split(' ');
        let fence = fence::parse(words.next()?).ok()?;
        let share = Share::from_basis_points(words.next()?.parse().ok()?).ok()?;
        let again = words.next()?.parse().ok()?;
        let is_lower = match words.next() {
            None => false,
            Some(LOWER) => true,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Ramped {
            fence,
            share,
            again,
            is_lower,
        })
    }

    fn text(self) -> String {
        let lower = if self.is_lower {
            format!(" {LOWER}")
        } else {
            String::new()
        };
        format!("{} {} {}{lower}", self.fence, self.share.basis_points(), self.again)
    }
}

/// What was begun and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    Idle,
    /// The slot was given what it runs, or was found unfit: it is to become fit.
    Starting { since: Timestamp },
    /// The slot has been fit without a break.
    Fit { since: Timestamp },
    /// Production's slot settings were applied to the slot: the first phase of a swap with preview.
    Preview { since: Timestamp },
    /// The slot has been fit with production's settings without a break.
    PreviewFit { since: Timestamp },
    /// A swap was ordered.
    Swapping(Swap),
    /// Both sides have changed places; production is to be seen fit.
    Swapped { since: Timestamp },
    /// It cannot go on by itself, with the reason; a newer order begins anew.
    Failed { why: String },
    /// The slot is nobody's.
    Released,
}

/// A swap under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    pub(crate) since: Timestamp,
    pub(crate) way: Way,
    /// When the site's last swap before this one was, as the platform said: another answer later means that one took place.
    pub(crate) before: Option<String>,
    /// Where its operation can be followed; none while the answer to the order is not known.
    pub(crate) link: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The candidate comes into production.
    Forth,
    /// The baseline comes back.
    Back,
}

impl Memory {
    pub(crate) const NONE: Memory = Memory {
        fence: None,
        serial: 0,
        phase: Phase::Idle,
        pinned_until: None,
        ramped: None,
    };

    /// From a site's tags.
    ///
    /// *Errors*: tags of ours that somebody has written differently.
    pub(crate) fn read(tags: &Value) -> Result<Memory, String> {
        let text = |name: &str| tags.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let fence = text(fence::TAG).map(fence::parse).transpose()?;
        let instant = |name: &str| -> Result<Option<Timestamp>, String> {
            let parse = |text: &str| {
                text.parse()
                    .map_err(|_| format!("the tag `{name}` holds `{text}`, which is no instant"))
            };
            text(name).map(parse).transpose()
        };
        let Some(phase) = text(PHASE) else {
            return Ok(Memory { fence, ..Memory::NONE });
        };
        let odd = || format!("the tag `{PHASE}` holds `{phase}`, which Meridian did not write");
        let words: Vec<&str> = phase.split(' ').collect();
        let (name, serial, rest) = match words.as_slice() {
            [name, serial, rest @ ..] => (*name, serial.parse().map_err(|_| odd())?, rest),
            [] | [_] => return Err(odd()),
        };
        let since = || {
            rest.first()
                .and_then(|text| text.parse::<Timestamp>().ok())
                .ok_or_else(odd)
        };
        let whole = |names: [&str; 3]| -> String { names.into_iter().filter_map(text).collect() };
        let link = whole(OPERATION);
        let note = whole(NOTE);
        let swap = |way| -> Result<Phase, String> {
            Ok(Phase::Swapping(Swap {
                since: since()?,
                way,
                before: rest.get(1).filter(|text| **text != "-").map(|text| (*text).to_owned()),
                link: Some(link.clone()).filter(|link| !link.is_empty()),
            }))
        };
        let phase = match name {
            "idle" => Phase::Idle,
            "starting" => Phase::Starting { since: since()? },
            "fit" => Phase::Fit { since: since()? },
            "preview" => Phase::Preview { since: since()? },
            "preview-fit" => Phase::PreviewFit { since: since()? },
            "swapping" => swap(Way::Forth)?,
            "swapping-back" => swap(Way::Back)?,
            "swapped" => Phase::Swapped { since: since()? },
            "failed" if note.is_empty() => Phase::Failed {
                why: "the reason was not kept".to_owned(),
            },
            "failed" => Phase::Failed { why: note },
            "released" => Phase::Released,
            _ => return Err(odd()),
        };
        Ok(Memory {
            fence,
            serial,
            phase,
            pinned_until: instant(PINNED)?,
            // Without it a change by somebody else is put right without being told.
            ramped: text(RAMPED).and_then(Ramped::parse),
        })
    }

    /// The tags that say so, with the fence: what an order writes when it takes the site over.
    pub(crate) fn claim(&self) -> Value {
        let mut tags = self.note();
        tags[fence::TAG] = Value::String(self.fence.map(|fence| fence.to_string()).unwrap_or_default());
        tags
    }

    /// The tags that say so, without the fence: a note must not put an older one over that of an order that has come in between.
    ///
    /// What is over is written as an empty text, because tags are merged with those that stand there.
    pub(crate) fn note(&self) -> Value {
        let mut all = Map::new();
        let mut put = |name: &str, value: String| all.insert(name.to_owned(), Value::String(value));
        put(PHASE, self.phase.text(self.serial));
        put(RAMPED, self.ramped.map(Ramped::text).unwrap_or_default());
        put(PINNED, self.pinned_until.map(|at| at.to_string()).unwrap_or_default());
        let (note, link) = match &self.phase {
            Phase::Failed { why } => (brief(why), String::new()),
            Phase::Swapping(swap) => (String::new(), swap.link.clone().unwrap_or_default()),
            _ => (String::new(), String::new()),
        };
        for (names, text) in [(NOTE, note), (OPERATION, link)] {
            let letters: Vec<char> = text.chars().collect();
            let mut parts = letters.chunks(VALUE_MAX).map(|part| part.iter().collect::<String>());
            for name in names {
                put(name, parts.next().unwrap_or_default());
            }
        }
        Value::Object(all)
    }

    /// Whether a link fits the tags; one that does not is not kept, and the swap is followed by what the site shows.
    pub(crate) fn can_keep(link: &str) -> bool {
        link.chars().count() <= VALUE_MAX * OPERATION.len()
    }
}

impl Phase {
    /// Since when what is looked at in this phase has been there.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        match self {
            Phase::Starting { since }
            | Phase::Fit { since }
            | Phase::Preview { since }
            | Phase::PreviewFit { since }
            | Phase::Swapped { since } => Some(*since),
            Phase::Idle | Phase::Swapping(_) | Phase::Failed { .. } | Phase::Released => None,
        }
    }

    fn text(&self, serial: u64) -> String {
        match self {
            Phase::Idle => format!("idle {serial}"),
            Phase::Starting { since } => format!("starting {serial} {since}"),
            Phase::Fit { since } => format!("fit {serial} {since}"),
            Phase::Preview { since } => format!("preview {serial} {since}"),
            Phase::PreviewFit { since } => format!("preview-fit {serial} {since}"),
            Phase::Swapping(swap) => {
                let name = match swap.way {
                    Way::Forth => "swapping",
                    Way::Back => "swapping-back",
                };
                let before = swap.before.as_deref().unwrap_or("-");
                format!("{name} {serial} {} {before}", swap.since)
            }
            Phase::Swapped { since } => format!("swapped {serial} {since}"),
            Phase::Failed { .. } => format!("failed {serial}"),
            Phase::Released => format!("released {serial}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, Phase, Ramped, Swap, Way};
    use jiff::Timestamp;
    use meridian_engine::ports::provider::Fence;
    use meridian_workflows::share::Share;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use serde_json::{Value, json};

    fn phases() -> impl Strategy<Value = Phase> {
        let instant = (0_i64..4_000_000_000).prop_map(|second| Timestamp::from_second(second).unwrap());
        let swaps = (
            instant.clone(),
            any::<bool>(),
            "[0-9TZ:.-]{2,24}",
            "[a-zA-Z0-9/?=_.-]{0,700}",
        );
        prop_oneof![
            Just(Phase::Idle),
            Just(Phase::Released),
            instant.clone().prop_map(|since| Phase::Starting { since }),
            instant.clone().prop_map(|since| Phase::Fit { since }),
            instant.clone().prop_map(|since| Phase::Preview { since }),
            instant.clone().prop_map(|since| Phase::PreviewFit { since }),
            instant.prop_map(|since| Phase::Swapped { since }),
            "[a-z ]{1,80}[a-z]".prop_map(|why| Phase::Failed {
                why: super::brief(&why)
            }),
            swaps.prop_map(|(since, back, before, link)| {
                Phase::Swapping(Swap {
                    since,
                    way: if back { Way::Back } else { Way::Forth },
                    before: Some(before),
                    link: Some(link).filter(|link| !link.is_empty()),
                })
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_remembered_survives_the_tags(
            phase in phases(), earlier in phases(), serial in any::<u64>(), seq in any::<u64>(), pinned in any::<bool>(),
            is_lower in any::<bool>(),
        ) {
            let fence = Some(Fence { claim: 3, epoch: 2, seq });
            let pinned_until = pinned.then(|| Timestamp::from_second(1_800_000_000).unwrap());
            let ramped = fence.filter(|_| pinned).map(|fence| Ramped { fence, share: Share::FULL, again: 3, is_lower });
            let memory = Memory { fence, serial, phase, pinned_until, ramped };
            let mut tags = Memory { phase: earlier, ..Memory::NONE }.claim();
            tags.as_object_mut().unwrap().extend(memory.claim().as_object().unwrap().clone());
            assert_eq!(Memory::read(&tags), Ok(memory));
            for value in tags.as_object().unwrap().values() {
                assert!(value.as_str().unwrap().chars().count() <= 256);
            }
        }

        #[test]
        fn no_tag_breaks_the_reading(phase in any::<String>(), note in any::<String>()) {
            let _ = Memory::read(&json!({"meridian-phase": phase, "meridian-note": note, "meridian-ramped": note}));
        }
    }

    #[test]
    fn a_note_leaves_the_fence_alone() {
        let fence = Some(Fence {
            claim: 1,
            epoch: 1,
            seq: 1,
        });
        let noted = Memory { fence, ..Memory::NONE }.note();
        assert!(noted.get(crate::fence::TAG).is_none(), "{noted}");
    }

    #[test]
    fn a_site_without_tags_remembers_nothing_and_a_changed_one_is_told() {
        assert_eq!(Memory::read(&Value::Null), Ok(Memory::NONE));
        assert!(
            Memory::read(&json!({"meridian-phase": "dancing 3"}))
                .unwrap_err()
                .contains("dancing")
        );
    }
}

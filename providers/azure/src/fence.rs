//! Fences as the text that a tag can hold.

use meridian_engine::ports::provider::Fence;

/// The tag under which both services keep the newest order.
pub(crate) const TAG: &str = "meridian-fence";

/// The fence in a tag's text, `claim.epoch.seq`.
///
/// *Errors*: a text that is none, which is never taken for "no fence": somebody wrote it, and an order could undo what they did.
pub(crate) fn parse(text: &str) -> Result<Fence, String> {
    let odd = || format!("the tag `{TAG}` holds `{text}`, which is no fence");
    let mut parts = text.split('.').map(|part| part.parse::<u64>().ok());
    match (
        parts.next().flatten(),
        parts.next().flatten(),
        parts.next().flatten(),
        parts.next(),
    ) {
        (Some(claim), Some(epoch), Some(seq), None) => Ok(Fence { claim, epoch, seq }),
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use meridian_engine::ports::provider::Fence;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn a_fence_survives_its_tag(claim in any::<u64>(), epoch in any::<u64>(), seq in any::<u64>()) {
            let fence = Fence { claim, epoch, seq };
            assert_eq!(parse(&fence.to_string()), Ok(fence));
        }

        #[test]
        fn any_text_is_a_fence_or_refused(text in ".{0,40}") {
            if let Ok(fence) = parse(&text) {
                assert_eq!(parse(&fence.to_string()), Ok(fence));
            }
        }
    }

    #[test]
    fn a_text_that_is_no_fence_is_never_taken_for_none() {
        for text in ["", "1", "1.2", "1.2.3.4", "-1.2.3", "a.b.c", "1..3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

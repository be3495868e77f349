//! Which version gets the next request: weights are kept exactly over any stretch of traffic, without chance.

use crate::sandbox::quantity::Percent;

/// Smooth weighted turns: every request each arm earns its weight, the richest is chosen and pays the sum of all.
///
/// A 1 % arm gets precisely every hundredth request, evenly spread, so a small canary has samples soon and a short
/// window shows its true share. Random choice would need minutes for the same.
#[derive(Debug, Default)]
pub struct Split {
    arms: Vec<Arm>,
}

#[derive(Debug)]
struct Arm {
    version: String,
    weight: i64,
    credit: i64,
}

impl Split {
    /// Turns by these weights. Arms without weight are never chosen.
    pub fn new<'a>(weights: impl IntoIterator<Item = (&'a str, Percent)>) -> Self {
        let arm = |(version, weight): (&str, Percent)| Arm {
            version: version.to_owned(),
            weight: i64::from(weight.hundredths()),
            credit: 0,
        };
        Self {
            arms: weights.into_iter().map(arm).filter(|arm| arm.weight > 0).collect(),
        }
    }

    /// The version whose turn it is among those that can `serve`; `None` when none of them can.
    pub fn next(&mut self, serve: impl Fn(&str) -> bool) -> Option<&str> {
        let mut total = 0;
        let mut richest: Option<usize> = None;
        for index in 0..self.arms.len() {
            if !serve(&self.arms[index].version) {
                self.arms[index].credit = 0;
                continue;
            }
            total += self.arms[index].weight;
            self.arms[index].credit += self.arms[index].weight;
            if richest.is_none_or(|best| self.arms[index].credit > self.arms[best].credit) {
                richest = Some(index);
            }
        }
        let chosen = &mut self.arms[richest?];
        chosen.credit -= total;
        Some(&chosen.version)
    }
}

/// Whether the next request is copied, for a part of all requests: every copy is due when a whole one has been earned.
#[derive(Debug, Default)]
pub struct Portion {
    earned: u32,
}

impl Portion {
    /// Counts one request and says whether it is copied.
    pub fn next(&mut self, part: Percent) -> bool {
        let whole = u32::from(Percent::ALL.hundredths());
        self.earned += u32::from(part.hundredths());
        let due = self.earned >= whole;
        if due {
            self.earned -= whole;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, proptest};

    use super::{Portion, Split};
    use crate::sandbox::quantity::Percent;

    fn share(raw: u16) -> Percent {
        Percent::new(raw).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_full_round_keeps_every_weight_exactly(raw in 0_u16..=10_000) {
            let mut split = Split::new([("v1", share(raw).rest()), ("v2", share(raw))]);
            let candidates = (0..10_000).filter(|_| split.next(|_| true) == Some("v2")).count();
            assert_eq!(candidates, usize::from(raw));
        }

        #[test]
        fn any_stretch_is_within_one_request_of_its_share(raw in 0_u16..=10_000, stretch in 1_usize..500) {
            let mut split = Split::new([("v1", share(raw).rest()), ("v2", share(raw))]);
            let candidates = (0..stretch).filter(|_| split.next(|_| true) == Some("v2")).count();
            let due = share(raw).ratio() * stretch as f64;
            assert!((candidates as f64 - due).abs() <= 1.0, "{candidates} of {stretch}, {due} due");
        }
    }

    #[test]
    fn a_version_that_cannot_serve_leaves_its_turns_to_the_others() {
        let mut split = Split::new([("v1", share(9_000)), ("v2", share(1_000))]);
        assert!((0..100).all(|_| split.next(|version| version != "v2") == Some("v1")));
        assert_eq!(split.next(|_| false), None);
        let back = (0..100).filter(|_| split.next(|_| true) == Some("v2")).count();
        assert!((9..=11).contains(&back), "{back}: no burst after a pause");
    }

    #[test]
    fn a_portion_is_exact_over_a_round() {
        let mut portion = Portion::default();
        assert_eq!((0..10_000).filter(|_| portion.next(share(1_234))).count(), 1_234);
        assert!((0..10).all(|_| portion.next(Percent::ALL)));
        assert!((0..10).all(|_| !portion.next(Percent::NONE)));
    }
}

//! Shares as pairs of weights, and back, without a rounding on the way.

use meridian_workflows::share::Share;

/// The weights of both arms; they sum up to the total that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    pub candidate: u32,
    pub baseline: u32,
}

impl Weights {
    /// A share as weights that sum up to the first of these totals that holds it exactly; none where no total does.
    pub fn of(share: Share, totals: &[u32]) -> Option<Weights> {
        let whole = u32::from(Share::FULL.basis_points());
        let part = u32::from(share.basis_points());
        totals.iter().copied().find_map(|total| {
            let product = part.checked_mul(total)?;
            product.is_multiple_of(whole).then(|| {
                let candidate = product / whole;
                Weights {
                    candidate,
                    baseline: total - candidate,
                }
            })
        })
    }

    /// The candidate's share, to the next 0.01 % above, so that an exposure is never told as less than it is; below everything
    /// while the baseline has any weight. None where both weights are zero: nobody serves then.
    pub fn share(self) -> Option<Share> {
        match (self.candidate, self.baseline) {
            (0, 0) => None,
            (0, _) => Some(Share::ZERO),
            (_, 0) => Some(Share::FULL),
            (candidate, baseline) => {
                let whole = u64::from(Share::FULL.basis_points());
                let all = u64::from(candidate) + u64::from(baseline);
                let part = (u64::from(candidate) * whole).div_ceil(all).min(whole - 1);
                u16::try_from(part)
                    .ok()
                    .and_then(|part| Share::from_basis_points(part).ok())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use meridian_workflows::share::Share;

    use super::Weights;

    #[test]
    fn every_share_comes_back_exactly_and_sums_up() {
        for points in 0..=10_000 {
            let share = Share::from_basis_points(points).unwrap();
            let weights = Weights::of(share, &[100, 1000, 10_000]).unwrap();
            assert_eq!(weights.share(), Some(share));
            assert!([100, 1000, 10_000].contains(&(weights.candidate + weights.baseline)));
            assert_eq!(Weights::of(share, &[100]).is_some(), points % 100 == 0);
        }
    }

    #[test]
    fn what_others_wrote_is_never_told_as_less_than_it_is() {
        let share = |candidate, baseline| Weights { candidate, baseline }.share();
        assert_eq!(share(1, 2), Share::from_basis_points(3334).ok());
        assert_eq!(share(1, 1_000_000), Share::from_basis_points(1).ok());
        assert_eq!(share(1_000_000, 1), Share::from_basis_points(9999).ok());
        assert_eq!(share(0, 0), None);
    }
}

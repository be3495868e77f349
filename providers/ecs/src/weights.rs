//! Shares of traffic as the weights of a listener rule.
//!
//! A target group's weight is a whole number from 0 to 999. Two groups that weigh a and b get a / (a + b) and b / (a + b). With
//! a + b = 1000 every multiple of 0.1 % from 0.1 % to 99.9 % is exact (1 : 999 to 999 : 1); the two ends are 0 : 999 and 999 : 0.
//! A finer share would need a sum of 10,000, and no weight reaches that far: so the step is 0.1 %.

use meridian_workflows::share::Share;

/// The finest step that two weights can serve, in hundredths of a percent.
pub const STEP: u16 = 10;
/// The largest weight of a target group.
pub const MAX: u32 = 999;
const SUM: u32 = 1000;

/// The weights of the group that gets the share and of the other one.
///
/// *Errors*: a share between two steps of 0.1 %.
pub fn of(share: Share) -> Result<(u32, u32), String> {
    let points = share.basis_points();
    if !points.is_multiple_of(STEP) {
        return Err(format!("a listener rule serves shares in steps of 0.1%, got {share}"));
    }
    Ok(match u32::from(points / STEP) {
        0 => (0, MAX),
        SUM => (MAX, 0),
        part => (part, SUM - part),
    })
}

/// The share that a group gets by its weight and the sum of all; rounded to the nearest 0.01 %, but never to nothing or to
/// everything while it is neither. Nothing where no group has any weight: no request is served then.
pub fn share(weight: u32, sum: u32) -> Share {
    if weight == 0 || sum == 0 {
        return Share::ZERO;
    }
    if weight >= sum {
        return Share::FULL;
    }
    let points = (u64::from(weight) * 10_000 + u64::from(sum) / 2) / u64::from(sum);
    let points = u16::try_from(points.clamp(1, 9_999)).unwrap_or(9_999);
    Share::from_basis_points(points).unwrap_or(Share::FULL)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use meridian_workflows::share::Share;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{of, share};

    #[test]
    fn the_ends_are_all_or_nothing() {
        assert_eq!(of(Share::ZERO), Ok((0, 999)));
        assert_eq!(of(Share::FULL), Ok((999, 0)));
        assert_eq!(of(Share::from_basis_points(10).unwrap()), Ok((1, 999)));
        assert!(of(Share::from_basis_points(5).unwrap()).unwrap_err().contains("0.05%"));
        assert_eq!(share(0, 0), Share::ZERO, "no weight at all serves nobody");
    }

    proptest! {
        #[test]
        fn every_tenth_of_a_percent_is_exact_and_reads_back(tenths in 0_u16..=1000) {
            let wanted = Share::from_basis_points(tenths * 10).unwrap();
            let (one, other) = of(wanted).unwrap();
            prop_assert!(one <= 999 && other <= 999);
            prop_assert_eq!(share(one, one + other), wanted);
            let rest = share(other, one + other);
            prop_assert_eq!(wanted.basis_points() + rest.basis_points(), 10_000);
        }

        #[test]
        fn somebody_elses_weights_read_as_a_share(one in 0_u32..=999, other in 0_u32..=999) {
            let read = share(one, one + other);
            prop_assert_eq!(read.is_zero(), one == 0);
            prop_assert_eq!(read.is_full(), one > 0 && other == 0);
        }
    }
}

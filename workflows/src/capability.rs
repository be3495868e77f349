//! What a platform cannot do of what a stage asks, and what it makes of the rest.

use crate::share::Share;
use crate::vocabulary::{Capabilities, Shares};
use crate::workflow::Exposure;

/// What the platform lacks for this exposure, as in "cannot mirror traffic", and what an author can do about it.
pub fn lack(capabilities: &Capabilities, exposure: &Exposure) -> Option<(String, String)> {
    match exposure {
        Exposure::Shadow(_) if !capabilities.mirroring => Some((
            "cannot mirror traffic".to_owned(),
            "leave out the `shadow` stage".to_owned(),
        )),
        Exposure::Audience(_) if !capabilities.audiences => Some((
            "cannot tell audiences apart".to_owned(),
            "leave out the `audience` stage".to_owned(),
        )),
        Exposure::Traffic(share) => share_lack(&capabilities.shares, *share),
        Exposure::Shadow(_) | Exposure::Audience(_) => None,
    }
}

fn share_lack(shares: &Shares, share: Share) -> Option<(String, String)> {
    if share == Share::ZERO || share == Share::FULL {
        return None;
    }
    match *shares {
        Shares::Steps(step) => {
            let step = step.max(1);
            (!share.basis_points().is_multiple_of(step)).then(|| {
                let step = percent(step);
                (
                    format!("serves shares in steps of {step}, so not {share}"),
                    format!("write a multiple of {step}"),
                )
            })
        }
        Shares::Instances(of) => (instances(share, of) == 0).then(|| {
            let smallest = smallest_share(of).map_or_else(|| "100%".to_owned(), |share| share.to_string());
            (
                format!("splits traffic by instances and has {of}, so {share} comes to none"),
                format!("write at least {smallest}, or route by weights"),
            )
        }),
        Shares::Whole => Some((
            format!("switches all traffic at once, so not {share}"),
            "write 100% alone".to_owned(),
        )),
        Shares::SomeInstances | Shares::Ladder(_) => None,
    }
}

/// How many of `of` instances a share comes to, rounded down so that no stage gets more than it allows.
///
/// # Examples
///
/// ```
/// use meridian_workflows::capability::instances;
/// use meridian_workflows::share::Share;
///
/// assert_eq!(instances(Share::from_basis_points(2500).unwrap(), 10), 2);
/// assert_eq!(instances(Share::from_basis_points(50).unwrap(), 10), 0);
/// ```
pub fn instances(share: Share, of: u32) -> u32 {
    let part = u64::from(of) * u64::from(share.basis_points()) / u64::from(Share::FULL.basis_points());
    u32::try_from(part).unwrap_or(u32::MAX)
}

/// The smallest share that comes to one instance of `of`, rounded up to 0.01 %.
fn smallest_share(of: u32) -> Option<Share> {
    let whole = u32::from(Share::FULL.basis_points());
    let least = whole.div_ceil(of.max(1)).max(1);
    Share::from_basis_points(u16::try_from(least).ok()?).ok()
}

fn percent(step: u16) -> String {
    Share::from_basis_points(step).map_or_else(|_| format!("{step}/100%"), |share| share.to_string())
}

#[cfg(test)]
mod tests {
    use super::{instances, lack};
    use crate::share::Share;
    use crate::vocabulary::{Capabilities, Shares};
    use crate::workflow::Exposure;

    fn traffic(hundredths: u16) -> Exposure {
        Exposure::Traffic(Share::from_basis_points(hundredths).unwrap())
    }

    fn capable(shares: Shares) -> Capabilities {
        Capabilities {
            shares,
            ..Capabilities::splitting(1)
        }
    }

    #[test]
    fn half_a_percent_of_ten_instances_is_refused_with_the_least_that_works() {
        let (lacks, remedy) = lack(&capable(Shares::Instances(10)), &traffic(50)).unwrap();
        assert_eq!(lacks, "splits traffic by instances and has 10, so 0.5% comes to none");
        assert_eq!(remedy, "write at least 10%, or route by weights");
        assert_eq!(lack(&capable(Shares::Instances(10)), &traffic(1000)), None);
    }

    #[test]
    fn an_instance_share_never_exceeds_what_the_stage_allows() {
        for of in [1, 3, 7, 10, 1000, u32::MAX] {
            for hundredths in 0..=10_000 {
                let share = Share::from_basis_points(hundredths).unwrap();
                let n = instances(share, of);
                assert!(u64::from(n) * 10_000 <= u64::from(of) * u64::from(hundredths));
            }
        }
    }

    #[test]
    fn a_switch_serves_all_or_nothing() {
        assert!(lack(&capable(Shares::Whole), &traffic(5000)).is_some());
        assert_eq!(lack(&capable(Shares::Whole), &traffic(10_000)), None);
        assert_eq!(lack(&capable(Shares::Whole), &traffic(0)), None);
    }
}

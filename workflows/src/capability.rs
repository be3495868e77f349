//! What a platform cannot do of what a stage asks, and what it makes of the rest.

use std::collections::BTreeMap;

use crate::diagnostic::suggestion::closest;
use crate::share::Share;
use crate::vocabulary::{AudienceKey, Audiences, Capabilities, Shares};
use crate::workflow::Exposure;

/// What the platform lacks for this exposure, as in "cannot mirror traffic", and what an author can do about it.
pub fn lack(capabilities: &Capabilities, exposure: &Exposure) -> Option<(String, String)> {
    match exposure {
        Exposure::Shadow(_) if !capabilities.mirroring => Some((
            "cannot mirror traffic".to_owned(),
            "leave out the `shadow` stage".to_owned(),
        )),
        Exposure::Audience(audience) => audience_lack(&capabilities.audiences, audience),
        Exposure::Traffic(share) => share_lack(&capabilities.shares, *share),
        Exposure::Shadow(_) => None,
    }
}

fn audience_lack(audiences: &Audiences, audience: &BTreeMap<String, String>) -> Option<(String, String)> {
    let known: Vec<&str> = audiences.keys.iter().map(|key| key.name()).collect();
    if known.is_empty() {
        return Some((
            "cannot tell audiences apart".to_owned(),
            "leave out the `audience` stage".to_owned(),
        ));
    }
    if let Some(key) = audience.keys().find(|key| !known.contains(&key.as_str())) {
        return Some((
            format!("cannot tell an audience by its `{key}`"),
            format!("name it by {}", listed(&known)),
        ));
    }
    let cohorts = audiences.cohorts.as_ref()?;
    let named = audience.get(AudienceKey::Cohort.name())?.split(',');
    let missing = named
        .into_iter()
        .find(|name| !cohorts.iter().any(|cohort| cohort == name))?;
    let remedy = match closest(missing, cohorts.iter().map(String::as_str)) {
        Some(meant) => format!("write `{meant}`, or define the cohort in the region's settings"),
        None => "define the cohort in the region's settings".to_owned(),
    };
    Some((format!("knows no cohort `{missing}`"), remedy))
}

/// `users`, `users or groups`, `users, groups or cohort`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
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
    use std::collections::BTreeMap;

    use super::{instances, lack};
    use crate::share::Share;
    use crate::vocabulary::{AudienceKey, Audiences, Capabilities, Shares};
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
    fn an_audience_is_refused_by_the_key_that_the_platform_does_not_take() {
        let by = |key: &str, names: &str| Exposure::Audience(BTreeMap::from([(key.to_owned(), names.to_owned())]));
        let with = |audiences| Capabilities {
            audiences,
            ..Capabilities::splitting(1)
        };
        let told = |capabilities: &Capabilities, exposure| {
            lack(capabilities, &exposure).map(|(lacks, remedy)| format!("{lacks}: {remedy}"))
        };
        let router = with(Audiences::requests());
        assert_eq!(told(&router, by("tenants", "acme")), None);
        assert_eq!(
            told(&router, by("users", "ann")).as_deref(),
            Some("cannot tell an audience by its `users`: name it by header, cookie or tenants")
        );
        let flag = with(Audiences {
            cohorts: Some(vec!["beta".to_owned(), "staff".to_owned()]),
            ..Audiences::by(&[AudienceKey::Users, AudienceKey::Cohort])
        });
        assert_eq!(told(&flag, by("cohort", "beta,staff")), None);
        assert_eq!(
            told(&flag, by("cohort", "beta,stuff")).as_deref(),
            Some("knows no cohort `stuff`: write `staff`, or define the cohort in the region's settings")
        );
        assert_eq!(
            told(&flag, by("header", "a: b")).as_deref(),
            Some("cannot tell an audience by its `header`: name it by users or cohort")
        );
        assert_eq!(
            told(&with(Audiences::none()), by("header", "a: b")).as_deref(),
            Some("cannot tell audiences apart: leave out the `audience` stage")
        );
        let any = with(Audiences::by(&AudienceKey::ALL));
        assert_eq!(told(&any, by("cohort", "whatever")), None);
    }

    #[test]
    fn a_switch_serves_all_or_nothing() {
        assert!(lack(&capable(Shares::Whole), &traffic(5000)).is_some());
        assert_eq!(lack(&capable(Shares::Whole), &traffic(10_000)), None);
        assert_eq!(lack(&capable(Shares::Whole), &traffic(0)), None);
    }
}

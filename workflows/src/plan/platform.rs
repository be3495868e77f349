//! What the regions' platforms make of a plan: shares that are rounded, how fast users come back, what to know before the night.

use super::{NodeKind, Plan, RegionId};
use crate::capability::instances;
use crate::share::Share;
use crate::vocabulary::{Capabilities, RollbackSpeed, Shares, Vocabulary};
use crate::workflow::Exposure;

/// Regions of one kind about which there is the same to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub regions: Vec<RegionId>,
    /// The provider's key, as in `appService`.
    pub provider: String,
    /// Whole sentences.
    pub remarks: Vec<String>,
}

/// Everything worth saying, regions with equal remarks together; a platform that does exactly what is written is left out.
pub fn platforms(plan: &Plan, vocabulary: &Vocabulary) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    for id in plan.region_ids() {
        let (_, region) = plan.region(id);
        let Some(capabilities) = capabilities(plan, id, vocabulary) else {
            continue;
        };
        let remarks = remarks(plan, id, &capabilities);
        if remarks.is_empty() {
            continue;
        }
        let same = platforms
            .iter_mut()
            .find(|platform| platform.provider == region.provider && platform.remarks == remarks);
        match same {
            Some(platform) => platform.regions.push(id),
            None => platforms.push(Platform {
                regions: vec![id],
                provider: region.provider.clone(),
                remarks,
            }),
        }
    }
    platforms
}

/// What one region's platform can do; none where its kind is unknown or its settings are not sound.
pub fn capabilities(plan: &Plan, region: RegionId, vocabulary: &Vocabulary) -> Option<Capabilities> {
    let (_, region) = plan.region(region);
    (vocabulary.provider(&region.provider)?.read.0)(&region.settings).ok()
}

/// What is to be said about users who had been sent to the candidate when a rollback is ordered.
pub fn way_back(rollback: RollbackSpeed) -> Option<String> {
    match rollback {
        RollbackSpeed::Instant => None,
        RollbackSpeed::Pinned(length) => Some(format!(
            "A rollback sends new users back at once; those who had met the candidate may stay with it for up to {length}."
        )),
        RollbackSpeed::Restarts => {
            Some("A rollback starts the old version again first; users come back as it becomes ready.".to_owned())
        }
    }
}

fn remarks(plan: &Plan, region: RegionId, capabilities: &Capabilities) -> Vec<String> {
    let mut remarks: Vec<String> = rounding(plan, region, &capabilities.shares).into_iter().collect();
    remarks.extend(way_back(capabilities.rollback));
    remarks.extend(capabilities.remarks.iter().cloned());
    remarks
}

fn rounding(plan: &Plan, region: RegionId, shares: &Shares) -> Option<String> {
    let of = match *shares {
        Shares::Instances(of) => of,
        Shares::SomeInstances => {
            return Some(
                "Shares are rounded down to whole instances; how many there are shows when the region opens."
                    .to_owned(),
            );
        }
        Shares::Steps(_) | Shares::Whole | Shares::Ladder(_) => return None,
    };
    let mut rounded: Vec<String> = plan
        .nodes()
        .filter(|(_, node)| node.region == Some(region))
        .filter_map(|(_, node)| match node.kind {
            NodeKind::Stage {
                exposure: Exposure::Traffic(share),
                ..
            } if !share.is_zero() && !share.is_full() => Some(share),
            _ => None,
        })
        .map(|share| in_instances(share, of))
        .collect();
    rounded.dedup();
    (!rounded.is_empty()).then(|| format!("Traffic is split by instances: {}.", rounded.join(", ")))
}

/// `25% is 2 of 10 (20%)`, or `10% is 1 of 10` where nothing is rounded.
fn in_instances(share: Share, of: u32) -> String {
    let count = instances(share, of);
    let exact =
        u64::from(count) * u64::from(Share::FULL.basis_points()) == u64::from(of) * u64::from(share.basis_points());
    if exact {
        format!("{share} is {count} of {of}")
    } else {
        // One decimal, as much as anybody reads.
        let served = (f64::from(count) * 1_000.0 / f64::from(of.max(1))).round() / 10.0;
        format!("{share} is {count} of {of} ({served}%)")
    }
}

#[cfg(test)]
mod tests {
    use super::platforms;
    use crate::plan::compile::compile;
    use crate::plan::story::Story;
    use crate::vocabulary::{
        Availability, Capabilities, ProviderKind, RollbackSpeed, SettingsReader, Shares, Vocabulary,
    };

    fn vocabulary(name: &'static str, read: fn(&serde_json::Value) -> Result<Capabilities, String>) -> Vocabulary {
        Vocabulary {
            providers: vec![ProviderKind {
                name,
                availability: Availability::Available,
                settings: &[],
                read: SettingsReader(read),
            }],
            ..Vocabulary::default()
        }
    }

    #[test]
    fn rounding_and_the_slow_way_back_are_said_once_for_all_regions_alike() {
        let workflow = Story::new()
            .phase("all", &["eu", "us"], &["10%", "25%", "100%"])
            .build();
        let provider = workflow.regions["eu"].provider.clone();
        let plan = compile(workflow);
        let vocabulary = vocabulary(Box::leak(provider.into_boxed_str()), |_| {
            Ok(Capabilities {
                shares: Shares::Instances(10),
                rollback: RollbackSpeed::Pinned(crate::duration::Duration::from_secs(3600)),
                ..Capabilities::splitting(1)
            })
        });
        let platforms = platforms(&plan, &vocabulary);
        assert_eq!(platforms.len(), 1);
        assert_eq!(platforms[0].regions.len(), 2);
        assert_eq!(
            platforms[0].remarks,
            [
                "Traffic is split by instances: 10% is 1 of 10, 25% is 2 of 10 (20%).",
                "A rollback sends new users back at once; those who had met the candidate may stay with it for up to 1h.",
            ]
        );
    }

    #[test]
    fn a_platform_that_does_what_is_written_is_left_out() {
        let workflow = Story::new().phase("all", &["eu"], &["10%", "100%"]).build();
        let provider = workflow.regions["eu"].provider.clone();
        let plan = compile(workflow);
        let vocabulary = vocabulary(Box::leak(provider.into_boxed_str()), |_| Ok(Capabilities::splitting(1)));
        assert_eq!(platforms(&plan, &vocabulary), []);
    }
}

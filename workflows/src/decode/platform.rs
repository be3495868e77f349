//! What the regions' platforms can do of what the phases ask.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::capability;
use crate::decode::context::Context;
use crate::decode::phases::Placed;
use crate::decode::regions;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::source::Place;
use crate::vocabulary::Shares;
use crate::workflow::Exposure;

/// Stages ask for nothing that a region's platform cannot do.
pub fn check_stages(phases: &[Placed], regions: &IndexMap<String, regions::Placed>, cx: &mut Context<'_>) {
    for placed in phases {
        for (stage, place) in placed.phase.stages.iter().zip(&placed.stages) {
            let unable = placed.phase.regions.iter().find_map(|name| {
                let region = &regions.get(name)?.region;
                let provider = cx.vocabulary.provider(&region.provider)?;
                // Settings that are not sound have been told already.
                let capabilities = (provider.read.0)(&region.settings).ok()?;
                let (lacks, remedy) = capability::lack(&capabilities, &stage.exposure)?;
                Some((name, provider.name, lacks, remedy))
            });
            if let Some((region, provider, lacks, remedy)) = unable {
                let message = format!("the provider `{provider}` of the region `{region}` {lacks}");
                let hint = format!("in the phase `{}`, {remedy}", placed.phase.name);
                cx.report(Diagnostic::new(Code::CAPABILITY, place.clone(), message).hint(hint));
            }
        }
    }
}

/// The ladder that a region climbs across its phases (in the order of `visits`) is one that its platform can climb.
pub fn check_ladder(
    name: &str,
    region: &regions::Placed,
    visits: &[(usize, &Place)],
    phases: &[Placed],
    cx: &mut Context<'_>,
) {
    let Some(provider) = cx.vocabulary.provider(&region.region.provider) else {
        return;
    };
    let settings = &region.region.settings;
    let Ok(capabilities) = (provider.read.0)(settings) else {
        return;
    };
    let stages = visits.iter().flat_map(|(index, _)| &phases[*index].phase.stages);
    let ladder: Vec<Exposure> = stages.map(|stage| stage.exposure.clone()).collect();
    let Some((_, place)) = visits.first() else { return };
    let (lacks, hint) = match capabilities.shares {
        Shares::Ladder(check) => match (check.0)(settings, &ladder) {
            Ok(()) => return,
            Err(why) => (
                why,
                "change its phases' stages, or the mode in the region's settings".to_owned(),
            ),
        },
        Shares::Instances(of) => match twice(&ladder, of) {
            None => return,
            Some((one, other)) => (
                format!("splits traffic by instances and has {of}, so {one} and {other} are the same"),
                "leave one of them out".to_owned(),
            ),
        },
        Shares::Steps(_) | Shares::SomeInstances | Shares::Whole => return,
    };
    let message = format!("the provider `{}` of the region `{name}` {lacks}", provider.name);
    cx.report(Diagnostic::new(Code::CAPABILITY, (*place).clone(), message).hint(hint));
}

/// Two shares of a ladder, as written, that come to the same number of instances.
fn twice(ladder: &[Exposure], of: u32) -> Option<(String, String)> {
    let shares: BTreeSet<_> = ladder
        .iter()
        .map(Exposure::traffic)
        .filter(|share| !share.is_zero())
        .collect();
    let shares: Vec<_> = shares.into_iter().collect();
    let same = shares
        .windows(2)
        .find(|pair| capability::instances(pair[0], of) == capability::instances(pair[1], of))?;
    Some((same[0].to_string(), same[1].to_string()))
}

//! Users and groups by name, and which of them a rung of the ladder means.

use std::collections::{BTreeMap, BTreeSet};

use meridian_engine::ports::provider::Ladder;
use meridian_workflows::share::Share;
use meridian_workflows::vocabulary::AudienceKey;
use meridian_workflows::workflow::Exposure;

/// Who has a flag on whatever the share says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(crate) users: BTreeSet<String>,
    /// With the part of each group.
    pub(crate) groups: BTreeMap<String, Share>,
}

impl Audience {
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether everybody here is in the other, groups at least as far.
    pub(crate) fn is_within(&self, other: &Audience) -> bool {
        let reaches = |name: &String, share: &Share| other.groups.get(name).is_some_and(|theirs| share <= theirs);
        self.users.is_subset(&other.users) && self.groups.iter().all(|(name, share)| reaches(name, share))
    }

    fn join(&mut self, other: &Audience) {
        self.users.extend(other.users.iter().cloned());
        for (name, share) in &other.groups {
            self.let_in(name, *share);
        }
    }

    /// A group as far as it is named anywhere.
    fn let_in(&mut self, group: &str, share: Share) {
        let stands = self.groups.entry(group.to_owned()).or_insert(Share::ZERO);
        *stands = (*stands).max(share);
    }

    /// A stage's audience: `users` and `groups` as names with commas between, `cohort` for those that the settings define. `tenants`
    /// are groups, whole: an app that targets by tenant gives the tenant's name as a group of its user.
    ///
    /// *Errors*: a key that is none of these, or a cohort that the settings do not name.
    pub(crate) fn of_stage(
        stage: &BTreeMap<String, String>,
        cohorts: &BTreeMap<String, Audience>,
    ) -> Result<Audience, String> {
        let mut audience = Audience::default();
        for (key, text) in stage {
            let names = || text.split(',').map(str::trim).filter(|name| !name.is_empty());
            let known = AudienceKey::ALL.into_iter().find(|known| known.name() == key);
            match known {
                Some(AudienceKey::Users) => audience.users.extend(names().map(str::to_owned)),
                Some(AudienceKey::Tenants) => {
                    names().for_each(|name| audience.let_in(name, Share::FULL));
                }
                Some(AudienceKey::Groups) => {
                    for name in names() {
                        let (name, share) = group(name)?;
                        audience.let_in(&name, share);
                    }
                }
                Some(AudienceKey::Cohort) => {
                    for name in names() {
                        let cohort = cohorts.get(name).ok_or_else(|| {
                            let known: Vec<&str> = cohorts.keys().map(String::as_str).collect();
                            format!(
                                "the cohort `{name}` is not among the settings' cohorts ({})",
                                known.join(", ")
                            )
                        })?;
                        audience.join(cohort);
                    }
                }
                Some(AudienceKey::Header | AudienceKey::Cookie) | None => {
                    return Err(format!(
                        "an audience of a flag is named by `users`, `groups`, `tenants` or `cohort`, got `{key}`"
                    ));
                }
            }
        }
        if audience.is_empty() {
            return Err("the audience names nobody".to_owned());
        }
        Ok(audience)
    }

    /// Everybody who has the flag on by name at `exposure`: an audience that was let in stays in on every later rung.
    pub(crate) fn at(
        exposure: &Exposure,
        ladder: &Ladder,
        cohorts: &BTreeMap<String, Audience>,
    ) -> Result<Audience, String> {
        let mut audience = Audience::default();
        let is_staged = matches!(exposure, Exposure::Traffic(share) if share.is_zero());
        for rung in ladder.rungs.iter().filter(|_| !is_staged) {
            if let Exposure::Audience(stage) = &rung.exposure {
                audience.join(&Audience::of_stage(stage, cohorts)?);
            }
            if rung.exposure == *exposure {
                break;
            }
        }
        if let Exposure::Audience(stage) = exposure {
            audience.join(&Audience::of_stage(stage, cohorts)?);
        }
        Ok(audience)
    }
}

/// A group as it is written: `beta`, or `beta:25%` for a part of it.
pub(crate) fn group(text: &str) -> Result<(String, Share), String> {
    let (name, share) = match text.rsplit_once(':') {
        Some((name, share)) => (
            name.trim(),
            share.trim().parse::<Share>().map_err(|error| error.to_string())?,
        ),
        None => (text.trim(), Share::FULL),
    };
    if name.is_empty() {
        return Err(format!("`{text}` names no group"));
    }
    Ok((name.to_owned(), share))
}

#[cfg(test)]
mod tests {
    use super::Audience;
    use meridian_engine::ports::provider::{Ladder, Rung};
    use meridian_workflows::duration::Duration;
    use meridian_workflows::share::Share;
    use meridian_workflows::workflow::Exposure;
    use std::collections::BTreeMap;

    fn stage(key: &str, names: &str) -> Exposure {
        Exposure::Audience(BTreeMap::from([(key.to_owned(), names.to_owned())]))
    }

    fn traffic(percent: u16) -> Exposure {
        Exposure::Traffic(Share::percent(percent).unwrap())
    }

    #[test]
    fn an_audience_that_was_let_in_stays_in() {
        let bake = Duration::ZERO;
        let rungs = [
            stage("users", "ann, bob"),
            stage("groups", "inner:50%"),
            traffic(10),
            traffic(100),
        ];
        let ladder = Ladder {
            rungs: rungs.iter().cloned().map(|exposure| Rung { exposure, bake }).collect(),
            ..Ladder::default()
        };
        let at = |exposure: &Exposure| Audience::at(exposure, &ladder, &BTreeMap::new()).unwrap();
        assert!(at(&traffic(0)).is_empty());
        assert_eq!((at(&rungs[0]).users.len(), at(&rungs[0]).groups.len()), (2, 0));
        for rung in &rungs[1..] {
            assert_eq!((at(rung).users.len(), at(rung).groups.len()), (2, 1));
        }
        assert_eq!(at(&rungs[1]).groups["inner"], Share::percent(50).unwrap());
    }

    #[test]
    fn tenants_are_whole_groups() {
        let Exposure::Audience(stage) = stage("tenants", "acme,initech:5%") else {
            panic!("an audience");
        };
        let audience = Audience::of_stage(&stage, &BTreeMap::new()).unwrap();
        assert_eq!(audience.groups["acme"], Share::FULL);
        assert_eq!(
            audience.groups["initech:5%"],
            Share::FULL,
            "a tenant's name is all name"
        );
    }

    #[test]
    fn an_audience_that_nobody_named_is_refused() {
        for (key, names) in [
            ("header", "x-canary: always"),
            ("cohort", "beta"),
            ("users", " , "),
            ("groups", "a:120%"),
        ] {
            let Exposure::Audience(stage) = stage(key, names) else {
                continue;
            };
            assert!(Audience::of_stage(&stage, &BTreeMap::new()).is_err(), "{key}: {names}");
        }
    }
}

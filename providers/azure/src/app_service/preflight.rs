//! What would go wrong later, found before anything is deployed.

use meridian_engine::ports::failure::Failure;
use serde_json::Value;

use crate::app_service::content::{Deployable, PACKAGE_DIGEST, RUN_FROM_PACKAGE};
use crate::app_service::memory::Memory;
use crate::app_service::next::Whose;
use crate::app_service::ramp::Rules;
use crate::app_service::site::{Half, Shown, Site};
use crate::trouble::Trouble;

/// What an operator should know, and what stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Each makes a release impossible or unsafe.
    pub(crate) problems: Vec<String>,
    /// Worth knowing before a swap.
    pub(crate) remarks: Vec<String>,
}

/// How many names of settings are told before the rest is counted.
const NAMES_MAX: usize = 8;

/// Looks at everything that a later step depends on.
pub(crate) async fn findings(site: &Site, shown: &Shown, deployable: &Deployable) -> Result<Findings, Trouble> {
    let mut found = of_shown(site, shown, deployable);
    let names = site.get(Whose::Production, "config/slotConfigNames").await?;
    let sticky: Vec<&str> = strings(&names, "appSettingNames")
        .chain(strings(&names, "connectionStringNames"))
        .collect();
    if matches!(deployable, Deployable::Package { .. }) {
        let stays = [RUN_FROM_PACKAGE, PACKAGE_DIGEST]
            .into_iter()
            .find(|name| sticky.contains(name));
        if let Some(stays) = stays {
            found.problems.push(format!(
                "`{stays}` is a slot setting, so that a swap would leave the package behind: make it an ordinary app setting"
            ));
        }
    }
    if !sticky.is_empty() {
        found.remarks.push(format!(
            "slot settings that a swap leaves where they are: {}",
            listed(&sticky)
        ));
    }
    if site.settings.preview {
        for whose in [Whose::Production, Whose::Slot] {
            let auth = site.get(whose, "config/authsettingsV2").await?;
            if auth.pointer("/properties/platform/enabled").and_then(Value::as_bool) == Some(true) {
                found.problems.push(format!(
                    "{} has site authentication, with which App Service refuses a swap with preview: set `preview: false`, or \
                     authenticate in the app",
                    site.about(whose)
                ));
            }
        }
    }
    let differences = site.differences().await?;
    if !differences.is_empty() {
        let names: Vec<&str> = differences.iter().map(String::as_str).collect();
        found.remarks.push(format!(
            "{} settings differ between slot and production: {}",
            names.len(),
            listed(&names)
        ));
    }
    if let Some(warm_up) = &site.settings.warm_up
        && !warm_up.production
    {
        found.remarks.push(
            "the warm-up settings are set on the slot and travel with the candidate; a swap back warms the baseline up as it \
             was set before"
                .to_owned(),
        );
    }
    Ok(found)
}

/// What the look itself shows.
fn of_shown(site: &Site, shown: &Shown, deployable: &Deployable) -> Findings {
    let mut found = Findings::default();
    for (half, whose) in [(&shown.production, Whose::Production), (&shown.slot, Whose::Slot)] {
        let auto = half
            .config
            .get("autoSwapSlotName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !auto.is_empty() {
            found.problems.push(format!(
                "{} swaps by itself into `{auto}` whenever something is deployed: turn auto swap off",
                site.about(whose)
            ));
        }
    }
    let host = shown.slot.host();
    let rules = Rules::of(&shown.production.config);
    found.problems.extend(rules.foreign(host, &site.settings.slot));
    let remembers = Memory::read(tags(&shown.production)).is_ok_and(|memory| memory.fence.is_some());
    match rules.share(host) {
        Ok(share) if !share.is_zero() && !remembers => found.problems.push(format!(
            "a ramp-up rule that Meridian did not write sends {share} of the traffic to slot `{}`",
            site.settings.slot
        )),
        Ok(_) => {}
        Err(why) => found.problems.push(why),
    }
    for (half, whose) in [(&shown.production, Whose::Production), (&shown.slot, Whose::Slot)] {
        let why = match (deployable, Kind::of(site.fx(half))) {
            (Deployable::Image(_), Kind::Image) | (Deployable::Package { .. }, Kind::Code) => continue,
            (Deployable::Image(_), Kind::Code) => "runs code, and the release is an image",
            (Deployable::Image(_), Kind::Containers) => {
                "runs several containers (Docker Compose or sidecars), and the release is one image"
            }
            (Deployable::Package { .. }, Kind::Image | Kind::Containers) => {
                "runs a container, and the release is a package"
            }
        };
        found.problems.push(format!("{} {why}", site.about(whose)));
    }
    if !shown.production.is_running() {
        found
            .problems
            .push(format!("{} is stopped", site.about(Whose::Production)));
    }
    found
}

/// How a side runs what it runs. A deployment must not make another kind of it: what the app's other settings say would no longer
/// be about what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One container, `DOCKER|…`.
    Image,
    /// Several: `COMPOSE|…`, or `sitecontainers`.
    Containers,
    Code,
}

impl Kind {
    /// From `linuxFxVersion` or `windowsFxVersion`.
    fn of(fx: &str) -> Kind {
        let kind = fx.split('|').next().unwrap_or_default();
        match kind.to_ascii_lowercase().as_str() {
            "docker" => Kind::Image,
            "compose" | "kube" | "sitecontainers" => Kind::Containers,
            _ => Kind::Code,
        }
    }
}

pub(crate) fn tags(half: &Half) -> &Value {
    half.resource.get("tags").unwrap_or(&Value::Null)
}

/// Why the slot or the site could not be looked at: a slot that is missing has reasons of its own.
pub(crate) async fn unseen(site: &Site, trouble: Trouble) -> Failure {
    if !trouble.is_status(404) {
        return trouble.failure;
    }
    let Ok(production) = site.get(Whose::Production, "").await else {
        return trouble.failure;
    };
    let slot = &site.settings.slot;
    let Err(missing) = site.get(Whose::Slot, "").await else {
        return trouble.failure;
    };
    if !missing.is_status(404) {
        return missing.failure;
    }
    let why = match site.tier(&production).await {
        Some(tier)
            if ["Free", "Shared", "Basic"]
                .iter()
                .any(|none| tier.eq_ignore_ascii_case(none)) =>
        {
            format!("the plan's tier {tier} has no slots, Standard is the least that does")
        }
        Some(_) | None => "create it before the first release".to_owned(),
    };
    Failure::lasting(format!("the site `{}` has no slot `{slot}`: {why}", site.settings.site))
}

fn strings<'a>(names: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let list = names
        .get("properties")
        .and_then(|properties| properties.get(key)?.as_array());
    list.into_iter().flatten().filter_map(Value::as_str)
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMES_MAX) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        Some(_) | None => shown,
    }
}

//! Where: regions, each with one provider, and the defaults merged under them.

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::fields::Fields;
use crate::decode::shape::{Form, Shape, optional};
use crate::decode::{kinds, release, value};
use crate::diagnostic::{Code, Diagnostic, suggestion};
use crate::document::node::{Entry, Map, Node, Value};
use crate::document::source::Place;
use crate::limits;
use crate::share::Share;
use crate::vocabulary::ProviderKind;
use crate::workflow::Region;

pub static REGION: Shape = Shape {
    name: "a region",
    summary: "Where traffic is served: one provider key with its settings, and what every region may have.",
    one_of: &[],
    keys: &[
        optional(
            "globalTraffic",
            Form::Share,
            "this region's part of the world's traffic, for the blast radius",
        ),
        optional(
            "timezone",
            Form::Zone,
            "the region's IANA time zone; windows with `timezone: region` are judged in it",
        ),
        optional(
            "release",
            Form::Either(&[Form::Text, Form::Object(&release::RELEASE)]),
            "another release for this region",
        ),
    ],
};

/// A region with the places that later checks point at.
pub struct Placed {
    pub region: Region,
    pub name: Place,
}

/// Reads `defaults` and `regions`.
pub fn read(spec: &Fields<'_>, cx: &mut Context<'_>) -> IndexMap<String, Placed> {
    let defaults = defaults(spec, cx);
    let entries = spec.entries("regions", cx);
    if entries.len() > limits::REGIONS_MAX {
        let message = format!(
            "{} regions, at most {} are possible",
            entries.len(),
            limits::REGIONS_MAX
        );
        cx.error(Code::TOO_MANY, &spec.key_place("regions"), message);
        return IndexMap::new();
    }
    if entries.is_empty() && spec.get("regions").is_some_and(|node| node.as_map().is_some()) {
        cx.error(
            Code::MISSING_KEY,
            &spec.key_place("regions"),
            "a workflow has at least one region",
        );
    }
    let mut regions = IndexMap::new();
    for (name, place, node) in entries {
        value::check_name(name, place, cx);
        if let Some(region) = region(name, place, node, &defaults, cx) {
            regions.insert(
                name.to_owned(),
                Placed {
                    region,
                    name: place.clone(),
                },
            );
        }
    }
    check_global_traffic(&regions, spec, cx);
    regions
}

/// Defaults by provider; an unknown provider is refused here already.
fn defaults<'n>(spec: &Fields<'n>, cx: &mut Context<'_>) -> IndexMap<&'n str, &'n Node> {
    let mut defaults = IndexMap::new();
    for (name, place, node) in spec.entries("defaults", cx) {
        match cx.vocabulary.provider(name).cloned() {
            None => unknown_provider(name, place, cx),
            Some(provider) => {
                if node.as_map().is_some() {
                    check_keys(&provider, node, cx);
                    defaults.insert(name, node);
                } else {
                    value::wrong_type(node, "a mapping of settings", cx);
                }
            }
        }
    }
    defaults
}

fn unknown_provider(name: &str, place: &Place, cx: &mut Context<'_>) {
    let known: Vec<&str> = cx.vocabulary.providers.iter().map(|kind| kind.name).collect();
    cx.unknown(Code::UNKNOWN_PROVIDER, place, "provider", name, known);
}

fn region(
    name: &str,
    place: &Place,
    node: &Node,
    defaults: &IndexMap<&str, &Node>,
    cx: &mut Context<'_>,
) -> Option<Region> {
    let Some(map) = node.as_map() else {
        value::wrong_type(
            node,
            "a mapping with one provider, as in `{kubernetes: {context: prod}}`",
            cx,
        );
        return None;
    };
    let (provider, settings) = provider(name, place, map, cx)?;
    let availability = provider.availability;
    cx.check_availability(availability, &settings.key, format!("the provider `{}`", provider.name));
    let empty = Node {
        place: settings.key.clone(),
        value: Value::Map(Map::default()),
    };
    let own = match &settings.value.value {
        Value::Null => &empty,
        Value::Map(_) => &settings.value,
        Value::Scalar(_) | Value::List(_) => {
            value::wrong_type(&settings.value, "a mapping of settings", cx);
            return None;
        }
    };
    check_keys(&provider, own, cx);
    let merged = defaults
        .get(provider.name)
        .map_or_else(|| own.clone(), |under| merge(under, own));
    check_required(&provider, &merged, &settings.key, cx);
    kinds::check_secrets(&merged, cx);
    check_sound(&provider, &merged, &settings.key, cx);
    let read = |key: &str| map.get(key);
    Some(Region {
        provider: provider.name.to_owned(),
        settings: value::json(&merged),
        global_traffic: read("globalTraffic").and_then(|node| value::share(node, cx)),
        timezone: read("timezone").and_then(|node| value::zone(node, cx)),
        release: read("release").and_then(|node| release::read(node, cx)),
    })
}

/// The one provider key of a region; everything else must be a key that every region may have.
fn provider<'n>(name: &str, place: &Place, map: &'n Map, cx: &mut Context<'_>) -> Option<(ProviderKind, &'n Entry)> {
    let mut found: Vec<(ProviderKind, &Entry)> = Vec::new();
    let mut unknown: Vec<(&str, &Entry)> = Vec::new();
    for (key, entry) in &map.entries {
        match cx.vocabulary.provider(key) {
            Some(kind) => found.push((kind.clone(), entry)),
            None if REGION.key(key).is_some() => {}
            None => unknown.push((key, entry)),
        }
    }
    let providers: Vec<&str> = cx.vocabulary.providers.iter().map(|kind| kind.name).collect();
    for (key, entry) in &unknown {
        if found.is_empty()
            && (entry.value.as_map().is_some() || suggestion::closest(key, providers.iter().copied()).is_some())
        {
            unknown_provider(key, &entry.key, cx);
        } else {
            let message = format!("a region has no key `{key}`");
            let known = REGION.keys.iter().map(|key| key.name).chain(providers.iter().copied());
            cx.report(
                Diagnostic::new(Code::UNKNOWN_KEY, entry.key.clone(), message).maybe_hint(suggestion::hint(key, known)),
            );
        }
    }
    match found.len() {
        1 => found.pop(),
        0 => {
            if unknown.is_empty() {
                let message = format!("region `{name}` has no provider");
                let hint = format!("known here: {}", providers.join(", "));
                cx.report(Diagnostic::new(Code::ONE_OF, place.clone(), message).hint(hint));
            }
            None
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|(kind, _)| kind.name).collect();
            let message = format!("region `{name}` has {} providers: {}", names.len(), names.join(", "));
            let hint = "one region is served by one provider; write two regions";
            cx.report(Diagnostic::new(Code::ONE_OF, found[1].1.key.clone(), message).hint(hint));
            None
        }
    }
}

fn check_keys(provider: &ProviderKind, settings: &Node, cx: &mut Context<'_>) {
    // An empty list means that the provider checks its settings itself.
    let Some(map) = settings.as_map().filter(|_| !provider.settings.is_empty()) else {
        return;
    };
    for (key, entry) in &map.entries {
        if !provider.settings.iter().any(|known| known.name == key) {
            let message = format!("the provider `{}` has no setting `{key}`", provider.name);
            let hint = suggestion::hint(key, provider.settings.iter().map(|known| known.name));
            cx.report(Diagnostic::new(Code::UNKNOWN_KEY, entry.key.clone(), message).maybe_hint(hint));
        }
    }
}

fn check_sound(provider: &ProviderKind, merged: &Node, place: &Place, cx: &mut Context<'_>) {
    if let Err(why) = (provider.read.0)(&value::json(merged)) {
        let message = format!("the settings of the provider `{}` are not sound: {why}", provider.name);
        cx.report(Diagnostic::new(Code::WRONG_TYPE, place.clone(), message));
    }
}

fn check_required(provider: &ProviderKind, merged: &Node, place: &Place, cx: &mut Context<'_>) {
    for setting in provider.settings.iter().filter(|setting| setting.required) {
        if merged.as_map().is_none_or(|map| map.get(setting.name).is_none()) {
            let message = format!("the provider `{}` needs the setting `{}`", provider.name, setting.name);
            let hint = format!("{}; it may also stand in `defaults.{}`", setting.summary, provider.name);
            cx.report(Diagnostic::new(Code::MISSING_KEY, place.clone(), message).hint(hint));
        }
    }
}

/// Maps merge key by key, everything else is replaced by what stands above.
fn merge(under: &Node, above: &Node) -> Node {
    let (Value::Map(low), Value::Map(high)) = (&under.value, &above.value) else {
        return above.clone();
    };
    let mut entries = low.entries.clone();
    for (key, entry) in &high.entries {
        let value = match low.get(key) {
            Some(below) => merge(below, &entry.value),
            None => entry.value.clone(),
        };
        entries.insert(
            key.clone(),
            Entry {
                key: entry.key.clone(),
                value,
            },
        );
    }
    Node {
        place: above.place.clone(),
        value: Value::Map(Map { entries }),
    }
}

fn check_global_traffic(regions: &IndexMap<String, Placed>, spec: &Fields<'_>, cx: &mut Context<'_>) {
    let shares = regions.values().filter_map(|placed| placed.region.global_traffic);
    let sum: u32 = shares.map(|share| u32::from(share.basis_points())).sum();
    if sum > u32::from(Share::FULL.basis_points()) {
        let message = format!(
            "the regions' `globalTraffic` adds up to {}%, more than the world's traffic",
            f64::from(sum) / 100.0
        );
        let hint = "the blast radius is computed from these shares";
        cx.report(Diagnostic::new(Code::GLOBAL_TRAFFIC, spec.key_place("regions"), message).hint(hint));
    }
}

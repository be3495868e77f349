//! A vocabulary and files for tests: what the language is read against when no cloud is at hand.

use std::collections::BTreeMap;

use crate::decode::gate::GATE;
use crate::decode::{Given, Reading, Surroundings, read};
use crate::vocabulary::{
    AudienceKey, Audiences, Availability, Capabilities, Kind, ProviderKind, SettingKey, SettingsReader, Shares,
    SourceKind, SourceReader, Vocabulary,
};

/// Kinds as the first builds know them.
pub fn vocabulary() -> Vocabulary {
    let key = |name, required| SettingKey {
        name,
        required,
        summary: "a setting",
    };
    let provider = |name, availability, settings: &'static [SettingKey], read| ProviderKind {
        name,
        availability,
        settings,
        read: SettingsReader(read),
    };
    let kind = |availability| move |name| Kind { name, availability };
    let source = |name, availability| SourceKind {
        name,
        availability,
        settings: &[],
        read: SourceReader(|_| Ok(())),
    };
    let settings = [
        key("context", true),
        key("namespace", false),
        key("workload", true),
        key("traffic", false),
        key("promotion", false),
    ];
    let gates = GATE.one_of.iter().copied().map(kind(Availability::Available));
    Vocabulary {
        providers: vec![
            provider("sandbox", Availability::Available, &[], |_| Ok(mirroring(1))),
            provider(
                "kubernetes",
                Availability::NotYet,
                Box::leak(Box::new(settings)),
                |settings| Ok(of_pods(settings).unwrap_or_else(|| mirroring(100))),
            ),
            provider("ecs", Availability::NotYet, &[], |_| Ok(Capabilities::splitting(100))),
            provider("appService", Availability::NotYet, &[], |_| {
                Ok(Capabilities::splitting(1))
            }),
            provider("appConfiguration", Availability::NotYet, &[], |settings| {
                Ok(of_users(settings))
            }),
        ],
        gates: gates.collect(),
        sources: vec![
            SourceKind {
                name: "prometheus",
                availability: Availability::Available,
                settings: Box::leak(Box::new([
                    key("address", true),
                    key("token", false),
                    key("timeout", false),
                ])),
                read: SourceReader(|settings| match settings["address"].as_str() {
                    Some(address) if address.starts_with("http") => Ok(()),
                    _ => Err("`address` is no URL".to_owned()),
                }),
            },
            source("sandbox", Availability::Available),
            source("datadog", Availability::NotYet),
        ],
        notifiers: vec![kind(Availability::NotYet)("slack")],
    }
}

/// A target that splits traffic by a known number of pods.
fn of_pods(settings: &serde_json::Value) -> Option<Capabilities> {
    let pods = settings.pointer("/traffic/pods")?.as_u64()?;
    Some(Capabilities {
        shares: Shares::Instances(u32::try_from(pods).ok()?),
        ..Capabilities::splitting(1)
    })
}

/// A target that knows its users by name, and the cohorts that its settings define.
fn of_users(settings: &serde_json::Value) -> Capabilities {
    let cohorts = settings.get("cohorts").and_then(serde_json::Value::as_object);
    let known = [
        AudienceKey::Tenants,
        AudienceKey::Users,
        AudienceKey::Groups,
        AudienceKey::Cohort,
    ];
    Capabilities {
        audiences: Audiences {
            cohorts: Some(cohorts.into_iter().flatten().map(|(name, _)| name.clone()).collect()),
            ..Audiences::by(&known)
        },
        ..Capabilities::splitting(1)
    }
}

fn mirroring(step: u16) -> Capabilities {
    Capabilities {
        mirroring: true,
        ..Capabilities::splitting(step)
    }
}

/// Reads a text among other files, with the values of inputs.
pub fn read_among(text: &[u8], files: &[(&str, &str)], inputs: &[(&str, &str)], all_inputs: bool) -> Reading {
    let vocabulary = vocabulary();
    let load = |path: &str| {
        let file = files.iter().find(|(name, _)| *name == path);
        file.map(|(_, text)| text.as_bytes().to_vec())
            .ok_or_else(|| "no such file".to_owned())
    };
    let inputs: BTreeMap<String, String> = inputs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let inputs = if all_inputs {
        Given::All(&inputs)
    } else {
        Given::Some(&inputs)
    };
    read(
        "a.yaml",
        text,
        &Surroundings {
            vocabulary: &vocabulary,
            load: &load,
            inputs,
        },
    )
}

/// Reads a text alone, inputs left open.
pub fn read_alone(text: &str) -> Reading {
    read_among(text.as_bytes(), &[], &[], false)
}

//! What every source says about settings that do not fit, before it asks anybody.

use std::sync::Arc;

use meridian_providers::metric::{kinds, source};
use serde_json::{Value, json};

use crate::answers::{Vault, lasting, made, now, surroundings, transient};

/// Settings that fit, for every kind that asks a server.
fn sound() -> Vec<(&'static str, Value)> {
    let secret = json!({"secret": "name"});
    let mut sound = vec![
        ("prometheus", json!({"address": "http://p"})),
        (
            "googleMonitoring",
            json!({"project": "p", "credentials": {"token": secret}}),
        ),
        (
            "googleMonitoring",
            json!({"project": "p", "credentials": "metadataServer"}),
        ),
        (
            "datadog",
            json!({"apiKey": secret, "applicationKey": secret, "site": "datadoghq.eu"}),
        ),
        ("newRelic", json!({"account": 1, "apiKey": secret, "region": "eu"})),
        ("wavefront", json!({"address": "https://w", "token": secret})),
        ("graphite", json!({"address": "http://g"})),
        ("influxdb", json!({"address": "http://i", "database": "d"})),
        (
            "influxdb",
            json!({"address": "http://i", "organization": "o", "token": secret}),
        ),
        ("json", json!({"address": "http://j", "value": "body.x"})),
    ];
    if cfg!(feature = "aws") {
        sound.push(("cloudWatch", json!({"region": "eu-west-1"})));
        sound.push((
            "cloudWatch",
            json!({"region": "cn-north-1", "role": {"arn": "a", "externalId": "b"}}),
        ));
    }
    if cfg!(feature = "azure") {
        sound.push(("azureMonitor", json!({"credentials": "azureCli"})));
        sound.push((
            "azureMonitor",
            json!({"cloud": "government", "credentials": {"managedIdentity": {}}}),
        ));
        sound.push(("logAnalytics", json!({"workspace": "w", "credentials": "azureCli"})));
    }
    sound
}

fn check(kind: &str, settings: &Value) -> Result<(), String> {
    let kinds = kinds();
    let kind = kinds.iter().find(|known| known.name == kind).unwrap();
    (kind.read.0)(settings)
}

#[test]
fn what_is_sound_for_the_language_is_sound_for_the_source() {
    for (kind, settings) in sound() {
        assert_eq!(check(kind, &settings), Ok(()), "{kind}");
        made(kind, &settings).map(drop).unwrap();
    }
}

#[test]
fn an_unknown_key_and_a_bad_timeout_are_refused_everywhere() {
    for (kind, settings) in sound() {
        let with = |key: &str, value: Value| {
            let mut settings = settings.clone();
            settings[key] = value;
            check(kind, &settings).unwrap_err()
        };
        assert!(with("adress", json!("x")).contains("unknown field `adress`"), "{kind}");
        assert!(with("timeout", json!("3m")).contains("`timeout` is 3m"), "{kind}");
        let known = kinds().into_iter().find(|known| known.name == kind).unwrap();
        for key in settings.as_object().unwrap().keys() {
            assert!(
                known.settings.iter().any(|setting| setting.name == key),
                "{kind} does not list `{key}`"
            );
        }
        for setting in known.settings.iter().filter(|setting| setting.required) {
            let mut settings = settings.clone();
            settings.as_object_mut().unwrap().remove(setting.name);
            assert!(
                check(kind, &settings).is_err(),
                "{kind} can do without `{}`",
                setting.name
            );
        }
    }
}

#[test]
fn every_listed_setting_is_one_that_is_read() {
    for known in kinds() {
        for setting in known.settings {
            // A key that is not read is refused as unknown; one that is read may have another type.
            let why = check(known.name, &json!({ (setting.name): null }))
                .err()
                .unwrap_or_default();
            assert!(!why.contains("unknown field"), "{}: {why}", known.name);
        }
    }
}

#[test]
fn what_does_not_fit_names_its_key() {
    let secret = json!({"secret": "name"});
    let mut cases = vec![
        (
            "datadog",
            json!({"apiKey": secret, "applicationKey": secret, "site": "https://x"}),
            "`site`",
        ),
        (
            "datadog",
            json!({"apiKey": secret, "applicationKey": secret, "site": "x", "address": "https://x"}),
            "`site` and `address`",
        ),
        (
            "datadog",
            json!({"apiKey": secret, "applicationKey": secret, "address": "http://example.com"}),
            "plain http",
        ),
        (
            "newRelic",
            json!({"account": 1, "apiKey": secret, "step": "500ms"}),
            "`step`",
        ),
        (
            "wavefront",
            json!({"address": "https://w", "token": secret, "step": "2m"}),
            "`step`",
        ),
        (
            "wavefront",
            json!({"address": "http://w", "token": secret}),
            "plain http",
        ),
        (
            "graphite",
            json!({"address": "http://g", "username": "u"}),
            "belong together",
        ),
        (
            "graphite",
            json!({"address": "http://g", "lookback": "2d"}),
            "`lookback`",
        ),
        (
            "influxdb",
            json!({"address": "http://i"}),
            "`database` (1.x) or `organization`",
        ),
        (
            "influxdb",
            json!({"address": "http://i", "database": "d", "token": secret}),
            "1.x",
        ),
        (
            "influxdb",
            json!({"address": "http://i", "organization": "o"}),
            "`token`",
        ),
        (
            "influxdb",
            json!({"address": "http://i", "database": "d", "lookback": "1m"}),
            "at least two steps",
        ),
        (
            "json",
            json!({"address": "http://j", "value": "body."}),
            "`value` cannot be read",
        ),
        (
            "json",
            json!({"address": "http://j", "value": "bodi.x"}),
            "did you mean `body`",
        ),
        (
            "json",
            json!({"address": "http://j", "value": "1", "headers": {"a b": "c"}}),
            "`headers`",
        ),
        (
            "googleMonitoring",
            json!({"project": "a/b", "credentials": "metadataServer"}),
            "`project`",
        ),
        (
            "googleMonitoring",
            json!({"project": "p", "credentials": "me"}),
            "`credentials`",
        ),
    ];
    if cfg!(feature = "aws") {
        cases.extend([
            ("cloudWatch", json!({"region": "eu west"}), "`region`"),
            ("cloudWatch", json!({"region": "eu-west-1", "step": "45s"}), "`step`"),
            (
                "cloudWatch",
                json!({"region": "eu-west-1", "accessKeyId": "a"}),
                "belong together",
            ),
            ("cloudWatch", json!({"region": "eu-west-1", "role": 1}), "`role`"),
        ]);
    }
    if cfg!(feature = "azure") {
        cases.extend([
            ("azureMonitor", json!({"credentials": "me"}), "`credentials`"),
            (
                "azureMonitor",
                json!({"credentials": "azureCli", "step": "2m"}),
                "`step`",
            ),
            (
                "azureMonitor",
                json!({"credentials": "azureCli", "resource": "shop"}),
                "`resource`",
            ),
            ("logAnalytics", json!({"credentials": "azureCli"}), "exactly one of"),
            (
                "logAnalytics",
                json!({"credentials": "azureCli", "workspace": "a/b"}),
                "`workspace`",
            ),
        ]);
    }
    for (kind, settings, word) in cases {
        let why = check(kind, &settings).unwrap_err();
        assert!(why.contains(word), "{kind} {settings}: {why}");
    }
}

#[tokio::test]
async fn nobody_there_and_no_secret_are_told_apart() {
    for (kind, mut settings) in sound() {
        if kind == "googleMonitoring" && settings["credentials"] == "metadataServer" {
            continue;
        }
        // Credentials that would be looked for on this machine.
        if matches!(kind, "cloudWatch" | "azureMonitor" | "logAnalytics") {
            continue;
        }
        settings.as_object_mut().unwrap().remove("site");
        settings.as_object_mut().unwrap().remove("region");
        settings["address"] = json!("http://127.0.0.1:1");
        let what = transient(made(kind, &settings).unwrap().query("SELECT a FROM b", now()).await);
        assert!(
            what.starts_with(&format!("{kind} at 127.0.0.1:1: no answer: ")),
            "{what}"
        );
        if settings.to_string().contains("secret") {
            let source = source(kind, &settings, "another", &surroundings(Arc::new(Vault))).unwrap();
            assert!(
                lasting(source.query("SELECT a FROM b", now()).await)
                    .contains("workflow `another` has no secret `name`")
            );
        }
    }
}

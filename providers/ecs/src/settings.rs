//! What a region's `ecs` settings say, read strictly.

use std::collections::BTreeSet;

use meridian_workflows::duration::Duration;
use meridian_workflows::vocabulary::{
    Audiences, Availability, Capabilities, LadderCheck, ProviderKind, RollbackSpeed, SettingKey, SettingsReader, Shares,
};
use serde::Deserialize;
use serde_json::Value;

use crate::strategy;
use crate::weights;

const SETTINGS: &[SettingKey] = &[
    required("region", "the AWS region, as in `eu-west-1`"),
    required("cluster", "the cluster's name or ARN"),
    optional("service", "the service's name or ARN"),
    optional(
        "services",
        "two services behind one weighted listener rule: {blue, green}",
    ),
    optional("mode", "auto (default), native, taskSets or twoServices"),
    optional("role", "the ARN of a role to assume, or {arn, externalId}"),
    optional("endpoint", "an address instead of AWS's own, or {ecs, elb, sts}"),
    optional(
        "taskDefinition",
        "the family or ARN that a new image is put into; what serves now by default",
    ),
    optional(
        "container",
        "the container that gets a new image; needed where a task has several",
    ),
    optional(
        "listenerRules",
        "{production, test}: ARNs of listener rules, or of listeners for their default action",
    ),
    optional(
        "targetGroups",
        "{blue, green}: ARNs of the two target groups that task sets alternate between",
    ),
    optional(
        "alarms",
        "CloudWatch alarms that make ECS roll a native deployment back, or {names, rollback}",
    ),
    optional(
        "circuitBreaker",
        "for rolling deployments: {enable, rollback}, both true by default",
    ),
    optional(
        "hookTimeout",
        "how long a native deployment waits for an order before ECS rolls it back (default 24h and twice the longest bake below 100%, \
         at most 14d)",
    ),
];

/// Why alarms go with ECS's own deployments alone.
pub const NO_ALARMS: &str = "`alarms` act in native deployments only; watch a metric with a gate instead";

const fn required(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: true,
        summary,
    }
}

const fn optional(name: &'static str, summary: &'static str) -> SettingKey {
    SettingKey {
        name,
        required: false,
        summary,
    }
}

/// Amazon ECS as the language knows it.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: "ecs",
        availability: Availability::Available,
        settings: SETTINGS,
        read: SettingsReader(|settings| Ok(capabilities(&read(settings)?))),
    }
}

/// How traffic is shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// By the service's deployment controller, once it has been looked at.
    #[default]
    Auto,
    /// ECS's own strategies.
    Native,
    /// Two task sets of one service whose controller is `EXTERNAL`.
    TaskSets,
    /// Two services behind one weighted listener rule.
    TwoServices,
}

/// A region's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub place: Place,
    pub cluster: String,
    /// The service, or the blue one of two.
    pub service: String,
    /// The other of two services.
    pub green: Option<String>,
    pub mode: Mode,
    pub task_definition: Option<String>,
    pub container: Option<String>,
    pub rules: Rules,
    pub target_groups: Option<Pair>,
    pub alarms: Option<Alarms>,
    pub circuit_breaker: CircuitBreaker,
    /// Minutes, 1 to 20160.
    pub hook_timeout: Option<i32>,
}

/// Whose account, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub region: String,
    pub role: Option<Role>,
    pub endpoints: Endpoints,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    pub arn: String,
    pub external_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    pub ecs: Option<String>,
    pub elb: Option<String>,
    pub sts: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub production: Option<String>,
    pub test: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    pub blue: String,
    pub green: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarms {
    pub names: Vec<String>,
    #[serde(default = "yes")]
    pub rollback: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreaker {
    #[serde(default = "yes")]
    pub enable: bool,
    #[serde(default = "yes")]
    pub rollback: bool,
}

fn yes() -> bool {
    true
}

/// What may be written either short or in full.
#[derive(Deserialize)]
#[serde(untagged)]
enum Either<A, B> {
    Short(A),
    Full(B),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    region: String,
    cluster: String,
    service: Option<String>,
    services: Option<Pair>,
    #[serde(default)]
    mode: Mode,
    role: Option<Value>,
    endpoint: Option<Value>,
    task_definition: Option<String>,
    container: Option<String>,
    #[serde(default)]
    listener_rules: Rules,
    target_groups: Option<Pair>,
    alarms: Option<Value>,
    circuit_breaker: Option<CircuitBreaker>,
    hook_timeout: Option<String>,
}

/// Reads a region's settings.
///
/// *Errors*: what is not sound, naming the key.
pub fn read(settings: &Value) -> Result<Settings, String> {
    let written: Written = serde_json::from_value(settings.clone()).map_err(|error| error.to_string())?;
    let (service, green) = match (written.service, written.services) {
        (Some(service), None) => (service, None),
        (None, Some(pair)) if pair.blue == pair.green => {
            return Err(format!("`services` names `{}` twice", pair.blue));
        }
        (None, Some(pair)) => (pair.blue, Some(pair.green)),
        (Some(_), Some(_)) => return Err("`service` and `services` exclude each other".into()),
        (None, None) => return Err("`service` (or `services: {blue, green}`) is missing".into()),
    };
    let settings = Settings {
        place: Place {
            region: written.region,
            role: written.role.map(role).transpose()?,
            endpoints: written
                .endpoint
                .map(|endpoint| either(endpoint, "endpoint", one_endpoint))
                .transpose()?
                .unwrap_or_default(),
        },
        cluster: written.cluster,
        service,
        green,
        mode: written.mode,
        task_definition: written.task_definition,
        container: written.container,
        rules: written.listener_rules,
        target_groups: written.target_groups,
        alarms: written
            .alarms
            .map(|alarms| either(alarms, "alarms", |names| Alarms { names, rollback: true }))
            .transpose()?,
        circuit_breaker: written.circuit_breaker.unwrap_or(CircuitBreaker {
            enable: true,
            rollback: true,
        }),
        hook_timeout: written.hook_timeout.as_deref().map(hook_minutes).transpose()?,
    };
    settings.check()?;
    Ok(settings)
}

fn either<A, B>(value: Value, key: &str, of: impl FnOnce(A) -> B) -> Result<B, String>
where
    A: for<'de> Deserialize<'de>,
    B: for<'de> Deserialize<'de>,
{
    match serde_json::from_value(value) {
        Ok(Either::Short(short)) => Ok(of(short)),
        Ok(Either::Full(full)) => Ok(full),
        Err(_) => Err(format!("`{key}` is written neither short nor in full")),
    }
}

/// `role` as it may be written: an ARN, or `{arn, externalId}`.
pub fn role(written: Value) -> Result<Role, String> {
    either(written, "role", short_role)
}

fn short_role(arn: String) -> Role {
    Role { arn, external_id: None }
}

fn one_endpoint(url: String) -> Endpoints {
    Endpoints {
        ecs: Some(url.clone()),
        elb: Some(url.clone()),
        sts: Some(url),
    }
}

fn hook_minutes(text: &str) -> Result<i32, String> {
    let wait: Duration = text.parse().map_err(|error| format!("`hookTimeout`: {error}"))?;
    let minutes = wait.as_millis().div_ceil(60_000);
    if !(1..=strategy::HOOK_MINUTES_MAX).contains(&minutes) {
        return Err("`hookTimeout` lies between 1m and 14d".into());
    }
    i32::try_from(minutes).map_err(|_| "`hookTimeout` lies between 1m and 14d".into())
}

impl Settings {
    /// What fits together and what does not.
    fn check(&self) -> Result<(), String> {
        for (key, text) in [
            ("region", &self.place.region),
            ("cluster", &self.cluster),
            ("service", &self.service),
        ] {
            if text.trim().is_empty() {
                return Err(format!("`{key}` is empty"));
            }
        }
        let endpoints = &self.place.endpoints;
        for url in [&endpoints.ecs, &endpoints.elb, &endpoints.sts].into_iter().flatten() {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(format!("`endpoint` starts with http:// or https://, got `{url}`"));
            }
        }
        let id = self.place.role.as_ref().and_then(|role| role.external_id.as_ref());
        if id.is_some_and(|id| id.chars().count() < 2) {
            return Err("`role.externalId` has at least two characters".into());
        }
        for (key, arn) in [("production", &self.rules.production), ("test", &self.rules.test)] {
            if arn.as_deref().is_some_and(|arn| !is_listener(arn)) {
                return Err(format!(
                    "`listenerRules.{key}` is the ARN of a listener rule or a listener"
                ));
            }
        }
        if let Some(pair) = &self.target_groups
            && pair.blue == pair.green
        {
            return Err("`targetGroups` names one group twice".into());
        }
        if let Some(alarms) = &self.alarms {
            let names: BTreeSet<&String> = alarms.names.iter().collect();
            if names.is_empty() || names.len() != alarms.names.len() {
                return Err("`alarms` names each alarm once, and at least one".into());
            }
        }
        self.check_mode()
    }

    fn check_mode(&self) -> Result<(), String> {
        let needs = |what: &str| Err(format!("`mode: {}` needs `{what}`", self.mode_name()));
        match self.mode {
            Mode::Native if self.green.is_some() => Err("`mode: native` has one `service`, not `services`".into()),
            Mode::TaskSets if self.green.is_some() => Err("`mode: taskSets` has one `service`, not `services`".into()),
            Mode::TwoServices if self.green.is_none() => needs("services"),
            Mode::TaskSets if self.target_groups.is_none() => needs("targetGroups"),
            Mode::TaskSets | Mode::TwoServices if self.rules.production.is_none() => needs("listenerRules.production"),
            Mode::Auto if self.green.is_some() && self.rules.production.is_none() => {
                Err("`services` need `listenerRules.production`".into())
            }
            Mode::Auto | Mode::TaskSets | Mode::TwoServices if self.alarms.is_some() && !self.may_be_native() => {
                Err(NO_ALARMS.into())
            }
            Mode::Auto | Mode::Native | Mode::TaskSets | Mode::TwoServices => Ok(()),
        }
    }

    fn mode_name(&self) -> &'static str {
        match self.mode {
            Mode::Auto => "auto",
            Mode::Native => "native",
            Mode::TaskSets => "taskSets",
            Mode::TwoServices => "twoServices",
        }
    }

    /// Whether the service may turn out to be one that ECS itself moves.
    fn may_be_native(&self) -> bool {
        match self.mode {
            Mode::Native => true,
            Mode::TaskSets | Mode::TwoServices => false,
            Mode::Auto => self.green.is_none(),
        }
    }

    /// Whether these settings leave ECS's own strategies only, whatever the service turns out to be.
    fn is_native_only(&self) -> bool {
        match self.mode {
            Mode::Native => true,
            Mode::TaskSets | Mode::TwoServices => false,
            Mode::Auto => self.green.is_none() && (self.target_groups.is_none() || self.rules.production.is_none()),
        }
    }
}

fn is_listener(arn: &str) -> bool {
    arn.starts_with("arn:") && (arn.contains(":listener-rule/") || arn.contains(":listener/"))
}

fn capabilities(settings: &Settings) -> Capabilities {
    let mut remarks = Vec::new();
    let native = settings.mode == Mode::Native;
    if !native && settings.is_native_only() {
        remarks.push(
            "With these settings ECS itself climbs [100%], [x, 100%] or equal steps of at least 3%; another ladder is refused before \
             any region opens, unless task sets (`targetGroups`, `listenerRules`) or two services are given."
                .into(),
        );
    }
    if settings.may_be_native() {
        let wait = match settings.hook_timeout {
            Some(minutes) => Duration::from_secs(u64::from(minutes.unsigned_abs()) * 60).to_string(),
            None => "24h and twice the longest bake below 100% (14d at most)".into(),
        };
        remarks.push(format!(
            "ECS waits at most {wait} for each order of a native deployment, an approval included, then it rolls back by itself."
        ));
        remarks.push(
            "A native deployment goes back to 0% at once and never to a share in between; once ECS has removed the old tasks \
             after the bake, 24h after the last shift at the latest, going back starts them again."
                .into(),
        );
    }
    if !native {
        if settings.mode == Mode::Auto && settings.green.is_none() {
            remarks.push(
                "Whether ECS or Meridian shifts the traffic follows the service's deployment controller, which is looked at \
                 before any region opens."
                    .into(),
            );
        }
        remarks.push(
            "Target-group stickiness on the listener rule keeps clients on the version they met first, also after a rollback."
                .into(),
        );
    }
    Capabilities {
        shares: if native {
            Shares::Ladder(LadderCheck(|_, exposures| strategy::climbing(exposures).map(|_| ())))
        } else {
            Shares::Steps(weights::STEP)
        },
        mirroring: false,
        audiences: Audiences::none(),
        preview: settings.rules.test.is_some(),
        rollback: RollbackSpeed::Instant,
        remarks,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use meridian_workflows::share::Share;
    use meridian_workflows::vocabulary::Shares;
    use meridian_workflows::workflow::Exposure;
    use serde_json::{Value, json};

    use super::{Mode, kind, read};

    const RULE: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/lb/1/2/3";

    fn with(more: Value) -> Value {
        let mut settings = json!({"region": "eu-west-1", "cluster": "prod", "service": "shop"});
        for (key, value) in more.as_object().unwrap() {
            settings[key] = value.clone();
        }
        settings
    }

    #[test]
    fn short_and_full_forms_mean_the_same() {
        let short = read(&with(
            json!({"role": "arn:r", "alarms": ["a"], "endpoint": "http://127.0.0.1:1"}),
        ))
        .unwrap();
        let url = "http://127.0.0.1:1";
        let full = read(&with(json!({
            "role": {"arn": "arn:r"},
            "alarms": {"names": ["a"], "rollback": true},
            "endpoint": {"ecs": url, "elb": url, "sts": url},
        })));
        assert_eq!(Ok(short), full);
    }

    #[test]
    fn what_is_not_sound_is_refused_by_its_key() {
        for (settings, word) in [
            (with(json!({"servce": "x"})), "servce"),
            (with(json!({"mode": "magic"})), "magic"),
            (with(json!({"services": {"blue": "a", "green": "b"}})), "exclude"),
            (with(json!({"hookTimeout": "15d"})), "hookTimeout"),
            (with(json!({"hookTimeout": "0s"})), "hookTimeout"),
            (with(json!({"endpoint": "ftp://x"})), "endpoint"),
            (
                with(json!({"listenerRules": {"production": "nonsense"}})),
                "listenerRules.production",
            ),
            (with(json!({"mode": "taskSets"})), "targetGroups"),
            (with(json!({"mode": "twoServices"})), "services"),
            (with(json!({"alarms": []})), "alarms"),
            (with(json!({"role": {"arm": "x"}})), "role"),
            (
                with(json!({"role": {"arn": "arn:r", "externalId": "x"}})),
                "role.externalId",
            ),
            (json!({"region": "eu-west-1", "cluster": "prod"}), "service"),
            (
                json!({
                    "region": "eu-west-1", "cluster": "prod", "alarms": ["a"],
                    "services": {"blue": "a", "green": "b"}, "listenerRules": {"production": RULE},
                }),
                "`alarms` act in native",
            ),
            (json!([]), "expected"),
        ] {
            let why = read(&settings).unwrap_err();
            assert!(why.contains(word), "{settings}: {why}");
        }
    }

    #[test]
    fn capabilities_follow_the_settings() {
        let shares = |settings: &Value| (kind().read.0)(settings).unwrap().shares;
        // What the service's controller allows shows when it is looked at.
        assert_eq!(shares(&with(json!({}))), Shares::Steps(10));
        let Shares::Ladder(check) = shares(&with(json!({"mode": "native"}))) else {
            panic!("only ECS's own strategies are left");
        };
        let climb = |points: &[u16]| {
            let rungs: Vec<Exposure> = points
                .iter()
                .map(|points| Exposure::Traffic(Share::from_basis_points(*points).unwrap()))
                .collect();
            (check.0)(&with(json!({"mode": "native"})), &rungs)
        };
        let remarks = |settings: &Value| (kind().read.0)(settings).unwrap().remarks.join(" ");
        for mode in ["auto", "native"] {
            assert!(
                remarks(&with(json!({"mode": mode}))).contains("ECS waits at most 24h and twice"),
                "{mode}"
            );
            let short = remarks(&with(json!({"mode": mode, "hookTimeout": "2h"})));
            assert!(short.contains("ECS waits at most 2h"), "{short}");
        }
        assert!(climb(&[500, 10_000]).is_ok() && climb(&[500, 2_000, 10_000]).is_err());
        let sets = json!({
            "mode": "taskSets",
            "listenerRules": {"production": RULE},
            "targetGroups": {"blue": "b", "green": "g"},
        });
        assert_eq!(shares(&with(sets)), Shares::Steps(10));
        let pair = json!({
            "region": "eu-west-1", "cluster": "prod",
            "services": {"blue": "a", "green": "b"},
            "listenerRules": {"production": RULE, "test": RULE},
        });
        assert_eq!(read(&pair).unwrap().mode, Mode::Auto);
        assert!((kind().read.0)(&pair).unwrap().preview);
    }
}

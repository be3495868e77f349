//! A feature flag as App Configuration keeps it: read, and edited without losing what is not ours.

use meridian_workflows::share::Share;
use serde_json::{Map, Value, json};

use crate::app_configuration::audience::Audience;
use crate::app_configuration::settings::Filter;

/// The content type that makes a key-value a feature flag.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.microsoft.appconfig.ff+json;charset=utf-8";

/// A flag's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flag(Map<String, Value>);

/// What a flag says, in the terms of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Off for everybody, by `enabled: false`. The filter below may hold anything.
    Disabled { share: Share, audience: Audience },
    /// On for a share of users and for those who are named.
    Part { share: Share, audience: Audience },
    /// On for everybody whom the filters of others let through.
    On,
}

impl State {
    /// The share of users that has the flag on without being named.
    pub(crate) fn share(&self) -> Share {
        match self {
            State::Disabled { .. } => Share::ZERO,
            State::Part { share, .. } => *share,
            State::On => Share::FULL,
        }
    }

    /// Whether nobody has it on who would not have it on in the other too.
    pub(crate) fn is_within(&self, other: &State) -> bool {
        match (self, other) {
            (State::Disabled { .. }, _) | (_, State::On) => true,
            (State::On, _) | (_, State::Disabled { .. }) => self.is_off(),
            (
                State::Part { share, audience },
                State::Part {
                    share: most,
                    audience: all,
                },
            ) => share <= most && audience.is_within(all),
        }
    }

    /// Whether nobody has it on.
    pub(crate) fn is_off(&self) -> bool {
        match self {
            State::Disabled { .. } => true,
            State::Part { share, audience } => share.is_zero() && audience.is_empty(),
            State::On => false,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Disabled { .. } => f.write_str("disabled"),
            State::Part { share, audience } if audience.is_empty() => write!(f, "{share}"),
            State::Part { share, audience } => write!(
                f,
                "{share}, {} users and {} groups by name",
                audience.users.len(),
                audience.groups.len()
            ),
            State::On => f.write_str("on for all"),
        }
    }
}

impl Flag {
    /// A flag that does not exist yet.
    pub(crate) fn named(name: &str) -> Flag {
        let value = json!({"id": name, "description": "", "enabled": false, "conditions": {"client_filters": []}});
        Flag(value.as_object().cloned().unwrap_or_default())
    }

    /// *Errors*: what is not as Microsoft's schema of a flag has it.
    pub(crate) fn parse(text: &str) -> Result<Flag, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("its value is no JSON: {error}"))?;
        let Value::Object(map) = value else {
            return Err("its value is no object".to_owned());
        };
        if !map.get("enabled").is_none_or(Value::is_boolean) {
            return Err("`enabled` is neither true nor false".to_owned());
        }
        match map.get("conditions") {
            None | Some(Value::Null) => {}
            Some(Value::Object(conditions)) => match conditions.get("client_filters") {
                None | Some(Value::Null) => {}
                Some(Value::Array(filters)) if filters.iter().all(|filter| name(filter).is_some()) => {}
                Some(_) => return Err("`conditions.client_filters` is no list of named filters".to_owned()),
            },
            Some(_) => return Err("`conditions` is no object".to_owned()),
        }
        Ok(Flag(map))
    }

    pub(crate) fn text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    fn is_enabled(&self) -> bool {
        self.0.get("enabled").and_then(Value::as_bool).unwrap_or(false)
    }

    fn filters(&self) -> &[Value] {
        let filters = self
            .0
            .get("conditions")
            .and_then(|conditions| conditions.get("client_filters"));
        filters.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// What the flag says.
    ///
    /// *Errors*: a state whose share cannot be told, or cannot be held by one filter.
    pub(crate) fn state(&self, filter: Filter) -> Result<State, String> {
        let mut ours = self.filters().iter().filter(|each| is(each, filter));
        let found = ours.next();
        if ours.next().is_some() {
            return Err(format!("it has more than one filter `{}`", filter.name()));
        }
        let (share, audience) = match found {
            Some(found) => parameters(found, filter)?,
            None => (Share::ZERO, Audience::default()),
        };
        if !self.is_enabled() {
            return Ok(State::Disabled { share, audience });
        }
        Ok(match found {
            Some(_) => State::Part { share, audience },
            None => State::On,
        })
    }

    /// Why a share cannot be held beside the filters of others, where it cannot: a flag with several filters is on when any of
    /// them says so, unless it asks for all.
    pub(crate) fn hindrance(&self, filter: Filter) -> Option<String> {
        let others: Vec<&str> = self
            .filters()
            .iter()
            .filter(|each| !is(each, filter))
            .filter_map(name)
            .collect();
        let conditions = self.0.get("conditions");
        let requirement = conditions.and_then(|conditions| conditions.get("requirement_type")?.as_str());
        let asks_for_all = requirement.is_some_and(|requirement| requirement.eq_ignore_ascii_case("all"));
        if !others.is_empty() && !asks_for_all {
            return Some(format!(
                "it has filters of others ({}) and is on when any of them says so: set its `requirement_type` to `All`, or take \
                 them out",
                others.join(", ")
            ));
        }
        let has_variants = self.0.get("allocation").is_some_and(|allocation| !is_empty(allocation));
        has_variants.then(|| "it allocates variants, which its filters do not decide about".to_owned())
    }

    /// The flag off for everybody, whatever its filters hold.
    pub(crate) fn disabled(&self) -> Flag {
        let mut flag = self.clone();
        flag.0.insert("enabled".to_owned(), Value::Bool(false));
        flag
    }

    /// The flag in another state; everything that is not ours stays as it is.
    pub(crate) fn with(&self, state: &State, filter: Filter) -> Flag {
        let (is_enabled, wanted) = match state {
            State::Disabled { share, audience } => (false, Some((*share, audience))),
            State::Part { share, audience } => (true, Some((*share, audience))),
            State::On => (true, None),
        };
        let mut filters: Vec<Value> = self.filters().to_vec();
        let place = filters.iter().position(|each| is(each, filter));
        match (wanted, place) {
            (Some((share, audience)), Some(place)) => {
                let parameters = filters[place].get("parameters").cloned().unwrap_or_default();
                filters[place]["parameters"] = edited(&parameters, filter, share, audience);
            }
            (Some((share, audience)), None) => {
                let parameters = edited(&Value::Null, filter, share, audience);
                filters.push(json!({"name": filter.name(), "parameters": parameters}));
            }
            (None, Some(place)) => {
                filters.remove(place);
            }
            (None, None) => {}
        }
        let mut flag = self.clone();
        flag.0.insert("enabled".to_owned(), Value::Bool(is_enabled));
        let conditions = flag.0.entry("conditions").or_insert_with(|| json!({}));
        if !conditions.is_object() {
            *conditions = json!({});
        }
        conditions["client_filters"] = Value::Array(filters);
        flag
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn name(filter: &Value) -> Option<&str> {
    filter.get("name")?.as_str()
}

fn is(each: &Value, filter: Filter) -> bool {
    name(each).is_some_and(|name| name.eq_ignore_ascii_case(filter.name()))
}

/// Share and audience of one of our filters.
fn parameters(found: &Value, filter: Filter) -> Result<(Share, Audience), String> {
    let parameters = found.get("parameters").unwrap_or(&Value::Null);
    if filter == Filter::Percentage {
        return Ok((share(parameters.get("Value"), "Value")?, Audience::default()));
    }
    let said = parameters.get("Audience").unwrap_or(&Value::Null);
    let mut audience = Audience::default();
    for user in list(said, "Users")? {
        let user = user.as_str().ok_or("`Audience.Users` holds what is no name")?;
        audience.users.insert(user.to_owned());
    }
    for group in list(said, "Groups")? {
        let name = group
            .get("Name")
            .and_then(Value::as_str)
            .ok_or("`Audience.Groups` holds a group without a name")?;
        let share = share(group.get("RolloutPercentage"), "RolloutPercentage")?;
        audience.groups.insert(name.to_owned(), share);
    }
    Ok((
        share(said.get("DefaultRolloutPercentage"), "DefaultRolloutPercentage")?,
        audience,
    ))
}

fn list<'a>(audience: &'a Value, key: &str) -> Result<&'a [Value], String> {
    match audience.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("`Audience.{key}` is no list")),
    }
}

/// A percentage as the filters read it: a number, or a text of one, as people's tools write it.
///
/// One between two steps of our scale counts as the larger, because more users than that may have the flag on.
fn share(given: Option<&Value>, key: &str) -> Result<Share, String> {
    let odd = || format!("`{key}` is no percentage");
    let percent = match given {
        None | Some(Value::Null) => return Ok(Share::ZERO),
        Some(Value::String(text)) => text.trim().parse::<f64>().map_err(|_| odd())?,
        Some(number) => number.as_f64().ok_or_else(odd)?,
    };
    if !(0.0..=100.0).contains(&percent) {
        return Err(odd());
    }
    let points = percent * 100.0;
    let near = points.round();
    let points = if (points - near).abs() < 1e-6 {
        near
    } else {
        points.ceil()
    };
    Share::from_basis_points(points as u16).map_err(|_| odd())
}

/// A share as a number; whole percents without a point, as the percentage filter wants them.
fn percentage(share: Share) -> Value {
    match (share.basis_points() / 100, share.basis_points() % 100) {
        (whole, 0) => json!(whole),
        _ => json!(f64::from(share.basis_points()) / 100.0),
    }
}

fn edited(parameters: &Value, filter: Filter, share: Share, audience: &Audience) -> Value {
    let mut edited = if parameters.is_object() {
        parameters.clone()
    } else {
        json!({})
    };
    match filter {
        Filter::Percentage => edited["Value"] = percentage(share),
        Filter::Targeting => {
            if !edited.get("Audience").is_some_and(Value::is_object) {
                edited["Audience"] = json!({});
            }
            let users: Vec<&String> = audience.users.iter().collect();
            let groups = audience
                .groups
                .iter()
                .map(|(name, share)| json!({"Name": name, "RolloutPercentage": percentage(*share)}));
            let said = &mut edited["Audience"];
            said["Users"] = json!(users);
            said["Groups"] = groups.collect();
            said["DefaultRolloutPercentage"] = percentage(share);
        }
    }
    edited
}

#[cfg(test)]
mod tests {
    use super::{Flag, State};
    use crate::app_configuration::audience::Audience;
    use crate::app_configuration::settings::Filter;
    use meridian_workflows::share::Share;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use serde_json::{Value, json};

    fn audiences() -> impl Strategy<Value = Audience> {
        let share = (0_u16..=10_000).prop_map(|points| Share::from_basis_points(points).unwrap());
        (
            proptest::collection::btree_set("[a-z]{1,5}", 0..4),
            proptest::collection::btree_map("[a-z]{1,5}", share, 0..3),
        )
            .prop_map(|(users, groups)| Audience { users, groups })
    }

    fn states() -> impl Strategy<Value = State> {
        let share = (0_u16..=10_000).prop_map(|points| Share::from_basis_points(points).unwrap());
        prop_oneof![
            (share.clone(), audiences()).prop_map(|(share, audience)| State::Disabled { share, audience }),
            (share, audiences()).prop_map(|(share, audience)| State::Part { share, audience }),
            Just(State::On),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_what_is_not_ours_stays(states in proptest::collection::vec(states(), 1..6)) {
            let theirs = json!({"name": "Contoso.Region", "parameters": {"In": ["eu"]}});
            let written = json!({
                "id": "beta", "description": "theirs", "enabled": true, "telemetry": {"enabled": true},
                "conditions": {"requirement_type": "All", "client_filters": [
                    theirs,
                    {"name": "microsoft.targeting", "parameters": {"Audience": {"Exclusion": {"Users": ["eve"]}}, "Odd": 1}},
                ]},
            });
            let mut flag = Flag::parse(&written.to_string()).unwrap();
            for state in states {
                flag = Flag::parse(&flag.with(&state, Filter::Targeting).text()).unwrap();
                match (flag.state(Filter::Targeting).unwrap(), state) {
                    (State::Disabled { .. }, State::Disabled { .. }) => {}
                    (read, state) => assert_eq!(read, state),
                }
                let value: Value = serde_json::from_str(&flag.text()).unwrap();
                assert_eq!(value["conditions"]["client_filters"][0], theirs);
                assert_eq!((&value["description"], &value["telemetry"]["enabled"]), (&json!("theirs"), &json!(true)));
                assert_eq!(flag.hindrance(Filter::Targeting), None);
            }
        }

        #[test]
        fn no_value_breaks_the_reading(text in any::<String>(), number in any::<f64>()) {
            let _ = Flag::parse(&text);
            let filter = json!({"name": "Microsoft.Percentage", "parameters": {"Value": number}});
            let value = json!({"enabled": true, "conditions": {"client_filters": [filter]}});
            let _ = Flag::parse(&value.to_string()).unwrap().state(Filter::Percentage);
        }
    }

    proptest! {
        #[test]
        fn what_lies_within_another_state_takes_the_flag_from_nobody_else(one in states(), other in states()) {
            let users = ["a", "b", "ab", "abc", "zz"];
            let is_on = |state: &State, user: &str| match state {
                State::Disabled { .. } => false,
                State::On => true,
                State::Part { share, audience } => {
                    share.is_full() || audience.users.contains(user) || audience.groups.get(user).is_some_and(|share| share.is_full())
                }
            };
            if one.is_within(&other) {
                assert!(one.share() <= other.share() || other == State::On);
                assert!(users.iter().all(|user| !is_on(&one, user) || is_on(&other, user)), "{one:?} {other:?}");
            }
            assert!(one.is_within(&one));
        }
    }

    fn flag(value: Value) -> Flag {
        Flag::parse(&value.to_string()).unwrap()
    }

    #[test]
    fn a_flag_without_filters_is_on_for_all_and_one_that_is_not_enabled_is_off() {
        let on = flag(json!({"id": "beta", "enabled": true}));
        assert_eq!(on.state(Filter::Percentage), Ok(State::On));
        let off = flag(json!({"id": "beta", "enabled": false, "conditions": {"client_filters": []}}));
        assert!(off.state(Filter::Percentage).unwrap().is_off());
    }

    #[test]
    fn filters_of_others_that_any_of_could_turn_it_on_stand_in_the_way() {
        let others = json!([{"name": "Microsoft.TimeWindow", "parameters": {}}]);
        let any = flag(json!({"enabled": true, "conditions": {"client_filters": others}}));
        assert!(
            any.hindrance(Filter::Percentage)
                .unwrap()
                .contains("Microsoft.TimeWindow")
        );
        let all = flag(json!({"enabled": true, "conditions": {"requirement_type": "All", "client_filters": others}}));
        assert_eq!(all.hindrance(Filter::Percentage), None);
    }

    #[test]
    fn the_percentage_filter_gets_a_whole_number() {
        let state = State::Part {
            share: Share::percent(25).unwrap(),
            audience: Audience::default(),
        };
        let written = Flag::named("beta").with(&state, Filter::Percentage).text();
        assert!(written.contains(r#""Value":25}"#), "{written}");
    }

    #[test]
    fn a_percentage_that_is_none_is_refused() {
        for value in [json!("many"), json!(101), json!(-1), json!(true), json!([1])] {
            let filters = json!([{"name": "Microsoft.Percentage", "parameters": {"Value": value}}]);
            let odd = flag(json!({"enabled": true, "conditions": {"client_filters": filters}}));
            assert!(odd.state(Filter::Percentage).is_err(), "{value}");
        }
    }
}

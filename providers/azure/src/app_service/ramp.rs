//! Ramp-up rules: which part of production's traffic goes to the slot.

use meridian_workflows::share::Share;
use serde_json::{Value, json};

/// A site's ramp-up rules as its configuration has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules(Vec<Value>);

impl Rules {
    /// From `properties` of `config/web`.
    pub(crate) fn of(properties: &Value) -> Rules {
        let rules = properties.pointer("/experiments/rampUpRules").and_then(Value::as_array);
        Rules(rules.cloned().unwrap_or_default())
    }

    /// The share that goes to the slot with this host.
    ///
    /// A number between two steps of our scale counts as the larger, because more traffic than that may be on the candidate.
    ///
    /// *Errors*: a rule whose percentage is none.
    pub(crate) fn share(&self, host: &str) -> Result<Share, String> {
        let ours = self.0.iter().filter(|rule| leads_to(rule, host));
        let mut points = 0_u32;
        for rule in ours {
            points += percentage(rule)?;
        }
        u16::try_from(points)
            .ok()
            .and_then(|points| Share::from_basis_points(points).ok())
            .ok_or_else(|| format!("the ramp-up rules send more than 100% to `{host}`"))
    }

    /// Whether the rule that leads to this host changes by itself.
    pub(crate) fn is_restless(&self, host: &str) -> bool {
        self.0
            .iter()
            .any(|rule| leads_to(rule, host) && changes_by_itself(rule))
    }

    /// Why these rules cannot be worked with beside ours, where they cannot.
    pub(crate) fn foreign(&self, host: &str, slot: &str) -> Option<String> {
        for rule in &self.0 {
            let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
            let points = match percentage(rule) {
                Ok(points) => points,
                Err(why) => return Some(why),
            };
            if !leads_to(rule, host) {
                if points > 0 {
                    let (name, other) = (text("name"), text("actionHostName"));
                    return Some(format!(
                        "the ramp-up rule `{name}` sends traffic to `{other}`, which is not this region's slot"
                    ));
                }
                continue;
            }
            if changes_by_itself(rule) {
                return Some(format!(
                    "the ramp-up rule of slot `{slot}` changes by itself, so that its share cannot be held"
                ));
            }
        }
        None
    }

    /// These rules with `share` for the slot; at 0 % its rule goes, and rules of others stay as they are.
    pub(crate) fn with(&self, host: &str, slot: &str, share: Share) -> Value {
        let mut rules: Vec<Value> = self.0.iter().filter(|rule| !leads_to(rule, host)).cloned().collect();
        if !share.is_zero() {
            let percentage = f64::from(share.basis_points()) / 100.0;
            rules.push(json!({"name": slot, "actionHostName": host, "reroutePercentage": percentage}));
        }
        json!({"properties": {"experiments": {"rampUpRules": rules}}})
    }
}

fn changes_by_itself(rule: &Value) -> bool {
    let has = |key: &str| rule.get(key).is_some_and(|value| !value.is_null());
    has("changeStep") || has("changeIntervalInMinutes") || has("changeDecisionCallbackUrl")
}

fn leads_to(rule: &Value, host: &str) -> bool {
    let action = rule.get("actionHostName").and_then(Value::as_str).unwrap_or_default();
    action.eq_ignore_ascii_case(host)
}

/// A rule's percentage in hundredths of a percent, rounded up.
fn percentage(rule: &Value) -> Result<u32, String> {
    let given = match rule.get("reroutePercentage") {
        None | Some(Value::Null) => return Ok(0),
        Some(given) => given.as_f64(),
    };
    let odd = || {
        let name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
        format!("the ramp-up rule `{name}` has no sound percentage")
    };
    let percent = given
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(odd)?;
    let points = percent * 100.0;
    // Doubles hold hundredths only nearly: 0.29 * 100 is 28.999999999999996.
    let near = points.round();
    let points = if (points - near).abs() < 1e-6 {
        near
    } else {
        points.ceil()
    };
    Ok(points as u32)
}

#[cfg(test)]
mod tests {
    use super::Rules;
    use meridian_workflows::share::Share;
    use proptest::prelude::proptest;
    use serde_json::{Value, json};

    const HOST: &str = "shop-staging.azurewebsites.net";

    fn rules(rules: Value) -> Rules {
        Rules::of(&json!({"experiments": {"rampUpRules": rules}}))
    }

    proptest! {
        #[test]
        fn every_share_survives_the_platforms_double(points in 0_u16..=10_000) {
            let share = Share::from_basis_points(points).unwrap();
            let written = rules(json!([])).with(HOST, "staging", share);
            let text = written.to_string();
            let read: Value = serde_json::from_str(&text).unwrap();
            let read = Rules::of(read.get("properties").unwrap());
            assert_eq!(read.share(HOST), Ok(share));
            assert_eq!(read.foreign(HOST, "staging"), None);
        }

        #[test]
        fn no_number_makes_a_share_that_is_none(percent in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            let read = rules(json!([{"name": "staging", "actionHostName": HOST, "reroutePercentage": percent}]));
            if let Ok(share) = read.share(HOST) {
                assert!(percent.is_nan() || share.fraction() * 100.0 >= percent - 1e-6);
            }
        }
    }

    #[test]
    fn a_number_between_two_steps_counts_as_the_larger() {
        let read = rules(json!([{"actionHostName": HOST, "reroutePercentage": 12.3456}]));
        assert_eq!(read.share(HOST), Ok(Share::from_basis_points(1_235).unwrap()));
    }

    #[test]
    fn rules_of_others_stay_and_are_refused_while_they_carry_traffic() {
        let idle = json!({"name": "other", "actionHostName": "shop-other.azurewebsites.net", "reroutePercentage": 0});
        let read = rules(json!([idle]));
        assert_eq!(read.foreign(HOST, "staging"), None);
        let written = read.with(HOST, "staging", Share::percent(5).unwrap());
        assert_eq!(written["properties"]["experiments"]["rampUpRules"][0], idle);
        let busy = rules(json!([{"name": "other", "actionHostName": "else", "reroutePercentage": 10}]));
        assert!(busy.foreign(HOST, "staging").unwrap().contains("`other`"));
    }

    #[test]
    fn a_rule_that_changes_by_itself_is_refused() {
        let read = rules(json!([{"actionHostName": HOST, "reroutePercentage": 5.0, "changeStep": 5.0}]));
        assert!(read.foreign(HOST, "staging").unwrap().contains("changes by itself"));
    }
}

//! Load balancers and their listeners, each with its default rule.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::elb::action::Action;
use crate::elb::balancers::{Balancers, page_of};
use crate::elb::rule::{Place, Rule};

#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    pub arn: String,
    pub name: String,
    shown: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub arn: String,
    pub balancer: String,
    port: i64,
    protocol: String,
}

impl Balancers {
    pub(super) fn create_load_balancer(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let name = asked.needs("Name")?;
        let subnets = asked.texts("Subnets")?.unwrap_or_default();
        let security = asked.texts("SecurityGroups")?.unwrap_or_default();
        let scheme = asked.one_of("Scheme", &["internet-facing", "internal"])?;
        let kind = asked
            .one_of("Type", &["application", "network"])?
            .unwrap_or_else(|| "application".to_owned());
        let tags = self.tags_of(&mut asked)?;
        asked.done()?;
        if kind == "application" && subnets.len() < 2 {
            let message = "At least two subnets in two different Availability Zones must be specified";
            return Err(Refusal::validation(message));
        }
        if self.balancers.iter().any(|balancer| balancer.name == name) {
            let message = format!("A load balancer with the same name '{name}' exists, but with different settings");
            return Err(Refusal::new("DuplicateLoadBalancerName", 400, message));
        }
        let letter = if kind == "application" { "app" } else { "net" };
        let arn = self.arn(&format!("loadbalancer/{letter}/{name}"));
        let zones: Vec<Value> = subnets
            .iter()
            .zip(["a", "b", "c"].iter().cycle())
            .map(|(subnet, zone)| json!({"SubnetId": subnet, "ZoneName": format!("{}{zone}", self.region)}))
            .collect();
        let shown = json!({
            "LoadBalancerArn": arn,
            "LoadBalancerName": name,
            "DNSName": format!("{name}.{}.elb.amazonaws.com", self.region),
            "Scheme": scheme.unwrap_or_else(|| "internet-facing".to_owned()),
            "Type": kind,
            "State": {"Code": "active"},
            "IpAddressType": "ipv4",
            "SecurityGroups": security,
            "AvailabilityZones": zones,
        });
        let answer = json!({"LoadBalancers": [shown]});
        self.balancers.push(LoadBalancer {
            arn: arn.clone(),
            name,
            shown,
        });
        self.tags.insert(arn, tags);
        Ok(answer)
    }

    pub(super) fn describe_load_balancers(&self, mut asked: Members) -> Result<Value, Refusal> {
        let arns = asked.texts("LoadBalancerArns")?.unwrap_or_default();
        let names = asked.texts("Names")?.unwrap_or_default();
        let (marker, size) = (asked.text("Marker")?, asked.within("PageSize", 1, 400)?);
        asked.done()?;
        for arn in &arns {
            self.balancer(arn)?;
        }
        for name in &names {
            if !self.balancers.iter().any(|balancer| balancer.name == *name) {
                return Err(Refusal::new(
                    "LoadBalancerNotFound",
                    400,
                    format!("Load balancers '[{name}]' not found"),
                ));
            }
        }
        let all: Vec<LoadBalancer> = self
            .balancers
            .iter()
            .filter(|balancer| arns.is_empty() || arns.contains(&balancer.arn))
            .filter(|balancer| names.is_empty() || names.contains(&balancer.name))
            .cloned()
            .collect();
        let page = page_of(&all, |balancer| balancer.arn.clone(), marker, size)?;
        let shown: Vec<Value> = page.items.into_iter().map(|balancer| balancer.shown).collect();
        Ok(json!({"LoadBalancers": shown, "NextMarker": page.next}))
    }

    pub(super) fn create_listener(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let balancer = asked.needs("LoadBalancerArn")?;
        let port = asked
            .within("Port", 1, 65_535)?
            .ok_or_else(|| Refusal::validation("A port must be specified"))?;
        let protocol = asked.one_of("Protocol", &["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP"])?;
        let protocol = protocol.ok_or_else(|| Refusal::validation("A protocol must be specified"))?;
        let actions = asked.list("DefaultActions")?.unwrap_or_default();
        let tags = self.tags_of(&mut asked)?;
        asked.done()?;
        self.balancer(&balancer)?;
        let actions = Action::read_all(actions, &[], |arn| self.is_group(arn))?;
        if self
            .listeners
            .iter()
            .any(|listener| listener.balancer == balancer && listener.port == port)
        {
            return Err(Refusal::new(
                "DuplicateListener",
                400,
                "A listener already exists on this port for this load balancer",
            ));
        }
        let path = balancer.split_once("loadbalancer/").map_or("", |(_, path)| path);
        let arn = self.arn(&format!("listener/{path}"));
        let rule = self.arn(&format!(
            "listener-rule/{}",
            arn.split_once("listener/").map_or("", |(_, path)| path)
        ));
        self.rules.push(Rule {
            arn: rule,
            listener: arn.clone(),
            place: Place::Default,
            conditions: Value::Array(Vec::new()),
            actions,
        });
        self.listeners.push(Listener {
            arn: arn.clone(),
            balancer,
            port,
            protocol,
        });
        self.tags.insert(arn.clone(), tags);
        Ok(json!({"Listeners": [self.shown_listener(&arn)]}))
    }

    pub(super) fn describe_listeners(&self, mut asked: Members) -> Result<Value, Refusal> {
        let balancer = asked.text("LoadBalancerArn")?;
        let arns = asked.texts("ListenerArns")?.unwrap_or_default();
        let (marker, size) = (asked.text("Marker")?, asked.within("PageSize", 1, 400)?);
        asked.done()?;
        if balancer.is_none() && arns.is_empty() {
            return Err(Refusal::validation(
                "You must specify either listener ARNs or a load balancer ARN",
            ));
        }
        if let Some(balancer) = &balancer {
            self.balancer(balancer)?;
        }
        for arn in &arns {
            self.listener(arn)?;
        }
        let all: Vec<String> = self
            .listeners
            .iter()
            .filter(|listener| arns.is_empty() || arns.contains(&listener.arn))
            .filter(|listener| balancer.as_ref().is_none_or(|balancer| listener.balancer == *balancer))
            .map(|listener| listener.arn.clone())
            .collect();
        let page = page_of(&all, String::clone, marker, size)?;
        let shown: Vec<Value> = page.items.iter().map(|arn| self.shown_listener(arn)).collect();
        Ok(json!({"Listeners": shown, "NextMarker": page.next}))
    }

    /// `ModifyListener`: members that are not given stay as they are; the default actions are replaced as a whole.
    pub(super) fn modify_listener(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let arn = asked.needs("ListenerArn")?;
        let port = asked.within("Port", 1, 65_535)?;
        let protocol = asked.one_of("Protocol", &["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP"])?;
        let actions = asked.list("DefaultActions")?;
        asked.done()?;
        self.listener(&arn)?;
        let default = |rule: &&Rule| rule.listener == arn && rule.place == Place::Default;
        let before = self.rules.iter().find(default).map_or(&[][..], |rule| &rule.actions);
        let actions = actions
            .map(|list| Action::read_all(list, before, |group| self.is_group(group)))
            .transpose()?;
        if let Some(listener) = self.listeners.iter_mut().find(|listener| listener.arn == arn) {
            listener.port = port.unwrap_or(listener.port);
            listener.protocol = protocol.unwrap_or_else(|| listener.protocol.clone());
        }
        if let Some(actions) = actions {
            let default = self
                .rules
                .iter_mut()
                .find(|rule| rule.listener == arn && rule.place == Place::Default);
            if let Some(rule) = default {
                rule.actions = actions;
            }
        }
        Ok(json!({"Listeners": [self.shown_listener(&arn)]}))
    }

    pub(super) fn listener(&self, arn: &str) -> Result<&Listener, Refusal> {
        self.listeners
            .iter()
            .find(|listener| listener.arn == arn)
            .ok_or_else(|| Refusal::new("ListenerNotFound", 400, format!("Listeners '{arn}' not found")))
    }

    fn shown_listener(&self, arn: &str) -> Value {
        let Some(listener) = self.listeners.iter().find(|listener| listener.arn == arn) else {
            return Value::Null;
        };
        let default = self
            .rules
            .iter()
            .find(|rule| rule.listener == arn && rule.place == Place::Default);
        let actions = default.map_or(Vec::new(), |rule| Action::shown_all(&rule.actions));
        json!({
            "ListenerArn": listener.arn,
            "LoadBalancerArn": listener.balancer,
            "Port": listener.port,
            "Protocol": listener.protocol,
            "DefaultActions": actions,
        })
    }
}

//! The health of a target group's targets, as its health check sees the tasks behind it.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::refusal::Refusal;
use crate::elb::balancers::Balancers;

/// One registered target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub id: String,
    pub port: i64,
    pub zone: String,
    pub health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Registered; the first checks are under way.
    Initial,
    Healthy,
    /// The check fails with this status.
    Unhealthy(u16),
    Draining,
}

impl Balancers {
    pub(super) fn describe_target_health(&self, mut asked: Members, targets: &[Target]) -> Result<Value, Refusal> {
        let arn = asked.needs("TargetGroupArn")?;
        let wanted = asked.list("Targets")?.unwrap_or_default();
        asked.done()?;
        self.group(&arn)?;
        let attached = self.is_attached(&arn);
        if wanted.is_empty() {
            let shown: Vec<Value> = targets.iter().map(|target| target.shown(attached)).collect();
            return Ok(json!({"TargetHealthDescriptions": shown}));
        }
        let mut shown = Vec::new();
        for mut wanted in wanted {
            let (id, port) = (wanted.needs("Id")?, wanted.within("Port", 1, 65_535)?);
            let found = targets
                .iter()
                .find(|target| target.id == id && port.is_none_or(|port| port == target.port));
            shown.push(found.map_or_else(|| not_registered(&id, port), |target| target.shown(attached)));
        }
        Ok(json!({"TargetHealthDescriptions": shown}))
    }
}

impl Target {
    fn shown(&self, attached: bool) -> Value {
        let (state, reason, description) = match (attached, self.health) {
            (false, _) => (
                "unused",
                Some("Target.NotInUse"),
                Some("Target group is not configured to receive traffic from the load balancer".to_owned()),
            ),
            (true, Health::Initial) => (
                "initial",
                Some("Elb.RegistrationInProgress"),
                Some("Target registration is in progress".to_owned()),
            ),
            (true, Health::Healthy) => ("healthy", None, None),
            (true, Health::Unhealthy(status)) => (
                "unhealthy",
                Some("Target.ResponseCodeMismatch"),
                Some(format!("Health checks failed with these codes: [{status}]")),
            ),
            (true, Health::Draining) => (
                "draining",
                Some("Target.DeregistrationInProgress"),
                Some("Target deregistration is in progress".to_owned()),
            ),
        };
        json!({
            "Target": {"Id": self.id, "Port": self.port, "AvailabilityZone": self.zone},
            "HealthCheckPort": self.port.to_string(),
            "TargetHealth": {"State": state, "Reason": reason, "Description": description},
        })
    }
}

fn not_registered(id: &str, port: Option<i64>) -> Value {
    json!({
        "Target": {"Id": id, "Port": port},
        "TargetHealth": {
            "State": "unused",
            "Reason": "Target.NotRegistered",
            "Description": "Target is not registered to the target group",
        },
    })
}

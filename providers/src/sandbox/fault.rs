//! What can be wrong with a version: each fault is something real releases suffer from.

use serde::{Deserialize, Serialize};

use crate::sandbox::quantity::{Bytes, Percent, Span};

/// How one version behaves where it differs from a healthy one. The default is a healthy version.
///
/// Written in a workflow's region settings or posted while the sandbox runs; instances that are already up follow at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Faults {
    /// The part of requests that is answered with 500.
    #[serde(skip_serializing_if = "is_none")]
    pub errors: Percent,
    /// Added to every answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Span>,
    /// Memory held from the start, when it is not the usual amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Memory that grows until the instance is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_leak: Option<MemoryLeak>,
    /// The process ends by itself, again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_loop: Option<CrashLoop>,
    /// The process runs and its `/healthz` answers 503 for ever.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub never_ready: bool,
    /// Added to the time an instance takes until it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
    /// The cloud itself cannot carry out a deployment of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck_deploy: Option<StuckDeploy>,
}

/// Memory that is never given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MemoryLeak {
    /// Growth for every second that an instance runs.
    pub per_second: Bytes,
    /// Growth for every request that an instance answers.
    pub per_request: Bytes,
    /// Where the instance is killed (exit code 137); without one it grows to [`LIMIT_DEFAULT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Bytes>,
}

/// The memory limit of an instance whose leak names none.
pub const LIMIT_DEFAULT: Bytes = Bytes(1 << 30);

/// A process that ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CrashLoop {
    /// What the process exits with.
    #[serde(default = "exit_code_default")]
    pub exit_code: u8,
    /// How long it runs before that; the default ends it before it is ever ready.
    #[serde(default)]
    pub after: Span,
}

fn exit_code_default() -> u8 {
    1
}

/// A deployment that hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StuckDeploy {
    /// What the cloud says about it.
    pub reason: String,
    /// Shares from here up hang, lower ones work; without it not even an instance starts. Lowering a share always works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Percent>,
}

impl Faults {
    /// Why no instance of this version can start, when none can.
    pub fn blocks_start(&self) -> Option<&str> {
        self.stuck_deploy
            .as_ref()
            .filter(|stuck| stuck.from.is_none())
            .map(|stuck| stuck.reason.as_str())
    }

    /// Why the version's share cannot rise to `share`, when it cannot.
    pub fn blocks_rise(&self, share: Percent) -> Option<&str> {
        let stuck = self.stuck_deploy.as_ref()?;
        stuck
            .from
            .is_none_or(|from| share >= from)
            .then_some(stuck.reason.as_str())
    }

    /// Where an instance of this version is killed for its memory.
    pub fn memory_limit(&self) -> Bytes {
        self.memory_leak.and_then(|leak| leak.limit).unwrap_or(LIMIT_DEFAULT)
    }
}

fn is_none(percent: &Percent) -> bool {
    *percent == Percent::NONE
}

#[cfg(test)]
mod tests {
    use super::{Faults, LIMIT_DEFAULT};
    use crate::sandbox::quantity::{Bytes, Percent};

    fn faults(json: &str) -> Faults {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_profile_reads_as_a_workflow_writes_it() {
        let leaky = faults(r#"{"memoryLeak": {"perSecond": "2Mi", "limit": "512Mi"}, "errors": "0%"}"#);
        assert_eq!(leaky.memory_leak.unwrap().per_second, Bytes(2 << 20));
        assert_eq!(leaky.memory_limit(), Bytes(512 << 20));
        assert_eq!(faults("{}").memory_limit(), LIMIT_DEFAULT);
    }

    #[test]
    fn an_unknown_fault_is_refused() {
        assert!(serde_json::from_str::<Faults>(r#"{"erors": "1%"}"#).is_err());
    }

    #[test]
    fn a_stuck_share_lets_lower_shares_pass() {
        let stuck = faults(r#"{"stuckDeploy": {"reason": "quota", "from": "50%"}}"#);
        let share = |raw| Percent::new(raw).unwrap();
        assert_eq!(stuck.blocks_start(), None);
        assert_eq!(stuck.blocks_rise(share(4_900)), None);
        assert_eq!(stuck.blocks_rise(share(5_000)), Some("quota"));
        assert_eq!(
            faults(r#"{"stuckDeploy": {"reason": "no image"}}"#).blocks_start(),
            Some("no image")
        );
    }
}

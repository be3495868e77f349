//! Which kinds of cloud, gate, metric source and notifier exist: handed in from above, so that the language can complain
//! about an unknown cloud with line and column without knowing one.

use crate::duration::Duration;
use crate::workflow::Exposure;

/// One kind of region provider and what its platform can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderKind {
    /// The key in a region, as in `{sandbox: {…}}`.
    pub name: &'static str,
    pub availability: Availability,
    /// Keys that the provider's settings may have; checked with did-you-mean.
    pub settings: &'static [SettingKey],
    pub read: SettingsReader,
}

/// Reads a region's settings, defaults merged under them, as the provider will when it runs, and says what that target can do.
///
/// *Errors*: why the settings are not sound, as a lower-case phrase that names the key.
#[derive(Clone, Copy, Debug)]
pub struct SettingsReader(pub fn(&serde_json::Value) -> Result<Capabilities, String>);

impl PartialEq for SettingsReader {
    fn eq(&self, other: &SettingsReader) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for SettingsReader {}

/// One key of a provider's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingKey {
    pub name: &'static str,
    pub required: bool,
    pub summary: &'static str,
}

/// What one target's platform can do: `validate` refuses what it cannot, `plan` tells the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    pub shares: Shares,
    /// Mirrored traffic (`shadow` stages).
    pub mirroring: bool,
    /// Who can be let in by name (`audience` stages).
    pub audiences: Audiences,
    /// Whether the candidate can be reached by its testers while it has no live traffic.
    pub preview: bool,
    pub rollback: RollbackSpeed,
    /// What an operator must know before a night with this target, each a whole sentence; `plan` prints them.
    pub remarks: Vec<String>,
}

impl Capabilities {
    /// A platform that splits traffic in steps of `step` hundredths of a percent, and can do nothing beyond that.
    pub fn splitting(step: u16) -> Capabilities {
        Capabilities {
            shares: Shares::Steps(step),
            mirroring: false,
            audiences: Audiences::none(),
            preview: false,
            rollback: RollbackSpeed::Instant,
            remarks: Vec::new(),
        }
    }
}

/// Whom a platform can tell from the rest of a region's traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audiences {
    /// By what an `audience` may be named; nothing where the platform tells nobody apart.
    pub keys: Vec<AudienceKey>,
    /// The cohorts that the target's settings define; none where it takes any.
    pub cohorts: Option<Vec<String>>,
}

impl Audiences {
    /// Nobody is told apart.
    pub fn none() -> Audiences {
        Audiences::by(&[])
    }

    /// Requests are told apart by what they carry, as routers do it.
    pub fn requests() -> Audiences {
        Audiences::by(&[AudienceKey::Header, AudienceKey::Cookie, AudienceKey::Tenants])
    }

    /// Whatever these keys name.
    pub fn by(keys: &[AudienceKey]) -> Audiences {
        Audiences {
            keys: keys.to_vec(),
            cohorts: None,
        }
    }
}

/// A key of a stage's `audience`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudienceKey {
    /// Requests that carry a header.
    Header,
    /// Requests that carry a cookie.
    Cookie,
    /// Everybody of these tenants.
    Tenants,
    /// Users by name.
    Users,
    /// Groups of users by name.
    Groups,
    /// Users and groups by the name that the region's settings give them together.
    Cohort,
}

impl AudienceKey {
    pub const ALL: [AudienceKey; 6] = [
        AudienceKey::Header,
        AudienceKey::Cookie,
        AudienceKey::Tenants,
        AudienceKey::Users,
        AudienceKey::Groups,
        AudienceKey::Cohort,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            AudienceKey::Header => "header",
            AudienceKey::Cookie => "cookie",
            AudienceKey::Tenants => "tenants",
            AudienceKey::Users => "users",
            AudienceKey::Groups => "groups",
            AudienceKey::Cohort => "cohort",
        }
    }
}

/// Which shares of a region's traffic a platform can give to a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shares {
    /// Every multiple of so many hundredths of a percent (1 = 0.01 %).
    Steps(u16),
    /// Whole instances out of so many: a share is rounded down to them, and one that comes to none is refused.
    Instances(u32),
    /// Whole instances, and how many there are is known only when the region is looked at.
    SomeInstances,
    /// All or nothing.
    Whole,
    /// The ladder as a whole decides.
    Ladder(LadderCheck),
}

/// Whether a platform can climb these exposures, in this order.
///
/// *Errors*: what it cannot do and what it could, as a lower-case phrase.
#[derive(Clone, Copy, Debug)]
pub struct LadderCheck(pub fn(&serde_json::Value, &[Exposure]) -> Result<(), String>);

impl PartialEq for LadderCheck {
    fn eq(&self, other: &LadderCheck) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for LadderCheck {}

/// How fast users are back on the baseline once a rollback is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackSpeed {
    /// As fast as a weight is written and read back.
    Instant,
    /// New users at once; those who had been sent to the candidate stay there for up to this long.
    Pinned(Duration),
    /// The old version has to be started again first.
    Restarts,
}

/// One kind of metric source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceKind {
    /// The key in a source, as in `{prometheus: {…}}`.
    pub name: &'static str,
    pub availability: Availability,
    /// Keys that the source's settings may have; checked with did-you-mean. Empty where nothing is known of them.
    pub settings: &'static [SettingKey],
    pub read: SourceReader,
}

/// Reads a source's settings as the source will when it is asked.
///
/// *Errors*: why the settings are not sound, as a lower-case phrase that names the key in backticks.
#[derive(Clone, Copy, Debug)]
pub struct SourceReader(pub fn(&serde_json::Value) -> Result<(), String>);

impl PartialEq for SourceReader {
    fn eq(&self, other: &SourceReader) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for SourceReader {}

/// One kind of gate or notifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    pub availability: Availability,
}

/// Whether a known kind can be run by this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Available,
    /// `validate` warns "not available yet", `run` refuses.
    NotYet,
}

/// Everything the language needs to know about the world's kinds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Vocabulary {
    pub providers: Vec<ProviderKind>,
    pub gates: Vec<Kind>,
    pub sources: Vec<SourceKind>,
    pub notifiers: Vec<Kind>,
}

impl Vocabulary {
    pub fn provider(&self, name: &str) -> Option<&ProviderKind> {
        self.providers.iter().find(|kind| kind.name == name)
    }

    pub fn gate(&self, name: &str) -> Option<Kind> {
        self.gates.iter().copied().find(|kind| kind.name == name)
    }

    pub fn source(&self, name: &str) -> Option<&SourceKind> {
        self.sources.iter().find(|kind| kind.name == name)
    }

    pub fn notifier(&self, name: &str) -> Option<Kind> {
        self.notifiers.iter().copied().find(|kind| kind.name == name)
    }
}

//! Which kinds of cloud, gate, metric source and notifier exist: handed in from above, so that the language can complain
//! about an unknown cloud with line and column without knowing one.

/// One kind of region provider and what its platform can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderKind {
    /// The key in a region, as in `{sandbox: {…}}`.
    pub name: &'static str,
    pub availability: Availability,
    /// Keys that the provider's settings may have; checked with did-you-mean.
    pub settings: &'static [SettingKey],
    /// What the keys alone cannot tell: the provider reads the settings as it will when it runs.
    pub check: Option<SettingsCheck>,
    pub capabilities: Capabilities,
}

/// Reads a region's settings, defaults merged under them.
///
/// *Errors*: why they are not sound, as a lower-case phrase.
#[derive(Clone, Copy, Debug)]
pub struct SettingsCheck(pub fn(&serde_json::Value) -> Result<(), String>);

impl PartialEq for SettingsCheck {
    fn eq(&self, other: &SettingsCheck) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for SettingsCheck {}

/// One key of a provider's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingKey {
    pub name: &'static str,
    pub required: bool,
    pub summary: &'static str,
}

/// What a platform can do; `validate` refuses what it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The finest step of a share that the platform can serve, in hundredths of a percent (1 = 0.01 %).
    pub share_step: u16,
    /// Mirrored traffic (`shadow` stages).
    pub mirroring: bool,
    /// Routing by header, cookie or tenant (`audience` stages).
    pub audiences: bool,
}

/// One kind of gate, metric source or notifier.
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
    pub sources: Vec<Kind>,
    pub notifiers: Vec<Kind>,
}

impl Vocabulary {
    pub fn provider(&self, name: &str) -> Option<&ProviderKind> {
        self.providers.iter().find(|kind| kind.name == name)
    }

    pub fn gate(&self, name: &str) -> Option<Kind> {
        self.gates.iter().copied().find(|kind| kind.name == name)
    }

    pub fn source(&self, name: &str) -> Option<Kind> {
        self.sources.iter().copied().find(|kind| kind.name == name)
    }

    pub fn notifier(&self, name: &str) -> Option<Kind> {
        self.notifiers.iter().copied().find(|kind| kind.name == name)
    }
}

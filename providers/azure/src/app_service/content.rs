//! What a slot runs, as one text that two slots can be compared by.

use std::collections::BTreeMap;

use meridian_engine::run::version::Version;
use meridian_workflows::workflow::Release;
use sha2::{Digest, Sha256};

/// The app setting in which Meridian keeps a package's digest. It is no slot setting, so a swap carries it along with the app.
pub(crate) const PACKAGE_DIGEST: &str = "MERIDIAN_PACKAGE_SHA256";

/// A digest as that setting holds it, bound to the address that it is the digest of: somebody who changes the address alone
/// deploys another package.
pub(crate) fn bound(sha256: &str, url: &str) -> String {
    let address = Sha256::digest(without_query(url).as_bytes());
    let mark: String = address.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{sha256}@{mark}")
}

/// The app setting that App Service runs a package from.
pub(crate) const RUN_FROM_PACKAGE: &str = "WEBSITE_RUN_FROM_PACKAGE";

/// What a slot runs.
///
/// *Guarantees*: two slots with equal contents run the same app as far as the platform tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content(String);

/// What can be put into a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deployable {
    Image(String),
    Package { url: String, sha256: String },
}

impl Deployable {
    /// *Errors*: a release that App Service cannot run.
    pub(crate) fn of(release: &Release) -> Result<Deployable, String> {
        match release {
            Release::Image(image) => {
                if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control() || c == '|') {
                    return Err(format!("`{image}` is no reference of an image"));
                }
                Ok(Deployable::Image(image.clone()))
            }
            Release::Package { url, sha256 } => {
                let is_digest = sha256.len() == 64 && sha256.chars().all(|c| c.is_ascii_hexdigit());
                if !is_digest {
                    return Err("a package's `sha256` is 64 hexadecimal digits".to_owned());
                }
                if !url.starts_with("https://") {
                    return Err("App Service runs packages from https URLs".to_owned());
                }
                Ok(Deployable::Package {
                    url: url.clone(),
                    sha256: sha256.to_ascii_lowercase(),
                })
            }
            Release::TaskDefinition(_) => Err("App Service runs images and packages, not task definitions".to_owned()),
            Release::Flag(_) => {
                Err("App Service runs images and packages; flags belong to `appConfiguration`".to_owned())
            }
        }
    }

    pub(crate) fn content(&self) -> Content {
        match self {
            Deployable::Image(image) => Content(image.clone()),
            Deployable::Package { sha256, .. } => Content(format!("sha256:{sha256}")),
        }
    }

    /// What was pinned, where it can be deployed again: an image by its reference. A package's URL is not in its pin, because
    /// such URLs often carry a signature that is a secret.
    pub(crate) fn again(version: &Version) -> Option<Deployable> {
        let pinned = &version.pinned;
        let is_image = !["sha256:", "package:", "code:"]
            .iter()
            .any(|prefix| pinned.starts_with(prefix))
            && !pinned.contains('|');
        is_image.then(|| Deployable::Image(pinned.clone()))
    }
}

impl Content {
    pub(crate) fn pinned(version: &Version) -> Content {
        Content(version.pinned.clone())
    }

    /// What a slot's configuration says it runs. `fx` is its `linuxFxVersion` or `windowsFxVersion`.
    pub(crate) fn of(fx: &str, settings: &BTreeMap<String, String>) -> Content {
        if let Some((kind, image)) = fx.split_once('|')
            && kind.eq_ignore_ascii_case("docker")
        {
            return Content(image.to_owned());
        }
        let package = settings.get(RUN_FROM_PACKAGE).filter(|value| value.contains("://"));
        match (package, settings.get(PACKAGE_DIGEST)) {
            (Some(url), Some(kept))
                if kept
                    .split_once('@')
                    .is_some_and(|(digest, _)| bound(digest, url) == *kept) =>
            {
                let digest = kept.split('@').next().unwrap_or(kept);
                Content(format!("sha256:{digest}"))
            }
            (Some(url), _) => Content(format!("package:{}", without_query(url))),
            (None, _) => Content(format!("code:{fx}")),
        }
    }

    /// What the slot's app settings say about the version's short name, in telemetry and to people.
    pub(crate) fn version(&self, settings: &BTreeMap<String, String>) -> Version {
        let name = match settings.get(RUN_FROM_PACKAGE).filter(|url| url.contains("://")) {
            Some(url) if self.0.starts_with("sha256:") => last(without_query(url)).to_owned(),
            Some(_) | None => match self.0.split_once(':') {
                Some(("code", _)) => self.0.clone(),
                Some(("package", url)) => last(url).to_owned(),
                Some(_) | None => Release::Image(self.0.clone()).version().to_owned(),
            },
        };
        Version {
            pinned: self.0.clone(),
            ..Version::named(name)
        }
    }
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A URL without its query: what comes after may be a signature.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

fn last(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::{Content, Deployable, PACKAGE_DIGEST, RUN_FROM_PACKAGE, bound};
    use meridian_engine::run::version::Version;
    use meridian_workflows::workflow::Release;
    use std::collections::BTreeMap;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_deployed_is_what_the_slot_then_shows() {
        let image = Deployable::of(&Release::Image("registry.example.com/shop:v2".to_owned())).unwrap();
        let shown = Content::of("DOCKER|registry.example.com/shop:v2", &BTreeMap::new());
        assert_eq!(image.content(), shown);
        assert_eq!(shown.version(&BTreeMap::new()).name, "v2");

        let (url, sha256) = (
            "https://files.example.com/shop-2.zip?sig=hidden".to_owned(),
            "AB".repeat(32),
        );
        let package = Deployable::of(&Release::Package {
            url: url.clone(),
            sha256,
        })
        .unwrap();
        let kept = bound(&"ab".repeat(32), &url);
        let stands = settings(&[(RUN_FROM_PACKAGE, &url), (PACKAGE_DIGEST, &kept)]);
        let shown = Content::of("NODE|20-lts", &stands);
        assert_eq!(package.content(), shown);
        let version = shown.version(&stands);
        assert_eq!(version.name, "shop-2.zip");
        assert!(!version.pinned.contains("hidden"));
        let moved = settings(&[
            (RUN_FROM_PACKAGE, "https://files.example.com/shop-3.zip"),
            (PACKAGE_DIGEST, &kept),
        ]);
        assert_ne!(
            Content::of("NODE|20-lts", &moved),
            shown,
            "another address is another package"
        );
    }

    #[test]
    fn a_signature_in_a_url_never_gets_into_a_version() {
        let stands = settings(&[(RUN_FROM_PACKAGE, "https://files.example.com/a.zip?sig=hidden")]);
        let version = Content::of("", &stands).version(&stands);
        assert_eq!(
            (version.name.as_str(), version.pinned.as_str()),
            ("a.zip", "package:https://files.example.com/a.zip")
        );
    }

    #[test]
    fn only_an_image_can_be_deployed_again_by_its_pin() {
        let again = |pinned: &str| Deployable::again(&Version::named(pinned));
        assert_eq!(again("shop:v1"), Some(Deployable::Image("shop:v1".to_owned())));
        for pinned in ["sha256:abc", "package:https://x/y.zip", "code:NODE|20", "COMPOSE|abc"] {
            assert_eq!(again(pinned), None, "{pinned}");
        }
    }
}

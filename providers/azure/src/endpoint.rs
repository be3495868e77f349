//! Where a service is: an https address, or plain http on this machine's loopback, and nothing else.

use azure_core::http::Url;

/// A service's address.
///
/// *Guarantees*: https, or http to a loopback address; no user, query or fragment; [`Endpoint::url`] is always https, because
/// the policies that carry credentials refuse anything else, and the wire puts plain http back for loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    url: Url,
    is_plain: bool,
}

impl Endpoint {
    /// *Errors*: what is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Endpoint, String> {
        let mut url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it carries a user or password, which belong into a secret".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("`{text}` has a query or fragment"));
        }
        if !url.path().trim_matches('/').is_empty() {
            return Err(format!("`{text}` has a path"));
        }
        let is_plain = match url.scheme() {
            "https" => false,
            "http" if is_loopback(&url) => true,
            "http" => {
                return Err(format!(
                    "`{text}` is plain http: credentials go over https, or to this machine's loopback"
                ));
            }
            other => return Err(format!("`{text}` has the scheme `{other}`, expected https")),
        };
        if is_plain {
            let port = url.port_or_known_default().unwrap_or(80);
            let changed = url.set_scheme("https").and_then(|()| url.set_port(Some(port)));
            changed.map_err(|()| format!("`{text}` has no host"))?;
        }
        url.set_path("/");
        Ok(Endpoint { url, is_plain })
    }

    /// The address as the pipeline knows it, with an empty path.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Host and port, for names of targets and for messages.
    pub(crate) fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default().to_ascii_lowercase();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The path and query of `text` below this endpoint, where it is an absolute path or a URL of the same origin.
    ///
    /// A link that leads elsewhere is none: whoever can write one would otherwise be sent our credentials.
    pub(crate) fn own_link(&self, text: &str) -> Option<String> {
        let link = self.url.join(text).ok()?;
        let is_own = link.host_str() == self.url.host_str()
            && (link.port_or_known_default() == self.url.port_or_known_default())
            && (link.scheme() == "https" || (link.scheme() == "http" && self.is_plain))
            && link.username().is_empty();
        is_own.then(|| match link.query() {
            Some(query) => format!("{}?{query}", link.path()),
            None => link.path().to_owned(),
        })
    }
}

/// Whether a URL's host is this machine by a literal address or the name `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || literal
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn credentials_travel_over_https_or_stay_on_this_machine() {
        for good in [
            "https://management.azure.com",
            "https://a.azconfig.io/",
            "http://127.0.0.1:4000",
            "http://[::1]:1",
        ] {
            Endpoint::parse(good).unwrap();
        }
        for bad in [
            "http://management.azure.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com:80",
            "ftp://127.0.0.1",
            "https://user:word@host",
            "https://host/path",
            "https://host?x=1",
            "nonsense",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_none() {
        let plain = Endpoint::parse("http://127.0.0.1:4000").unwrap();
        assert_eq!(
            plain.own_link("http://127.0.0.1:4000/a/b?x=1").as_deref(),
            Some("/a/b?x=1")
        );
        assert_eq!(plain.own_link("/a?b=c").as_deref(), Some("/a?b=c"));
        assert_eq!(plain.own_link("http://127.0.0.1:4001/a"), None);
        assert_eq!(plain.own_link("//elsewhere.example.com/a"), None);
        let arm = Endpoint::parse("https://management.azure.com").unwrap();
        assert_eq!(
            arm.own_link("https://management.azure.com:443/x").as_deref(),
            Some("/x")
        );
        for elsewhere in [
            "http://management.azure.com/x",
            "https://evil.example.com/x",
            "https://u@management.azure.com/x",
        ] {
            assert_eq!(arm.own_link(elsewhere), None, "{elsewhere}");
        }
    }
}

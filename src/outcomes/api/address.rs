//! Where the data API is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ureq::http::Uri;

/// The base address of the data API, to which its paths are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    base: String,
    is_private: bool,
}

/// Why a text is not the base address of an API.
#[derive(Debug, thiserror::Error)]
#[error("expected an address such as https://api.example.com, {what}")]
pub struct AddressError {
    what: &'static str,
}

impl Address {
    /// The address of one of the API's paths.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{}/{}", self.base, path.trim_start_matches('/'))
    }

    /// Whether nobody on the way can read what is sent: it is encrypted, or stays on this machine.
    pub fn is_private(&self) -> bool {
        self.is_private
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let text = text.trim().trim_end_matches('/');
        let wrong = |what| AddressError { what };
        if !text.contains("://") {
            return Err(wrong("but the scheme is missing"));
        }
        let uri: Uri = text.parse().map_err(|_| wrong("and this is none"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err(wrong("but the scheme is neither http nor https"));
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(wrong("but there is no host"));
        }
        // Neither would be expected to be a secret, and both would be shown.
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("but there is a name or password in it; only a key is used"));
        }
        if text.contains(['?', '#']) {
            return Err(wrong("but there is a query in it"));
        }
        let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let is_local = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        Ok(Address { base: text.to_owned(), is_private: scheme == "https" || is_local })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_and_paths() {
        for (text, joined, is_private) in [
            ("https://a.example/", "https://a.example/x/y", true),
            ("https://a.example:8443/v1//", "https://a.example:8443/v1/x/y", true),
            ("http://127.0.0.1:80", "http://127.0.0.1:80/x/y", true),
            ("http://[::1]:80", "http://[::1]:80/x/y", true),
            ("http://a.example", "http://a.example/x/y", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.join("/x/y").as_str(), address.is_private()), (joined, is_private));
        }
    }

    #[test]
    fn what_is_no_base_is_refused_without_repeating_it() {
        for (text, part) in [
            ("", "scheme is missing"),
            ("https://a b", "none"),
            ("a.example/path", "scheme is missing"),
            ("ftp://a.example", "neither http nor https"),
            ("https://me:s3cret@a.example", "name or password"),
            ("https://a.example?key=s3cret", "query"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}

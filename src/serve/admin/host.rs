//! Protection from web sites that reach this machine through their visitors' browsers.
//!
//! A site can give its own name the address 127.0.0.1 and then read what is served there as if it
//! were its own (DNS rebinding). The browser still sends the site's name as host.

use axum::http::{HeaderMap, header};

/// Whether the request names this machine as its host, on whatever port.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(names_this_machine)
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|letter| letter.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name, "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_names_of_this_machine() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:9091", true),
            ("127.0.0.1:1", true),
            ("[::1]:9091", true),
            ("[::1]", true),
            ("localhost:", true),
            ("", false),
            ("::1", false),
            ("127.0.0.1.example.com", false),
            ("localhost.example.com:9091", false),
            ("example.com:9091", false),
            ("127.0.0.2", false),
            ("localhost:80:evil", false),
            ("evil@localhost", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_local(&headers), expected, "{host}");
        }
        assert!(!is_local(&HeaderMap::new()));
        let mut two = HeaderMap::new();
        two.append(header::HOST, HeaderValue::from_static("localhost"));
        two.append(header::HOST, HeaderValue::from_static("example.com"));
        assert!(!is_local(&two));
    }
}

//! Reads the headers of a request.

use std::str::FromStr;

use axum::http::HeaderMap;

use crate::subnet::synapse::Terminal;

/// What the caller says of itself.
pub const DENDRITE_PREFIX: &str = "bt_header_dendrite_";
/// What the caller says of us, and what we say of ourselves.
pub const AXON_PREFIX: &str = "bt_header_axon_";

/// UUIDs have 36 letters; this is how many are kept as a key of the nonce store.
const LONGEST_UUID: usize = 64;

/// A header that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header `{name}` should be {expected}, but is `{value}`")]
pub struct HeaderError {
    /// The header.
    pub name: String,
    /// What it should hold.
    pub expected: &'static str,
    /// What it holds, shortened.
    pub value: String,
}

/// The headers of a request that mean something to us.
#[derive(Debug, Clone, Default)]
pub struct RequestHeaders {
    /// How long the caller waits.
    pub timeout_seconds: Option<f64>,
    /// The hash that the signature covers; empty when there is none.
    pub computed_body_hash: String,
    /// What the caller says of itself.
    pub dendrite: Terminal,
    /// What the caller says of us.
    pub axon: Terminal,
}

impl RequestHeaders {
    /// Reads the headers, and refuses what the reference axon refuses: text where a number belongs.
    pub fn parse(headers: &HeaderMap) -> Result<Self, HeaderError> {
        for name in ["header_size", "total_size"] {
            whole::<i64>(headers, name)?;
        }
        Ok(RequestHeaders {
            timeout_seconds: timeout(headers)?,
            computed_body_hash: text(headers, "computed_body_hash")?.unwrap_or_default().to_owned(),
            dendrite: terminal(headers, DENDRITE_PREFIX)?,
            axon: terminal(headers, AXON_PREFIX)?,
        })
    }
}

fn terminal(headers: &HeaderMap, prefix: &str) -> Result<Terminal, HeaderError> {
    let name = |field: &str| format!("{prefix}{field}");
    let owned = |field: &str| Ok(text(headers, &name(field))?.map(str::to_owned));
    whole::<i64>(headers, &name("status_code"))?;
    let uuid_name = name("uuid");
    let uuid = text(headers, &uuid_name)?;
    if let Some(long) = uuid.filter(|uuid| uuid.len() > LONGEST_UUID) {
        return Err(error(&uuid_name, "a UUID", long));
    }
    Ok(Terminal {
        ip: owned("ip")?,
        port: whole(headers, &name("port"))?,
        version: whole(headers, &name("version"))?,
        nonce: whole(headers, &name("nonce"))?,
        uuid: uuid.map(str::to_owned),
        hotkey: owned("hotkey")?,
        signature: owned("signature")?,
    })
}

fn timeout(headers: &HeaderMap) -> Result<Option<f64>, HeaderError> {
    let Some(value) = text(headers, "timeout")? else { return Ok(None) };
    match value.trim().parse::<f64>() {
        // An infinite patience is none that we need to share: the timeout is capped later.
        Ok(seconds) if seconds >= 0.0 => Ok(Some(seconds)),
        _ => Err(error("timeout", "a number of seconds, 0 or more", value)),
    }
}

fn whole<T: FromStr>(headers: &HeaderMap, name: &str) -> Result<Option<T>, HeaderError> {
    let Some(value) = text(headers, name)? else { return Ok(None) };
    let expected = if name.ends_with("port") { "a port number" } else { "a whole number" };
    value.trim().parse().map(Some).map_err(|_| error(name, expected, value))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, HeaderError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if let Some(second) = values.next() {
        // Which of them was signed, and which goes back, must not be a matter of taste.
        return Err(error(name, "given once", &String::from_utf8_lossy(second.as_bytes())));
    }
    match value.to_str() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(error(name, "ASCII text", &String::from_utf8_lossy(value.as_bytes()))),
    }
}

fn error(name: &str, expected: &'static str, value: &str) -> HeaderError {
    HeaderError { name: name.to_owned(), expected, value: value.chars().take(40).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    #[test]
    fn a_clients_headers_are_read() {
        // What the dendrite of bittensor 10.5.0 sends, less what is not read.
        let parsed = RequestHeaders::parse(&headers(&[
            ("name", "ConversionSynapse"),
            ("timeout", "60.0"),
            ("bt_header_axon_ip", "127.0.0.1"),
            ("bt_header_axon_port", "8091"),
            ("bt_header_dendrite_version", "10005000"),
            ("bt_header_dendrite_nonce", "1763789253123456789"),
            ("bt_header_dendrite_uuid", "5ecbd69c-1cec-11ee-b0dc-e29ce36fec1a"),
            ("bt_header_input_obj_features", "e30="),
            ("header_size", "640"),
            ("total_size", "5543"),
            ("computed_body_hash", "a7ff"),
        ]))
        .unwrap();
        assert_eq!(parsed.timeout_seconds, Some(60.0));
        assert_eq!(parsed.computed_body_hash, "a7ff");
        assert_eq!(parsed.dendrite.nonce, Some(1_763_789_253_123_456_789));
        assert_eq!(parsed.dendrite.version, Some(10_005_000));
        assert_eq!(parsed.dendrite.hotkey, None);
        assert_eq!(parsed.axon.port, Some(8091));
    }

    #[test]
    fn no_headers_are_no_error() {
        let parsed = RequestHeaders::parse(&HeaderMap::new()).unwrap();
        assert_eq!((parsed.timeout_seconds, parsed.dendrite.nonce), (None, None));
    }

    #[test]
    fn a_malformed_header_is_named() {
        let long = "f".repeat(65);
        for (name, value) in [
            ("timeout", "None"),
            ("timeout", "NaN"),
            ("timeout", "-1"),
            ("timeout", ""),
            ("header_size", "big"),
            ("bt_header_dendrite_nonce", "1e18"),
            ("bt_header_dendrite_nonce", "-5"),
            ("bt_header_dendrite_version", "10.5.0"),
            ("bt_header_axon_port", "70000"),
            ("bt_header_axon_status_code", "ok"),
            ("bt_header_dendrite_uuid", &long),
            ("bt_header_dendrite_hotkey", "5G\u{e9}"),
        ] {
            let error = RequestHeaders::parse(&headers(&[(name, value)])).unwrap_err();
            assert_eq!(error.name, name);
            assert!(error.to_string().len() < 200);
        }
        assert!(RequestHeaders::parse(&headers(&[("timeout", "inf")])).is_ok());
    }
}

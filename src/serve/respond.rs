//! The headers of a response, by which the reference client knows what became of its call.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::chain::Keypair;
use crate::subnet::synapse::SYNAPSE_NAME;

use super::headers::{DENDRITE_PREFIX, RequestHeaders};
use super::refusal::{STATUS_CODE, STATUS_MESSAGE, header_text};
use super::verify::response_text;

/// The version of the SDK whose protocol is spoken, as the SDK counts: 10.5.0.
pub const PROTOCOL_VERSION: u64 = 10_005_000;

/// What the message of a success is.
pub(super) const SUCCESS: &str = "Success";

/// Who we say that we are.
#[derive(Debug)]
pub(super) struct Identity {
    /// Our key.
    pub(super) keypair: Keypair,
    /// This run of the miner.
    pub(super) uuid: String,
    /// Where we can be reached, if the operator says so.
    pub(super) external_ip: Option<String>,
    /// At which port, if the operator says so.
    pub(super) external_port: Option<u16>,
}

impl Identity {
    /// The headers of an answer that is signed for the caller. The status is 200.
    pub(super) fn success(
        &self,
        request: &HeaderMap,
        parsed: &RequestHeaders,
        nonce: u64,
        process_time_seconds: f64,
    ) -> HeaderMap {
        let mut headers = self.common(request, process_time_seconds);
        headers.insert(STATUS_CODE, HeaderValue::from_static("200"));
        headers.insert(STATUS_MESSAGE, HeaderValue::from_static(SUCCESS));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Where the operator does not say how we are reached, the caller knows.
        let ip = self.external_ip.as_ref().or(parsed.axon.ip.as_ref());
        if let Some(ip) = ip {
            headers.insert("bt_header_axon_ip", header_text(ip));
        }
        if let Some(port) = self.external_port.or(parsed.axon.port) {
            headers.insert("bt_header_axon_port", HeaderValue::from(port));
        }
        let caller = parsed.dendrite.hotkey.as_deref().unwrap_or_default();
        let message = response_text(nonce, caller, self.keypair.address(), &self.uuid);
        headers.insert("bt_header_axon_nonce", HeaderValue::from(nonce));
        headers.insert("bt_header_axon_signature", header_text(&self.keypair.sign(&message)));
        headers
    }

    /// What a refusal carries too. It is not signed: the caller may be anybody.
    pub(super) fn common(&self, request: &HeaderMap, process_time_seconds: f64) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(24);
        headers.insert("name", HeaderValue::from_static(SYNAPSE_NAME));
        headers.insert("bt_header_axon_version", HeaderValue::from(PROTOCOL_VERSION));
        headers.insert("bt_header_axon_uuid", header_text(&self.uuid));
        headers.insert("bt_header_axon_hotkey", header_text(self.keypair.address()));
        let process_time = header_text(&format!("{process_time_seconds:?}"));
        headers.insert("bt_header_axon_process_time", process_time);
        for (name, value) in request {
            if is_echoed(name) {
                headers.insert(name, value.clone());
            }
        }
        headers
    }
}

/// Whether the caller gets the header back.
fn is_echoed(name: &HeaderName) -> bool {
    name == "timeout" || name == "computed_body_hash" || name.as_str().starts_with(DENDRITE_PREFIX)
}

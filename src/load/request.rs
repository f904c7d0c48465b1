//! Requests as the reference client sends them, byte for byte but for what it cannot know of us.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::serve::PROTOCOL_VERSION;
use crate::subnet::synapse::{EMPTY_BODY_HASH, SYNAPSE_NAME};

use super::question::Question;
use super::sign::Signed;

/// The size of the synapse in the client's memory: informative, and refused if it is no number.
const TOTAL_SIZE: u32 = 7775;

/// The text around what changes from request to request, of one connection.
#[derive(Debug)]
pub(super) struct RequestText {
    /// To the nonce.
    head_start: String,
    /// From the nonce to the signature.
    head_middle: String,
    /// To the nonce.
    body_start: String,
    /// From the nonce to the signature.
    body_middle: String,
    /// From the signature to the features.
    body_end: String,
}

impl RequestText {
    /// Requests of this caller to this axon.
    pub(super) fn new(
        axon: SocketAddr,
        axon_hotkey: &str,
        caller_hotkey: &str,
        uuid: &str,
        timeout_seconds: f64,
    ) -> Self {
        let (ip, port) = (axon.ip(), axon.port());
        let unknown = r#""status_code": null, "status_message": null, "process_time": null"#;
        RequestText {
            head_start: format!(
                "POST /{SYNAPSE_NAME} HTTP/1.1\r\nHost: {axon}\r\nname: {SYNAPSE_NAME}\r\n\
                 timeout: {timeout_seconds:?}\r\nbt_header_axon_ip: {ip}\r\n\
                 bt_header_axon_port: {port}\r\nbt_header_axon_hotkey: {axon_hotkey}\r\n\
                 bt_header_dendrite_ip: {ip}\r\nbt_header_dendrite_version: {PROTOCOL_VERSION}\r\n\
                 bt_header_dendrite_nonce: "
            ),
            head_middle: format!(
                "\r\nbt_header_dendrite_uuid: {uuid}\r\nbt_header_dendrite_hotkey: {caller_hotkey}\
                 \r\nbt_header_dendrite_signature: 0x"
            ),
            body_start: format!(
                r#"{{"name": "{SYNAPSE_NAME}", "timeout": {timeout_seconds:?}, "total_size": {TOTAL_SIZE}, "header_size": 0, "dendrite": {{{unknown}, "ip": "{ip}", "port": null, "version": {PROTOCOL_VERSION}, "nonce": "#
            ),
            body_middle: format!(
                r#", "uuid": "{uuid}", "hotkey": "{caller_hotkey}", "signature": "0x"#
            ),
            body_end: format!(
                r#""}}, "axon": {{{unknown}, "ip": "{ip}", "port": {port}, "version": null, "nonce": null, "uuid": null, "hotkey": "{axon_hotkey}", "signature": null}}, "computed_body_hash": "", "features": "#
            ),
        }
    }

    /// Writes the request over what `buffer` holds.
    pub(super) fn write(&self, buffer: &mut Vec<u8>, question: &Question, signed: &Signed) {
        let mut digits = [0u8; 128];
        hex::encode_to_slice(signed.signature, &mut digits)
            .expect("64 bytes are 128 digits. This is a bug.");
        let mut nonce = [0u8; 20];
        let nonce = decimal(&mut nonce, signed.nonce);
        let test_pk = question.test_pk.as_deref();
        let outputs = r#", "prediction": null, "confidence": null, "response_time": null, "miner_uid": null}"#;
        let body: [&[u8]; 10] = [
            self.body_start.as_bytes(),
            nonce,
            self.body_middle.as_bytes(),
            &digits,
            self.body_end.as_bytes(),
            question.features.as_bytes(),
            if test_pk.is_some() { br#", "test_pk": ""# } else { b"" },
            test_pk.unwrap_or_default().as_bytes(),
            if test_pk.is_some() { b"\"" } else { b"" },
            outputs.as_bytes(),
        ];
        let head: [&[u8]; 6] = [
            self.head_start.as_bytes(),
            nonce,
            self.head_middle.as_bytes(),
            &digits,
            b"\r\nbt_header_input_obj_features: e30=",
            // The base64 of an empty text.
            if test_pk.is_some() { b"\r\nbt_header_input_obj_test_pk: IiI=" } else { b"" },
        ];
        buffer.clear();
        head.iter().for_each(|part| buffer.extend_from_slice(part));
        let length: usize = body.iter().map(|part| part.len()).sum();
        write!(
            buffer,
            "\r\nheader_size: 464\r\ntotal_size: {TOTAL_SIZE}\r\n\
             computed_body_hash: {EMPTY_BODY_HASH}\r\nAccept: */*\r\n\
             Accept-Encoding: gzip, deflate\r\nUser-Agent: convminer/{}\r\n\
             Content-Length: {length}\r\nContent-Type: application/json\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
        )
        .expect("a Vec takes any bytes. This is a bug.");
        body.iter().for_each(|part| buffer.extend_from_slice(part));
    }
}

/// The number's decimal digits.
fn decimal(digits: &mut [u8; 20], number: u64) -> &[u8] {
    let mut rest = &mut digits[..];
    write!(rest, "{number}").expect("a u64 has 20 digits at most. This is a bug.");
    let unused = rest.len();
    &digits[..20 - unused]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Keypair;
    use crate::load::question::questions;
    use crate::serve::verify::request_text;
    use crate::subnet::synapse::ConversionSynapse;

    #[test]
    fn a_request_is_what_a_server_expects() {
        let (caller, axon) = (Keypair::generate(), Keypair::generate());
        let address: SocketAddr = "127.0.0.1:8091".parse().unwrap();
        let text = RequestText::new(address, axon.address(), caller.address(), "u-1", 60.0);
        let questions = questions(1);
        let mut buffer = b"what was there before".to_vec();
        for (nonce, question) in (1_763_789_253_000_000_000..).zip(&questions[..10]) {
            let signed = Signed::new(&caller, axon.address(), "u-1", nonce);
            text.write(&mut buffer, question, &signed);
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut headers);
            let end = request.parse(&buffer).unwrap().unwrap();
            assert_eq!(request.path, Some("/ConversionSynapse"));
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name == name);
                std::str::from_utf8(found.unwrap().value).unwrap()
            };
            let body = &buffer[end..];
            assert_eq!(header("Content-Length"), body.len().to_string());
            assert_eq!(header("timeout"), "60.0");
            assert_eq!(header("bt_header_dendrite_nonce"), nonce.to_string());
            let message = request_text(
                nonce,
                header("bt_header_dendrite_hotkey"),
                axon.address(),
                header("bt_header_dendrite_uuid"),
                header("computed_body_hash"),
            );
            let signature = header("bt_header_dendrite_signature");
            assert_eq!(caller.public().verify(&message, signature), Ok(()));
            let synapse = ConversionSynapse::parse(body).unwrap();
            assert_eq!(synapse.features(), question.features.as_bytes());
            // The synapse is JSON for a strict parser too, but for the NaN of missing cells.
            if !question.features.contains("NaN") {
                let body: serde_json::Value = serde_json::from_slice(body).unwrap();
                assert_eq!(body["dendrite"]["nonce"], nonce);
                assert_eq!(body["dendrite"]["signature"], signature);
                assert_eq!(body["axon"]["port"], 8091);
                assert_eq!(body["test_pk"].as_str(), question.test_pk.as_deref());
            }
        }
    }

    #[test]
    fn numbers_of_any_length() {
        for number in [0, 7, 1_763_789_253_000_000_000, u64::MAX] {
            assert_eq!(decimal(&mut [0; 20], number), number.to_string().as_bytes());
        }
    }
}

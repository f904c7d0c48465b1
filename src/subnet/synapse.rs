//! The wire types: what a validator sends to a miner, and what it gets back.

mod document;

use crate::subnet::reward::{Answer, AnswerFault};

pub use document::{Document, DocumentError};

/// The name of the synapse, which is also its route.
pub const SYNAPSE_NAME: &str = "ConversionSynapse";

/// The body hash of a synapse that names no hashed fields, as this one: SHA3-256 of nothing.
// python: hashlib.sha3_256(b"").hexdigest()
pub const EMPTY_BODY_HASH: &str =
    "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a";

/// Why a body is not a synapse that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum SynapseError {
    /// The body is no JSON object.
    #[error("the body cannot be read: {0}")]
    Document(#[from] DocumentError),
    /// The body has no `features`, or they are no object.
    #[error("the body should hold `features` as a JSON object, but {found}")]
    Features {
        /// What was there.
        found: &'static str,
    },
    /// The answer in the body is not what the network allows.
    #[error("the answer is not valid: {0}")]
    Answer(#[from] AnswerFault),
    /// The class is neither 0 nor 1.
    #[error("`conversion_happened` should be 0 or 1, but is {0}")]
    Class(i64),
    /// The body of a response has an output that is missing or of a wrong type.
    #[error("the body should hold the answer as `{expected}`")]
    Output {
        /// The output and its type.
        expected: &'static str,
    },
}

/// What a miner predicts of a conversation, by the network's rules: the `prediction` of the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction(Answer);

impl Prediction {
    /// Accepts an answer for which a validator's checks pass.
    pub fn new(answer: Answer) -> Result<Self, AnswerFault> {
        answer.check()?;
        Ok(Prediction(answer))
    }

    /// The same as an [`Answer`].
    pub fn answer(&self) -> Answer {
        self.0
    }

    /// The `prediction` object of the wire.
    fn to_json(self) -> String {
        let class = u8::from(self.0.converted);
        let time = json_float(self.0.time_seconds);
        format!(r#"{{"conversion_happened": {class}, "time_to_conversion_seconds": {time}}}"#)
    }
}

/// What became of a request at the miner: goes into the `axon` object of the body.
#[derive(Debug, Clone, Copy)]
pub struct AxonStatus<'a> {
    /// The HTTP status.
    pub code: u16,
    /// The status in words.
    pub message: &'a str,
    /// How long the miner worked.
    pub process_time_seconds: f64,
}

/// One question of a validator, kept as the text that came.
///
/// Every key goes back as it came, known or not: validators look for their own. Only the outputs are
/// written.
#[derive(Debug)]
pub struct ConversionSynapse<'a> {
    document: Document<'a>,
    features: &'a [u8],
}

impl<'a> ConversionSynapse<'a> {
    /// Reads the body of a request or of a response.
    pub fn parse(body: &'a [u8]) -> Result<Self, SynapseError> {
        let document = Document::parse(body)?;
        let found = match document.get("features") {
            Some(features) if document.is_object("features") => {
                return Ok(ConversionSynapse { document, features });
            }
            Some(_) => "they are something else",
            None => "there is no such key",
        };
        Err(SynapseError::Features { found })
    }

    /// The text of the `features` object.
    pub fn features(&self) -> &'a [u8] {
        self.features
    }

    /// Fills in what the miner answers.
    pub fn fill(&mut self, prediction: &Prediction, response_time_seconds: f64) {
        self.document.set("prediction", prediction.to_json());
        self.document.set("confidence", json_float(prediction.0.confidence));
        self.document.set("response_time", json_float(response_time_seconds));
    }

    /// Writes into the body's `axon` object what became of the request, as the reference axon does.
    pub fn set_axon_status(&mut self, status: AxonStatus<'_>) {
        // A client fails on an `axon` of null, so it becomes an object in any case.
        let sent = self.document.get("axon").filter(|_| self.document.is_object("axon"));
        let Ok(mut axon) = Document::parse(sent.unwrap_or(b"{}")) else { return };
        axon.set("status_code", status.code.to_string());
        axon.set("status_message", serde_json::Value::from(status.message).to_string());
        axon.set("process_time", json_float(status.process_time_seconds));
        self.document.set("axon", axon.write());
    }

    /// The body with what was filled in.
    pub fn write(&self) -> Vec<u8> {
        self.document.write()
    }

    /// The answer of a response's body, if it is one that a validator accepts.
    pub fn prediction(&self) -> Result<Prediction, SynapseError> {
        #[derive(serde::Deserialize)]
        struct Wire {
            conversion_happened: i64,
            time_to_conversion_seconds: f64,
        }
        let expected = r#"{"conversion_happened": int, "time_to_conversion_seconds": float}"#;
        let wire: Wire = self.output("prediction", expected)?;
        let confidence: f64 = self.output("confidence", "confidence: float")?;
        let converted = match wire.conversion_happened {
            0 => false,
            1 => true,
            other => return Err(SynapseError::Class(other)),
        };
        let time_seconds = wire.time_to_conversion_seconds;
        Ok(Prediction::new(Answer { converted, time_seconds, confidence })?)
    }

    fn output<T>(&self, key: &str, expected: &'static str) -> Result<T, SynapseError>
    where
        T: serde::de::DeserializeOwned,
    {
        let value = self.document.get(key).ok_or(SynapseError::Output { expected })?;
        serde_json::from_slice(value).map_err(|_| SynapseError::Output { expected })
    }
}

/// One end of a call, as the `dendrite` and `axon` objects of the body and the `bt_header_*` headers
/// name it. What is not known stays away.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Terminal {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The version of the protocol that it speaks, as the SDK counts: 10.5.0 is 10005000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<u64>,
    /// A name of this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its key, as SS58.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotkey: Option<String>,
    /// Its signature, as 0x and hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Terminal {
    /// The fields that are known, as text, by name.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("ip", self.ip.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("version", self.version.map(|version| version.to_string())),
            ("nonce", self.nonce.map(|nonce| nonce.to_string())),
            ("uuid", self.uuid.clone()),
            ("hotkey", self.hotkey.clone()),
            ("signature", self.signature.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The body of a question about `features`, in the order of the reference client.
pub fn request_body(
    features: &serde_json::Value,
    timeout_seconds: f64,
    dendrite: &Terminal,
    axon: &Terminal,
) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Wire<'a> {
        name: &'static str,
        timeout: f64,
        total_size: u64,
        header_size: u64,
        dendrite: &'a Terminal,
        axon: &'a Terminal,
        computed_body_hash: &'static str,
        features: &'a serde_json::Value,
        prediction: Option<()>,
        confidence: Option<()>,
        response_time: Option<()>,
        miner_uid: Option<()>,
    }
    let wire = Wire {
        name: SYNAPSE_NAME,
        timeout: timeout_seconds,
        total_size: 0,
        header_size: 0,
        dendrite,
        axon,
        computed_body_hash: "",
        features,
        prediction: None,
        confidence: None,
        response_time: None,
        miner_uid: None,
    };
    serde_json::to_vec(&wire).expect("a synapse has string keys only. This is a bug.")
}

/// A finite number with a decimal point, so that Python reads a float.
fn json_float(value: f64) -> String {
    debug_assert!(value.is_finite());
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVERTED: Answer = Answer { converted: true, time_seconds: 62.5, confidence: 0.75 };
    const NOT: Answer = Answer { converted: false, time_seconds: -1.0, confidence: 0.25 };

    #[test]
    fn only_valid_answers_become_predictions() {
        use AnswerFault::{Confidence, TimeOfConverted, TimeOfNotConverted};
        for (answer, expected) in [
            (CONVERTED, None),
            (NOT, None),
            (Answer { confidence: 0.0, ..NOT }, None),
            (Answer { confidence: 1.0, ..CONVERTED }, None),
            (Answer { confidence: 1.0000001, ..NOT }, Some(Confidence(1.0000001))),
            (Answer { confidence: -0.1, ..NOT }, Some(Confidence(-0.1))),
            (Answer { time_seconds: 0.0, ..CONVERTED }, Some(TimeOfConverted(0.0))),
            (Answer { time_seconds: -1.0, ..CONVERTED }, Some(TimeOfConverted(-1.0))),
            (
                Answer { time_seconds: f64::INFINITY, ..CONVERTED },
                Some(TimeOfConverted(f64::INFINITY)),
            ),
            (Answer { time_seconds: 0.0, ..NOT }, Some(TimeOfNotConverted(0.0))),
        ] {
            assert_eq!(Prediction::new(answer).err(), expected, "{answer:?}");
        }
        assert!(Prediction::new(Answer { confidence: f64::NAN, ..NOT }).is_err());
        assert!(Prediction::new(Answer { time_seconds: f64::NAN, ..NOT }).is_err());
        assert!(Prediction::new(Answer { time_seconds: f64::NAN, ..CONVERTED }).is_err());
    }

    #[test]
    fn outputs_are_filled_and_the_rest_stays() {
        let body = br#"{"name": "ConversionSynapse", "axon": {"ip": "1.2.3.4", "status_code": null}, "features": {"testPk": 7, "x": NaN}, "prediction": null, "confidence": null, "test_pk": "\u00e9 7"}"#;
        let mut synapse = ConversionSynapse::parse(body).unwrap();
        assert_eq!(synapse.features(), br#"{"testPk": 7, "x": NaN}"#);
        synapse.fill(&Prediction::new(CONVERTED).unwrap(), 0.5);
        synapse.set_axon_status(AxonStatus {
            code: 200,
            message: "Success",
            process_time_seconds: 2.0,
        });
        let expected = r#"{"name": "ConversionSynapse", "axon": {"ip": "1.2.3.4", "status_code": 200, "status_message": "Success", "process_time": 2.0}, "features": {"testPk": 7, "x": NaN}, "prediction": {"conversion_happened": 1, "time_to_conversion_seconds": 62.5}, "confidence": 0.75, "test_pk": "\u00e9 7", "response_time": 0.5}"#;
        let written = synapse.write();
        assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
        let answered = ConversionSynapse::parse(&written).unwrap();
        assert_eq!(answered.prediction().unwrap().answer(), CONVERTED);
    }

    #[test]
    fn no_conversion_says_minus_one_as_a_float() {
        let prediction = Prediction::new(NOT).unwrap();
        assert_eq!(
            prediction.to_json(),
            r#"{"conversion_happened": 0, "time_to_conversion_seconds": -1.0}"#
        );
        // Very long and very short times must still be JSON floats.
        for time_seconds in [1e300, 1e-300, 3.0] {
            let prediction = Prediction::new(Answer { time_seconds, ..CONVERTED }).unwrap();
            let value: serde_json::Value = serde_json::from_str(&prediction.to_json()).unwrap();
            assert!(value["time_to_conversion_seconds"].is_f64());
            assert_eq!(value["time_to_conversion_seconds"], time_seconds);
        }
    }

    #[test]
    fn an_axon_that_is_no_object_becomes_one() {
        for body in [r#"{"features": {}, "axon": null}"#, r#"{"features": {}}"#] {
            let mut synapse = ConversionSynapse::parse(body.as_bytes()).unwrap();
            synapse.set_axon_status(AxonStatus {
                code: 200,
                message: "a \"b\"",
                process_time_seconds: 0.25,
            });
            let value: serde_json::Value = serde_json::from_slice(&synapse.write()).unwrap();
            assert_eq!(
                value["axon"],
                serde_json::json!({"status_code": 200, "status_message": "a \"b\"", "process_time": 0.25})
            );
        }
    }

    #[test]
    fn a_body_without_features_is_refused() {
        for (body, part) in [
            ("[]", "expected a JSON object"),
            ("{}", "there is no such key"),
            (r#"{"features": null}"#, "something else"),
            (r#"{"features": [1]}"#, "something else"),
            (r#"{"features": {}, "features": "{}"}"#, "something else"),
        ] {
            let error = ConversionSynapse::parse(body.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(part), "{body}: {error}");
        }
    }

    #[test]
    fn answers_that_break_the_rules_are_not_read() {
        for (outputs, part) in [
            (r#""confidence": 0.5"#, "`{\"conversion_happened\""),
            (
                r#""prediction": {"conversion_happened": true, "time_to_conversion_seconds": 3.0}, "confidence": 0.5"#,
                "conversion_happened",
            ),
            (
                r#""prediction": {"conversion_happened": 2, "time_to_conversion_seconds": 3.0}, "confidence": 0.5"#,
                "but is 2",
            ),
            (
                r#""prediction": {"conversion_happened": 0, "time_to_conversion_seconds": 3.0}, "confidence": 0.5"#,
                "must be -1",
            ),
            (
                r#""prediction": {"conversion_happened": 0, "time_to_conversion_seconds": NaN}, "confidence": 0.5"#,
                "conversion_happened",
            ),
            (
                r#""prediction": {"conversion_happened": 1, "time_to_conversion_seconds": 3.0}"#,
                "confidence",
            ),
            (
                r#""prediction": {"conversion_happened": 1, "time_to_conversion_seconds": 3.0}, "confidence": 7"#,
                "0..=1",
            ),
        ] {
            let body = format!(r#"{{"features": {{}}, {outputs}}}"#);
            let synapse = ConversionSynapse::parse(body.as_bytes()).unwrap();
            let error = synapse.prediction().unwrap_err();
            assert!(error.to_string().contains(part), "{body}: {error}");
        }
    }

    #[test]
    fn a_request_can_be_read_back() {
        let features = serde_json::json!({"session_id": "a", "message_ratio": 1.25});
        let dendrite = Terminal { nonce: Some(5), ..Terminal::default() };
        let body = request_body(&features, 60.0, &dendrite, &Terminal::default());
        let synapse = ConversionSynapse::parse(&body).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(synapse.features()).unwrap();
        assert_eq!(sent, features);
        assert!(matches!(synapse.prediction(), Err(SynapseError::Output { .. })));
        let fields: Vec<_> = dendrite.fields().collect();
        assert_eq!(fields, [("nonce", "5".to_owned())]);
    }
}

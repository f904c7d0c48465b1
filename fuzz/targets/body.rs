//! The body of a request, and the features in it.

use convminer::features::reader;
use convminer::subnet::reward::Answer;
use convminer::subnet::schema::FEATURES;
use convminer::subnet::synapse::{AxonStatus, ConversionSynapse, Prediction};
use serde_json::{Map, Value};

/// What jiter counts a number's digits up to; see the reader's documentation.
const LONGEST_NUMBER: usize = 4000;

/// A body is refused, or comes back with every byte that was not answered.
pub(crate) fn run(bytes: &[u8]) {
    read(bytes);
    let strict = serde_json::from_slice::<Map<String, Value>>(bytes).ok();
    let mut synapse = match ConversionSynapse::parse(bytes) {
        Ok(synapse) => synapse,
        Err(error) => {
            let object =
                strict.is_some_and(|body| body.get("features").is_some_and(Value::is_object));
            assert!(!object || bytes.len() > LONGEST_NUMBER, "refused, but is a synapse: {error}");
            return;
        }
    };
    assert_eq!(synapse.write(), bytes, "untouched text came back changed");
    read(synapse.features());

    let answer = Answer { converted: true, time_seconds: 62.5, confidence: 0.75 };
    let prediction = Prediction::new(answer).expect("the answer is one that validators take");
    synapse.fill(&prediction, 0.25);
    synapse.set_axon_status(AxonStatus {
        code: 200,
        message: "Success",
        process_time_seconds: 0.5,
    });
    let written = synapse.write();
    let answered = ConversionSynapse::parse(&written).expect("the answer is a synapse");
    assert_eq!(answered.features(), synapse.features());
    assert_eq!(answered.prediction().expect("it has just been filled in"), prediction);
    if let Some(asked) = strict {
        let told: Map<String, Value> =
            serde_json::from_slice(&written).expect("the answer to strict JSON is strict JSON");
        assert_eq!(told["axon"]["status_code"], 200);
        let outputs = ["prediction", "confidence", "response_time", "axon"];
        for (key, value) in asked.iter().filter(|(key, _)| !outputs.contains(&key.as_str())) {
            assert_eq!(told.get(key), Some(value), "{key} was not echoed");
        }
    }
}

/// Features are what another parser reads there.
fn read(features: &[u8]) {
    let Ok(reading) = reader::read(features) else { return };
    super::assert_sound(&reading.conversation);
    for oddity in &reading.oddities {
        assert!(oddity.value.chars().count() <= 43, "{oddity}");
    }
    let Ok(strict) = serde_json::from_slice::<Map<String, Value>>(features) else { return };
    for (index, feature) in FEATURES.iter().enumerate() {
        let value = match (strict.get(feature.name), strict.get(feature.camel)) {
            (Some(value), None) | (None, Some(value)) => value,
            (None, None) => &Value::Null,
            // Of two spellings the last counts, and a map has no order.
            (Some(_), Some(_)) if feature.name != feature.camel => continue,
            (Some(value), Some(_)) => value,
        };
        let number = match value {
            Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            Value::Bool(value) => f64::from(u8::from(*value)),
            Value::String(_) => continue,
            _ => f64::NAN,
        };
        let mut expected = convminer::features::Conversation::EMPTY;
        expected.set(index, number);
        let (expected, found) = (expected.values[index], reading.conversation.values[index]);
        // serde_json rounds the last digit of some.
        let near = (expected - found).abs() <= f32::EPSILON * expected.abs();
        assert!(near || expected.to_bits() == found.to_bits(), "{}: {value}", feature.name);
    }
}

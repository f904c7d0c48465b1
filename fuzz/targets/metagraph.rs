//! Metagraph files.

use std::path::Path;

use convminer::chain::{Metagraph, PublicKey};
use serde_json::Value;

/// A file that is accepted holds what it says, and stakes that can be compared.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(metagraph) = Metagraph::parse(Path::new("metagraph.json"), bytes) else { return };
    let list: Vec<Value> = serde_json::from_slice(bytes).expect("it was read as a list");
    assert_eq!(metagraph.len(), list.len());
    for entry in &list {
        let hotkey = entry["hotkey"].as_str().expect("it was read as text");
        let neuron = metagraph.get(hotkey).expect("it is in the list");
        assert!(PublicKey::from_address(hotkey).is_ok());
        assert!(neuron.stake.is_finite() && neuron.stake >= 0.0, "{neuron:?}");
        assert_eq!(Some(u64::from(neuron.uid)), entry["uid"].as_u64());
        assert_eq!(Some(neuron.validator_permit), entry["validator_permit"].as_bool());
    }
}

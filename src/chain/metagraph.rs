//! Who is registered on the subnet, from a JSON file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::ss58::{self, Ss58Error};

/// One neuron of the subnet.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Neuron {
    /// Its place on the subnet.
    pub uid: u16,
    /// Its key, as SS58.
    pub hotkey: String,
    /// How much it holds.
    pub stake: f64,
    /// Whether it may validate.
    pub validator_permit: bool,
}

/// The registered hotkeys.
#[derive(Debug, Clone, Default)]
pub struct Metagraph {
    neurons: HashMap<String, Neuron>,
}

/// Why a metagraph file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetagraphError {
    /// The file cannot be read.
    #[error("the metagraph file `{path}` cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a list.
    #[error("the metagraph file `{path}` should be a JSON list")]
    NotList {
        /// The file.
        path: PathBuf,
        /// Where the JSON ends.
        #[source]
        source: serde_json::Error,
    },
    /// An entry is not a neuron.
    #[error(
        "entry {number} of the metagraph file `{path}` should be \
         {{\"uid\", \"hotkey\", \"stake\", \"validator_permit\"}}"
    )]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// An entry's key is no address.
    #[error("entry {number} of the metagraph file `{path}` has the hotkey `{hotkey}`")]
    Hotkey {
        /// The file.
        path: PathBuf,
        /// The entry, counted from 1.
        number: usize,
        /// Its key.
        hotkey: String,
        /// What is wrong with it.
        #[source]
        source: Ss58Error,
    },
    /// An entry's stake is negative.
    #[error(
        "entry {number} of the metagraph file `{path}` should have a stake of 0 or more, but has {stake}"
    )]
    Stake {
        /// The file.
        path: PathBuf,
        /// The entry, counted from 1.
        number: usize,
        /// Its stake.
        stake: f64,
    },
    /// Two entries have the same key.
    #[error("entry {number} of the metagraph file `{path}` repeats the hotkey `{hotkey}`")]
    Repeated {
        /// The file.
        path: PathBuf,
        /// The second entry, counted from 1.
        number: usize,
        /// The key.
        hotkey: String,
    },
}

impl Metagraph {
    /// Reads a file of the form `[{"uid", "hotkey", "stake", "validator_permit"}, ...]`.
    pub fn read(path: &Path) -> Result<Self, MetagraphError> {
        let text = std::fs::read(path)
            .map_err(|source| MetagraphError::Read { path: path.to_owned(), source })?;
        Metagraph::parse(path, &text)
    }

    /// Reads the content of a file; `path` is for messages.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, MetagraphError> {
        let path = path.to_owned();
        // One by one, so that an error can say which entry it is about.
        let entries: Vec<serde_json::Value> = match serde_json::from_slice(text) {
            Ok(entries) => entries,
            Err(source) => return Err(MetagraphError::NotList { path, source }),
        };
        let mut neurons = HashMap::with_capacity(entries.len());
        for (number, entry) in (1..).zip(entries) {
            let neuron: Neuron = match serde_json::from_value(entry) {
                Ok(neuron) => neuron,
                Err(source) => return Err(MetagraphError::Entry { path, number, source }),
            };
            let hotkey = neuron.hotkey.clone();
            if let Err(source) = ss58::decode(&hotkey) {
                return Err(MetagraphError::Hotkey { path, number, hotkey, source });
            }
            if neuron.stake < 0.0 {
                return Err(MetagraphError::Stake { path, number, stake: neuron.stake });
            }
            if neurons.insert(hotkey.clone(), neuron).is_some() {
                return Err(MetagraphError::Repeated { path, number, hotkey });
            }
        }
        Ok(Metagraph { neurons })
    }

    /// The neuron with this hotkey.
    pub fn get(&self, hotkey: &str) -> Option<&Neuron> {
        self.neurons.get(hotkey)
    }

    /// How many neurons there are.
    pub fn len(&self) -> usize {
        self.neurons.len()
    }

    /// Whether there is no neuron at all.
    pub fn is_empty(&self) -> bool {
        self.neurons.is_empty()
    }
}

/// For tests and for callers that know the neurons from elsewhere; of one hotkey the last counts.
impl FromIterator<Neuron> for Metagraph {
    fn from_iter<I: IntoIterator<Item = Neuron>>(neurons: I) -> Self {
        let neurons = neurons.into_iter().map(|neuron| (neuron.hotkey.clone(), neuron)).collect();
        Metagraph { neurons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    fn entry(hotkey: &str, rest: &str) -> String {
        format!(r#"{{"uid": 3, "hotkey": "{hotkey}", {rest}}}"#)
    }

    fn parse(text: &str) -> Result<Metagraph, MetagraphError> {
        Metagraph::parse(Path::new("m.json"), text.as_bytes())
    }

    #[test]
    fn neurons_are_found_by_hotkey() {
        let one = entry(ALICE, r#""stake": 12, "validator_permit": true, "rank": 0.1"#);
        let metagraph = parse(&format!("[{one}]")).unwrap();
        assert_eq!(metagraph.len(), 1);
        let alice = metagraph.get(ALICE).unwrap();
        assert_eq!((alice.uid, alice.stake, alice.validator_permit), (3, 12.0, true));
        assert_eq!(metagraph.get("5Grwva"), None);
        assert!(parse("[]").unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_entry() {
        let good = entry(ALICE, r#""stake": 12.5, "validator_permit": true"#);
        for (text, part) in [
            ("{}".to_owned(), "should be a JSON list"),
            (String::new(), "should be a JSON list"),
            (format!("[{good}, 5]"), "entry 2 of"),
            (format!("[{good}, {}]", entry(ALICE, r#""stake": 1"#)), "entry 2 of"),
            (format!("[{good}, {good}]"), "entry 2 of the metagraph file `m.json` repeats"),
            (
                format!("[{}]", entry("5Gr", r#""stake": 1, "validator_permit": true"#)),
                "entry 1 of the metagraph file `m.json` has the hotkey `5Gr`",
            ),
            (
                format!("[{}]", entry(ALICE, r#""stake": -1, "validator_permit": true"#)),
                "a stake of 0 or more, but has -1",
            ),
        ] {
            let message = parse(&text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}

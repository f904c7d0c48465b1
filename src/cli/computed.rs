//! Values that no flag states, because the room below the command line sets them: its defaults, and
//! a training configuration over them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Arg;
use serde_json::Value;

use super::flag;
use crate::train::TrainConfig;

/// Flags that go by another name in a configuration.
const ALIASES: &[(&str, &str)] = &[("lr", "learning-rate")];

/// What `command` uses for a flag that is not given and has no default of its own.
pub(super) fn default_of(command: &str, name: &str) -> Option<String> {
    let defaults = match command {
        "train" => serde_json::to_value(TrainConfig::default()).ok()?,
        _ => return None,
    };
    shown(&defaults, &key_of(name))
}

/// The training configuration of a file.
#[derive(Debug)]
pub(super) struct Training {
    /// Where it was read from.
    pub(super) path: PathBuf,
    /// All of it.
    pub(super) config: TrainConfig,
    /// What the file itself says; the rest is the default.
    stated: Value,
}

impl Training {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let no_configuration = || format!("`{}` is no training configuration", path.display());
        let config = TrainConfig::from_toml(&text).with_context(no_configuration)?;
        let stated = toml::from_str(&text).with_context(no_configuration)?;
        Ok(Training { path: path.to_owned(), config, stated })
    }

    /// The value of a flag's setting, if the file says it of any stage. A stage of which it does
    /// not say it has the default.
    pub(super) fn value(&self, arg: &Arg) -> Option<String> {
        let key = key_of(flag::name(arg));
        shown(&self.stated, &key)?;
        shown(&serde_json::to_value(&self.config).ok()?, &key)
    }
}

/// Why a training configuration was not read, in a few words.
pub(super) fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref::<toml::de::Error>() {
        // All of it would be lines with a picture of the file.
        Some(error) => error.message().to_owned(),
        None => error.root_cause().to_string(),
    }
}

/// The key that a flag goes by in a configuration.
fn key_of(name: &str) -> String {
    let name = flag::canonical(name);
    let alias = ALIASES.iter().find(|(flag, _)| *flag == name);
    alias.map_or(name, |(_, key)| (*key).to_owned())
}

/// The value of a key at any depth; each of them, if tables disagree.
fn shown(defaults: &Value, name: &str) -> Option<String> {
    let mut found = Vec::new();
    collect(defaults, "", name, &mut found);
    let (_, first) = found.first()?;
    if found.iter().all(|(_, value)| value == first) {
        return Some(first.clone());
    }
    found.dedup();
    let each: Vec<String> =
        found.iter().map(|(table, value)| format!("{value} ({table})")).collect();
    Some(each.join(", "))
}

fn collect(value: &Value, table: &str, name: &str, found: &mut Vec<(String, String)>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let is_named = flag::canonical(key) == name;
        match value {
            Value::Object(_) => collect(value, key, name, found),
            Value::Array(items) => items.iter().for_each(|item| collect(item, key, name, found)),
            Value::String(text) if is_named => found.push((table.to_owned(), text.clone())),
            Value::Bool(_) | Value::Number(_) if is_named => {
                found.push((table.to_owned(), value.to_string()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::train::member::MemberConfig;

    #[test]
    fn keys_are_found_at_any_depth() {
        let value = json!({
            "seed": 7, "loss": "bce", "resume": null,
            "classifier": {"epochs": 60, "dropout": 0.3},
            "regressor": {"epochs": 60, "dropout": 0.2, "batch_size": 256},
        });
        for (name, expected) in [
            ("seed", Some("7")),
            ("loss", Some("bce")),
            ("epochs", Some("60")),
            ("batch-size", Some("256")),
            ("dropout", Some("0.3 (classifier), 0.2 (regressor)")),
            ("resume", None),
            ("classifier", None),
            ("other", None),
        ] {
            assert_eq!(shown(&value, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn training_has_its_defaults() {
        let config = TrainConfig::default();
        assert_eq!(default_of("train", "seed"), Some(config.seed.to_string()));
        let rates = (config.classifier[0].learning_rate, config.regressor[0].learning_rate);
        assert_eq!(
            default_of("train", "lr"),
            Some(format!("{} (classifier), {} (regressor)", rates.0, rates.1))
        );
        assert_eq!(default_of("train", "data"), None);
        assert_eq!(default_of("serve", "seed"), None);
    }

    #[test]
    fn a_training_configuration_says_what_it_states() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.toml");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            Training::read(&path)
        };
        let training =
            read("seed = 99\n[[regressor]]\narchitecture = 'mlp'\nepochs = 4\nlearning_rate = 0.5")
                .unwrap();
        // Each value once, in the order of the networks.
        let each = |value: fn(&MemberConfig) -> String, regressor: &str| {
            let mut values: Vec<String> =
                training.config.classifier.iter().map(|c| value(c) + " (classifier)").collect();
            values.dedup();
            values.push(format!("{regressor} (regressor)"));
            values.join(", ")
        };
        let epochs = each(|member| member.epochs.to_string(), "4");
        let rates = each(|member| member.learning_rate.to_string(), "0.5");
        for (name, expected) in [
            ("seed", Some("99")),
            ("epochs", Some(epochs.as_str())),
            ("lr", Some(rates.as_str())),
            ("batch-size", None),
            ("data", None),
        ] {
            assert_eq!(training.value(&Arg::new(name)).as_deref(), expected, "{name}");
        }
        let error = read("seed = 'x'").unwrap_err();
        assert_eq!(reason(&error), "invalid type: string \"x\", expected u64");
        assert!(Training::read(&folder.path().join("none.toml")).is_err());
    }
}

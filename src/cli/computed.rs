//! Defaults that no flag states, because the room below the command line sets them.

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
    let name = flag::canonical(name);
    let alias = ALIASES.iter().find(|(flag, _)| *flag == name);
    shown(&defaults, alias.map_or(name.as_str(), |(_, key)| key))
}

/// The value of a key at any depth; each of them, if tables disagree.
fn shown(defaults: &Value, name: &str) -> Option<String> {
    let mut found = Vec::new();
    collect(defaults, "", name, &mut found);
    let (_, first) = found.first()?;
    if found.iter().all(|(_, value)| value == first) {
        return Some(first.clone());
    }
    let each: Vec<String> =
        found.iter().map(|(table, value)| format!("{value} ({table})")).collect();
    Some(each.join(", "))
}

fn collect(value: &Value, table: &str, name: &str, found: &mut Vec<(String, String)>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let is_named = flag::canonical(key) == name;
        match value {
            Value::Object(_) => collect(value, key, name, found),
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
        assert_eq!(
            default_of("train", "lr"),
            Some(config.classifier.learning_rate.to_string()),
            "both stages start alike"
        );
        assert_eq!(default_of("train", "data"), None);
        assert_eq!(default_of("serve", "seed"), None);
    }
}

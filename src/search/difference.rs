//! What distinguishes a configuration from the start, in a few words.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::train::TrainConfig;
use crate::train::member::MemberConfig;
use crate::train::observer::Stage;

/// What is different in a trial: `classifier 2: mixture (units 32), mlp; time_loss huber`. A network
/// is told by what it has other than the start's at its place, if that is of the same kind, or else
/// other than the default of its kind. Empty if nothing differs.
pub fn difference(trial: &TrainConfig, start: &TrainConfig) -> String {
    let mut parts = Vec::new();
    for stage in [Stage::Classifier, Stage::Regressor] {
        if trial.members(stage) != start.members(stage) {
            let members = trial.members(stage).iter().enumerate();
            let told: Vec<String> = members
                .map(|(index, member)| of_member(stage, member, start.members(stage).get(index)))
                .collect();
            parts.push(format!("{stage} {}", told.join(" + ")));
        }
    }
    let stages = [Stage::Classifier.to_string(), Stage::Regressor.to_string()];
    let (mut trial, start) = (fields(trial), fields(start));
    trial.retain(|name, _| !stages.contains(name));
    parts.extend(changes(&trial, &start));
    parts.join("; ")
}

fn of_member(stage: Stage, member: &MemberConfig, start: Option<&MemberConfig>) -> String {
    let of_kind = start.filter(|start| start.architecture == member.architecture);
    let default = MemberConfig::new(stage, member.architecture);
    let reference = fields(of_kind.unwrap_or(&default));
    let own = fields(member);
    let mut text = own.get("architecture").and_then(Value::as_str).unwrap_or_default().to_owned();
    let changes = changes(&own, &reference);
    if !changes.is_empty() {
        let _ = write!(text, " ({})", changes.join(", "));
    }
    text
}

/// The fields that are not as in the reference, with their values.
fn changes(own: &Map<String, Value>, reference: &Map<String, Value>) -> Vec<String> {
    let changed = own.iter().filter(|(name, value)| reference.get(*name) != Some(value));
    changed
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            value => format!("{name} {value}"),
        })
        .collect()
}

fn fields(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let start = TrainConfig::default();
        assert_eq!(difference(&start, &start), "");
        let mut near = start.clone();
        near.classifier[0].units = 32;
        near.classifier[0].learning_rate = 0.0071;
        near.folds = 5;
        assert_eq!(
            difference(&near, &start),
            "classifier mixture (learning_rate 0.0071, units 32) + tabular; folds 5"
        );
        let far = TrainConfig::from_toml(
            "time_loss = 'huber'\n[[classifier]]\narchitecture = 'mlp'\ncopies = 2\n\
             [[regressor]]\narchitecture = 'residual'",
        );
        assert_eq!(
            difference(&far.unwrap(), &start),
            "classifier mlp (copies 2); regressor residual; time_loss huber"
        );
    }
}

//! The reward by who asked and by kind of conversation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Lost, Row, rewards_of};
use crate::features::Conversation;
use crate::model::checkpoint::NEARLY_EMPTY_COVERAGE;
use crate::report::segments::{Assignment, by_duration, by_emptiness, by_hour};
use crate::report::{Interval, Mean};

/// Some of the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub name: String,
    /// How many.
    pub rows: usize,
    /// To how many conversations that converted.
    pub converted: usize,
    /// The mean confidence: of a calibrated miner, the share that converted.
    pub mean_confidence: f64,
    /// The mean reward.
    pub reward: Mean,
    /// Its 95 % interval.
    pub reward_interval: Interval,
    /// The most that could be had, and what the difference was lost to.
    pub lost: Lost,
    /// The mean response time, in seconds.
    pub mean_response_seconds: f64,
}

/// The answers, each in one of several parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// What the parts are told apart by.
    pub by: String,
    /// The parts that have answers.
    pub parts: Vec<Part>,
}

/// The answers to one validator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidatorPart {
    /// The answers; the name is the validator's hotkey.
    #[serde(flatten)]
    pub part: Part,
    /// The moving average of the rewards that the validator keeps, begun at 0 with the window.
    pub ema: f64,
    /// What being right about a conversation that converted was worth at last.
    pub positive_weight: f64,
    /// What being right about one that did not was worth at last.
    pub negative_weight: f64,
}

impl Part {
    /// A part that has at least one row.
    fn of(name: &str, rows: &[Row<'_>]) -> Part {
        let count = rows.len() as f64;
        let mean_of = |value: &dyn Fn(&Row<'_>) -> f64| rows.iter().map(value).sum::<f64>() / count;
        let reward = Mean::of(&rewards_of(rows));
        Part {
            name: name.to_owned(),
            rows: rows.len(),
            converted: rows.iter().filter(|row| row.truth().converted).count(),
            mean_confidence: mean_of(&|row| row.answer().confidence),
            reward,
            reward_interval: reward.interval(),
            lost: Lost::mean(rows.iter().map(|row| &row.lost)),
            mean_response_seconds: mean_of(&|row| row.resolved.record.response_time_seconds),
        }
    }
}

/// By validator, who asked most first.
pub(super) fn validators(rows: &[Row<'_>]) -> Vec<ValidatorPart> {
    let mut by: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
    for row in rows {
        by.entry(&row.resolved.record.validator).or_default().push(*row);
    }
    let part = |(validator, rows): (&str, Vec<Row<'_>>)| {
        let last = rows.last()?.scored;
        Some(ValidatorPart {
            part: Part::of(validator, &rows),
            ema: last.ema,
            positive_weight: last.weights.positive,
            negative_weight: last.weights.negative,
        })
    };
    let mut parts: Vec<ValidatorPart> = by.into_iter().filter_map(part).collect();
    parts.sort_by_key(|validator| std::cmp::Reverse(validator.part.rows));
    parts
}

/// All partitions.
pub(super) fn segments(rows: &[Row<'_>]) -> Vec<Partition> {
    let conversations: Vec<&Conversation> =
        rows.iter().map(|row| &row.resolved.record.features).collect();
    let named = |name: fn(&crate::journal::Record) -> &str| {
        let names = rows.iter().map(|row| name(&row.resolved.record));
        by_name(&names.collect::<Vec<_>>())
    };
    let all: [(&str, Assignment); 6] = [
        ("hour of day", by_hour(&conversations)),
        ("duration", by_duration(&conversations)),
        ("how much is known", by_coverage(rows)),
        ("messages", by_emptiness(&conversations)),
        ("model", named(|record| &record.model)),
        ("checkpoint", named(|record| &record.checkpoint)),
    ];
    all.map(|(by, (part_of, names))| partition(by, rows, &part_of, &names)).into()
}

fn partition(by: &str, rows: &[Row<'_>], part_of: &[usize], names: &[String]) -> Partition {
    let part = |(number, name): (usize, &String)| {
        let inside = rows.iter().zip(part_of).filter(|(_, part)| **part == number);
        let inside: Vec<Row<'_>> = inside.map(|(row, _)| *row).collect();
        (!inside.is_empty()).then(|| Part::of(name, &inside))
    };
    Partition { by: by.to_owned(), parts: names.iter().enumerate().filter_map(part).collect() }
}

/// Nearly empty or not, as the checkpoint's choice of a model has it.
fn by_coverage(rows: &[Row<'_>]) -> Assignment {
    let share = NEARLY_EMPTY_COVERAGE * 100.0;
    let names = [format!("nearly empty (below {share:.0} %)"), format!("{share:.0} % and more")];
    let part = |row: &Row<'_>| usize::from(row.resolved.record.coverage >= NEARLY_EMPTY_COVERAGE);
    (rows.iter().map(part).collect(), names.into())
}

fn by_name(names: &[&str]) -> Assignment {
    let mut known: Vec<&str> = names.to_vec();
    known.sort_unstable();
    known.dedup();
    let index = |name: &&str| known.binary_search(name).unwrap_or(0);
    let shown = |name: &&str| if name.is_empty() { "none".to_owned() } else { (*name).to_owned() };
    (names.iter().map(index).collect(), known.iter().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{no, resolved, rows_of, yes};
    use crate::subnet::reward::{RewardSpec, Truth};

    #[test]
    fn parts_by_hand() {
        let mut all = vec![
            resolved(1, no(0.1), Truth::not_converted()),
            resolved(2, yes(60.0, 0.9), Truth::converted_after(60.0)),
            resolved(3, yes(60.0, 0.8), Truth::not_converted()),
        ];
        all[1].record.validator = "5W".to_owned();
        all[1].record.model = "baseline".to_owned();
        all[1].record.checkpoint = String::new();
        all[1].record.coverage = 0.8;
        all[1].record.response_time_seconds = 6.0;
        let (validators, segments) =
            rows_of(&all, &RewardSpec::MAIN, |rows| (validators(rows), segments(rows)));
        let names: Vec<_> =
            validators.iter().map(|one| (one.part.name.as_str(), one.part.rows)).collect();
        assert_eq!(names, [("5V", 2), ("5W", 1)]);
        // A right no after 3 s, 0.8 * 0.34375 + 0.19, and a wrong yes, 0.19.
        let first = &validators[0];
        assert!((first.part.reward.mean - (0.465 + 0.19) / 2.0).abs() < 1e-12);
        assert!((first.ema - (0.9 * 0.0465 + 0.019)).abs() < 1e-12, "{}", first.ema);
        assert!((first.part.mean_confidence - 0.45).abs() < 1e-12);
        assert_eq!((first.positive_weight, first.negative_weight), (0.375, 0.625));
        assert_eq!(validators[1].part.mean_response_seconds, 6.0);
        assert_eq!(validators[1].part.reward.standard_error, None);
        for partition in &segments {
            let rows: usize = partition.parts.iter().map(|part| part.rows).sum();
            assert_eq!(rows, 3, "{}", partition.by);
        }
        let of = |by: &str| {
            let partition = segments.iter().find(|partition| partition.by == by).unwrap();
            let part = |part: &Part| (part.name.clone(), part.rows);
            partition.parts.iter().map(part).collect::<Vec<_>>()
        };
        let named = |names: &[(&str, usize)]| {
            names.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect::<Vec<_>>()
        };
        assert_eq!(of("model"), named(&[("baseline", 1), ("ensemble", 2)]));
        assert_eq!(of("checkpoint"), named(&[("none", 1), ("first", 2)]));
        assert_eq!(
            of("how much is known"),
            named(&[("nearly empty (below 80 %)", 2), ("80 % and more", 1)])
        );
        assert_eq!(of("messages"), named(&[("unknown", 3)]));
    }
}

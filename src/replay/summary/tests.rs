use std::path::Path;

use super::*;
use crate::clock::DAY_NS;
use crate::features::Conversation;
use crate::journal::{Record, RecordedAnswer};
use crate::model::Model;
use crate::outcomes::{self, Outcome};
use crate::replay::{WhatIf, Window, replay, write_results};

/// Says "converts" with the first feature as its time, which is the truth below.
struct Knowing;

impl Model for Knowing {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let answer = |conversation: &Conversation| {
            let time_seconds = f64::from(conversation.values[0]);
            Answer { converted: true, time_seconds, confidence: 1.0 }
        };
        conversations.iter().map(answer).collect()
    }
}

/// Six requests, of which one has no truth yet: (id, validator, answered time or "no", truth).
fn written(folder: &Path) -> Vec<Record> {
    const NO: f64 = -1.0;
    let rows = [
        ("a", "v1", 63.0, Some(60.0)),
        ("b", "v2", NO, None),
        ("c", "v1", NO, Some(90.0)),
        ("d", "v1", 60.0, None),
        ("e", "v2", 66.0, Some(60.0)),
    ];
    let mut records = Vec::new();
    let mut truths = Vec::new();
    for (hour, (id, validator, said, truth)) in (1..).zip(rows) {
        let mut record = Record::sample(id, DAY_NS + hour);
        record.validator = validator.to_owned();
        record.model = if id == "d" { "baseline" } else { "ensemble" }.to_owned();
        record.features.set(0, truth.unwrap_or(60.0));
        record.response_time_seconds = 6.0;
        let converted = said > 0.0;
        record.answer = RecordedAnswer { converted, time_seconds: said, confidence: 0.5 };
        records.push(record);
        let (source, id) = ("test".to_owned(), id.to_owned());
        let converted = truth.is_some();
        truths.push(Outcome {
            id,
            also: None,
            converted,
            time_seconds: truth,
            known_ns: DAY_NS,
            source,
        });
    }
    records.push(Record::sample("unknown", DAY_NS + 9));
    // As workers write: not in order.
    let lines = records.iter().rev().map(|one| serde_json::to_string(one).unwrap() + "\n");
    std::fs::create_dir_all(folder.join("journal")).unwrap();
    std::fs::write(folder.join("journal/1970-01-02.jsonl"), lines.collect::<String>()).unwrap();
    outcomes::append(&folder.join("outcomes"), truths, DAY_NS).unwrap();
    records
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "expected {expected}, found {found}");
}

fn of(folder: &Path, what_if: Option<WhatIf<'_>>) -> Replay {
    let (journal, outcomes) = (folder.join("journal"), folder.join("outcomes"));
    replay(&journal, &outcomes, Window::default(), RewardSpec::MAIN, what_if).unwrap()
}

/// Every answer took 6 of 60 s: 0.18 each. A right yes earns 0.165 and 0.36 of its time's accuracy,
/// a right no 0.275.
#[test]
fn a_summary_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path());
    let summary = Summary::of(&of(folder.path(), None)).unwrap();
    // a: 3 s off, 0.165 + 0.36*0.8 + 0.18 = 0.633; b: 0.455; c, d: 0.18; e: 6 s off, 0.561.
    let rewards = [0.633, 0.455, 0.18, 0.18, 0.561];
    let all = summary.overall;
    assert_eq!((all.answers, all.converted, all.said_converted), (5, 3, 3));
    near(all.accuracy, 0.6);
    near(all.mean_reward, rewards.iter().sum::<f64>() / 5.0);
    near(all.parts.class, (0.375 + 0.625 + 0.375) / 5.0);
    near(all.parts.time_accuracy, (0.8 + 0.6) / 5.0);
    near(all.parts.response_time, 0.9);
    let earned = all.earned;
    near(earned.class, (0.165 + 0.275 + 0.165) / 5.0);
    near(earned.time, 0.36 * 1.4 / 5.0);
    assert_eq!(earned.diversity, 0.0);
    near(earned.class + earned.time + earned.response_time, all.mean_reward);
    near(summary.ema, rewards.iter().fold(0.0, |ema, reward| 0.1 * reward + 0.9 * ema));

    let names: Vec<&str> = summary.validators.iter().map(|one| one.validator.as_str()).collect();
    assert_eq!(names, ["v1", "v2"]);
    near(summary.validators[1].scores.mean_reward, (0.455 + 0.561) / 2.0);
    near(summary.validators[1].ema, 0.1 * 0.561 + 0.9 * 0.0455);
    assert_eq!(summary.validators[1].class_weights, ClassWeights::START.into());
    let models: Vec<_> =
        summary.models.iter().map(|one| (one.model.as_str(), one.scores.answers)).collect();
    assert_eq!(models, [("baseline", 1), ("ensemble", 4)]);

    // Two right noes; three right yeses, of which 60 s is right twice and 90 s is 30 s off.
    near(summary.constants.always_no, 0.18 + 2.0 * 0.275 / 5.0);
    assert_eq!(summary.constants.best_time_seconds, 60.0);
    near(summary.constants.always_yes, 0.18 + (3.0 * 0.165 + 2.0 * 0.36) / 5.0);
    assert_eq!(summary.what_if, None);
    assert_eq!((summary.joined.records, summary.joined.unresolved), (6, 1));
}

#[test]
fn what_another_would_have_earned() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path());
    let what_if = WhatIf { checkpoint: "knowing", model: &Knowing };
    let replayed = of(folder.path(), Some(what_if));
    let other = Summary::of(&replayed).unwrap().what_if.unwrap();
    // 0.165 + 0.36 + 0.18 for those that converted, 0.18 for the others.
    let rewards = [0.705, 0.18, 0.705, 0.18, 0.705];
    near(other.scores.mean_reward, rewards.iter().sum::<f64>() / 5.0);
    near(other.ema, rewards.iter().fold(0.0, |ema, reward| 0.1 * reward + 0.9 * ema));
    near(other.difference.mean, (0.072 - 0.275 + 0.525 + 0.0 + 0.144) / 5.0);
    assert_eq!((other.difference.rows, other.other_class), (5, 2));
    assert!(other.difference.low < other.difference.mean);
    near(other.validators[1].difference.mean, (0.144 - 0.275) / 2.0);
    near(other.models[0].difference.mean, 0.0);

    let path = folder.path().join("deep/results.jsonl");
    write_results(&path, &replayed).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c", "d", "e"]);
    for (line, (scored, other)) in
        lines.iter().zip(replayed.scored.iter().zip(&replayed.other.as_ref().unwrap().scored))
    {
        // serde_json reads a number to its last digit or one beside it.
        near(line["reward"]["total"].as_f64().unwrap(), scored.reward.total);
        near(line["class_weights"]["positive"].as_f64().unwrap(), scored.weights.positive);
        near(line["ema"].as_f64().unwrap(), scored.ema);
        near(line["what_if"]["reward"]["total"].as_f64().unwrap(), other.reward.total);
        assert_eq!(line["what_if"]["checkpoint"], "knowing");
        assert_eq!(line["what_if"]["answer"]["converted"], true);
    }
    assert_eq!(lines[0]["time"], "1970-01-02T00:00:00Z");
    assert_eq!(lines[1]["truth"], serde_json::json!({"converted": false, "time_seconds": -1.0}));
}

#[test]
fn nothing_has_no_summary() {
    let folder = tempfile::tempdir().unwrap();
    let replayed = of(folder.path(), Some(WhatIf { checkpoint: "knowing", model: &Knowing }));
    assert_eq!(Summary::of(&replayed), None);
    assert!(replayed.rows.is_empty() && replayed.joined.records == 0);
}

//! What a diagnosis says should be tuned.

use serde_json::{Value, json};

use super::*;
use crate::tune::Parameter::{CalibrationShrinkageRows, ThresholdOffset, TimeQuantileShift};

/// A diagnosis in which all is well, with fields that are not read.
fn well() -> Value {
    let shift = |value: f64, gain: f64| {
        json!({"value": value, "gain": {"mean": gain, "standard_error": 0.001}, "judged_on": 60,
               "chosen_on": 60, "curve": [{"value": 0.0, "gain": 0.0}]})
    };
    json!({
        "version": 1, "made": "2026-01-01T00:00:00Z", "points": 120, "mean_reward": 0.5,
        "lost": {"most": 0.9, "class": 0.05, "time": 0.1, "latency": 0.01},
        "coverage": [{"level": 0.05, "below": 0.04, "rows": 40},
                     {"level": 0.5, "below": 0.71, "rows": 40}],
        "ece": 0.03,
        "calibration": {"by_chance": {"mean": 0.03, "high": 0.06}, "learned": learned(0.1, 0.05, 0.01)},
        "best_threshold_offset": shift(0.0, 0.0),
        "best_time_quantile_shift": shift(0.0, 0.0),
    })
}

/// A better value and what it gains.
fn better(value: f64, gain: f64, standard_error: f64) -> Value {
    json!({"value": value, "gain": {"mean": gain, "standard_error": standard_error},
           "judged_on": 60})
}

/// What is suggested after an edit of the diagnosis, `days` after mining began.
fn suggested(folder: &Path, days: u64, edit: impl FnOnce(&mut Value)) -> Suggestions {
    let mut value = well();
    value["from_ns"] = json!(day(days) - 7 * DAY_NS);
    value["to_ns"] = json!(day(days));
    edit(&mut value);
    let path = folder.join("diagnostics.json");
    std::fs::write(&path, value.to_string()).unwrap();
    let evidence = Evidence::read(&path).unwrap();
    suggest(&at(folder, day(days)), &evidence, &Bar::default(), None).unwrap()
}

/// What was learned while serving, of 60 conversations.
fn learned(moved: f64, gain: f64, standard_error: f64) -> Value {
    json!({"rows": 60, "moved": moved, "gain": {"mean": gain, "standard_error": standard_error}})
}

/// Parameters and their values to be.
fn changes(found: &Suggestions) -> Vec<(Parameter, f64)> {
    found.suggestions.iter().map(|it| (it.verdict.parameter, it.verdict.to.unwrap())).collect()
}

#[test]
fn where_all_is_well_nothing_is_suggested() {
    let folder = begun();
    let found = suggested(folder.path(), 20, |_| ());
    assert_eq!(changes(&found), []);
    assert_eq!(found.otherwise.len(), 3, "{:?}", found.otherwise);
    assert!(found.otherwise[2].contains("up to 0.060 does not matter"), "{:?}", found.otherwise);
}

#[test]
fn a_gain_must_be_large_and_sure() {
    let folder = begun();
    for (edit, expected, why) in [
        (better(0.03, 0.01, 0.004), &[(ThresholdOffset, 0.03)][..], "2.5 standard errors"),
        (better(0.03, 0.01, 0.005), &[], "two standard errors are not more than two"),
        (better(0.03, 0.0019, 0.0001), &[], "too little"),
        (better(0.03, -0.01, 0.001), &[], "a loss"),
        (better(0.15, 0.01, 0.001), &[(ThresholdOffset, 0.05)], "the largest step"),
        (better(-0.9, 0.01, 0.001), &[(ThresholdOffset, -0.05)], "the largest step"),
        (better(0.0, 0.01, 0.001), &[], "it is so already"),
        (
            json!({"value": 0.1, "gain": {"mean": 0.1, "standard_error": null}, "judged_on": 60}),
            &[],
            "nobody knows how sure",
        ),
        (
            json!({"value": 0.1, "gain": {"mean": 0.1, "standard_error": 0.01}, "judged_on": 9}),
            &[],
            "too few",
        ),
        (Value::Null, &[], "nothing is known"),
    ] {
        let found = suggested(folder.path(), 20, |value| value["best_threshold_offset"] = edit);
        assert_eq!(changes(&found), expected, "{why}");
    }
}

#[test]
fn ten_answers_support_a_suggestion() {
    let folder = begun();
    let with = |points: u64| {
        suggested(folder.path(), 20, |value| {
            value["points"] = json!(points);
            value["best_threshold_offset"] = better(0.03, 0.01, 0.001);
        })
    };
    assert_eq!(changes(&with(10)), [(ThresholdOffset, 0.03)]);
    let found = with(9);
    assert_eq!(changes(&found), []);
    assert_eq!(found.otherwise, ["9 answers with a known truth are too few: it takes 10"]);
}

#[test]
fn the_most_worthwhile_comes_first_and_all_say_when() {
    let folder = begun();
    let all = |value: &mut Value| {
        value["best_threshold_offset"] = better(0.1, 0.01, 0.001);
        value["best_time_quantile_shift"] = better(-0.05, 0.02, 0.001);
        value["ece"] = json!(0.07);
    };
    let found = suggested(folder.path(), 10, all);
    let expected =
        [(TimeQuantileShift, -0.05), (ThresholdOffset, 0.05), (CalibrationShrinkageRows, 25.0)];
    assert_eq!(changes(&found), expected);
    for suggestion in &found.suggestions {
        assert!(!suggestion.verdict.is_allowed());
        assert_eq!(suggestion.verdict.allowed_from_ns, Some(day(14)));
    }
    let [time, threshold, shrinkage] = &found.suggestions[..] else { panic!("{found:?}") };
    assert_eq!(
        time.why,
        "-0.05 would have earned 0.0200 more an answer (standard error 0.0010, 60 answers); 0.1000 an \
         answer are lost to times; 71 % of 40 true times lay below their median"
    );
    assert!(threshold.why.contains("0.0500 an answer are lost to wrong classes"));
    assert_eq!((threshold.best, threshold.gain, shrinkage.gain), (0.1, Some(0.01), None));
    apply(folder.path(), day(20), ThresholdOffset, 0.05);
    let found = suggested(folder.path(), 21, |value| {
        all(value);
        value["from_ns"] = json!(day(20));
    });
    // From 0.05, and by days: the others 14 after that change, the same 30.
    assert_eq!(changes(&found)[1], (ThresholdOffset, 0.1));
    let from: Vec<_> = found.suggestions.iter().map(|it| it.verdict.allowed_from_ns).collect();
    assert_eq!(from, [Some(day(34)), Some(day(50)), Some(day(34))]);
}

#[test]
fn an_older_diagnosis_supports_nothing() {
    let folder = begun();
    apply(folder.path(), day(20), TimeQuantileShift, 0.05);
    for (to_ns, expected) in [(day(20) - 1, 0), (day(20), 1)] {
        let found = suggested(folder.path(), 21, |value| {
            value["to_ns"] = json!(to_ns);
            value["best_threshold_offset"] = better(0.03, 0.01, 0.001);
        });
        assert_eq!(found.suggestions.len(), expected, "{:?}", found.otherwise);
    }
}

#[test]
fn what_was_learned_counts_more_or_less() {
    let folder = begun();
    let sooner = &[(CalibrationShrinkageRows, 25.0)][..];
    let later = &[(CalibrationShrinkageRows, 100.0)][..];
    let mut few = learned(0.1, 0.05, 0.01);
    few["rows"] = json!(9);
    let unsure = json!({"rows": 60, "moved": 0.1, "gain": {"mean": 0.1, "standard_error": null}});
    for (ece, edit, expected, why) in [
        (0.08, learned(0.1, 0.05, 0.02), sooner, "made the log loss 0.0500 lower"),
        (0.08, learned(0.1, -0.05, 0.02), later, "made the log loss 0.0500 higher"),
        (0.06, learned(0.1, 0.05, 0.02), &[], "up to 0.060 does not matter"),
        (0.08, Value::Null, &[], "cannot be told"),
        (0.08, learned(0.004, 0.05, 0.001), &[], "as good as nothing"),
        (0.08, learned(0.1, 0.04, 0.02), &[], "may be chance"),
        (0.08, learned(0.1, -0.04, 0.02), &[], "may be chance"),
        (0.08, few, &[], "9 answers only"),
        (0.08, unsure, &[], "is not known"),
    ] {
        let found = suggested(folder.path(), 20, |value| {
            value["ece"] = json!(ece);
            value["calibration"]["learned"] = edit;
        });
        assert_eq!(changes(&found), expected, "{why}");
        let told = found.suggestions.first().map_or_else(|| &found.otherwise[2], |it| &it.why);
        assert!(told.contains(why), "{told}");
    }
}

/// Stale or foreign evidence, and which rule it fails.
#[test]
fn a_diagnosis_is_of_what_is_served_now() {
    let folder = begun();
    let folder = folder.path();
    apply(folder, day(20), ThresholdOffset, 0.05);
    let with = |days: u64, served: Option<&str>, edit: &dyn Fn(&mut Value)| {
        let mut value = well();
        value["from_ns"] = json!(day(20));
        value["to_ns"] = json!(day(27));
        value["checkpoint"] = json!("first");
        value["best_threshold_offset"] = better(0.08, 0.01, 0.001);
        edit(&mut value);
        let evidence: Evidence = serde_json::from_value(value).unwrap();
        suggest(&at(folder, day(days)), &evidence, &Bar::default(), served).unwrap()
    };
    let from = |ns: u64| move |value: &mut Value| value["from_ns"] = json!(ns);
    for (days, served, edit, told) in [
        (27, None, &(|_: &mut Value| ()) as &dyn Fn(&mut Value), None),
        (41, Some("first"), &|_| (), None),
        (42, None, &|_| (), Some("more than 14 days ago")),
        (26, None, &|_| (), Some("still to come")),
        (27, None, &|value| value["to_ns"] = Value::Null, Some("until when it looked")),
        (27, Some("second"), &|_| (), Some("of checkpoint `first`, but `second` is served")),
        (
            27,
            Some("second"),
            &|value| value["checkpoint"] = Value::Null,
            Some("of checkpoint none"),
        ),
        (27, None, &from(day(20) - 1), Some("threshold_offset: it was changed on 2025-12-12")),
        (27, None, &|value| value["from_ns"] = Value::Null, Some("a shorter --window")),
    ] {
        let found = with(days, served, edit);
        let expected = if told.is_none() { vec![(ThresholdOffset, 0.08)] } else { vec![] };
        assert_eq!(changes(&found), expected, "{told:?}: {:?}", found.otherwise);
        let otherwise = found.otherwise.join("\n");
        assert!(told.is_none_or(|told| otherwise.contains(told)), "{told:?}: {otherwise}");
    }
}

#[test]
fn what_is_no_diagnosis_is_refused() {
    let folder = begun();
    let path = folder.path().join("diagnostics.json");
    assert!(matches!(Evidence::read(&path), Err(TuneError::Diagnosis { .. })));
    for bad in ["", "{}", "[]", "{\"points\": -1}"] {
        std::fs::write(&path, bad).unwrap();
        assert!(matches!(Evidence::read(&path), Err(TuneError::NoDiagnosis { .. })), "{bad}");
    }
    std::fs::write(&path, "{\"points\": 50}").unwrap();
    let evidence = Evidence::read(&path).unwrap();
    let found = suggest(&at(folder.path(), day(20)), &evidence, &Bar::default(), None).unwrap();
    assert_eq!((changes(&found).len(), found.otherwise.len()), (0, 1));
}

/// The names are those that `diagnose` writes.
#[test]
fn what_diagnose_writes_is_read() {
    use crate::diagnosis::{DiagnoseOptions, Shift, diagnose};
    use crate::journal::Record;
    use crate::replay::Resolved;
    use crate::report::Mean;
    use crate::subnet::reward::{RewardSpec, Truth};

    let options =
        DiagnoseOptions { spec: RewardSpec::MAIN, from_ns: 0, now_ns: START, checkpoint: None };
    let answer = |id: &str| {
        let mut record = Record::sample(id, 7);
        record.answer.confidence = 0.3;
        Resolved { record, truth: Truth::not_converted(), known_ns: 9 }
    };
    let mut diagnosis = diagnose(&[answer("a"), answer("b")], &options);
    diagnosis.checkpoint = Some("first".to_owned());
    let gain = Mean { mean: 0.01, standard_error: Some(0.001) };
    let shift = Shift { value: 0.03, gain, chosen_on: 61, judged_on: 60, curve: vec![] };
    diagnosis.best_threshold_offset = Some(shift.clone());
    diagnosis.best_time_quantile_shift = Some(Shift { value: -0.025, ..shift });
    let text = serde_json::to_string(&diagnosis).unwrap();
    let evidence: Evidence = serde_json::from_str(&text).unwrap();
    let gain = Gain { mean: 0.01, standard_error: Some(0.001) };
    let better = Better { value: 0.03, gain, judged_on: 60 };
    assert_eq!(evidence.best_threshold_offset, Some(better));
    assert_eq!(evidence.best_time_quantile_shift, Some(Better { value: -0.025, ..better }));
    assert_eq!((evidence.from_ns, evidence.to_ns), (Some(0), Some(START)));
    assert_eq!(evidence.checkpoint.as_deref(), Some("first"));
    assert!(evidence.lost.is_some() && evidence.points == 2);
    // The sample record's own confidence is 0.25.
    let learned = evidence.calibration.unwrap().learned.unwrap();
    assert!(learned.rows == 2 && (learned.moved - 0.05).abs() < 1e-12, "{learned:?}");
}

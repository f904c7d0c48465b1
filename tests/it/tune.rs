//! Tuning by the command line, and while a miner runs.

use std::fs;
use std::path::Path;

use convminer::tune::{SetClock, record_start};
use serde_json::{Value, json};

use crate::operating::{log, shipped, start, wait_until, wallet};
use crate::support::{convminer, fail, generate, succeed, transcript};

/// `tune` with these arguments, at a moment of 2025.
fn tune(folder: &Path, day: &str, arguments: &str) -> std::process::Command {
    let mut command = convminer(folder);
    command.arg("tune").args(arguments.split_whitespace());
    command.arg(format!("--now=2025-{day}T12:00:00Z"));
    command
}

fn noon(day: &str) -> u64 {
    format!("2025-{day}T12:00:00Z").parse::<SetClock>().unwrap().0
}

/// Writes down that mining began at a moment of 2025, as `serve` does: `--now` never does.
fn begin(folder: &Path, day: &str) {
    record_start(&folder.join("data/state"), noon(day)).unwrap();
}

/// stdout and stderr of a command whose answer is no.
fn refused(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

fn json(command: &mut std::process::Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    assert_ne!(output.status.code(), Some(2), "{}", transcript(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_year_of_tuning() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    insta::assert_snapshot!(succeed(&mut tune(folder, "01-01", "history")), @"nothing is recorded yet");
    begin(folder, "01-01");
    let change = "threshold-offset 0.05 --reason more";
    insta::assert_snapshot!(refused(&mut tune(folder, "01-01", &format!("apply {change}"))), @"
    error: refused: threshold_offset, which is 0, may not become 0.05 before 2025-01-15T12:00:00Z:
          mining began on 2025-01-01T12:00:00Z, and nothing is tuned in its first 14 days: from 2025-01-15T12:00:00Z on
    ");
    let check = "check threshold_offset -0.05";
    insta::assert_snapshot!(refused(&mut tune(folder, "01-14", check)), @"
    no: threshold_offset, which is 0, may not be changed to -0.05 before 2025-01-15T12:00:00Z:
      mining began on 2025-01-01T12:00:00Z, and nothing is tuned in its first 14 days: from 2025-01-15T12:00:00Z on
    ");
    insta::assert_snapshot!(succeed(&mut tune(folder, "01-15", check)), @"yes: threshold_offset, which is 0, may be changed to -0.05 now");
    insta::assert_snapshot!(refused(&mut tune(folder, "01-15", "check threshold_offset 0.5")), @"
    no: threshold_offset, which is 0, may not be changed to 0.5:
      threshold_offset must be in -0.2..=0.2, but 0.5 is asked for
    ");
    insta::assert_snapshot!(succeed(&mut tune(folder, "01-15", &format!("propose {change}"))), @"
    proposed: threshold_offset from 0 to 0.05 (entry 2)
      nothing changed yet; `convminer tune apply` makes the change
    ");
    insta::assert_snapshot!(succeed(&mut tune(folder, "01-16", "apply")), @"
    applied: threshold_offset from 0 to 0.05 (entry 3)
      a running miner takes it up; what it does is observed for 14 days, in which `convminer tune revert` goes back
    ");
    let other = "apply time_quantile_shift -0.02 --reason later";
    insta::assert_snapshot!(refused(&mut tune(folder, "01-20", other)), @"
    error: refused: time_quantile_shift, which is 0, may not become -0.02 before 2025-01-30T12:00:00Z:
          threshold_offset was changed on 2025-01-16T12:00:00Z, and what that does is observed for 14 days: from 2025-01-30T12:00:00Z on
    ");
    insta::assert_snapshot!(succeed(&mut tune(folder, "01-30", other)), @"
    applied: time_quantile_shift from 0 to -0.02 (entry 4)
      a running miner takes it up; what it does is observed for 14 days, in which `convminer tune revert` goes back
    ");
    insta::assert_snapshot!(succeed(&mut tune(folder, "02-01", "current")), @"
    parameter                     value  unit         default         bounds   step  last change           may be changed
    threshold_offset               0.05  probability        0      -0.2..0.2   0.05  2025-01-16T12:00:00Z  from 2025-02-15T12:00:00Z
    calibration_shrinkage_rows       50  rows              50         5..500     50  never                 from 2025-02-13T12:00:00Z
    calibration_half_life_rows      500  rows             500       50..5000    250  never                 from 2025-02-13T12:00:00Z
    time_quantile_shift           -0.02  level              0      -0.2..0.2   0.05  2025-01-30T12:00:00Z  from 2025-03-01T12:00:00Z
    low_interval_seconds           1800  seconds         1800      60..14400    900  never                 from 2025-02-13T12:00:00Z
    high_interval_seconds           900  seconds          900       60..7200    450  never                 from 2025-02-13T12:00:00Z
    ");
    let lines = |arguments: &str| succeed(&mut tune(folder, "02-01", arguments)).lines().count();
    assert_eq!(
        (lines("current time_quantile_shift"), lines("history time_quantile_shift")),
        (2, 2)
    );
    assert!(fail(&mut tune(folder, "02-01", "current lambda")).contains("the parameters are"));
    let ahead = fail(
        convminer(folder).args("tune revert --reason x --now 2500-01-01T00:00:00Z".split(' ')),
    );
    assert!(ahead.contains("not later than now"), "{ahead}");
    insta::assert_snapshot!(succeed(&mut tune(folder, "02-02", "revert --reason worse")), @"
    reverted: time_quantile_shift from -0.02 to 0, which undoes entry 4 (entry 5)
      a running miner takes it up
    ");
    insta::assert_snapshot!(fail(&mut tune(folder, "02-02", "revert --reason again")), @"error: there is no change to go back from");
    insta::assert_snapshot!(refused(&mut tune(folder, "01-01", &format!("apply {change}"))), @"
    error: refused: threshold_offset, which is 0.05, may not become 0.05:
          the clock shows 2025-01-01T12:00:00Z, but entry 5 of the history was made at 2025-02-02T12:00:00Z: set the clock right, or wait until then
          mining began on 2025-01-01T12:00:00Z, and nothing is tuned in its first 14 days: from 2025-01-15T12:00:00Z on
          threshold_offset was changed on 2025-01-16T12:00:00Z, and 30 days lie between two changes of a parameter: from 2025-02-15T12:00:00Z on
          time_quantile_shift was changed on 2025-02-02T12:00:00Z, and what that does is observed for 14 days: from 2025-02-16T12:00:00Z on
          threshold_offset is 0.05 already
    ");
    insta::assert_snapshot!(
        succeed(&mut tune(folder, "02-02", "history")).replace(head(folder).as_str(), "[head]"), @"
          1  2025-01-01T12:00:00Z  mining began
          2  2025-01-15T12:00:00Z (time given by hand)  proposed threshold_offset from 0 to 0.05: more
          3  2025-01-16T12:00:00Z (time given by hand)  applied threshold_offset from 0 to 0.05 as in entry 2: more
          4  2025-01-30T12:00:00Z (time given by hand)  applied time_quantile_shift from 0 to -0.02: later
          5  2025-02-02T12:00:00Z (time given by hand)  reverted time_quantile_shift from -0.02 to 0, undoing entry 4: worse
        intact: 5 entries, the last one sealed by [head]
        "
    );
}

fn history_file(folder: &Path) -> std::path::PathBuf {
    folder.join("data/state/tuning_history.json")
}

fn head(folder: &Path) -> String {
    let value: Value = serde_json::from_slice(&fs::read(history_file(folder)).unwrap()).unwrap();
    value["head"].as_str().unwrap().to_owned()
}

#[test]
fn a_history_that_was_edited_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    begin(folder, "01-01");
    succeed(&mut tune(folder, "01-15", "apply threshold_offset 0.05 --reason first"));
    let path = history_file(folder);
    let edited = fs::read_to_string(&path).unwrap().replace("\"first\"", "\"worst\"");
    fs::write(&path, &edited).unwrap();
    let told = refused(&mut tune(folder, "03-01", "history"));
    assert!(told.contains("  2  2025-01-15T12:00:00Z"), "{told}");
    assert!(told.ends_with("NOT as it was written: entry 2 was edited\n"), "{told}");
    let error = fail(&mut tune(folder, "03-01", "apply threshold_offset 0.1 --reason second"));
    insta::assert_snapshot!(error, @"
    error: the tuning history in `data/state/tuning_history.json` is not as it was written: entry 2 was edited
    hint: `convminer tune history` shows it; put back a copy of it, or to begin a new one, give `data/state/tuning_history.json` and `tuning_head.json` beside it other names
    ");
    assert_eq!(fs::read_to_string(&path).unwrap(), edited, "nothing is repaired");
    let shown = json(&mut tune(folder, "03-01", "history"));
    assert_eq!(shown["is_intact"], false);
    assert_eq!(shown["problem"], "entry 2 was edited");
    fs::remove_file(&path).unwrap();
    let told = refused(&mut tune(folder, "03-01", "history"));
    insta::assert_snapshot!(told, @"NOT as it was written: the file is missing, and with it 2 entries that `tuning_head.json` knows of");
    let error = fail(&mut tune(folder, "03-01", "propose threshold_offset 0.1 --reason second"));
    assert!(error.contains("the file is missing"), "{error}");
    let checked = convminer(folder).args(["state", "check"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "{}", transcript(&checked));
    assert!(transcript(&checked).contains("the file is missing"), "{}", transcript(&checked));
}

/// The clock and not `--now` says when mining began.
#[test]
fn a_start_in_the_past_is_no_way_around_the_first_days() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let change = "threshold_offset 0.05 --reason hasty";
    refused(&mut tune(folder, "01-01", &format!("propose {change}")));
    let apply = format!("tune apply {change}");
    let told = refused(convminer(folder).args(apply.split(' ')));
    assert!(told.contains("nothing is tuned in its first 14 days"), "{told}");
    let history = json(convminer(folder).args(["tune", "history"]));
    assert_eq!(history["entries"][0].get("is_time_by_hand"), None);
}

#[test]
fn programs_read_json() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    begin(folder, "01-01");
    let change = "threshold_offset 0.05 --reason x";
    let refusal = json(&mut tune(folder, "01-01", &format!("apply {change}")));
    assert_eq!(refusal["entry"], Value::Null);
    assert_eq!(refusal["allowed_from"], "2025-01-15T12:00:00Z");
    assert_eq!(refusal["refusals"][0]["rule"], "first_days");
    let done = json(&mut tune(folder, "01-15", &format!("apply {change}")));
    assert_eq!((&done["refusals"], &done["to"]), (&json!([]), &json!(0.05)));
    assert_eq!(done["entry"]["event"]["rules"]["between_days"], 30);
    let standings = json(&mut tune(folder, "01-16", "current"));
    assert_eq!(standings[0]["parameter"], "threshold_offset");
    assert_eq!(standings[0]["value"], 0.05);
    assert_eq!(standings[0]["changed"], "2025-01-15T12:00:00Z");
    assert_eq!(standings[0]["allowed_from"], "2025-02-14T12:00:00Z");
    let history = json(&mut tune(folder, "01-16", "history"));
    assert_eq!(history["current"]["threshold_offset"], 0.05);
    assert_eq!(history["entries"].as_array().unwrap().len(), 2);
    let history = json(&mut tune(folder, "01-16", "history threshold-offset"));
    assert_eq!((&history["entries"][0]["number"], &history["entry_count"]), (&json!(2), &json!(2)));
    let standings = json(&mut tune(folder, "01-16", "current low_interval_seconds"));
    assert_eq!((standings[0]["value"].as_f64(), &standings[1]), (Some(1800.0), &Value::Null));
    let checked = json(&mut tune(folder, "01-16", "check high_interval_seconds"));
    assert_eq!(checked["allowed_from"], "2025-01-29T12:00:00Z");
}

#[test]
fn the_rules_are_settings() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let settings = "[tune]\nfirst-days = 0\nlimits = ['threshold_offset=-0.5..0.5/0.5']\n";
    fs::write(folder.join("convminer.toml"), settings).unwrap();
    let apply = "apply threshold_offset -0.5 --reason bold";
    begin(folder, "01-01");
    let told = refused(tune(folder, "01-01", apply).env("CONVMINER_FIRST_DAYS", "3"));
    assert!(told.contains("in its first 3 days"), "{told}");
    succeed(&mut tune(folder, "01-01", apply));
    let told =
        refused(&mut tune(folder, "01-01", "check time_quantile_shift --observation-days=2"));
    assert!(told.contains("observed for 2 days: from 2025-01-03T12:00:00Z on"), "{told}");
    let shown = succeed(convminer(folder).args(["config", "tune"]));
    assert!(shown.contains("first-days        0 "), "{shown}");
    for (bad, expected) in [
        ("--limits=threshold_offset=-9..9/1", "-1 <= LOWEST < HIGHEST <= 1"),
        ("--first-days=-1", "-1 is not in 0..=3650"),
        ("--now=today", "expected a moment"),
    ] {
        let error = fail(convminer(folder).args(["tune", "current", bad]));
        assert!(error.contains(expected), "{error}");
    }
    for (bad, expected) in [
        ("apply threshold_offset --reason x", "<VALUE>"),
        ("apply threshold_offset 0.1", "--reason"),
        ("propose lambda 0.1 --reason x", "the parameters are threshold_offset"),
        ("apply", "there is no proposal to apply"),
        ("suggest", "`convminer diagnose` makes one"),
    ] {
        let error = fail(&mut tune(folder, "02-01", bad));
        assert!(error.contains(expected), "{bad}: {error}");
    }
}

#[test]
fn a_diagnosis_becomes_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    begin(folder, "01-01");
    let better = json!({
        "value": -0.08, "gain": {"mean": 0.0123, "standard_error": 0.002}, "judged_on": 300,
    });
    let diagnosis = json!({
        "points": 700, "from_ns": noon("01-03"), "to_ns": noon("01-10"), "lost": {"class": 0.08, "time": 0.2}, "best_threshold_offset": better,
    });
    fs::write(folder.join("data/diagnostics.json"), diagnosis.to_string()).unwrap();
    insta::assert_snapshot!(succeed(&mut tune(folder, "01-10", "suggest")), @"
    1. threshold_offset from 0 to -0.05
       why: -0.08 would have earned 0.0123 more an answer (standard error 0.0020, 300 answers); 0.0800 an answer are lost to wrong classes
       allowed: from 2025-01-15T12:00:00Z on
    nothing else should be tuned:
       time_quantile_shift: what is best is not known
       calibration_shrinkage_rows: how far confidences are off is not known
    ");
    let told = succeed(&mut tune(folder, "01-20", "suggest"));
    assert!(told.contains("propose threshold_offset -0.05 --reason"), "{told}");
    let told = succeed(&mut tune(folder, "01-20", "suggest --least-points 1000"));
    assert!(told.contains("700 answers with a known truth are too few: it takes 1000"), "{told}");
    let told = succeed(&mut tune(folder, "01-25", "suggest"));
    assert!(told.contains("more than 14 days ago"), "{told}");
    let told = succeed(&mut tune(folder, "01-20", "suggest --checkpoint elsewhere/second"));
    assert!(told.contains("of checkpoint none, but `second` is served"), "{told}");
}

/// What is tuned is answered with, and what is undone is not, while the miner runs.
#[test]
fn a_running_miner_takes_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let settings = "[tune]\nfirst-days = 0\nlimits = ['threshold_offset=-1..1/1']\n";
    fs::write(folder.join("convminer.toml"), settings).unwrap();
    generate(folder, "template", 60, 3, "ask.parquet");
    let miner = start(folder, &wallet(folder), &["--allow-unregistered", &shipped()]);
    let classes = || -> Vec<bool> {
        let lines = succeed(&mut miner.query(folder, "ask.parquet"));
        let answers = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        answers.map(|answer| answer["conversion_happened"] == 1).collect()
    };
    let nothing_converts = || classes().iter().all(|converts| !converts);
    let before = classes();
    assert_eq!(before.len(), 60);
    assert!(before.contains(&true) && before.contains(&false), "{before:?}");
    let history = json(convminer(folder).args(["tune", "history"]));
    assert_eq!(history["entries"][0]["event"], json!({"kind": "started", "by": "serve"}));

    let apply = ["tune", "apply", "threshold_offset", "1", "--reason", "to see"];
    succeed(convminer(folder).args(apply));
    wait_until("nothing converts", folder, nothing_converts);

    // A history that cannot be trusted changes nothing.
    let path = history_file(folder);
    let sound = fs::read(&path).unwrap();
    fs::write(&path, String::from_utf8_lossy(&sound).replace("to see", "to sea")).unwrap();
    wait_until("refused", folder, || log(folder).contains("entry 2 was edited"));
    assert!(nothing_converts());
    fs::remove_file(&path).unwrap();
    wait_until("refused", folder, || log(folder).contains("the file is missing"));
    assert!(nothing_converts());
    fs::write(&path, sound).unwrap();

    succeed(convminer(folder).args(["tune", "revert", "--reason", "enough seen"]));
    wait_until("as before", folder, || classes() == before);
}

//! A history that was changed by something else than this program.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::tune::Parameter::{ThresholdOffset, TimeQuantileShift};

/// A history of five entries: start, proposal, change, another change, and back.
fn eventful() -> tempfile::TempDir {
    let folder = begun();
    let path = folder.path();
    at(path, day(14)).propose(&wish(ThresholdOffset, 0.05)).unwrap();
    apply(path, day(15), ThresholdOffset, 0.05);
    apply(path, day(29), TimeQuantileShift, -0.031);
    at(path, day(30)).revert(None, "worse").unwrap();
    assert_eq!(read(path).unwrap().entries().len(), 5);
    folder
}

/// What reading says after an edit; and whatever it says, no change must be possible.
fn after(edit: impl FnOnce(&mut Value)) -> Break {
    let folder = eventful();
    let path = history_path(folder.path());
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    let edited = serde_json::to_vec(&value).unwrap();
    fs::write(&path, &edited).unwrap();
    let (_, problem) = inspect(folder.path()).unwrap();
    let tuning = at(folder.path(), day(500));
    let wish = wish(ThresholdOffset, 0.1);
    for error in [
        tuning.apply(&wish).unwrap_err(),
        tuning.propose(&wish).unwrap_err(),
        tuning.check(ThresholdOffset, None).unwrap_err(),
        tuning.revert(None, "back").unwrap_err(),
        tuning.proposed(None).unwrap_err(),
        read_current(folder.path()).unwrap_err(),
        record_start(folder.path(), day(500)).unwrap_err(),
    ] {
        assert!(matches!(error, TuneError::Broken { .. }), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), edited, "nothing is repaired");
    problem.unwrap()
}

fn entries(value: &mut Value) -> &mut Vec<Value> {
    value["entries"].as_array_mut().unwrap()
}

/// Gives every entry the hash that its content has, and its follower that one, as a forger would.
fn rehash(value: &mut Value) {
    let mut previous = GENESIS.to_owned();
    for value in entries(value) {
        value["previous"] = json!(previous);
        let entry: Entry = serde_json::from_value(value.clone()).unwrap();
        previous = entry.computed_hash();
        value["hash"] = json!(previous);
    }
    value["head"] = json!(previous);
}

#[test]
fn no_edit_goes_unnoticed() {
    // One byte of a reason.
    let edited = |value: &mut Value| value["entries"][2]["event"]["reason"] = json!("to sea");
    assert_eq!(after(edited), Break::Hash { entry: 3 });
    assert_eq!(
        after(|value| value["entries"][3]["event"]["to"] = json!(-0.032)),
        Break::Hash { entry: 4 }
    );
    let earlier = |value: &mut Value| value["entries"][0]["time_ns"] = json!(START - DAY_NS);
    assert_eq!(after(earlier), Break::Hash { entry: 1 });
    let by_hand = |value: &mut Value| value["entries"][2]["is_time_by_hand"] = json!(true);
    assert_eq!(after(by_hand), Break::Hash { entry: 3 });
    // An edit whose hash is computed anew shows in the next entry, or in the head.
    let sealed = |at: usize| {
        move |value: &mut Value| {
            let value = &mut value["entries"][at];
            value["event"]["reason"] = json!("other");
            let entry: Entry = serde_json::from_value(value.clone()).unwrap();
            value["hash"] = json!(entry.computed_hash());
        }
    };
    assert_eq!(after(sealed(2)), Break::Previous { entry: 4 });
    assert_eq!(after(sealed(4)), Break::Head { entry: 5 });
}

#[test]
fn no_entry_goes_missing_or_elsewhere() {
    assert_eq!(after(|value| drop(entries(value).remove(1))), Break::Number { entry: 2, found: 3 });
    assert_eq!(after(|value| drop(entries(value).remove(0))), Break::Number { entry: 1, found: 2 });
    assert_eq!(after(|value| entries(value).swap(1, 2)), Break::Number { entry: 2, found: 3 });
    assert_eq!(after(|value| entries(value).truncate(3)), Break::Head { entry: 3 });
    assert_eq!(after(|value| entries(value).clear()), Break::Empty);
    let twice = |value: &mut Value| {
        let last = entries(value)[4].clone();
        entries(value).push(last);
    };
    assert_eq!(after(twice), Break::Number { entry: 6, found: 5 });
    let head = |value: &mut Value| value["head"] = value["entries"][3]["hash"].clone();
    assert_eq!(after(head), Break::Head { entry: 5 });
    assert_eq!(after(|value| value["head"] = json!(GENESIS)), Break::Head { entry: 5 });
    let previous = |value: &mut Value| {
        value["entries"][3]["previous"] = json!(GENESIS);
    };
    assert_eq!(after(previous), Break::Hash { entry: 4 });
}

/// What only the witness beside the history shows.
#[test]
fn no_end_goes_missing() {
    let cut = |left: usize| {
        move |value: &mut Value| {
            entries(value).truncate(left);
            value["head"] = value["entries"][left - 1]["hash"].clone();
        }
    };
    assert_eq!(after(cut(4)), Break::Cut { has: 4, had: 5 });
    assert_eq!(after(cut(1)), Break::Cut { has: 1, had: 5 });
    let anew = |value: &mut Value| {
        value["entries"][2]["event"]["reason"] = json!("other");
        rehash(value);
    };
    assert_eq!(after(anew), Break::Replaced { entry: 5 });
}

/// What inspection says after something was done to the folder, in which then nothing can be done.
fn after_doing(done: impl FnOnce(&Path)) -> Option<Break> {
    let folder = eventful();
    let path = folder.path();
    done(path);
    let (_, problem) = inspect(path).unwrap();
    let tuning = at(path, day(500));
    let error = tuning.apply(&wish(ThresholdOffset, 0.05)).err();
    let started = record_start(path, day(500)).err();
    for error in [error, started, read_current(path).err()] {
        let is_broken = matches!(error, Some(TuneError::Broken { .. }));
        assert_eq!(is_broken, problem.is_some(), "{error:?}");
    }
    problem
}

#[test]
fn no_file_goes_missing() {
    let remove = |name: &'static str| move |path: &Path| fs::remove_file(path.join(name)).unwrap();
    let write =
        |text: String| move |path: &Path| fs::write(path.join(HEAD_FILE), text.clone()).unwrap();
    let gone = after_doing(remove(HISTORY_FILE)).unwrap();
    assert_eq!(gone, Break::Gone { had: 5 });
    let words = "the file is missing, and with it 5 entries that `tuning_head.json` knows of";
    assert_eq!(gone.to_string(), words);
    let unwitnessed = after_doing(remove(HEAD_FILE)).unwrap();
    assert_eq!(unwitnessed, Break::Unwitnessed { has: 5, had: 0 });
    assert!(unwitnessed.to_string().contains("`tuning_head.json` beside it is missing"));
    for bad in ["", "{}", "{\"format\": 2, \"entries\": 5, \"head\": \"\"}"] {
        assert_eq!(after_doing(write(bad.to_owned())), Some(Break::Witness), "{bad}");
    }
    let huge = json!({"format": 1, "entries": u64::MAX, "head": GENESIS}).to_string();
    assert_eq!(after_doing(write(huge)), Some(Break::Cut { has: 5, had: u64::MAX }));
}

/// The witness of the first `entries` entries, as it was then.
fn witness_of(path: &Path, entries: usize) {
    let history = read(path).unwrap();
    let head = &history.entries()[entries - 1].hash;
    let text = json!({"format": 1, "entries": entries, "head": head}).to_string();
    fs::write(path.join(HEAD_FILE), text).unwrap();
}

/// A crash between the two files leaves the history one entry ahead, and never more.
#[test]
fn a_crash_between_the_files_is_no_break() {
    assert_eq!(after_doing(|path| witness_of(path, 4)), None);
    assert_eq!(
        after_doing(|path| witness_of(path, 3)),
        Some(Break::Unwitnessed { has: 5, had: 3 })
    );
    let folder = begun();
    let path = folder.path();
    fs::remove_file(path.join(HEAD_FILE)).unwrap();
    assert_eq!(read(path).unwrap().entries().len(), 1, "the first entry has no witness before it");
    // What is written next brings the witness along, and so on.
    for entries in 2..5 {
        let to = entries as f64 / 100.0;
        assert!(at(path, day(14)).propose(&wish(ThresholdOffset, to)).unwrap().entry.is_some());
        assert_eq!(read(path).unwrap().entries().len(), entries);
        witness_of(path, entries - 1);
    }
    let late = at(path, day(14)).apply(&wish(ThresholdOffset, 0.06)).unwrap();
    assert_eq!(late.entry, None, "a refusal writes the witness too");
    let witness = fs::read_to_string(path.join(HEAD_FILE)).unwrap();
    assert!(witness.contains("\"entries\": 4"), "{witness}");
}

/// Whose hashes are all computed anew must still be possible.
#[test]
fn a_forgery_must_at_least_make_sense() {
    let forged = |edit: fn(&mut Value)| {
        move |value: &mut Value| {
            edit(value);
            rehash(value);
        }
    };
    let older = forged(|value| value["entries"][3]["time_ns"] = json!(day(1)));
    assert_eq!(after(older), Break::Time { entry: 4 });
    let elsewhere = forged(|value| value["entries"][2]["event"]["from"] = json!(0.01));
    assert_eq!(after(elsewhere), Break::Change { entry: 3 });
    let impossible = forged(|value| value["entries"][2]["event"]["to"] = json!(7.0));
    assert_eq!(after(impossible), Break::Change { entry: 3 });
    let again =
        forged(|value| value["entries"][4]["event"] = json!({"kind": "started", "by": "serve"}));
    assert_eq!(after(again), Break::Start { entry: 5 });
    let none = forged(|value| {
        value["entries"][0]["event"] = value["entries"][1]["event"].clone();
    });
    assert_eq!(after(none), Break::Start { entry: 1 });
}

#[test]
fn another_file_is_no_history() {
    let folder = eventful();
    let path = history_path(folder.path());
    let sound: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut newer = sound.clone();
    newer["format"] = json!(2);
    newer["new"] = json!(0);
    fs::write(&path, newer.to_string()).unwrap();
    assert!(matches!(inspect(folder.path()), Err(TuneError::Format { found: 2, .. })));
    let text = sound.to_string();
    let half = &text[..text.len() / 2];
    let mut extra = sound.clone();
    extra["entries"][2]["event"]["note"] = json!("added");
    let mut outside = sound.clone();
    outside["entries"][2]["note"] = json!("added");
    for bad in ["", "{}", "[]", half, &extra.to_string(), &outside.to_string()] {
        fs::write(&path, bad).unwrap();
        let error = inspect(folder.path()).unwrap_err();
        assert!(matches!(error, TuneError::Unreadable { .. }), "{bad}: {error:?}");
        assert!(at(folder.path(), day(500)).apply(&wish(ThresholdOffset, 0.1)).is_err());
    }
    // How it is laid out does not matter.
    fs::write(&path, &text).unwrap();
    assert_eq!(read(folder.path()).unwrap().head(), sound["head"].as_str().unwrap());
}

#[test]
fn a_break_says_where() {
    for (problem, expected) in [
        (Break::Start { entry: 1 }, "entry 1 is not the start"),
        (Break::Start { entry: 4 }, "entry 4 is a second start"),
        (Break::Hash { entry: 2 }, "entry 2 was edited"),
    ] {
        assert_eq!(problem.to_string(), expected);
    }
}

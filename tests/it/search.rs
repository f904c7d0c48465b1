//! The search for a training configuration, through the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use convminer::features::table::{self, LabelMode};
use convminer::search::Parts;
use convminer::train::TrainConfig;
use serde_json::{Value, json};

use crate::support::{QUICK, convminer, fail, generate, signal, succeed, transcript};

/// A folder with conversations and a start that is trained in a moment.
fn prepared(rows: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "noisy", rows, 5, "data.csv");
    fs::write(folder.path().join("start.toml"), QUICK).unwrap();
    folder
}

fn arguments(more: &str) -> Vec<String> {
    let line = format!("search --data data.csv --config start.toml --device cpu {more}");
    line.split_whitespace().map(str::to_owned).collect()
}

fn search(folder: &Path, more: &str) -> Value {
    let stdout = succeed(convminer(folder).args(arguments(&format!("{more} --json"))));
    serde_json::from_str(&stdout).unwrap()
}

/// The lines of the results, without what differs from run to run.
fn lines(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("trials.ndjson")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let seconds = line.as_object_mut().unwrap().remove("seconds");
            assert!(seconds.unwrap().as_f64().unwrap() >= 0.0);
            line
        })
        .collect()
}

/// Waits until the results have so many lines, or the search has ended.
fn wait_for_lines(folder: &Path, count: usize, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while lines(folder).len() < count && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no {count} results in five minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn spawned(folder: &Path, more: &str) -> Child {
    let mut command = convminer(folder);
    command.args(arguments(more)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The search ends with a file that trains a miner which earns what the search said.
#[test]
fn what_was_found_is_what_training_gives() {
    let folder = prepared(4600);
    let folder = folder.path();
    let found = search(folder, "--trials 5 --out s");
    let records = found["records"].as_array().unwrap();
    let all_rows = found["rungs"].as_array().unwrap().last().unwrap();
    assert_eq!(found["rungs"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!((&found["trials"], &found["ended"]), (&json!(5), &json!("completed")));
    let on_top: Vec<&Value> = records.iter().filter(|it| it["rows"] == *all_rows).collect();
    let reward = |record: &Value| record["reward"].as_f64().unwrap();
    let best = on_top.iter().find(|it| it["trial"] == found["best"]).unwrap();
    assert!(on_top.iter().all(|it| reward(it) <= reward(best)));
    let start = on_top.iter().find(|it| it["trial"] == 0).unwrap();
    let quick = TrainConfig::from_toml(QUICK).unwrap();
    assert_eq!(start["config"], serde_json::to_value(&quick).unwrap());
    assert!(best["standard_error"].as_f64().unwrap() > 0.0);
    assert!(!best["networks"].as_array().unwrap().is_empty());

    // What is written is the whole configuration of the best.
    let text = fs::read_to_string(folder.join("s/train.toml")).unwrap();
    let config = TrainConfig::from_toml(&text).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), best["config"]);

    // Trained on the rows of the search and evaluated on those that judged, it earns what was said.
    let labels = LabelMode::Required { drop_invalid: false };
    let table = table::read(&folder.join("data.csv"), labels).unwrap();
    let truths = table.truths.as_ref().unwrap();
    let parts = Parts::new(&table.conversations, truths, &quick, 7).unwrap();
    let csv = fs::read_to_string(folder.join("data.csv")).unwrap();
    let csv: Vec<&str> = csv.lines().collect();
    for (name, rows) in [("training", parts.training()), ("judged", &parts.judged)] {
        let chosen = rows.iter().map(|row| csv[row + 1]);
        let text: Vec<&str> = [csv[0]].into_iter().chain(chosen).collect();
        fs::write(folder.join(format!("{name}.csv")), text.join("\n") + "\n").unwrap();
    }
    let train = "train --data training.csv --config s/train.toml --out c --device cpu";
    succeed(convminer(folder).args(train.split(' ')));
    let evaluate = "evaluate --data judged.csv --checkpoint c --json";
    let scores = succeed(convminer(folder).args(evaluate.split(' ')));
    let scores: Value = serde_json::from_str(&scores).unwrap();
    let again = scores["miner"]["mean_reward"].as_f64().unwrap();
    assert!((again - reward(best)).abs() < 1e-6, "{again} and {}", reward(best));
    assert_eq!(scores["rows"], found["judged_rows"]);

    // A finished search says the same again, and writes nothing more.
    let before = lines(&folder.join("s"));
    let unseen = &found["unseen"];
    assert_eq!(unseen["best"], found["best"]);
    let again = search(folder, "--trials 5 --out s");
    assert_eq!((&again["best"], &again["unseen"]), (&found["best"], unseen));
    assert_eq!(lines(&folder.join("s")), before);
}

/// Killed twice at any moment, and with fewer trials at first: the results are those of one run.
#[test]
fn a_killed_search_goes_on() {
    let folder = prepared(4600);
    let folder = folder.path();
    let whole = search(folder, "--trials 9 --out whole");
    // So many that none comes to its end before it is killed; if one does, it is no matter.
    for (count, trials) in [(2, 7), (4, 9)] {
        let mut child = spawned(folder, &format!("--trials {trials} --out broken"));
        wait_for_lines(&folder.join("broken"), count, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // As a kill in the middle of a line leaves it.
    let file = folder.join("broken/trials.ndjson");
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"trial\":3,\"ru");
    fs::write(&file, text).unwrap();

    let output =
        convminer(folder).args(arguments("--trials 9 --out broken --json")).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the last line of the results was not whole"), "{stderr}");
    let broken: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(lines(&folder.join("broken")), lines(&folder.join("whole")));
    for part in ["best", "unseen", "verdict", "rungs", "trials"] {
        assert_eq!(broken[part], whole[part], "{part}");
    }
    let file = |name: &str, file: &str| fs::read(folder.join(name).join(file)).unwrap();
    for part in ["train.toml", "search.json", "unseen.json"] {
        assert!(file("broken", part) == file("whole", part), "{part}");
    }
    let torn = torn_files(&folder.join("broken"));
    assert_eq!(torn.len(), 1);
    assert_eq!(fs::read_to_string(&torn[0]).unwrap(), "{\"trial\":3,\"ru");
}

fn torn_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".torn-")).collect()
}

/// The start is measured however short the time is; what is left is done when there is more.
#[test]
fn a_short_time_still_measures_the_start() {
    let folder = prepared(3200);
    let folder = folder.path();
    let found = search(folder, "--trials 3 --minutes 0.0001 --out s");
    assert_eq!((&found["trials"], &found["ended"]), (&json!(1), &json!("out_of_time")));
    assert_eq!((&found["best"], &found["verdict"]), (&json!(0), &json!("is_start")));
    let table = succeed(convminer(folder).args(arguments("--trials 3 --out s")));
    assert!(table.contains("the start"), "{table}");
    assert!(table.contains("rows that no decision saw"), "{table}");
    assert_eq!(lines(&folder.join("s")).len(), 3);
}

#[test]
fn ctrl_c_ends_it_with_what_there_is() {
    let folder = prepared(3200);
    let folder = folder.path();
    let mut child = spawned(folder, "--trials 1000 --out s --json");
    wait_for_lines(&folder.join("s"), 2, &mut child);
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["ended"], "interrupted");
    assert_eq!(found["records"].as_array().unwrap().len(), lines(&folder.join("s")).len());
    assert!(folder.join("s/train.toml").exists());
    assert!(found["unseen"].is_object(), "the best of this run needs no training again");
}

/// The weight of the class is infinite as an f32, in the start and what is drawn around it.
#[test]
fn a_trial_that_diverges_is_a_result() {
    let folder = prepared(3200);
    let folder = folder.path();
    let start = format!("loss = 'reward'\n{QUICK}[reward_loss]\nclass = 1e300\n");
    fs::write(folder.join("start.toml"), start).unwrap();
    let stderr = fail(convminer(folder).args(arguments("--trials 3 --out s")));
    assert!(stderr.contains("no trial could be trained on all rows"), "{stderr}");
    let lines = lines(&folder.join("s"));
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("was never a number"), "{error}");
        assert_eq!(line["reward"], Value::Null);
    }
}

#[test]
fn refused_before_the_work() {
    let folder = prepared(3200);
    let folder = folder.path();
    search(folder, "--trials 1 --out s");
    let before = lines(&folder.join("s"));
    generate(folder, "noisy", 3200, 6, "other.csv");
    generate(folder, "noisy", 99, 6, "few.csv");
    fs::write(folder.join("other.toml"), format!("seed = 8\n{QUICK}")).unwrap();
    fs::write(folder.join("bad.toml"), "[[classifier]]\nepoch = 3\n").unwrap();
    for (arguments, expected) in [
        ("--data data.csv --config start.toml --seed 8 --out s", "another seed: 7 there, and 8"),
        ("--data other.csv --config start.toml --out s", "another content of the data"),
        ("--data few.csv --config start.toml --out t", "at least 100 labelled rows"),
        ("--data data.csv --config other.toml --out s", "another start or space"),
        ("--data data.csv --config bad.toml --out t", "unknown field `epoch`"),
        ("--data data.csv --config none.toml --out t", "cannot read `none.toml`"),
        ("--data data.csv --config start.toml --out .", "has files and no search.json"),
        ("--data data.csv --minutes 0", "expected a number of minutes above 0"),
        ("--data data.csv --trials 0", "0 is not in 1..=1000000"),
        ("--data none.csv", "`none.csv`: no such file"),
    ] {
        let mut command = convminer(folder);
        let stderr = fail(command.arg("search").args(arguments.split(' ')));
        assert!(stderr.contains(expected), "{arguments}:\n{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    assert_eq!(lines(&folder.join("s")), before);
    assert!(!folder.join("t/trials.ndjson").exists());
    assert!(!folder.join(".lock").exists());
}

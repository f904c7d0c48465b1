//! The report, as a page and as JSON.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{convminer, fail, generate, succeed};

const QUICK: &str = "
folds = 1
[[classifier]]
architecture = 'tabular'
epochs = 2
[[classifier]]
architecture = 'mlp'
epochs = 2
[[regressor]]
architecture = 'mlp'
epochs = 2
";

/// Every element that opens closes, in order; every attribute is quoted; every `&` begins an
/// entity. What HTML would forgive, this does not.
fn check_well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(start) = rest.find('<') {
        check_entities(&rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag that ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        let context: String = rest.chars().take(60).collect();
        assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "<{tag}> {context}");
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "<{tag}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {context}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(rest.trim(), "");
    assert!(open.is_empty(), "{open:?} never close");
}

fn check_entities(text: &str) {
    for (index, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(known.iter().any(|entity| text[index..].starts_with(entity)), "{text}");
    }
    assert!(!text.contains('>') || text.contains('{'), "{text}");
}

/// The page is whole, and asks nothing of a network or a script.
fn check_page(path: &Path) -> String {
    let html = fs::read_to_string(path).unwrap();
    check_well_formed(&html);
    for word in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "NaN"] {
        assert!(!html.contains(word), "{word} is in {}", path.display());
    }
    html
}

#[test]
fn the_page_and_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 2500, 1, "train.parquet");
    generate(folder, "noisy", 600, 2, "test.csv");
    fs::write(folder.join("quick.toml"), QUICK).unwrap();
    for (name, seed) in [("a", "1"), ("b", "2")] {
        succeed(convminer(folder).args([
            "train",
            "--data",
            "train.parquet",
            "--config",
            "quick.toml",
            "--seed",
            seed,
            "--out",
            name,
        ]));
    }
    let of_training = check_page(&folder.join("a/report.html"));
    for words in
        ["held out of training", "classifier mlp alone", "Training loss of the classifiers", "<svg"]
    {
        assert!(of_training.contains(words), "{words}");
    }

    succeed(
        convminer(folder)
            .args("report --data test.csv --checkpoint a --against b --out both.html".split(' ')),
    );
    let both = check_page(&folder.join("both.html"));
    for words in ["the other: b", "over the other", "Where it is lost", "Coverage"] {
        assert!(both.contains(words), "{words}");
    }

    // The numbers are those of `evaluate`, for both checkpoints, and are the same at each run.
    let arguments = "report --data test.csv --checkpoint a --against b --json";
    let json = succeed(convminer(folder).args(arguments.split(' ')));
    assert_eq!(json, succeed(convminer(folder).args(arguments.split(' '))));
    let report: Value = serde_json::from_str(&json).unwrap();
    for (name, part) in [("a", "evaluation"), ("b", "against_evaluation")] {
        let arguments = format!("evaluate --data test.csv --checkpoint {name} --json");
        let evaluated = succeed(convminer(folder).args(arguments.split(' ')));
        let mut evaluated: Value = serde_json::from_str(&evaluated).unwrap();
        for key in ["checkpoint", "data"] {
            evaluated.as_object_mut().unwrap().remove(key).unwrap();
        }
        assert_eq!(report[part], evaluated, "{name}");
    }
    let miner = &report["evaluation"]["miner"]["mean_reward"];
    assert_eq!(&report["scores"]["rows"][0]["scores"]["mean_reward"], miner);
    assert_eq!(report["data"]["rows"], 600);
    assert_eq!(report["learning"].as_array().unwrap().len(), 3);
    assert_eq!(report["importance"]["features"].as_array().unwrap().len(), 40);
    assert_eq!(report["discrimination"]["roc"].as_array().unwrap().len(), 101);
    // With --json, only a page that was asked for is written.
    assert!(!folder.join("report.html").exists());
}

#[test]
fn odd_data_has_a_page_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 10, 1, "ten.csv");
    let header = "session_id,conversation_duration_seconds,message_ratio,\
                  entities_collected_count,has_target_entity,conversion_happened,\
                  time_to_conversion_seconds\n";
    let rows: String =
        (0..12).map(|row| format!("s{row},{},1.5,2,1,1,{}\n", 60 + row, 50 + row)).collect();
    fs::write(folder.join("yes.csv"), format!("{header}{rows}")).unwrap();
    let name = "a<b>&\"c'";
    for (data, name) in [("ten.csv", name), ("yes.csv", "yes")] {
        succeed(convminer(folder).args(["train", "--data", data, "--out", name]));
        check_page(&folder.join(name).join("report.html"));
        // Without a name it is written here.
        for data in ["ten.csv", "yes.csv"] {
            succeed(convminer(folder).args(["report", "--data", data, "--checkpoint", name]));
            check_page(&folder.join("report.html"));
        }
    }
}

#[test]
fn what_cannot_be_reported_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 30, 1, "a.csv");
    succeed(convminer(folder).args("train --data a.csv --epochs 1 --out a".split(' ')));
    for (arguments, expected) in [
        ("report --data a.csv", "no checkpoint in `checkpoints`"),
        ("report --data a.csv --checkpoint b", "`b` is not a checkpoint"),
        ("report --data a.csv --checkpoint a --against b", "`b` is not a checkpoint"),
        ("report --data none.csv --checkpoint a", "`none.csv`: no such file"),
        ("report --data a.csv --checkpoint a --out no/page.html", "cannot write `no/page.html`"),
    ] {
        let stderr = fail(convminer(folder).args(arguments.split(' ')));
        assert!(stderr.contains(expected), "{arguments}:\n{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

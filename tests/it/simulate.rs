//! `convminer simulate`: miners live through a few days.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{convminer, transcript};

const SHORT: [&str; 10] = [
    "simulate",
    "--scenario",
    "flip",
    "--days",
    "3",
    "--event-day",
    "1",
    "--per-day",
    "40",
    "--training-rows=2000",
];

fn simulated(folder: &Path) -> Value {
    let output = convminer(folder).args(SHORT).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_seed_is_a_course_of_days() {
    let folder = TempDir::new().unwrap();
    let first = simulated(folder.path());
    let days = first["days"].as_array().unwrap();
    assert_eq!(days.len(), 3);
    for day in days {
        for reward in day["miners"].as_array().unwrap() {
            // Who says always no gets about 0.32, and the best is 0.6.
            assert!((0.4..0.65).contains(&reward.as_f64().unwrap()), "{day}");
        }
    }
    let page = std::fs::read_to_string(folder.path().join("simulation.html")).unwrap();
    assert!(page.contains("the opposite of what became of day 1"));
    assert_eq!(simulated(folder.path())["days"], first["days"]);
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let folder = TempDir::new().unwrap();
    for (arguments, why) in [
        (&["--days", "1"][..], "1 is not in 2..=3650"),
        (&["--days", "3", "--event-day", "3"], "expected an --event-day below --days"),
        (&["--keep", "."], "it is not empty"),
    ] {
        std::fs::write(folder.path().join("mine.txt"), "").unwrap();
        let arguments = [&["simulate", "--scenario", "drift"], arguments].concat();
        let output = convminer(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", transcript(&output));
        assert!(transcript(&output).contains(why), "{}", transcript(&output));
    }
}

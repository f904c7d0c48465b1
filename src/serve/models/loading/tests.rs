//! Checkpoints of every condition, at the start and while serving.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::features::Conversation;
use crate::features::scaler::Scaler;
use crate::model::Model;
use crate::model::baseline::Baseline;
use crate::model::calibration::{self, Calibration, Method};
use crate::model::decision::{Decision, Rule};
use crate::model::ensemble::Ensemble;
use crate::model::networks::Combination;
use crate::serve::live::Refresh;
use crate::serve::worker::{ModelLimits, ModelThread};
use crate::subnet::reward::{ClassWeights, RewardSpec};

const FILES: [&str; 5] = [
    checkpoint::WEIGHTS,
    checkpoint::SCALER,
    checkpoint::BASELINE,
    "calibration.json",
    "decision.json",
];

fn predictor(combination: Combination) -> Predictor {
    let samples: Vec<_> = samples::conversations().iter().collect();
    Predictor {
        scaler: Scaler::fit(&samples),
        ensemble: Some(Ensemble::sample(combination)),
        baseline: Baseline::constant(9, &[50.0, 51.0, 90.0]),
        calibration: Calibration::default(),
        decision: Decision::fit(Rule::Reward, &[], 0.4),
        spec: RewardSpec::MAIN,
        class_weights: ClassWeights::START,
    }
}

fn save(path: &Path, predictor: &Predictor) {
    let mut manifest = checkpoint::Manifest::of(predictor);
    (manifest.data.rows, manifest.data.converted) = (9, 3);
    checkpoint::save(path, predictor, manifest).unwrap();
}

fn saved(path: &Path) -> Predictor {
    let predictor = predictor(Combination::Probabilities);
    save(path, &predictor);
    predictor
}

fn load(path: &Path) -> Result<Registry, ModelsError> {
    Registry::load(Source::Folder(path.to_owned()), Device::flex(), LoadOptions::default())
}

fn pinned_to(name: &str) -> LoadOptions {
    LoadOptions { pin: Some(name.to_owned()), ..LoadOptions::default() }
}

fn source(root: &Path) -> Source {
    Source::Latest { root: root.to_owned(), otherwise: root.join("default") }
}

fn names(registry: &Registry) -> Vec<String> {
    registry.statistics().into_iter().map(|statistics| statistics.name).collect()
}

/// The confidence in a conversation of which nothing is known, and whose it is.
fn answer(registry: &Registry) -> (f64, String) {
    let answered = registry.predict(&[Conversation::EMPTY]).remove(0).unwrap();
    (answered.prediction.answer().confidence, answered.model.to_string())
}

fn truncate(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_whole_checkpoint_has_three_models() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let predictor = saved(&path);
    let registry = load(&path).unwrap();
    assert_eq!(names(&registry), NAMES);
    assert_eq!(registry.warnings(), [""; 0]);
    assert_eq!(registry.checkpoint(), path.display().to_string());
    for (answered, expected) in registry
        .predict(samples::conversations())
        .into_iter()
        .zip(predictor.predict(samples::conversations()))
    {
        let answered = answered.unwrap();
        assert_eq!((answered.prediction.answer(), &*answered.model), (expected, ENSEMBLE));
    }
    for (pin, confidence) in [(BASELINE, 0.35), (CONSTANT, 0.35)] {
        let source = Source::Folder(path.clone());
        let pinned = Registry::load(source, Device::flex(), pinned_to(pin)).unwrap();
        let (found, name) = answer(&pinned);
        assert!((found - confidence).abs() < 1e-6);
        assert_eq!((name.as_str(), names(&pinned)[0].as_str()), (pin, pin));
    }
    let error =
        Registry::load(Source::Folder(path), Device::flex(), pinned_to("best")).unwrap_err();
    let expected =
        "expected the name of a model, one of ensemble, baseline, constant, but found `best`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn to_begin_with_what_is_left_answers() {
    for (damaged, left) in [
        (checkpoint::WEIGHTS, &[BASELINE, CONSTANT][..]),
        (checkpoint::SCALER, &[CONSTANT]),
        (checkpoint::BASELINE, &[ENSEMBLE, CONSTANT]),
        ("calibration.json", &NAMES),
        ("decision.json", &NAMES),
        ("manifest.json", &[CONSTANT]),
    ] {
        for remove in [false, true] {
            if remove && damaged == "manifest.json" {
                continue;
            }
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("a");
            saved(&path);
            if remove {
                fs::remove_file(path.join(damaged)).unwrap();
            } else {
                truncate(&path.join(damaged));
            }
            let registry = load(&path).unwrap();
            assert_eq!(names(&registry), left, "{damaged}");
            assert_eq!(answer(&registry).1, left[0]);
            let warnings = registry.warnings().join("\n");
            assert!(warnings.contains(damaged), "{damaged}: {warnings}");
            if left.len() < 3 {
                assert!(warnings.contains(&format!("so the {} answers", left[0])), "{warnings}");
            }
        }
    }
}

#[test]
fn a_folder_that_is_no_checkpoint_is_an_error_if_it_was_named() {
    let root = tempfile::tempdir().unwrap();
    for path in [root.path().join("none"), root.path().to_owned()] {
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("is not a checkpoint"), "{error}");
    }
}

#[test]
fn without_any_checkpoint_the_constant_answers_until_there_is_one() {
    let root = tempfile::tempdir().unwrap();
    let registry =
        Registry::load(source(root.path()), Device::flex(), LoadOptions::default()).unwrap();
    assert_eq!(answer(&registry), (0.05, CONSTANT.to_owned()));
    assert!(registry.warnings().join("").contains("so the constant answers"));
    assert_eq!(registry.refresh(), Refresh::Unchanged);
    let path = root.path().join("first");
    saved(&path);
    checkpoint::set_latest(&path).unwrap();
    assert_eq!(registry.refresh(), Refresh::Replaced);
    assert_eq!((answer(&registry).1.as_str(), registry.warnings().len()), (ENSEMBLE, 0));
    // Who removes the file does not want the miner to forget what it knows.
    fs::remove_file(root.path().join(LATEST)).unwrap();
    assert!(matches!(registry.refresh(), Refresh::Refused(_)));
    assert_eq!(registry.checkpoint(), path.display().to_string());
}

#[test]
fn a_latest_that_names_nothing_leaves_the_default() {
    let root = tempfile::tempdir().unwrap();
    saved(&root.path().join("default"));
    for latest in [None, Some("gone"), Some("../etc")] {
        if let Some(latest) = latest {
            fs::write(root.path().join(LATEST), latest).unwrap();
        }
        let registry =
            Registry::load(source(root.path()), Device::flex(), LoadOptions::default()).unwrap();
        assert_eq!(answer(&registry).1, ENSEMBLE);
        assert!(registry.checkpoint().ends_with("default"));
        assert_eq!(registry.warnings().len(), usize::from(latest.is_some()));
    }
}

#[test]
fn a_new_checkpoint_with_any_damage_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let old = root.path().join("old");
    saved(&old);
    checkpoint::set_latest(&old).unwrap();
    let registry =
        Registry::load(source(root.path()), Device::flex(), LoadOptions::default()).unwrap();
    let before = answer(&registry);
    for damaged in FILES.into_iter().chain(["manifest.json"]) {
        let new = root.path().join(format!("without-{damaged}"));
        save(&new, &predictor(Combination::Logits));
        truncate(&new.join(damaged));
        checkpoint::set_latest(&new).unwrap();
        let Refresh::Refused(reason) = registry.refresh() else { panic!("{damaged}") };
        assert!(reason.contains("damaged") && reason.contains(damaged), "{reason}");
        assert!(matches!(registry.refresh(), Refresh::StillRefused(_)));
        assert_eq!(
            (answer(&registry), registry.checkpoint()),
            (before.clone(), old.display().to_string())
        );
    }
    let requests = registry.statistics()[0].requests;
    let new = root.path().join("new");
    save(&new, &predictor(Combination::Logits));
    checkpoint::set_latest(&new).unwrap();
    assert_eq!(registry.refresh(), Refresh::Replaced);
    assert_ne!(answer(&registry).0, before.0);
    assert_eq!(registry.statistics()[0].requests, requests + 1, "statistics go on");
    // A calibration that is replaced in it is watched now.
    let constant = calibration::fit(Method::Bins, 1, &[0.5; 1000], &[true; 1000]);
    checkpoint::replace_calibration(&new, &constant).unwrap();
    assert_eq!(registry.refresh(), Refresh::Replaced);
    assert!(answer(&registry).0 > 0.9);
}

#[test]
fn networks_that_say_the_same_of_all_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (old, new) = (root.path().join("old"), root.path().join("new"));
    saved(&old);
    checkpoint::set_latest(&old).unwrap();
    let registry =
        Registry::load(source(root.path()), Device::flex(), LoadOptions::default()).unwrap();
    // It never saw an input vary, so it lets none through.
    let mut blind = predictor(Combination::Probabilities);
    blind.scaler = Scaler::fit(&[]);
    save(&new, &blind);
    checkpoint::set_latest(&new).unwrap();
    let Refresh::Refused(reason) = registry.refresh() else { panic!("taken up") };
    assert!(reason.contains("the same of all"), "{reason}");
}

/// Requests go on while `latest` changes all the time: none is lost, none gets a mixture.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_loses_no_request() {
    let root = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| root.path().join(name));
    save(&paths[0], &predictor(Combination::Probabilities));
    save(&paths[1], &predictor(Combination::Logits));
    let possible: Vec<f64> = paths.iter().map(|path| answer(&load(path).unwrap()).0).collect();
    assert_ne!(possible[0], possible[1]);
    checkpoint::set_latest(&paths[0]).unwrap();
    let registry =
        Registry::load(source(root.path()), Device::flex(), LoadOptions::default()).unwrap();
    let registry = Arc::new(registry);
    let thread = ModelThread::start(Arc::clone(&registry), ModelLimits::default()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let callers = (0..4).map(|_| {
        let (handle, done) = (thread.handle(), Arc::clone(&done));
        let possible = possible.clone();
        tokio::spawn(async move {
            let mut seen = [0; 2];
            while !done.load(Ordering::Relaxed) {
                let deadline = Instant::now() + Duration::from_secs(30);
                let reply = handle.predict(Conversation::EMPTY, deadline).await.unwrap();
                let confidence = reply.prediction.answer().confidence;
                let which = possible.iter().position(|possible| *possible == confidence);
                seen[which.unwrap()] += 1;
            }
            seen
        })
    });
    let callers: Vec<_> = callers.collect();
    for round in 1..=10 {
        let asked = registry.statistics()[0].requests;
        checkpoint::set_latest(&paths[round % 2]).unwrap();
        assert_eq!(registry.refresh(), Refresh::Replaced);
        while registry.statistics()[0].requests < asked + 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    let mut seen = [0; 2];
    for caller in callers {
        let [a, b] = caller.await.unwrap();
        seen = [seen[0] + a, seen[1] + b];
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    let statistics = &registry.statistics()[0];
    assert_eq!((statistics.requests, statistics.failures), (seen[0] + seen[1], 0));
    assert!(thread.stop(Duration::from_secs(30)).await);
}

/// The checkpoint that comes with the project: what is trained agrees as well as what is random.
#[test]
fn the_default_checkpoint_passes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/default");
    let registry = load(&path).unwrap();
    assert_eq!(
        (names(&registry), registry.warnings().len()),
        (NAMES.map(str::to_owned).to_vec(), 0)
    );
    let predictor = checkpoint::load(&path, &Device::flex()).unwrap();
    assert_eq!(samples::check_networks(&predictor), Ok(()));
}

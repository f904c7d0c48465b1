//! The files of a checkpoint that hold numbers.

use std::sync::LazyLock;

use convminer::features::scaler::Scaler;
use convminer::model::baseline::Baseline;
use convminer::model::calibration::Calibration;
use convminer::model::checkpoint::Manifest;
use convminer::model::decision::Decision;
use convminer::model::{Model, Predictor};
use convminer::subnet::reward::{ClassWeights, RewardSpec};
use serde::de::DeserializeOwned;

/// What comes with the project, where an input is another file.
struct Bundled {
    scaler: Scaler,
    baseline: Baseline,
    calibration: Calibration,
    decision: Decision,
}

static BUNDLED: LazyLock<Bundled> = LazyLock::new(|| Bundled {
    scaler: bundled(include_bytes!("../../checkpoints/default/scaler.json")),
    baseline: bundled(include_bytes!("../../checkpoints/default/baseline.json")),
    calibration: bundled(include_bytes!("../../checkpoints/default/calibration.json")),
    decision: bundled(include_bytes!("../../checkpoints/default/decision.json")),
});

fn bundled<T: DeserializeOwned>(bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).expect("the bundled checkpoint can be read")
}

/// Whatever file is accepted, the answers that it leads to are ones that a validator takes.
pub(crate) fn run(bytes: &[u8]) {
    let scaler = valid(bytes, Scaler::is_valid);
    let baseline = valid(bytes, Baseline::is_valid);
    let calibration = valid(bytes, Calibration::is_valid);
    let decision = valid(bytes, Decision::is_valid);
    if scaler.is_some() || baseline.is_some() || calibration.is_some() || decision.is_some() {
        answer(Predictor {
            scaler: scaler.unwrap_or_else(|| BUNDLED.scaler.clone()),
            ensemble: None,
            baseline: baseline.unwrap_or_else(|| BUNDLED.baseline.clone()),
            calibration: calibration.unwrap_or_else(|| BUNDLED.calibration.clone()),
            decision: decision.unwrap_or_else(|| BUNDLED.decision.clone()),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        });
    }
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        let written = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        serde_json::from_slice::<Manifest>(&written).expect("what is written can be read");
    }
}

/// As a checkpoint is read: parsed, then checked.
fn valid<T: DeserializeOwned>(bytes: &[u8], is_valid: fn(&T) -> bool) -> Option<T> {
    serde_json::from_slice(bytes).ok().filter(is_valid)
}

fn answer(predictor: Predictor) {
    let conversations = super::conversations();
    let answers = predictor.predict(&conversations);
    assert_eq!(answers.len(), conversations.len());
    for answer in answers {
        assert_eq!(answer.check(), Ok(()), "{answer:?} of {predictor:?}");
    }
    for probability in [0.0, 1e-300, 0.3, 0.5, 1.0] {
        let calibrated = predictor.calibration.apply(probability);
        assert!(calibrated > 0.0 && calibrated < 1.0, "{calibrated} of {probability}");
        for seconds in [-1.0, 0.0, 62.0, 1e300] {
            let (spec, weights) = (&predictor.spec, predictor.class_weights);
            let answer = predictor.decision.answer(calibrated, seconds, spec, weights);
            assert_eq!(answer.check(), Ok(()), "{answer:?} of {:?}", predictor.decision);
        }
    }
}

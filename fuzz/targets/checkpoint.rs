//! The manifest of a checkpoint, whose shapes the networks are built in.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::Device;
use convminer::model::{Model, checkpoint};
use tempfile::TempDir;

/// The bundled checkpoint, into which each input goes as the manifest.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = super::folder();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../checkpoints/default");
    for name in
        ["weights.safetensors", "scaler.json", "baseline.json", "calibration.json", "decision.json"]
    {
        fs::copy(bundled.join(name), folder.path().join(name)).expect("the checkpoint is bundled");
    }
    folder
});

/// A manifest is refused, or gives a miner that answers.
pub(crate) fn run(bytes: &[u8]) {
    let folder = FOLDER.path();
    fs::write(folder.join("manifest.json"), bytes).expect("the folder can be written to");
    let Ok(predictor) = checkpoint::load(folder, &Device::flex()) else { return };
    for answer in predictor.predict(&super::conversations()) {
        assert_eq!(answer.check(), Ok(()), "{answer:?}");
    }
}

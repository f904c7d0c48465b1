//! The model that all miners begin with.

use std::path::Path;

use burn::tensor::Device;

use super::SimulateError;
use super::plan::Plan;
use super::world::{Regime, World};
use crate::clock::Moment;
use crate::features::Conversation;
use crate::model::checkpoint::{self, DataRecord, Manifest, TrainingSample};
use crate::train::{TrainConfig, train as train_miner};

/// Trains the first model on conversations from before any event, and saves it.
pub(super) fn train(plan: &Plan, folder: &Path, now_ns: u64) -> Result<(), SimulateError> {
    let mut world = World::new(plan.seed);
    let examples: Vec<_> = (0..plan.training_rows).map(|_| world.next(Regime::Before)).collect();
    let conversations: Vec<_> =
        examples.iter().map(|example| Conversation::of(&example.features)).collect();
    let truths: Vec<_> = examples.iter().map(|example| example.truth).collect();
    let config = TrainConfig { seed: plan.seed, ..TrainConfig::default() };
    let trained = train_miner(&conversations, &truths, &config, &Device::flex(), &mut ())
        .map_err(|error| SimulateError::First(error.into()))?;
    let manifest = Manifest {
        created: Moment::of_ns(now_ns).rfc3339(),
        seed: plan.seed,
        device: "cpu".to_owned(),
        data: DataRecord {
            file: "simulated".to_owned(),
            sha256: String::new(),
            rows: truths.len(),
            converted: truths.iter().filter(|truth| truth.converted).count(),
            validation_rows: trained.held_out.rows.len(),
        },
        metrics: serde_json::to_value(&trained.evaluation)
            .map_err(|error| SimulateError::First(error.into()))?,
        coverage: Some(trained.coverage),
        ..Manifest::of(&trained.predictor)
    };
    let rows = trained.held_out.others(truths.len());
    let most = checkpoint::MOST_SAMPLE_ROWS;
    let sample = TrainingSample::draw(&conversations, &truths, &rows, most, plan.seed);
    checkpoint::save_with_sample(folder, &trained.predictor, manifest, &sample)
        .map_err(|error| SimulateError::First(error.into()))
}

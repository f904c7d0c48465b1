//! The models of a miner, before calibration and decision, and what they say of held-out rows.

use burn::tensor::Device;

use super::TrainError;
use super::capacity::Choice;
use super::config::TrainConfig;
use super::data::Part;
use super::fit::{Fit, Fitted, Record, Streams};
use super::split::Split;
use crate::causes::with_causes;
use crate::features::engineer::INPUT_COUNT;
use crate::model::baseline::{Baseline, DEFAULT_PENALTY};
use crate::model::ensemble::Ensemble;
use crate::model::networks::{Combination, Networks, NetworksConfig};
use crate::model::predictor::Estimate;

/// A row that was held out, what the models that did not see it say, and what a logistic baseline
/// that did not see it says.
pub(super) type HeldOutRow = (usize, Estimate, Estimate);

/// What answers.
pub(super) struct Models {
    pub(super) ensemble: Option<Ensemble>,
    pub(super) baseline: Baseline,
    /// In the order of the rows.
    pub(super) held_out: Vec<HeldOutRow>,
    /// How they were chosen, if they were.
    pub(super) choice: Option<Choice>,
}

impl Models {
    /// Trains the configured networks on every split, and joins them. With `streams`, the one split
    /// holds a sample of what is trained on.
    pub(super) fn as_configured(
        table: &Part,
        splits: &[Split],
        streams: Option<Streams<'_>>,
        config: &TrainConfig,
        unit_seconds: f64,
        device: &Device,
        record: &mut Record<'_>,
    ) -> Result<Models, TrainError> {
        let mut ensembles = Vec::new();
        let mut baselines = Vec::new();
        let mut held_out = Vec::new();
        for (fold, split) in splits.iter().enumerate() {
            let (training, validation) =
                (table.select(&split.training), table.select(&split.validation));
            let baseline = match streams {
                // A sample of the sample: the logistic regression takes longer than all else.
                Some(_) => fit_baseline(&thinned(&training), record),
                None => fit_baseline(&training, record),
            };
            let has_both_classes = match streams.map(|streams| streams.rows()) {
                // A sample may hold none of few.
                Some((all, converted)) => converted > 0 && converted < all,
                None => training.has_both_classes(),
            };
            let fitted = if has_both_classes {
                let (training, validation) = (&training, &validation);
                Fit { training, streams, validation, config, unit_seconds, fold, device }
                    .run(record)?
            } else {
                record.warn("all rows have the same class: no network was trained");
                Fitted::default()
            };
            let ensemble = join(fitted, config.combination, unit_seconds, device);
            let outputs = ensemble.as_ref().map(|ensemble| ensemble.outputs(&validation.inputs));
            let rows = validation.inputs.chunks_exact(INPUT_COUNT);
            for (index, (row, inputs)) in split.validation.iter().zip(rows).enumerate() {
                let output = outputs.as_ref().map(|outputs| outputs[index]);
                let alone = Estimate::of_baseline(&baseline, inputs);
                held_out.push((*row, Estimate::of(output, &baseline, inputs), alone));
            }
            ensembles.extend(ensemble);
            baselines.push(baseline);
        }
        held_out.sort_by_key(|(row, ..)| *row);
        let baseline = match <[Baseline; 1]>::try_from(baselines) {
            Ok([only]) => only,
            // With folds every row is trained on by some network.
            Err(_) => fit_baseline(table, record),
        };
        let ensemble = Ensemble::merge(ensembles, device);
        Ok(Models { ensemble, baseline, held_out, choice: None })
    }
}

/// Every so many of the rows, a few tens of thousands in all.
fn thinned(training: &Part) -> Part {
    /// Enough for a hundred weights.
    const ROWS: usize = 25_000;
    let step = training.len().div_ceil(ROWS).max(1);
    training.select(&(0..training.len()).step_by(step).collect::<Vec<_>>())
}

fn fit_baseline(training: &Part, record: &mut Record<'_>) -> Baseline {
    let times = training.converted_times();
    let constant = || Baseline::constant(training.len(), &times);
    if !training.has_both_classes() {
        return constant();
    }
    let fitted = Baseline::fit(&training.inputs, &training.classes(), &times, DEFAULT_PENALTY);
    fitted.unwrap_or_else(|error| {
        record.warn(format!("the baseline is a constant: {}", with_causes(&error)));
        constant()
    })
}

/// The networks as one; none for none.
pub(super) fn join(
    fitted: Fitted,
    combination: Combination,
    unit_seconds: f64,
    device: &Device,
) -> Option<Ensemble> {
    let Fitted { classifiers, regressors } = fitted;
    if classifiers.is_empty() && regressors.is_empty() {
        return None;
    }
    let (classifiers, classifier_networks) = classifiers.into_iter().unzip();
    let (regressors, regressor_networks) = regressors.into_iter().unzip();
    let networks = Networks { classifiers: classifier_networks, regressors: regressor_networks };
    let unit_seconds = unit_seconds as f32;
    let config = NetworksConfig { combination, classifiers, regressors, unit_seconds };
    Some(Ensemble::new(networks, config, device))
}

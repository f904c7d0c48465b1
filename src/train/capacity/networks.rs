//! The candidates that are networks: a small one, and what the configuration asks for.

use super::super::config::TrainConfig;
use super::super::fit::{Fit, Fitted, Record};
use super::super::latch::Latch;
use super::super::member::{Architecture, MemberConfig};
use super::super::models::join;
use super::super::observer::{Observer as _, Stage};
use super::super::split::Split;
use super::super::{FEWEST_CONVERTED, TrainError};
use super::{Capacity, Contender};

/// The share of the rows that a network may learn from by which it is ended in time. The rows that
/// it is measured on have no say in that: few as they are, the luckiest epoch on them would be far
/// better than the network is.
const ENDING_SHARE: f64 = 0.15;
/// So many held-out rows are wanted of all repeats together.
const HELD_OUT_ROWS: usize = 1500;
const MOST_REPEATS: usize = 4;

/// Networks of a size.
pub(super) struct Size {
    name: &'static str,
    /// Rows of the rarer class, or converted ones for the time, that such networks need.
    needs: usize,
    /// Most divisions into folds: the networks of all of them answer together, so many large ones
    /// would be slow.
    most_repeats: usize,
    config: fn(&TrainConfig) -> TrainConfig,
}

/// From the smallest on.
pub(super) const SIZES: [Size; 2] = [
    Size {
        name: "small network",
        needs: FEWEST_CONVERTED,
        most_repeats: MOST_REPEATS,
        config: small,
    },
    Size {
        name: "configured networks",
        needs: 5 * FEWEST_CONVERTED,
        most_repeats: 1,
        config: TrainConfig::clone,
    },
];

/// Few units, no encoding, and much that holds weights down; several of them side by side, for each
/// alone depends much on its luck.
fn small(config: &TrainConfig) -> TrainConfig {
    let member = |stage| MemberConfig {
        epochs: 20,
        least_steps: 300,
        patience: 10,
        learning_rate: 0.01,
        weight_decay: 3.0,
        gate_penalty: 0.1,
        units: 16,
        layers: 1,
        dropout: 0.1,
        packed: 4,
        bins: 0,
        splits: 0,
        copies: 1,
        ..MemberConfig::new(stage, Architecture::Tabular)
    };
    TrainConfig {
        classifier: vec![member(Stage::Classifier)],
        regressor: vec![member(Stage::Regressor)],
        ..config.clone()
    }
}

impl Size {
    fn repeats(&self, rows: usize) -> usize {
        (HELD_OUT_ROWS / rows).clamp(1, self.most_repeats)
    }

    /// How often networks of a stage are trained on a table; 0 where it does not bear them.
    pub(super) fn fits(&self, capacity: &Capacity<'_>, stage: Stage, folds: usize) -> usize {
        match self.too_few(capacity, stage) {
            Some(_) => 0,
            None => self.repeats(capacity.table.len()) * folds,
        }
    }

    /// Why a table does not bear these networks.
    fn too_few(&self, capacity: &Capacity<'_>, stage: Stage) -> Option<String> {
        let (rows, what) = match stage {
            Stage::Classifier => (capacity.strata.rarer(), "of the rarer class"),
            Stage::Regressor => (capacity.converted_rows().count(), "converted"),
        };
        let Size { needs, .. } = self;
        (rows < *needs).then(|| format!("{rows} rows {what}, fewer than {needs}"))
    }
}

/// Trains networks of a size and stage on every split, and hears what they say of the rows that they
/// have not seen.
pub(super) fn contender(
    capacity: &Capacity<'_>,
    size: &Size,
    stage: Stage,
    folds: usize,
    latch: &mut Latch<'_>,
) -> Contender {
    let name = match stage {
        Stage::Classifier => size.name.to_owned(),
        Stage::Regressor => format!("{} of times", size.name),
    };
    if let Some(reason) = size.too_few(capacity, stage) {
        return Contender::simple(name, Err(reason));
    }
    let mut contender = Contender::simple(name, Ok(Vec::new()));
    let config = (size.config)(capacity.config);
    let repeats = size.repeats(capacity.table.len());
    let said = (0..repeats)
        .map(|repeat| hear(capacity, &config, stage, folds, repeat, &mut contender, latch));
    match said.collect::<Result<Vec<_>, String>>() {
        Ok(said) => contender.said = Ok(said),
        // Half a comparison would leave rows without an answer.
        Err(reason) => return Contender::simple(contender.name, Err(reason)),
    }
    // Each network says the same as any other.
    let share = 1.0 / (repeats * folds) as f32;
    for fitted in &mut contender.fits {
        let members = fitted.classifiers.iter_mut().chain(&mut fitted.regressors);
        members.for_each(|(member, _)| member.weight *= share);
    }
    contender
}

/// One repeat: what is said of each row.
fn hear(
    capacity: &Capacity<'_>,
    config: &TrainConfig,
    stage: Stage,
    folds: usize,
    repeat: usize,
    contender: &mut Contender,
    latch: &mut Latch<'_>,
) -> Result<Vec<f64>, String> {
    let mut said = vec![f64::NAN; capacity.table.len()];
    for (index, split) in capacity.splits(folds, repeat).iter().enumerate() {
        let fold = repeat * folds + index;
        let fitted = fit(capacity, config, stage, split, fold, contender, latch)?;
        let ensemble =
            join(fitted.clone(), config.combination, capacity.unit_seconds, capacity.device)
                .ok_or("interrupted")?;
        let unseen = capacity.table.select(&split.validation);
        for (row, output) in split.validation.iter().zip(ensemble.outputs(&unseen.inputs)) {
            let number = match stage {
                Stage::Classifier => output.probability,
                Stage::Regressor => output.time_seconds,
            };
            said[*row] = number.filter(|it| it.is_finite()).ok_or("it says what is no number")?;
        }
        contender.fits.push(fitted);
        latch.comparison_advanced(&contender.name);
    }
    Ok(said)
}

/// Trains the networks of a stage on most of a split's training rows, ended by the rest of them.
fn fit(
    capacity: &Capacity<'_>,
    config: &TrainConfig,
    stage: Stage,
    split: &Split,
    fold: usize,
    contender: &mut Contender,
    latch: &mut Latch<'_>,
) -> Result<Fitted, String> {
    let seen = capacity.table.select(&split.training);
    let ending = capacity
        .strata
        .select(&split.training)
        .hold_out(ENDING_SHARE, config.seed.wrapping_add(fold as u64));
    let (training, validation) = (seen.select(&ending.training), seen.select(&ending.validation));
    let Capacity { unit_seconds, device, .. } = *capacity;
    let fit = Fit {
        training: &training,
        streams: None,
        validation: &validation,
        config,
        unit_seconds,
        fold,
        device,
    };
    let mut record = Record::new(latch);
    let mut fitted = Fitted::default();
    let (trained, wanted) = match stage {
        Stage::Classifier => {
            (fit.classifiers(&mut record).map(|it| fitted.classifiers = it), &config.classifier)
        }
        Stage::Regressor => {
            (fit.regressors(&mut record).map(|it| fitted.regressors = it), &config.regressor)
        }
    };
    trained.map_err(|error: TrainError| error.to_string())?;
    let named = |name: &mut String| *name = format!("{name}, fold {}", fold + 1);
    let members = fitted.classifiers.iter_mut().chain(&mut fitted.regressors);
    members.for_each(|(member, _)| named(&mut member.name));
    record.stages.iter_mut().for_each(|report| named(&mut report.member));
    contender.stages.extend(record.stages);
    let wanted: usize = wanted.iter().map(|member| member.copies).sum();
    if latch.is_stopped() || fitted.classifiers.len() + fitted.regressors.len() < wanted {
        return Err("interrupted".to_owned());
    }
    Ok(fitted)
}

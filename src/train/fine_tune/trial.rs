//! The ways to learn on that are tried, and the best of them.

use super::super::FEWEST_CONVERTED;
use super::super::TrainError;
use super::super::config::TrainConfig;
use super::super::data::Part;
use super::super::evaluation::log_loss;
use super::super::fit::{Fitted, Record};
use super::super::member::{Architecture, MemberConfig};
use super::super::models::join;
use super::super::observer::Stage;
use super::{FineTuneConfig, Learning, Trial, Way};
use crate::features::engineer::INPUT_COUNT;
use crate::model::baseline::{Baseline, DEFAULT_PENALTY};
use crate::model::networks::{Member, Network};
use crate::model::predictor::Estimate;

/// Held-out conversions of a known time that say which of two times is better.
const FEWEST_HELD_OUT_TIMES: usize = 10;
/// Where old rows need not be kept in mind, networks may move so much farther.
const ALONE_RATE: f64 = 3.0;
/// Fewer rows make no network that is worth its time.
const FEWEST_FRESH: usize = 50;
/// Steps of the networks that are trained from nothing: they are few, so that learning takes seconds.
const FRESH_STEPS: usize = 400;

/// Networks of a stage, with their places in an ensemble.
type Networks = Vec<(Member, Network)>;

/// The trials of a run.
pub(super) struct Trials<'a> {
    pub(super) learning: &'a Learning<'a>,
    /// New rows and old ones.
    pub(super) mixed: &'a Part,
    pub(super) trials: Vec<Trial>,
}

impl Trials<'_> {
    /// The best networks of a stage; none where the baseline does better.
    pub(super) fn best(
        &mut self,
        stage: Stage,
        baseline: &Baseline,
        record: &mut Record<'_>,
    ) -> Result<(Way, Networks), TrainError> {
        let networks = self.learning.networks(stage);
        let is_known = stage == Stage::Classifier || self.knows_times();
        let mut best = (Way::Unchanged, f64::INFINITY, networks.clone());
        if !networks.is_empty() {
            best.1 = self.tried(stage, Way::Unchanged, &networks, baseline);
        } else if !is_known {
            return Ok((Way::Baseline, networks));
        }
        // Nothing can be learned of times that are not known.
        let ways: &[Way] = match stage {
            _ if !is_known => &[],
            Stage::Classifier => &[Way::Mixed, Way::NewOnly, Way::Fresh, Way::Baseline],
            Stage::Regressor => &[Way::Mixed, Way::NewOnly, Way::Fresh],
        };
        for way in ways {
            let Some(candidate) = self.make(stage, *way, &networks, record)? else { continue };
            let metric = self.tried(stage, *way, &candidate, baseline);
            if metric < best.1 {
                best = (*way, metric, candidate);
            }
        }
        let way = if best.2.is_empty() { Way::Baseline } else { best.0 };
        Ok((way, best.2))
    }

    /// Whether there are conversions enough after a known time, to learn from and to choose by.
    fn knows_times(&self) -> bool {
        self.learning.fresh.converted().len() >= FEWEST_CONVERTED
            && self.learning.held_out.converted().len() >= FEWEST_HELD_OUT_TIMES
    }

    /// The networks of a way; none where it cannot be gone.
    fn make(
        &self,
        stage: Stage,
        way: Way,
        networks: &Networks,
        record: &mut Record<'_>,
    ) -> Result<Option<Networks>, TrainError> {
        let Learning { fresh, config, .. } = self.learning;
        let plan = TrainConfig { seed: config.seed, ..TrainConfig::default() };
        let further = |rows: &Part, rate: f64, record: &mut Record<'_>| {
            let settings = |architecture| settings_of(stage, architecture, config, rate);
            self.learning.fit(rows, &plan).further(stage, networks, &settings, record)
        };
        match way {
            Way::Baseline => Ok(Some(Vec::new())),
            Way::Fresh if fresh.len() < FEWEST_FRESH => Ok(None),
            Way::Fresh => {
                let plan = from_nothing(&plan);
                let fit = self.learning.fit(fresh, &plan);
                let networks = match stage {
                    Stage::Classifier => fit.classifiers(record)?,
                    Stage::Regressor => fit.regressors(record)?,
                };
                Ok((!networks.is_empty()).then_some(networks))
            }
            _ if networks.is_empty() => Ok(None),
            Way::Mixed => further(self.mixed, 1.0, record).map(Some),
            Way::NewOnly => further(fresh, ALONE_RATE, record).map(Some),
            Way::Unchanged => Ok(None),
        }
    }

    /// Measures a candidate on the held-out new rows.
    fn tried(&mut self, stage: Stage, way: Way, networks: &Networks, baseline: &Baseline) -> f64 {
        let metric = self.metric(stage, networks, baseline);
        // Nothing is smaller than a NaN: networks that say no number would never be replaced.
        let metric = if metric.is_nan() { f64::INFINITY } else { metric };
        self.trials.push(Trial { stage, way, metric });
        metric
    }

    fn metric(&self, stage: Stage, networks: &Networks, baseline: &Baseline) -> f64 {
        let Learning { champion, held_out, device, .. } = self.learning;
        let fitted = match stage {
            Stage::Classifier => Fitted { classifiers: networks.clone(), ..Fitted::default() },
            Stage::Regressor => Fitted { regressors: networks.clone(), ..Fitted::default() },
        };
        let combination = champion.ensemble.as_ref().map(|it| it.config().combination);
        let unit = self.learning.unit_seconds();
        let Some(ensemble) = join(fitted, combination.unwrap_or_default(), unit, device) else {
            return log_loss_of_baseline(baseline, held_out);
        };
        match stage {
            Stage::Classifier => {
                let said = ensemble.outputs(&held_out.inputs);
                let losses = said.iter().zip(&held_out.truths).map(|(said, truth)| {
                    log_loss(said.probability.unwrap_or(f64::NAN), truth.converted)
                });
                losses.sum::<f64>() / held_out.len() as f64
            }
            Stage::Regressor => {
                let held_out = held_out.converted();
                let said = ensemble.outputs(&held_out.inputs);
                let errors = said.iter().zip(&held_out.truths).map(|(said, truth)| {
                    (said.time_seconds.unwrap_or(f64::NAN) - truth.time_seconds).abs()
                });
                errors.sum::<f64>() / held_out.len() as f64
            }
        }
    }
}

/// How a network goes on from its weights: as one of its kind is trained, only slower and for less
/// long.
pub(super) fn settings_of(
    stage: Stage,
    architecture: Architecture,
    config: &FineTuneConfig,
    rate: f64,
) -> MemberConfig {
    let default = MemberConfig::new(stage, architecture);
    let learning_rate = (default.learning_rate * config.rate_share * rate).min(1.0);
    MemberConfig {
        epochs: config.epochs,
        least_steps: 0,
        patience: config.epochs.div_ceil(2),
        learning_rate,
        ..default
    }
}

/// One network a stage, of the kind that finds borders in few rows.
fn from_nothing(plan: &TrainConfig) -> TrainConfig {
    let quick = |stage, architecture| MemberConfig {
        epochs: 1,
        least_steps: FRESH_STEPS,
        patience: 1,
        ..MemberConfig::new(stage, architecture)
    };
    TrainConfig {
        classifier: vec![quick(Stage::Classifier, Architecture::Mixture)],
        regressor: vec![quick(Stage::Regressor, Architecture::Tabular)],
        ..plan.clone()
    }
}

/// The logistic regression of some rows, if it can be fitted.
pub(super) fn logistic(rows: &Part, times: &[f64]) -> Option<Baseline> {
    Baseline::fit(&rows.inputs, &rows.classes(), times, DEFAULT_PENALTY).ok()
}

/// The mean log loss of what a baseline says.
pub(super) fn log_loss_of_baseline(baseline: &Baseline, rows: &Part) -> f64 {
    let inputs = rows.inputs.chunks_exact(INPUT_COUNT).zip(&rows.truths);
    let losses = inputs.map(|(inputs, truth)| {
        log_loss(Estimate::of_baseline(baseline, inputs).probability, truth.converted)
    });
    losses.sum::<f64>() / rows.len() as f64
}

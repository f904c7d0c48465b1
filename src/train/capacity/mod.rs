//! How large a model a small table bears.
//!
//! Below some thousand rows, or with few conversions, the model that is right for a large table
//! learns the table by heart. So candidates from one probability for all to the configured networks
//! are compared by repeated, stratified cross-validation, and the smallest one whose loss is within
//! the noise of the best is what answers. The same is done for the time. What the chosen ones say
//! of rows that they have not seen, averaged over the repeats, is what calibration and decision are
//! fitted to.

mod choice;
mod compare;
mod networks;
mod ranking;
mod simple;

use burn::tensor::Device;

pub use choice::{Candidate, Choice, Comparison};
use networks::SIZES;
use ranking::{Contender, Ranking};

use super::FEWEST_CONVERTED;
use super::config::TrainConfig;
use super::data::Part;
use super::evaluation::log_loss;
use super::fit::{Fitted, Record};
use super::latch::Latch;
use super::models::{HeldOutRow, Models, join};
use super::observer::{Observer as _, Stage};
use super::split::{Split, Strata};
use crate::causes::with_causes;
use crate::features::engineer::INPUT_COUNT;
use crate::model::baseline::Baseline;
use crate::model::predictor::Estimate;
use crate::model::time::TimeDistribution;
use crate::subnet::reward::time_kernel;

/// The folds of a repeat, unless a class is too rare.
const FOLDS: usize = 5;

/// A small table, and what models may be made with.
pub(super) struct Capacity<'a> {
    pub(super) table: &'a Part,
    pub(super) strata: &'a Strata,
    pub(super) config: &'a TrainConfig,
    pub(super) unit_seconds: f64,
    pub(super) device: &'a Device,
}

impl Capacity<'_> {
    /// Compares, and gives the models that were chosen.
    pub(super) fn models(&self, record: &mut Record<'_>) -> Models {
        if let Some(reason) = self.nothing_to_compare() {
            record.warn(format!(
                "{reason}: no network was trained, and every conversation gets the same probability"
            ));
            let only = |name| Ranking::of_one(name, reason);
            return self.join(0, only(simple::CONSTANT), only(simple::CONSTANT_TIME), record);
        }
        let folds = FOLDS.min(self.strata.rarer());
        let mut latch = Latch::of_comparison(record.observer);
        latch.comparison_started(self.table.len(), self.fits(folds));
        let (mut class, time) = simple::contenders(self, folds, &mut latch);
        let mut time = vec![time];
        for (stage, contenders) in [(Stage::Classifier, &mut class), (Stage::Regressor, &mut time)]
        {
            let networks =
                SIZES.iter().map(|size| networks::contender(self, size, stage, folds, &mut latch));
            contenders.extend(networks.collect::<Vec<_>>());
        }
        let interrupted = latch.is_stopped();
        let class = self.rank_classes(class);
        let time = self.rank_times(time);
        let models = self.join(folds, class, time, record);
        if let Some(choice) = &models.choice {
            record.observer.comparison_ended(choice);
        }
        if interrupted {
            record.warn("the comparison of models was interrupted: some had no chance");
        }
        models
    }

    /// Why there is only one candidate.
    fn nothing_to_compare(&self) -> Option<&'static str> {
        if !self.table.has_both_classes() {
            Some("all rows have the same class")
        } else if self.strata.rarer() < 2 {
            Some("one conversation alone is of its class")
        } else if self.table.inputs.iter().all(|input| *input == 0.0) {
            Some("all conversations are the same")
        } else {
            None
        }
    }

    /// How many trainings there are to see.
    fn fits(&self, folds: usize) -> usize {
        let logistic = simple::PENALTIES.len() * simple::repeats(self.table.len()) * folds;
        let networks = [Stage::Classifier, Stage::Regressor]
            .into_iter()
            .flat_map(|stage| SIZES.iter().map(move |size| size.fits(self, stage, folds)));
        logistic + networks.sum::<usize>()
    }

    /// The folds of a repeat, the same for every candidate.
    fn splits(&self, folds: usize, repeat: usize) -> Vec<Split> {
        self.strata.folds(folds, self.config.seed.wrapping_add(repeat as u64))
    }

    fn converted_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.table.len()).filter(|row| self.table.truths[*row].converted)
    }

    fn rank_classes(&self, contenders: Vec<Contender>) -> Ranking {
        let losses = contenders.iter().map(|contender| {
            let said = contender.said.as_ref().ok()?;
            let loss = |row: usize| {
                let converted = self.table.truths[row].converted;
                said.iter().map(|said| log_loss(said[row], converted)).sum::<f64>()
                    / said.len() as f64
            };
            Some((0..self.table.len()).map(loss).collect())
        });
        let losses = losses.collect();
        Ranking::new(contenders, losses, self.strata.first().to_vec())
    }

    fn rank_times(&self, contenders: Vec<Contender>) -> Ranking {
        let rows: Vec<usize> = self.converted_rows().collect();
        let truths: Vec<f64> =
            rows.iter().map(|row| self.table.truths[*row].time_seconds).collect();
        let losses = contenders.iter().map(|contender| {
            let said = contender.said.as_ref().ok()?;
            let mut losses = vec![0.0; rows.len()];
            for said in said {
                let times: Vec<f64> = rows.iter().map(|row| said[*row]).collect();
                let is_constant = contender.fits.is_empty();
                let times = if is_constant { times } else { answered(&times, &truths) };
                for (loss, (time, truth)) in losses.iter_mut().zip(times.iter().zip(&truths)) {
                    *loss += 1.0 - time_kernel(time - truth);
                }
            }
            losses.iter_mut().for_each(|loss| *loss /= said.len() as f64);
            Some(losses)
        });
        let losses = losses.collect();
        let groups = rows.iter().map(|row| self.strata.first()[*row]).collect();
        Ranking::new(contenders, losses, groups)
    }

    /// Makes the models of the candidates that won.
    fn join(
        &self,
        folds: usize,
        mut class: Ranking,
        mut time: Ranking,
        record: &mut Record<'_>,
    ) -> Models {
        let all = self.table;
        let times = all.converted_times();
        if times.len() < FEWEST_CONVERTED {
            record.warn(format!(
                "only {} rows converted, fewer than {FEWEST_CONVERTED}: no regressor was trained, \
                 and the time is the best constant",
                times.len()
            ));
        }
        // The best of the simple ones answers where networks cannot, too.
        let constant = Baseline::constant(all.len(), &times);
        let baseline = simple::penalty(class.chosen_of(simple::COUNT)).map_or_else(
            || constant.clone(),
            |penalty| {
                let fitted = Baseline::fit(&all.inputs, &all.classes(), &times, penalty);
                fitted.unwrap_or_else(|error| {
                    record.warn(format!("the baseline is a constant: {}", with_causes(&error)));
                    constant.clone()
                })
            },
        );
        let held_out = self.held_out(&constant, &mut class, &mut time);
        let mut fitted = Fitted::default();
        for winner in [class.winner(), time.winner()] {
            for fit in winner.fits.drain(..) {
                fitted.classifiers.extend(fit.classifiers);
                fitted.regressors.extend(fit.regressors);
            }
            record.stages.append(&mut winner.stages);
        }
        let ensemble = join(fitted, self.config.combination, self.unit_seconds, self.device);
        let choice = Choice { folds, class: class.told(), time: time.told() };
        Models { ensemble, baseline, held_out, choice: Some(choice) }
    }

    /// What is said of each row by those who did not see it.
    fn held_out(
        &self,
        constant: &Baseline,
        class: &mut Ranking,
        time: &mut Ranking,
    ) -> Vec<HeldOutRow> {
        let rows = self.table.len();
        let of_constant = Estimate::of_baseline(constant, &[0.0; INPUT_COUNT]);
        let probability = || vec![of_constant.probability; rows];
        // Not what the folds' constants said: the more of a fold converted, the less they say.
        let said = |ranking: &mut Ranking| {
            if ranking.is_smallest() { None } else { ranking.winner().mean_said() }
        };
        let probabilities = said(class).unwrap_or_else(probability);
        let seconds = said(time).unwrap_or_else(|| vec![of_constant.time_seconds; rows]);
        let logistic = class.contender(simple::COUNT - 1).and_then(Contender::mean_said);
        let logistic = logistic.unwrap_or_else(probability);
        let estimate =
            |probability, time_seconds| Estimate { probability, time_seconds, fallback: false };
        let held_out = |row: usize| {
            let alone = estimate(logistic[row], of_constant.time_seconds);
            (row, estimate(probabilities[row], seconds[row]), alone)
        };
        (0..rows).map(held_out).collect()
    }
}

/// The times that a miner would answer: the decision corrects them by how the others err.
fn answered(times: &[f64], truths: &[f64]) -> Vec<f64> {
    let pairs: Vec<(f64, f64)> = times.iter().copied().zip(truths.iter().copied()).collect();
    let halves = [0, 1].map(|half| {
        let others: Vec<_> = pairs.iter().skip(1 - half).step_by(2).copied().collect();
        TimeDistribution::fit(&others)
    });
    let answer = |(index, time): (usize, &f64)| {
        halves[index % 2].as_ref().map_or(*time, |others| others.best_time(*time).0)
    };
    times.iter().enumerate().map(answer).collect()
}

//! Whether the confidences still come true.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{DiagnoseOptions, Row, SEED, day_of, last_of_each, mean, validation};
use crate::clock::{DAY_NS, Moment};
use crate::report::Mean;
use crate::report::statistics::quantile;
use crate::train::evaluation::{
    ReliabilityBin, brier, expected_calibration_error, log_loss, reliability,
};

/// Bins of the reliability diagram and of the calibration error, as validation has them.
const BINS: usize = 10;
/// How often outcomes are drawn anew to know what chance alone does to a calibration error.
const DRAWS: usize = 200;
/// Rows at most whose outcomes are drawn anew; with more, chance does next to nothing.
const MOST_DRAWN_ROWS: usize = 20_000;
/// Windows of more days than this are looked at by the week.
const MOST_DAYS: u64 = 31;

/// Whether the confidences came true, in the whole window and along it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationDiagnosis {
    /// The confidences that were sent.
    pub sent: CalibrationScores,
    /// What the calibration error would be by chance alone, were the sent confidences true.
    pub by_chance: Chance,
    /// The checkpoint's own calibration, before what was learned while serving; absent if no record
    /// has it.
    pub checkpoint: Option<CalibrationScores>,
    /// What was learned while serving did to those; absent if no record has both.
    #[serde(default)]
    pub learned: Option<Learned>,
    /// The model's own probabilities, before any calibration; absent if no record has them.
    pub raw: Option<CalibrationScores>,
    /// The answers of the checkpoint that is compared with, if there are any.
    pub compared: Option<CalibrationScores>,
    /// That checkpoint's expected calibration error in validation.
    pub validation_ece: Option<f64>,
    /// Its Brier score in validation.
    pub validation_brier: Option<f64>,
    /// Its log loss in validation, in nats.
    pub validation_log_loss: Option<f64>,
    /// Days of a period.
    pub period_days: u64,
    /// The periods that have answers.
    pub periods: Vec<Period>,
}

/// How reliable probabilities were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationScores {
    /// Answers.
    pub rows: usize,
    /// The expected calibration error over ten bins of equal width.
    pub ece: f64,
    /// The mean squared error.
    pub brier: f64,
    /// The mean logarithmic loss, in nats.
    pub log_loss: f64,
    /// The bins that have answers: what each said, and what came true.
    pub bins: Vec<ReliabilityBin>,
}

/// What was learned while serving did to the checkpoint's own confidences, on the last answer of each
/// conversation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Conversations.
    pub rows: usize,
    /// How far it moved them on average.
    pub moved: f64,
    /// How much lower the logarithmic loss is with it, in nats; higher where this is below 0.
    pub gain: Mean,
}

/// What a calibration error is where all probabilities are true, for so many rows: never nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chance {
    /// Its mean.
    pub mean: f64,
    /// What it stays below in 95 % of draws.
    pub high: f64,
}

/// A day or a week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// Its first day: `2026-11-22`.
    pub from: String,
    /// How many days after the first period it begins.
    pub day: u64,
    /// Answers.
    pub rows: usize,
    /// The share of them that converted.
    pub converted_share: f64,
    /// The mean confidence.
    pub mean_confidence: f64,
    /// The expected calibration error.
    pub ece: f64,
    /// What it would be by chance alone, at most (95 %).
    pub chance_high: f64,
    /// The mean squared error.
    pub brier: f64,
    /// The mean logarithmic loss, in nats.
    pub log_loss: f64,
}

impl CalibrationDiagnosis {
    /// Absent without rows.
    pub(super) fn of(
        rows: &[Row<'_>],
        options: &DiagnoseOptions<'_>,
    ) -> Option<CalibrationDiagnosis> {
        let sent = sent(rows);
        let reference = options.checkpoint.as_ref();
        let figure =
            |name: &str| reference.and_then(|of| validation(of, &format!("/miner/{name}")));
        let of_checkpoint = reference.and_then(|reference| {
            let theirs = rows.iter().filter(|row| row.resolved.record.checkpoint == reference.name);
            CalibrationScores::of(theirs.map(said))
        });
        let record = |pick: fn(&crate::journal::Record) -> Option<f64>| {
            let known =
                rows.iter().filter_map(|row| Some((pick(&row.resolved.record)?, said(row).1)));
            CalibrationScores::of(known)
        };
        let (period_days, periods) = periods(rows, options);
        Some(CalibrationDiagnosis {
            by_chance: Chance::of(&sent.0)?,
            sent: CalibrationScores::of(sent.0.iter().copied().zip(sent.1.iter().copied()))?,
            checkpoint: record(|record| record.calibrated),
            learned: Learned::of(rows),
            raw: record(|record| record.raw_probability),
            compared: of_checkpoint,
            validation_ece: figure("ece"),
            validation_brier: figure("brier"),
            validation_log_loss: figure("log_loss"),
            period_days,
            periods,
        })
    }
}

/// The confidence that was sent, and whether it converted.
fn said(row: &Row<'_>) -> (f64, bool) {
    (row.answer().confidence, row.truth().converted)
}

fn sent(rows: &[Row<'_>]) -> (Vec<f64>, Vec<bool>) {
    rows.iter().map(said).filter(|(confidence, _)| confidence.is_finite()).unzip()
}

impl CalibrationScores {
    /// The scores of probabilities and what came true; absent without any that are numbers.
    pub(super) fn of(said: impl Iterator<Item = (f64, bool)>) -> Option<CalibrationScores> {
        let (probabilities, converted): (Vec<f64>, Vec<bool>) =
            said.filter(|(probability, _)| probability.is_finite()).unzip();
        if probabilities.is_empty() {
            return None;
        }
        let losses = probabilities.iter().zip(&converted);
        let losses: f64 = losses.map(|(said, converted)| log_loss(*said, *converted)).sum();
        let bins = reliability(&probabilities, &converted, BINS);
        Some(CalibrationScores {
            rows: probabilities.len(),
            ece: expected_calibration_error(&probabilities, &converted, BINS),
            brier: brier(&probabilities, &converted),
            log_loss: losses / probabilities.len() as f64,
            bins: bins.into_iter().filter(|bin| bin.rows > 0).collect(),
        })
    }
}

impl Learned {
    fn of(rows: &[Row<'_>]) -> Option<Learned> {
        let is_last = last_of_each(rows.iter().map(|row| row.resolved));
        let both =
            rows.iter().zip(is_last).filter(|(_, is_last)| *is_last).filter_map(|(row, _)| {
                let (sent, converted) = said(row);
                let own = row.resolved.record.calibrated?;
                (own + sent).is_finite().then_some((own, sent, converted))
            });
        let both: Vec<(f64, f64, bool)> = both.collect();
        let gains: Vec<f64> = both
            .iter()
            .map(|(own, sent, converted)| log_loss(*own, *converted) - log_loss(*sent, *converted))
            .collect();
        let gain = mean(&gains)?;
        let moved: f64 = both.iter().map(|(own, sent, _)| (sent - own).abs()).sum();
        Some(Learned { rows: both.len(), moved: moved / both.len() as f64, gain })
    }
}

impl Chance {
    /// What chance alone does, by drawing what comes true from the probabilities themselves.
    pub(super) fn of(probabilities: &[f64]) -> Option<Chance> {
        let step = probabilities.len().div_ceil(MOST_DRAWN_ROWS).max(1);
        let drawn: Vec<f64> = probabilities.iter().copied().step_by(step).collect();
        if drawn.is_empty() {
            return None;
        }
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut errors: Vec<f64> = (0..DRAWS)
            .map(|_| {
                let came_true: Vec<bool> =
                    drawn.iter().map(|said| random.random::<f64>() < *said).collect();
                expected_calibration_error(&drawn, &came_true, BINS)
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        let mean = errors.iter().sum::<f64>() / DRAWS as f64;
        Some(Chance { mean, high: quantile(&errors, 0.95) })
    }
}

/// The days of a period, and the periods that have rows.
fn periods(rows: &[Row<'_>], options: &DiagnoseOptions<'_>) -> (u64, Vec<Period>) {
    let time = |row: &Row<'_>| row.resolved.record.time_ns;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return (1, Vec::new()) };
    let begin = day_of(time(first).max(options.from_ns));
    let days = (time(last) - begin) / DAY_NS + 1;
    let period_days = if days > MOST_DAYS { 7 } else { 1 };
    let number = |row: &Row<'_>| (time(row) - begin) / DAY_NS / period_days;
    let periods = rows.chunk_by(|left, right| number(left) == number(right)).filter_map(|rows| {
        let (confidences, converted) = sent(rows);
        let scores =
            CalibrationScores::of(confidences.iter().copied().zip(converted.iter().copied()))?;
        let count = scores.rows as f64;
        let day = number(&rows[0]) * period_days;
        Some(Period {
            from: Moment::of_ns(begin + day * DAY_NS).date(),
            day,
            rows: scores.rows,
            converted_share: converted.iter().filter(|converted| **converted).count() as f64
                / count,
            mean_confidence: confidences.iter().sum::<f64>() / count,
            ece: scores.ece,
            chance_high: Chance::of(&confidences)?.high,
            brier: scores.brier,
            log_loss: scores.log_loss,
        })
    });
    (period_days, periods.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{BEGIN_NS, no, options, resolved, rows_of, yes};
    use crate::subnet::reward::{RewardSpec, Truth};

    #[test]
    fn scores_by_hand() {
        // The bin from 0.2 says 0.25 and half of it comes true, the one from 0.8 says 0.8, and all.
        let said = [(0.25, false), (0.25, true), (0.8, true), (f64::NAN, true)];
        let found = CalibrationScores::of(said.into_iter()).unwrap();
        assert_eq!(found.rows, 3);
        assert!((found.ece - (2.0 * 0.25 + 0.2) / 3.0).abs() < 1e-12, "{found:?}");
        assert!((found.brier - (0.0625 + 0.5625 + 0.04) / 3.0).abs() < 1e-12);
        let log_loss = -(0.75_f64.ln() + 0.25_f64.ln() + 0.8_f64.ln()) / 3.0;
        assert!((found.log_loss - log_loss).abs() < 1e-12);
        let bins: Vec<(f64, usize)> = found.bins.iter().map(|bin| (bin.from, bin.rows)).collect();
        assert_eq!(bins, [(0.2, 2), (0.8, 1)]);
        assert_eq!(CalibrationScores::of([(f64::NAN, true)].into_iter()), None);
    }

    #[test]
    fn what_was_learned_by_hand() {
        let answer = |number: u64, id: &str, own: Option<f64>, converted: bool| {
            let truth =
                if converted { Truth::converted_after(60.0) } else { Truth::not_converted() };
            let mut row = resolved(BEGIN_NS + number, no(0.5), truth);
            (row.record.session_id, row.record.calibrated) = (Some(id.to_owned()), own);
            row
        };
        let all = [
            answer(1, "a", Some(0.9), true),
            answer(2, "a", Some(0.25), true),
            answer(3, "b", Some(0.25), false),
            answer(4, "c", None, false),
        ];
        let found = rows_of(&all, &RewardSpec::MAIN, Learned::of).unwrap();
        // -ln 0.25 or -ln 0.75 before, -ln 0.5 since.
        let gain = ((2.0_f64).ln() + (4.0_f64 / 3.0).ln() - (2.0_f64).ln()) / 2.0;
        assert_eq!((found.rows, found.moved), (2, 0.25));
        assert!((found.gain.mean - gain).abs() < 1e-12, "{found:?}");
        assert_eq!(rows_of(&all[3..], &RewardSpec::MAIN, Learned::of), None);
    }

    /// ```python
    /// import numpy as np; r = np.random.default_rng(0)
    /// e = abs(r.binomial(100, .5, 10**6) / 100 - .5); print(e.mean(), np.quantile(e, .95))
    /// # 0.0398, 0.10
    /// ```
    #[test]
    fn chance_is_never_nothing() {
        let found = Chance::of(&[0.55; 100]).unwrap();
        assert!((0.034..0.046).contains(&found.mean), "{found:?}");
        assert!((0.08..0.12).contains(&found.high), "{found:?}");
        let many = Chance::of(&vec![0.55; 10_000]).unwrap();
        assert!(many.mean < 0.006 && many.high < 0.012, "{many:?}");
        assert_eq!(Chance::of(&[]), None);
        assert_eq!(Chance::of(&[1.0; 9]).unwrap(), Chance { mean: 0.0, high: 0.0 });
    }

    #[test]
    fn days_and_weeks() {
        let at = |day: u64, confidence, converted| {
            let truth =
                if converted { Truth::converted_after(60.0) } else { Truth::not_converted() };
            let answer = if confidence > 0.5 { yes(60.0, confidence) } else { no(confidence) };
            resolved(BEGIN_NS + day * DAY_NS + 7, answer, truth)
        };
        let all = [at(0, 0.9, true), at(0, 0.3, false), at(2, 0.3, true)];
        let options = options(RewardSpec::MAIN);
        let found = rows_of(&all, &RewardSpec::MAIN, |rows| {
            CalibrationDiagnosis::of(rows, &options).unwrap()
        });
        assert_eq!(found.period_days, 1);
        let periods: Vec<_> = found
            .periods
            .iter()
            .map(|period| (period.day, period.rows, period.from.as_str()))
            .collect();
        assert_eq!(periods, [(0, 2, "2026-11-22"), (2, 1, "2026-11-24")]);
        assert!((found.periods[0].ece - (0.1 + 0.3) / 2.0).abs() < 1e-12);
        assert!((found.periods[0].mean_confidence - 0.6).abs() < 1e-12);
        assert_eq!(found.periods[0].converted_share, 0.5);
        // The sample record says 0.25 after calibration and 0.2 before it: two of three come true.
        assert!((found.checkpoint.unwrap().ece - (2.0 / 3.0 - 0.25)).abs() < 1e-12);
        assert!((found.raw.unwrap().ece - (2.0 / 3.0 - 0.2)).abs() < 1e-12);
        assert_eq!((found.compared, found.validation_ece), (None, None));
        let all = [at(0, 0.9, true), at(20, 0.3, false), at(40, 0.3, true), at(41, 0.3, true)];
        let found = rows_of(&all, &RewardSpec::MAIN, |rows| periods_of(rows, &options));
        assert_eq!(found, (7, vec![(0, 1), (14, 1), (35, 2)]));
    }

    fn periods_of(rows: &[Row<'_>], options: &DiagnoseOptions<'_>) -> (u64, Vec<(u64, usize)>) {
        let (days, periods) = periods(rows, options);
        (days, periods.iter().map(|period| (period.day, period.rows)).collect())
    }
}

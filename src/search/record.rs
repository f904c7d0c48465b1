//! A line of the results: one rung of one trial.

use serde::{Deserialize, Serialize};

use crate::train::TrainConfig;
use crate::train::observer::StageReport;

/// What came of a trial on a rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The trial's number; 0 is the start.
    pub trial: usize,
    /// The rung, from 0.
    pub rung: usize,
    /// Rows that it was trained with, its own held-out ones among them.
    pub rows: usize,
    /// The mean total reward on the judged rows; none if it could not be trained.
    pub reward: Option<f64>,
    /// The standard error of that mean.
    pub standard_error: Option<f64>,
    /// What the training measured on the rows that it held out itself.
    pub own_reward: Option<f64>,
    /// Why it could not be trained.
    pub error: Option<String>,
    /// The networks that were trained, in order.
    pub networks: Vec<Taught>,
    /// How long it took.
    pub seconds: f64,
    /// Where it was trained.
    pub device: String,
    /// The trial's configuration.
    pub config: TrainConfig,
}

/// How the training of one network went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taught {
    /// `classifier` or `regressor`.
    pub stage: String,
    /// Which of the stage.
    pub member: String,
    /// The epochs that were done.
    pub epochs: usize,
    /// The one whose weights were kept.
    pub best_epoch: Option<usize>,
}

impl Taught {
    pub(super) fn of(report: &StageReport) -> Taught {
        Taught {
            stage: report.stage.to_string(),
            member: report.member.clone(),
            epochs: report.epochs.len(),
            best_epoch: report.best_epoch,
        }
    }
}

/// A mean of so many rewards, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The mean.
    pub mean: f64,
    /// Its standard error; 0 for one row.
    pub standard_error: f64,
    /// Rows.
    pub rows: usize,
}

impl Measured {
    /// The mean of some numbers; NaN without any.
    pub(super) fn of(values: &[f64]) -> Measured {
        let rows = values.len();
        let mean = values.iter().sum::<f64>() / rows as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let variance = squares / (rows as f64 - 1.0).max(1.0);
        Measured {
            mean: rounded(mean),
            standard_error: rounded((variance / rows as f64).sqrt()),
            rows,
        }
    }

    /// The mean of the differences, row by row.
    pub(super) fn of_differences(left: &[f64], right: &[f64]) -> Measured {
        assert_eq!(left.len(), right.len(), "the same rows. This is a bug.");
        let differences: Vec<f64> =
            left.iter().zip(right).map(|(one, other)| one - other).collect();
        Measured::of(&differences)
    }
}

/// A number with nine decimals. What is read from a line must rank as what was written, to the bit,
/// and the last digits of a mean say nothing.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

#[cfg(test)]
impl Record {
    pub(super) fn sample(trial: usize, rung: usize) -> Record {
        Record {
            trial,
            rung,
            rows: 1000 * (rung + 1),
            reward: Some(0.5),
            standard_error: Some(0.01),
            own_reward: Some(0.5),
            error: None,
            networks: Vec::new(),
            seconds: 1.0,
            device: "cpu".to_owned(),
            config: TrainConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_hand() {
        // Deviations -1.5, -0.5, 0.5, 1.5: variance 5 / 3, and sqrt(5 / 3 / 4) = 0.6454972.
        let measured = Measured::of(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((measured.mean, measured.rows), (2.5, 4));
        assert!((measured.standard_error - 0.645_497_224).abs() < 1e-9);
        assert_eq!(Measured::of(&[3.0]).standard_error, 0.0);
        // Differences 1, 1, 1: certain, however far the rows lie apart.
        let difference = Measured::of_differences(&[2.0, 9.0, 4.0], &[1.0, 8.0, 3.0]);
        assert_eq!((difference.mean, difference.standard_error), (1.0, 0.0));
    }

    /// serde_json reads some numbers an ulp off.
    #[test]
    fn what_is_read_ranks_as_what_was_written() {
        for number in 0..10_000 {
            let reward = rounded((f64::from(number) * 0.618_033_988_75).fract());
            let record = Record { reward: Some(reward), ..Record::sample(1, 0) };
            let read: Record =
                serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
            assert_eq!(read.reward.map(rounded), Some(reward));
        }
    }
}

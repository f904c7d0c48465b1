//! How the training of each network went, as the checkpoint remembers it.

use serde::{Deserialize, Serialize};

use crate::model::checkpoint::Manifest;

/// The training of one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// `classifier` or `regressor`.
    pub stage: String,
    /// The network's name; networks of several folds share one.
    pub member: String,
    /// Rows that it learned from.
    pub rows: usize,
    /// Every epoch, in order.
    pub epochs: Vec<LearningPoint>,
    /// The number of the epoch whose weights were kept.
    pub best_epoch: Option<usize>,
}

/// One pass over the training rows. A loss that was no number is absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LearningPoint {
    /// Its number, from 1.
    pub number: usize,
    /// The mean training loss.
    pub loss: Option<f64>,
    /// The metric on the held-out rows: the log loss of a classifier, the mean absolute error of a
    /// regressor in seconds.
    pub validation: Option<f64>,
}

/// The curves of a manifest; none if it has none that can be read.
pub(super) fn of(manifest: &Manifest) -> Vec<LearningCurve> {
    let stages = manifest.training.get("stages").cloned().unwrap_or_default();
    // A page without this part is better than no page.
    serde_json::from_value(stages).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::train::observer::{Ended, Epoch, Stage, StageReport};

    #[test]
    fn what_training_writes_is_read() {
        let stages = [StageReport {
            stage: Stage::Regressor,
            member: "tabular".to_owned(),
            rows: 12,
            epochs: vec![Epoch { number: 1, loss: 0.5, validation: f64::NAN }],
            best_epoch: None,
            ended: Ended::Completed,
        }];
        let text = serde_json::to_string(&stages).unwrap();
        let read: Vec<LearningCurve> = serde_json::from_str(&text).unwrap();
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            json!([{
                "stage": "regressor", "member": "tabular", "rows": 12,
                "epochs": [{"number": 1, "loss": 0.5, "validation": null}], "best_epoch": null,
            }])
        );
    }
}

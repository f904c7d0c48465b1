//! An evaluation as a table.

use std::fmt::Write as _;

use crate::train::evaluation::{Evaluation, Scores};

/// One line a way to answer, one column a score.
pub(super) fn table(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<22} {:>8} {:>7} {:>8} {:>7} {:>7} {:>8} {:>11}",
        "", "accuracy", "AUC", "log loss", "Brier", "ECE", "time MAE", "mean reward"
    );
    for (name, scores) in [
        ("this miner", &evaluation.miner),
        ("logistic baseline", &evaluation.baseline),
        ("always no", &evaluation.always_no),
        ("always yes", &evaluation.always_yes),
        ("oracle (the truth)", &evaluation.oracle),
    ] {
        let _ = writeln!(text, "{}", line(name, scores));
    }
    let _ = write!(
        text,
        "{} rows, {} converted; reward spec {}, answers after {} s",
        evaluation.rows,
        evaluation.converted,
        evaluation.reward_spec,
        evaluation.response_time_seconds
    );
    text
}

fn line(name: &str, scores: &Scores) -> String {
    let or_dash = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    format!(
        "{name:<22} {:>8.4} {:>7} {:>8.4} {:>7.4} {:>7.4} {:>8} {:>11.4}",
        scores.accuracy,
        or_dash(scores.auc, 4),
        scores.log_loss,
        scores.brier,
        scores.ece,
        or_dash(scores.time_mae_seconds, 3),
        scores.mean_reward,
    )
}

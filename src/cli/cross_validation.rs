//! What `convminer train --cv` prints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::ExitStatus;
use super::printer::Printer;
use crate::train::capacity::{Choice, Comparison};
use crate::train::{CrossValidation, Spread, SpreadScores};

/// Prints the result of a cross-validation.
pub(super) fn report(
    result: &CrossValidation,
    json: bool,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    for warning in &result.warnings {
        printer.warn(warning);
    }
    if json {
        printer.out(serde_json::to_string_pretty(result)?)?;
    } else {
        printer.out(table(result))?;
    }
    Ok(ExitStatus::Success)
}

/// One line a way to answer, one column a score: its mean over the folds and its deviation.
fn table(result: &CrossValidation) -> String {
    let mut text = String::from("On the parts that were left out, mean ± deviation:\n");
    let _ = writeln!(
        text,
        "{:<18} {:>15} {:>15} {:>15} {:>15} {:>15} {:>15} {:>15}",
        "", "accuracy", "AUC", "log loss", "Brier", "ECE", "time MAE", "mean reward"
    );
    for (name, scores) in [
        ("this training", &result.miner),
        ("at threshold 0.5", &result.at_half),
        ("its baseline", &result.baseline),
        ("always no", &result.always_no),
    ] {
        let _ = writeln!(text, "{}", line(name, scores));
    }
    let done = result.evaluations.len();
    let CrossValidation { folds, rows, converted, .. } = result;
    let _ = write!(text, "{done} of {folds} folds, {rows} rows, {converted} converted");
    for (what, comparison) in [
        ("says whether", (|choice| &choice.class) as fn(&Choice) -> &Comparison),
        ("says when", |choice| &choice.time),
    ] {
        let mut counts = BTreeMap::new();
        for choice in result.choices.iter().flatten() {
            *counts.entry(comparison(choice).chosen.as_str()).or_insert(0_usize) += 1;
        }
        if !counts.is_empty() {
            let counts: Vec<String> =
                counts.iter().map(|(name, count)| format!("{name} ({count})")).collect();
            let _ = write!(text, "\n{what}: {}", counts.join(", "));
        }
    }
    text
}

fn line(name: &str, scores: &SpreadScores) -> String {
    let cell = |spread: Option<Spread>, decimals: usize| match spread {
        None => "-".to_owned(),
        Some(Spread { mean, deviation: None, .. }) => format!("{mean:.decimals$}"),
        Some(Spread { mean, deviation: Some(deviation), .. }) => {
            format!("{mean:.decimals$} ± {deviation:.decimals$}")
        }
    };
    format!(
        "{name:<18} {:>15} {:>15} {:>15} {:>15} {:>15} {:>15} {:>15}",
        cell(scores.accuracy, 4),
        cell(scores.auc, 4),
        cell(scores.log_loss, 4),
        cell(scores.brier, 4),
        cell(scores.ece, 4),
        cell(scores.time_mae_seconds, 2),
        cell(scores.mean_reward, 4),
    )
}

//! The summary of a replay as a table.

use std::fmt::Write as _;

use crate::replay::paired::Difference;
use crate::replay::summary::{OfModel, OfOther, OfValidator};
use crate::replay::{Scores, Summary};

/// Characters of a hotkey that tell one validator from another.
const HOTKEY: usize = 12;

/// One line a way to look at the answers, one column what they earned and by what.
pub(super) fn table(summary: &Summary) -> String {
    let lines = lines(summary);
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!(
        "{:width$}  {:>7} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8} {:>8} {:>17}\n",
        "",
        "answers",
        "accuracy",
        "reward",
        "= class",
        "+ time",
        "+ confid.",
        "+ speed",
        "EMA",
        "weights yes / no"
    );
    for (name, cells) in lines {
        let _ = writeln!(text, "{name:width$}  {cells}");
    }
    for line in remarks(summary) {
        let _ = writeln!(text, "{line}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn lines(summary: &Summary) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    lines.push(("all".to_owned(), cells(&summary.overall, Some(summary.ema), None)));
    for OfValidator { validator, scores, ema, class_weights } in &summary.validators {
        let weights = Some((class_weights.positive, class_weights.negative));
        lines.push((format!("validator {}", short(validator)), cells(scores, Some(*ema), weights)));
    }
    for OfModel { model, checkpoint, scores } in &summary.models {
        lines.push((model_name(model, checkpoint), cells(scores, None, None)));
    }
    let after = format!("always yes, {:.1} s", summary.constants.best_time_seconds);
    lines.push(("always no".to_owned(), constant(summary.constants.always_no)));
    lines.push((after, constant(summary.constants.always_yes)));
    if let Some(other) = &summary.what_if {
        let name = format!("if {} had answered", other.checkpoint);
        lines.push((name, cells(&other.scores, Some(other.ema), None)));
    }
    lines
}

/// What the numbers do not say by themselves.
fn remarks(summary: &Summary) -> Vec<String> {
    let joined = &summary.joined;
    let mut remarks = vec![format!(
        "{} of {} requests have a known truth; reward spec {}",
        joined.resolved, joined.records, summary.reward_spec
    )];
    for (count, what) in [
        (joined.without_id, "requests have no name under which a truth could be known"),
        (joined.duplicates, "further records are of the same requests and were dropped"),
        (joined.time_unknown, "converted after nobody knows how long: their time earns nothing"),
        (joined.contradictions, "outcomes contradict earlier ones and count in their place"),
    ] {
        if count > 0 {
            remarks.push(format!("{count} {what}"));
        }
    }
    if let Some(other) = &summary.what_if {
        remarks.extend(of_other(other));
    }
    remarks
}

fn of_other(other: &OfOther) -> Vec<String> {
    let OfOther { checkpoint, scores, other_class, .. } = other;
    let mut lines = vec![format!(
        "{checkpoint} would have earned {}; {other_class} of {} answers with the other class",
        more(&other.difference),
        scores.answers
    )];
    if other.models.len() > 1 {
        lines.extend(other.models.iter().map(|one| {
            let name = model_name(&one.model, &one.checkpoint);
            format!("  where {name} answered: {}", more(&one.difference))
        }));
    }
    if other.validators.len() > 1 {
        lines.extend(other.validators.iter().map(|one| {
            let name = short(&one.validator);
            format!("  with validator {name}: {}", more(&one.difference))
        }));
    }
    lines
}

fn more(Difference { mean, low, high, .. }: &Difference) -> String {
    let direction = if *mean < 0.0 { "less" } else { "more" };
    format!("{:.4} {direction} a request (95 %: {low:+.4} to {high:+.4})", mean.abs())
}

fn model_name(model: &str, checkpoint: &str) -> String {
    if checkpoint.is_empty() { model.to_owned() } else { format!("{model} of {checkpoint}") }
}

fn cells(scores: &Scores, ema: Option<f64>, weights: Option<(f64, f64)>) -> String {
    let Scores { answers, accuracy, mean_reward, earned, .. } = scores;
    let ema = ema.map_or_else(|| "-".to_owned(), |ema| format!("{ema:.4}"));
    let weights = weights.map_or_else(|| "-".to_owned(), |(yes, no)| format!("{yes:.3} / {no:.3}"));
    format!(
        "{answers:>7} {accuracy:>8.4} {mean_reward:>8.4} {:>8.4} {:>8.4} {:>10.4} {:>8.4} {ema:>8} \
         {weights:>17}",
        earned.class, earned.time, earned.diversity, earned.response_time
    )
}

fn constant(mean_reward: f64) -> String {
    format!("{:>7} {:>8} {mean_reward:>8.4}", "", "")
}

/// A hotkey that a table has room for.
fn short(hotkey: &str) -> String {
    if hotkey.chars().count() <= HOTKEY + 2 {
        return hotkey.to_owned();
    }
    hotkey.chars().take(HOTKEY).chain("..".chars()).collect()
}

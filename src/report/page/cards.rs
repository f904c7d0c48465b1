//! The numbers that somebody in a hurry wants.

use std::fmt::Write as _;

use super::tables::against_row;
use super::text::{fixed, or_dash, signed};
use crate::report::{Mean, Report};

/// A number, what it is, and what to weigh it with.
pub(crate) struct Card {
    /// What it is.
    pub(crate) name: &'static str,
    /// The number, in HTML.
    pub(crate) value: String,
    /// What to weigh it with, in HTML.
    pub(crate) remark: String,
}

pub(super) fn cards(report: &Report) -> String {
    grid(rewards(report).into_iter().chain(qualities(report)))
}

/// Cards side by side.
pub(crate) fn grid(cards: impl IntoIterator<Item = Card>) -> String {
    let mut html = "<div class=\"cards\">\n".to_owned();
    for Card { name, value, remark } in cards {
        let _ = writeln!(
            html,
            "<div class=\"card\"><span class=\"name\">{name}</span>\
             <span class=\"value\">{value}</span><span class=\"remark\">{remark}</span></div>"
        );
    }
    html + "</div>\n"
}

/// A standard error with its sign.
pub(crate) fn error(mean: Mean) -> String {
    mean.standard_error.map_or_else(String::new, |error| format!("\u{b1} {}", fixed(error, 4)))
}

fn rewards(report: &Report) -> Vec<Card> {
    let evaluation = &report.evaluation;
    let miner = evaluation.miner.mean_reward;
    let (baseline, oracle) = (evaluation.baseline.mean_reward, evaluation.oracle.mean_reward);
    let gain = report.scores.gain_over_half;
    let own_error = report.scores.rows.first().map_or_else(String::new, |row| error(row.reward));
    let mut cards = vec![Card {
        name: "mean reward",
        value: fixed(miner, 4),
        remark: format!("{own_error} standard error; the truth itself earns {}", fixed(oracle, 4)),
    }];
    if let Some(above) = against_row(report).and_then(|row| row.above_miner) {
        cards.push(Card {
            name: "over the other",
            value: signed(above.negated().mean, 4),
            remark: format!("{}, paired by row", error(above)),
        });
    }
    cards.push(Card {
        name: "decision gain",
        value: signed(gain.mean, 4),
        remark: format!("{} above a threshold of 0.5", error(gain)),
    });
    cards.push(Card {
        name: "over baseline",
        value: signed(miner - baseline, 4),
        remark: format!("which earns {}", fixed(baseline, 4)),
    });
    cards
}

fn qualities(report: &Report) -> Vec<Card> {
    let scores = &report.evaluation.miner;
    let seconds = |seconds: f64| format!("{} s", fixed(seconds, 2));
    let crps = report.evaluation.time_distribution.as_ref().map(|times| times.crps_seconds);
    vec![
        Card {
            name: "AUC",
            value: or_dash(scores.auc, 4),
            remark: format!("accuracy {}", fixed(scores.accuracy, 4)),
        },
        Card {
            name: "calibration error",
            value: fixed(scores.ece, 4),
            remark: format!("before calibration {}", fixed(report.reliability.before.ece, 4)),
        },
        Card {
            name: "time error",
            value: scores.time_mae_seconds.map_or_else(|| or_dash(None, 0), seconds),
            remark: crps.map_or_else(
                || "mean absolute".to_owned(),
                |crps| format!("mean absolute; CRPS {}", seconds(crps)),
            ),
        },
    ]
}

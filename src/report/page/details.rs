//! What the miners of a report are, line by line.

use super::tables::{row, table};
use super::text::{count, escape};
use crate::report::{MinerSummary, Report};

/// What a line says of a miner, in HTML.
type Value = fn(&MinerSummary) -> String;

const LINES: [(&str, Value); 9] = [
    ("checkpoint", |miner| escape(&miner.checkpoint)),
    ("made", |miner| {
        format!("{} by convminer {}", escape(&miner.created), escape(&miner.crate_version))
    }),
    ("trained on", trained_on),
    ("SHA-256 of that", |miner| format!("<code>{}</code>", escape(&miner.data.sha256))),
    ("seed, device", |miner| format!("{}, {}", miner.seed, escape(&miner.device))),
    ("decides by", decision),
    ("calibration", |miner| escape(&miner.calibration)),
    ("networks", networks),
    ("baseline", |miner| {
        if miner.baseline_fitted { "logistic regression" } else { "a constant" }.to_owned()
    }),
];

fn trained_on(miner: &MinerSummary) -> String {
    let data = &miner.data;
    format!(
        "{}: {} rows, {} converted, {} held out",
        escape(&data.file),
        count(data.rows),
        count(data.converted),
        count(data.validation_rows)
    )
}

fn decision(miner: &MinerSummary) -> String {
    format!(
        "{}, spec {}, class weights {} (converts) and {} (does not)",
        escape(&miner.decision),
        escape(&miner.reward_spec),
        miner.class_weights.positive,
        miner.class_weights.negative
    )
}

fn networks(miner: &MinerSummary) -> String {
    if miner.networks.is_empty() {
        return "none".to_owned();
    }
    let network = |(name, parameters): &(String, usize)| {
        format!("{} ({} parameters)", escape(name), count(*parameters))
    };
    miner.networks.iter().map(network).collect::<Vec<_>>().join(", ")
}

pub(super) fn details(report: &Report) -> String {
    let mut head = vec!["", "this miner"];
    let mut miners = vec![&report.miner];
    if let Some(other) = &report.against {
        head.push("the other");
        miners.push(other);
    }
    let lines = LINES.iter().map(|(name, value)| {
        row("detail", name, &miners.iter().map(|miner| value(miner)).collect::<Vec<_>>())
    });
    format!(
        "{}<p>Made by convminer {}. Bands and intervals are at 95 %; those of curves come from {} \
         resamples of the rows. <code>convminer report --json</code> prints all numbers.</p>\n",
        table(&head, &lines.collect::<String>()),
        escape(&report.convminer_version),
        report.discrimination.as_ref().map_or(0, |found| found.resamples)
    )
}

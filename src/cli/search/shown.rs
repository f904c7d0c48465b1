//! The results of a search as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::search::{Found, Measured, Record, Unseen, Verdict, difference};
use crate::train::TrainConfig;

/// Trials that are shown; the file has all.
const MOST_LINES: usize = 20;

/// One line a trial, the best first, and what to think of it.
pub(super) fn table(found: &Found, start: &TrainConfig) -> String {
    let mut text = format!(
        "{:>5} {:>9} {:>17} {:>8}  {}\n",
        "trial", "rows", "mean reward", "seconds", "other than the start"
    );
    let ranked = ranked(&found.records);
    let (shown, others) = ranked.split_at(ranked.len().min(MOST_LINES));
    // The start is what all others are compared with.
    let start_among_others = others.iter().filter(|record| record.trial == 0);
    for record in shown.iter().chain(start_among_others) {
        let _ = writeln!(text, "{}", line(record, start));
    }
    if !others.is_empty() {
        let _ = writeln!(text, "{} trials in all are in {}", ranked.len(), trials_file(found));
    }
    for remark in remarks(found) {
        let _ = writeln!(text, "{remark}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// What each trial came to on its highest rung: the highest rungs first, then what earned more.
fn ranked(records: &[Record]) -> Vec<&Record> {
    let mut last: BTreeMap<usize, &Record> = BTreeMap::new();
    for record in records {
        let highest = last.entry(record.trial).or_insert(record);
        if record.rung > highest.rung {
            *highest = record;
        }
    }
    let mut ranked: Vec<&Record> = last.into_values().collect();
    let reward = |record: &Record| record.reward.unwrap_or(f64::NEG_INFINITY);
    // Stable: of equals the earlier trial comes first.
    ranked.sort_by(|one, other| {
        let by_rung = other.reward.is_some().cmp(&one.reward.is_some());
        by_rung.then(other.rung.cmp(&one.rung)).then(reward(other).total_cmp(&reward(one)))
    });
    ranked
}

fn line(record: &Record, start: &TrainConfig) -> String {
    let Record { trial, rows, seconds, .. } = record;
    let reward = match (record.reward, record.standard_error) {
        (Some(reward), Some(error)) => format!("{reward:.4} ± {error:.4}"),
        _ => "-".to_owned(),
    };
    let mut what = match *trial {
        0 => "the start".to_owned(),
        _ => difference(&record.config, start),
    };
    if let Some(reason) = &record.error {
        let _ = write!(what, " (failed: {reason})");
    }
    format!("{trial:>5} {rows:>9} {reward:>17} {seconds:>8.1}  {what}")
}

/// What the numbers do not say by themselves.
fn remarks(found: &Found) -> Vec<String> {
    let Found { best, trials, judged_rows, .. } = found;
    let on_top = found.records.iter().filter(|it| it.rung + 1 == found.rungs.len()).count();
    let mut remarks = vec![format!(
        "the best is trial {best}, of {trials} trials of which {on_top} came to all rows, by \
         {judged_rows} rows that none was trained on"
    )];
    match &found.unseen {
        Some(unseen) => remarks.extend(of_unseen(unseen)),
        None => remarks.push(
            "the best of many looks better there than it is, and there was no time to measure it on \
             rows that no decision saw: the same command does"
                .to_owned(),
        ),
    }
    remarks
}

fn of_unseen(unseen: &Unseen) -> Vec<String> {
    let told = |of: Measured| format!("{:.4} ± {:.4}", of.mean, of.standard_error);
    let rows = unseen.of_best.rows;
    let best = told(unseen.of_best);
    let verdict = match unseen.verdict() {
        Verdict::IsStart => {
            return vec![format!(
                "nothing was better than the start, which earns {best} on {rows} rows that no \
                 decision saw"
            )];
        }
        Verdict::Better => "more than chance explains",
        Verdict::Undecided => "which may be chance",
        Verdict::Worse => "so the start is the better choice",
    };
    let against = match (unseen.of_start, unseen.gain) {
        (Some(start), Some(gain)) => format!(
            ", the start {}: {:+.4} ± {:.4} a row, {verdict}",
            told(start),
            gain.mean,
            gain.standard_error
        ),
        _ => ", and the start could not be trained".to_owned(),
    };
    vec![
        "the best of many looks better there than it is; on".to_owned()
            + &format!(" {rows} rows that no decision saw it earns {best}{against}"),
    ]
}

fn trials_file(found: &Found) -> String {
    found.folder.join("trials.ndjson").display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Ended;

    fn record(trial: usize, rung: usize, reward: Option<f64>) -> Record {
        let mut config = TrainConfig::default();
        if trial > 0 {
            config.classifier[0].units = 24 + trial;
        }
        Record {
            trial,
            rung,
            rows: [1000, 3000][rung],
            reward,
            standard_error: reward.map(|_| 0.002),
            own_reward: reward,
            error: reward.is_none().then(|| "it diverged".to_owned()),
            networks: Vec::new(),
            seconds: 1.25,
            device: "cpu".to_owned(),
            config,
        }
    }

    fn found(records: Vec<Record>, unseen: Option<Unseen>) -> Found {
        Found {
            folder: "searches/a".into(),
            config: "searches/a/train.toml".into(),
            best: 2,
            ended: Ended::Completed,
            trials: 4,
            rungs: vec![1000, 3000],
            judged_rows: 600,
            unseen,
            torn: None,
            records,
        }
    }

    fn measured(mean: f64) -> Measured {
        Measured { mean, standard_error: 0.001, rows: 500 }
    }

    #[test]
    fn the_best_comes_first() {
        let records = vec![
            record(0, 0, Some(0.5)),
            record(0, 1, Some(0.6)),
            record(1, 0, None),
            record(2, 0, Some(0.55)),
            record(2, 1, Some(0.61)),
            record(3, 0, Some(0.9)),
        ];
        let unseen = Unseen {
            best: 2,
            of_best: measured(0.6),
            of_start: Some(measured(0.59)),
            gain: Some(measured(0.01)),
        };
        let text = table(&found(records, Some(unseen)), &TrainConfig::default());
        insta::assert_snapshot!(text, @"
        trial      rows       mean reward  seconds  other than the start
            2      3000   0.6100 ± 0.0020      1.2  classifier mixture (units 26) + tabular
            0      3000   0.6000 ± 0.0020      1.2  the start
            3      1000   0.9000 ± 0.0020      1.2  classifier mixture (units 27) + tabular
            1      1000                 -      1.2  classifier mixture (units 25) + tabular (failed: it diverged)
        the best is trial 2, of 4 trials of which 2 came to all rows, by 600 rows that none was trained on
        the best of many looks better there than it is; on 500 rows that no decision saw it earns 0.6000 ± 0.0010, the start 0.5900 ± 0.0010: +0.0100 ± 0.0010 a row, more than chance explains
        ");
    }

    #[test]
    fn the_start_is_always_shown() {
        let records = (0..30).map(|trial| record(trial, 0, Some(trial as f64 / 100.0))).collect();
        let text = table(&found(records, None), &TrainConfig::default());
        assert!(
            text.contains("the start\n30 trials in all are in searches/a/trials.ndjson"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1 + MOST_LINES + 1 + 3);
    }
}

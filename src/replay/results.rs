//! The file of a replay: a line an answer.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::summary::Weights;
use super::{Replay, ReplayError, Row, Scored};
use crate::clock::Moment;
use crate::files;
use crate::journal::RecordedAnswer;
use crate::subnet::reward::{Reward, Truth};

/// A line of the file.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: &'a str,
    time: String,
    time_ns: u64,
    validator: &'a str,
    nonce: u64,
    model: &'a str,
    checkpoint: &'a str,
    answer: RecordedAnswer,
    truth: WrittenTruth,
    response_time_seconds: f64,
    reward: WrittenReward,
    class_weights: Weights,
    /// The validator's moving average with this answer.
    ema: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_if: Option<WrittenOther<'a>>,
}

/// What another checkpoint would have answered.
#[derive(Debug, Serialize)]
struct WrittenOther<'a> {
    checkpoint: &'a str,
    answer: RecordedAnswer,
    reward: WrittenReward,
    ema: f64,
}

#[derive(Debug, Serialize)]
struct WrittenTruth {
    converted: bool,
    /// Null where it converted after nobody knows how long; -1 where it did not.
    time_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct WrittenReward {
    class: f64,
    time_accuracy: f64,
    diversity: f64,
    prediction: f64,
    response_time: f64,
    total: f64,
}

/// The file for the results of a replay at `now_ns`: a name that is not taken, nor is that of its
/// summary.
pub fn results_path(folder: &Path, now_ns: u64) -> PathBuf {
    let name = Moment::of_ns(now_ns).compact();
    let later = (2..).map(|number| folder.join(format!("{name}-{number}.jsonl")));
    let mut names = std::iter::once(folder.join(format!("{name}.jsonl"))).chain(later);
    let is_free = |path: &PathBuf| !path.exists() && !summary_path(path).exists();
    names.find(is_free).expect("numbers do not end. This is a bug.")
}

/// The file for the summary, beside that of the results: `a.summary.json` for `a.jsonl`.
pub fn summary_path(results: &Path) -> PathBuf {
    results.with_extension("summary.json")
}

/// Writes a line an answer, in order of time. The file is complete when it is there.
///
/// # Errors
///
/// If the folder or the file cannot be written.
pub fn write_results(path: &Path, replay: &Replay) -> Result<(), ReplayError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| files::write_atomically_with(path, |file| write_lines(file, replay)))
        .map_err(|source| ReplayError::Write { path: path.to_owned(), source })
}

/// Writes the summary, as JSON. The file is complete when it is there.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write_summary(path: &Path, summary: &impl Serialize) -> Result<(), ReplayError> {
    let failed = |source| ReplayError::Write { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(summary).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    files::write_atomically(path, &text).map_err(failed)
}

fn write_lines(file: &mut File, replay: &Replay) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    let mut others = replay
        .other
        .iter()
        .flat_map(|other| other.scored.iter().map(|scored| (other.checkpoint.as_str(), scored)));
    for (row, scored) in replay.rows.iter().zip(&replay.scored) {
        let what_if = others.next().zip(row.other).map(|((checkpoint, scored), answer)| {
            let (answer, reward) = (answer.into(), scored.reward.into());
            WrittenOther { checkpoint, answer, reward, ema: scored.ema }
        });
        serde_json::to_writer(&mut writer, &line(row, scored, what_if))?;
        writer.write_all(b"\n")?;
    }
    writer.flush()
}

fn line<'a>(row: &'a Row, scored: &Scored, what_if: Option<WrittenOther<'a>>) -> Line<'a> {
    Line {
        id: &row.id,
        time: Moment::of_ns(row.time_ns).rfc3339(),
        time_ns: row.time_ns,
        validator: &row.validator,
        nonce: row.nonce,
        model: &row.model,
        checkpoint: &row.checkpoint,
        answer: row.answer.into(),
        truth: row.truth.into(),
        response_time_seconds: row.response_time_seconds,
        reward: scored.reward.into(),
        class_weights: scored.weights.into(),
        ema: scored.ema,
        what_if,
    }
}

impl From<Truth> for WrittenTruth {
    fn from(Truth { converted, time_seconds }: Truth) -> WrittenTruth {
        let time_seconds = Some(time_seconds).filter(|time| time.is_finite());
        WrittenTruth { converted, time_seconds }
    }
}

impl From<Reward> for WrittenReward {
    fn from(reward: Reward) -> WrittenReward {
        let Reward { class, time_accuracy, diversity, prediction, response_time, total } = reward;
        WrittenReward { class, time_accuracy, diversity, prediction, response_time, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND_NS;

    #[test]
    fn a_name_that_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let now_ns = 1_795_325_400 * SECOND_NS;
        for expected in ["20261122-053000.jsonl", "20261122-053000-2.jsonl"] {
            let path = results_path(folder.path(), now_ns);
            assert_eq!(path, folder.path().join(expected));
            fs::write(path, "").unwrap();
        }
        // What is there of an earlier summary is no name either.
        let path = folder.path().join("20261122-053000-3.jsonl");
        assert_eq!(summary_path(&path), folder.path().join("20261122-053000-3.summary.json"));
        fs::write(summary_path(&path), "").unwrap();
        let free = folder.path().join("20261122-053000-4.jsonl");
        assert_eq!(results_path(folder.path(), now_ns), free);
    }
}

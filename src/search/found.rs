//! What a search found, and how much of it is luck.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::{Measured, Record};

/// Standard errors within which a difference may well be chance.
const CHANCE: f64 = 2.0;

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The search's folder.
    pub folder: PathBuf,
    /// The best configuration, as a file for `convminer train --config`.
    pub config: PathBuf,
    /// The trial that it is of.
    pub best: usize,
    /// Why the search ended.
    pub ended: Ended,
    /// Trials that were begun, the start among them.
    pub trials: usize,
    /// Rows of each rung.
    pub rungs: Vec<usize>,
    /// Rows that trials were judged by.
    pub judged_rows: usize,
    /// The best and the start on rows that no decision saw; none if there was no time to train them
    /// again.
    pub unseen: Option<Unseen>,
    /// Where a torn last line of the results was put.
    pub torn: Option<PathBuf>,
    /// Everything that was done, in order.
    pub records: Vec<Record>,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All trials were done.
    Completed,
    /// The next one would not have ended in time.
    OutOfTime,
    /// The observer asked for it.
    Interrupted,
}

/// A measurement on rows by which nothing was chosen: the best of many trials on the rows that chose
/// it looks better than it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Unseen {
    /// The trial that was the best.
    pub best: usize,
    /// What it earns on them.
    pub of_best: Measured,
    /// What the start earns; none if it could not be trained.
    pub of_start: Option<Measured>,
    /// How much more the best earns a row; none if there is no start, or it is the best.
    pub gain: Option<Measured>,
}

/// What a measurement on unseen rows says of the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is the start.
    IsStart,
    /// It earns more.
    Better,
    /// It may be chance that they differ.
    Undecided,
    /// It earns less.
    Worse,
}

impl Unseen {
    /// From the rewards of the same rows.
    pub(super) fn of(best: usize, of_best: &[f64], of_start: Option<&[f64]>) -> Unseen {
        let other = of_start.filter(|_| best != 0);
        Unseen {
            best,
            of_best: Measured::of(of_best),
            of_start: of_start.map(Measured::of),
            gain: other.map(|start| Measured::of_differences(of_best, start)),
        }
    }

    /// What it says.
    pub fn verdict(&self) -> Verdict {
        match self.gain {
            None if self.best == 0 => Verdict::IsStart,
            None => Verdict::Undecided,
            Some(Measured { mean, standard_error, .. }) => {
                let chance = CHANCE * standard_error;
                match mean {
                    gain if gain > chance => Verdict::Better,
                    gain if gain < -chance => Verdict::Worse,
                    _ => Verdict::Undecided,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_by_hand() {
        let start = [0.5, 0.5, 0.5, 0.5];
        for (best, rewards, expected) in [
            (1, [0.6, 0.7, 0.6, 0.7], Verdict::Better),
            (1, [0.4, 0.3, 0.4, 0.3], Verdict::Worse),
            // Mean 0.1, standard error 0.115.
            (1, [0.4, 0.4, 0.8, 0.8], Verdict::Undecided),
            (1, start, Verdict::Undecided),
            (0, start, Verdict::IsStart),
        ] {
            let unseen = Unseen::of(best, &rewards, Some(&start));
            assert_eq!(unseen.verdict(), expected, "{rewards:?}");
        }
        let unseen = Unseen::of(1, &start, None);
        assert_eq!((unseen.verdict(), unseen.gain), (Verdict::Undecided, None));
    }
}

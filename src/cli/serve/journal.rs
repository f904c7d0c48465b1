//! The journal, from the flags.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::cli::error::WithHint as _;
use crate::clock::Clock;
use crate::journal::{Annotate, Journal, JournalError, JournalOptions, Sampling};

/// How long a stop waits for the disk to take what is left of the journal.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The smallest budget: less would hold no day.
const LEAST_BYTES: u64 = 1 << 20;

/// What is written down of answers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Journal")]
pub(super) struct JournalArgs {
    /// Which answers are written down, for replay, diagnosis and learning
    #[arg(
        long,
        value_name = "all|sampled|off",
        default_value = "all",
        hide_possible_values = true
    )]
    journal: Which,
    /// The folder of what was answered
    #[arg(long = "journal.dir", value_name = "FOLDER", default_value = "data/predictions")]
    journal_dir: PathBuf,
    /// How much room it may take, like 500MiB; the oldest is compacted, and in the end removed
    #[arg(long = "journal.budget", value_name = "SIZE", default_value = "2GiB",
          value_parser = bytes)]
    journal_budget: u64,
}

/// Which answers are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// All.
    All,
    /// Some of each validator, and close decisions.
    Sampled,
    /// None.
    Off,
}

impl JournalArgs {
    /// Where answers are written down.
    pub(super) fn folder(&self) -> &PathBuf {
        &self.journal_dir
    }

    /// Starts to write, unless it is off.
    pub(super) fn start(
        &self,
        clock: Arc<dyn Clock>,
        annotate: Option<Annotate>,
    ) -> anyhow::Result<Option<Arc<Journal>>> {
        let sampling = match self.journal {
            Which::All => Sampling::All,
            Which::Sampled => Sampling::Sampled,
            Which::Off => return Ok(None),
        };
        let started = Journal::start(JournalOptions {
            sampling,
            budget_bytes: self.journal_budget,
            annotate,
            clock,
            ..JournalOptions::new(&self.journal_dir)
        });
        let journal = match started {
            Err(error @ JournalError::InUse { .. }) => Err(error).with_hint(
                || "--journal.dir names another folder, and --journal off writes nothing down",
            )?,
            started => started.context("the journal cannot be started")?,
        };
        Ok(Some(Arc::new(journal)))
    }
}

/// Writes what is left of a journal.
pub(super) fn stop(journal: &Journal) {
    if !journal.stop(STOP_LIMIT) {
        let waiting = journal.stats().waiting;
        tracing::error!(waiting, "the disk hangs; the end of the journal is lost");
    }
}

/// A number of bytes, with or without a unit.
fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "kb" => Some(1e3),
        "mb" => Some(1e6),
        "gb" => Some(1e9),
        "tb" => Some(1e12),
        "kib" | "k" => Some(f64::from(1 << 10)),
        "mib" | "m" => Some(f64::from(1 << 20)),
        "gib" | "g" => Some(f64::from(1 << 30)),
        "tib" | "t" => Some(f64::from(1 << 30) * 1024.0),
        _ => None,
    };
    let bytes = number.parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
    match bytes {
        Some(bytes) if bytes >= LEAST_BYTES as f64 && bytes <= 1e18 => Ok(bytes as u64),
        _ => Err("expected a size of 1MiB or more, such as 500MB or 2GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        journal: JournalArgs,
    }

    fn parse(arguments: &[&str]) -> Result<JournalArgs, clap::Error> {
        Line::try_parse_from([&["serve"], arguments].concat()).map(|line| line.journal)
    }

    #[test]
    fn the_flags_defaults_are_the_librarys() {
        let args = parse(&[]).unwrap();
        let options = JournalOptions::new("");
        assert_eq!(args.journal, Which::All);
        assert_eq!(args.journal_budget, options.budget_bytes);
        assert_eq!(options.sampling, Sampling::All);
        assert_eq!(args.folder(), std::path::Path::new("data/predictions"));
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("1048576", Some(1 << 20)),
            ("1MiB", Some(1 << 20)),
            ("1.5 gib", Some(3 << 29)),
            ("2GB", Some(2_000_000_000)),
            ("5000kb", Some(5_000_000)),
            ("1023KiB", None),
            ("0", None),
            ("-1GiB", None),
            ("", None),
            ("GiB", None),
            ("2 apples", None),
            ("1e30", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn off_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = format!("--journal.dir={}", folder.path().join("a").display());
        let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
        let off = parse(&["--journal=off", &dir]).unwrap();
        assert!(off.start(Arc::clone(&clock), None).unwrap().is_none());
        assert!(!folder.path().join("a").exists());
        let on = parse(&["--journal=sampled", &dir]).unwrap();
        let journal = on.start(Arc::clone(&clock), None).unwrap().unwrap();
        assert!(folder.path().join("a").is_dir());
        let error = on.start(clock, None).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error:?}");
        stop(&journal);
        assert!(parse(&["--journal=some"]).is_err());
    }
}

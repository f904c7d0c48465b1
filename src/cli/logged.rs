//! What was answered and what became of it, as several commands read it.

use std::path::PathBuf;

use anyhow::anyhow;

use super::error::WithHint as _;
use super::printer::Printer;
use crate::clock::{Clock as _, SystemClock};
use crate::replay::{JoinReport, Window};
use crate::tune::SetClock;

/// So much of what cannot be read is told one by one.
const TOLD: usize = 5;

/// Where answers and truths are, and how far back answers count.
#[derive(Debug, clap::Args)]
pub(super) struct LoggedData {
    /// How many days back answers count
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) days: u32,
    /// The folder with what was answered: in settings it goes by the name that it has for serve,
    /// whose --journal says how much is written there
    #[arg(
        long = "journal.dir",
        visible_alias = "journal",
        value_name = "FOLDER",
        default_value = "data/predictions"
    )]
    pub(super) journal: PathBuf,
    /// The folder with what really happened
    #[arg(long, value_name = "FOLDER", default_value = "data/outcomes")]
    pub(super) outcomes: PathBuf,
    /// The moment to take for now
    #[arg(long, value_name = "RFC3339", hide = true)]
    now: Option<SetClock>,
}

impl LoggedData {
    /// Now.
    pub(super) fn now_ns(&self) -> u64 {
        self.now.map_or_else(|| SystemClock.now_ns(), |clock| clock.now_ns())
    }

    /// The days that count.
    pub(super) fn window(&self) -> Window {
        Window::last_days(self.days, self.now_ns())
    }

    /// Says what was odd about the records, and refuses to go on if there is nothing to go on with.
    pub(super) fn check(&self, joined: &JoinReport, printer: &Printer) -> anyhow::Result<()> {
        for fault in joined.faults.iter().take(TOLD) {
            printer.warn(fault);
        }
        let more = (joined.torn + joined.unreadable).saturating_sub(TOLD as u64);
        if more > 0 {
            let folder = self.journal.display();
            printer.warn(format_args!("`{folder}` has {more} more that cannot be read"));
        }
        if joined.unreadable_outcomes > 0 {
            let (lines, folder) = (joined.unreadable_outcomes, self.outcomes.display());
            printer.warn(format_args!("`{folder}` has lines that are no outcomes: {lines}"));
        }
        let (journal, outcomes) = (self.journal.display(), self.outcomes.display());
        let (records, days) = (joined.records, self.days);
        if records == 0 {
            let found = if self.journal.is_dir() { "there are none" } else { "it is no folder" };
            return Err(anyhow!(
                "expected requests of the last {days} days in `{journal}`, but {found}"
            ))
            .with_hint(|| "`convminer serve` writes what it answers there; --days looks further");
        }
        if joined.resolved == 0 {
            let known = joined.outcomes;
            return Err(anyhow!(
                "expected some of the {records} requests of the last {days} days to have a known \
                 truth, but none has; `{outcomes}` has that of {known} conversations"
            ))
            .with_hint(
                || "`convminer outcomes import` and `convminer outcomes fetch` bring truths",
            );
        }
        Ok(())
    }
}

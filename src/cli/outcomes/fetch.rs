//! `convminer outcomes fetch`.

use std::collections::HashSet;
use std::path::PathBuf;

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{OutcomesArgs, shown};
use crate::cli::ExitStatus;
use crate::cli::api::{Progress, stopped};
use crate::cli::printer::{Line, Printer};
use crate::clock::{Clock as _, DAY_NS, SystemClock};
use crate::journal;
use crate::outcomes::api::{self, Fetched};
use crate::outcomes::{Appended, Outcome, OutcomeSet, Store};

/// Which conversations are asked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fetching")]
pub(super) struct Asked {
    /// The folder with what was answered
    #[arg(
        long = "journal.dir",
        visible_alias = "journal",
        global = true,
        value_name = "FOLDER",
        default_value = "data/predictions"
    )]
    journal: PathBuf,
    /// How many days back what was answered is asked for
    #[arg(long, global = true, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
    /// Ask for N conversations at most, others each time
    #[arg(long, global = true, value_name = "N")]
    limit: Option<usize>,
}

/// Asks for all that is not known; the answer is "no" if for some there was no usable answer.
pub(super) fn run(args: &OutcomesArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut store = Store::open(&args.outcomes)?;
    super::warn_of_unreadable(store.known(), printer);
    let (answered, mut ids) = unknown(&args.asked, store.known(), printer)?;
    let unknown = ids.len();
    // In another order each time: those for which the API always fails, or knows nothing yet, would
    // otherwise keep the others waiting for days.
    ids.shuffle(&mut ChaCha8Rng::seed_from_u64(SystemClock.now_ns()));
    ids.truncate(args.asked.limit.unwrap_or(usize::MAX));
    let mut appended = Appended::default();
    let fetched = if ids.is_empty() {
        Fetched::default()
    } else {
        fetch(&ids, args, &mut store, &mut appended, printer)?
    };
    tell(&fetched, ids.len(), &appended, printer);
    if args.json {
        printer.out(json!({
            "outcomes": args.outcomes,
            "answered": answered,
            "unknown": unknown,
            "asked": ids.len(),
            "known": fetched.known,
            "not_yet": fetched.not_yet,
            "failed": fetched.failed.iter()
                .map(|failure| json!({ "id": failure.id, "reason": failure.reason }))
                .collect::<Vec<_>>(),
            "contradicting": shown::contradictions(&appended.contradicting),
            "stopped": fetched.stopped.as_ref().map(ToString::to_string),
        }))?;
    } else if ids.is_empty() {
        printer.out(format_args!(
            "nothing to ask for: of the {answered} conversations of the last {} days, the truth \
             of all is known",
            args.asked.days
        ))?;
    } else {
        let (asked, failed) = (ids.len(), fetched.failed.len());
        let Fetched { known, not_yet, .. } = fetched;
        printer.out(format_args!(
            "{asked} conversations to ask for: {known} known now, {not_yet} not yet, {failed} \
             without a usable answer"
        ))?;
    }
    match fetched.stopped {
        Some(stop) => Err(stopped(stop)),
        None if fetched.failed.is_empty() => Ok(ExitStatus::Success),
        None => Ok(ExitStatus::No),
    }
}

/// How many conversations are in the journal, and the names of those whose truth is not known, each
/// once, the oldest first.
fn unknown(
    asked: &Asked,
    known: &OutcomeSet,
    printer: &Printer,
) -> anyhow::Result<(usize, Vec<String>)> {
    let from_ns = SystemClock.now_ns().saturating_sub(u64::from(asked.days) * DAY_NS);
    let (mut seen, mut ids) = (HashSet::new(), Vec::new());
    let report = journal::read(&asked.journal, Some(from_ns), &mut |record| {
        if let Some(id) = record.names().next()
            && seen.insert(id.to_owned())
            && known.of(&record).is_none()
        {
            ids.push(id.to_owned());
        }
    })?;
    if report.unreadable_count > 0 {
        let (count, journal) = (report.unreadable_count, asked.journal.display());
        printer.warn(format_args!("`{journal}` has lines or tables that cannot be read: {count}"));
    }
    Ok((seen.len(), ids))
}

fn fetch(
    ids: &[String],
    args: &OutcomesArgs,
    store: &mut Store,
    all: &mut Appended,
    printer: &Printer,
) -> anyhow::Result<Fetched> {
    let mut caller = args.api.caller(printer)?;
    let mut progress = Progress::new(Some(ids.len()), "conversations", printer)?;
    let mut store = |batch: Vec<Outcome>| {
        let mut appended = store.append(batch, SystemClock.now_ns())?;
        all.new += appended.new;
        all.timed += appended.timed;
        all.known += appended.known;
        all.contradicting.append(&mut appended.contradicting);
        all.torn.append(&mut appended.torn);
        Ok(())
    };
    let now_ns = || SystemClock.now_ns();
    let fetched = api::fetch(&mut caller, ids, &now_ns, &mut store, &mut progress);
    progress.finish();
    Ok(fetched?)
}

/// Says what did not go as it should.
fn tell(fetched: &Fetched, asked: usize, appended: &Appended, printer: &Printer) {
    for failure in fetched.failed.iter().take(shown::EXAMPLES) {
        let (id, reason) = (Line(&failure.id), Line(&failure.reason));
        printer.warn(format_args!("`{id}`: no usable answer: {reason}"));
    }
    if fetched.failed.len() > shown::EXAMPLES {
        let more = fetched.failed.len() - shown::EXAMPLES;
        printer.warn(format_args!("{more} more have no usable answer"));
    }
    if fetched.unknown == asked && asked > 0 {
        printer
            .warn("the data API knows none of the conversations: is --api.url its right address?");
    }
    shown::warn_of(&appended.contradicting, printer);
    shown::warn_of_torn(appended, printer);
}

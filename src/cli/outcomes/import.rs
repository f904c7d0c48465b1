//! `convminer outcomes import`.

use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::json;

use super::{OutcomesArgs, shown};
use crate::cli::ExitStatus;
use crate::cli::error::WithHint as _;
use crate::cli::printer::Printer;
use crate::clock::{Clock as _, SystemClock};
use crate::outcomes::{self, Imported};

/// Imports what makes sense; the answer is "no" if a row did not.
pub(super) fn run(
    files: &[PathBuf],
    args: &OutcomesArgs,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let now_ns = SystemClock.now_ns();
    let mut imported = Imported::default();
    for path in files {
        let source = path.file_name().unwrap_or_default().to_string_lossy();
        outcomes::import(path, &source, now_ns, &mut imported)?;
    }
    let Imported { rows, unlabelled, refused, refused_first, .. } = &imported;
    for row in refused_first {
        let (path, number, reason) = (row.path.display(), row.row, &row.reason);
        printer.warn(format_args!("`{path}`: row {number} is refused: {reason}"));
    }
    if *refused > refused_first.len() {
        let more = refused - refused_first.len();
        printer.warn(format_args!("{more} more rows are refused"));
    }
    if args.strict && *refused > 0 {
        return Err(anyhow!("{refused} of {rows} rows make no sense, so nothing was imported"))
            .with_hint(|| "without --strict the other rows are imported");
    }
    let appended = outcomes::append(&args.outcomes, imported.outcomes.clone(), now_ns)?;
    shown::warn_of(&appended.contradicting, printer);
    shown::warn_of_torn(&appended, printer);
    if args.json {
        printer.out(json!({
            "outcomes": args.outcomes,
            "rows": rows,
            "new": appended.new,
            "timed": appended.timed,
            "known": appended.known,
            "contradicting": shown::contradictions(&appended.contradicting),
            "unlabelled": unlabelled,
            "refused": refused,
        }))?;
    } else {
        let what = shown::appended(&appended);
        printer.out(format_args!(
            "{rows} rows: {what}, {unlabelled} without a label, {refused} refused"
        ))?;
    }
    Ok(if *refused == 0 { ExitStatus::Success } else { ExitStatus::No })
}

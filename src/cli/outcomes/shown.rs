//! Outcomes as a person and a program see them.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::printer::{Line, Printer};
use crate::clock::Moment;
use crate::outcomes::{Appended, Contradiction, Outcome, OutcomeSet};

/// So many of a kind are told one by one.
pub(super) const EXAMPLES: usize = 20;

/// How much is known.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    conversations: usize,
    converted: usize,
    /// How many of those it is known of when.
    timed: usize,
    contradictions: usize,
    /// When the first became known, and the last.
    first: Option<String>,
    last: Option<String>,
    unreadable_lines: usize,
}

impl Summary {
    pub(super) fn of(set: &OutcomeSet) -> Summary {
        let known = || set.iter().map(|outcome| outcome.known_ns);
        let moment = |ns: u64| Moment::of_ns(ns).rfc3339();
        Summary {
            conversations: set.len(),
            converted: set.iter().filter(|outcome| outcome.converted).count(),
            timed: set.iter().filter(|outcome| outcome.time_seconds.is_some()).count(),
            contradictions: set.contradictions().len(),
            first: known().min().map(moment),
            last: known().max().map(moment),
            unreadable_lines: set.unreadable().len() + set.torn(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { conversations, converted, timed, contradictions, first, last, .. } = self;
        write!(
            formatter,
            "{conversations} conversations, {converted} converted ({timed} with a time), \
             {contradictions} contradictions"
        )?;
        if let (Some(first), Some(last)) = (first, last) {
            write!(formatter, "; known from {first} to {last}")?;
        }
        Ok(())
    }
}

/// A warning of each contradiction, or of the first few.
pub(super) fn warn_of(contradictions: &[Contradiction], printer: &Printer) {
    for Contradiction { earlier, later } in contradictions.iter().take(EXAMPLES) {
        let (id, was, is) = (Line(&later.id), Said(earlier), Said(later));
        printer.warn(format_args!("`{id}` {was}, but now {is}: the later counts"));
    }
    if contradictions.len() > EXAMPLES {
        let more = contradictions.len() - EXAMPLES;
        printer.warn(format_args!("{more} more outcomes contradict what was known"));
    }
}

/// Contradictions as JSON.
pub(super) fn contradictions(contradictions: &[Contradiction]) -> Value {
    let shown = |Contradiction { earlier, later }: &Contradiction| json!({ "id": later.id, "earlier": earlier, "later": later });
    contradictions.iter().map(shown).collect()
}

/// What became of outcomes that were added, in words.
pub(super) fn appended(appended: &Appended) -> String {
    let Appended { new, timed, known, contradicting, .. } = appended;
    let contradicting = contradicting.len();
    let mut text = format!("{new} new, {known} known already, {contradicting} contradicting");
    if *timed > 0 {
        text.push_str(&format!(", {timed} now with a time"));
    }
    text
}

/// A warning of each beginning of a line that was set aside.
pub(super) fn warn_of_torn(appended: &Appended, printer: &Printer) {
    for path in &appended.torn {
        let path = path.display();
        printer.warn(format_args!("a line that had no end was set aside as `{path}`"));
    }
}

struct Said<'a>(&'a Outcome);

impl fmt::Display for Said<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { converted, time_seconds, source, .. } = self.0;
        let source = Line(source);
        match (converted, time_seconds) {
            (false, _) => write!(formatter, "did not convert ({source})"),
            (true, None) => write!(formatter, "converted ({source})"),
            (true, Some(time)) => write!(formatter, "converted after {time} s ({source})"),
        }
    }
}

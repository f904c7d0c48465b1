//! What `convminer tune` prints for people.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::clock::Moment;
use crate::tune::{
    self, Break, Decision, Entry, Event, PARAMETERS, Parameter, Proposal, Standing, Starter,
    Suggestions, Tunables, Verdict,
};

/// Whether a change is allowed, and else why not and from when on.
pub(super) fn verdict(verdict: &Verdict) -> String {
    let Verdict { parameter, from, to, .. } = verdict;
    let change = to.map_or(String::new(), |to| format!(" to {to}"));
    if verdict.is_allowed() {
        format!("yes: {parameter}, which is {from}, may be changed{change} now")
    } else {
        refused(verdict, &format!("no: {parameter}, which is {from}, may not be changed{change}"))
    }
}

fn refused(verdict: &Verdict, heading: &str) -> String {
    let mut text = heading.to_owned();
    if let Some(from_ns) = verdict.allowed_from_ns {
        let _ = write!(text, " before {}", moment(from_ns));
    }
    text.push(':');
    for refusal in &verdict.refusals {
        let _ = write!(text, "\n  {refusal}");
    }
    text
}

/// What became of a wish.
pub(super) fn decision(decision: &Decision, what: &str) -> String {
    let Verdict { parameter, from, to, .. } = &decision.verdict;
    let to = to.unwrap_or(*from);
    match &decision.entry {
        Some(entry) => {
            let next = match &entry.event {
                Event::Proposed { .. } => {
                    "\n  nothing changed yet; `convminer tune apply` makes the change".to_owned()
                }
                Event::Applied { rules, .. } => format!(
                    "\n  a running miner takes it up; what it does is observed for {} days, in which \
                     `convminer tune revert` goes back",
                    rules.observation_days
                ),
                Event::Started { .. } | Event::Reverted { .. } => String::new(),
            };
            format!("{what}: {parameter} from {from} to {to} (entry {}){next}", entry.number)
        }
        None => {
            let heading = format!("refused: {parameter}, which is {from}, may not become {to}");
            refused(&decision.verdict, &heading)
        }
    }
}

/// What was undone.
pub(super) fn reverted(entry: &Entry) -> String {
    match &entry.event {
        Event::Reverted { parameter, from, to, change, .. } => format!(
            "reverted: {parameter} from {from} to {to}, which undoes entry {change} (entry {})\n  a \
             running miner takes it up",
            entry.number
        ),
        _ => self::entry(entry),
    }
}

/// One entry of the history, in a line.
pub(super) fn entry(entry: &Entry) -> String {
    let what = match &entry.event {
        Event::Started { by: Starter::Serve } => "mining began".to_owned(),
        Event::Started { by: Starter::Tune } => {
            "mining began, as far as is known: the first command to tune".to_owned()
        }
        Event::Proposed { parameter, from, to, reason } => {
            format!("proposed {parameter} from {from} to {to}: {reason}")
        }
        Event::Applied { parameter, from, to, reason, proposal, .. } => {
            let proposal = proposal.map_or(String::new(), |it| format!(" as in entry {it}"));
            format!("applied {parameter} from {from} to {to}{proposal}: {reason}")
        }
        Event::Reverted { parameter, from, to, reason, change } => {
            format!("reverted {parameter} from {from} to {to}, undoing entry {change}: {reason}")
        }
    };
    let by_hand = if entry.is_time_by_hand { " (time given by hand)" } else { "" };
    format!("{:>3}  {}{by_hand}  {what}", entry.number, Moment::of_ns(entry.time_ns).rfc3339())
}

/// All entries, and whether they are as they were written.
#[derive(Debug, Serialize)]
pub(super) struct History<'a> {
    is_intact: bool,
    /// Where it is not, in words.
    problem: Option<String>,
    head: &'a str,
    current: Tunables,
    pending: Option<Proposal>,
    /// How many there are, shown or not.
    entry_count: usize,
    entries: Vec<&'a Entry>,
}

impl History<'_> {
    /// All entries, or those of one parameter only.
    pub(super) fn new(
        history: &tune::History,
        problem: Option<Break>,
        only: Option<Parameter>,
    ) -> History<'_> {
        let is_shown = |parameter| only.is_none_or(|only| parameter == Some(only));
        let entries = history.entries();
        History {
            is_intact: problem.is_none(),
            problem: problem.map(|problem| problem.to_string()),
            head: history.head(),
            current: history.current(),
            pending: history.pending().filter(|pending| is_shown(Some(pending.parameter))),
            entry_count: entries.len(),
            entries: entries.iter().filter(|entry| is_shown(entry.event.parameter())).collect(),
        }
    }
}

impl fmt::Display for History<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in &self.entries {
            writeln!(formatter, "{}", entry(item))?;
        }
        if let Some(pending) = &self.pending {
            writeln!(formatter, "waits to be applied: {pending}")?;
        }
        match (&self.problem, self.entry_count) {
            (Some(problem), _) => write!(formatter, "NOT as it was written: {problem}"),
            (None, 0) => write!(formatter, "nothing is recorded yet"),
            (None, count) => {
                write!(formatter, "intact: {count} entries, the last one sealed by {}", self.head)
            }
        }
    }
}

/// Every parameter as it stands.
pub(super) fn standings(standings: &[Standing]) -> String {
    let width = PARAMETERS.iter().map(|spec| spec.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "{:<width$}  {:>7}  {:<11}  {:>7}  {:>13}  {:>5}  {:<20}  may be changed",
        "parameter", "value", "unit", "default", "bounds", "step", "last change"
    );
    for standing in standings {
        let bounds = format!("{}..{}", standing.lowest, standing.highest);
        let changed = standing.changed_ns.map_or("never".to_owned(), moment);
        let may = match standing.allowed_from_ns.filter(|_| !standing.is_allowed) {
            Some(from_ns) => format!("from {}", moment(from_ns)),
            None => "now".to_owned(),
        };
        let _ = write!(
            text,
            "\n{:<width$}  {:>7}  {:<11}  {:>7}  {bounds:>13}  {:>5}  {changed:<20}  {may}",
            standing.parameter.name(),
            standing.value,
            standing.unit,
            standing.default,
            standing.largest_step,
        );
    }
    text
}

/// What should be tuned, and why.
pub(super) fn suggestions(found: &Suggestions) -> String {
    let mut text = String::new();
    for (number, suggestion) in (1..).zip(&found.suggestions) {
        let Verdict { parameter, from, to, .. } = &suggestion.verdict;
        let to = to.unwrap_or(*from);
        let _ = writeln!(text, "{number}. {parameter} from {from} to {to}");
        let _ = writeln!(text, "   why: {}", suggestion.why);
        let when = if suggestion.verdict.is_allowed() {
            format!("now: convminer tune propose {parameter} {to} --reason \"...\"")
        } else {
            suggestion
                .verdict
                .allowed_from_ns
                .map_or("never".to_owned(), |ns| format!("from {} on", moment(ns)))
        };
        let _ = writeln!(text, "   allowed: {when}");
    }
    if found.suggestions.is_empty() {
        text.push_str("nothing should be tuned:\n");
    } else if found.suggestions.len() > 1 {
        text.push_str("one at a time: the first one is worth the most\n");
    }
    if !found.suggestions.is_empty() && !found.otherwise.is_empty() {
        text.push_str("nothing else should be tuned:\n");
    }
    for otherwise in &found.otherwise {
        let _ = writeln!(text, "   {otherwise}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// The first whole second that is not before a moment.
fn moment(ns: u64) -> String {
    Moment::of_ns(ns.saturating_add(crate::clock::SECOND_NS - 1)).rfc3339()
}

//! What went wrong of late.

use std::cmp::Reverse;

use super::Outcome;
use super::window::Moment;

/// How many are remembered.
const LIMIT: usize = 50;
/// How much of a reason is kept, in letters.
const REASON_LETTERS: usize = 200;

/// Requests that got no answer, those alike counted together.
#[derive(Debug, Default)]
pub(super) struct RecentErrors {
    entries: Vec<RecentError>,
}

/// Requests that got no answer for the same reason.
#[derive(Debug, Clone)]
pub(super) struct RecentError {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) count: u64,
    pub(super) first: Moment,
    pub(super) last: Moment,
}

impl RecentErrors {
    pub(super) fn note(&mut self, outcome: Outcome, reason: &str, moment: Moment) {
        let reason = shortened(reason);
        let known = self
            .entries
            .iter_mut()
            .find(|entry| entry.outcome == outcome && entry.reason == reason);
        if let Some(entry) = known {
            entry.count += 1;
            entry.last = moment;
            return;
        }
        if self.entries.len() >= LIMIT {
            self.make_room(outcome);
        }
        let reason = reason.to_owned();
        self.entries.push(RecentError { outcome, reason, count: 1, first: moment, last: moment });
    }

    /// Drops the oldest of the kind that there is most of, so that a flood of one kind, which
    /// anybody can send, leaves the others alone.
    fn make_room(&mut self, outcome: Outcome) {
        let mut counts = [0; Outcome::ALL.len()];
        counts[outcome as usize] += 1;
        for entry in &self.entries {
            counts[entry.outcome as usize] += 1;
        }
        let order =
            |entry: &RecentError| (Reverse(counts[entry.outcome as usize]), entry.last.steady_ns);
        let least = (0..self.entries.len()).min_by_key(|&index| order(&self.entries[index]));
        if let Some(index) = least {
            self.entries.remove(index);
        }
    }

    /// All of them, the latest first.
    pub(super) fn latest_first(&self) -> Vec<RecentError> {
        let mut entries = self.entries.clone();
        entries.reverse();
        entries.sort_by_key(|entry| Reverse(entry.last.steady_ns));
        entries
    }
}

/// The beginning of a reason.
pub(super) fn shortened(reason: &str) -> &str {
    // Most are short in bytes already, and need no look at their letters.
    if reason.len() <= REASON_LETTERS {
        return reason;
    }
    let end = reason.char_indices().nth(REASON_LETTERS).map(|(index, _)| index);
    &reason[..end.unwrap_or(reason.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Moment {
        Moment { steady_ns: ns, wall_ns: ns }
    }

    #[test]
    fn equal_ones_are_counted_together() {
        let mut errors = RecentErrors::default();
        errors.note(Outcome::Malformed, "no `timeout`", at(1));
        errors.note(Outcome::Late, "no `timeout`", at(2));
        errors.note(Outcome::Malformed, "no `timeout`", at(3));
        let latest = errors.latest_first();
        let shown: Vec<_> = latest.iter().map(|it| (it.outcome, it.count)).collect();
        assert_eq!(shown, [(Outcome::Malformed, 2), (Outcome::Late, 1)]);
        assert_eq!((latest[0].first, latest[0].last), (at(1), at(3)));
    }

    #[test]
    fn a_flood_pushes_out_its_own_kind() {
        let mut errors = RecentErrors::default();
        errors.note(Outcome::Failed, "the model panicked", at(0));
        for number in 1..=1000 {
            errors.note(Outcome::Unverified, &format!("nonce {number}"), at(number));
        }
        let latest = errors.latest_first();
        assert_eq!(latest.len(), LIMIT);
        assert_eq!(
            (latest[0].reason.as_str(), latest[48].reason.as_str()),
            ("nonce 1000", "nonce 952")
        );
        assert_eq!(latest[49].outcome, Outcome::Failed);
    }

    #[test]
    fn reasons_are_cut_between_letters() {
        let long = "\u{e9}".repeat(300);
        assert_eq!(shortened(&long), "\u{e9}".repeat(200));
        let just = "\u{e9}".repeat(200);
        assert_eq!(shortened(&just), just);
        let mut errors = RecentErrors::default();
        errors.note(Outcome::Malformed, &long, at(1));
        errors.note(Outcome::Malformed, &format!("{long}x"), at(2));
        assert_eq!(errors.latest_first()[0].count, 2);
    }
}

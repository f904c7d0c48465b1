//! What there is to learn from.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::drift::newest_kind;
use super::evidence::answered_before;
use crate::features::Conversation;
use crate::replay::Resolved;
use crate::subnet::reward::Truth;

/// Conversations with known truths, in order of time.
#[derive(Debug, Clone, Default)]
pub(super) struct Material<'a> {
    rows: Vec<&'a Resolved>,
}

impl<'a> Material<'a> {
    /// Each conversation that was first answered after a moment, once. The records are in order of
    /// time; what was answered before them is not known.
    pub(super) fn after(all: &'a [Resolved], after_ns: u64) -> Material<'a> {
        let mut seen: HashSet<&str> = answered_before(all, after_ns);
        let rows = all.iter().filter(|resolved| {
            resolved.record.time_ns > after_ns
                && resolved.record.id().is_some_and(|id| seen.insert(id))
        });
        Material { rows: rows.collect() }
    }

    pub(super) fn rows(&self) -> &[&'a Resolved] {
        &self.rows
    }

    /// How many truths became known after a moment, and how many of those converted.
    pub(super) fn known_after(&self, known_ns: u64) -> (usize, usize) {
        let new = self.rows.iter().filter(|resolved| resolved.known_ns > known_ns);
        let (mut truths, mut converted) = (0, 0);
        for resolved in new {
            truths += 1;
            converted += usize::from(resolved.truth.converted);
        }
        (truths, converted)
    }

    /// When the last of them became known.
    pub(super) fn last_known_ns(&self) -> u64 {
        self.rows.iter().map(|resolved| resolved.known_ns).max().unwrap_or(0)
    }

    /// The newest ones that are of one kind by what the served checkpoint earned on each, and the
    /// newest ones before; so many of both at most.
    pub(super) fn parted(&self, rewards: &[f64], most: usize) -> (Material<'a>, Material<'a>) {
        let start = newest_kind(rewards).max(self.rows.len().saturating_sub(most));
        let (before, newest) = self.rows.split_at(start);
        let before = &before[before.len().saturating_sub(most)..];
        (Material { rows: newest.to_vec() }, Material { rows: before.to_vec() })
    }

    /// What models learn from.
    pub(super) fn labelled(&self) -> (Vec<Conversation>, Vec<Truth>) {
        let row = |resolved: &&Resolved| (resolved.record.features.clone(), resolved.truth);
        self.rows.iter().map(row).unzip()
    }

    /// How many converted.
    pub(super) fn converted(&self) -> usize {
        self.rows.iter().filter(|resolved| resolved.truth.converted).count()
    }

    /// When the first and the last were answered; 0 without any.
    pub(super) fn span_ns(&self) -> (u64, u64) {
        let time = |resolved: Option<&&Resolved>| resolved.map_or(0, |it| it.record.time_ns);
        (time(self.rows.first()), time(self.rows.last()))
    }

    /// SHA-256 of names, times and truths.
    pub(super) fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for Resolved { record, truth, .. } in &self.rows {
            let id = record.id().unwrap_or_default();
            hasher.update((id.len() as u64).to_le_bytes());
            hasher.update(id);
            hasher.update(record.time_ns.to_le_bytes());
            hasher.update([u8::from(truth.converted)]);
            hasher.update(truth.time_seconds.to_bits().to_le_bytes());
        }
        hex::encode(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;

    fn resolved(id: &str, time_ns: u64, known_ns: u64) -> Resolved {
        let truth = Truth::converted_after(60.0);
        Resolved { record: Record::sample(id, time_ns), truth, known_ns }
    }

    #[test]
    fn each_conversation_once_and_later_only() {
        let all = [
            resolved("a", 1, 50),
            resolved("b", 2, 60),
            resolved("b", 3, 60),
            resolved("c", 4, 55),
        ];
        let material = Material::after(&all, 1);
        let names: Vec<_> = material.rows().iter().map(|it| it.record.id().unwrap()).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(material.known_after(55), (1, 1));
        assert_eq!(material.last_known_ns(), 60);
        assert_eq!((material.span_ns(), material.converted()), ((2, 4), 2));
        // "b" was answered before, and is no news when it is asked again.
        let other = Material::after(&all, 2);
        assert_eq!(other.rows().len(), 1);
        assert_ne!(material.sha256(), other.sha256());
        assert_eq!(material.sha256(), Material::after(&all, 1).sha256());
    }

    #[test]
    fn the_newest_kind_is_what_is_new() {
        let all: Vec<Resolved> =
            (0..600).map(|row| resolved(&row.to_string(), row + 1, row)).collect();
        let material = Material::after(&all, 0);
        let rewards: Vec<f64> = (0..600)
            .map(|row| if row < 400 { 0.6 } else { 0.3 } + (row % 7) as f64 * 0.01)
            .collect();
        let counts = |most| {
            let (new, old) = material.parted(&rewards, most);
            (new.rows().len(), old.rows().len())
        };
        assert_eq!(counts(1500), (200, 400));
        assert_eq!(counts(150), (150, 150));
        let same = vec![0.5; 600];
        let (new, old) = material.parted(&same, 500);
        assert_eq!((new.rows().len(), old.rows().len()), (500, 100));
        assert_eq!(new.span_ns(), (101, 600));
    }
}

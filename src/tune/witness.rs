//! What is known beside the history of how far it went.

use serde::{Deserialize, Serialize};

use super::entry::GENESIS;
use super::history::{Break, History};

/// The format of the file that is written and read.
const FORMAT: u64 = 1;

/// How many entries the history had when the last one was made, and the hash of that.
///
/// It is written after the history, so that a crash between the two leaves a history that is one
/// entry ahead; more than one was never written so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Witness {
    format: u64,
    entries: u64,
    head: String,
}

impl Witness {
    pub(super) fn of(history: &History) -> Witness {
        let (entries, head) = (history.entries().len() as u64, history.head().to_owned());
        Witness { format: FORMAT, entries, head }
    }

    /// What a file says; without one, that there was nothing yet.
    pub(super) fn parse(bytes: Option<&[u8]>) -> Result<Witness, Break> {
        let Some(bytes) = bytes else { return Ok(Witness::of(&History::default())) };
        let witness: Witness = serde_json::from_slice(bytes).map_err(|_| Break::Witness)?;
        if witness.format == FORMAT { Ok(witness) } else { Err(Break::Witness) }
    }

    /// Where a history is not the one that this witness saw, or that one with one more entry.
    pub(super) fn contradicts(&self, history: &History) -> Option<Break> {
        let (has, had) = (history.entries().len() as u64, self.entries);
        if has < had {
            return Some(if has == 0 { Break::Gone { had } } else { Break::Cut { has, had } });
        }
        // As many as there are, which fit in memory.
        let last = (had as usize).checked_sub(1).map(|last| &history.entries()[last]);
        if last.map_or(GENESIS, |entry| &entry.hash) != self.head {
            return Some(Break::Replaced { entry: had });
        }
        (has > had.saturating_add(1)).then_some(Break::Unwitnessed { has, had })
    }
}

//! What a part's files hold, to know whether one of them can go.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use super::error::{JournalError, reading};
use super::lines::{self, Line};
use super::{Record, table};

/// The records of a file: how many, and which, in which order.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    records: u64,
    digest: DefaultHasher,
}

impl Held {
    /// What a file of lines holds.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn by_lines(path: &Path) -> Result<Held, JournalError> {
        let mut held = Held::default();
        let file = File::open(path).map_err(reading(path))?;
        let all = lines::each(file, |_, line| {
            if let Line::Whole(line) = line
                && let Ok(record) = lines::record(line)
            {
                held.add(&record);
            }
            true
        });
        all.map_err(reading(path))?;
        Ok(held)
    }

    /// What a table holds. All of it is read: the beginning of one that is damaged may be whole.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn by_table(path: &Path) -> Result<Held, JournalError> {
        let mut held = Held::default();
        table::read(path, &mut |record| held.add(&record))?;
        Ok(held)
    }

    /// Whether these are the same records.
    pub(super) fn is_same(&self, other: &Held) -> bool {
        (self.records, self.digest.finish()) == (other.records, other.digest.finish())
    }

    fn add(&mut self, record: &Record) {
        self.records += 1;
        // No two answered requests share these.
        (record.time_ns, &record.validator, record.nonce).hash(&mut self.digest);
    }
}

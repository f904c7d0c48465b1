//! The cache's file: rows of a fixed size between a header and a footer.
//!
//! ```text
//! 0      magic, and zeros up to 256
//! 256    rows of 256 bytes each
//!        footer: JSON with the key, the sources and a CRC-32 of each block of 1024 rows
//!        its length (u64), its CRC-32 (u32), magic
//! ```
//!
//! A file whose writing was cut short has no footer, and a block that was damaged later has another
//! sum. Nothing is mapped into memory, for that is not possible in safe Rust: blocks are read at
//! their positions, and the system's page cache is what keeps them.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DatasetError;
use super::row::{ROW_BYTES, Row};
use crate::files::temporary_name;

/// What the file begins and ends with; the number is the format's.
pub(super) const MAGIC: &[u8; 8] = b"cmrows01";
/// Where the rows begin: at a multiple of their size.
const HEADER_BYTES: usize = 256;
/// What follows the footer's text.
const TAIL_BYTES: usize = 8 + 4 + MAGIC.len();
/// Rows that are read at once, and that stay together when a pass shuffles: 256 KiB, enough for a
/// disk, and few enough for a small buffer to hold rows from many places.
pub const BLOCK_ROWS: usize = 1024;

/// One of the sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its name, without its folder.
    pub file: String,
    /// SHA-256 of its content.
    pub sha256: String,
    /// Rows that were taken from it.
    pub rows: usize,
}

/// What is known of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Footer {
    /// What the rows follow from.
    pub(super) key: String,
    pub(super) rows: usize,
    pub(super) converted: usize,
    pub(super) sources: Vec<SourceRecord>,
    /// What was odd about the sources, to be said again whenever they are used.
    pub(super) warnings: Vec<String>,
    /// CRC-32 of each block.
    pub(super) sums: Vec<u32>,
}

/// A cache in the making. It has its name only when it is whole; on every way out before that
/// nothing of it is left. Its file is locked as long as somebody makes it.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    sums: Vec<u32>,
    block: crc32fast::Hasher,
    /// Bytes of the current block.
    block_bytes: usize,
}

impl Writer {
    pub(super) fn create(path: &Path) -> io::Result<Writer> {
        let (temporary, file) = create_locked(path)?;
        let mut writer = Writer {
            path: path.to_owned(),
            temporary,
            file,
            sums: Vec::new(),
            block: crc32fast::Hasher::new(),
            block_bytes: 0,
        };
        let mut header = [0; HEADER_BYTES];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        writer.file.write_all(&header)?;
        Ok(writer)
    }

    /// Adds rows.
    pub(super) fn write(&mut self, rows: &[u8]) -> io::Result<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            let room = BLOCK_ROWS * ROW_BYTES - self.block_bytes;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.block.update(now);
            self.block_bytes += now.len();
            if now.len() == room {
                self.end_block();
            }
            rest = later;
        }
        self.file.write_all(rows)
    }

    fn end_block(&mut self) {
        self.sums.push(std::mem::take(&mut self.block).finalize());
        self.block_bytes = 0;
    }

    /// Completes the file and gives it its name. It is not brought to the disk by force: what a
    /// power failure takes of it, the sums tell, and it can be made again.
    pub(super) fn finish(mut self, mut footer: Footer) -> io::Result<()> {
        if self.block_bytes > 0 {
            self.end_block();
        }
        footer.sums = std::mem::take(&mut self.sums);
        let text = serde_json::to_vec(&footer)?;
        let mut tail = text.clone();
        tail.extend_from_slice(&(text.len() as u64).to_le_bytes());
        tail.extend_from_slice(&crc32fast::hash(&text).to_le_bytes());
        tail.extend_from_slice(MAGIC);
        self.file.write_all(&tail)?;
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a rename there is nothing of this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Creates a file beside `path` that nobody else writes to, and locks it, by which
/// [`remove_unfinished`](super::folder::remove_unfinished) knows that somebody lives who makes it.
fn create_locked(path: &Path) -> io::Result<(PathBuf, File)> {
    /// In other containers there may be processes of the same number.
    const ATTEMPTS: usize = 100;
    for attempt in 0..ATTEMPTS {
        let temporary = temporary_name(&path.with_extension(format!("cache.{attempt}")));
        let file = match File::options().write(true).create_new(true).open(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        match file.try_lock() {
            // Somebody took it for a dead one's before it was locked.
            Err(TryLockError::WouldBlock) => continue,
            Ok(()) if file.metadata()?.nlink() == 0 => continue,
            // Where nothing can be locked, nobody else can lock it to remove it.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok((temporary, file)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Rows in a cache, ready to be read.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    file: File,
    footer: Footer,
}

impl Dataset {
    /// Opens a cache; none if there is none, if it is of other sources or another version, or if it
    /// is not whole.
    pub(super) fn open(path: &Path, key: &str) -> io::Result<Option<Dataset>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let Some(footer) = footer(&file)? else { return Ok(None) };
        let dataset = Dataset { path: path.to_owned(), file, footer };
        Ok((dataset.footer.key == key).then_some(dataset))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.footer.rows
    }

    /// How many of them converted.
    pub fn converted(&self) -> usize {
        self.footer.converted
    }

    /// What the rows are from.
    pub fn sources(&self) -> &[SourceRecord] {
        &self.footer.sources
    }

    /// What was odd about the sources.
    pub fn warnings(&self) -> &[String] {
        &self.footer.warnings
    }

    /// SHA-256 of the sources' content; see [`of_all`](super::hash::of_all).
    pub fn sha256(&self) -> String {
        let hashes: Vec<String> =
            self.footer.sources.iter().map(|source| source.sha256.clone()).collect();
        super::hash::of_all(&hashes)
    }

    /// Removes the cache; for one that turned out to be damaged.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.rows().div_ceil(BLOCK_ROWS)
    }

    /// Reads a block into a buffer, checks it, and gives its rows with their numbers.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not what was written.
    pub fn block<'b>(
        &self,
        block: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<impl Iterator<Item = (usize, Row)> + use<'b>, DatasetError> {
        let first = block * BLOCK_ROWS;
        let rows = BLOCK_ROWS.min(self.rows() - first);
        buffer.resize(rows * ROW_BYTES, 0);
        self.read_at(first, buffer)?;
        if crc32fast::hash(buffer) != self.footer.sums[block] {
            return Err(DatasetError::Damaged { path: self.path.clone() });
        }
        Ok((first..).zip(buffer.chunks_exact(ROW_BYTES).map(Row::of_bytes)))
    }

    /// Reads one row, unchecked.
    pub(super) fn row(&self, row: usize) -> Result<Row, DatasetError> {
        let mut bytes = [0; ROW_BYTES];
        self.read_at(row, &mut bytes)?;
        Ok(Row::of_bytes(&bytes))
    }

    fn read_at(&self, row: usize, buffer: &mut [u8]) -> Result<(), DatasetError> {
        let place = (HEADER_BYTES + row * ROW_BYTES) as u64;
        self.file
            .read_exact_at(buffer, place)
            .map_err(|source| DatasetError::Cache { path: self.path.clone(), source })
    }
}

/// The footer of a whole file.
fn footer(file: &File) -> io::Result<Option<Footer>> {
    let length = file.metadata()?.len();
    let Some(end) = length.checked_sub(TAIL_BYTES as u64) else { return Ok(None) };
    let (mut head, mut tail) = ([0; 8], [0; TAIL_BYTES]);
    file.read_exact_at(&mut head, 0)?;
    file.read_exact_at(&mut tail, end)?;
    let (numbers, magic) = tail.split_at(12);
    let (text_length, sum) = numbers.split_at(8);
    let text_length = text_length.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
    let sum = sum.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte));
    if head != *MAGIC || magic != MAGIC || text_length > end {
        return Ok(None);
    }
    let mut text = vec![0; usize::try_from(text_length).unwrap_or(0)];
    file.read_exact_at(&mut text, end - text_length)?;
    if crc32fast::hash(&text) != sum {
        return Ok(None);
    }
    let footer = serde_json::from_slice::<Footer>(&text).ok();
    let is_whole = |footer: &Footer| {
        let rows = (footer.rows as u64).checked_mul(ROW_BYTES as u64);
        rows.and_then(|rows| rows.checked_add(HEADER_BYTES as u64)) == Some(end - text_length)
            && footer.sums.len() == footer.rows.div_ceil(BLOCK_ROWS)
    };
    Ok(footer.filter(is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Conversation;
    use crate::subnet::reward::Truth;

    fn row(number: usize) -> Row {
        let mut conversation = Conversation::EMPTY;
        conversation.set(0, number as f64);
        Row::new(&conversation, Truth::converted_after(number as f64 + 0.5))
    }

    /// Writes so many rows in pieces of so many.
    fn write(path: &Path, rows: usize, piece: usize) {
        let mut writer = Writer::create(path).unwrap();
        for first in (0..rows).step_by(piece) {
            let mut bytes = Vec::new();
            (first..rows.min(first + piece)).for_each(|number| row(number).append_to(&mut bytes));
            writer.write(&bytes).unwrap();
        }
        let footer = Footer { key: "key".to_owned(), rows, ..Footer::default() };
        writer.finish(footer).unwrap();
    }

    fn numbers(dataset: &Dataset) -> Result<Vec<f32>, DatasetError> {
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for block in 0..dataset.blocks() {
            for (number, row) in dataset.block(block, &mut buffer)? {
                assert_eq!(number, found.len());
                found.push(row.values()[0]);
            }
        }
        Ok(found)
    }

    #[test]
    fn rows_come_back_however_they_were_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cache");
        for (rows, piece) in [(1, 1), (1024, 1024), (10_000, 977), (2049, 1500)] {
            write(&path, rows, piece);
            let dataset = Dataset::open(&path, "key").unwrap().unwrap();
            assert_eq!((dataset.rows(), dataset.blocks()), (rows, rows.div_ceil(BLOCK_ROWS)));
            let expected: Vec<f32> = (0..rows).map(|number| number as f32).collect();
            assert_eq!(numbers(&dataset).unwrap(), expected);
            assert_eq!(dataset.row(rows - 1).unwrap(), row(rows - 1));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Dataset::open(&path, "another key").unwrap().is_none());
        assert!(Dataset::open(&folder.path().join("b"), "key").unwrap().is_none());
    }

    #[test]
    fn what_is_not_whole_is_no_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cache");
        write(&path, 5000, 5000);
        let whole = fs::read(&path).unwrap();
        for cut in [0, 5, 300, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(Dataset::open(&path, "key").unwrap().is_none(), "{cut}");
        }
        // A flipped bit of the footer, and a row too few.
        let mut damaged = whole.clone();
        damaged[whole.len() - 30] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(Dataset::open(&path, "key").unwrap().is_none());
        let short = [&whole[..HEADER_BYTES], &whole[HEADER_BYTES + ROW_BYTES..]].concat();
        fs::write(&path, short).unwrap();
        assert!(Dataset::open(&path, "key").unwrap().is_none());
    }

    #[test]
    fn a_damaged_block_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cache");
        write(&path, 5000, 5000);
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER_BYTES + 4500 * ROW_BYTES] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let dataset = Dataset::open(&path, "key").unwrap().unwrap();
        let mut buffer = Vec::new();
        assert!(dataset.block(0, &mut buffer).is_ok());
        assert!(matches!(numbers(&dataset), Err(DatasetError::Damaged { .. })));
    }

    #[test]
    fn two_who_make_the_same_are_not_in_each_others_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0123456789abcdef.cache");
        let writers = [(); 2].map(|()| Writer::create(&path).unwrap());
        crate::dataset::folder::remove_unfinished(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        for mut writer in writers {
            let mut bytes = Vec::new();
            row(1).append_to(&mut bytes);
            writer.write(&bytes).unwrap();
            let footer = Footer { key: "key".to_owned(), rows: 1, ..Footer::default() };
            writer.finish(footer).unwrap();
            assert_eq!(Dataset::open(&path, "key").unwrap().unwrap().rows(), 1);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&folder.path().join("a.cache")).unwrap();
        writer.write(&[0; ROW_BYTES]).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! The folder of a search: what is searched, a line a result, and what was found.
//!
//! - `search.json`: data, seed, device, space and start, written first and never changed
//! - `trials.ndjson`: a [`Record`] a line, only ever appended to
//! - `train.toml`: the best configuration so far
//! - `unseen.json`: the last measurement on the rows that no decision saw

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::SearchError;
use super::error::failed;
use super::found::Unseen;
use super::record::{Record, rounded};
use super::trial::Rows;
use crate::files::write_atomically;
use crate::train::TrainConfig;

const HEADER: &str = "search.json";
const TRIALS: &str = "trials.ndjson";
const BEST: &str = "train.toml";
const UNSEEN: &str = "unseen.json";
const LOCK: &str = ".lock";
/// The version of the files.
const FORMAT: u32 = 1;

/// What is searched. Trials of another one cannot be compared with these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    /// SHA-256 of conversations and truths, wherever they were read from.
    pub(super) data: String,
    pub(super) rows: usize,
    pub(super) seed: u64,
    /// Where trials are trained: on another one the same trial gives another miner.
    pub(super) device: String,
    /// SHA-256 of ranges and start.
    pub(super) space: String,
    /// Rows of the rungs, and of the two parts that are held out.
    pub(super) rungs: Vec<usize>,
    pub(super) judged: usize,
    pub(super) unseen: usize,
    /// Trial 0.
    pub(super) start: TrainConfig,
}

/// A folder that is ours.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    trials: File,
    /// All that was done, in order.
    pub(super) records: Vec<Record>,
    /// Where a torn last line was put.
    pub(super) torn: Option<PathBuf>,
    /// Keeps others out until it is dropped.
    _lock: File,
}

impl Header {
    /// The version that is written here.
    pub(super) const FORMAT: u32 = FORMAT;

    /// The first thing that is different in another search.
    fn differs(&self, now: &Header) -> Option<(&'static str, String, String)> {
        let short = |sum: &str| sum.chars().take(12).collect::<String>();
        let pairs = [
            ("format", self.format.to_string(), now.format.to_string()),
            ("number of rows", self.rows.to_string(), now.rows.to_string()),
            ("content of the data", short(&self.data), short(&now.data)),
            ("seed", self.seed.to_string(), now.seed.to_string()),
            ("device", self.device.clone(), now.device.clone()),
            ("start or space", short(&self.space), short(&now.space)),
            ("ladder of rows", format!("{:?}", self.rungs), format!("{:?}", now.rungs)),
        ];
        pairs.into_iter().find(|(_, then, now)| then != now)
    }
}

/// SHA-256 of labelled rows in their order.
pub(super) fn sha256(rows: Rows<'_>) -> String {
    let mut hasher = Sha256::new();
    for (conversation, truth) in rows.conversations.iter().zip(rows.truths) {
        conversation.values.iter().for_each(|value| hasher.update(value.to_bits().to_le_bytes()));
        hasher.update([u8::from(truth.converted)]);
        hasher.update(truth.time_seconds.to_bits().to_le_bytes());
    }
    hex::encode(hasher.finalize())
}

impl Folder {
    /// Begins a search in a new folder, or goes on with the one that is there.
    ///
    /// # Errors
    ///
    /// If the folder is that of another search or of something else, is in use, or cannot be read or
    /// written.
    pub(super) fn open(path: &Path, header: &Header, now_ns: u64) -> Result<Folder, SearchError> {
        fs::create_dir_all(path).map_err(failed("make the folder", path))?;
        // Before the lock, which would leave a file in a folder that is none of ours.
        let is_new = !path.join(HEADER).exists();
        if is_new && has_files(path)? {
            return Err(SearchError::OtherFolder { path: path.to_owned() });
        }
        let lock = lock(path)?;
        if is_new {
            let text = serde_json::to_vec_pretty(header)
                .expect("a header has no keys that JSON cannot have. This is a bug.");
            let file = path.join(HEADER);
            write_atomically(&file, &text).map_err(failed("write", &file))?;
        } else {
            check_header(path, header)?;
        }
        let file = path.join(TRIALS);
        let trials = File::options().create(true).append(true).read(true).open(&file);
        let trials = trials.map_err(failed("open", &file))?;
        let content = fs::read(&file).map_err(failed("read", &file))?;
        let (records, whole) = read(&content, &file, header.rungs.len())?;
        let mut folder = Folder { path: path.to_owned(), trials, records, torn: None, _lock: lock };
        if whole < content.len() {
            folder.set_aside(&content[whole..], whole as u64, now_ns)?;
        }
        Ok(folder)
    }

    /// Moves what is no whole line out of the file: what is appended would become part of it.
    fn set_aside(&mut self, torn: &[u8], whole: u64, now_ns: u64) -> Result<(), SearchError> {
        let aside = self.path.join(format!("{TRIALS}.torn-{now_ns}"));
        write_atomically(&aside, torn).map_err(failed("write", &aside))?;
        let cut = self.trials.set_len(whole).and_then(|()| self.trials.sync_all());
        cut.map_err(failed("cut the torn end of", &self.path.join(TRIALS)))?;
        self.torn = Some(aside);
        Ok(())
    }

    /// Adds a result; it is on the disk then.
    pub(super) fn append(&mut self, record: Record) -> Result<(), SearchError> {
        let mut line = serde_json::to_vec(&record)
            .expect("a record has no keys that JSON cannot have. This is a bug.");
        line.push(b'\n');
        let written = self.trials.write_all(&line).and_then(|()| self.trials.sync_data());
        written.map_err(failed("write", &self.path.join(TRIALS)))?;
        self.records.push(record);
        Ok(())
    }

    /// Where the best configuration is.
    pub(super) fn best_path(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Writes the best configuration, with a comment before it.
    pub(super) fn write_best(&self, best: &Record) -> Result<(), SearchError> {
        let path = self.best_path();
        let text = toml::to_string(&best.config)
            .expect("a configuration can be written as TOML. This is a bug.");
        let reward = best.reward.unwrap_or(f64::NAN);
        let comment = format!(
            "# Trial {} of `convminer search`: mean reward {reward:.4} on held-out rows.\n\
             # `convminer train --config` trains with it.\n",
            best.trial
        );
        write_atomically(&path, (comment + &text).as_bytes()).map_err(failed("write", &path))
    }

    /// The last measurement on unseen rows; none if there is none that can be read.
    pub(super) fn unseen(&self) -> Option<Unseen> {
        // What is lost is measured again.
        serde_json::from_slice(&fs::read(self.path.join(UNSEEN)).ok()?).ok()
    }

    /// Keeps a measurement on unseen rows.
    pub(super) fn write_unseen(&self, unseen: &Unseen) -> Result<(), SearchError> {
        let path = self.path.join(UNSEEN);
        let text = serde_json::to_vec_pretty(unseen)
            .expect("a measurement has no keys that JSON cannot have. This is a bug.");
        write_atomically(&path, &text).map_err(failed("write", &path))
    }
}

/// Whether there is anything but what a search that was killed at its very beginning leaves.
fn has_files(path: &Path) -> Result<bool, SearchError> {
    let reading = || failed("read the folder", path);
    for entry in fs::read_dir(path).map_err(reading())? {
        let name = entry.map_err(reading())?.file_name();
        let name = name.to_string_lossy();
        if name != LOCK && !name.starts_with(&format!(".{HEADER}.")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(path: &Path) -> Result<File, SearchError> {
    let file = path.join(LOCK);
    let lock = File::options().create(true).append(true).open(&file);
    let lock = lock.map_err(failed("open", &file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SearchError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &file)(source)),
    }
}

fn check_header(path: &Path, now: &Header) -> Result<(), SearchError> {
    let file = path.join(HEADER);
    let text = fs::read(&file).map_err(failed("read", &file))?;
    let there: Header = serde_json::from_slice(&text)
        .map_err(|error| SearchError::Header { path: file, reason: error.to_string() })?;
    match there.differs(now) {
        None => Ok(()),
        Some((what, found, expected)) => {
            Err(SearchError::OtherSearch { path: path.to_owned(), what, found, expected })
        }
    }
}

/// The results in a file, and the length of their lines. A last line that is none of them is torn.
fn read(content: &[u8], file: &Path, rungs: usize) -> Result<(Vec<Record>, usize), SearchError> {
    let mut records: Vec<Record> = Vec::new();
    let mut whole = 0;
    for (index, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let is_last = whole + line.len() == content.len();
        let record = match record(line, &records, rungs) {
            Ok(record) => record,
            Err(_) if is_last => break,
            Err(reason) => {
                return Err(SearchError::Line { path: file.to_owned(), line: index + 1, reason });
            }
        };
        records.push(record);
        whole += line.len();
    }
    Ok((records, whole))
}

fn record(line: &[u8], before: &[Record], rungs: usize) -> Result<Record, String> {
    let line = line.strip_suffix(b"\n").ok_or("it has no end")?;
    let mut record: Record = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if record.rung >= rungs {
        return Err(format!("rung {} of {rungs}", record.rung));
    }
    if before.iter().any(|it| (it.trial, it.rung) == (record.trial, record.rung)) {
        return Err(format!("trial {} is there twice on rung {}", record.trial, record.rung));
    }
    record.reward = record.reward.map(rounded);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Conversation;
    use crate::subnet::reward::Truth;

    fn header() -> Header {
        Header {
            format: FORMAT,
            data: "d".repeat(64),
            rows: 1000,
            seed: 7,
            device: "cpu".to_owned(),
            space: "s".repeat(64),
            rungs: vec![100, 300],
            judged: 150,
            unseen: 150,
            start: TrainConfig::default(),
        }
    }

    fn line(trial: usize, rung: usize) -> String {
        serde_json::to_string(&Record::sample(trial, rung)).unwrap() + "\n"
    }

    #[test]
    fn goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let mut first = Folder::open(&path, &header(), 1).unwrap();
        first.append(Record::sample(0, 0)).unwrap();
        first.append(Record::sample(0, 1)).unwrap();
        let busy = Folder::open(&path, &header(), 2).unwrap_err();
        assert!(matches!(busy, SearchError::Busy { .. }), "{busy}");
        drop(first);
        let mut again = Folder::open(&path, &header(), 2).unwrap();
        assert_eq!(again.records, [Record::sample(0, 0), Record::sample(0, 1)]);
        assert_eq!(again.torn, None);
        again.append(Record::sample(1, 0)).unwrap();
        let text = fs::read_to_string(path.join(TRIALS)).unwrap();
        assert_eq!(text, [line(0, 0), line(0, 1), line(1, 0)].concat());
    }

    #[test]
    fn a_torn_last_line_is_set_aside() {
        let (first, second) = (line(0, 0), line(0, 1));
        for torn in ["x", "\0\0\0\n", "\n", &second[..50], second.trim_end()] {
            let folder = tempfile::tempdir().unwrap();
            drop(Folder::open(folder.path(), &header(), 1).unwrap());
            let file = folder.path().join(TRIALS);
            fs::write(&file, format!("{first}{torn}")).unwrap();
            let opened = Folder::open(folder.path(), &header(), 7).unwrap();
            assert_eq!(opened.records.len(), 1, "{torn}");
            assert_eq!(fs::read_to_string(&file).unwrap(), first, "{torn}");
            let aside = folder.path().join("trials.ndjson.torn-7");
            assert_eq!(fs::read_to_string(&aside).unwrap(), torn);
            assert_eq!(opened.torn, Some(aside));
        }
    }

    #[test]
    fn damage_elsewhere_is_told() {
        let good = line(0, 0);
        for (content, number, reason) in [
            (format!("x\n{good}"), 1, "expected value"),
            (format!("{good}{good}{}", line(0, 1)), 2, "twice"),
            (format!("{good}{}{}", line(0, 2), line(0, 1)), 2, "rung 2 of 2"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            drop(Folder::open(folder.path(), &header(), 1).unwrap());
            fs::write(folder.path().join(TRIALS), content).unwrap();
            let error = Folder::open(folder.path(), &header(), 1).unwrap_err().to_string();
            assert!(error.contains(&format!("line {number} of")), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn another_search_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        drop(Folder::open(folder.path(), &header(), 1).unwrap());
        for (other, expected) in [
            (Header { data: "e".repeat(64), ..header() }, "another content of the data: ddd"),
            (Header { rows: 999, ..header() }, "another number of rows: 1000 there, and 999 now"),
            (Header { seed: 8, ..header() }, "another seed: 7 there, and 8 now"),
            (
                Header { device: "wgpu:0".to_owned(), ..header() },
                "another device: cpu there, and wgpu:0 now",
            ),
            (Header { space: "t".repeat(64), ..header() }, "another start or space"),
            (Header { format: 2, ..header() }, "another format"),
        ] {
            let error = Folder::open(folder.path(), &other, 1).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        fs::write(folder.path().join(HEADER), "{}").unwrap();
        let error = Folder::open(folder.path(), &header(), 1).unwrap_err().to_string();
        assert!(error.contains("does not say what is searched"), "{error}");
    }

    #[test]
    fn a_folder_of_something_else_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("manifest.json"), "{}").unwrap();
        let error = Folder::open(folder.path(), &header(), 1).unwrap_err();
        assert!(matches!(error, SearchError::OtherFolder { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // What a kill at the very beginning leaves is no obstacle.
        fs::remove_file(folder.path().join("manifest.json")).unwrap();
        fs::write(folder.path().join(LOCK), "").unwrap();
        fs::write(folder.path().join(".search.json.12.partial"), "{").unwrap();
        Folder::open(folder.path(), &header(), 1).unwrap();
    }

    #[test]
    fn each_value_and_its_place_count() {
        let mut one = Conversation::EMPTY;
        one.set(3, 1.0);
        let both = [one.clone(), Conversation::EMPTY];
        let turned = [Conversation::EMPTY, one];
        let truths = [Truth::converted_after(60.0), Truth::converted_after(61.0)];
        let sum = |conversations: &[Conversation], truths: &[Truth]| {
            sha256(Rows { conversations, truths })
        };
        let expected = sum(&both, &truths);
        assert_eq!(sum(&both.clone(), &truths), expected);
        assert_ne!(sum(&turned, &truths), expected);
        assert_ne!(sum(&both, &[truths[1], truths[0]]), expected);
        assert_ne!(sum(&both, &[truths[0], Truth::not_converted()]), expected);
    }
}

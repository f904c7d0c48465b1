//! The folder of outcomes: a file a day, to which whole lines are added.
//!
//! Who adds holds a lock on the folder, so that two processes do not both write the same news. Who
//! reads does not: a line counts when it ends. A line that a crash cut short is set aside by the
//! next one who adds to its file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::set::{Added, Contradiction, OutcomeSet, Unreadable};
use super::{Outcome, OutcomesError};
use crate::clock::Moment;
use crate::files::sync_parent;

/// The file that who adds has locked.
const LOCK: &str = ".lock";

/// What became of outcomes that were to be added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appended {
    /// So many conversations were not known before.
    pub new: usize,
    /// Of so many it was known that they converted, and now after how long.
    pub timed: usize,
    /// So many outcomes said nothing new, but for another name perhaps.
    pub known: usize,
    /// What was said otherwise before, in the store or among what was to be added. The later counts.
    pub contradicting: Vec<Contradiction>,
    /// Where beginnings of lines were set aside that a crash had left.
    pub torn: Vec<PathBuf>,
}

/// Adds to the store in `folder` once; see [`Store::append`].
///
/// # Errors
///
/// As [`Store::append`].
pub fn append(
    folder: &Path,
    outcomes: Vec<Outcome>,
    now_ns: u64,
) -> Result<Appended, OutcomesError> {
    let (folder, known, files) = (folder.to_owned(), OutcomeSet::default(), None);
    Store { folder, known, files }.append(outcomes, now_ns)
}

/// A store to which is added again and again. It is read anew only when somebody else added to it.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    known: OutcomeSet,
    /// The files as they were when `known` was what they say; nothing where it may not be.
    files: Option<Vec<Seen>>,
}

/// A file, by which a change of it is noticed.
#[derive(Debug, PartialEq)]
struct Seen {
    path: PathBuf,
    bytes: u64,
    changed: SystemTime,
}

impl Store {
    /// Reads the store in `folder`; see [`OutcomeSet::read`].
    ///
    /// # Errors
    ///
    /// If the folder or a file is there and cannot be read.
    pub fn open(folder: &Path) -> Result<Store, OutcomesError> {
        let (folder, known, files) = (folder.to_owned(), OutcomeSet::default(), None);
        let mut store = Store { folder, known, files };
        store.refresh()?;
        Ok(store)
    }

    /// What is known, as far as it was when the store was opened or added to.
    pub fn known(&self) -> &OutcomeSet {
        &self.known
    }

    /// Adds to the store, whose folder is made if it is not there, what it does not say yet. When
    /// this returns, that is on the disk.
    ///
    /// Of several outcomes of one conversation the last one counts, and only what counts is written:
    /// to add the same ones again writes nothing. An outcome goes into the file of the day of its
    /// `known_ns`; `now_ns` is the time, which names what is set aside.
    ///
    /// # Errors
    ///
    /// If the store cannot be read or written, or an outcome has no id. Nothing is lost then that was
    /// there; the outcomes of some days may have been added, so that another try adds the rest.
    pub fn append(
        &mut self,
        outcomes: Vec<Outcome>,
        now_ns: u64,
    ) -> Result<Appended, OutcomesError> {
        if let Some(nameless) = outcomes.iter().find(|outcome| outcome.id.trim().is_empty()) {
            return Err(OutcomesError::NoName { from: nameless.source.clone() });
        }
        fs::create_dir_all(&self.folder).map_err(OutcomesError::writing(&self.folder))?;
        let _lock = lock(&self.folder)?;
        self.refresh()?;
        let mut appended = Appended::default();
        let news = news(&self.known, outcomes, &mut appended);
        if news.is_empty() {
            return Ok(appended);
        }
        // Until all is written, nobody knows what the files say.
        self.files = None;
        for (day, outcomes) in by_day(&news) {
            let path = self.folder.join(format!("{day}.jsonl"));
            appended.torn.extend(mend(&path, now_ns).map_err(OutcomesError::writing(&path))?);
            write(&path, &outcomes).map_err(OutcomesError::writing(&path))?;
        }
        for outcome in news {
            self.known.add(outcome);
        }
        self.files = Some(files(&self.folder)?);
        Ok(appended)
    }

    /// Reads the files, unless they are what they were.
    fn refresh(&mut self) -> Result<(), OutcomesError> {
        let files = files(&self.folder)?;
        if self.files.as_ref() != Some(&files) {
            self.known = read_files(&files)?;
            self.files = Some(files);
        }
        Ok(())
    }
}

/// Reads every file; see [`OutcomeSet::read`].
pub(super) fn read(folder: &Path) -> Result<OutcomeSet, OutcomesError> {
    read_files(&files(folder)?)
}

fn read_files(files: &[Seen]) -> Result<OutcomeSet, OutcomesError> {
    let mut set = OutcomeSet::default();
    let mut outcomes = Vec::new();
    for Seen { path, .. } in files {
        let bytes = fs::read(path).map_err(OutcomesError::reading(path))?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut lines: Vec<&[u8]> = bytes[..end].split(|byte| *byte == b'\n').collect();
        // A last line that only lacks its line feed counts, as it does when it is mended.
        match serde_json::from_slice::<Outcome>(&bytes[end..]) {
            Ok(_) => lines.push(&bytes[end..]),
            Err(_) => set.torn += usize::from(end < bytes.len()),
        }
        for (line, text) in (1..).zip(lines).filter(|(_, text)| !text.trim_ascii().is_empty()) {
            match serde_json::from_slice::<Outcome>(text) {
                Ok(outcome) => outcomes.push(outcome.cleaned()),
                Err(error) => {
                    let reason = error.to_string();
                    set.unreadable.push(Unreadable { path: path.clone(), line, reason });
                }
            }
        }
    }
    // Stable: of the same moment, what stands below is later.
    outcomes.sort_by_key(|outcome| outcome.known_ns);
    for outcome in outcomes {
        set.add(outcome);
    }
    Ok(set)
}

/// The files of a store in the order of their names, and what links lead to; none where there is no
/// folder.
fn files(folder: &Path) -> Result<Vec<Seen>, OutcomesError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(OutcomesError::reading(folder))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(OutcomesError::reading(folder))?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_none_or(|extension| extension != "jsonl") || is_hidden {
            continue;
        }
        let metadata = match fs::metadata(&path) {
            // It has gone meanwhile, or is a link to nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(OutcomesError::reading(&path))?,
        };
        if metadata.is_file() {
            let changed = metadata.modified().map_err(OutcomesError::reading(&path))?;
            files.push(Seen { path, bytes: metadata.len(), changed });
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

/// Waits for the lock, which ends with the file.
fn lock(folder: &Path) -> Result<File, OutcomesError> {
    let path = folder.join(LOCK);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(OutcomesError::writing(&path))
}

/// What of `outcomes` is worth writing, and what of each became.
fn news(known: &OutcomeSet, outcomes: Vec<Outcome>, appended: &mut Appended) -> Vec<Outcome> {
    // What they say among themselves comes first: the same ones again must then say nothing new.
    let given = outcomes.len();
    let mut batch = OutcomeSet::default();
    for outcome in outcomes {
        batch.add(outcome.cleaned());
    }
    appended.known = given - batch.len();
    appended.contradicting = batch.contradictions().to_vec();
    let mut news = Vec::new();
    for outcome in batch.iter() {
        let earlier = known.earlier(outcome);
        // Whatever the clock says: what is added later is later, and of the same moment the names of
        // the files would decide.
        let later = known.last_ns(outcome).map_or(0, |last| last.saturating_add(1));
        let known_ns = outcome.known_ns.max(later);
        let outcome = Outcome { known_ns, ..outcome.clone() };
        match (known.compare(&outcome), earlier) {
            (Added::Nothing, _) => {
                appended.known += 1;
                continue;
            }
            (Added::Name, _) => appended.known += 1,
            (Added::Contradiction, Some(earlier)) => {
                let (earlier, later) = (earlier.clone(), outcome.clone());
                appended.contradicting.push(Contradiction { earlier, later });
            }
            (Added::Time, _) => appended.timed += 1,
            (Added::New | Added::Contradiction, _) => appended.new += 1,
        }
        news.push(outcome);
    }
    news
}

fn by_day(outcomes: &[Outcome]) -> BTreeMap<String, Vec<&Outcome>> {
    let mut days: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        days.entry(Moment::of_ns(outcome.known_ns).date()).or_default().push(outcome);
    }
    days
}

/// Sees to it that a file ends with a whole line. The beginning of one goes into a file of its own,
/// whose name is given back.
fn mend(path: &Path, now_ns: u64) -> io::Result<Option<PathBuf>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let rest = &bytes[end..];
    if rest.is_empty() {
        return Ok(None);
    }
    let mut file = OpenOptions::new().append(true).open(path)?;
    if serde_json::from_slice::<Outcome>(rest).is_ok() {
        file.write_all(b"\n")?;
        file.sync_all()?;
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{name}.torn-{}", Moment::of_ns(now_ns).compact()));
    let mut torn = OpenOptions::new().create(true).append(true).open(&aside)?;
    torn.write_all(rest)?;
    torn.write_all(b"\n")?;
    torn.sync_all()?;
    file.set_len(end as u64)?;
    file.sync_all()?;
    Ok(Some(aside))
}

/// Adds lines to a file, all of them or none.
fn write(path: &Path, outcomes: &[&Outcome]) -> io::Result<()> {
    let mut lines = Vec::new();
    for outcome in outcomes {
        serde_json::to_writer(&mut lines, outcome)?;
        lines.push(b'\n');
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    let written = file.write_all(&lines).and_then(|()| file.sync_all());
    if written.is_err() {
        // Best effort: what is left is a torn line otherwise.
        let _ = file.set_len(length);
    }
    written?;
    if length == 0 { sync_parent(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{DAY_NS, SECOND_NS};

    const NOON: u64 = 1_795_348_800 * SECOND_NS; // date -u -d @1795348800: 2026-11-22 12:00

    fn outcome(id: &str, time_seconds: Option<f64>, known_ns: u64) -> Outcome {
        let (id, converted, source) = (id.to_owned(), time_seconds.is_some(), "x".to_owned());
        Outcome { id, also: None, converted, time_seconds, known_ns, source }
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = files(folder).unwrap().into_iter();
        files.map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    fn counts(appended: &Appended) -> (usize, usize, usize, usize) {
        (appended.new, appended.timed, appended.known, appended.contradicting.len())
    }

    #[test]
    fn a_day_a_file_and_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let folder = &folder.path().join("deep/outcomes");
        assert!(OutcomeSet::read(folder).unwrap().is_empty());
        let first = || vec![outcome("a", Some(62.5), NOON), outcome("b", None, NOON + DAY_NS)];
        assert_eq!(counts(&append(folder, first(), NOON).unwrap()), (2, 0, 0, 0));
        assert_eq!(names(folder), ["2026-11-22.jsonl", "2026-11-23.jsonl"]);
        let before = fs::read(folder.join("2026-11-22.jsonl")).unwrap();
        assert_eq!(counts(&append(folder, first(), NOON).unwrap()), (0, 0, 2, 0));
        assert_eq!(fs::read(folder.join("2026-11-22.jsonl")).unwrap(), before);
        let set = OutcomeSet::read(folder).unwrap();
        assert_eq!(set.iter().map(|outcome| outcome.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(set.get("a"), Some(&outcome("a", Some(62.5), NOON)));
    }

    #[test]
    fn the_later_of_two_truths_wins_though_the_clock_went_back() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        append(folder, vec![outcome("a", Some(62.5), NOON)], NOON).unwrap();
        let early = NOON - DAY_NS;
        let appended = append(folder, vec![outcome("a", None, early)], early).unwrap();
        assert_eq!(counts(&appended), (0, 0, 0, 1));
        assert_eq!(appended.contradicting[0].earlier.time_seconds, Some(62.5));
        let set = OutcomeSet::read(folder).unwrap();
        assert!(!set.get("a").unwrap().converted);
        assert_eq!((set.len(), set.contradictions().len()), (1, 1));
    }

    #[test]
    fn what_contradicts_itself_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let both = || vec![outcome("a", Some(5.0), NOON), outcome("a", None, NOON)];
        assert_eq!(counts(&append(folder, both(), NOON).unwrap()), (1, 0, 1, 1));
        let appended = append(folder, both(), NOON).unwrap();
        assert_eq!(counts(&appended), (0, 0, 2, 1), "told again, written never");
        assert_eq!(fs::read_to_string(folder.join("2026-11-22.jsonl")).unwrap().lines().count(), 1);
        assert!(!OutcomeSet::read(folder).unwrap().get("a").unwrap().converted);
    }

    #[test]
    fn a_torn_line_is_set_aside_and_a_whole_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let path = folder.join("2026-11-22.jsonl");
        append(folder, vec![outcome("a", None, NOON)], NOON).unwrap();
        let whole = serde_json::to_string(&outcome("b", Some(9.0), NOON)).unwrap();
        for cut in 1..=whole.len() {
            let before = fs::read(&path).unwrap();
            fs::write(&path, [&before[..], &whole.as_bytes()[..cut]].concat()).unwrap();
            let is_whole = cut == whole.len();
            let set = OutcomeSet::read(folder).unwrap();
            assert_eq!((set.torn(), set.get("b").is_some()), (usize::from(!is_whole), is_whole));
            let more = outcome(&format!("c{cut}"), None, NOON);
            let appended = append(folder, vec![more], NOON).unwrap();
            assert_eq!(appended.torn.len(), usize::from(!is_whole), "{cut}");
            let set = OutcomeSet::read(folder).unwrap();
            assert_eq!((set.torn(), set.unreadable().len()), (0, 0));
            assert_eq!(set.len(), 1 + cut + usize::from(is_whole));
        }
        let aside = fs::read_to_string(folder.join("2026-11-22.jsonl.torn-20261122-120000"));
        assert_eq!(aside.unwrap().lines().count(), whole.len() - 1);
    }

    #[test]
    fn a_damaged_line_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let line = serde_json::to_string(&outcome("b", Some(9.0), NOON)).unwrap();
        fs::write(folder.join("mine.jsonl"), format!("\n{{\"id\": 5}}\n{line}\n")).unwrap();
        let set = OutcomeSet::read(folder).unwrap();
        assert_eq!((set.len(), set.unreadable().len(), set.torn()), (1, 1, 0));
        assert_eq!(set.unreadable()[0].line, 2);
        assert!(append(folder, vec![outcome(" ", None, NOON)], NOON).is_err());
    }

    #[test]
    fn only_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (elsewhere, folder) = (folder.path().join("elsewhere"), folder.path().join("outcomes"));
        append(&elsewhere, vec![outcome("a", None, NOON)], NOON).unwrap();
        fs::create_dir_all(folder.join("x.jsonl")).unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, folder.join(name));
        link(&elsewhere.join("2026-11-22.jsonl"), "linked.jsonl").unwrap();
        link(&elsewhere.join("none"), "to_nowhere.jsonl").unwrap();
        assert_eq!(names(&folder), ["linked.jsonl"]);
        assert_eq!(append(&folder, vec![outcome("b", None, NOON)], NOON).unwrap().new, 1);
        assert_eq!(OutcomeSet::read(&folder).unwrap().len(), 2);
    }

    #[test]
    fn the_later_truth_wins_over_a_file_written_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let far = NOON + 900 * DAY_NS;
        let line = serde_json::to_string(&outcome("a", Some(9.0), far)).unwrap();
        fs::write(folder.join("mine.jsonl"), format!("{line}\n")).unwrap();
        let later = || vec![outcome("a", None, NOON)];
        assert_eq!(counts(&append(folder, later(), NOON).unwrap()), (0, 0, 0, 1));
        let set = OutcomeSet::read(folder).unwrap();
        assert_eq!(set.get("a").unwrap(), &outcome("a", None, far + 1));
        assert_eq!(counts(&append(folder, later(), NOON).unwrap()), (0, 0, 1, 0));
    }

    #[test]
    fn what_was_said_twice_is_no_later_truth() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let said = |known_ns| serde_json::to_string(&outcome("a", Some(9.0), known_ns)).unwrap();
        let text = format!("{}\n{}\n", said(NOON), said(NOON + 2 * DAY_NS));
        fs::write(folder.join("mine.jsonl"), text).unwrap();
        append(folder, vec![outcome("a", None, NOON + DAY_NS)], NOON + DAY_NS).unwrap();
        assert!(!OutcomeSet::read(folder).unwrap().get("a").unwrap().converted);
    }

    #[test]
    fn both_names_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let named = |id: &str, also: Option<&str>| {
            let also = also.map(str::to_owned);
            vec![Outcome { also, ..outcome(id, Some(9.0), NOON) }]
        };
        assert_eq!(counts(&append(folder, named(" s ", None), NOON).unwrap()), (1, 0, 0, 0));
        for _ in 0..2 {
            let appended = append(folder, named("p", Some("s")), NOON).unwrap();
            assert_eq!(counts(&appended), (0, 0, 1, 0));
            let set = OutcomeSet::read(folder).unwrap();
            assert_eq!((set.len(), set.get("p"), set.get("p").is_some()), (1, set.get("s"), true));
            let text = fs::read_to_string(folder.join("2026-11-22.jsonl")).unwrap();
            assert_eq!(text.lines().count(), 2);
        }
    }

    #[test]
    fn a_store_is_read_again_only_after_somebody_else_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = Store::open(folder).unwrap();
        assert_eq!(store.append(vec![outcome("a", None, NOON)], NOON).unwrap().new, 1);
        // As long and as old as before: no change that anybody would notice.
        let path = folder.join("2026-11-22.jsonl");
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"a\"", "\"z\"")).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
        assert_eq!(store.append(vec![outcome("a", None, NOON)], NOON).unwrap().known, 1);
        append(folder, vec![outcome("b", None, NOON)], NOON).unwrap();
        let both = vec![outcome("a", None, NOON), outcome("b", None, NOON)];
        assert_eq!(counts(&store.append(both, NOON).unwrap()), (1, 0, 1, 0));
        assert_eq!(store.known().len(), 3);
    }

    #[test]
    fn two_writers_write_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let all = || (0..50).map(|id| outcome(&format!("{id}"), Some(1.0 + f64::from(id)), NOON));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for outcome in all() {
                        append(folder.path(), vec![outcome], NOON).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(folder.path().join("2026-11-22.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 50);
        assert_eq!(OutcomeSet::read(folder.path()).unwrap().len(), 50);
    }
}

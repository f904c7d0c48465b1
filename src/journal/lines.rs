//! Lines of a file, whole or not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::Record;
use crate::causes::with_causes;
use crate::files;

/// No record is as long as this: its names have a limit.
pub(super) const LONGEST_LINE: usize = 1 << 20;

/// What was found where a line should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// What comes after the last whole line.
    Torn(&'a [u8]),
    /// The beginning of something longer than any record.
    TooLong(&'a [u8]),
}

/// Shows every line of a file with its number, from 1, for as long as `visit` wants more.
///
/// # Errors
///
/// If the file cannot be read on.
pub(super) fn each(file: File, mut visit: impl FnMut(u64, Line<'_>) -> bool) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = LONGEST_LINE as u64 + 1;
        if (&mut reader).take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let wants_more = if line.last() == Some(&b'\n') {
            line.pop();
            visit(number, Line::Whole(&line))
        } else if line.len() <= LONGEST_LINE {
            visit(number, Line::Torn(&line))
        } else {
            reader.skip_until(b'\n')?;
            visit(number, Line::TooLong(&line))
        };
        if !wants_more {
            break;
        }
    }
    Ok(())
}

/// The record that a whole line is.
///
/// # Errors
///
/// Why it is none, or one that makes no sense.
pub(super) fn record(line: &[u8]) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    record.check().map_err(|fault| with_causes(&fault))?;
    Ok(record)
}

/// Takes the last line of a file out of it, if it is torn or no record, and puts it into a file of
/// its own, which is returned: what is appended later would else become part of it.
///
/// # Errors
///
/// If a step fails. What was torn is then still in the file, and may be in both.
pub(super) fn mend(path: &Path, now_ns: u64) -> io::Result<Option<PathBuf>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let Some(from) = torn_from(&mut file)? else { return Ok(None) };
    let (aside, mut torn) = set_aside(path, now_ns)?;
    let mut copy = || {
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut file, &mut torn)?;
        torn.sync_all()?;
        files::sync_parent(&aside)
    };
    if let Err(error) = copy() {
        // It is tried again, and what is still in the file needs no copies.
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    file.set_len(from)?;
    file.sync_all()?;
    Ok(Some(aside))
}

/// A new file for what cannot stay in the file of lines at `path`.
///
/// # Errors
///
/// If it cannot be created.
pub(super) fn set_aside(path: &Path, now_ns: u64) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut unique = now_ns;
    loop {
        let aside = path.with_file_name(format!("{name}.torn-{unique}"));
        match File::create_new(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => unique += 1,
            created => return Ok((aside, created?)),
        }
    }
}

/// Where the torn line at the end of a file begins, if there is one.
fn torn_from(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let Some(last) = length.checked_sub(1) else { return Ok(None) };
    let is_ended = byte_at(file, last)? == b'\n';
    let end = if is_ended { last } else { length };
    let start = line_start(file, end)?;
    if !is_ended {
        return Ok(Some(start));
    }
    if end - start > LONGEST_LINE as u64 {
        return Ok(Some(start));
    }
    let mut line = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(end - start).read_to_end(&mut line)?;
    let is_record = serde_json::from_slice::<Record>(&line).is_ok();
    Ok((!is_record).then_some(start))
}

fn byte_at(file: &mut File, place: u64) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Where the line begins that ends before byte `end`.
fn line_start(file: &mut File, end: u64) -> io::Result<u64> {
    const CHUNK: u64 = 64 << 10;
    let mut end = end;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut chunk)?;
        if let Some(place) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Removes what was not finished when an earlier process died. Best effort: it is in nobody's way.
pub(super) fn remove_partial(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".partial") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8]) -> Vec<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, content).unwrap();
        let mut found = Vec::new();
        each(File::open(&path).unwrap(), |number, line| {
            let text = match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::Torn(_) => "Torn".to_owned(),
                Line::TooLong(_) => "TooLong".to_owned(),
            };
            found.push((number, text));
            number < 4
        })
        .unwrap();
        found
    }

    fn numbered(lines: &[&str]) -> Vec<(u64, String)> {
        (1..).zip(lines.iter().map(|line| (*line).to_owned())).collect()
    }

    #[test]
    fn whole_torn_and_endless_lines() {
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"a\n\nb\n"), numbered(&["a", "", "b"]));
        assert_eq!(lines(b"a\nb"), numbered(&["a", "Torn"]));
        assert_eq!(lines(b"1\n2\n3\n4\n5\n"), numbered(&["1", "2", "3", "4"]), "asked for no more");
        let longest = "x".repeat(LONGEST_LINE);
        assert_eq!(lines(format!("{longest}\na\n").as_bytes()), numbered(&[&longest, "a"]));
        assert_eq!(lines(format!("{longest}xx\na\n").as_bytes()), numbered(&["TooLong", "a"]));
        assert_eq!(lines(format!("{longest}x").as_bytes()), numbered(&["TooLong"]));
    }

    #[test]
    fn a_torn_last_line_is_moved_away() {
        let record = serde_json::to_string(&Record::sample("a", 1)).unwrap();
        let zeros = "\0".repeat(200_000);
        for (content, stays, torn) in [
            ("", "", None),
            ("{record}\n", "{record}\n", None),
            ("{record}\n{record}\n", "{record}\n{record}\n", None),
            ("{record}", "", Some("{record}")),
            ("{record}\n{\"time_", "{record}\n", Some("{\"time_")),
            ("{record}\n{}\n", "{record}\n", Some("{}\n")),
            ("{record}\n\n", "{record}\n", Some("\n")),
            ("\n", "", Some("\n")),
            ("{record}\n{zeros}", "{record}\n", Some("{zeros}")),
            ("{record}\n{zeros}\n", "{record}\n", Some("{zeros}\n")),
        ] {
            let filled = |text: &str| text.replace("{record}", &record).replace("{zeros}", &zeros);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("2026-11-22.jsonl");
            fs::write(&path, filled(content)).unwrap();
            let aside = mend(&path, 7).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), filled(stays), "{content}");
            let found = aside.as_ref().map(|aside| fs::read_to_string(aside).unwrap());
            assert_eq!(found, torn.map(filled), "{content}");
            if let Some(aside) = aside {
                assert_eq!(aside, folder.path().join("2026-11-22.jsonl.torn-7"));
            }
            assert_eq!(mend(&path, 7).unwrap(), None, "mended");
        }
    }

    #[test]
    fn no_torn_line_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        for (torn, name) in [("x", "a.jsonl.torn-7"), ("y", "a.jsonl.torn-8")] {
            fs::write(&path, torn).unwrap();
            assert_eq!(mend(&path, 7).unwrap(), Some(folder.path().join(name)));
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), torn);
        }
    }
}

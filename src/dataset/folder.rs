//! The folder that caches lie in, which must not grow without bound.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::cache::MAGIC;

/// The folder beside the first source, for who names none.
const NAME: &str = ".convminer-cache";
const EXTENSION: &str = "cache";
/// What an unfinished cache's name ends with, as `files::temporary_name` makes it.
const UNFINISHED: &str = ".partial";
/// Hexadecimal digits of a cache's name.
const DIGITS: usize = 16;
/// Caches that a folder keeps: that of the last sources, and that of the ones before.
const MOST: usize = 2;

/// The folder for these sources: the one that was named, or one beside the first of them.
pub(super) fn of(named: Option<&Path>, sources: &[PathBuf]) -> PathBuf {
    let beside = || {
        let parent = sources.first().and_then(|path| path.parent());
        parent.unwrap_or(Path::new("")).join(NAME)
    };
    named.map_or_else(beside, Path::to_owned)
}

/// Where the cache of these sources lies. The name is of the paths alone, so that when their content
/// changes, the new cache takes the place of the old one.
pub(super) fn place(folder: &Path, sources: &[PathBuf], drop_invalid: bool) -> PathBuf {
    let mut hasher = Sha256::new();
    hasher.update([u8::from(drop_invalid)]);
    for path in sources {
        let path = path.canonicalize().unwrap_or(path.clone());
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(b"\n");
    }
    let name = hex::encode(&hasher.finalize()[..DIGITS / 2]);
    folder.join(format!("{name}.{EXTENSION}"))
}

/// Removes what processes that are gone did not finish: a kill leaves as much as was written. Who
/// makes a cache holds a lock on it, which ends with the process, wherever that runs; its number
/// would mean nothing outside of its container.
///
/// # Errors
///
/// If the folder cannot be listed.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !is_unfinished(path.file_name()) || !is_file(&path) {
            continue;
        }
        // To be written to, for some file systems lock nothing else. It is locked while it is
        // removed, so that nobody takes it for his own between.
        let Ok(file) = File::options().write(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            // Best effort: another process may be faster.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Removes the cache at a place, which is of no use any more; none is fine, too.
///
/// # Errors
///
/// If it cannot be removed.
pub(super) fn remove_outdated(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes all caches but the one that was just made and the newest others. Who reads one that is
/// removed can go on with it. What else lies in the folder is left alone.
///
/// # Errors
///
/// If the folder cannot be listed.
pub(super) fn remove_old(folder: &Path, made: &Path) -> io::Result<()> {
    let mut others = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name() != made.file_name() && is_cache(&path) {
            let modified = path.metadata().and_then(|it| it.modified());
            others.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
    }
    others.sort();
    let old = (others.len() + 1).saturating_sub(MOST);
    for (_, path) in &others[..old] {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// Whether it is a cache by its name and by what it begins with.
fn is_cache(path: &Path) -> bool {
    let rest = path.file_name().and_then(OsStr::to_str).and_then(after_digits);
    if rest.and_then(|rest| rest.strip_prefix('.')) != Some(EXTENSION) || !is_file(path) {
        return false;
    }
    let mut head = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *MAGIC
}

/// Whether it is the name of a cache in the making.
fn is_unfinished(name: Option<&OsStr>) -> bool {
    let name = name.and_then(OsStr::to_str).and_then(|name| name.strip_prefix('.'));
    let rest = name.and_then(after_digits);
    rest.is_some_and(|rest| {
        rest.starts_with(&format!(".{EXTENSION}.")) && rest.ends_with(UNFINISHED)
    })
}

/// What follows the digits of a cache's name; none if it does not begin with them.
fn after_digits(name: &str) -> Option<&str> {
    let (digits, rest) = name.split_at_checked(DIGITS)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(rest)
}

/// Whether it is a file itself, and no link to one: to open a pipe would wait for who writes to it.
fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn beside_the_first_source() {
        let sources = [PathBuf::from("data/a.csv"), PathBuf::from("b.csv")];
        assert_eq!(of(None, &sources), Path::new("data/.convminer-cache"));
        assert_eq!(of(None, &sources[1..]), Path::new(".convminer-cache"));
        assert_eq!(of(Some(Path::new("x")), &sources), Path::new("x"));
        let place = |sources: &[PathBuf], drop| place(Path::new("x"), sources, drop);
        assert_eq!(place(&sources, false), place(&sources, false));
        assert_ne!(place(&sources, false), place(&sources, true));
        assert_ne!(place(&sources, false), place(&sources[1..], false));
    }

    #[test]
    fn the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let write = |age_seconds, name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_seconds)).unwrap();
            path
        };
        let content = [MAGIC.as_slice(), b"rows"].concat();
        let [made, ..] = [40, 30, 10, 20].map(|age_seconds| {
            write(age_seconds, &format!("0123456789abcd{age_seconds}.cache"), &content)
        });
        // What others put there: a name that is not ours, and a content that is not.
        let foreign = ["thumbnails.cache", "0123456789abcdef0.cache", "0123456789abcdeg.cache"];
        foreign.iter().for_each(|name| drop(write(90, name, &content)));
        write(90, "0123456789abcdef.cache", b"cm");
        let kept = |caches: &[&'static str]| {
            let mut kept = [&foreign[..], &["0123456789abcdef.cache"][..], caches].concat();
            kept.sort_unstable();
            kept
        };
        // The one that was made stays although it is the oldest.
        remove_old(folder.path(), &made).unwrap();
        let expected = kept(&["0123456789abcd40.cache", "0123456789abcd10.cache"]);
        assert_eq!(names(folder.path()), expected);
        remove_old(folder.path(), &folder.path().join("another.cache")).unwrap();
        assert_eq!(names(folder.path()), kept(&["0123456789abcd10.cache"]));
    }

    #[test]
    fn what_the_dead_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = |number: u32| format!(".0123456789abcdef.cache.0.{number}.partial");
        // The numbers mean nothing: that of a living process and that of none.
        let left = [unfinished(std::process::id()), unfinished(4_194_999)];
        let others = [".x.json.4194999.partial".to_owned(), ".a.cache.7.partial".to_owned()];
        for name in left.iter().chain(&others) {
            File::create(folder.path().join(name)).unwrap();
        }
        let held = unfinished(1);
        let file = File::create(folder.path().join(&held)).unwrap();
        file.try_lock().unwrap();
        remove_unfinished(folder.path()).unwrap();
        let mut expected = [others.as_slice(), &[held]].concat();
        expected.sort();
        assert_eq!(names(folder.path()), expected);
        drop(file);
        remove_unfinished(folder.path()).unwrap();
        assert_eq!(names(folder.path()).len(), others.len());
    }
}

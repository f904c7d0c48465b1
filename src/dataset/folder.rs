//! The folder that caches lie in, which must not grow without bound.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

/// The folder beside the first source, for who names none.
const NAME: &str = ".convminer-cache";
const EXTENSION: &str = "cache";
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
    let name = hex::encode(&hasher.finalize()[..8]);
    folder.join(format!("{name}.{EXTENSION}"))
}

/// Removes what processes that are gone did not finish: a kill leaves as much as was written.
///
/// # Errors
///
/// If the folder cannot be listed.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // As `files::temporary_name` makes them.
        let process = name.strip_suffix(".partial").and_then(|name| name.rsplit('.').next());
        let Some(process) = process.and_then(|process| process.parse::<u32>().ok()) else {
            continue;
        };
        if !name.contains(&format!(".{EXTENSION}."))
            || process == std::process::id()
            || is_alive(process)
        {
            continue;
        }
        // Best effort: another process may be faster.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// Removes all but the newest caches. Who reads one that is removed can go on with it.
///
/// # Errors
///
/// If the folder cannot be listed.
pub(super) fn remove_old(folder: &Path) -> io::Result<()> {
    let mut caches = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let modified = path.metadata().and_then(|it| it.modified());
            caches.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
    }
    caches.sort();
    let old = caches.len().saturating_sub(MOST);
    for (_, path) in &caches[..old] {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
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
        for (age_seconds, name) in [(30, "c.cache"), (10, "a.cache"), (20, "b.cache")] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_seconds)).unwrap();
        }
        File::create(folder.path().join("notes.txt")).unwrap();
        remove_old(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["a.cache", "b.cache", "notes.txt"]);
    }

    #[test]
    fn what_the_dead_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        // No process has so large a number.
        let own = format!(".a.cache.{}.partial", std::process::id());
        let living = format!(".a.cache.{}.partial", std::os::unix::process::parent_id());
        for name in [".a.cache.4194999.partial", &own, &living, ".x.json.4194999.partial"] {
            File::create(folder.path().join(name)).unwrap();
        }
        remove_unfinished(folder.path()).unwrap();
        let mut expected = vec![own, living, ".x.json.4194999.partial".to_owned()];
        expected.sort();
        assert_eq!(names(folder.path()), expected);
    }
}

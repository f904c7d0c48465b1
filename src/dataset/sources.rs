//! Which tables a run reads: files, folders and patterns, as a list in a stable order.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern, PatternError};

use crate::features::table::Format;

/// What a pattern has and hardly any file name.
const WILDCARDS: [char; 3] = ['*', '?', '['];
/// What stands for folders of any depth in a pattern.
const ANY_DEPTH: &str = "**";

/// The tables that were named, sorted by their paths; a file that is named twice is in it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    files: Vec<PathBuf>,
    /// Files of other kinds that lie in the folders or match the patterns, and those below `**` whose
    /// names are not UTF-8, which no pattern can be held against.
    skipped: usize,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A pattern that no file has.
    #[error("`{pattern}`: no file matches")]
    NothingMatches {
        /// The pattern.
        pattern: String,
    },
    /// It is no pattern.
    #[error("`{pattern}`: expected a pattern such as data/*.parquet")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// Nothing in a folder, or nothing that matches, is a table.
    #[error(
        "`{place}`: expected files that end in .parquet, .pq, .csv, .ndjson or .jsonl, but there \
         are none among {others} files"
    )]
    NoTables {
        /// The folder or pattern.
        place: String,
        /// The files that are there.
        others: usize,
    },
    /// A folder that cannot be looked into.
    #[error("`{}`: cannot be listed", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that was named and is no table.
    #[error(transparent)]
    Kind(#[from] crate::features::table::TableError),
}

impl Sources {
    /// Finds the tables that are named by files, folders and patterns. Of a folder, what lies
    /// directly in it and is not hidden counts. A `**` stands for folders that are not hidden and no
    /// links, which might lead back to where they are. Whether a file can be read is left to its
    /// reader.
    ///
    /// # Errors
    ///
    /// If a file is of an unknown kind, a pattern matches nothing, or a folder holds no table.
    pub fn find(named: &[PathBuf]) -> Result<Sources, SourcesError> {
        let mut sources = Sources { files: Vec::new(), skipped: 0 };
        for path in named {
            if path.is_dir() {
                let listed = listed(path)?;
                sources.add_tables(path.display().to_string(), listed)?;
            } else if !path.exists() && is_pattern(path) {
                let pattern = path.to_string_lossy().into_owned();
                let matching = if pattern.contains(ANY_DEPTH) {
                    let (matching, unnamed) = matching_below(&pattern)?;
                    sources.skipped += unnamed;
                    matching
                } else {
                    matching(&pattern)?
                };
                if matching.is_empty() {
                    return Err(SourcesError::NothingMatches { pattern });
                }
                sources.add_tables(pattern, matching)?;
            } else {
                Format::of(path)?;
                sources.files.push(path.clone());
            }
        }
        sources.files.sort();
        let mut seen = HashSet::new();
        sources.files.retain(|path| seen.insert(path.canonicalize().unwrap_or(path.clone())));
        Ok(sources)
    }

    /// One file, as it was named.
    pub fn of_file(path: &Path) -> Sources {
        Sources { files: vec![path.to_owned()], skipped: 0 }
    }

    /// Those of the files that are tables; the others were not asked for by name.
    fn add_tables(&mut self, place: String, found: Vec<PathBuf>) -> Result<(), SourcesError> {
        let all = found.len();
        let before = self.files.len();
        self.files.extend(found.into_iter().filter(|path| Format::of(path).is_ok()));
        let tables = self.files.len() - before;
        if tables == 0 {
            return Err(SourcesError::NoTables { place, others: all });
        }
        self.skipped += all - tables;
        Ok(())
    }

    /// The tables, at least one unless nothing was named.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// How many files were passed over that were not asked for by name and are no tables.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// What they are called in few words: the first file's name, and how many more there are.
    pub fn name(&self) -> String {
        let name =
            |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let first = self.files.first().map(name).unwrap_or_default();
        match self.files.len() {
            0 | 1 => first,
            count => format!("{first} and {} more", count - 1),
        }
    }
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(WILDCARDS)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().to_string_lossy().starts_with('.')
}

/// The files directly in a folder, but for hidden ones.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, SourcesError> {
    let failed = |source| SourcesError::List { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && !is_hidden(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn wrong(pattern: &str, source: PatternError) -> SourcesError {
    SourcesError::Pattern { pattern: pattern.to_owned(), source }
}

/// The files that match a pattern of a certain depth.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, SourcesError> {
    let mut files = Vec::new();
    for path in glob::glob(pattern).map_err(|source| wrong(pattern, source))? {
        let path = path.map_err(|error| SourcesError::List {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if path.is_file() && !is_hidden(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The files that match a pattern with `**`, and how many have a name that is not UTF-8. `glob` would
/// go into folders by links too, and so round and round.
fn matching_below(pattern: &str) -> Result<(Vec<PathBuf>, usize), SourcesError> {
    Pattern::new(pattern).map_err(|source| wrong(pattern, source))?;
    let is_plain = |part: &Component<'_>| !is_pattern(part.as_ref());
    let top: PathBuf = Path::new(pattern).components().take_while(is_plain).collect();
    let rest: PathBuf = Path::new(pattern).components().skip_while(is_plain).collect();
    let rest = Pattern::new(&rest.to_string_lossy()).map_err(|source| wrong(pattern, source))?;
    // As in a shell, only `**` goes beyond a name.
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let (mut files, mut unnamed) = (Vec::new(), 0);
    let here = if top.as_os_str().is_empty() { Path::new(".") } else { &top };
    let mut open = if here.is_dir() { vec![here.to_owned()] } else { Vec::new() };
    while let Some(folder) = open.pop() {
        let failed = |source| SourcesError::List { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if is_hidden(&path) {
                continue;
            }
            if entry.file_type().map_err(failed)?.is_dir() {
                open.push(path);
                continue;
            }
            let below = path.strip_prefix(here).unwrap_or(&path);
            match below.to_str() {
                None => unnamed += usize::from(path.is_file()),
                Some(name) if rest.matches_with(name, options) && path.is_file() => {
                    files.push(top.join(below));
                }
                Some(_) => {}
            }
        }
    }
    Ok((files, unnamed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    fn found(folder: &Path, named: &[&str]) -> Result<(Vec<String>, usize), String> {
        let named: Vec<PathBuf> = named.iter().map(|name| folder.join(name)).collect();
        let at = format!("{}/", folder.display());
        let sources = Sources::find(&named).map_err(|error| error.to_string().replace(&at, ""))?;
        let names = sources.files().iter().map(|path| path.strip_prefix(folder).unwrap());
        Ok((names.map(|path| path.display().to_string()).collect(), sources.skipped()))
    }

    #[test]
    fn files_folders_and_patterns() {
        let folder = folder(&["b.csv", "a.parquet", "c.JSONL", "notes.txt", ".hidden.csv"]);
        fs::create_dir(folder.path().join("deeper")).unwrap();
        fs::write(folder.path().join("deeper/d.csv"), "").unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let all: Vec<String> = names(&["a.parquet", "b.csv", "c.JSONL"]);
        for (named, expected) in [
            (&[""][..], Ok((all.clone(), 1))),
            (&["b.csv", "a.parquet"], Ok((names(&["a.parquet", "b.csv"]), 0))),
            (&["*.csv"], Ok((names(&["b.csv"]), 0))),
            (&["**/*.csv"], Ok((names(&["b.csv", "deeper/d.csv"]), 0))),
            (&["*", "b.csv", "b.csv"], Ok((all, 1))),
            // A file that is not there is an error of who reads it.
            (&["none.csv"], Ok((names(&["none.csv"]), 0))),
            (&["*.pq"], Err("`*.pq`: no file matches".to_owned())),
            (
                &["b.csv", "notes.txt"],
                Err("`notes.txt`: expected a name that ends in .parquet, .pq, .csv, .ndjson or \
                     .jsonl"
                    .to_owned()),
            ),
            (
                &["n*"],
                Err("`n*`: expected files that end in .parquet, .pq, .csv, .ndjson or .jsonl, \
                     but there are none among 1 files"
                    .to_owned()),
            ),
        ] {
            assert_eq!(found(folder.path(), named), expected, "{named:?}");
        }
    }

    #[test]
    fn any_depth_ends_at_links() {
        let folder = folder(&["b.csv", "notes.txt"]);
        for deeper in ["x/y", ".hidden", "x/.convminer-cache"] {
            fs::create_dir_all(folder.path().join(deeper)).unwrap();
        }
        for name in ["x/c.csv", "x/y/d.csv", ".hidden/e.csv", "x/.convminer-cache/f.csv"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("x/round")).unwrap();
        // A link to a file is one.
        std::os::unix::fs::symlink("y/d.csv", folder.path().join("x/link.csv")).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let found = |named: &str| found(folder.path(), &[named]);
        // The link's file is in it once, by the name that comes first.
        assert_eq!(found("**/*.csv"), Ok((names(&["b.csv", "x/c.csv", "x/link.csv"]), 0)));
        assert_eq!(found("**/*").unwrap().1, 1, "the notes, once");
        assert_eq!(found("x/**/?.csv"), Ok((names(&["x/c.csv", "x/y/d.csv"]), 0)));
        assert_eq!(found("**/y/*"), Ok((names(&["x/y/d.csv"]), 0)));
        assert_eq!(found("none/**/*"), Err("`none/**/*`: no file matches".to_owned()));
        let wrong = Sources::find(&[folder.path().join("a**.csv")]).unwrap_err();
        assert!(matches!(wrong, SourcesError::Pattern { .. }), "{wrong}");

        let unnamed = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff.csv");
        fs::write(folder.path().join("x").join(unnamed), "").unwrap();
        assert_eq!(found("x/**/?.csv"), Ok((names(&["x/c.csv", "x/y/d.csv"]), 1)));
    }

    #[test]
    fn an_empty_folder() {
        let folder = tempfile::tempdir().unwrap();
        let error = Sources::find(&[folder.path().to_owned()]).unwrap_err();
        assert!(matches!(error, SourcesError::NoTables { others: 0, .. }), "{error}");
        let wrong = Sources::find(&[folder.path().join("[.csv")]).unwrap_err();
        assert!(matches!(wrong, SourcesError::Pattern { .. }), "{wrong}");
    }

    #[test]
    fn many_have_a_short_name() {
        let named = |names: &[&str]| Sources {
            files: names.iter().map(PathBuf::from).collect(),
            skipped: 0,
        };
        assert_eq!(named(&["x/a.csv"]).name(), "a.csv");
        assert_eq!(named(&["x/a.csv", "b.csv", "c.csv"]).name(), "a.csv and 2 more");
    }
}

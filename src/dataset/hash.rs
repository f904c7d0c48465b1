//! What is in the sources, as a hash.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::DatasetError;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// SHA-256 of each file, as hexadecimal.
///
/// # Errors
///
/// If one cannot be read.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<String>, DatasetError> {
    paths.iter().map(|path| file(path)).collect()
}

fn file(path: &Path) -> Result<String, DatasetError> {
    let hash = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex::encode(hasher.finalize())),
                count => hasher.update(&buffer[..count]),
            }
        }
    };
    hash().map_err(|source| DatasetError::Source { path: path.to_owned(), source })
}

/// The hash of a list of files by their own: that of a single one is its own, so that it is what
/// `sha256sum` says.
pub fn of_all(hashes: &[String]) -> String {
    match hashes {
        [only] => only.clone(),
        all => hex::encode(Sha256::digest(all.join("\n"))),
    }
}

/// SHA-256 of the content of all files, as [`of_all`] makes it.
///
/// # Errors
///
/// If one cannot be read.
pub fn of_sources(paths: &[PathBuf]) -> Result<String, DatasetError> {
    files(paths).map(|hashes| of_all(&hashes))
}

/// Sizes and times of files: what changes if somebody writes to one while it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(u64, Option<SystemTime>)>);

impl Stamps {
    /// Those of now.
    ///
    /// # Errors
    ///
    /// If one is not there.
    pub(super) fn of(paths: &[PathBuf]) -> Result<Stamps, DatasetError> {
        let stamp = |metadata: Metadata| (metadata.len(), metadata.modified().ok());
        let stamps = paths.iter().map(|path| {
            let metadata = path.metadata();
            metadata
                .map(stamp)
                .map_err(|source| DatasetError::Source { path: path.clone(), source })
        });
        stamps.collect::<Result<_, _>>().map(Stamps)
    }

    /// The first file that has changed since.
    pub(super) fn changed(&self, paths: &[PathBuf]) -> Result<Option<PathBuf>, DatasetError> {
        let now = Stamps::of(paths)?;
        let mut pairs = paths.iter().zip(self.0.iter().zip(&now.0));
        Ok(pairs.find(|(_, (then, now))| then != now).map(|(path, _)| path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```sh
    /// printf abc | sha256sum; printf '' | sha256sum
    /// printf '%s\n%s' $(printf abc | sha256sum | cut -c-64) $(printf '' | sha256sum | cut -c-64) | sha256sum
    /// ```
    #[test]
    fn one_and_several() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        std::fs::write(&paths[0], "abc").unwrap();
        std::fs::write(&paths[1], "").unwrap();
        let hashes = files(&paths).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hashes, [abc, nothing]);
        assert_eq!(of_all(&hashes[..1]), abc);
        assert_eq!(of_all(&hashes), hex::encode(Sha256::digest(format!("{abc}\n{nothing}"))));
        assert_ne!(of_all(&hashes), of_all(&[hashes[1].clone(), hashes[0].clone()]));
        assert!(files(&[folder.path().join("none")]).is_err());
    }

    #[test]
    fn a_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a")];
        std::fs::write(&paths[0], "abc").unwrap();
        let stamps = Stamps::of(&paths).unwrap();
        assert_eq!(stamps.changed(&paths).unwrap(), None);
        std::fs::write(&paths[0], "abcd").unwrap();
        assert_eq!(stamps.changed(&paths).unwrap(), Some(paths[0].clone()));
    }
}

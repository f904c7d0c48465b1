//! What `convminer diagnose` left for learning.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::LearnError;

/// The part of a diagnosis that matters here.
#[derive(Deserialize)]
struct Diagnosed {
    drifted: bool,
    /// The last moment that it looked at.
    to_ns: u64,
}

/// Up to when a diagnosis looked, in nanoseconds since 1970, if it says that something drifted; none
/// if it does not, or there is no such file.
///
/// # Errors
///
/// If the file cannot be read, or is no diagnosis.
pub fn flagged_ns(path: &Path) -> Result<Option<u64>, LearnError> {
    let failed = |source| LearnError::State { doing: "read", path: path.to_owned(), source };
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(failed)?,
    };
    let diagnosed: Diagnosed =
        serde_json::from_slice(&bytes).map_err(|error| failed(io::Error::other(error)))?;
    Ok(diagnosed.drifted.then_some(diagnosed.to_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_drifted_is_flagged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("diagnostics.json");
        assert_eq!(flagged_ns(&path).unwrap(), None);
        for (text, expected) in [
            (r#"{"version": 1, "drifted": true, "to_ns": 7}"#, Some(7)),
            (r#"{"version": 1, "drifted": false, "to_ns": 7}"#, None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(flagged_ns(&path).unwrap(), expected);
        }
        fs::write(&path, "{").unwrap();
        assert!(flagged_ns(&path).is_err());
    }
}

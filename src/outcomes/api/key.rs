//! The key of the data API, which is never shown.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A key of the data API. Neither its debug form nor an error about it tells what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// Why a text is no key. It does not tell the text.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is nothing.
    #[error("the key of the data API is empty")]
    Empty,
    /// No header could carry it.
    #[error("the key of the data API has characters other than visible ASCII; is it one line?")]
    Characters,
    /// The file cannot be read.
    #[error("`{}`: the key of the data API cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ApiKey {
    /// The key that a file holds, without the white space around it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or does not hold one key.
    pub fn read(path: &Path) -> Result<ApiKey, KeyError> {
        std::fs::read_to_string(path)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })?
            .parse()
    }

    /// What goes into the header, and nowhere else.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<ApiKey, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Characters);
        }
        Ok(ApiKey(text.to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let key: ApiKey = " s3cret\n".parse().unwrap();
        assert_eq!((key.expose(), format!("{key:?}")), ("s3cret", "ApiKey(***)".to_owned()));
        for text in ["", "  \n", "s3cret s3cret", "s3cr\u{e9}t", "s3cret\ns3cret"] {
            let error = text.parse::<ApiKey>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cr"), "{error:?}");
        }
    }

    #[test]
    fn a_file_holds_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(ApiKey::read(&path), Err(KeyError::File { .. })));
        std::fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(ApiKey::read(&path).unwrap().expose(), "s3cret");
    }
}

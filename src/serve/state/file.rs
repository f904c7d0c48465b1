//! A file of state: versioned, checked, and set aside when it is damaged.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::Clock;
use crate::files;

/// The format that is written, and the newest that can be read.
pub const FORMAT_VERSION: u32 = 1;

/// Before the content, which goes up to the last bracket of the file. The sum is of the bytes in
/// between: written again, a number may be written otherwise.
const CONTENT: &str = ",\"content\":";

/// A file that holds one value, as JSON:
///
/// ```text
/// {"format_version":1,"saved_ns":1763789253000000000,"sha256":"9f2c...","content":{...}}
/// ```
///
/// One process writes it, by one value of this type or its clones.
pub struct StateFile<T> {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// What was written last, by its sum. One writes at a time.
    written: Arc<Mutex<Option<String>>>,
    holds: PhantomData<fn() -> T>,
}

/// What a file holds, and since when.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved<T> {
    /// The value.
    pub value: T,
    /// When it was saved, in nanoseconds since 1970.
    pub saved_ns: u64,
}

/// What came of loading a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded<T> {
    /// It holds this.
    Loaded(Saved<T>),
    /// There is none.
    Absent,
    /// It cannot be used, and was set aside.
    Damaged {
        /// Its new name.
        aside: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
}

/// Why a file of state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It is not JSON, or not of this kind.
    #[error("expected a file of state as JSON")]
    Json(#[from] serde_json::Error),
    /// Another version of the program wrote it.
    #[error("expected format version {FORMAT_VERSION}, but it is {0}: a newer convminer wrote it")]
    Version(u32),
    /// It was changed after it was written.
    #[error("the SHA-256 of its content should be {expected}, but is {found}")]
    Sum {
        /// As it was written.
        expected: String,
        /// As it is.
        found: String,
    },
    /// What stands where the content should.
    #[error("expected the content at the end of the file")]
    NoContent,
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(rename = "format_version")]
    _format_version: u32,
    saved_ns: u64,
    sha256: String,
    #[serde(rename = "content")]
    _content: IgnoredAny,
}

impl<T> StateFile<T> {
    /// The file of this kind that belongs to a hotkey, in `folder`.
    pub fn of(folder: &Path, kind: &str, hotkey: &str, clock: Arc<dyn Clock>) -> StateFile<T> {
        StateFile::at(folder.join(format!("{kind}.{hotkey}.json")), clock)
    }

    /// The file at this path.
    pub fn at(path: PathBuf, clock: Arc<dyn Clock>) -> StateFile<T> {
        StateFile { path, clock, written: Arc::default(), holds: PhantomData }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn written(&self) -> MutexGuard<'_, Option<String>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Serialize> StateFile<T> {
    /// Writes the value, unless it is what was written last. Makes the folder if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be written; the old file stays then.
    pub fn save(&self, value: &T) -> io::Result<()> {
        let content = serde_json::to_string(value)?;
        let sum = sum(&content);
        let mut written = self.written();
        if written.as_ref() == Some(&sum) && self.path.exists() {
            return Ok(());
        }
        let now_ns = self.clock.now_ns();
        let text = format!(
            "{{\"format_version\":{FORMAT_VERSION},\"saved_ns\":{now_ns},\"sha256\":\"{sum}\"\
             {CONTENT}{content}}}\n"
        );
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        files::write_atomically(&self.path, text.as_bytes())?;
        *written = Some(sum);
        Ok(())
    }
}

impl<T: DeserializeOwned> StateFile<T> {
    /// Reads the file. One that cannot be used is renamed to `<name>.damaged-<now>` and told in the
    /// log.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read or renamed.
    pub fn load(&self) -> io::Result<Loaded<T>> {
        let mut written = self.written();
        let bytes = match std::fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Absent),
            bytes => bytes?,
        };
        let damage = match Self::read(&bytes) {
            Ok((saved, sum)) => {
                *written = Some(sum);
                return Ok(Loaded::Loaded(saved));
            }
            Err(damage) => damage,
        };
        let reason = crate::causes::with_causes(&damage);
        let aside = set_aside(&self.path, self.clock.now_ns())?;
        let (file, to) = (self.path.display(), aside.display());
        tracing::warn!(%file, aside = %to, reason, "the saved state cannot be used; set aside");
        Ok(Loaded::Damaged { aside, reason })
    }

    /// What the bytes of a file say.
    ///
    /// # Errors
    ///
    /// If they are no such file, of a newer version, or not as they were written.
    pub fn parse(bytes: &[u8]) -> Result<Saved<T>, Damage> {
        Self::read(bytes).map(|(saved, _)| saved)
    }

    /// What the bytes say, and the sum of the content.
    fn read(bytes: &[u8]) -> Result<(Saved<T>, String), Damage> {
        let Version { format_version } = serde_json::from_slice(bytes)?;
        if format_version != FORMAT_VERSION {
            return Err(Damage::Version(format_version));
        }
        let Envelope { saved_ns, sha256, .. } = serde_json::from_slice(bytes)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Damage::NoContent)?;
        let content =
            text.split_once(CONTENT).and_then(|(_, rest)| rest.trim_end().strip_suffix('}'));
        let content = content.ok_or(Damage::NoContent)?;
        let found = sum(content);
        if found != sha256 {
            return Err(Damage::Sum { expected: sha256, found });
        }
        Ok((Saved { value: serde_json::from_str(content)?, saved_ns }, found))
    }
}

fn sum(content: &str) -> String {
    hex::encode(Sha256::digest(content))
}

/// Gives a file that cannot be used another name, and says which.
pub(super) fn set_aside(path: &Path, now_ns: u64) -> io::Result<PathBuf> {
    let aside = path.with_extension(format!("damaged-{now_ns}"));
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

impl<T> Clone for StateFile<T> {
    fn clone(&self) -> Self {
        StateFile {
            path: self.path.clone(),
            clock: Arc::clone(&self.clock),
            written: Arc::clone(&self.written),
            holds: PhantomData,
        }
    }
}

impl<T> fmt::Debug for StateFile<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StateFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOW: u64 = 1_763_789_253_000_000_000;

    #[derive(Debug)]
    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now_ns(&self) -> u64 {
            NOW
        }
    }

    type Value = BTreeMap<String, f64>;

    fn file(folder: &Path) -> StateFile<Value> {
        StateFile::of(&folder.join("state"), "models", "5M", Arc::new(StoppedClock))
    }

    fn value() -> Value {
        // A text that looks like the end of the header, and numbers that are hard to write.
        [(",\"content\":{}".to_owned(), 0.1 + 0.2), ("b".to_owned(), -1e-300)].into()
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        assert_eq!(file.load().unwrap(), Loaded::Absent);
        file.save(&value()).unwrap();
        assert_eq!(file.load().unwrap(), Loaded::Loaded(Saved { value: value(), saved_ns: NOW }));
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(
            text.starts_with("{\"format_version\":1,\"saved_ns\":1763789253000000000,"),
            "{text}"
        );
        assert_eq!(file.path().file_name().unwrap(), "models.5M.json");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["content"]["b"], -1e-300);
    }

    #[test]
    fn what_is_the_same_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        file.save(&value()).unwrap();
        let touched = |file: &StateFile<Value>| std::fs::metadata(&file.path).unwrap().modified();
        let before = touched(&file).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        file.clone().save(&value()).unwrap();
        assert_eq!(touched(&file).unwrap(), before);
        std::fs::remove_file(file.path()).unwrap();
        file.save(&value()).unwrap();
        assert!(file.path().exists(), "somebody removed it, so it is written again");
    }

    #[test]
    fn whatever_is_damaged_is_set_aside() {
        let good = {
            let folder = tempfile::tempdir().unwrap();
            let file = file(folder.path());
            file.save(&value()).unwrap();
            std::fs::read_to_string(file.path()).unwrap()
        };
        for (text, part) in [
            (String::new(), "expected a file of state as JSON"),
            ("{}".to_owned(), "missing field `format_version`"),
            (good[..good.len() - 3].to_owned(), "expected a file of state as JSON"),
            (good.replace("n\":1,", "n\":2,"), "format version 1, but it is 2"),
            (good.replace("-1e-300", "-1e-301"), "the SHA-256 of its content should be"),
            (
                good.replace("\"sha256\":\"", "\"sha256\":\"0"),
                "the SHA-256 of its content should be",
            ),
            (format!("{} 7\n", good.trim_end()), "trailing characters"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = file(folder.path());
            std::fs::create_dir_all(file.path().parent().unwrap()).unwrap();
            std::fs::write(file.path(), &text).unwrap();
            let Loaded::Damaged { aside, reason } = file.load().unwrap() else {
                panic!("{text}");
            };
            assert!(reason.contains(part), "{reason}");
            let name = format!("models.5M.damaged-{NOW}");
            assert_eq!(aside.file_name().unwrap().to_str(), Some(name.as_str()));
            assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
            assert_eq!(file.load().unwrap(), Loaded::Absent);
            file.save(&value()).unwrap();
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_and_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state"), "a file where the folder should be").unwrap();
        assert!(file(folder.path()).save(&value()).is_err());
    }
}

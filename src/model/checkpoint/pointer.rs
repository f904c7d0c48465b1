//! The files beside the checkpoints that name one of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{CHALLENGER, CheckpointError, LATEST, Result, io_error};
use crate::files;

/// Makes a checkpoint the one that is served by default.
///
/// # Errors
///
/// If the file `latest` beside it cannot be replaced.
pub fn set_latest(path: &Path) -> Result<()> {
    point(LATEST, path)
}

/// The checkpoint that is served by default.
///
/// # Errors
///
/// If none was ever made, or the file that names it cannot be read or names nothing.
pub fn latest(root: &Path) -> Result<PathBuf> {
    named(root, LATEST)?.ok_or_else(|| CheckpointError::NoLatest { root: root.to_owned() })
}

/// Lets a checkpoint answer in shadow: what it says is logged beside what is sent.
///
/// # Errors
///
/// If the file `challenger` beside it cannot be replaced.
pub fn set_challenger(path: &Path) -> Result<()> {
    point(CHALLENGER, path)
}

/// The checkpoint that answers in shadow, if one does.
///
/// # Errors
///
/// If the file that names it cannot be read or names nothing.
pub fn challenger(root: &Path) -> Result<Option<PathBuf>> {
    named(root, CHALLENGER)
}

/// Lets no checkpoint answer in shadow.
///
/// # Errors
///
/// If the file that names one cannot be removed.
pub fn clear_challenger(root: &Path) -> Result<()> {
    let file = root.join(CHALLENGER);
    match fs::remove_file(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.and_then(|()| files::sync_parent(&file)).map_err(io_error("remove", &file))
        }
    }
}

fn point(pointer: &str, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = path.with_file_name(pointer);
    files::write_atomically(&file, format!("{name}\n").as_bytes()).map_err(io_error("write", &file))
}

fn named(root: &Path, pointer: &str) -> Result<Option<PathBuf>> {
    let file = root.join(pointer);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", &file)(source)),
    };
    let name = text.trim();
    if Path::new(name).file_name() != Some(name.as_ref()) {
        let reason = format!("expected the name of a checkpoint beside it, but it says {name:?}");
        return Err(CheckpointError::Damaged { path: file, reason });
    }
    Ok(Some(root.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_names_one_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert!(matches!(latest(root), Err(CheckpointError::NoLatest { .. })));
        assert_eq!(challenger(root).unwrap(), None);
        set_latest(&root.join("first")).unwrap();
        set_challenger(&root.join("second")).unwrap();
        assert_eq!(latest(root).unwrap(), root.join("first"));
        assert_eq!(challenger(root).unwrap(), Some(root.join("second")));
        for text in ["", "../elsewhere", "/", ".."] {
            fs::write(root.join(LATEST), text).unwrap();
            assert!(matches!(latest(root), Err(CheckpointError::Damaged { .. })), "{text}");
            fs::write(root.join(CHALLENGER), text).unwrap();
            assert!(matches!(challenger(root), Err(CheckpointError::Damaged { .. })), "{text}");
        }
        clear_challenger(root).unwrap();
        clear_challenger(root).unwrap();
        assert_eq!(challenger(root).unwrap(), None);
    }
}

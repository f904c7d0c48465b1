//! Tables as text: CSV and newline-delimited JSON.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use convminer::features::table::{self, LabelMode, Table, TableError};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(super::folder);

/// A table is refused, or each of its rows can be learned from.
pub(crate) fn run(bytes: &[u8]) {
    for name in ["table.csv", "table.ndjson"] {
        let path = FOLDER.path().join(name);
        fs::write(&path, bytes).expect("the folder can be written to");
        let strict = read(&path, LabelMode::Required { drop_invalid: false });
        let lenient = read(&path, LabelMode::Required { drop_invalid: true });
        let unlabelled = read(&path, LabelMode::Ignored);
        if let Ok(strict) = strict {
            let lenient = lenient.expect("nothing had to be left out");
            assert_eq!(lenient.conversations.len(), strict.conversations.len());
            assert_eq!(lenient.truths, strict.truths);
            let unlabelled = unlabelled.expect("labels are more than is asked for");
            assert_eq!(unlabelled.len(), strict.len());
            assert_eq!(unlabelled.session_ids, strict.session_ids);
        }
    }
}

fn read(path: &Path, labels: LabelMode) -> Result<Table, TableError> {
    let table = table::read(path, labels).inspect_err(|error| {
        // What is shown to the user.
        assert!(!error.to_string().is_empty());
    })?;
    assert!(!table.is_empty());
    assert_eq!(table.session_ids.len(), table.len());
    table.conversations.iter().for_each(super::assert_sound);
    let labelled = labels != LabelMode::Ignored;
    assert_eq!(table.truths.as_ref().map(Vec::len), labelled.then_some(table.len()));
    for truth in table.truths.iter().flatten() {
        let time = truth.time_seconds;
        assert!(if truth.converted { time > 0.0 && time.is_finite() } else { time == -1.0 });
    }
    for warning in &table.warnings {
        assert!(!warning.to_string().is_empty());
    }
    Ok(table)
}

//! Several tables as one, in memory.

use std::path::Path;

use super::prepare::tell;
use super::{DatasetError, Sources};
use crate::features::table::{self, LabelMode, Table, TableError, Warning};

/// Reads all sources into one table, in their order. What is odd is told as lines; the table's own
/// warnings are none.
///
/// # Errors
///
/// If one of them is wrong, or none has a row.
pub fn read(sources: &Sources, labels: LabelMode) -> Result<(Table, Vec<String>), DatasetError> {
    let files = sources.files();
    let mut all =
        Table { truths: (labels != LabelMode::Ignored).then(Vec::new), ..Table::default() };
    let mut warnings: Vec<(&Path, Option<Vec<Warning>>)> = Vec::with_capacity(files.len());
    for path in files {
        match table::read(path, labels) {
            Ok(mut table) => {
                table.warnings.retain(is_of_file);
                warnings.push((path, Some(std::mem::take(&mut table.warnings))));
                append(&mut all, table);
            }
            // Of many files one may be empty, as those are that some writers leave.
            Err(TableError::NoRows { .. } | TableError::NoRowsLeft { .. }) if files.len() > 1 => {
                warnings.push((path, None));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if all.is_empty() {
        return Err(DatasetError::NoRows { files: files.len() });
    }
    let mut told = tell(warnings.iter().map(|(path, warnings)| (*path, warnings.as_deref())));
    let of_all = [
        table::one_class(all.truths.as_deref().unwrap_or_default()),
        table::duplicates(&all.session_ids),
    ];
    told.extend(of_all.iter().flatten().map(ToString::to_string));
    Ok((all, told))
}

/// Whether it is about a file alone, whatever is in others.
fn is_of_file(warning: &Warning) -> bool {
    !matches!(warning, Warning::OneClass { .. } | Warning::DuplicateSessions { .. })
}

fn append(all: &mut Table, table: Table) {
    if all.is_empty() {
        // The usual case: one file, which need not be copied.
        *all = table;
        return;
    }
    all.session_ids.extend(table.session_ids);
    all.conversations.extend(table.conversations);
    if let (Some(truths), Some(more)) = (&mut all.truths, table.truths) {
        truths.extend(more);
    }
}

/// How many rows the sources have, or about; see [`table::count`].
///
/// # Errors
///
/// If one cannot be read.
pub fn count(sources: &Sources) -> Result<usize, DatasetError> {
    let mut rows: usize = 0;
    for path in sources.files() {
        match table::count(path) {
            Ok(count) => rows = rows.saturating_add(count),
            Err(TableError::NoRows { .. }) if sources.files().len() > 1 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_joined_and_judged_together() {
        let folder = tempfile::tempdir().unwrap();
        let header = "session_id,message_ratio,conversation_duration_seconds,has_target_entity,\
                      entities_collected_count,conversion_happened,time_to_conversion_seconds\n";
        let row = |name: &str, class: u8| format!("{name},1,60,1,2,{class},50\n");
        for (name, text) in [
            ("a.csv", format!("{header}{}{}", row("x", 1), row("y", 1))),
            ("b.csv", header.to_owned()),
            ("c.csv", format!("{header}{}", row("x", 0))),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let labels = LabelMode::Required { drop_invalid: false };
        let all = Sources::find(&[folder.path().to_owned()]).unwrap();
        let (table, told) = read(&all, labels).unwrap();
        assert_eq!(table.len(), 3);
        let classes: Vec<bool> =
            table.truths.unwrap().iter().map(|truth| truth.converted).collect();
        assert_eq!(classes, [true, true, false]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].ends_with("b.csv`: no rows"));
        assert!(told[1].contains("1 rows repeat the session_id"));
        // By lengths of lines: the headers count too, and each file's last line twice.
        assert_eq!(count(&all).unwrap(), 4 + 2 + 3);

        let one = Sources::of_file(&folder.path().join("a.csv"));
        let (_, told) = read(&one, labels).unwrap();
        assert_eq!(told, [Warning::OneClass { converted: true }.to_string()]);
        let empty = Sources::of_file(&folder.path().join("b.csv"));
        assert!(matches!(read(&empty, labels), Err(DatasetError::Table(_))));
    }
}

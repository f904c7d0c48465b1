//! A scan gives what reading at once gives, in bounded pieces.

use std::fs;
use std::path::PathBuf;

use polars::prelude::{CsvReader, DataFrame, ParquetWriter, SerReader as _};

use super::*;
use crate::subnet::challenge::{Challenge, Example, NoisyRates};

const STRICT: LabelMode = LabelMode::Required { drop_invalid: false };

fn options(labels: LabelMode, chunk_rows: usize) -> ScanOptions {
    ScanOptions { labels, session_ids: true, chunk_rows }
}

fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn examples(rows: usize) -> Vec<Example> {
    Challenge::Noisy(NoisyRates::default()).examples(3).take(rows).collect()
}

/// All chunks as one table, and the size of each.
fn joined(path: &Path, options: ScanOptions) -> (Table, Vec<usize>) {
    let mut sizes = Vec::new();
    let mut table = Table { truths: Some(Vec::new()), ..Table::default() };
    let scanned = scan(path, options, &mut |chunk| {
        sizes.push(chunk.len());
        table.session_ids.extend(chunk.session_ids);
        table.conversations.extend(chunk.conversations);
        table.truths.as_mut().unwrap().extend(chunk.truths.unwrap());
        ControlFlow::Continue(())
    });
    let scanned = scanned.unwrap().unwrap();
    assert_eq!(scanned.rows, table.len());
    let converted = table.truths.iter().flatten().filter(|truth| truth.converted).count();
    assert_eq!(scanned.converted, converted);
    table.warnings = scanned.warnings;
    (table, sizes)
}

fn assert_same(left: &Table, right: &Table) {
    let bits = |table: &Table| -> Vec<Vec<u32>> {
        let of = |row: &Conversation| row.values.iter().map(|value| value.to_bits()).collect();
        table.conversations.iter().map(of).collect()
    };
    assert_eq!(left.session_ids, right.session_ids);
    assert!(bits(left) == bits(right));
    assert_eq!(left.truths, right.truths);
    assert_eq!(left.warnings, right.warnings);
}

#[test]
fn chunks_are_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let examples = examples(1000);
    for name in ["a.csv", "a.ndjson", "a.parquet"] {
        let path = folder.path().join(name);
        let mut writer = ExampleWriter::create(&path).unwrap();
        // Row groups of 400, 400 and 200.
        examples.chunks(400).for_each(|rows| writer.write(rows).unwrap());
        writer.finish().unwrap();
        let whole = read(&path, STRICT).unwrap();
        for chunk_rows in [1, 7, 300, 5000] {
            let (table, sizes) = joined(&path, options(STRICT, chunk_rows));
            assert_same(&table, &whole);
            assert!(sizes.iter().all(|size| *size <= chunk_rows), "{name} {sizes:?}");
        }
        let (_, sizes) = joined(&path, options(STRICT, 300));
        let expected: &[usize] = match name {
            "a.parquet" => &[200, 200, 200, 200, 200],
            _ => &[300, 300, 300, 100],
        };
        assert_eq!(sizes, expected, "{name}");
        assert!((900..1100).contains(&count(&path).unwrap()), "{name}");
    }
}

/// One row group that is larger than a slice, with many pages.
#[test]
fn slices_of_a_large_row_group() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("a.csv");
    let mut writer = ExampleWriter::create(&csv).unwrap();
    writer.write(&examples(3000)).unwrap();
    writer.finish().unwrap();
    let mut frame: DataFrame = CsvReader::new(fs::File::open(&csv).unwrap()).finish().unwrap();
    let path = folder.path().join("a.parquet");
    ParquetWriter::new(fs::File::create(&path).unwrap())
        .with_data_page_size(Some(512))
        .with_row_group_size(Some(3000))
        .finish(&mut frame)
        .unwrap();
    let whole = read(&csv, STRICT).unwrap();
    let (table, sizes) = joined(&path, options(STRICT, 700));
    assert_same(&table, &whole);
    assert_eq!(sizes, [600; 5]);
    assert_eq!(count(&path).unwrap(), 3000);
}

#[test]
fn names_are_read_only_if_asked_for() {
    for (name, text) in [
        ("a.csv", "session_id,message_ratio,conversion_happened\nx,1,0\ny,2,0\n"),
        (
            "a.ndjson",
            "{\"session_id\": \"x\", \"message_ratio\": 1, \"conversion_happened\": 0}\n\
             {\"session_id\": \"y\", \"message_ratio\": 2, \"conversion_happened\": 0}\n",
        ),
    ] {
        let (_folder, path) = file(name, text);
        for session_ids in [true, false] {
            let options = ScanOptions { session_ids, ..options(STRICT, 1) };
            let (table, _) = joined(&path, options);
            assert_eq!(table.len(), 2);
            assert_eq!(table.session_ids.len(), if session_ids { 2 } else { 0 });
        }
    }
}

/// Rows are numbered within the file, whichever chunk they are in.
#[test]
fn what_is_wrong_late_says_where() {
    let line = |row: usize| match row {
        8 => "x,0,\n".to_owned(),
        9 => "1,,\n".to_owned(),
        11 => "1,1,0\n".to_owned(),
        _ => format!("{row},0,\n"),
    };
    let header = "message_ratio,conversion_happened,time_to_conversion_seconds\n";
    let text = (1..=12).map(line).fold(header.to_owned(), |text, line| text + &line);
    let (_folder, path) = file("a.csv", &text);
    let mut rows = 0;
    let mut visit = |chunk: Chunk| {
        rows += chunk.len();
        ControlFlow::Continue(())
    };
    let error = scan(&path, options(STRICT, 3), &mut visit).unwrap_err().to_string();
    assert!(error.contains("1 rows have no `conversion_happened`, the first is row 9"), "{error}");
    assert_eq!(rows, 6, "nothing from the refused row's chunk on");

    let lenient = LabelMode::Required { drop_invalid: true };
    let (table, sizes) = joined(&path, options(lenient, 3));
    assert_eq!((table.len(), sizes.as_slice()), (10, &[3, 3, 2, 2][..]));
    let unreadable = Unreadable { row: 8, feature: "message_ratio", value: "\"x\"".to_owned() };
    assert!(table.warnings.contains(&Warning::Unreadable { count: 1, first: vec![unreadable] }));
    assert!(table.warnings.contains(&Warning::Dropped { unlabelled: 1, untimed: 1 }));

    let (_folder, path) = file("b.csv", &text.replace("12,0,", "12,perhaps,"));
    let error = scan(&path, options(lenient, 3), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("row 12: expected `conversion_happened`"), "{error}");
}

/// What is no table fills no memory, and is told by its place.
#[test]
fn a_row_without_end() {
    let long = "x".repeat(LONGEST_ROW as usize + (2 << 20));
    let header = "session_id,message_ratio,conversion_happened\n";
    let object = "{\"message_ratio\": 1, \"conversion_happened\": 0}\n";
    for (name, text, expected) in [
        ("a.csv", format!("{header}a,1,0\nb,1,0\n\"{long}"), "row 3 (from line 4 on): it has more"),
        ("b.csv", format!("{long},"), "the header: it has more than 16 MiB; close the quote"),
        ("a.ndjson", format!("{object}\n{long}"), "line 3 is not a JSON object: it has more than"),
    ] {
        let (_folder, path) = file(name, &text);
        let mut visit = |_| ControlFlow::Continue(());
        let error = scan(&path, options(STRICT, 2), &mut visit).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // One that is as long as it may be.
    let id = &long[..LONGEST_ROW as usize - 100];
    let (_folder, path) = file("a.csv", &format!("{header}{id},1,0\n{id},2,0\n"));
    assert_eq!(joined(&path, options(STRICT, 1)).0.len(), 2);
    let object = object.replace('{', &format!("{{\"session_id\": \"{}\", ", &id[100..]));
    let (_folder, path) = file("a.ndjson", &object.repeat(2));
    assert_eq!(joined(&path, options(STRICT, 1)).0.len(), 2);
}

/// Each line may have names of its own; what is needed is found among them.
#[test]
fn names_without_end() {
    let line = |number: usize| match number {
        2000 => "{\"n2000\": 1, \"message_ratio\": 1, \"conversion_happened\": 0}\n".to_owned(),
        _ => format!("{{\"n{number}\": 1}}\n"),
    };
    let text: String = (0..=2000).map(line).collect();
    let (_folder, path) = file("a.ndjson", &text);
    let lenient = LabelMode::Required { drop_invalid: true };
    assert_eq!(joined(&path, options(lenient, 100)).0.len(), 1);
    let (_folder, path) = file("b.ndjson", &text.replace("message_ratio", "ratio"));
    let mut visit = |_| ControlFlow::Continue(());
    let error = scan(&path, options(lenient, 100), &mut visit).unwrap_err().to_string();
    assert!(error.contains("`n0`, `n1`"), "{error}");
    assert!(error.contains("and 489 more"), "{error}");
}

/// A file whose first lines are long has more rows than they say.
#[test]
fn rows_are_rather_overestimated() {
    let long = format!("{},0\n", "1".repeat(2000));
    let text = format!(
        "message_ratio,conversion_happened\n{}{}",
        long.repeat(600),
        "1,0\n".repeat(500_000)
    );
    let (_folder, path) = file("a.csv", &text);
    let rows = count(&path).unwrap();
    assert!((500_000..1_000_000).contains(&rows), "{rows}");
    // Blank lines are none.
    let (_folder, path) = file("b.csv", &format!("message_ratio\n1\n2\n{}", "\n".repeat(500)));
    assert_eq!(count(&path).unwrap(), 3 + 1);
}

#[test]
fn who_has_enough_gets_no_more() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.csv", "a.ndjson", "a.parquet"] {
        let path = folder.path().join(name);
        let mut writer = ExampleWriter::create(&path).unwrap();
        writer.write(&examples(1000)).unwrap();
        writer.finish().unwrap();
        let mut chunks = 0;
        let scanned = scan(&path, options(STRICT, 100), &mut |_| {
            chunks += 1;
            ControlFlow::Break(())
        });
        assert_eq!((scanned.unwrap(), chunks), (None, 1), "{name}");
    }
}

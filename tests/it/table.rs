//! Tables that are right, odd and wrong, as files.

use std::fs;
use std::path::{Path, PathBuf};

use convminer::features::Conversation;
use convminer::features::table::{ExampleWriter, LabelMode, Table, TableError, Warning, read};
use convminer::subnet::challenge::{Challenge, Example, NoisyRates};
use convminer::subnet::reward::Truth;
use convminer::subnet::schema::{FEATURES, LABELS, SESSION_ID, index_of};
use polars::prelude::{Column, DataFrame, NamedFrom as _, ParquetWriter, Series};
use tempfile::TempDir;

const STRICT: LabelMode = LabelMode::Required { drop_invalid: false };
const DROP: LabelMode = LabelMode::Required { drop_invalid: true };

/// A folder for the files of one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn parquet(&self, name: &str, columns: Vec<Column>) -> PathBuf {
        let path = self.path(name);
        let mut frame = DataFrame::new_infer_height(columns).unwrap();
        ParquetWriter::new(fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
        path
    }

    fn examples(&self, name: &str, examples: &[Example]) -> PathBuf {
        let path = self.path(name);
        let mut writer = ExampleWriter::create(&path).unwrap();
        writer.write(examples).unwrap();
        writer.finish().unwrap();
        path
    }

    /// What reading says of a wrong file, with the folder's name cut out.
    fn error(&self, path: &Path, labels: LabelMode) -> String {
        let error = read(path, labels).expect_err(&path.display().to_string());
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn column<T, P: ?Sized>(name: &str, values: T) -> Column
where
    Series: polars::prelude::NamedFrom<T, P>,
{
    Column::new(name.into(), values)
}

fn value(table: &Table, row: usize, feature: &str) -> f32 {
    table.conversations[row].values[index_of(feature).unwrap()]
}

fn assert_same(left: &Table, right: &Table, what: &str) {
    let bits = |conversations: &[Conversation]| -> Vec<Vec<u32>> {
        let row = |c: &Conversation| c.values.iter().map(|value| value.to_bits()).collect();
        conversations.iter().map(row).collect()
    };
    assert_eq!(left.session_ids, right.session_ids, "{what}");
    assert_eq!(bits(&left.conversations), bits(&right.conversations), "{what}");
    assert_eq!(left.truths, right.truths, "{what}");
    assert_eq!(left.warnings, right.warnings, "{what}");
}

/// The text of a table with every known name in camelCase.
fn camel(text: &str) -> String {
    let columns = LABELS.iter().chain([&SESSION_ID]).map(|column| (column.name, column.camel));
    let features = FEATURES.iter().map(|feature| (feature.name, feature.camel));
    let mut names: Vec<_> = columns.chain(features).collect();
    // Longest first, so that no name is replaced inside another.
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.into_iter().fold(text.to_owned(), |text, (name, camel)| text.replace(name, camel))
}

#[test]
fn formats_and_spellings_give_equal_tables() {
    let folder = Folder::new();
    for challenge in [Challenge::Rule, Challenge::Template, Challenge::Noisy(NoisyRates::default())]
    {
        let examples: Vec<Example> = challenge.examples(3).take(700).collect();
        let parquet = read(&folder.examples("a.parquet", &examples), STRICT).unwrap();
        let csv_path = folder.examples("a.csv", &examples);
        let ndjson_path = folder.examples("a.ndjson", &examples);
        let csv_text = fs::read_to_string(&csv_path).unwrap();
        let ndjson_text = fs::read_to_string(&ndjson_path).unwrap();

        let camel_csv = folder.write("b.CSV", camel(&csv_text));
        let camel_ndjson = folder.write("b.jsonl", camel(&ndjson_text));
        assert!(!fs::read_to_string(&camel_csv).unwrap().contains("message_ratio"));
        for path in [csv_path, ndjson_path, camel_csv, camel_ndjson] {
            let table = read(&path, STRICT).unwrap();
            assert_same(&parquet, &table, &format!("{} {}", challenge.name(), path.display()));
        }
        // And they are what was written.
        assert_eq!(parquet.len(), 700);
        assert_eq!(parquet.warnings, []);
        let truths: Vec<Truth> = examples.iter().map(|example| example.truth).collect();
        assert_eq!(parquet.truths.as_deref(), Some(truths.as_slice()));
        for (row, example) in examples.iter().enumerate() {
            assert_eq!(parquet.session_ids[row].as_deref(), Some(example.session_id.as_str()));
            let mut expected = Conversation::EMPTY;
            for (index, value) in example.features.into_iter().enumerate() {
                expected.set(index, value);
            }
            let bits = |c: &Conversation| c.values.map(f32::to_bits);
            assert_eq!(bits(&parquet.conversations[row]), bits(&expected));
        }
    }
}

#[test]
fn generated_csv_has_the_public_header() {
    let folder = Folder::new();
    let examples: Vec<Example> = Challenge::Rule.examples(3).take(2).collect();
    let text = fs::read_to_string(folder.examples("a.csv", &examples)).unwrap();
    let names = [SESSION_ID.name].into_iter();
    let names = names.chain(FEATURES.iter().map(|feature| feature.name));
    let names: Vec<&str> = names.chain(LABELS.iter().map(|label| label.name)).collect();
    assert_eq!(text.lines().next().unwrap(), names.join(","));
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn an_unfinished_table_leaves_nothing_behind() {
    let folder = Folder::new();
    let examples: Vec<Example> = Challenge::Rule.examples(3).take(2).collect();
    for name in ["a.csv", "a.parquet", "a.ndjson"] {
        let mut writer = ExampleWriter::create(&folder.path(name)).unwrap();
        writer.write(&examples).unwrap();
        drop(writer);
    }
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);
    assert!(matches!(
        ExampleWriter::create(&folder.path("no/such/folder.csv")),
        Err(TableError::Write { .. })
    ));
}

/// The published row, as it was published.
#[test]
fn the_public_row() {
    let folder = Folder::new();
    let header: Vec<&str> = [SESSION_ID.name]
        .into_iter()
        .chain(FEATURES.iter().map(|feature| feature.name))
        .chain(LABELS.iter().map(|label| label.name))
        .collect();
    let row = "fe093ea6-8fb3-4856-9aee-05673faaae11,92.0000,1.5333,13,2,1,0,7.0000,11.5000,15.0000,\
               7.0000,11.7500,11.6667,2.8723,15.0000,5.8696,9,5,4,1.2500,47.0000,62,25,235,84.0000,\
               120,53,336,3,0.7500,0,0.0000,2,1,5,1,0.9200,0.8000,0.0000,0,0.8750,1,62.0000,1.0333";
    let path = folder.write("public.csv", format!("{}\n{row}\n", header.join(",")));
    let table = read(&path, STRICT).unwrap();
    assert_eq!(table.session_ids[0].as_deref(), Some("fe093ea6-8fb3-4856-9aee-05673faaae11"));
    assert_eq!(table.truths.as_deref(), Some([Truth::converted_after(62.0)].as_slice()));
    for (feature, expected) in [
        ("conversation_duration_seconds", 92.0),
        ("message_ratio", 1.25),
        ("avg_entity_confidence", 0.92),
        ("message_alternation_rate", 0.875),
    ] {
        assert_eq!(value(&table, 0, feature), expected);
    }
    assert_eq!(table.warnings, [Warning::OneClass { converted: true }]);
}

const FOUR: &str =
    "conversation_duration_seconds,message_ratio,entities_collected_count,has_target_entity";

/// A CSV file with the required features, `hour_of_day`, and the labels.
fn csv(rows: &[&str]) -> String {
    let header =
        format!("session_id,{FOUR},hour_of_day,conversion_happened,time_to_conversion_seconds");
    format!("{header}\n{}\n", rows.join("\n"))
}

#[test]
fn labels_in_every_type() {
    let folder = Folder::new();
    let truths = [Truth::converted_after(62.0), Truth::not_converted(), Truth::not_converted()];
    for (class, time, why) in [
        (column("conversion_happened", [1_i64, 0, 0]), column("t", [62.0, -1.0, 5.0]), "int"),
        (column("conversion_happened", [1.0, 0.0, 0.0]), column("t", [62_i64, -1, -1]), "float"),
        (
            column("conversion_happened", [true, false, false]),
            column("t", [Some(62.0), None, Some(f64::NAN)]),
            "bool, null times",
        ),
        (
            column("conversionHappened", ["1", "0.0", " false"]),
            column("t", ["62.0", "-1", ""]),
            "text",
        ),
        (
            column("conversion_happened", ["True", "False", "false"]),
            column("t", [Some("62"), None, Some("NaN")]),
            "Python's words",
        ),
        (column("conversion_happened", [1_u8, 0, 0]), column("t", [62_i16, -1, -1]), "narrow"),
        (column("conversion_happened", [1_i8, 0, 0]), column("t", [62_u16, 0, 0]), "narrow too"),
    ] {
        let columns = vec![
            column("message_ratio", [1.0, 2.0, 3.0]),
            class,
            time.with_name("time_to_conversion_seconds".into()),
        ];
        let table = read(&folder.parquet("a.parquet", columns), STRICT).unwrap();
        assert_eq!(table.truths.as_deref(), Some(truths.as_slice()), "{why}");
    }
    for (line, why) in [
        (
            r#"{"message_ratio": 1, "conversionHappened": true, "timeToConversionSeconds": 62}"#,
            "bool",
        ),
        (
            r#"{"message_ratio": 1, "conversion_happened": "1", "time_to_conversion_seconds": "62"}"#,
            "text",
        ),
        (
            r#"{"message_ratio": 1, "conversion_happened": 1.0, "time_to_conversion_seconds": 62.0}"#,
            "float",
        ),
    ] {
        let path = folder.write("a.ndjson", line);
        assert_eq!(read(&path, STRICT).unwrap().truths.as_deref(), Some(&truths[..1]), "{why}");
    }
}

#[test]
fn no_conversion_needs_no_time() {
    let folder = Folder::new();
    let path =
        folder.write("a.csv", format!("{FOUR},conversion_happened\n90,1,2,0,0\n95,1,2,0,0\n"));
    let table = read(&path, STRICT).unwrap();
    assert_eq!(table.warnings, [Warning::OneClass { converted: false }]);
    assert_eq!(table.session_ids, [None, None]);
    // With a conversion it does, and the label is said to be absent.
    let path =
        folder.write("a.csv", format!("{FOUR},conversion_happened\n90,1,2,0,0\n95,1,2,0,1\n"));
    assert!(folder.error(&path, STRICT).starts_with(
        "`a.csv`: no column `time_to_conversion_seconds`; found `conversation_duration_seconds`"
    ));
    assert_eq!(read(&path, DROP).unwrap().len(), 1);
}

#[test]
fn wrong_tables_say_what_is_wrong() {
    let folder = Folder::new();
    let good = "a,90,1.5,4,1,12,1,62.0";
    let file = |name: &str, content: &str| folder.write(name, content);
    let list =
        Series::new("".into(), [Series::new("".into(), [1_i64]), Series::new("".into(), [2_i64])]);
    let cases: Vec<(PathBuf, LabelMode, &str)> = vec![
        (folder.path("absent.csv"), STRICT, "`absent.csv`: no such file"),
        (
            file("a.xlsx", "x"),
            STRICT,
            "`a.xlsx`: expected a name that ends in .parquet, .pq, .csv, .ndjson or .jsonl",
        ),
        (
            file("bare", "x"),
            STRICT,
            "`bare`: expected a name that ends in .parquet, .pq, .csv, .ndjson or .jsonl",
        ),
        (
            file("text.parquet", "not parquet at all"),
            STRICT,
            "`text.parquet`: cannot be read as a parquet file",
        ),
        (file("empty.parquet", ""), STRICT, "`empty.parquet`: no rows"),
        (file("empty.csv", ""), STRICT, "`empty.csv`: no rows"),
        (file("blank.csv", "\n\n"), STRICT, "`blank.csv`: no rows"),
        (file("header.csv", &csv(&[])), STRICT, "`header.csv`: no rows"),
        (file("blank.ndjson", "\n \n"), STRICT, "`blank.ndjson`: no rows"),
        (
            file("ragged.csv", &csv(&[good, "a,90,1.5,4,1,12,1,62.0,7,8"])),
            STRICT,
            "`ragged.csv`: row 2 (from line 3 on): expected 8 cells, as many as the header has, but there \
             are 10",
        ),
        (
            // The place counts what is no row, and a column that is not needed hides nothing.
            file("wide.csv", "\nnote,message_ratio\n\"a\nb\",1\n\nc,2,\n"),
            LabelMode::Ignored,
            "`wide.csv`: row 2 (from line 5 on): expected 2 cells, as many as the header has, but there \
             are 3",
        ),
        (
            file("open.csv", "note,message_ratio\na,1\n\"b,2\nc,3\n"),
            LabelMode::Ignored,
            "`open.csv`: row 2 (from line 3 on): expected 2 cells, as many as the header has, but there are 1; \
             is a quote open",
        ),
        (
            folder.write("latin.csv", b"note,message_ratio\ncaf\xe9,1\n"),
            LabelMode::Ignored,
            "`latin.csv`: row 1 (from line 2 on): expected UTF-8, but there are other bytes",
        ),
        (
            folder.write("utf16.csv", b"\xff\xfem\0\n\0"),
            LabelMode::Ignored,
            "`utf16.csv`: the header: expected UTF-8, but there are other bytes",
        ),
        (
            file("short.csv", "message_ratio,note,hour_of_day\n1,a\n"),
            LabelMode::Ignored,
            "`short.csv`: row 1 (from line 2 on): expected 3 cells, as many as the header has, but there \
             are 2",
        ),
        (
            file("semicolons.csv", "session_id;message_ratio;hour_of_day\na;1,5;3\n"),
            STRICT,
            "`semicolons.csv`: expected commas between the cells, but found semicolons in the header",
        ),
        (
            file("tabs.csv", "session_id\tmessage_ratio\na\t1.5\n"),
            LabelMode::Ignored,
            "`tabs.csv`: expected commas between the cells, but found tabs in the header",
        ),
        (
            file("same.csv", "hour_of_day,hour_of_day\n1,2\n"),
            LabelMode::Ignored,
            "`same.csv`: the columns `hour_of_day` and `hour_of_day` are the same; leave one out",
        ),
        (
            file("broken.ndjson", "{\"message_ratio\": 1}\n\n{\"message_ratio\": \n"),
            LabelMode::Ignored,
            "`broken.ndjson`: line 3 is not a JSON object: EOF while parsing",
        ),
        (
            file("array.ndjson", "[{\"message_ratio\": 1}]"),
            LabelMode::Ignored,
            "`array.ndjson`: line 1 is not a JSON object: it is an array",
        ),
        (
            file("unlabelled.csv", "message_ratio,converted,conversionHapened\n1,1,1\n"),
            STRICT,
            "`unlabelled.csv`: no column `conversion_happened` (is `conversionHapened` meant?); \
             found `message_ratio`, `converted`, `conversionHapened`",
        ),
        (
            file("unlabelled.ndjson", "{\"message_ratio\": 1}\n"),
            STRICT,
            "`unlabelled.ndjson`: no column `conversion_happened`; found `message_ratio`",
        ),
        (
            file("strange.csv", "a,b,conversion_happened\n1,2,1\n"),
            STRICT,
            "`strange.csv`: no column is a feature; found `a`, `b`, `conversion_happened`",
        ),
        (
            file("twice.csv", "message_ratio,messageRatio,conversion_happened\n1,2,0\n"),
            STRICT,
            "`twice.csv`: the columns `message_ratio` and `messageRatio` are the same; leave one out",
        ),
        (
            file("class.csv", &csv(&[good, "b,90,1.5,4,1,12,maybe,62.0"])),
            STRICT,
            "`class.csv`: row 2: expected `conversion_happened` to be 0, 1, true or false, but it is \"maybe\"",
        ),
        (
            file("class.ndjson", "{\"message_ratio\": 1, \"conversion_happened\": [1]}"),
            STRICT,
            "`class.ndjson`: row 1: expected `conversion_happened` to be 0, 1, true or false, but it is an array",
        ),
        (
            folder.parquet(
                "class.parquet",
                vec![
                    column("message_ratio", [1.0, 2.0]),
                    column("conversion_happened", [0_i64, 2]),
                ],
            ),
            STRICT,
            "`class.parquet`: row 2: expected `conversion_happened` to be 0, 1, true or false, but it is 2",
        ),
        (
            file("time.csv", &csv(&[good, "b,90,1.5,4,1,12,1,soon"])),
            STRICT,
            "`time.csv`: row 2: expected `time_to_conversion_seconds` to be a number, but it is \"soon\"",
        ),
        (
            file("null.csv", &csv(&[good, "b,90,1.5,4,1,12,,62.0", "c,90,1.5,4,1,12,,62.0"])),
            STRICT,
            "`null.csv`: 2 rows have no `conversion_happened`, the first is row 2; to leave them out, \
             use `--drop-invalid`",
        ),
        (
            file(
                "untimed.csv",
                &csv(&[
                    good,
                    "b,90,1,4,1,12,0,-1",
                    "c,90,1,4,1,12,1,-1",
                    "d,90,1,4,1,12,1,inf",
                    "e,9,1,4,1,12,1,",
                ]),
            ),
            STRICT,
            "`untimed.csv`: 3 rows converted without a positive, finite `time_to_conversion_seconds`, \
             the first is row 3; to leave them out, use `--drop-invalid`",
        ),
        (
            file("dropped.csv", &csv(&["c,90,1,4,1,12,1,-1", "d,90,1,4,1,12,,5"])),
            DROP,
            "`dropped.csv`: no rows are left: all 2 were invalid and left out",
        ),
        (
            folder.parquet("list.parquet", vec![list.into_column_named("hour_of_day")]),
            LabelMode::Ignored,
            "`list.parquet`: column `hour_of_day` has the type ",
        ),
    ];
    for (path, labels, expected) in cases {
        let found = folder.error(&path, labels);
        assert!(found.starts_with(expected), "expected: {expected}\n   found: {found}");
    }
    fs::create_dir(folder.path("folder.csv")).unwrap();
    assert_eq!(
        folder.error(&folder.path("folder.csv"), STRICT),
        "`folder.csv`: expected a file, but it is a folder"
    );
}

/// Gives a series the name under which it goes into a file.
trait IntoColumnNamed {
    fn into_column_named(self, name: &str) -> Column;
}

impl IntoColumnNamed for Series {
    fn into_column_named(self, name: &str) -> Column {
        Column::from(self.with_name(name.into()))
    }
}

#[test]
fn a_truncated_parquet_file_is_an_error() {
    let folder = Folder::new();
    let examples: Vec<Example> = Challenge::Rule.examples(3).take(500).collect();
    let content = fs::read(folder.examples("whole.parquet", &examples)).unwrap();
    for length in [1, 8, content.len() / 2, content.len() - 1] {
        let path = folder.write("cut.parquet", &content[..length]);
        assert_eq!(folder.error(&path, STRICT), "`cut.parquet`: cannot be read as a parquet file");
    }
}

#[test]
fn odd_tables_are_read_and_reported() {
    let folder = Folder::new();
    let rows = [
        "a,90,1.5,4,1,noon,1,62.0",
        "b,\" 90 \",True,4,false,-1,0,-1",
        "a,,NaN,inf,1,[3],0,-1",
        "a,1e300,1.5,4,1,12,1,0",
    ];
    let table = read(&folder.write("odd.csv", csv(&rows)), DROP).unwrap();
    assert_eq!(table.len(), 3);
    assert_eq!(
        table.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "2 values are not numbers and count as missing: `hour_of_day` in row 1 is \"noon\", \
             `hour_of_day` in row 3 is \"[3]\"",
            "left out 1 rows: 0 without a label, 1 that converted without a positive, finite time",
            "1 rows repeat the session_id of an earlier row, such as `a`",
        ]
    );
    assert_eq!(value(&table, 0, "conversation_duration_seconds"), 90.0);
    assert_eq!(value(&table, 1, "conversation_duration_seconds"), 90.0);
    assert_eq!(value(&table, 1, "message_ratio"), 1.0);
    assert_eq!(value(&table, 1, "has_target_entity"), 0.0);
    for (row, feature) in [
        (0, "hour_of_day"),
        (1, "hour_of_day"),
        (2, "conversation_duration_seconds"),
        (2, "message_ratio"),
        (2, "entities_collected_count"),
        (2, "total_messages"),
    ] {
        assert!(value(&table, row, feature).is_nan(), "{feature} in row {row}");
    }
}

#[test]
fn json_lines_are_read_as_requests_are() {
    let folder = Folder::new();
    let lines = [
        "\u{feff}{\"session_id\": \"a\", \"hourOfDay\": \"7\", \"messageRatio\": NaN, \"test_pk\": {\"x\": [1]}}",
        "",
        "  {\"sessionId\": 12, \"hour_of_day\": {}, \"message_ratio\": true, \"timeToConversionSeconds\": 9}  ",
        "{\"dayOfWeek\": 123456789012345678901234567890, \"hour_of_day\": -1}",
    ];
    let path = folder.write("a.ndjson", lines.join("\r\n"));
    let table = read(&path, LabelMode::Ignored).unwrap();
    assert_eq!(table.session_ids, [Some("a".to_owned()), Some("12".to_owned()), None]);
    assert!(table.truths.is_none());
    assert_eq!(value(&table, 0, "hour_of_day"), 7.0);
    assert!(value(&table, 0, "message_ratio").is_nan());
    assert_eq!(value(&table, 1, "message_ratio"), 1.0);
    assert!(value(&table, 2, "hour_of_day").is_nan());
    assert_eq!(
        table.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "no column for `conversation_duration_seconds`, `entities_collected_count`, \
             `has_target_entity`, which the network always sends: treated as missing",
            "1 values are not numbers and count as missing: `hour_of_day` in row 2 is an object",
        ]
    );
}

#[test]
fn blank_lines_are_no_rows() {
    let folder = Folder::new();
    let rows = ["", "a,90,1.5,4,1,12,1,62.0", "", "b,90,1.5,4,1,12,0,-1", ""];
    let table = read(&folder.write("a.csv", csv(&rows).replace('\n', "\r\n")), STRICT).unwrap();
    assert_eq!(table.session_ids, [Some("a".to_owned()), Some("b".to_owned())]);
    assert_eq!(table.warnings, []);
}

/// Of conversations that barely began there is next to nothing to tell; they are rows all the same.
#[test]
fn rows_without_values_are_rows() {
    let folder = Folder::new();
    for (content, expected) in [
        (
            "test_pk,conversation_duration_seconds,message_ratio\np1,100,1.2\np2,,\np3,90,1.3\n",
            [1.2, f32::NAN, 1.3].as_slice(),
        ),
        ("hour_of_day,message_ratio\n,1\n,\n\n , \n,2", &[1.0, f32::NAN, f32::NAN, 2.0]),
        // All that a single column can say for nothing is a pair of quotes.
        ("message_ratio\n1\n\"\"\n\n2\n", &[1.0, f32::NAN, 2.0]),
        // A blank line within quotes is part of a cell.
        ("note,message_ratio\n\"a\n\n\nb\",1\n \t\n\"\n\",\n", &[1.0, f32::NAN]),
        ("\u{feff}message_ratio,note\r\n\r\n1,\"5\"\" tall\"\r\n,\r\n", &[1.0, f32::NAN]),
        ("message_ratio,note\n1,5\" tall\n2,x\n3,6\" tall\n", &[1.0, 2.0, 3.0]),
    ] {
        let table = read(&folder.write("a.csv", content), LabelMode::Ignored).unwrap();
        let bits = |values: &[f32]| -> Vec<u32> {
            values.iter().map(|v| if v.is_nan() { 0 } else { v.to_bits() }).collect()
        };
        let found: Vec<f32> =
            (0..table.len()).map(|row| value(&table, row, "message_ratio")).collect();
        assert_eq!(bits(&found), bits(expected), "{content:?}: {found:?}");
        assert!(
            !table.warnings.iter().any(|warning| matches!(warning, Warning::Unreadable { .. })),
            "{content:?}"
        );
    }
}

#[test]
fn ignored_labels_are_not_even_looked_at() {
    let folder = Folder::new();
    let path = folder.write("a.csv", csv(&["a,90,1.5,4,1,12,maybe,soon"]));
    let table = read(&path, LabelMode::Ignored).unwrap();
    assert_eq!((table.len(), table.truths), (1, None));
}

#[test]
fn parquet_columns_of_other_types() {
    let folder = Folder::new();
    let columns = vec![
        column("session_id", [7_i64, 8]),
        column("conversation_duration_seconds", [90.5_f32, 91.0]),
        column("message_ratio", ["1.5", "x"]),
        column("entities_collected_count", [4_i32, 5]),
        column("has_target_entity", [true, false]),
        column("hour_of_day", [None::<f64>, Some(3.0)]),
        Series::new_null("".into(), 2).into_column_named("day_of_week"),
        column("unknown", ["not", "read"]),
    ];
    let table = read(&folder.parquet("a.parquet", columns), LabelMode::Ignored).unwrap();
    assert_eq!(table.session_ids, [Some("7".to_owned()), Some("8".to_owned())]);
    assert_eq!(value(&table, 0, "conversation_duration_seconds"), 90.5);
    assert_eq!(value(&table, 0, "message_ratio"), 1.5);
    assert!(value(&table, 1, "message_ratio").is_nan());
    assert_eq!(value(&table, 1, "entities_collected_count"), 5.0);
    assert_eq!(value(&table, 0, "has_target_entity"), 1.0);
    assert!(value(&table, 0, "hour_of_day").is_nan());
    assert_eq!(value(&table, 1, "hour_of_day"), 3.0);
    assert!(value(&table, 0, "day_of_week").is_nan());
    assert_eq!(table.warnings.len(), 1);
}

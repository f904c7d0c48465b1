//! From files to a cache and back.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::features::Conversation;
use crate::features::scaler::Scaler;
use crate::features::table::{self, ExampleWriter, LabelMode, Table};
use crate::subnet::challenge::{Challenge, Example, NoisyRates};

/// A folder with tables in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, seed: u64, rows: usize) -> PathBuf {
        let path = self.0.path().join(name);
        let challenge = Challenge::Noisy(NoisyRates::default());
        let examples: Vec<Example> = challenge.examples(seed).take(rows).collect();
        let mut writer = ExampleWriter::create(&path).unwrap();
        writer.write(&examples).unwrap();
        writer.finish().unwrap();
        path
    }

    fn sources(&self) -> Sources {
        Sources::find(&[self.0.path().to_owned()]).unwrap()
    }

    fn caches(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path().join(".convminer-cache")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn options(folder: Option<&Path>) -> PrepareOptions {
    PrepareOptions { drop_invalid: false, folder: folder.map(Path::to_owned), scan_rows: 300 }
}

fn prepared(sources: &Sources) -> Prepared {
    prepare(sources, &options(None), &SystemClock, &mut |_| ()).unwrap()
}

fn rows(dataset: &Dataset) -> Vec<Row> {
    let mut buffer = Vec::new();
    let mut rows = Vec::new();
    for block in 0..dataset.blocks() {
        rows.extend(dataset.block(block, &mut buffer).unwrap().map(|(_, row)| row));
    }
    rows
}

fn bits(conversation: &Conversation) -> Vec<u32> {
    conversation.values.iter().map(|value| value.to_bits()).collect()
}

fn read(path: &Path) -> Table {
    table::read(path, LabelMode::Required { drop_invalid: false }).unwrap()
}

#[test]
fn files_become_one_table() {
    let folder = Folder::new();
    let files = [
        folder.write("a.parquet", 1, 1700),
        folder.write("b.csv", 2, 3),
        folder.write("c.ndjson", 3, 400),
    ];
    let mut seen = Vec::new();
    let sources = folder.sources();
    let mut observe = |rows| seen.push(rows);
    let prepared = prepare(&sources, &options(None), &SystemClock, &mut observe).unwrap();
    assert!(prepared.timings.is_some());
    assert_eq!(seen.last(), Some(&2103));

    let dataset = prepared.dataset;
    let tables: Vec<Table> = files.iter().map(|path| read(path)).collect();
    let conversations: Vec<&Conversation> =
        tables.iter().flat_map(|table| &table.conversations).collect();
    let truths: Vec<_> = tables.iter().flat_map(|table| table.truths.as_ref().unwrap()).collect();
    let rows = rows(&dataset);
    assert_eq!((dataset.rows(), rows.len()), (2103, 2103));
    assert_eq!(dataset.converted(), truths.iter().filter(|truth| truth.converted).count());
    for (row, (conversation, truth)) in rows.iter().zip(conversations.iter().zip(truths)) {
        assert_eq!(bits(&row.conversation()), bits(conversation));
        assert_eq!(row.truth().converted, truth.converted);
        assert!((row.truth().time_seconds - truth.time_seconds).abs() < 1e-4);
    }
    let of_files: Vec<usize> = dataset.sources().iter().map(|source| source.rows).collect();
    assert_eq!(of_files, [1700, 3, 400]);
    assert_eq!(dataset.sha256(), hash_sources(sources.files()).unwrap());
}

#[test]
fn a_cache_is_used_again_until_something_changes() {
    let folder = Folder::new();
    folder.write("a.parquet", 1, 1200);
    let path = folder.write("b.csv", 2, 30);
    let first = prepared(&folder.sources()).dataset;
    let again = prepared(&folder.sources());
    assert!(again.timings.is_none());
    assert!(rows(&again.dataset) == rows(&first));
    assert_eq!(folder.caches().len(), 1);

    // Another content of the same length and time takes the old cache's place.
    let text = fs::read_to_string(&path).unwrap();
    let modified = path.metadata().unwrap().modified().unwrap();
    let digit = text.rfind(|letter: char| letter.is_ascii_digit()).unwrap();
    let other = if &text[digit..=digit] == "1" { "2" } else { "1" };
    fs::write(&path, format!("{}{other}{}", &text[..digit], &text[digit + 1..])).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let changed = prepared(&folder.sources());
    assert!(changed.timings.is_some());
    assert_ne!(changed.dataset.sha256(), first.sha256());
    assert_eq!(folder.caches().len(), 1);

    // So does what reads the same content otherwise, beside it.
    let lenient = PrepareOptions { drop_invalid: true, ..options(None) };
    let lenient = prepare(&folder.sources(), &lenient, &SystemClock, &mut |_| ()).unwrap();
    assert!(lenient.timings.is_some());
    assert_eq!(folder.caches().len(), 2);
}

/// Writes to a source as soon as somebody looks at it: after the hashes were found to be others, and
/// before the rows are read.
#[derive(Debug)]
struct Meddler(PathBuf);

impl Clock for Meddler {
    fn now_ns(&self) -> u64 {
        let mut file = fs::File::options().append(true).open(&self.0).unwrap();
        std::io::Write::write_all(&mut file, b"\n").unwrap();
        0
    }
}

#[test]
fn what_is_written_between_hash_and_rows_is_seen() {
    let folder = Folder::new();
    let path = folder.write("a.csv", 1, 40);
    prepared(&folder.sources());
    let other = folder.write("a.csv", 2, 40);
    assert_eq!(path, other);
    let clock = Meddler(path.clone());
    let error = prepare(&folder.sources(), &options(None), &clock, &mut |_| ()).unwrap_err();
    assert!(matches!(error, DatasetError::Changed { .. }), "{error}");
    // The outdated cache was not kept beside the new one.
    assert_eq!(folder.caches().len(), 0);
}

#[test]
fn a_damaged_cache_is_made_anew() {
    let folder = Folder::new();
    folder.write("a.parquet", 1, 1200);
    let whole = rows(&prepared(&folder.sources()).dataset);
    let cache = folder.caches().remove(0);
    let bytes = fs::read(&cache).unwrap();
    fs::write(&cache, &bytes[..bytes.len() / 2]).unwrap();
    let again = prepared(&folder.sources());
    assert!(again.timings.is_some());
    assert!(rows(&again.dataset) == whole);

    // Within the rows it is the survey that sees it.
    let mut bytes = fs::read(&cache).unwrap();
    bytes[70_000] ^= 64;
    fs::write(&cache, bytes).unwrap();
    let damaged = prepared(&folder.sources());
    assert!(damaged.timings.is_none());
    let error = Survey::of(&damaged.dataset, survey_options(0.1, 100), &|_| ()).unwrap_err();
    assert!(matches!(error, DatasetError::Damaged { .. }), "{error}");
    damaged.dataset.remove().unwrap();
    assert!(rows(&prepared(&folder.sources()).dataset) == whole);
}

#[test]
fn wrong_tables_leave_nothing_behind() {
    let folder = Folder::new();
    folder.write("a.parquet", 1, 1200);
    let path = folder.0.path().join("b.csv");
    fs::write(&path, "message_ratio,conversion_happened\n1,0\n2,perhaps\n").unwrap();
    let error = prepare(&folder.sources(), &options(None), &SystemClock, &mut |_| ()).unwrap_err();
    let expected = "b.csv`: row 2: expected `conversion_happened`";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(folder.caches().len(), 0);

    // Where no folder can be.
    let taken = folder.0.path().join("a.parquet");
    let only = Sources::of_file(&taken);
    let error = prepare(&only, &options(Some(&taken)), &SystemClock, &mut |_| ()).unwrap_err();
    assert!(matches!(error, DatasetError::Cache { .. }), "{error}");
}

#[test]
fn warnings_name_their_files_and_are_kept() {
    let folder = Folder::new();
    folder.write("a.parquet", 1, 1200);
    let path = folder.0.path().join("b.csv");
    fs::write(&path, "total_messages,conversion_happened\nmany,0\n").unwrap();
    fs::write(folder.0.path().join("c.csv"), "total_messages,conversion_happened\n").unwrap();
    let first = prepared(&folder.sources()).dataset.warnings().to_vec();
    assert_eq!(first.len(), 3, "{first:?}");
    assert!(first[0].contains("b.csv`: no column for `conversation_duration_seconds`"));
    assert!(first[1].contains("b.csv`: 1 values are not numbers"));
    assert!(first[2].ends_with("c.csv`: no rows"));
    assert_eq!(prepared(&folder.sources()).dataset.warnings(), first);
}

fn survey_options(held_out_share: f64, sample_rows: usize) -> SurveyOptions {
    SurveyOptions { seed: 5, held_out_share, sample_rows }
}

/// Where the sample is the whole table, the scaler is the one of the table.
#[test]
fn statistics_are_those_of_the_table() {
    let folder = Folder::new();
    let path = folder.write("a.parquet", 1, 3000);
    let dataset = prepared(&folder.sources()).dataset;
    let table = read(&path);
    let survey = Survey::of(&dataset, survey_options(0.0, 3000), &|_| ()).unwrap();
    assert_eq!(survey.scaler, Scaler::fit(&table.conversations.iter().collect::<Vec<_>>()));
    assert_eq!((survey.training_rows, survey.sample.len()), (3000, 3000));
    assert!(survey.held_out.is_empty());
    assert_eq!(survey.training_converted, dataset.converted());

    // And without the held-out rows, that of the others.
    let survey = Survey::of(&dataset, survey_options(0.2, 3000), &|_| ()).unwrap();
    assert!((500..700).contains(&survey.held_out.len()), "{}", survey.held_out.len());
    assert_eq!(survey.training_rows + survey.held_out.len(), 3000);
    let is_held_out = |row: &usize| survey.held_out.numbers.binary_search(row).is_ok();
    let training: Vec<&Conversation> =
        (0..3000).filter(|row| !is_held_out(row)).map(|row| &table.conversations[row]).collect();
    assert_eq!(survey.scaler, Scaler::fit(&training));
}

#[test]
fn a_sample_is_as_large_as_asked_and_follows_from_the_seed() {
    let folder = Folder::new();
    folder.write("a.parquet", 1, 9000);
    let dataset = prepared(&folder.sources()).dataset;
    let survey = |seed| {
        let options = SurveyOptions { seed, ..survey_options(0.1, 1000) };
        Survey::of(&dataset, options, &|_| ()).unwrap()
    };
    let one = survey(1);
    // A thousand were drawn, of which a tenth is held out.
    assert!((800..1000).contains(&one.sample.len()), "{}", one.sample.len());
    let held_out = &one.held_out.numbers;
    assert!(one.sample.numbers.iter().all(|number| held_out.binary_search(number).is_err()));
    assert_eq!(survey(1).sample.numbers, one.sample.numbers);
    assert_ne!(survey(2).sample.numbers, one.sample.numbers);
    assert_ne!(survey(2).held_out.numbers, one.held_out.numbers);
}

/// Copies of a conversation stay on one side, but the conversation that most rows are does not.
#[test]
fn copies_are_together_and_kinds_are_not() {
    let folder = Folder::new();
    let path = folder.0.path().join("a.csv");
    let mut text = "total_messages,message_ratio,conversion_happened\n".to_owned();
    for row in 0..4000 {
        // Of five rows one is empty, and the others are copies: 800 conversations, four times.
        let number = if row % 5 == 0 { 0 } else { 1 + row % 5 + 5 * (row % 1000) };
        text.push_str(&format!("{number},1,0\n"));
    }
    fs::write(&path, text).unwrap();
    let dataset = prepared(&folder.sources()).dataset;
    let survey = Survey::of(&dataset, survey_options(0.1, 4000), &|_| ()).unwrap();
    let rows = rows(&dataset);
    let number = |row: usize| {
        rows[row].conversation().values[crate::subnet::schema::position("total_messages")]
    };
    let held_out = &survey.held_out.numbers;
    let (empty, copies): (Vec<usize>, Vec<usize>) =
        held_out.iter().partition(|row| number(**row) == 0.0);
    assert!((50..110).contains(&empty.len()), "{}", empty.len());
    assert!((200..440).contains(&copies.len()), "{}", copies.len());
    for row in 0..4000 {
        let is_held_out = held_out.binary_search(&row).is_ok();
        let twin_is = copies.iter().any(|other| number(*other) == number(row));
        assert!(number(row) == 0.0 || is_held_out == twin_is);
    }
}

//! Passes over a dataset, and training from them.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::clock::SystemClock;
use crate::dataset::{PrepareOptions, Sources, prepare};
use crate::features::table::ExampleWriter;
use crate::subnet::challenge::{Challenge, Example};
use crate::train::config::TrainConfig;
use crate::train::member::{Architecture, MemberConfig};
use crate::train::observer::Stage;

fn dataset(folder: &Path, rows: usize) -> Dataset {
    let path = folder.join("a.parquet");
    let examples: Vec<Example> = Challenge::Rule.examples(1).take(rows).collect();
    let mut writer = ExampleWriter::create(&path).unwrap();
    writer.write(&examples).unwrap();
    writer.finish().unwrap();
    let options = PrepareOptions { drop_invalid: false, folder: None, scan_rows: 1000 };
    prepare(&Sources::of_file(&path), &options, &SystemClock, &mut |_| ()).unwrap().dataset
}

fn survey(dataset: &Dataset) -> Survey {
    let options = SurveyOptions { seed: 3, held_out_share: 0.1, sample_rows: 1500 };
    Survey::of(dataset, options, &|_| ()).unwrap()
}

fn passes<'a>(
    dataset: &'a Dataset,
    survey: &'a Survey,
    selection: Selection,
    most: usize,
) -> Passes<'a> {
    let rows = match selection {
        Selection::All => survey.training_rows,
        Selection::Converted => survey.training_converted,
    };
    let chunks = chunks(rows, most).map(|rows| rows.len()).collect();
    let held_out = &survey.held_out.numbers;
    Passes { dataset, scaler: &survey.scaler, held_out, selection, chunks }
}

/// A row's inputs as bits, by which it is known.
type Bits = Vec<u32>;

fn bits(inputs: &[f32]) -> Bits {
    inputs.iter().map(|input| input.to_bits()).collect()
}

/// The rows of a pass in their order, and the sizes of its chunks.
fn pass(passes: &Passes<'_>, pass: usize, seed: u64) -> (Vec<Bits>, Vec<usize>) {
    let (mut rows, mut sizes) = (Vec::new(), Vec::new());
    let result = passes.visit(pass, seed, &mut |part| {
        assert_eq!(part.inputs.len(), part.len() * INPUT_COUNT);
        sizes.push(part.len());
        rows.extend(part.inputs.chunks(INPUT_COUNT).map(bits));
        ControlFlow::Continue(())
    });
    result.unwrap();
    (rows, sizes)
}

/// The rows that should be in a pass, one by one from the cache.
fn expected(passes: &Passes<'_>) -> BTreeSet<Bits> {
    let (mut buffer, mut expected) = (Vec::new(), BTreeSet::new());
    for block in 0..passes.dataset.blocks() {
        for (number, row) in passes.dataset.block(block, &mut buffer).unwrap() {
            let is_wanted = passes.selection == Selection::All || row.truth().converted;
            if is_wanted && !passes.held_out.contains(&number) {
                let scaled = passes.scaler.row(&row.conversation());
                assert!(expected.insert(bits(&scaled)), "rows are to be told apart");
            }
        }
    }
    expected
}

#[test]
fn every_row_once_a_pass_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 7777);
    let survey = survey(&dataset);
    for selection in [Selection::All, Selection::Converted] {
        // One chunk, several with a rest, and chunks smaller than a block.
        for most in [1 << 20, 3000, 500] {
            let passes = passes(&dataset, &survey, selection, most);
            let expected = expected(&passes);
            // Of ten passes some end with a row that is none of theirs.
            for number in 0..10 {
                let (rows, sizes) = pass(&passes, number, 5);
                assert_eq!(sizes, passes.chunk_rows());
                assert!(sizes.iter().all(|size| *size <= most && size * 2 > most.min(rows.len())));
                assert_eq!(rows.len(), expected.len());
                assert!(rows.into_iter().collect::<BTreeSet<_>>() == expected);
            }
        }
    }
}

#[test]
fn the_order_follows_from_seed_and_pass() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 9000);
    let survey = survey(&dataset);
    let passes = passes(&dataset, &survey, Selection::All, 3000);
    let (rows, _) = pass(&passes, 1, 5);
    assert!(pass(&passes, 1, 5).0 == rows);
    assert!(pass(&passes, 2, 5).0 != rows);
    assert!(pass(&passes, 1, 6).0 != rows);
}

#[test]
fn a_pass_can_be_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 5000);
    let survey = survey(&dataset);
    let passes = passes(&dataset, &survey, Selection::All, 500);
    let mut chunks = 0;
    let given_up = passes.visit(0, 5, &mut |_| {
        chunks += 1;
        ControlFlow::Break(())
    });
    assert!(given_up.is_ok());
    assert_eq!(chunks, 1);
}

#[test]
fn a_block_that_was_damaged_ends_the_pass() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 5000);
    let survey = survey(&dataset);
    let mut bytes = std::fs::read(dataset.path()).unwrap();
    bytes[300_000] ^= 1;
    std::fs::write(dataset.path(), bytes).unwrap();
    let passes = passes(&dataset, &survey, Selection::All, 500);
    let error = passes.visit(0, 5, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, StreamError(DatasetError::Damaged { .. })), "{error}");
}

#[test]
fn what_is_held_out_fits_into_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 10_000);
    let plan = |sample_rows| MemoryPlan { scan_rows: 1000, sample_rows, chunk_rows: 1000 };
    let config = TrainConfig { valid_fraction: Some(0.2), ..TrainConfig::default() };
    let (options, asked) = survey_options(&dataset, &config, &plan(5000));
    assert_eq!((options.held_out_share, options.sample_rows, asked), (0.2, 3000, None));
    let (options, asked) = survey_options(&dataset, &config, &plan(1000));
    assert_eq!((options.held_out_share, options.sample_rows, asked), (0.05, 500, Some(0.2)));
}

/// A large table would hold out a handful of rows only, by the rule for tables in memory.
#[test]
fn much_is_held_out_where_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 110_000);
    let plan = |sample_rows| MemoryPlan { scan_rows: 1000, sample_rows, chunk_rows: 1000 };
    let config = TrainConfig::default();
    let rarer = dataset.converted().min(110_000 - dataset.converted());
    assert!(config.held_out_share(rarer) * 110_000.0 < 10_000.0, "{rarer}");
    for (sample_rows, held_out) in [(200_000, 20_000.0), (30_000, 15_000.0)] {
        let (options, asked) = survey_options(&dataset, &config, &plan(sample_rows));
        assert!((options.held_out_share * 110_000.0 - held_out).abs() < 1e-6, "{options:?}");
        assert_eq!((options.sample_rows, asked), (sample_rows - held_out as usize, None));
    }
    // Who names a share gets it.
    let config = TrainConfig { valid_fraction: Some(0.05), ..config };
    let (options, _) = survey_options(&dataset, &config, &plan(200_000));
    assert_eq!(options.held_out_share, 0.05);
}

#[test]
fn nothing_held_out_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 2000);
    let options = SurveyOptions { seed: 3, held_out_share: 0.0, sample_rows: 1500 };
    let survey = Survey::of(&dataset, options, &|_| ()).unwrap();
    let streamed = Streamed { dataset: &dataset, survey: &survey, chunk_rows: 1000 };
    let config = TrainConfig::default();
    let result = train_streamed(streamed, &config, &Device::flex(), &mut (), None);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("no row was held out"), "{error}");
    assert!(error.contains("--valid-fraction"), "{error}");
}

/// Conversions that are so rare that the sample has none are learned from nevertheless.
#[test]
fn the_dataset_counts_and_not_its_sample() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 6000);
    let mut survey = survey(&dataset);
    let sample = &mut survey.sample;
    let kept: Vec<usize> = (0..sample.len()).filter(|row| !sample.truths[*row].converted).collect();
    sample.numbers = kept.iter().map(|row| sample.numbers[*row]).collect();
    sample.conversations = kept.iter().map(|row| sample.conversations[*row].clone()).collect();
    sample.truths = kept.iter().map(|row| sample.truths[*row]).collect();
    let config = TrainConfig {
        classifier: quick(Stage::Classifier),
        regressor: quick(Stage::Regressor),
        ..TrainConfig::default()
    };
    let streamed = Streamed { dataset: &dataset, survey: &survey, chunk_rows: 3000 };
    let trained = train_streamed(streamed, &config, &Device::flex(), &mut (), None).unwrap();
    let stages: Vec<Stage> = trained.trained.stages.iter().map(|report| report.stage).collect();
    assert_eq!(stages, [Stage::Classifier, Stage::Regressor]);
    assert!(trained.trained.evaluation.miner.accuracy > 0.85);
}

/// The guide's network, small and quick.
fn quick(stage: Stage) -> Vec<MemberConfig> {
    let member = MemberConfig::new(stage, Architecture::Mlp);
    vec![MemberConfig { epochs: 6, least_steps: 0, batch_size: 128, ..member }]
}

#[test]
fn a_stream_teaches_and_gives_the_same_weights_again() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 12_000);
    let config = TrainConfig {
        classifier: quick(Stage::Classifier),
        regressor: quick(Stage::Regressor),
        ..TrainConfig::default()
    };
    let plan = MemoryPlan { scan_rows: 1000, sample_rows: 3000, chunk_rows: 4000 };
    let train = || {
        let (options, _) = survey_options(&dataset, &config, &plan);
        let survey = Survey::of(&dataset, options, &|_| ()).unwrap();
        let streamed = Streamed { dataset: &dataset, survey: &survey, chunk_rows: plan.chunk_rows };
        train_streamed(streamed, &config, &Device::flex(), &mut (), None).unwrap()
    };
    let StreamTrained { trained, conversations, truths } = train();
    assert_eq!(conversations.len(), truths.len());
    assert!(truths.len() < 4500, "only a sample and the held-out rows are in memory");
    let rows: Vec<usize> = trained.stages.iter().map(|stage| stage.rows).collect();
    let held_out = trained.held_out.rows.len();
    assert_eq!(rows[0], 12_000 - held_out);
    let accuracy = trained.evaluation.miner.accuracy;
    assert!(accuracy > 0.93, "{accuracy}");

    let again = train().trained;
    let said = |trained: &Trained| trained.predictor.estimate(&conversations[..500]);
    assert_eq!(said(&again), said(&trained));
    assert_eq!(again.held_out, trained.held_out);
}

#[test]
fn folds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 2000);
    let survey = survey(&dataset);
    let config = TrainConfig { folds: 5, ..TrainConfig::default() };
    let streamed = Streamed { dataset: &dataset, survey: &survey, chunk_rows: 1000 };
    let result = train_streamed(streamed, &config, &Device::flex(), &mut (), None);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("5 folds need all rows in memory"), "{error}");
}

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
            for number in 0..2 {
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
        struct Dbg;
        impl Observer for Dbg { fn epoch_ended(&mut self, s: Stage, e: &crate::train::observer::Epoch) { assert!(e.validation.is_finite(), "{s} {e:?}"); } }
        train_streamed(streamed, &config, &Device::flex(), &mut Dbg, None).unwrap()
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

#[test]
fn dbg_learner() {
    use crate::train::{learner, objective::Objective, config::TimeLoss, weights};
    use crate::model::networks::piecewise::Bins;
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path(), 12_000);
    let survey = survey(&dataset);
    let passes = passes(&dataset, &survey, Selection::Converted, 4000);
    let config = &quick(Stage::Regressor)[0];
    let device = Device::flex();
    for most in [3000, 1 << 20] {
    let start = config.network(1, 0).init(&Bins::default(), &device);
    let objective = Objective::Regressor { loss: TimeLoss::L1, unit_seconds: 70.0 };
    let mut learner = learner::learner(start, objective, config, false, &device);
    let mut told = String::new();
    let passes = Passes { chunks: chunks(passes.chunks.iter().sum(), most).map(|r| r.len()).collect(), ..passes_of(&passes) };
    let mut steps = 0;
    for pass in 0..2 {
        passes.visit(pass, 1, &mut |part| {
            learner.load(&part);
            let rows = part.len();
            let mut random = ChaCha8Rng::seed_from_u64(5);
            let mut order: Vec<u32> = (0..rows as u32).collect();
            order.shuffle(&mut random);
            learner.begin(order, 77);
            let batches = (rows + 64) / 128;
            for batch in 0..batches {
                learner.step(batch * rows / batches..(batch + 1) * rows / batches, 0.001);
                steps += 1;
            }
            ControlFlow::Continue(())
        }).unwrap();
        told += &format!("rows {steps} loss {}\n", learner.take_loss());
        let network = learner.network();
        let numbers = weights::of(&network);
        told += &format!("rows weights bad {} of {}\n", numbers.iter().filter(|x| !x.is_finite()).count(), numbers.len());
        let table = Part::new(&survey.scaler, &survey.held_out.conversations, &survey.held_out.truths).converted();
        let inputs = burn::tensor::Tensor::<2>::from_data(burn::tensor::TensorData::new(table.inputs.clone(), [table.len(), INPUT_COUNT]), &device);
        let said = crate::model::networks::floats(network.forward(inputs).flatten::<1>(0, 2));
        told += &format!("rows held out {} inputs bad {} said bad {} times bad {}\n", table.len(), table.inputs.iter().filter(|x| !x.is_finite()).count(), said.iter().filter(|x| !x.is_finite()).count(), table.truths.iter().filter(|x| !x.time_seconds.is_finite()).count());
    }
    eprintln!("{told}");
    }
    panic!("see");
}

fn passes_of<'a>(p: &Passes<'a>) -> Passes<'a> {
    Passes { dataset: p.dataset, scaler: p.scaler, held_out: p.held_out, selection: p.selection, chunks: Vec::new() }
}

use std::sync::{MutexGuard, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::features::engineer::INPUT_COUNT;
use crate::model::networks::floats;
use crate::model::networks::mixture::MixtureConfig;
use crate::model::networks::mlp::MlpConfig;
use crate::model::networks::piecewise::Bins;
use crate::model::networks::tabular::TabularConfig;
use crate::subnet::reward::Truth;
use crate::train::autodiff::Autodiff;
use crate::train::config::{ClassifierLoss, RewardLossConfig, TimeLoss};
use crate::train::data::Part;
use crate::train::member::Architecture;
use crate::train::observer::Stage;
use crate::train::{ONE_AT_A_TIME, weights};

const ROWS: usize = 300;

/// Burn has one generator a process, and other tests want theirs undisturbed.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rows that are alike in nothing, and truths that follow from them.
fn part() -> Part {
    let mut bits = 1_u64;
    let mut next = || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let inputs: Vec<f32> = (0..ROWS * INPUT_COUNT).map(|_| 1.7 * next()).collect();
    let truth = |row: &[f32]| Truth {
        converted: row[0] + row[1] * row[2] > 0.2,
        time_seconds: f64::from(40.0 + 20.0 * row[3]),
    };
    Part { truths: inputs.chunks_exact(INPUT_COUNT).map(truth).collect(), inputs }
}

fn classifier(loss: ClassifierLoss) -> Objective {
    Objective::Classifier { loss, reward: RewardLossConfig::default(), label_smoothing: 0.1 }
}

fn regressor(loss: TimeLoss) -> Objective {
    Objective::Regressor { loss, unit_seconds: 37.0 }
}

fn mlp(outputs: usize, dropout: f64) -> Network {
    let config = MlpConfig::new(INPUT_COUNT).with_outputs(outputs).with_dropout(dropout);
    // Not whole panels.
    let config = config.with_first_units(72).with_second_units(36);
    Network::Mlp(config.init(&Device::flex()))
}

/// Some bins of every third input, not whole panels.
fn bins() -> Bins {
    let mut bins = Bins::default();
    for column in (0..INPUT_COUNT as i32).step_by(3) {
        for (lower, inverse) in [(-1.0, 1.0), (0.0, 2.0), (0.4, 50.0)] {
            bins.columns.push(column);
            bins.lower.push(lower);
            bins.inverse_width.push(inverse);
        }
    }
    bins
}

fn tabular(outputs: usize, packed: usize, dropout: f64) -> Network {
    let bins = if packed > 1 { bins() } else { Bins::default() };
    let config = TabularConfig::new(INPUT_COUNT).with_bins(bins.len()).with_outputs(outputs);
    let config = config.with_packed(packed).with_units(36).with_layers(3).with_dropout(dropout);
    Network::Tabular(config.init(&bins, &Device::flex()))
}

fn mixture(outputs: usize, dropout: f64) -> Network {
    let bins = bins();
    let config = MixtureConfig::new(INPUT_COUNT).with_bins(bins.len()).with_outputs(outputs);
    let config = config.with_packed(3).with_components(11).with_dropout(dropout);
    Network::Mixture(config.init(&bins, &Device::flex()))
}

/// One of each kind.
fn starts() -> [Network; 4] {
    [mlp(1, 0.3), tabular(1, 1, 0.1), tabular(1, 2, 0.2), mixture(1, 0.1)]
}

fn member() -> MemberConfig {
    MemberConfig {
        weight_decay: 0.3,
        gradient_clip: 0.2,
        gate_penalty: 0.1,
        ..MemberConfig::new(Stage::Classifier, Architecture::Mlp)
    }
}

fn native(start: &Network, objective: &Objective, threads: usize) -> Box<dyn Learner> {
    let learner = learner(start.clone(), objective, &member(), false, threads);
    learner.unwrap_or_else(|_| panic!("the CPU trains it"))
}

/// Steps on batches of a size, from a place in the order.
fn steps(learner: &mut dyn Learner, batch: usize, steps: std::ops::Range<usize>) {
    for step in steps {
        let start = (step * batch) % (ROWS - batch + 1);
        learner.step(start..start + batch, 0.01);
    }
}

fn order() -> Vec<u32> {
    // 7 and 300 have no common divisor.
    (0..ROWS as u32).map(|row| row * 7 % ROWS as u32).collect()
}

fn begin(learner: &mut dyn Learner) {
    learner.load(&part());
    learner.begin(order(), 5);
}

/// Steps as Burn's autodiff takes them.
fn assert_as_burn(start: &Network, objective: &Objective, batch: usize) {
    let burn = Autodiff::new(start.clone(), objective.clone(), &member(), false, &Device::flex());
    let mut learners: [Box<dyn Learner>; 2] = [native(start, objective, 2), Box::new(burn)];
    let [(mine, loss), (burns, burns_loss)] = learners.each_mut().map(|learner| {
        begin(learner.as_mut());
        steps(learner.as_mut(), batch, 0..4);
        (Fields::of(&learner.network()).floats, learner.take_loss())
    });
    assert!((loss - burns_loss).abs() < 1e-4 * burns_loss.abs(), "{loss}, {burns_loss}");
    for (mine, burns) in mine.iter().zip(&burns) {
        if mine.name.ends_with("first.bias") || mine.name.ends_with("running_mean") {
            // The bias's gradient is zero but for rounding, by which Adam moves it in Burn, and the
            // mean with it.
            continue;
        }
        let apart = mine.values.iter().zip(&burns.values).map(|(mine, burns)| (mine - burns).abs());
        let apart = apart.fold(0.0_f32, f32::max);
        // Adam magnifies rounding where a gradient is nearly nothing.
        assert!(apart < 3e-4, "{}: {apart} apart for {objective:?} at {batch}", mine.name);
    }
}

#[test]
fn steps_are_burns() {
    let _alone = alone();
    for batch in [8, 33, 100, 257] {
        assert_as_burn(&mlp(1, 0.0), &classifier(ClassifierLoss::Bce), batch);
    }
    assert_as_burn(&mlp(2, 0.0), &classifier(ClassifierLoss::Reward), 64);
    for loss in [TimeLoss::L1, TimeLoss::Huber, TimeLoss::Mse] {
        assert_as_burn(&mlp(1, 0.0), &regressor(loss), 64);
    }
}

#[test]
fn steps_of_tabular_networks_are_burns() {
    let _alone = alone();
    for batch in [8, 33, 200] {
        assert_as_burn(&tabular(1, 2, 0.0), &classifier(ClassifierLoss::Bce), batch);
    }
    assert_as_burn(&tabular(2, 3, 0.0), &classifier(ClassifierLoss::Reward), 64);
    for loss in [TimeLoss::L1, TimeLoss::Huber, TimeLoss::Mse] {
        assert_as_burn(&tabular(1, 1, 0.0), &regressor(loss), 64);
    }
}

#[test]
fn steps_of_mixtures_are_burns() {
    let _alone = alone();
    for batch in [8, 33, 200] {
        assert_as_burn(&mixture(1, 0.0), &classifier(ClassifierLoss::Bce), batch);
    }
    assert_as_burn(&mixture(2, 0.0), &classifier(ClassifierLoss::Reward), 64);
    assert_as_burn(&mixture(1, 0.0), &regressor(TimeLoss::L1), 64);
}

#[test]
fn frozen_gates_stay_and_others_close() {
    let _alone = alone();
    for start in [tabular(1, 2, 0.0), mixture(1, 0.0)] {
        let gates = |frozen| {
            let config = MemberConfig { gate_penalty: 10.0, ..member() };
            let objective = classifier(ClassifierLoss::Bce);
            let learner = learner(start.clone(), &objective, &config, frozen, 2);
            let mut learner = learner.unwrap_or_else(|_| panic!("the CPU trains it"));
            begin(learner.as_mut());
            steps(learner.as_mut(), 100, 0..3);
            let state = learner.state();
            learner.restore(&state).unwrap();
            weights::of(&learner.network())[..INPUT_COUNT].to_vec()
        };
        assert_eq!(gates(false), [0.0; INPUT_COUNT]);
        assert_eq!(gates(true), [0.05; INPUT_COUNT]);
    }
}

#[test]
fn the_running_mean_is_burns() {
    let _alone = alone();
    let (start, objective) = (mlp(1, 0.0), classifier(ClassifierLoss::Bce));
    let mut mine = native(&start, &objective, 2);
    let mut burns = Autodiff::new(start, objective, &member(), false, &Device::flex());
    let [mine, burns] = [mine.as_mut(), &mut burns].map(|learner| {
        begin(learner);
        steps(learner, 100, 0..1);
        Fields::of(&learner.network()).floats.swap_remove(4)
    });
    assert!(mine.name.ends_with("running_mean"), "{}", mine.name);
    for (mine, burns) in mine.values.iter().zip(&burns.values) {
        assert!((mine - burns).abs() < 1e-6, "{mine}, {burns}");
    }
}

#[test]
fn threads_do_not_count() {
    let _alone = alone();
    for start in starts() {
        for batch in [1, 7, 33, 64, 200, 299] {
            let bits = |threads| {
                let mut learner = native(&start, &classifier(ClassifierLoss::Bce), threads);
                begin(learner.as_mut());
                steps(learner.as_mut(), batch, 0..5);
                (learner.state(), learner.take_loss())
            };
            let one = bits(1);
            assert!(one.1.is_finite());
            for threads in [2, 3] {
                assert!(bits(threads) == one, "{threads} threads, {batch} rows");
            }
        }
    }
}

#[test]
fn what_was_trained_says_numbers_and_better_ones() {
    let _alone = alone();
    let part = part();
    let inputs = TensorData::new(part.inputs.clone(), [ROWS, INPUT_COUNT]);
    let inputs = Tensor::<2>::from_data(inputs, &Device::flex());
    for start in starts() {
        for objective in [classifier(ClassifierLoss::Bce), regressor(TimeLoss::L1)] {
            let mut learner = native(&start, &objective, 2);
            let of = |network: &Network| {
                let (converted, times) = part.targets(objective.unit_seconds());
                let [converted, times] = [converted, times]
                    .map(|values| Tensor::<1>::from_floats(values.as_slice(), &Device::flex()));
                floats(objective.of(network, inputs.clone(), converted, times))[0]
            };
            let before = of(&learner.network());
            begin(learner.as_mut());
            steps(learner.as_mut(), 50, 0..100);
            let after = of(&learner.network());
            assert!(after < 0.7 * before, "{before} became {after} for {objective:?}");
        }
    }
}

#[test]
fn a_batch_of_one_row_is_no_trap() {
    let _alone = alone();
    for start in starts() {
        let mut learner = native(&start, &classifier(ClassifierLoss::Bce), 2);
        begin(learner.as_mut());
        steps(learner.as_mut(), 1, 0..20);
        assert!(weights::of(&learner.network()).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn goes_on_from_its_state() {
    let _alone = alone();
    let objective = classifier(ClassifierLoss::Bce);
    // The same shapes, but other numbers.
    for (start, blank) in starts().into_iter().zip(starts()) {
        let mut whole = native(&start, &objective, 2);
        begin(whole.as_mut());
        steps(whole.as_mut(), 50, 0..5);
        let state = whole.state();
        whole.begin(order(), 6);
        steps(whole.as_mut(), 50, 5..9);

        let mut other = native(&blank, &objective, 1);
        other.load(&part());
        other.restore(&state).unwrap();
        other.begin(order(), 6);
        steps(other.as_mut(), 50, 5..9);
        // The borders of bins are no parameters, but equal here.
        assert!(whole.state() == other.state());
        assert!(weights::of(&whole.network()) == weights::of(&other.network()));
        let error = other.restore(&state[1..]).unwrap_err();
        assert_eq!((error.expected, error.found), (state.len(), state.len() - 1));
    }
}

#[test]
fn the_seed_of_the_pass_decides_what_is_dropped() {
    let _alone = alone();
    for start in starts() {
        let after = |seed| {
            let mut learner = native(&start, &classifier(ClassifierLoss::Bce), 2);
            learner.load(&part());
            learner.begin(order(), seed);
            steps(learner.as_mut(), 64, 0..3);
            weights::of(&learner.network())
        };
        let (one, again, other) = (after(1), after(1), after(2));
        let apart = one.iter().zip(&again).position(|(one, again)| one != again);
        assert_eq!(apart, None, "{start:?}");
        assert!(one != other);
    }
}

#[test]
fn what_it_was_given_comes_back() {
    let _alone = alone();
    for start in starts() {
        let learner = native(&start, &classifier(ClassifierLoss::Bce), 1);
        assert_eq!(weights::of(&learner.network()), weights::of(&start));
    }
}

use super::*;
use crate::model::Model as _;
use crate::model::calibration::{Calibration, Temperature};
use crate::model::ensemble::Ensemble;
use crate::subnet::challenge::{Challenge, Features, NoisyRates};
use crate::subnet::reward::RewardSpec;
use crate::subnet::schema::index_of;
use crate::train::evaluation::evaluate;
use crate::train::member::{Architecture, MemberConfig};
use crate::train::train;

type Rows = (Vec<Conversation>, Vec<Truth>);

/// Generated conversations, with what a rule of their features makes of their truths.
fn rows(
    challenge: Challenge,
    count: usize,
    seed: u64,
    rule: fn(&Features, Truth) -> Truth,
) -> Rows {
    let examples = challenge.examples(seed).take(count);
    let row = |example: crate::subnet::challenge::Example| {
        let mut conversation = Conversation::EMPTY;
        for (index, value) in example.features.iter().enumerate() {
            conversation.set(index, *value);
        }
        (conversation, rule(&example.features, example.truth))
    };
    examples.map(row).unzip()
}

fn old_rule(_: &Features, truth: Truth) -> Truth {
    truth
}

/// Another rule of other features, and other times.
fn new_rule(features: &Features, _: Truth) -> Truth {
    let value = |name| features[index_of(name).unwrap()];
    let is_late = value("entities_collected_count") <= 3.0 && value("hour_of_day") > 12.0;
    if is_late || value("message_ratio") < 1.15 {
        Truth::converted_after(0.5 * value("conversation_duration_seconds") + 20.0)
    } else {
        Truth::not_converted()
    }
}

fn labelled(rows: &Rows) -> Labelled<'_> {
    Labelled { conversations: &rows.0, truths: &rows.1 }
}

fn reward_of(predictor: &Predictor, rows: &Rows) -> f64 {
    evaluate(predictor, &rows.0, &rows.1, &RewardSpec::MAIN).unwrap().miner.mean_reward
}

/// Trained quickly, on the rows that are its sample later.
fn champion(rows: &Rows) -> Predictor {
    let quick = |stage, architecture| MemberConfig {
        epochs: 8,
        least_steps: 400,
        ..MemberConfig::new(stage, architecture)
    };
    let config = TrainConfig {
        folds: 1,
        classifier: vec![
            quick(Stage::Classifier, Architecture::Mixture),
            quick(Stage::Classifier, Architecture::Tabular),
        ],
        regressor: vec![quick(Stage::Regressor, Architecture::Tabular)],
        ..TrainConfig::default()
    };
    train(&rows.0, &rows.1, &config, &Device::flex(), &mut ()).unwrap().predictor
}

fn tuned(champion: &Predictor, old: &Rows, new: &Rows) -> FineTuned {
    let config = FineTuneConfig::default();
    fine_tune(champion, labelled(old), labelled(new), &config, &Device::flex(), &mut ()).unwrap()
}

#[test]
fn another_rule_is_learned_and_the_same_one_is_not_forgotten() {
    let old = rows(Challenge::Rule, 1500, 1, old_rule);
    let champion = champion(&old);
    // The best possible is 0.618, and 0.606 by the other rule.
    let test = rows(Challenge::Rule, 2000, 99, old_rule);
    let before = reward_of(&champion, &test);
    assert!(before > 0.57, "{before}");

    let same = tuned(&champion, &old, &rows(Challenge::Rule, 600, 7, old_rule));
    let after = reward_of(&same.predictor, &test);
    assert!(after > before - 0.005, "{before} became {after}");

    let changed = rows(Challenge::Rule, 2000, 99, new_rule);
    let before = reward_of(&champion, &changed);
    let other = tuned(&champion, &old, &rows(Challenge::Rule, 1000, 7, new_rule));
    let after = reward_of(&other.predictor, &changed);
    assert!(before < 0.4 && after > 0.58, "{before} became {after}: {:?}", other.trials);
    assert_eq!((other.class, other.time), (Way::Fresh, Way::Fresh));
    assert!((other.evaluation.miner.mean_reward - after).abs() < 0.03, "{:?}", other.evaluation);
    let held_out = &other.held_out.rows;
    assert!((299..=301).contains(&held_out.len()), "{}", held_out.len());
    // It goes on from what it is by then.
    let again = tuned(&other.predictor, &old, &rows(Challenge::Rule, 600, 8, new_rule));
    assert!(reward_of(&again.predictor, &changed) > after - 0.01, "{:?}", again.trials);
}

#[test]
fn noise_is_not_learned_by_heart() {
    let noisy = Challenge::Noisy(NoisyRates::default());
    let old = rows(noisy, 1500, 1, old_rule);
    let champion = champion(&old);
    let test = rows(noisy, 4000, 99, old_rule);
    let before = reward_of(&champion, &test);
    for count in [100, 800] {
        let after =
            reward_of(&tuned(&champion, &old, &rows(noisy, count, 7, old_rule)).predictor, &test);
        assert!(after > before - 0.015, "{before} became {after} by {count} rows");
    }
}

#[test]
fn the_seed_decides_and_the_champion_stays() {
    let old = rows(Challenge::Rule, 600, 1, old_rule);
    let champion = champion(&old);
    let weights = |predictor: &Predictor| {
        predictor.ensemble.as_ref().unwrap().networks().to_safetensors().unwrap()
    };
    let before = weights(&champion);
    let new = rows(Challenge::Rule, 200, 7, new_rule);
    let (one, same) = (tuned(&champion, &old, &new), tuned(&champion, &old, &new));
    assert_eq!(weights(&one.predictor), weights(&same.predictor));
    assert_eq!(one.evaluation, same.evaluation);
    assert_eq!(weights(&champion), before);
    let config = FineTuneConfig { seed: 8, ..FineTuneConfig::default() };
    let device = Device::flex();
    let other = fine_tune(&champion, labelled(&old), labelled(&new), &config, &device, &mut ());
    assert_ne!(weights(&one.predictor), weights(&other.unwrap().predictor));
}

#[test]
fn times_that_nobody_knows_are_not_learned() {
    let old = rows(Challenge::Rule, 600, 1, old_rule);
    let champion = champion(&old);
    let mut new = rows(Challenge::Rule, 300, 7, new_rule);
    for truth in new.1.iter_mut().filter(|truth| truth.converted) {
        truth.time_seconds = f64::NAN;
    }
    let found = tuned(&champion, &old, &new);
    assert_eq!(found.time, Way::Unchanged);
    assert_eq!(found.predictor.decision, champion.decision);
    assert!(found.evaluation.miner.mean_reward.is_finite());
    assert!(found.evaluation.miner.log_loss < 1.0, "{:?}", found.evaluation);
    assert!(found.predictor.predict(&new.0).iter().all(|answer| answer.check().is_ok()));
}

/// What is reported is what is saved, also where too few rows are held out to calibrate on.
#[test]
fn the_champions_calibration_is_measured_with() {
    let old = rows(Challenge::Rule, 600, 1, old_rule);
    let mut champion = champion(&old);
    champion.calibration = Calibration::Temperature(Temperature { temperature: 3.0 });
    let new = rows(Challenge::Rule, 40, 7, old_rule);
    // Networks that do not move are no better than the champion's.
    let config = FineTuneConfig { rate_share: 0.0, ..FineTuneConfig::default() };
    let (device, labels) = (Device::flex(), (labelled(&old), labelled(&new)));
    let found = fine_tune(&champion, labels.0, labels.1, &config, &device, &mut ()).unwrap();
    assert_eq!(found.class, Way::Unchanged, "{:?}", found.trials);
    assert_eq!(found.predictor.calibration, champion.calibration);
    let HeldOutRows { rows, estimates, confidences, .. } = &found.held_out;
    let mut losses = Vec::new();
    for ((row, estimate), confidence) in rows.iter().zip(estimates).zip(confidences) {
        // A temperature of 3 is the third root of the odds.
        let odds = (estimate.probability / (1.0 - estimate.probability)).cbrt();
        let expected = odds / (1.0 + odds);
        assert!((confidence - expected).abs() < 1e-6, "{confidence} {expected}");
        let of_truth = if new.1[*row].converted { expected } else { 1.0 - expected };
        losses.push(-of_truth.ln());
    }
    let expected = losses.iter().sum::<f64>() / losses.len() as f64;
    let reported = found.evaluation.miner.log_loss;
    assert!((reported - expected).abs() < 1e-5, "{reported} {expected}");
}

#[test]
fn a_champion_that_says_no_number_is_replaced() {
    let old = rows(Challenge::Rule, 600, 1, old_rule);
    let mut champion = champion(&old);
    let device = Device::flex();
    champion.ensemble = champion.ensemble.map(|ensemble| {
        let mut config = ensemble.config().clone();
        let members = config.classifiers.iter_mut().chain(&mut config.regressors);
        members.for_each(|member| member.weight = f32::NAN);
        Ensemble::new(ensemble.networks().clone(), config, &device)
    });
    let found = tuned(&champion, &old, &rows(Challenge::Rule, 600, 7, old_rule));
    assert_eq!((found.class, found.time), (Way::Fresh, Way::Fresh), "{:?}", found.trials);
    let unchanged = found.trials.iter().filter(|trial| trial.way == Way::Unchanged);
    assert_eq!(unchanged.map(|trial| trial.metric).collect::<Vec<_>>(), [f64::INFINITY; 2]);
    assert!(found.held_out.estimates.iter().all(|estimate| !estimate.fallback));
}

#[test]
fn a_miner_without_networks_learns_on_too() {
    let old = rows(Challenge::Rule, 12, 1, old_rule);
    let champion =
        train(&old.0, &old.1, &TrainConfig::default(), &Device::flex(), &mut ()).unwrap().predictor;
    assert!(champion.ensemble.is_none());
    let found = tuned(&champion, &old, &rows(Challenge::Rule, 400, 7, old_rule));
    assert_eq!(found.class, Way::Fresh);
    let test = rows(Challenge::Rule, 1000, 99, old_rule);
    assert!(reward_of(&found.predictor, &test) > reward_of(&champion, &test) + 0.1);
}

#[test]
fn one_class_or_few_rows_are_refused() {
    let old = rows(Challenge::Rule, 60, 1, old_rule);
    let champion = champion(&old);
    let refused = |new: &Rows| {
        let config = FineTuneConfig::default();
        let device = Device::flex();
        fine_tune(&champion, labelled(&old), labelled(new), &config, &device, &mut ()).unwrap_err()
    };
    let never = rows(Challenge::Rule, 200, 7, |_, _| Truth::not_converted());
    assert!(matches!(refused(&never), TrainError::OneClass));
    let few = rows(Challenge::Rule, 9, 7, old_rule);
    assert!(matches!(refused(&few), TrainError::TooFewRows(9)));
}

use std::fs;
use std::io::Write as _;
use std::path::Path;

use burn::tensor::Device;
use tempfile::TempDir;

use super::*;
use crate::clock::{DAY_NS, Moment};
use crate::features::Conversation;
use crate::journal::Record;
use crate::learn::drift::Measure;
use crate::model::checkpoint::{Change, Manifest, TrainingSample};
use crate::outcomes::{self, Outcome as Known};
use crate::subnet::challenge::{Challenge, Features};
use crate::subnet::reward::Truth;
use crate::subnet::schema::index_of;
use crate::train::evaluation::evaluate;
use crate::train::member::{Architecture, MemberConfig};
use crate::train::observer::Stage;
use crate::train::{TrainConfig, train};

const HOUR_NS: u64 = 3600 * SECOND_NS;
const START_NS: u64 = 1_795_305_600 * SECOND_NS;

type Rule = fn(&Features, Truth) -> Truth;

fn old_rule(_: &Features, truth: Truth) -> Truth {
    truth
}

fn new_rule(features: &Features, _: Truth) -> Truth {
    let value = |name| features[index_of(name).unwrap()];
    let is_late = value("entities_collected_count") <= 3.0 && value("hour_of_day") > 12.0;
    if is_late || value("message_ratio") < 1.15 {
        Truth::converted_after(0.5 * value("conversation_duration_seconds") + 20.0)
    } else {
        Truth::not_converted()
    }
}

fn flipped(features: &Features, truth: Truth) -> Truth {
    if truth.converted { Truth::not_converted() } else { Truth::converted_after(0.7 * features[0]) }
}

fn untimed(_: &Features, truth: Truth) -> Truth {
    if truth.converted { Truth::converted_after(f64::NAN) } else { truth }
}

/// A miner's folders, and a validator that asks eight times an hour and tells the truth at once.
struct World {
    _root: TempDir,
    folders: Folders,
    now_ns: u64,
    asked: u64,
}

fn row(features: &Features, truth: Truth) -> (Conversation, Truth) {
    let mut conversation = Conversation::EMPTY;
    for (index, value) in features.iter().enumerate() {
        conversation.set(index, *value);
    }
    (conversation, truth)
}

impl World {
    /// With a champion that was trained on rule conversations.
    fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let folders = Folders {
            checkpoints: at("checkpoints"),
            journal: at("journal"),
            outcomes: at("outcomes"),
            state: at("state"),
        };
        fs::create_dir_all(&folders.journal).unwrap();
        let quick = |stage, architecture| MemberConfig {
            epochs: 8,
            least_steps: 400,
            ..MemberConfig::new(stage, architecture)
        };
        let config = TrainConfig {
            folds: 1,
            classifier: vec![quick(Stage::Classifier, Architecture::Mixture)],
            regressor: vec![quick(Stage::Regressor, Architecture::Tabular)],
            ..TrainConfig::default()
        };
        let examples = Challenge::Rule.examples(1).take(1500);
        let (conversations, truths): (Vec<_>, Vec<_>) =
            examples.map(|example| row(&example.features, example.truth)).unzip();
        let trained = train(&conversations, &truths, &config, &Device::flex(), &mut ()).unwrap();
        let manifest = Manifest {
            metrics: serde_json::to_value(&trained.evaluation).unwrap(),
            ..Manifest::of(&trained.predictor)
        };
        let path = folders.checkpoints.join("first");
        let sample = TrainingSample { conversations, truths };
        checkpoint::save_with_sample(&path, &trained.predictor, manifest, &sample).unwrap();
        checkpoint::set_latest(&path).unwrap();
        World { _root: root, folders, now_ns: START_NS, asked: 0 }
    }

    /// A day passes.
    fn day(&mut self, rule: Rule) {
        for hour in 0..24 {
            let at = self.now_ns + hour * HOUR_NS;
            self.ask(at, 8, rule);
        }
        self.now_ns += DAY_NS;
    }

    fn ask(&mut self, at_ns: u64, count: usize, rule: Rule) {
        let day = Moment::of_ns(at_ns).date();
        let path = self.folders.journal.join(format!("{day}.jsonl"));
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let mut known = Vec::new();
        for (index, example) in Challenge::Rule.examples(100 + self.asked).take(count).enumerate() {
            let (features, truth) = row(&example.features, rule(&example.features, example.truth));
            let time_ns = at_ns + index as u64;
            // Of no checkpoint, so that what each says is computed.
            let checkpoint = String::new();
            let sample = Record::sample(&example.session_id, time_ns);
            let record = Record { features, checkpoint, ..sample };
            writeln!(file, "{}", serde_json::to_string(&record).unwrap()).unwrap();
            known.push(Known {
                id: example.session_id,
                also: None,
                converted: truth.converted,
                time_seconds: truth.converted.then_some(truth.time_seconds),
                known_ns: time_ns,
                source: "test".to_owned(),
            });
        }
        outcomes::append(&self.folders.outcomes, known, at_ns).unwrap();
        self.asked += 1;
    }

    fn step(&self) -> Step {
        step(&self.folders, &LearnRules::default(), self.now_ns, false).unwrap()
    }

    fn served(&self) -> String {
        name_of(&checkpoint::latest(&self.folders.checkpoints).unwrap())
    }

    fn shadow(&self) -> Option<String> {
        checkpoint::challenger(&self.folders.checkpoints).unwrap().map(|path| name_of(&path))
    }

    /// Days and steps until something happens, at most so many.
    fn until(&mut self, outcome: Outcome, rule: Rule, most: usize) -> Step {
        let mut all = Vec::new();
        for _ in 0..most {
            self.day(rule);
            let step = self.step();
            if step.outcome == outcome {
                return step;
            }
            all.push(step);
        }
        panic!("no {outcome:?} in {all:#?}")
    }
}

#[test]
fn what_changed_is_learned_and_served_when_it_has_proved_better() {
    let mut world = World::new();
    // Before anything is known.
    let step = world.step();
    assert_eq!(step.outcome, Outcome::Nothing);
    assert!(step.reasons[0].contains("0 new truths are too few"), "{step:?}");
    assert_eq!(world.step().outcome, Outcome::NotDue);

    world.day(old_rule);
    let step = world.until(Outcome::Learned, new_rule, 2);
    assert!(step.drift.unwrap().drifted, "{step:?}");
    assert_eq!((world.served().as_str(), step.champion.as_str()), ("first", "first"));
    let name = step.rival.unwrap().checkpoint;
    assert_eq!(world.shadow(), Some(name.clone()));
    let path = world.folders.checkpoints.join(&name);
    let lineage = checkpoint::read_manifest(&path).unwrap().lineage.unwrap();
    // By 192 new ones after the change, of 384: those before are the old kind.
    assert_eq!(lineage.parent, "first");
    assert!((180..=205).contains(&lineage.truths), "{lineage:?}");
    assert!(lineage.until_ns < world.now_ns && lineage.changes.is_empty());
    assert!(checkpoint::read_sample(&path).unwrap().is_some());

    // A day is not enough, however sure it is.
    world.day(new_rule);
    let step = world.step();
    assert_eq!(step.outcome, Outcome::Nothing, "{step:?}");
    assert!(step.evidence.unwrap().lower > 0.0, "{step:?}");
    let step = world.until(Outcome::Promoted, new_rule, 2);
    let evidence = step.evidence.unwrap();
    assert!(evidence.truths >= 200 && evidence.hours >= 47.0, "{evidence:?}");
    assert_eq!((world.served(), world.shadow().as_deref()), (name.clone(), Some("first")));
    let changes = checkpoint::read_manifest(&path).unwrap().lineage.unwrap().changes;
    assert_eq!((changes[0].change, changes[0].evidence), (Change::Promoted, Some(evidence)));

    // Its predecessor is not better, and makes room.
    let step = world.until(Outcome::Learned, new_rule, 2);
    assert_eq!(step.events[0].event, EventKind::Dropped);
    assert_eq!((step.events[0].checkpoint.as_str(), world.served()), ("first", name));
    assert_eq!(crate::learn::rollback(&world.folders, "", world.now_ns).unwrap().0, "first");
}

#[test]
fn who_was_served_before_comes_back() {
    let mut world = World::new();
    world.until(Outcome::Learned, new_rule, 1);
    let name = world.until(Outcome::Promoted, new_rule, 4).champion;
    // The old rule holds again.
    let step = world.until(Outcome::Restored, old_rule, 3);
    assert_eq!((world.served().as_str(), world.shadow()), ("first", None));
    assert_eq!(step.events[0].event, EventKind::Restored);
    let path = world.folders.checkpoints.join(&name);
    let changes = checkpoint::read_manifest(&path).unwrap().lineage.unwrap().changes;
    assert_eq!(changes[1].change, Change::Demoted);
}

#[test]
fn a_day_of_wrong_labels_changes_nothing() {
    let mut world = World::new();
    let mut promoted = Vec::new();
    world.day(old_rule);
    world.step();
    world.day(flipped);
    let step = world.step();
    assert!(step.drift.unwrap().drifted, "{step:?}");
    for _ in 0..9 {
        world.day(old_rule);
        let step = world.step();
        promoted.extend(step.events.into_iter().filter(|it| it.event.changes_latest()));
    }
    // Who is served by then learned from good days, and is no worse.
    let rows = Challenge::Rule.examples(9).take(2000);
    let (conversations, truths): (Vec<_>, Vec<_>) =
        rows.map(|example| row(&example.features, example.truth)).unzip();
    let rewards = ["first".to_owned(), world.served()].map(|name| {
        let path = world.folders.checkpoints.join(name);
        let predictor = checkpoint::load(&path, &Device::flex()).unwrap();
        let spec = predictor.spec;
        evaluate(&predictor, &conversations, &truths, &spec).unwrap().miner.mean_reward
    });
    assert!(rewards[1] > rewards[0] - 0.002, "{rewards:?} {promoted:?}");
}

#[test]
fn neither_unknown_times_nor_clocks_ahead_mislead_but_a_diagnosis_counts() {
    let mut world = World::new();
    assert_eq!(world.step().outcome, Outcome::Nothing);
    world.ask(START_NS + HOUR_NS, 150, untimed);
    world.now_ns = START_NS + 7 * HOUR_NS;
    let step = world.step();
    let drift = step.drift.unwrap();
    assert_eq!((drift.measure, drift.drifted), (Measure::Accuracy, false), "{drift:?}");
    assert_eq!((step.outcome, step.flagged), (Outcome::NotDue, false));

    // Only what a diagnosis said lately counts.
    let flagged = |world: &World, at_ns| {
        let rules = LearnRules::default();
        step_flagged(&world.folders, &rules, world.now_ns, false, Some(at_ns)).unwrap()
    };
    world.now_ns += 6 * HOUR_NS;
    assert_eq!(flagged(&world, world.now_ns - 8 * DAY_NS).outcome, Outcome::NotDue);
    world.now_ns += 6 * HOUR_NS;
    let at_ns = world.now_ns;
    let step = flagged(&world, at_ns);
    assert_eq!((step.outcome, step.flagged), (Outcome::Learned, true), "{step:?}");
    world.now_ns += DAY_NS;
    assert!(!flagged(&world, at_ns).flagged);

    // A clock was a year ahead.
    let (mut state, _) = state::read(&world.folders.state, 0).unwrap();
    let ahead = Some(world.now_ns + 365 * DAY_NS);
    (state.looked_ns, state.glanced_ns) = (ahead, ahead);
    state.write(&world.folders.state).unwrap();
    let step = world.step();
    assert_eq!(step.outcome, Outcome::Nothing, "{step:?}");
    assert_eq!(world.step().outcome, Outcome::NotDue);
}

#[test]
fn a_step_can_be_repeated() {
    let worlds = [World::new(), World::new()].map(|mut world| {
        let step = world.until(Outcome::Learned, new_rule, 1);
        let path = world.folders.checkpoints.join(step.rival.unwrap().checkpoint);
        ["weights.safetensors", "manifest.json", "sample.parquet"]
            .map(|name| fs::read(path.join(name)).unwrap())
    });
    assert!(worlds[0] == worlds[1]);
}

#[test]
fn what_others_changed_is_respected() {
    let mut world = World::new();
    let step = world.until(Outcome::Learned, new_rule, 1);
    let name = step.rival.unwrap().checkpoint;
    // An operator takes it without waiting, and files are lost.
    checkpoint::set_latest(&world.folders.checkpoints.join(&name)).unwrap();
    world.now_ns += HOUR_NS;
    let step = world.step();
    assert_eq!((step.champion.as_str(), step.rival), (name.as_str(), None));
    assert_eq!(step.events[0].event, EventKind::Dropped);
    assert_eq!(world.shadow(), None);
    write(&world.folders.state.join("learning.json"), "{");
    let step = world.step();
    assert!(step.warnings[0].contains("damaged"), "{step:?}");
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

//! What a challenger would have answered: it is asked about what was answered, after the answer is
//! sent, on the journal's thread.
//!
//! What an operator tuned holds for whoever is served, so it holds for the challenger too: otherwise
//! one side of the comparison would have it and the other not. What truths taught about the confidence
//! of the checkpoint that is served says nothing about the challenger's.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;

use super::live::{Live, Refresh, Watch};
use crate::causes::with_causes;
use crate::features::Conversation;
use crate::journal::{Annotate, Record, Shadow};
use crate::model::adjustment::{Adjusting, Adjustment};
use crate::model::checkpoint::{self, CHALLENGER, CheckpointError};
use crate::model::{Model, Predictor};
use crate::subnet::reward::Answer;

/// So many conversations are asked about at once: as many as networks answer best one by one.
const BATCH: usize = 32;

/// The checkpoint that the file `challenger` names, as long as there is one. It is followed while it
/// is in use.
#[derive(Debug, Clone)]
pub struct Challengers(Arc<Live<Option<Challenger>>>);

/// A checkpoint that answers in the shadow.
struct Challenger {
    /// Its name.
    checkpoint: String,
    model: Box<dyn Model>,
}

/// A predictor that answers as it would if it were served.
struct Adjusted {
    predictor: Predictor,
    adjusting: Arc<Adjusting>,
}

impl Model for Adjusted {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let tuned = Adjustment { recalibration: None, ..*self.adjusting.current() };
        let estimates = self.predictor.estimate(conversations).into_iter();
        estimates.map(|estimate| self.predictor.decide_adjusted(estimate, &tuned).answer).collect()
    }
}

impl Challengers {
    /// Follows the file in the folder of checkpoints `root`. One that cannot be loaded is told in the
    /// log, once, and there is none then. What is tuned in the answers that are sent is tuned in the
    /// challenger's too.
    pub fn follow(root: &Path, device: Device, adjusting: Arc<Adjusting>) -> Challengers {
        let (watched, named) = (root.to_owned(), root.to_owned());
        let load = move |before: Option<&Arc<Option<Challenger>>>| {
            let loaded = load(&named, &device, &adjusting);
            if let (Err(error), None) = (&loaded, before) {
                // To begin with, none will do as well.
                let reason = with_causes(error);
                tracing::warn!(reason, "the challenger cannot be loaded, so none answers");
                return Ok(Arc::new(None));
            }
            loaded.map(Arc::new)
        };
        let live = Live::load(move || files(&watched), load);
        let live = live.unwrap_or_else(|_: CheckpointError| Live::fixed(Arc::new(None)));
        Challengers(Arc::new(live))
    }

    /// Takes up another one, or none, if there is a change.
    pub fn refresh(&self) -> Refresh {
        self.0.refresh()
    }

    /// Takes up another one, or none, while the result lives. `told` hears of it.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub fn watch(
        &self,
        every: Duration,
        told: impl FnMut(&Refresh) + Send + 'static,
    ) -> io::Result<Watch> {
        self.0.watch(every, told)
    }

    /// Adds what the challenger says to records, for the journal.
    pub fn annotate(&self) -> Annotate {
        let live = Arc::clone(&self.0);
        // One that panicked is not asked again until it is another one.
        let mut broken: Option<Arc<Option<Challenger>>> = None;
        Box::new(move |records| {
            let current = live.current();
            if broken.as_ref().is_some_and(|broken| Arc::ptr_eq(broken, &current)) {
                return;
            }
            broken = None;
            let Some(challenger) = &*current else { return };
            let asked = || records.chunks_mut(BATCH).for_each(|batch| challenger.add_to(batch));
            if catch_unwind(AssertUnwindSafe(asked)).is_err() {
                let checkpoint = &challenger.checkpoint;
                tracing::error!(checkpoint, "the challenger ended in a panic; it is left alone");
                broken = Some(Arc::clone(&current));
            }
        })
    }
}

fn load(
    root: &Path,
    device: &Device,
    adjusting: &Arc<Adjusting>,
) -> Result<Option<Challenger>, CheckpointError> {
    let Some(path) = checkpoint::challenger(root)? else { return Ok(None) };
    let predictor = checkpoint::load(&path, device)?;
    let model = Box::new(Adjusted { predictor, adjusting: Arc::clone(adjusting) });
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Some(Challenger { checkpoint: name.into_owned(), model }))
}

/// All that a change of may mean another challenger.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = vec![root.join(CHALLENGER)];
    if let Ok(Some(path)) = checkpoint::challenger(root) {
        files.extend(checkpoint::files_of(&path));
    }
    files
}

impl std::fmt::Debug for Challenger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let checkpoint = &self.checkpoint;
        formatter.debug_struct("Challenger").field("checkpoint", checkpoint).finish_non_exhaustive()
    }
}

impl Challenger {
    fn add_to(&self, records: &mut [Record]) {
        let conversations: Vec<Conversation> =
            records.iter().map(|record| record.features.clone()).collect();
        let answers = self.model.predict(&conversations);
        for (record, answer) in records.iter_mut().zip(answers) {
            if answer.check().is_ok() {
                let checkpoint = self.checkpoint.clone();
                record.shadow = Some(Shadow { checkpoint, answer: answer.into() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::SECOND_NS;
    use crate::model::adjustment::Recalibration;

    const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/default");

    fn copy_shipped(to: &Path) {
        fs::create_dir(to).unwrap();
        for file in checkpoint::files_of(Path::new(SHIPPED)) {
            if file.exists() {
                fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }

    fn shadow_of(annotate: &mut Annotate) -> Option<Shadow> {
        let mut records = [Record::sample("a", SECOND_NS), Record::sample("b", SECOND_NS)];
        annotate(&mut records);
        let [first, second] = records;
        assert_eq!(first.shadow, second.shadow);
        first.shadow
    }

    #[test]
    fn followed_while_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let challengers = Challengers::follow(root, Device::flex(), Arc::default());
        let mut annotate = challengers.annotate();
        assert_eq!(shadow_of(&mut annotate), None);

        copy_shipped(&root.join("second"));
        checkpoint::set_challenger(&root.join("second")).unwrap();
        assert_eq!(challengers.0.refresh(), Refresh::Replaced);
        let shadow = shadow_of(&mut annotate).unwrap();
        assert_eq!(shadow.checkpoint, "second");
        let predictor = checkpoint::load(Path::new(SHIPPED), &Device::flex()).unwrap();
        let expected = predictor.predict(&[Record::sample("a", 1).features])[0];
        assert_eq!(Answer::from(shadow.answer), expected);

        // One that cannot be used changes nothing, and is told once.
        fs::write(root.join(CHALLENGER), "none").unwrap();
        assert!(matches!(challengers.0.refresh(), Refresh::Refused(_)));
        assert!(matches!(challengers.0.refresh(), Refresh::StillRefused(_)));
        checkpoint::clear_challenger(root).unwrap();
        assert_eq!(challengers.0.refresh(), Refresh::Replaced);
        assert_eq!(shadow_of(&mut annotate), None);
    }

    #[test]
    fn one_that_is_no_good_to_begin_with_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CHALLENGER), "none").unwrap();
        let challengers = Challengers::follow(folder.path(), Device::flex(), Arc::default());
        assert_eq!(shadow_of(&mut challengers.annotate()), None);
        copy_shipped(&folder.path().join("none"));
        assert_eq!(challengers.0.refresh(), Refresh::Replaced);
        assert!(shadow_of(&mut challengers.annotate()).is_some());
    }

    /// What is tuned holds for both sides of a comparison; what truths taught of the confidence of
    /// the one that is served, for that one alone.
    #[test]
    fn it_answers_with_what_is_tuned() {
        let folder = tempfile::tempdir().unwrap();
        copy_shipped(&folder.path().join("second"));
        checkpoint::set_challenger(&folder.path().join("second")).unwrap();
        let adjusting = Arc::new(Adjusting::default());
        let challengers =
            Challengers::follow(folder.path(), Device::flex(), Arc::clone(&adjusting));
        let mut annotate = challengers.annotate();
        let plain = shadow_of(&mut annotate).unwrap().answer;
        assert!(plain.confidence > 0.5, "{plain:?}");

        // Nothing is as probable as that, or everything: whatever it said, once it is another class.
        let said = [1.0, -1.0].map(|threshold_offset| {
            adjusting.update(|adjustment| adjustment.threshold_offset = threshold_offset);
            shadow_of(&mut annotate).unwrap().answer
        });
        assert_eq!(said.map(|answer| answer.converted), [false, true]);
        adjusting.update(|adjustment| adjustment.time_quantile_shift = 0.3);
        let later = shadow_of(&mut annotate).unwrap().answer;
        assert!(later.time_seconds > said[1].time_seconds, "{later:?} {said:?}");

        let mut learned = Recalibration::new("second", 1, 0.0);
        learned.observe(0.5, false);
        adjusting.update(|adjustment| {
            *adjustment = Adjustment { recalibration: Some(learned), ..Adjustment::default() };
        });
        assert_eq!(shadow_of(&mut annotate).unwrap().answer, plain);
    }

    struct Broken;

    impl Model for Broken {
        fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
            panic!("{} conversations broke it", conversations.len());
        }
    }

    /// Says what no validator would take.
    struct Senseless;

    impl Model for Senseless {
        fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
            let answer = Answer { converted: true, time_seconds: f64::NAN, confidence: 0.5 };
            vec![answer; conversations.len()]
        }
    }

    fn fixed(model: impl Model + 'static) -> Challengers {
        let challenger = Challenger { checkpoint: "a".to_owned(), model: Box::new(model) };
        Challengers(Arc::new(Live::fixed(Arc::new(Some(challenger)))))
    }

    #[test]
    fn a_panic_ends_nothing() {
        let mut annotate = fixed(Broken).annotate();
        assert_eq!(shadow_of(&mut annotate), None);
        assert_eq!(shadow_of(&mut annotate), None);
        assert_eq!(shadow_of(&mut fixed(Senseless).annotate()), None);
    }
}

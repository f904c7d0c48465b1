//! One miner of a simulation: its axon, what it writes down, and what it does about it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::SimulateError;
use super::clock::VirtualClock;
use super::result::Way;
use crate::chain::Keypair;
use crate::clock::Clock;
use crate::features::Conversation;
use crate::journal::{Journal, JournalOptions};
use crate::learn::{self, LearnRules};
use crate::model::adjustment::Adjusting;
use crate::model::checkpoint;
use crate::outcomes::{self, Outcome};
use crate::serve::access::Access;
use crate::serve::dendrite::{Dendrite, Target, wire_features};
use crate::serve::feedback::{Feedback, FeedbackOptions};
use crate::serve::limits::Rate;
use crate::serve::models::{LoadOptions, Registry, Source};
use crate::serve::shadow::Challengers;
use crate::serve::{Axon, ServeConfig, ServeError, serve};
use crate::subnet::reward::Answer;

/// How long an answer is waited for, in real time.
const PATIENCE: Duration = Duration::from_secs(60);
/// More requests than any machine answers: virtual days are short.
const REQUESTS_PER_SECOND: f64 = 1e6;

type Cause = Box<dyn Error + Send + Sync>;

/// One miner of a simulation.
pub(super) struct Miner {
    way: Way,
    root: PathBuf,
    dendrite: Dendrite,
    target: Target,
    models: Arc<Registry>,
    journal: Arc<Journal>,
    challengers: Challengers,
    feedback: Option<Feedback>,
    rules: LearnRules,
    serving: JoinHandle<Result<(), ServeError>>,
    stop: oneshot::Sender<()>,
}

impl Miner {
    /// Starts a miner with a copy of the first model, in a folder of its own.
    pub(super) fn start(
        way: Way,
        (first, seed): (&Path, u64),
        folder: &Path,
        clock: &Arc<VirtualClock>,
        runtime: &Runtime,
    ) -> Result<Miner, SimulateError> {
        let root = folder.join(way.name().replace(' ', "-"));
        Miner::try_start(way, (first, seed), root, clock, runtime)
            .map_err(|source| SimulateError::Miner { way: way.name(), doing: "starting", source })
    }

    fn try_start(
        way: Way,
        (first, seed): (&Path, u64),
        root: PathBuf,
        clock: &Arc<VirtualClock>,
        runtime: &Runtime,
    ) -> Result<Miner, Cause> {
        let checkpoints = root.join("checkpoints");
        let own = checkpoints.join("first");
        copy_folder(first, &own)?;
        checkpoint::set_latest(&own)?;
        let clock: Arc<dyn Clock> = Arc::<VirtualClock>::clone(clock);
        let adjusting = Arc::new(Adjusting::default());
        let source = Source::Latest { root: checkpoints.clone(), otherwise: own };
        let options = LoadOptions { adjusting: Arc::clone(&adjusting), ..LoadOptions::default() };
        let models = Arc::new(Registry::load(source, Device::flex(), options)?);
        let challengers = Challengers::follow(&checkpoints, Device::flex(), Arc::clone(&adjusting));
        let journal = Arc::new(Journal::start(JournalOptions {
            flush_every: Duration::from_millis(1),
            annotate: Some(challengers.annotate()),
            clock: Arc::clone(&clock),
            ..JournalOptions::new(root.join("data/predictions"))
        })?);
        let feedback = (way != Way::Frozen).then(|| {
            Feedback::new(FeedbackOptions {
                journal: root.join("data/predictions"),
                outcomes: root.join("data/outcomes"),
                state_dir: root.join("data/state"),
                recalibrate: true,
                models: Arc::clone(&models),
                adjusting,
                intervals: Arc::default(),
            })
        });
        let config = ServeConfig {
            access: Access { allow_unregistered: true, ..Access::default() },
            hotkey_rate: Rate::new(REQUESTS_PER_SECOND),
            journal: Some(Arc::clone(&journal)),
            threads: 1,
            clock: Arc::clone(&clock),
            ..ServeConfig::new(Keypair::generate())
        };
        let hotkey = config.keypair.public();
        let axon = Axon::start(config, Arc::clone(&models))?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let target = Target { address: listener.local_addr()?, hotkey };
        let (stop, stopped) = oneshot::channel();
        let serving = runtime.spawn(serve(listener, axon, async { stopped.await.unwrap_or(()) }));
        let dendrite = Dendrite::with_clock(Keypair::generate(), clock);
        let rules = LearnRules { seed, ..LearnRules::default() };
        Ok(Miner {
            way,
            root,
            dendrite,
            target,
            models,
            journal,
            challengers,
            feedback,
            rules,
            serving,
            stop,
        })
    }

    /// Asks it about a conversation.
    pub(super) async fn ask(
        &self,
        session_id: &str,
        conversation: &Conversation,
    ) -> Result<Answer, SimulateError> {
        let features = wire_features(session_id, conversation);
        let reply = self.dendrite.ask(&self.target, &features, PATIENCE).await;
        Ok(reply.map_err(|error| self.error("answering", error.into()))?.answer)
    }

    /// Tells it what became of conversations, and lets it do what it does about it by now. What it
    /// did, in words.
    pub(super) fn hear(
        &mut self,
        outcomes: &[Outcome],
        now_ns: u64,
    ) -> Result<Vec<String>, SimulateError> {
        // What was answered is on the disk before anybody looks at it.
        while self.journal.stats().waiting > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let folder = self.root.join("data/outcomes");
        outcomes::append(&folder, outcomes.to_vec(), now_ns)
            .map_err(|error| self.error("writing outcomes", error.into()))?;
        let mut events = Vec::new();
        if self.way == Way::Learning {
            events.extend(self.learn(now_ns).map_err(|cause| self.error("learning", cause))?);
            self.models.refresh();
            self.challengers.refresh();
        }
        if let Some(feedback) = &mut self.feedback {
            feedback.step(now_ns);
        }
        Ok(events)
    }

    /// A step of learning, in this thread: what `convminer learn` does in a process of its own.
    fn learn(&self, now_ns: u64) -> Result<Vec<String>, Cause> {
        let folders = learn::Folders {
            checkpoints: self.root.join("checkpoints"),
            journal: self.root.join("data/predictions"),
            outcomes: self.root.join("data/outcomes"),
            state: self.root.join("data/state"),
        };
        let step = learn::step(&folders, &self.rules, now_ns, false)?;
        let told = |event: &learn::Event| {
            let (kind, checkpoint) = (event.event.as_str(), &event.checkpoint);
            format!("{kind} {checkpoint}: {}", event.reason)
        };
        Ok(step.events.iter().map(told).chain(step.warnings.iter().cloned()).collect())
    }

    /// Stops it.
    pub(super) fn stop(self, runtime: &Runtime) -> Result<(), SimulateError> {
        let way = self.way.name();
        let failed = |source| SimulateError::Miner { way, doing: "stopping", source };
        // It has stopped already if nobody listens.
        self.stop.send(()).ok();
        let served = runtime.block_on(self.serving).map_err(|error| failed(error.into()))?;
        served.map_err(|error| failed(error.into()))
    }

    fn error(&self, doing: &'static str, source: Cause) -> SimulateError {
        SimulateError::Miner { way: self.way.name(), doing, source }
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

//! The operator's loop in fast motion: a validator asks generated conversations through the real axon,
//! truths come late, and miners go on in different ways, all by a clock that is moved.
//!
//! Three miners begin with the same model: one stays as it is, one corrects its confidence by what
//! became of its answers, and one also goes on learning. Each has its own axon, journal, outcomes and
//! state, and the very code of `serve` and `learn` works on them.

pub mod clock;
mod first;
mod miner;
pub mod page;
pub mod plan;
pub mod result;
pub mod world;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::clock::{DAY_NS, SECOND_NS};
use crate::features::Conversation;
use crate::outcomes::Outcome;
use crate::subnet::challenge::{Example, bayes_answer};
use crate::subnet::reward::{ClassWeightTracker, RewardSpec, Truth, reward};
use crate::train::evaluation::RESPONSE_TIME_SECONDS;
use clock::VirtualClock;
use miner::Miner;
use plan::Plan;
use result::{Day, Event, Simulation, Summary, Way};
use world::World;

/// When a simulation begins: midnight of a Monday, in seconds since 1970.
const START_SECONDS: u64 = 1_700_438_400;
/// How often the miners hear of outcomes and learn.
const TICK_NS: u64 = 6 * 3600 * SECOND_NS;
/// The shortest and the longest time after which a truth is known.
const DELAY_SECONDS: (u64, u64) = (2 * 3600, 20 * 3600);

/// Why a simulation came to no end.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The folder cannot be used.
    #[error("`{path}` cannot be used for the miners' files", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The first model could not be trained or saved.
    #[error("the first model could not be made")]
    First(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A miner could not be started, or one of its parts failed.
    #[error("the {way} miner, {doing}")]
    Miner {
        /// Which one.
        way: &'static str,
        /// What it was doing.
        doing: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Simulates what is planned, with the miners' files in `folder`, which must be empty or not there.
/// `told` hears of each day.
///
/// # Errors
///
/// If the folder cannot be used, or a part of a miner fails.
pub fn simulate(
    plan: &Plan,
    folder: &Path,
    told: &mut dyn FnMut(&Day),
) -> Result<Simulation, SimulateError> {
    let unusable = |source| SimulateError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    if std::fs::read_dir(folder).map_err(unusable)?.next().is_some() {
        return Err(unusable(io::Error::other("it is not empty")));
    }
    let start_ns = START_SECONDS * SECOND_NS;
    let first = folder.join("first");
    first::train(plan, &first, start_ns)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(unusable)?;
    let clock = Arc::new(VirtualClock::at(start_ns));
    let miners =
        Way::ALL.map(|way| Miner::start(way, (&first, plan.seed), folder, &clock, &runtime));
    let [frozen, calibrated, learning] = miners;
    let mut miners = [frozen?, calibrated?, learning?];
    let mut course = Course::new(plan, clock);
    let mut days = Vec::with_capacity(plan.days);
    for day in 0..plan.days {
        days.push(course.day(day, &mut miners, &runtime)?);
        told(&days[day]);
    }
    for miner in miners {
        miner.stop(&runtime)?;
    }
    let summary = Summary::of(plan, &days);
    Ok(Simulation { plan: *plan, days, events: course.events, summary })
}

/// What goes on from day to day.
struct Course<'a> {
    plan: &'a Plan,
    clock: Arc<VirtualClock>,
    start_ns: u64,
    world: World,
    random: ChaCha8Rng,
    /// The validator's class weights. All miners are asked the same, so they are the same for all.
    weights: ClassWeightTracker,
    /// What the miners will hear, and when.
    coming: Vec<Outcome>,
    next_tick_ns: u64,
    events: Vec<Event>,
}

impl<'a> Course<'a> {
    fn new(plan: &'a Plan, clock: Arc<VirtualClock>) -> Course<'a> {
        let start_ns = START_SECONDS * SECOND_NS;
        Course {
            plan,
            clock,
            start_ns,
            // Not the conversations that the first model learned from.
            world: World::new(plan.seed.wrapping_add(1)),
            random: ChaCha8Rng::seed_from_u64(plan.seed),
            weights: ClassWeightTracker::default(),
            coming: Vec::new(),
            next_tick_ns: start_ns + TICK_NS,
            events: Vec::new(),
        }
    }

    fn day(
        &mut self,
        day: usize,
        miners: &mut [Miner; 3],
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Day, SimulateError> {
        let per_day = self.plan.per_day as u64;
        let (mut best, mut sums) = (0.0, [0.0; 3]);
        for number in 0..per_day {
            let step_ns = DAY_NS / per_day;
            // In the middle of its share of the day: an axon answers nothing from before its start.
            let now_ns = self.start_ns + day as u64 * DAY_NS + number * step_ns + step_ns / 2;
            self.hear_until(now_ns, day, miners)?;
            self.clock.advance_to(now_ns);
            let example = self.world.next(self.plan.regime(day));
            let weights = self.weights.weights();
            let worth = |answer| {
                reward(&RewardSpec::MAIN, weights, answer, example.truth, RESPONSE_TIME_SECONDS)
                    .total
            };
            best += worth(bayes_answer(&example.oracle, &RewardSpec::MAIN, weights));
            let shown = Conversation::of(&example.features);
            for (miner, sum) in miners.iter().zip(&mut sums) {
                *sum += worth(runtime.block_on(miner.ask(&example.session_id, &shown))?);
            }
            self.weights.record(example.truth.converted);
            let outcome = self.outcome(day, now_ns, &example);
            self.coming.push(outcome);
        }
        let mean = |sum: f64| sum / per_day as f64;
        Ok(Day { day, best: mean(best), miners: sums.map(mean) })
    }

    /// What the miners will be told of a conversation.
    fn outcome(&mut self, day: usize, now_ns: u64, example: &Example) -> Outcome {
        let delay = self.random.random_range(DELAY_SECONDS.0..=DELAY_SECONDS.1);
        let mut known_ns = now_ns + delay * SECOND_NS;
        if self.plan.is_silent(day) {
            let end = self.plan.event_day + plan::OUTAGE_DAYS;
            known_ns = known_ns.max(self.start_ns + end as u64 * DAY_NS);
        }
        let Truth { converted, time_seconds } = example.truth;
        let converted = converted != self.plan.is_flipped(day);
        // A conversation that is wrongly said to convert is given the time that it might have had.
        let time_seconds =
            if time_seconds > 0.0 { time_seconds } else { example.oracle.time.best().0 };
        Outcome {
            id: example.session_id.clone(),
            also: None,
            converted,
            time_seconds: converted.then_some(time_seconds),
            known_ns,
            source: "simulation".to_owned(),
        }
    }

    /// Lets the miners hear what is known by now, and do what they do about it, at each tick until
    /// `now_ns`.
    fn hear_until(
        &mut self,
        now_ns: u64,
        day: usize,
        miners: &mut [Miner; 3],
    ) -> Result<(), SimulateError> {
        while self.next_tick_ns <= now_ns {
            let tick_ns = self.next_tick_ns;
            self.next_tick_ns += TICK_NS;
            self.clock.advance_to(tick_ns);
            let (mut known, coming): (Vec<_>, Vec<_>) =
                self.coming.drain(..).partition(|outcome| outcome.known_ns <= tick_ns);
            self.coming = coming;
            known.sort_by(|one, other| (one.known_ns, &one.id).cmp(&(other.known_ns, &other.id)));
            for miner in miners.iter_mut() {
                for what in miner.hear(&known, tick_ns)? {
                    self.events.push(Event { day, what });
                }
            }
        }
        Ok(())
    }
}

//! A network of any kind in training, as the stages see it.

use std::ops::Range;
use std::time::Instant;

use burn::module::Module as _;

use super::engine::{Engine, Model, Plan, lock};
use super::parameters::{Pace, write};
use super::pool::Pool;
use super::turns::{Turns, Way};
use crate::features::engineer::INPUT_COUNT;
use crate::model::networks::Network;
use crate::train::data::Part;
use crate::train::learner::{Learner, UnfitState};
use crate::train::weights;

/// A network in training.
pub(super) struct Trainer<M: Model> {
    pool: Pool<Engine<M>>,
    /// Of the same shape; its numbers are those of the start.
    shape: Network,
    /// In which times are compared.
    unit_seconds: f64,
    /// Steps taken.
    steps: u64,
    /// Steps taken in this pass.
    turn: u64,
    /// Of this pass.
    seed: u64,
    /// Whether threads pay.
    turns: Turns,
}

impl<M: Model> Trainer<M> {
    /// Begins to train a network with so many threads.
    pub(super) fn new(model: M, shape: Network, unit_seconds: f64, threads: usize) -> Trainer<M> {
        let pool = Pool::new(Engine::new(model), threads);
        Trainer { pool, shape, unit_seconds, steps: 0, turn: 0, seed: 0, turns: Turns::new() }
    }

    fn model(&self) -> &M {
        &self.pool.work().model
    }
}

impl<M: Model> Learner for Trainer<M> {
    fn load(&mut self, rows: &Part) {
        let table = &mut *write(&self.pool.work().table);
        table.width = INPUT_COUNT;
        table.inputs.clone_from(&rows.inputs);
        (table.converted, table.times) = rows.targets(self.unit_seconds);
    }

    fn begin(&mut self, order: Vec<u32>, seed: u64) {
        write(&self.pool.work().table).order = order;
        (self.seed, self.turn) = (seed, 0);
    }

    fn step(&mut self, batch: Range<usize>, rate: f64) {
        let rows = batch.len();
        let shards = Plan::shards(rows, M::ROWS_A_SHARD);
        self.steps += 1;
        self.turn += 1;
        let pace = Pace { rate, steps: self.steps };
        *write(&self.pool.work().plan) =
            Plan { batch, shards, pace, seed: self.seed, turn: self.turn };
        if shards == 1 || self.pool.threads() == 1 {
            self.pool.run(1);
            return;
        }
        let start = Instant::now();
        self.pool.run(if self.turns.next() == Way::Together { shards } else { 1 });
        self.turns.note(start.elapsed().as_secs_f64() / rows as f64);
    }

    fn take_loss(&mut self) -> f64 {
        std::mem::take(&mut *lock(&self.pool.work().loss))
    }

    fn network(&self) -> Network {
        // Clones share their running statistics; this one has its own.
        weights::fill(self.shape.valid(), &self.model().parameters().numbers())
    }

    fn state(&self) -> Vec<u8> {
        let mut state = self.steps.to_le_bytes().to_vec();
        for value in self.model().parameters().state() {
            state.extend(value.to_le_bytes());
        }
        state
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), UnfitState> {
        let expected = 8 + 4 * self.model().parameters().state_len();
        let (Some((steps, values)), true) = (state.split_first_chunk(), state.len() == expected)
        else {
            return Err(UnfitState { expected, found: state.len() });
        };
        let values: Vec<f32> =
            values.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        self.model().parameters().restore(&values);
        self.steps = u64::from_le_bytes(*steps);
        Ok(())
    }
}

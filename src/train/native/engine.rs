//! A step: the phases of a network's gradients, their sum over the shards, and the move.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use pulp::{Simd, WithSimd};

use super::loss::{Loss, Whole};
use super::matrix::{height, stride};
use super::parameters::{Pace, Parameters, read};
use super::pool::{Team, Work};
use super::simd::dispatch;

/// Shards at most: beyond these, what the sum of their gradients costs counts.
pub(super) const MOST_SHARDS: usize = 32;
/// Rows that are not worth a second shard.
const FEW_ROWS: usize = 48;

/// Rows to learn from.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// `[rows, width]`
    pub(super) inputs: Vec<f32>,
    pub(super) width: usize,
    /// `[rows]`, 0 or 1
    pub(super) converted: Vec<f32>,
    /// `[rows]`, in the objective's unit
    pub(super) times: Vec<f32>,
    /// In which order the rows come.
    pub(super) order: Vec<u32>,
}

/// What a step is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Which of the order.
    pub(super) batch: Range<usize>,
    /// Parts of the batch; they depend on its size alone, so that the result does too.
    pub(super) shards: usize,
    pub(super) pace: Pace,
    /// Of the pass.
    pub(super) seed: u64,
    /// The step's number in the pass.
    pub(super) turn: u64,
}

impl Plan {
    /// How many shards a batch is cut into.
    pub(super) fn shards(rows: usize, rows_a_shard: usize) -> usize {
        if rows < FEW_ROWS { 1 } else { rows.div_ceil(rows_a_shard).clamp(2, MOST_SHARDS) }
    }

    /// A shard's rows within the batch.
    pub(super) fn rows(&self, shard: usize) -> Range<usize> {
        let border = |shard: usize| self.batch.len() * shard / self.shards;
        border(shard)..border(shard + 1)
    }
}

/// A shard's rows and gradients.
#[derive(Debug, Default)]
pub(super) struct Shard<B> {
    pub(super) rows: usize,
    /// `[height(rows), width]` at [`stride`]
    pub(super) inputs: Vec<f32>,
    pub(super) converted: Vec<f32>,
    pub(super) times: Vec<f32>,
    pub(super) gradients: Vec<f32>,
    /// Its part of the batch's loss.
    pub(super) loss: f64,
    /// What the network keeps of them.
    pub(super) kept: B,
}

impl<B> Shard<B> {
    /// Takes a shard's rows from the table.
    #[inline(always)]
    pub(super) fn gather(&mut self, step: &Step<'_, B>, shard: usize) {
        let Step { table, plan, .. } = step;
        let rows = plan.rows(shard);
        grow(&mut self.gradients, step.gradients);
        self.rows = rows.len();
        let stride = stride(table.width);
        grow(&mut self.inputs, height(rows.len()) * stride);
        grow(&mut self.converted, rows.len());
        grow(&mut self.times, rows.len());
        let order = &table.order[plan.batch.start..][rows];
        for (place, (row, inputs)) in
            order.iter().zip(self.inputs.chunks_exact_mut(stride)).enumerate()
        {
            let row = *row as usize;
            inputs[..table.width]
                .copy_from_slice(&table.inputs[row * table.width..][..table.width]);
            self.converted[place] = table.converted[row];
            self.times[place] = table.times[row];
        }
    }
}

/// Makes room; nothing is allocated once the largest batch has been seen.
#[inline(always)]
pub(super) fn grow(values: &mut Vec<f32>, len: usize) {
    if values.len() < len {
        values.resize(len, 0.0);
    }
}

/// Locks what threads write one after the other.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A network that can be trained.
pub(super) trait Model: Send + Sync + 'static {
    /// What a shard keeps between phases.
    type Kept: Default + Send + Sync + 'static;

    /// Rows that make a shard worth its gradients.
    const ROWS_A_SHARD: usize;

    /// Phases of a step up to the shards' gradients.
    const PHASES: usize;

    /// All numbers of the network.
    fn parameters(&self) -> &Parameters;

    /// One thread's share of a phase.
    fn phase<S: Simd>(&self, simd: S, phase: usize, step: &Step<'_, Self::Kept>);
}

impl<B> Step<'_, B> {
    /// What a loss must know of the whole batch, for so many packed networks.
    pub(super) fn whole(&self, loss: &Loss, packed: usize) -> Whole {
        let rows = self.table.order[self.plan.batch.clone()].iter();
        let converted = match loss {
            Loss::Reward { .. } => rows.map(|row| self.table.converted[*row as usize]).sum(),
            _ => 0.0,
        };
        Whole { rows: self.plan.batch.len() as f32, converted, packed: packed as f32 }
    }
}

/// What a phase is given.
pub(super) struct Step<'a, B> {
    pub(super) team: Team<'a>,
    pub(super) plan: &'a Plan,
    pub(super) table: &'a Table,
    pub(super) shards: &'a [RwLock<Shard<B>>],
    /// Numbers of a shard's gradients.
    gradients: usize,
}

/// A network in training.
pub(super) struct Engine<M: Model> {
    pub(super) model: M,
    pub(super) table: RwLock<Table>,
    pub(super) plan: RwLock<Plan>,
    /// The sum of the steps' losses.
    pub(super) loss: Mutex<f64>,
    shards: Vec<RwLock<Shard<M::Kept>>>,
}

impl<M: Model> Engine<M> {
    pub(super) fn new(model: M) -> Engine<M> {
        Engine {
            shards: (0..MOST_SHARDS).map(|_| RwLock::default()).collect(),
            model,
            table: RwLock::default(),
            plan: RwLock::default(),
            loss: Mutex::default(),
        }
    }
}

impl<M: Model> Work for Engine<M> {
    fn share(&self, team: Team<'_>) {
        let (plan, table) = (read(&self.plan), read(&self.table));
        let step = Step {
            team,
            plan: &plan,
            table: &table,
            shards: &self.shards[..plan.shards],
            gradients: self.model.parameters().gradients(),
        };
        for phase in 0..M::PHASES {
            dispatch(Phase { model: &self.model, phase, step: &step });
            team.meet();
        }
        dispatch(Reduce { model: &self.model, step: &step });
        if team.worker == 0 {
            *lock(&self.loss) += step.shards.iter().map(|shard| read(shard).loss).sum::<f64>();
        }
        team.meet();
        dispatch(Advance { model: &self.model, step: &step });
    }
}

struct Phase<'a, M: Model> {
    model: &'a M,
    phase: usize,
    step: &'a Step<'a, M::Kept>,
}

impl<M: Model> WithSimd for Phase<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.model.phase(simd, self.phase, self.step);
    }
}

struct Reduce<'a, M: Model> {
    model: &'a M,
    step: &'a Step<'a, M::Kept>,
}

impl<M: Model> WithSimd for Reduce<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let parameters = self.model.parameters();
        for part in self.step.team.mine(parameters.parts()) {
            parameters.reduce(part, self.step.shards, |shard| &shard.gradients);
        }
    }
}

struct Advance<'a, M: Model> {
    model: &'a M,
    step: &'a Step<'a, M::Kept>,
}

impl<M: Model> WithSimd for Advance<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let parameters = self.model.parameters();
        for part in self.step.team.mine(parameters.parts()) {
            parameters.advance(part, self.step.plan.pace);
        }
    }
}

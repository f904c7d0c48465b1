//! Batch norm, whose statistics are of all shards: each tells what it has, and all read that.
//!
//! A layer's bias before the norm is never added: the norm takes it away again. Only the running mean
//! has it.

use std::sync::Mutex;

use super::engine::{MOST_SHARDS, grow, lock};
use super::fields::{Field, Rules};
use super::matrix::{PANEL, panels};
use super::parameters::{Layout, Parameters, Place, Rule};

/// What Burn adds to the variance, and how far its running statistics move a step.
const EPSILON: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

/// A batch norm, with the bias of the layer before it.
#[derive(Debug)]
pub(super) struct Norm {
    bias: Place,
    gamma: Place,
    beta: Place,
    running_mean: Place,
    running_variance: Place,
    told: Vec<Mutex<Told>>,
}

/// What one shard tells the others, by column.
#[derive(Debug, Default)]
struct Told {
    rows: f32,
    mean: Vec<f32>,
    /// Squares of how far values are from the mean.
    apart: Vec<f32>,
    /// Sums of the gradient by what the norm gives, and of its products with the normalised values.
    by_beta: Vec<f32>,
    by_gamma: Vec<f32>,
}

/// The statistics of a whole batch, by column.
#[derive(Debug)]
pub(super) struct Statistics {
    rows: f32,
    mean: Vec<f32>,
    variance: Vec<f32>,
    /// One over the deviation.
    inverse: Vec<f32>,
    /// What the norm does: `x scale + shift`.
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

impl Norm {
    /// Takes over bias, gamma, beta, running mean and running variance.
    pub(super) fn new(fields: [&Field; 5], rules: &Rules, parameters: &mut Parameters) -> Norm {
        let [bias, gamma, beta, mean, variance] = fields;
        let mut add = |field: &Field, rule| {
            let size = (Layout::Whole, 1, field.values.len());
            parameters.add_plain(size, rule, &field.values)
        };
        Norm {
            bias: add(bias, Rule::FROZEN),
            gamma: add(gamma, rules.of(gamma)),
            beta: add(beta, rules.of(beta)),
            running_mean: add(mean, Rule::FROZEN),
            running_variance: add(variance, Rule::FROZEN),
            told: (0..MOST_SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn wide(&self) -> usize {
        panels(self.gamma.columns) * PANEL
    }

    /// Tells the statistics of a shard's rows, which begin at multiples of a stride.
    #[inline(always)]
    pub(super) fn tell(&self, shard: usize, rows: usize, values: &[f32], stride: usize) {
        let told = &mut *lock(&self.told[shard]);
        let wide = self.wide();
        grow(&mut told.mean, wide);
        grow(&mut told.apart, wide);
        told.rows = rows as f32;
        told.mean.fill(0.0);
        told.apart.fill(0.0);
        for row in values.chunks_exact(stride).take(rows) {
            for (sum, value) in told.mean.iter_mut().zip(row) {
                *sum += value;
            }
        }
        told.mean.iter_mut().for_each(|sum| *sum /= rows as f32);
        for row in values.chunks_exact(stride).take(rows) {
            for ((sum, mean), value) in told.apart.iter_mut().zip(&told.mean).zip(row) {
                *sum += (value - mean) * (value - mean);
            }
        }
    }

    /// The statistics of so many shards.
    #[inline(always)]
    pub(super) fn statistics(&self, parameters: &Parameters, shards: usize) -> Statistics {
        let zeros = || vec![0.0; self.wide()];
        let (mut rows, mut mean, mut variance) = (0.0, zeros(), zeros());
        for told in &self.told[..shards] {
            let told = lock(told);
            rows += told.rows;
            mean.iter_mut().zip(&told.mean).for_each(|(mean, of)| *mean += of * told.rows);
        }
        mean.iter_mut().for_each(|mean| *mean /= rows);
        for told in &self.told[..shards] {
            let told = lock(told);
            let columns = told.mean.iter().zip(&told.apart).zip(&mean);
            for (variance, ((of, apart), mean)) in variance.iter_mut().zip(columns) {
                *variance += apart + told.rows * (of - mean) * (of - mean);
            }
        }
        variance.iter_mut().for_each(|variance| *variance /= rows);
        let inverse: Vec<f32> =
            variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
        let (gamma, beta) = (parameters.part(&self.gamma, 0), parameters.part(&self.beta, 0));
        let scale: Vec<f32> =
            gamma.values.iter().zip(&inverse).map(|(gamma, inverse)| gamma * inverse).collect();
        let shift = beta.values.iter().zip(mean.iter().zip(&scale));
        let shift = shift.map(|(beta, (mean, scale))| beta - mean * scale).collect();
        Statistics { rows, mean, variance, inverse, scale, shift }
    }

    /// Moves the running statistics.
    pub(super) fn follow(&self, parameters: &Parameters, statistics: &Statistics) {
        let moved = |place: &Place, now: &mut dyn Iterator<Item = f32>| {
            let mut running = parameters.part_mut(place, 0);
            for (running, now) in running.values.iter_mut().zip(now) {
                *running = *running * (1.0 - MOMENTUM) + now * MOMENTUM;
            }
        };
        let bias = parameters.part(&self.bias, 0);
        let mean = statistics.mean.iter().zip(&bias.values);
        moved(&self.running_mean, &mut mean.map(|(mean, bias)| mean + bias));
        moved(&self.running_variance, &mut statistics.variance.iter().copied());
    }

    /// Goes back through dropout and ReLU, and tells the sums of the gradient by what the norm gave.
    ///
    /// # Shapes
    ///
    /// - `active`: what became of what the norm gave; zero where that was cut or dropped
    /// - `straight`: what the norm was given
    /// - `by`: the gradient by `active`, which becomes that by what the norm gave
    #[inline(always)]
    pub(super) fn tell_back(
        &self,
        shard: usize,
        statistics: &Statistics,
        dropout_scale: f32,
        rows: impl Iterator<Item = ((impl AsRef<[f32]>, impl AsRef<[f32]>), impl AsMut<[f32]>)>,
        gradients: &mut [f32],
    ) {
        let told = &mut *lock(&self.told[shard]);
        let wide = self.wide();
        for sums in [&mut told.by_beta, &mut told.by_gamma] {
            grow(sums, wide);
            sums.fill(0.0);
        }
        let (by_beta, by_gamma) = (&mut told.by_beta[..wide], &mut told.by_gamma[..wide]);
        let (mean, inverse) = (&statistics.mean[..wide], &statistics.inverse[..wide]);
        for ((active, straight), mut by) in rows {
            let (active, straight) = (&active.as_ref()[..wide], &straight.as_ref()[..wide]);
            let by = &mut by.as_mut()[..wide];
            for column in 0..wide {
                let kept = if active[column] > 0.0 { by[column] * dropout_scale } else { 0.0 };
                by[column] = kept;
                by_beta[column] += kept;
                by_gamma[column] += kept * (straight[column] - mean[column]) * inverse[column];
            }
        }
        gradients[self.gamma.gradient(0)].copy_from_slice(by_gamma);
        gradients[self.beta.gradient(0)].copy_from_slice(by_beta);
    }

    /// What all shards told of the gradient: the means of what is taken from it again.
    #[inline(always)]
    pub(super) fn back(&self, statistics: &Statistics, shards: usize) -> Back {
        let wide = self.wide();
        let mut back = Back { constant: vec![0.0; wide], slope: vec![0.0; wide] };
        for told in &self.told[..shards] {
            let told = lock(told);
            let share = 1.0 / statistics.rows;
            back.constant.iter_mut().zip(&told.by_beta).for_each(|(sum, by)| *sum += by * share);
            back.slope.iter_mut().zip(&told.by_gamma).for_each(|(sum, by)| *sum += by * share);
        }
        let inverse = back.slope.iter_mut().zip(&statistics.inverse);
        inverse.for_each(|(slope, inverse)| *slope *= inverse);
        back
    }
}

/// What the norm takes from a gradient on its way back, by column.
#[derive(Debug)]
pub(super) struct Back {
    constant: Vec<f32>,
    slope: Vec<f32>,
}

impl Back {
    /// Goes back through the norm: the gradient of a row becomes that by what the norm was given.
    #[inline(always)]
    pub(super) fn apply(&self, statistics: &Statistics, straight: &[f32], by: &mut [f32]) {
        let wide = statistics.scale.len();
        let (straight, by) = (&straight[..wide], &mut by[..wide]);
        let (mean, scale) = (&statistics.mean[..wide], &statistics.scale[..wide]);
        let (constant, slope) = (&self.constant[..wide], &self.slope[..wide]);
        for column in 0..wide {
            let common = constant[column] + (straight[column] - mean[column]) * slope[column];
            by[column] = scale[column] * (by[column] - common);
        }
    }
}

//! The last layer and the loss, of one network or of several packed ones.

use pulp::Simd;

use super::engine::{Shard, Step};
use super::fields::{Field, Rules};
use super::loss::{Loss, Whole};
use super::matrix::{PANEL, dot, panels};
use super::parameters::{Layout, Parameters, Place};

/// Outputs of one network at most.
pub(super) const MOST_OUTPUTS: usize = 2;

/// A linear layer to a few outputs, and what is minimised of them.
#[derive(Debug)]
pub(super) struct Output {
    /// `[packed * outputs, units]`
    weights: Place,
    /// `[1, packed * outputs]`
    bias: Place,
    packed: usize,
    /// Of one packed network.
    outputs: usize,
    pub(super) loss: Loss,
}

impl Output {
    /// Takes over weights of `[packed, units, outputs]`, and a bias an output.
    pub(super) fn new(
        (weights, bias): (&Field, &Field),
        (packed, units, outputs): (usize, usize, usize),
        loss: Loss,
        rules: &Rules,
        parameters: &mut Parameters,
    ) -> Output {
        let all = packed * outputs;
        let cells = (0..packed).flat_map(|net| {
            let cell = move |unit| (0..outputs).map(move |output| (net * outputs + output, unit));
            (0..units).flat_map(cell)
        });
        let size = (Layout::Whole, all, units);
        let weights = parameters.add(size, rules.of(weights), &weights.values, cells);
        let size = (Layout::Whole, 1, all);
        let bias = parameters.add_plain(size, rules.of(bias), &bias.values);
        Output { weights, bias, packed, outputs, loss }
    }

    /// What the loss must know of a step's whole batch.
    pub(super) fn whole<B>(&self, step: &Step<'_, B>) -> Whole {
        step.whole(&self.loss, self.packed)
    }

    /// The loss of a shard, and the gradients by its last hidden layer and by this one's numbers.
    ///
    /// # Shapes
    ///
    /// - `units`: gives the active units of the shard and takes the gradients by them, both
    ///   `[rows, packed * units]` at a stride, each packed network's padded to whole panels
    #[inline(always)]
    pub(super) fn run<S: Simd, B>(
        &self,
        simd: S,
        parameters: &Parameters,
        whole: Whole,
        shard: &mut Shard<B>,
        units: impl FnOnce(&mut B) -> (&[f32], &mut [f32], usize),
    ) {
        let (active, by, stride) = units(&mut shard.kept);
        let (weights, bias) = (parameters.part(&self.weights, 0), parameters.part(&self.bias, 0));
        let len = weights.values.len();
        let (mut by_weights, mut by_bias) = (vec![0.0; len], vec![0.0; bias.values.len()]);
        let wide = panels(self.weights.columns) * PANEL;
        let truths = shard.converted.iter().zip(&shard.times).take(shard.rows);
        let rows = active.chunks_exact(stride).zip(by.chunks_exact_mut(stride)).zip(truths);
        shard.loss = 0.0;
        for ((active, by), (converted, time)) in rows {
            let nets = active.chunks_exact(wide).zip(by.chunks_exact_mut(wide)).take(self.packed);
            for (net, (active, by)) in nets.enumerate() {
                let first = net * self.outputs;
                let mine = first * wide..(first + self.outputs) * wide;
                let weights = &weights.values[mine.clone()];
                let (mut said, mut by_said) = ([0.0; MOST_OUTPUTS], [0.0; MOST_OUTPUTS]);
                for (index, weights) in weights.chunks_exact(wide).enumerate() {
                    said[index] = dot(simd, active, weights) + bias.values[first + index];
                }
                let by_said = &mut by_said[..self.outputs];
                let said = &said[..self.outputs];
                shard.loss +=
                    f64::from(self.loss.of_row(said, (*converted, *time), whole, by_said));
                let by_bias = by_bias[first..].iter_mut().zip(&*by_said);
                by_bias.for_each(|(sum, by_said)| *sum += by_said);
                back(active, by, weights, by_said, &mut by_weights[mine]);
            }
        }
        shard.gradients[self.weights.gradient(0)].copy_from_slice(&by_weights);
        shard.gradients[self.bias.gradient(0)].copy_from_slice(&by_bias);
    }
}

/// The gradients by one network's units, and its part of those by its weights.
#[inline(always)]
fn back(active: &[f32], by: &mut [f32], weights: &[f32], by_said: &[f32], by_weights: &mut [f32]) {
    let wide = active.len();
    by.fill(0.0);
    let outputs = weights.chunks_exact(wide).zip(by_weights.chunks_exact_mut(wide));
    for ((weights, by_weights), by_said) in outputs.zip(by_said) {
        let units = active.iter().zip(&mut *by);
        for ((unit, by), (weight, by_weight)) in units.zip(weights.iter().zip(by_weights)) {
            *by_weight += unit * by_said;
            *by += weight * by_said;
        }
    }
}

//! The guide's network: three phases, between which the batch norm needs all shards.

use std::sync::RwLock;

use pulp::Simd;

use super::dropout::{Dropout, Random};
use super::engine::{Model, Shard, Step, grow};
use super::fields::{Fields, Rules};
use super::loss::{Loss, Whole};
use super::matrix::{
    PANEL, Rows, height, panels, product, product_of_transposed, stride, transpose_panel,
};
use super::norm::{Norm, Statistics};
use super::output::Output;
use super::parameters::{Layout, Parameters, Place, read, write};

/// The network in training.
pub(super) struct Mlp {
    parameters: Parameters,
    /// `[inputs, first]`
    first: Place,
    norm: Norm,
    dropout: Dropout,
    /// `[first, second]`
    second: Place,
    /// The same the other way round, by panel.
    turned: Vec<RwLock<Vec<f32>>>,
    /// `[1, second]`
    second_bias: Place,
    output: Output,
}

/// A shard's activations, and the gradients by them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Before the norm.
    straight: Vec<f32>,
    first: Vec<f32>,
    by_first: Vec<f32>,
    second: Vec<f32>,
    by_second: Vec<f32>,
}

impl Mlp {
    /// Takes over a network's numbers.
    ///
    /// # Panics
    ///
    /// If they are not those of an [`Mlp`](crate::model::networks::mlp::Mlp). This is a bug.
    pub(super) fn new(fields: &Fields, rules: &Rules, dropout: f64, loss: Loss) -> Mlp {
        let [first, bias, gamma, beta, mean, variance, second, second_bias, output, output_bias] =
            &fields.floats[..]
        else {
            panic!("a network of the guide has ten parameters. This is a bug.");
        };
        let [inputs, units] = first.shape[..] else {
            panic!("weights have rows and columns. This is a bug.");
        };
        let (further, outputs) = (second_bias.values.len(), output_bias.values.len());
        let mut all = Parameters::default();
        let size = (Layout::Panels, inputs, units);
        let first = all.add_plain(size, rules.of(first), &first.values);
        let norm = Norm::new([bias, gamma, beta, mean, variance], rules, &mut all);
        let size = (Layout::Panels, units, further);
        let second = all.add_plain(size, rules.of(second), &second.values);
        let size = (Layout::Whole, 1, further);
        let second_bias = all.add_plain(size, rules.of(second_bias), &second_bias.values);
        let sizes = (1, further, outputs);
        let output = Output::new((output, output_bias), sizes, loss, rules, &mut all);
        let panel = |_| RwLock::new(vec![0.0; panels(further) * PANEL * PANEL]);
        Mlp {
            parameters: all,
            first,
            norm,
            dropout: Dropout::new(dropout),
            second,
            turned: (0..panels(units)).map(panel).collect(),
            second_bias,
            output,
        }
    }

    /// Turns round this thread's share of the second layer's weights.
    #[inline(always)]
    fn turn(&self, step: &Step<'_, Kept>) {
        for panel in step.team.mine(self.turned.len()) {
            let parts =
                (0..self.second.parts()).map(|part| self.parameters.part(&self.second, part));
            let parts: Vec<_> = parts.collect();
            let of: Vec<&[f32]> = parts.iter().map(|part| part.values.as_slice()).collect();
            transpose_panel(&of, panel, &mut write(&self.turned[panel]));
        }
    }

    /// Inputs, the first product, and its statistics.
    #[inline(always)]
    fn begin<S: Simd>(&self, simd: S, step: &Step<'_, Kept>) {
        for index in step.team.mine(step.shards.len()) {
            let shard = &mut *write(&step.shards[index]);
            shard.gather(step, index);
            let (rows, along) = (shard.rows, stride(self.first.columns));
            let inputs = Rows { values: &shard.inputs, stride: stride(self.first.rows) };
            let straight = &mut shard.kept.straight;
            grow(straight, height(rows) * along);
            for panel in 0..self.first.parts() {
                let weights = self.parameters.part(&self.first, panel);
                let straight = &mut straight[panel * PANEL..];
                product(simd, (rows, self.first.rows), inputs, &weights.values, straight, along);
            }
            self.norm.tell(index, rows, straight, along);
        }
    }

    /// From the norm to the loss, and back to the norm.
    #[inline(always)]
    fn turn_back<S: Simd>(&self, simd: S, step: &Step<'_, Kept>) {
        let statistics = self.norm.statistics(&self.parameters, step.shards.len());
        if step.team.worker == 0 {
            self.norm.follow(&self.parameters, &statistics);
        }
        let whole = self.output.whole(step);
        for index in step.team.mine(step.shards.len()) {
            let shard = &mut *write(&step.shards[index]);
            let random = Random::new(step.plan.seed, step.plan.turn, index, 0);
            self.activate(random, &statistics, shard);
            self.head(simd, whole, shard);
            self.back(simd, shard);
            let along = stride(self.first.columns);
            let Kept { straight, first, by_first, .. } = &mut shard.kept;
            let rows = first.chunks_exact(along).zip(straight.chunks_exact(along));
            let rows = rows.zip(by_first.chunks_exact_mut(along)).take(shard.rows);
            let scale = self.dropout.scale;
            self.norm.tell_back(index, &statistics, scale, rows, &mut shard.gradients);
        }
    }

    /// Norm, ReLU and dropout.
    #[inline(always)]
    fn activate(&self, mut random: Random, statistics: &Statistics, shard: &mut Shard<Kept>) {
        let along = stride(self.first.columns);
        let Statistics { scale, shift, .. } = statistics;
        let Kept { straight, first, .. } = &mut shard.kept;
        grow(first, height(shard.rows) * along);
        let rows = straight.chunks_exact(along).zip(first.chunks_exact_mut(along));
        for (straight, first) in rows.take(shard.rows) {
            let first = &mut first[..scale.len()];
            let columns = straight.iter().zip(scale.iter().zip(shift));
            for (active, (straight, (scale, shift))) in first.iter_mut().zip(columns) {
                *active = (straight * scale + shift).max(0.0);
            }
            if !self.dropout.is_off() {
                self.dropout.apply(&mut random, first);
            }
        }
    }

    /// The second layer, the outputs, the loss, and the gradients down to the second layer.
    #[inline(always)]
    fn head<S: Simd>(&self, simd: S, whole: Whole, shard: &mut Shard<Kept>) {
        let (rows, along) = (shard.rows, stride(self.second.columns));
        let Kept { first, second, by_second, .. } = &mut shard.kept;
        grow(second, height(rows) * along);
        grow(by_second, height(rows) * along);
        let first = Rows { values: first, stride: stride(self.second.rows) };
        for panel in 0..self.second.parts() {
            let weights = self.parameters.part(&self.second, panel);
            let second = &mut second[panel * PANEL..];
            product(simd, (rows, self.second.rows), first, &weights.values, second, along);
        }
        let bias = self.parameters.part(&self.second_bias, 0);
        for units in second.chunks_exact_mut(along).take(rows) {
            for (unit, bias) in units.iter_mut().zip(&bias.values) {
                *unit = (*unit + bias).max(0.0);
            }
        }
        self.output.run(simd, &self.parameters, whole, shard, |kept| {
            (&kept.second, &mut kept.by_second, along)
        });
        let sums = &mut shard.gradients[self.second_bias.gradient(0)];
        sums.fill(0.0);
        let Kept { second, by_second, .. } = &mut shard.kept;
        let by = second.chunks_exact(along).zip(by_second.chunks_exact_mut(along)).take(rows);
        for (units, by_units) in by {
            for (sum, (unit, by_unit)) in sums.iter_mut().zip(units.iter().zip(by_units)) {
                *by_unit = if *unit > 0.0 { *by_unit } else { 0.0 };
                *sum += *by_unit;
            }
        }
    }

    /// From the second layer's units to the first one's.
    #[inline(always)]
    fn back<S: Simd>(&self, simd: S, shard: &mut Shard<Kept>) {
        let (rows, along) = (shard.rows, stride(self.second.columns));
        let first_along = stride(self.second.rows);
        let Kept { first, by_first, by_second, .. } = &mut shard.kept;
        grow(by_first, height(rows) * first_along);
        let first = Rows { values: first, stride: first_along };
        for panel in 0..self.second.parts() {
            let by = Rows { values: &by_second[panel * PANEL..], stride: along };
            let gradients = &mut shard.gradients[self.second.gradient(panel)];
            product_of_transposed(simd, (self.second.rows, rows), first, by, gradients);
        }
        let by = Rows { values: by_second, stride: along };
        for (panel, turned) in self.turned.iter().enumerate() {
            let by_first = &mut by_first[panel * PANEL..];
            product(simd, (rows, self.second.columns), by, &read(turned), by_first, first_along);
        }
    }

    /// Back through the norm to the first layer's weights.
    #[inline(always)]
    fn end<S: Simd>(&self, simd: S, step: &Step<'_, Kept>) {
        let statistics = self.norm.statistics(&self.parameters, step.shards.len());
        let back = self.norm.back(&statistics, step.shards.len());
        let along = stride(self.first.columns);
        for index in step.team.mine(step.shards.len()) {
            let shard = &mut *write(&step.shards[index]);
            let Kept { straight, by_first, .. } = &mut shard.kept;
            let rows = straight.chunks_exact(along).zip(by_first.chunks_exact_mut(along));
            for (straight, by) in rows.take(shard.rows) {
                back.apply(&statistics, straight, by);
            }
            let inputs = Rows { values: &shard.inputs, stride: stride(self.first.rows) };
            for panel in 0..self.first.parts() {
                let by = Rows { values: &by_first[panel * PANEL..], stride: along };
                let gradients = &mut shard.gradients[self.first.gradient(panel)];
                let sizes = (self.first.rows, shard.rows);
                product_of_transposed(simd, sizes, inputs, by, gradients);
            }
        }
    }
}

impl Model for Mlp {
    type Kept = Kept;

    const ROWS_A_SHARD: usize = 64;
    const PHASES: usize = 3;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    #[inline(always)]
    fn phase<S: Simd>(&self, simd: S, phase: usize, step: &Step<'_, Kept>) {
        match phase {
            0 => {
                self.turn(step);
                self.begin(simd, step);
            }
            1 => self.turn_back(simd, step),
            _ => self.end(simd, step),
        }
    }
}

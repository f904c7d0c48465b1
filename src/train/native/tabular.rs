//! The tabular network: packed networks side by side over one encoding.
//!
//! Nothing in it is of more than one row, so a shard goes all the way to the loss and back in one phase.

use std::sync::RwLock;

use pulp::Simd;

use super::dropout::{Dropout, Random};
use super::encoded::{Encoding, Layer};
use super::engine::{Model, Shard, Step, grow};
use super::fields::{Field, Fields, Rules};
use super::loss::Loss;
use super::matrix::{
    PANEL, Rows, height, panels, product, product_of_transposed, stride, transpose_panel,
};
use super::output::Output;
use super::parameters::{Layout, Parameters, Place, read, write};

/// The network in training.
pub(super) struct Tabular {
    parameters: Parameters,
    encoding: Encoding,
    shape: Shape,
    first: Layer,
    hidden: Vec<Hidden>,
    output: Output,
    dropout: Dropout,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    packed: usize,
    units: usize,
}

impl Shape {
    /// Columns from one packed network's units to the next one's.
    fn wide(&self) -> usize {
        panels(self.units) * PANEL
    }

    fn all(&self) -> usize {
        self.packed * self.wide()
    }
}

/// A hidden layer: a product, a bias and a bend.
struct Hidden {
    /// `[1, all]` each
    bias: Place,
    bend: Place,
    /// `[packed * height(units), units]`; none of the first layer, which is over the encoding.
    weights: Option<Weights>,
}

struct Weights {
    place: Place,
    /// The other way round, by packed network and panel.
    transposed: Vec<RwLock<Vec<f32>>>,
}

/// A shard's activations, by layer, and the gradient by the last of them that is known.
#[derive(Debug, Default)]
pub(super) struct Kept {
    encoded: Vec<f32>,
    /// Before the bend.
    straight: Vec<Vec<f32>>,
    active: Vec<Vec<f32>>,
    by: Vec<f32>,
    by_below: Vec<f32>,
}

impl Tabular {
    /// Takes over a network's numbers.
    ///
    /// # Panics
    ///
    /// If they are not those of a [`Tabular`](crate::model::networks::tabular::Tabular). This is a bug.
    pub(super) fn new(fields: &Fields, rules: &Rules, dropout: f64, loss: Loss) -> Tabular {
        let mut parameters = Parameters::default();
        let (encoding, rest) = Encoding::new(fields, rules, &mut parameters);
        let [layers @ .., output, output_bias] = rest else {
            panic!("a tabular network has an output. This is a bug.");
        };
        let [packed, units, outputs] = output.shape[..] else {
            panic!("an output is packed. This is a bug.");
        };
        let shape = Shape { packed, units };
        let mut first = None;
        let hidden = layers.chunks_exact(3).map(|fields| {
            let weights = if first.is_none() {
                first = Some(Layer::new(first_weights(&fields[0], shape, rules, &mut parameters)));
                None
            } else {
                Some(Weights::new(&fields[0], shape, rules, &mut parameters))
            };
            let [bias, bend] =
                [1, 2].map(|index| of_units(&fields[index], shape, rules, &mut parameters));
            Hidden { bias, bend, weights }
        });
        let hidden = hidden.collect();
        let sizes = (packed, units, outputs);
        let output = Output::new((output, output_bias), sizes, loss, rules, &mut parameters);
        Tabular {
            first: first.expect("there is a hidden layer. This is a bug."),
            parameters,
            encoding,
            shape,
            hidden,
            output,
            dropout: Dropout::new(dropout),
        }
    }

    /// Forward through all hidden layers.
    #[inline(always)]
    fn forward<S: Simd>(
        &self,
        simd: S,
        step: &Step<'_, Kept>,
        index: usize,
        shard: &mut Shard<Kept>,
    ) {
        let (rows, along) = (shard.rows, stride(self.shape.all()));
        let Kept { encoded, straight, active, .. } = &mut shard.kept;
        straight.resize_with(self.hidden.len(), Vec::new);
        active.resize_with(self.hidden.len(), Vec::new);
        self.encoding.encode(rows, &shard.inputs, encoded);
        for (layer, hidden) in self.hidden.iter().enumerate() {
            let (below, active) = active.split_at_mut(layer);
            let (straight, active) = (&mut straight[layer], &mut active[0]);
            match &hidden.weights {
                None => self.first.forward(simd, rows, encoded, straight),
                Some(weights) => {
                    grow(straight, height(rows) * along);
                    weights.forward(simd, self, rows, &below[layer - 1], straight);
                }
            }
            grow(active, height(rows) * along);
            let bias = self.parameters.part(&hidden.bias, 0);
            let bend = self.parameters.part(&hidden.bend, 0);
            let mut random = Random::new(step.plan.seed, step.plan.turn, index, layer);
            let rows =
                straight.chunks_exact_mut(along).zip(active.chunks_exact_mut(along)).take(rows);
            for (straight, active) in rows {
                let active = &mut active[..self.shape.all()];
                let units = straight.iter_mut().zip(&mut *active);
                for ((straight, active), (bias, bend)) in
                    units.zip(bias.values.iter().zip(&bend.values))
                {
                    *straight += bias;
                    *active = *straight + (straight.max(0.0) - *straight) * bend;
                }
                if !self.dropout.is_off() {
                    self.dropout.apply(&mut random, active);
                }
            }
        }
    }

    /// Back through all hidden layers.
    #[inline(always)]
    fn backward<S: Simd>(
        &self,
        simd: S,
        step: &Step<'_, Kept>,
        index: usize,
        shard: &mut Shard<Kept>,
    ) {
        let (rows, along) = (shard.rows, stride(self.shape.all()));
        let Kept { encoded, straight, active, by, by_below } = &mut shard.kept;
        grow(by_below, height(rows) * along);
        for (layer, hidden) in self.hidden.iter().enumerate().rev() {
            let random = Random::new(step.plan.seed, step.plan.turn, index, layer);
            self.unbend(hidden, random, rows, (&straight[layer], by), &mut shard.gradients);
            match &hidden.weights {
                None => {
                    let of = (&self.encoding, &self.parameters);
                    self.first.backward(simd, of, rows, (encoded, by), &mut shard.gradients);
                }
                Some(weights) => {
                    let below = &active[layer - 1];
                    weights.backward(simd, self, rows, (below, by, by_below), &mut shard.gradients);
                    std::mem::swap(by, by_below);
                }
            }
        }
    }

    /// Back through a layer's dropout and bend.
    #[inline(always)]
    fn unbend(
        &self,
        hidden: &Hidden,
        mut random: Random,
        rows: usize,
        (straight, by): (&[f32], &mut [f32]),
        gradients: &mut [f32],
    ) {
        let (all, along) = (self.shape.all(), stride(self.shape.all()));
        let bend = self.parameters.part(&hidden.bend, 0);
        let (mut by_bias, mut by_bend) = (vec![0.0; all], vec![0.0; all]);
        let rows = straight.chunks_exact(along).zip(by.chunks_exact_mut(along)).take(rows);
        for (straight, by) in rows {
            let by = &mut by[..all];
            if !self.dropout.is_off() {
                self.dropout.apply(&mut random, by);
            }
            let sums = by_bias.iter_mut().zip(&mut by_bend);
            let units = straight.iter().zip(by).zip(&bend.values);
            for (((straight, by), bend), (by_bias, by_bend)) in units.zip(sums) {
                *by_bend += (straight.max(0.0) - straight) * *by;
                *by *= if *straight > 0.0 { 1.0 } else { 1.0 - bend };
                *by_bias += *by;
            }
        }
        gradients[hidden.bias.gradient(0)].copy_from_slice(&by_bias);
        gradients[hidden.bend.gradient(0)].copy_from_slice(&by_bend);
    }
}

/// The first layer's weights, which Burn has as `[packed, encoded, units]`.
fn first_weights(field: &Field, shape: Shape, rules: &Rules, parameters: &mut Parameters) -> Place {
    let encoded = field.shape[1];
    let cells = (0..shape.packed).flat_map(move |net| {
        let cell = move |row| (0..shape.units).map(move |unit| (row, net * shape.wide() + unit));
        (0..encoded).flat_map(cell)
    });
    parameters.add((Layout::Panels, encoded, shape.all()), rules.of(field), &field.values, cells)
}

/// A number for each unit.
fn of_units(field: &Field, shape: Shape, rules: &Rules, parameters: &mut Parameters) -> Place {
    let cells = (0..shape.packed)
        .flat_map(|net| (0..shape.units).map(move |unit| (0, net * shape.wide() + unit)));
    parameters.add((Layout::Whole, 1, shape.all()), rules.of(field), &field.values, cells)
}

impl Weights {
    /// Those of one layer, which Burn has as `[packed, units, units]`.
    fn new(field: &Field, shape: Shape, rules: &Rules, parameters: &mut Parameters) -> Weights {
        let Shape { packed, units } = shape;
        let high = height(units);
        let cells = (0..packed).flat_map(|net| {
            let cell = move |from| (0..units).map(move |to| (net * high + from, to));
            (0..units).flat_map(cell)
        });
        let size = (Layout::Panels, packed * high, units);
        let place = parameters.add(size, rules.of(field), &field.values, cells);
        let panel = |_| RwLock::new(vec![0.0; panels(units) * PANEL * PANEL]);
        Weights { transposed: (0..packed * panels(units)).map(panel).collect(), place }
    }

    /// Turns round this thread's share.
    #[inline(always)]
    fn prepare(&self, tabular: &Tabular, step: &Step<'_, Kept>) {
        let high = height(tabular.shape.units);
        for index in step.team.mine(self.transposed.len()) {
            let (net, panel) = (index / self.place.parts(), index % self.place.parts());
            let parts: Vec<_> = (0..self.place.parts())
                .map(|part| tabular.parameters.part(&self.place, part))
                .collect();
            let of: Vec<&[f32]> = parts
                .iter()
                .map(|part| &part.values[net * high * PANEL..][..high * PANEL])
                .collect();
            transpose_panel(&of, panel, &mut write(&self.transposed[index]));
        }
    }

    #[inline(always)]
    fn forward<S: Simd>(
        &self,
        simd: S,
        tabular: &Tabular,
        rows: usize,
        below: &[f32],
        straight: &mut [f32],
    ) {
        let Shape { packed, units } = tabular.shape;
        let along = stride(tabular.shape.all());
        for panel in 0..self.place.parts() {
            let weights = tabular.parameters.part(&self.place, panel);
            for net in 0..packed {
                let first = net * tabular.shape.wide();
                let below = Rows { values: &below[first..], stride: along };
                let weights = &weights.values[net * height(units) * PANEL..];
                let straight = &mut straight[first + panel * PANEL..];
                product(simd, (rows, units), below, weights, straight, along);
            }
        }
    }

    #[inline(always)]
    fn backward<S: Simd>(
        &self,
        simd: S,
        tabular: &Tabular,
        rows: usize,
        (below, by, by_below): (&[f32], &[f32], &mut [f32]),
        gradients: &mut [f32],
    ) {
        let Shape { packed, units } = tabular.shape;
        let along = stride(tabular.shape.all());
        for net in 0..packed {
            let first = net * tabular.shape.wide();
            let below = Rows { values: &below[first..], stride: along };
            for panel in 0..self.place.parts() {
                let by = Rows { values: &by[first + panel * PANEL..], stride: along };
                let gradients = &mut gradients[self.place.gradient(panel)];
                let gradients = &mut gradients[net * height(units) * PANEL..];
                product_of_transposed(simd, (units, rows), below, by, gradients);
            }
            let by = Rows { values: &by[first..], stride: along };
            for panel in 0..self.place.parts() {
                let turned = read(&self.transposed[net * self.place.parts() + panel]);
                let by_below = &mut by_below[first + panel * PANEL..];
                product(simd, (rows, units), by, &turned, by_below, along);
            }
        }
    }
}

impl Model for Tabular {
    type Kept = Kept;

    // Gradients of a shard are larger than those of the guide's network, and cost more to sum.
    const ROWS_A_SHARD: usize = 128;
    const PHASES: usize = 2;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    #[inline(always)]
    fn phase<S: Simd>(&self, simd: S, phase: usize, step: &Step<'_, Kept>) {
        if phase == 0 {
            self.first.prepare(&self.encoding, &self.parameters, step.team);
            let hidden = self.hidden.iter().filter_map(|hidden| hidden.weights.as_ref());
            hidden.for_each(|weights| weights.prepare(self, step));
            return;
        }
        let (whole, along) = (self.output.whole(step), stride(self.shape.all()));
        for index in step.team.mine(step.shards.len()) {
            let shard = &mut *write(&step.shards[index]);
            shard.gather(step, index);
            self.forward(simd, step, index, shard);
            grow(&mut shard.kept.by, height(shard.rows) * along);
            self.output.run(simd, &self.parameters, whole, shard, |kept| {
                let active = kept.active.last().expect("there is a layer. This is a bug.");
                (active, &mut kept.by, along)
            });
            self.backward(simd, step, index, shard);
        }
    }
}

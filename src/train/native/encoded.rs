//! The first layer of networks that encode their inputs: gates, bins, and a product with both.
//!
//! A gate's gradient needs no gradient by the layer's inputs: with `u = e' z` of the inputs without
//! gates, that of a weight is its gate times `u`, and that of a gate the sum of its weights times `u`.

use std::sync::RwLock;

use pulp::Simd;

use super::engine::grow;
use super::fields::{Field, Fields, Rules};
use super::matrix::{PANEL, Rows, height, panels, product, product_of_transposed, stride};
use super::parameters::{Layout, Parameters, Place, Rule, read, write};
use super::pool::Team;
use crate::model::networks::gated::GATE_SPEED;

/// Bins of one input that follow each other.
#[derive(Debug, Clone)]
struct Run {
    column: usize,
    bins: std::ops::Range<usize>,
}

/// Gates and bins of all inputs.
#[derive(Debug)]
pub(super) struct Encoding {
    /// Inputs of a row.
    pub(super) width: usize,
    /// Which input each bin is of.
    columns: Vec<usize>,
    runs: Vec<Run>,
    lower: Vec<f32>,
    inverse_width: Vec<f32>,
    /// `[1, width]`, divided by [`GATE_SPEED`]
    gates: Place,
}

impl Encoding {
    /// Takes the first parameters of a network, and returns what comes after them.
    pub(super) fn new<'a>(
        fields: &'a Fields,
        rules: &Rules,
        parameters: &mut Parameters,
    ) -> (Encoding, &'a [Field]) {
        let (gates, rest) = fields.floats.split_first().expect("there are gates. This is a bug.");
        let width = gates.values.len();
        let place = parameters.add_plain((Layout::Whole, 1, width), rules.of(gates), &gates.values);
        let columns: Vec<usize> = fields.integers.iter().map(|column| *column as usize).collect();
        let mut encoding = Encoding {
            width,
            runs: runs(&columns),
            columns,
            lower: Vec::new(),
            inverse_width: Vec::new(),
            gates: place,
        };
        let bins = encoding.columns.len();
        let (constants, rest) = rest.split_at(if bins == 0 { 0 } else { 2 });
        for field in constants {
            parameters.add_plain((Layout::Whole, 1, bins), Rule::FROZEN, &field.values);
        }
        if let [lower, inverse_width] = constants {
            encoding.lower.clone_from(&lower.values);
            encoding.inverse_width.clone_from(&inverse_width.values);
        }
        (encoding, rest)
    }

    /// Inputs and bins together.
    pub(super) fn len(&self) -> usize {
        self.width + self.columns.len()
    }

    /// Inputs as they are, and how far each bin is filled, without the gates.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[rows, width]` at [`stride`]
    /// - `into`: `[height(rows), len]` at [`stride`]
    #[inline(always)]
    pub(super) fn encode(&self, rows: usize, inputs: &[f32], into: &mut Vec<f32>) {
        let along = stride(self.len());
        grow(into, height(rows) * along);
        let rows =
            inputs.chunks_exact(stride(self.width)).zip(into.chunks_exact_mut(along)).take(rows);
        for (inputs, into) in rows {
            let (plain, bins) = into.split_at_mut(self.width);
            plain.copy_from_slice(&inputs[..self.width]);
            for Run { column, bins: run } in &self.runs {
                let value = inputs[*column];
                let borders = self.lower[run.clone()].iter().zip(&self.inverse_width[run.clone()]);
                for (bin, (lower, inverse)) in bins[run.clone()].iter_mut().zip(borders) {
                    // Centred, like the inputs.
                    *bin = ((value - lower) * inverse).clamp(0.0, 1.0) - 0.5;
                }
            }
        }
    }

    /// The gate of each input and bin.
    fn gates(&self, parameters: &Parameters) -> Vec<f32> {
        let gates = parameters.part(&self.gates, 0);
        let columns = (0..self.width).chain(self.columns.iter().copied());
        columns.map(|column| gates.values[column] * GATE_SPEED as f32).collect()
    }
}

fn runs(columns: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (bin, column) in columns.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.column == *column => run.bins.end = bin + 1,
            _ => runs.push(Run { column: *column, bins: bin..bin + 1 }),
        }
    }
    runs
}

/// A product of what is encoded with weights.
#[derive(Debug)]
pub(super) struct Layer {
    /// `[encoding.len(), columns]`
    weights: Place,
    /// The weights times their gates, by panels.
    gated: Vec<RwLock<Vec<f32>>>,
}

impl Layer {
    /// Over these weights.
    pub(super) fn new(weights: Place) -> Layer {
        let panel = |_| RwLock::new(vec![0.0; height(weights.rows) * PANEL]);
        Layer { gated: (0..weights.parts()).map(panel).collect(), weights }
    }

    /// Brings the gates to the weights: this thread's share.
    #[inline(always)]
    pub(super) fn prepare(&self, encoding: &Encoding, parameters: &Parameters, team: Team<'_>) {
        let gates = encoding.gates(parameters);
        for panel in team.mine(self.gated.len()) {
            let weights = parameters.part(&self.weights, panel);
            let mut gated = write(&self.gated[panel]);
            let rows = weights.values.chunks_exact(PANEL).zip(gated.chunks_exact_mut(PANEL));
            for ((weights, gated), gate) in rows.zip(&gates) {
                for (weight, gated) in weights.iter().zip(gated) {
                    *gated = weight * gate;
                }
            }
        }
    }

    /// # Shapes
    ///
    /// - `encoded`: `[height(rows), encoding.len()]`
    /// - `into`: `[height(rows), columns]`
    #[inline(always)]
    pub(super) fn forward<S: Simd>(
        &self,
        simd: S,
        rows: usize,
        encoded: &[f32],
        into: &mut Vec<f32>,
    ) {
        let along = stride(self.weights.columns);
        grow(into, height(rows) * along);
        let encoded = Rows { values: encoded, stride: stride(self.weights.rows) };
        for (panel, gated) in self.gated.iter().enumerate() {
            let into = &mut into[panel * PANEL..];
            product(simd, (rows, self.weights.rows), encoded, &read(gated), into, along);
        }
    }

    /// The gradients by weights and gates, from those by what the product gave.
    ///
    /// # Shapes
    ///
    /// - `encoded`: `[rows, encoding.len()]`
    /// - `by`: `[rows, columns]`
    #[inline(always)]
    pub(super) fn backward<S: Simd>(
        &self,
        simd: S,
        (encoding, parameters): (&Encoding, &Parameters),
        rows: usize,
        (encoded, by): (&[f32], &[f32]),
        gradients: &mut [f32],
    ) {
        let gates = encoding.gates(parameters);
        let mut by_gates = vec![0.0; panels(encoding.width) * PANEL];
        let encoded = Rows { values: encoded, stride: stride(self.weights.rows) };
        let along = stride(self.weights.columns);
        for panel in 0..self.gated.len() {
            let by = Rows { values: &by[panel * PANEL..], stride: along };
            let gradients = &mut gradients[self.weights.gradient(panel)];
            product_of_transposed(simd, (self.weights.rows, rows), encoded, by, gradients);
            let weights = parameters.part(&self.weights, panel);
            let rows = gradients.chunks_exact_mut(PANEL).zip(weights.values.chunks_exact(PANEL));
            let columns = (0..encoding.width).chain(encoding.columns.iter().copied());
            for (((gradient, weights), gate), column) in rows.zip(&gates).zip(columns) {
                by_gates[column] += super::matrix::dot(simd, gradient, weights) * GATE_SPEED as f32;
                gradient.iter_mut().for_each(|gradient| *gradient *= gate);
            }
        }
        gradients[encoding.gates.gradient(0)].copy_from_slice(&by_gates);
    }
}

//! The networks without a tensor framework, for a few rows at a time.
//!
//! A forward pass of one row is some hundred thousand multiplications; through a tensor framework
//! most of its time goes into the calls (see BENCHMARKS.md). Here the batch norms are folded into
//! the layers beside them, inputs whose gate is closed are left out, and what remains is loops over
//! slices that the compiler vectorises for the processor that it runs on. The tests hold it equal
//! to Burn's results.

use burn::nn::{BatchNorm, Linear};

use super::floats;
use super::gated::GatedInputs;
use super::mixture::Mixture;
use super::mlp::Mlp;
use super::network::Network;
use super::residual::Residual;
use super::tabular::{PackedLinear, Tabular};

/// A network, folded.
#[derive(Debug, Clone)]
pub struct Lean {
    inputs: Inputs,
    steps: Vec<Step>,
}

/// What enters the first layer: some of the inputs, and bins of some of them.
#[derive(Debug, Clone, Default)]
struct Inputs {
    columns: Vec<usize>,
    /// Column, lower border and one over the width.
    bins: Vec<(usize, f32, f32)>,
}

#[derive(Debug, Clone)]
enum Step {
    Layer(Layer),
    /// The layers' result is added to what went in.
    Residual(Vec<Layer>),
    /// Softmax of each part of the inputs, and the logit of the probability that the shares mix.
    Mixture(Vec<Components>),
    /// `relu(x scale + shift)`, element by element.
    ScaledRelu {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
}

/// The components of one packed mixture.
#[derive(Debug, Clone)]
struct Components {
    /// `[components]`
    yes: Vec<f32>,
    /// `[components]`
    no: Vec<f32>,
    /// `[outputs - 1][components]`
    further: Vec<Vec<f32>>,
}

/// Linear layers side by side, and an activation.
#[derive(Debug, Clone)]
struct Layer {
    /// How many there are; each has its own part of the inputs and of the outputs.
    blocks: usize,
    /// `[blocks, inputs, outputs]`
    weights: Vec<f32>,
    /// `[blocks, outputs]`
    bias: Vec<f32>,
    /// `a` of `a relu(x) + (1 - a) x`, one a block's output: 1 is ReLU; empty for no activation.
    bend: Vec<f32>,
}

impl Lean {
    /// Folds a network.
    pub fn new(network: &Network) -> Lean {
        let (inputs, steps) = match network {
            Network::Mlp(network) => mlp(network),
            Network::Tabular(network) => tabular(network),
            Network::Residual(network) => residual(network),
            Network::Mixture(network) => mixture(network),
        };
        Lean { inputs, steps }
    }

    /// The raw outputs of one row, packed networks one after the other.
    ///
    /// # Shapes
    ///
    /// - `row`: `[INPUT_COUNT]`
    /// - output: `[packed * outputs]`
    pub fn outputs(&self, row: &[f32]) -> Vec<f32> {
        vectorized(
            #[inline(always)]
            || {
                let mut values = self.inputs.of(row);
                for step in &self.steps {
                    values = step.forward(values);
                }
                values
            },
        )
    }
}

/// Runs a closure, and all that is inlined into it, compiled for AVX2 where the processor has it.
#[inline(always)]
fn vectorized<R>(closure: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(closure);
    }
    closure()
}

impl Inputs {
    #[inline(always)]
    fn of(&self, row: &[f32]) -> Vec<f32> {
        let plain = self.columns.iter().map(|column| row[*column]);
        let filled = |(column, lower, inverse): &(usize, f32, f32)| {
            ((row[*column] - lower) * inverse).clamp(0.0, 1.0)
        };
        let mut values = Vec::with_capacity(self.columns.len() + self.bins.len());
        values.extend(plain);
        values.extend(self.bins.iter().map(filled));
        values
    }
}

impl Step {
    #[inline(always)]
    fn forward(&self, mut values: Vec<f32>) -> Vec<f32> {
        match self {
            Step::Layer(layer) => layer.forward(&values),
            Step::Residual(layers) => {
                let mut inner = layers[0].forward(&values);
                for layer in &layers[1..] {
                    inner = layer.forward(&inner);
                }
                for (value, addend) in values.iter_mut().zip(&inner) {
                    *value += addend;
                }
                values
            }
            Step::Mixture(mixtures) => {
                let scores = values.chunks_exact(mixtures[0].yes.len());
                mixtures.iter().zip(scores).flat_map(|(mixture, s)| mixture.mix(s)).collect()
            }
            Step::ScaledRelu { scale, shift } => {
                for ((value, scale), shift) in values.iter_mut().zip(scale).zip(shift) {
                    *value = (*value * scale + shift).max(0.0);
                }
                values
            }
        }
    }
}

impl Components {
    fn mix(&self, scores: &[f32]) -> Vec<f32> {
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shares: Vec<f32> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f32 = shares.iter().sum();
        let mixed = |values: &[f32]| {
            shares.iter().zip(values).map(|(share, value)| share * value).sum::<f32>() / sum
        };
        let logit = mixed(&self.yes).ln() - mixed(&self.no).ln();
        std::iter::once(logit).chain(self.further.iter().map(|values| mixed(values))).collect()
    }
}

impl Layer {
    #[inline(always)]
    fn forward(&self, inputs: &[f32]) -> Vec<f32> {
        let mut outputs = self.bias.clone();
        let width = inputs.len() / self.blocks;
        let units = outputs.len() / self.blocks;
        if width > 0 && units > 0 {
            let blocks = inputs.chunks_exact(width).zip(outputs.chunks_exact_mut(units));
            for ((inputs, outputs), weights) in blocks.zip(self.weights.chunks_exact(width * units))
            {
                add_product(inputs, weights, outputs);
            }
        }
        for (value, bend) in outputs.iter_mut().zip(&self.bend) {
            *value += (value.max(0.0) - *value) * bend;
        }
        outputs
    }
}

/// `outputs += inputs weights`, four rows of the weights at a time so that each output is read and
/// written once for them.
#[inline(always)]
fn add_product(inputs: &[f32], weights: &[f32], outputs: &mut [f32]) {
    let units = outputs.len();
    let mut quads = inputs.chunks_exact(4);
    let mut rows = weights.chunks_exact(4 * units);
    for (quad, rows) in quads.by_ref().zip(rows.by_ref()) {
        // ReLU and empty bins give many zeros, often several in a row.
        if quad.iter().all(|value| *value == 0.0) {
            continue;
        }
        let (first, rest) = rows.split_at(units);
        let (second, rest) = rest.split_at(units);
        let (third, fourth) = rest.split_at(units);
        let rows = first.iter().zip(second).zip(third).zip(fourth);
        for (output, (((a, b), c), d)) in outputs.iter_mut().zip(rows) {
            *output += (quad[0] * a + quad[1] * b) + (quad[2] * c + quad[3] * d);
        }
    }
    for (value, row) in quads.remainder().iter().zip(rows.remainder().chunks_exact(units)) {
        for (output, weight) in outputs.iter_mut().zip(row) {
            *output += value * weight;
        }
    }
}

/// What a batch norm does outside training: `x scale + shift`.
struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Affine {
    fn of(norm: &BatchNorm) -> Affine {
        let deviation = (norm.running_var.value() + norm.epsilon).sqrt();
        let scale = norm.gamma.val() / deviation;
        let shift = norm.beta.val() - norm.running_mean.value() * scale.clone();
        Affine { scale: floats(scale), shift: floats(shift) }
    }
}

impl Layer {
    fn of(linear: &Linear) -> Layer {
        let [_, outputs] = linear.weight.dims();
        let bias = linear.bias.as_ref();
        Layer {
            blocks: 1,
            weights: floats(linear.weight.val().flatten(0, 1)),
            bias: bias.map_or_else(|| vec![0.0; outputs], |bias| floats(bias.val())),
            bend: Vec::new(),
        }
    }

    fn of_packed(linear: &PackedLinear) -> Layer {
        Layer {
            blocks: linear.weight.dims()[0],
            weights: floats(linear.weight.val().flatten(0, 2)),
            bias: floats(linear.bias.val().flatten(0, 2)),
            bend: Vec::new(),
        }
    }

    fn relu(self) -> Layer {
        Layer { bend: vec![1.0; self.bias.len()], ..self }
    }

    /// The layer with its outputs scaled and shifted.
    fn then(mut self, affine: &Affine) -> Layer {
        let units = self.bias.len();
        for row in self.weights.chunks_exact_mut(units) {
            row.iter_mut().zip(&affine.scale).for_each(|(weight, scale)| *weight *= scale);
        }
        for (bias, (scale, shift)) in
            self.bias.iter_mut().zip(affine.scale.iter().zip(&affine.shift))
        {
            *bias = *bias * scale + shift;
        }
        self
    }

    /// The layer with its inputs scaled and shifted first.
    fn after(mut self, affine: &Affine) -> Layer {
        let units = self.bias.len();
        let rows = self.weights.chunks_exact_mut(units);
        for (row, (scale, shift)) in rows.zip(affine.scale.iter().zip(&affine.shift)) {
            for (bias, weight) in self.bias.iter_mut().zip(row) {
                *bias += *weight * shift;
                *weight *= scale;
            }
        }
        self
    }
}

fn all_inputs(count: usize) -> Inputs {
    Inputs { columns: (0..count).collect(), bins: Vec::new() }
}

fn mlp(network: &Mlp) -> (Inputs, Vec<Step>) {
    let inputs = all_inputs(network.first.weight.dims()[0]);
    let first = Layer::of(&network.first).then(&Affine::of(&network.norm)).relu();
    let layers = [first, Layer::of(&network.second).relu(), Layer::of(&network.output)];
    (inputs, layers.into_iter().map(Step::Layer).collect())
}

fn residual(network: &Residual) -> (Inputs, Vec<Step>) {
    let inputs = all_inputs(network.first.weight.dims()[0]);
    let blocks = network.blocks.iter().map(|block| {
        let inner = Layer::of(&block.inner).after(&Affine::of(&block.norm)).relu();
        Step::Residual(vec![inner, Layer::of(&block.outer)])
    });
    let Affine { scale, shift } = Affine::of(&network.norm);
    let steps = std::iter::once(Step::Layer(Layer::of(&network.first)))
        .chain(blocks)
        .chain([Step::ScaledRelu { scale, shift }, Step::Layer(Layer::of(&network.output))])
        .collect();
    (inputs, steps)
}

fn tabular(network: &Tabular) -> (Inputs, Vec<Step>) {
    let mut inputs = Inputs::default();
    let mut steps = Vec::new();
    for (index, layer) in network.hidden.iter().enumerate() {
        let folded = if index == 0 {
            let [packed, width, units] = layer.linear.weight.dims();
            let weights = layer.linear.weight.val().swap_dims(0, 1);
            let weights = floats(weights.reshape([width * packed * units]));
            let bias = floats(layer.linear.bias.val().flatten(0, 2));
            let (open, folded) = first_layer(&network.inputs, &weights, bias);
            inputs = open;
            folded
        } else {
            Layer::of_packed(&layer.linear)
        };
        let bend = floats(layer.bend.val().flatten(0, 2));
        steps.push(Step::Layer(Layer { bend, ..folded }));
    }
    steps.push(Step::Layer(Layer::of_packed(&network.output)));
    (inputs, steps)
}

fn mixture(network: &Mixture) -> (Inputs, Vec<Step>) {
    let weights = floats(network.weight.val().flatten(0, 1));
    let (inputs, layer) = first_layer(&network.inputs, &weights, floats(network.bias.val()));
    let [packed, components, outputs] = network.said.dims();
    let said = floats(network.said.val().flatten(0, 2));
    let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
    let mixtures = said.chunks_exact(components * outputs).map(|said| {
        let column =
            |output: usize| said.iter().skip(output).step_by(outputs).copied().collect::<Vec<_>>();
        let logits = column(0);
        Components {
            yes: logits.iter().map(|logit| sigmoid(*logit)).collect(),
            no: logits.iter().map(|logit| sigmoid(-logit)).collect(),
            further: (1..outputs).map(column).collect(),
        }
    });
    let mixtures: Vec<Components> = mixtures.collect();
    debug_assert_eq!(mixtures.len(), packed);
    (inputs, vec![Step::Layer(layer), Step::Mixture(mixtures)])
}

/// The first layer over the inputs whose gates are open, with the gates and the encoding's centre
/// folded in.
///
/// # Shapes
///
/// - `weights`: `[inputs + bins, units]`, row-major
/// - `bias`: `[units]`
fn first_layer(gated: &GatedInputs, weights: &[f32], mut bias: Vec<f32>) -> (Inputs, Layer) {
    let (gates, bins) = gated.values();
    let mut inputs = Inputs::default();
    let mut folded = Vec::new();
    for (index, row) in weights.chunks_exact(bias.len()).enumerate() {
        let bin = index.checked_sub(gates.len());
        let column = bin.map_or(index, |bin| bins.columns[bin] as usize);
        let gate = gates[column];
        if gate == 0.0 {
            continue;
        }
        match bin {
            None => inputs.columns.push(column),
            Some(bin) => {
                inputs.bins.push((column, bins.lower[bin], bins.inverse_width[bin]));
                bias.iter_mut().zip(row).for_each(|(bias, weight)| *bias -= 0.5 * gate * weight);
            }
        }
        folded.extend(row.iter().map(|weight| gate * weight));
    }
    (inputs, Layer { blocks: 1, weights: folded, bias, bend: Vec::new() })
}

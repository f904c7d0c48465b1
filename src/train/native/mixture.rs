//! The mixture of regions: a softmax over scores of one encoding.

use pulp::Simd;

use super::dropout::{Dropout, Random};
use super::encoded::{Encoding, Layer};
use super::engine::{Model, Shard, Step};
use super::fields::{Fields, Rules};
use super::loss::{Loss, Whole, sigmoid};
use super::matrix::{PANEL, panels, stride};
use super::parameters::{Layout, Parameters, Place, write};

/// The network in training.
pub(super) struct Mixture {
    parameters: Parameters,
    encoding: Encoding,
    layer: Layer,
    /// `[1, packed * components]`
    bias: Place,
    /// `[packed * outputs, components]`
    said: Place,
    packed: usize,
    components: usize,
    outputs: usize,
    dropout: Dropout,
    loss: Loss,
}

/// A shard's encoding, and its scores, which become the gradients by them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    encoded: Vec<f32>,
    scores: Vec<f32>,
}

/// What the components say, and sums of gradients by it.
struct Said {
    /// `[packed * components]`: each one's probability, and that of the opposite.
    yes: Vec<f32>,
    no: Vec<f32>,
    /// `[packed * outputs, components]`, each row padded to whole panels
    values: Vec<f32>,
    by_values: Vec<f32>,
    by_bias: Vec<f32>,
    /// `[components]`: the gradients by one mixture's shares.
    by_shares: Vec<f32>,
}

impl Mixture {
    /// Takes over a network's numbers.
    ///
    /// # Panics
    ///
    /// If they are not those of a [`Mixture`](crate::model::networks::mixture::Mixture). This is a bug.
    pub(super) fn new(fields: &Fields, rules: &Rules, dropout: f64, loss: Loss) -> Mixture {
        let mut parameters = Parameters::default();
        let (encoding, rest) = Encoding::new(fields, rules, &mut parameters);
        let [weight, bias, said] = rest else {
            panic!("a mixture has three parameters besides its gates. This is a bug.");
        };
        let [packed, components, outputs] = said.shape[..] else {
            panic!("a mixture is packed. This is a bug.");
        };
        let scores = packed * components;
        let size = (Layout::Panels, encoding.len(), scores);
        let layer = Layer::new(parameters.add_plain(size, rules.of(weight), &weight.values));
        let size = (Layout::Whole, 1, scores);
        let bias = parameters.add_plain(size, rules.of(bias), &bias.values);
        let cells = (0..packed).flat_map(|net| {
            let cell = move |one| (0..outputs).map(move |output| (net * outputs + output, one));
            (0..components).flat_map(cell)
        });
        let size = (Layout::Whole, packed * outputs, components);
        let said = parameters.add(size, rules.of(said), &said.values, cells);
        Mixture {
            parameters,
            encoding,
            layer,
            bias,
            said,
            packed,
            components,
            outputs,
            dropout: Dropout::new(dropout),
            loss,
        }
    }

    /// Inputs, encoding and scores.
    #[inline(always)]
    fn forward<S: Simd>(
        &self,
        simd: S,
        step: &Step<'_, Kept>,
        index: usize,
        shard: &mut Shard<Kept>,
    ) {
        let Kept { encoded, scores } = &mut shard.kept;
        self.encoding.encode(shard.rows, &shard.inputs, encoded);
        if !self.dropout.is_off() {
            let mut random = Random::new(step.plan.seed, step.plan.turn, index, 0);
            let wide = panels(self.encoding.len()) * PANEL;
            for row in encoded.chunks_exact_mut(stride(self.encoding.len())).take(shard.rows) {
                self.dropout.apply(&mut random, &mut row[..wide]);
            }
        }
        self.layer.forward(simd, shard.rows, encoded, scores);
    }

    /// What is the same for all rows.
    fn said(&self) -> Said {
        let wide = panels(self.components) * PANEL;
        let values = self.parameters.part(&self.said, 0).values.clone();
        let logits = values.chunks_exact(wide * self.outputs);
        let logits: Vec<f32> =
            logits.flat_map(|logits| &logits[..self.components]).copied().collect();
        Said {
            yes: logits.iter().map(|logit| sigmoid(*logit)).collect(),
            no: logits.iter().map(|logit| sigmoid(-logit)).collect(),
            by_values: vec![0.0; values.len()],
            values,
            by_bias: vec![0.0; panels(self.packed * self.components) * PANEL],
            by_shares: vec![0.0; self.components],
        }
    }

    /// Shares, outputs, loss, and the gradients by these; the scores become the gradients by them.
    #[inline(always)]
    fn head(&self, whole: Whole, said: &mut Said, shard: &mut Shard<Kept>) {
        let (scores, along) =
            (self.packed * self.components, stride(self.packed * self.components));
        let bias = self.parameters.part(&self.bias, 0);
        said.by_values.fill(0.0);
        said.by_bias.fill(0.0);
        shard.loss = 0.0;
        let rows = shard.kept.scores.chunks_exact_mut(along).take(shard.rows);
        for (row, all) in rows.enumerate() {
            let all = &mut all[..scores];
            let truth = (shard.converted[row], shard.times[row]);
            all.iter_mut().zip(&bias.values).for_each(|(score, bias)| *score += bias);
            for net in 0..self.packed {
                let shares = &mut all[net * self.components..][..self.components];
                softmax(shares);
                shard.loss += f64::from(self.one(net, shares, truth, whole, said));
            }
            said.by_bias.iter_mut().zip(&*all).for_each(|(sum, by)| *sum += by);
        }
        shard.gradients[self.bias.gradient(0)].copy_from_slice(&said.by_bias);
        shard.gradients[self.said.gradient(0)].copy_from_slice(&said.by_values);
    }

    /// One packed mixture's loss of a row; its shares become the gradients by its scores.
    #[inline(always)]
    fn one(
        &self,
        net: usize,
        shares: &mut [f32],
        truth: (f32, f32),
        whole: Whole,
        said: &mut Said,
    ) -> f32 {
        let wide = panels(self.components) * PANEL;
        let mine = net * self.components..(net + 1) * self.components;
        let (yes, no) = (&said.yes[mine.clone()], &said.no[mine]);
        let values = &said.values[net * self.outputs * wide..];
        let by_values = &mut said.by_values[net * self.outputs * wide..];
        let (all_yes, all_no) = (mixed(shares, yes), mixed(shares, no));
        let (mut outputs, mut by) = ([0.0; 2], [0.0; 2]);
        let (outputs, by) = (&mut outputs[..self.outputs], &mut by[..self.outputs]);
        outputs[0] = all_yes.ln() - all_no.ln();
        for (output, values) in outputs.iter_mut().zip(values.chunks_exact(wide)).skip(1) {
            *output = mixed(shares, values);
        }
        let loss = self.loss.of_row(outputs, truth, whole, by);
        let (by_yes, by_no) = (by[0] / all_yes, by[0] / all_no);
        for one in 0..self.components {
            let (yes, no, share) = (yes[one], no[one], shares[one]);
            said.by_shares[one] = by_yes * yes - by_no * no;
            by_values[one] += share * yes * no * (by_yes + by_no);
        }
        for (output, by) in by.iter().enumerate().skip(1) {
            for one in 0..self.components {
                said.by_shares[one] += by * values[output * wide + one];
                by_values[output * wide + one] += by * shares[one];
            }
        }
        let mean = mixed(shares, &said.by_shares);
        for (share, by) in shares.iter_mut().zip(&said.by_shares) {
            *share *= by - mean;
        }
        loss
    }
}

/// The mean of values by shares.
#[inline(always)]
fn mixed(shares: &[f32], values: &[f32]) -> f32 {
    shares.iter().zip(values).map(|(share, value)| share * value).sum()
}

/// Scores become shares.
#[inline(always)]
fn softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - most).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

impl Model for Mixture {
    type Kept = Kept;

    const ROWS_A_SHARD: usize = 128;
    const PHASES: usize = 2;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    #[inline(always)]
    fn phase<S: Simd>(&self, simd: S, phase: usize, step: &Step<'_, Kept>) {
        if phase == 0 {
            self.layer.prepare(&self.encoding, &self.parameters, step.team);
            return;
        }
        let whole = step.whole(&self.loss, self.packed);
        let mut said = self.said();
        for index in step.team.mine(step.shards.len()) {
            let shard = &mut *write(&step.shards[index]);
            shard.gather(step, index);
            self.forward(simd, step, index, shard);
            self.head(whole, &mut said, shard);
            let Kept { encoded, scores } = &shard.kept;
            let of = (&self.encoding, &self.parameters);
            self.layer.backward(simd, of, shard.rows, (encoded, scores), &mut shard.gradients);
        }
    }
}

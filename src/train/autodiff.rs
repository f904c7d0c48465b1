//! Training with Burn: its networks and their gradients, any of them and on any device.
//!
//! The networks are tiny, so on a GPU the launches of kernels cost more than what they compute.
//! Therefore rows, and the order of a pass, are brought to the device once; the optimiser works on
//! all parameters as one vector, a dozen launches in place of a dozen for each; and the loss is read
//! once a pass.

use std::ops::Range;

use burn::module::{Module, ParamGroup};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::data::Part;
use super::frugal::Divisible;
use super::learner::{Learner, UnfitState};
use super::member::MemberConfig;
use super::objective::Objective;
use super::weights::{self, Layout, Slopes, Spread, Values};
use crate::features::engineer::INPUT_COUNT;
use crate::model::networks::{Network, floats};

/// How much of the gradient's first and second moment is kept a step.
pub(super) const BETAS: (f64, f64) = (0.9, 0.999);
/// Added to the root of the second moment.
pub(super) const EPSILON: f64 = 1e-8;

/// A network in training by Burn's gradients, with AdamW.
pub(super) struct Autodiff {
    /// `None` only while a step is computed.
    network: Option<Network>,
    objective: Objective,
    /// With gradients.
    device: Device,
    optimizer: FlatAdamW,
    rows: Option<Rows>,
    order: Option<Tensor<1, Int>>,
    /// `[1]`
    losses: Tensor<1>,
    /// No more rows than these are computed at once.
    most_rows: usize,
}

/// Rows on the device.
struct Rows {
    /// `[rows, INPUT_COUNT]`
    inputs: Tensor<2>,
    /// `[rows]`, 0 or 1
    converted: Tensor<1>,
    /// `[rows]`, in the objective's unit of time
    times: Tensor<1>,
}

impl Autodiff {
    /// Begins to train a network.
    pub(super) fn new(
        start: Network,
        objective: Objective,
        config: &MemberConfig,
        frozen_gates: bool,
        device: &Device,
    ) -> Autodiff {
        let device = device.clone().autodiff();
        let mut network = start.train();
        if frozen_gates {
            network = network.set_require_grad_group(ParamGroup::from_predicate("gates"), false);
        }
        Autodiff {
            optimizer: FlatAdamW::new(&network, config, &device),
            network: Some(network),
            objective,
            losses: Tensor::zeros([1], &device.clone().inner()),
            rows: None,
            order: None,
            most_rows: usize::MAX,
            device,
        }
    }

    /// The mean loss of a batch, and what it says of each trained parameter: of all its rows at
    /// once, or added up from parts of nearly the same size.
    fn slopes(&self, batch: Range<usize>) -> (Tensor<1>, Vec<Tensor<1>>) {
        let rows = batch.len();
        let parts = rows.div_ceil(self.most_rows).max(1);
        if parts == 1 {
            return self.slopes_at_once(batch, 1.0);
        }
        let border = |part: usize| batch.start + part * rows / parts;
        let of_parts = (0..parts).map(|part| {
            let part = border(part)..border(part + 1);
            let share = part.len() as f64 / rows as f64;
            self.slopes_at_once(part, share)
        });
        let add = |one: Vec<Tensor<1>>, other: Vec<Tensor<1>>| {
            one.into_iter().zip(other).map(|(one, other)| one + other).collect()
        };
        of_parts
            .reduce(|sum, part| (sum.0 + part.0, add(sum.1, part.1)))
            .expect("there are parts. This is a bug.")
    }

    fn slopes_at_once(&self, batch: Range<usize>, share: f64) -> (Tensor<1>, Vec<Tensor<1>>) {
        let (Some(rows), Some(order)) = (&self.rows, &self.order) else {
            panic!("rows are loaded and a pass begun before a step. This is a bug.");
        };
        let of_batch = order.clone().slice([batch]);
        let loss = self.objective.of(
            self.trained(),
            rows.inputs.clone().select(0, of_batch.clone()),
            rows.converted.clone().select(0, of_batch.clone()),
            rows.times.clone().select(0, of_batch),
        );
        let loss = if share < 1.0 { loss * share } else { loss };
        let gradients = loss.backward();
        let mut slopes = Slopes::new(&gradients);
        self.trained().visit(&mut slopes);
        (loss.inner(), slopes.slopes)
    }

    fn trained(&self) -> &Network {
        self.network.as_ref().expect("there is a network between steps. This is a bug.")
    }
}

impl Learner for Autodiff {
    fn load(&mut self, rows: &Part) {
        let unit = self.objective.unit_seconds();
        let shape = [rows.len(), INPUT_COUNT];
        let inputs = TensorData::new(rows.inputs.clone(), shape);
        let (converted, times) = rows.targets(unit);
        // First of all, so that the device need not hold both.
        (self.rows, self.order) = (None, None);
        self.rows = Some(Rows {
            inputs: Tensor::from_data(inputs, &self.device),
            converted: Tensor::from_floats(converted.as_slice(), &self.device),
            times: Tensor::from_floats(times.as_slice(), &self.device),
        });
    }

    fn begin(&mut self, order: Vec<u32>, seed: u64) {
        self.device.seed(seed);
        let order: Vec<i32> = order.into_iter().map(|row| row as i32).collect();
        self.order = Some(Tensor::from_ints(order.as_slice(), &self.device));
    }

    fn step(&mut self, batch: Range<usize>, rate: f64) {
        let (loss, slopes) = self.slopes(batch);
        self.losses = self.losses.clone() + loss;
        let network = self.network.take().expect("no step within a step. This is a bug.");
        self.network = Some(self.optimizer.step(rate, network, slopes));
    }

    fn take_loss(&mut self) -> f64 {
        let none = self.losses.zeros_like();
        f64::from(floats(std::mem::replace(&mut self.losses, none))[0])
    }

    fn network(&self) -> Network {
        self.trained().valid()
    }

    fn state(&self) -> Vec<u8> {
        let mut state = (self.optimizer.steps as u64).to_le_bytes().to_vec();
        let moments = [&self.optimizer.first, &self.optimizer.second];
        let moments = moments.into_iter().flat_map(|moment| floats(moment.clone()));
        // Without gradients: that settles running statistics, whose last update may be pending.
        for value in weights::of(&self.network()).into_iter().chain(moments) {
            state.extend(value.to_le_bytes());
        }
        state
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), UnfitState> {
        let (all, trained) = (weights::count(self.trained()), self.optimizer.len());
        let expected = 8 + 4 * (all + 2 * trained);
        let (Some((steps, values)), true) = (state.split_first_chunk(), state.len() == expected)
        else {
            return Err(UnfitState { expected, found: state.len() });
        };
        let values: Vec<f32> =
            values.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (values, moments) = values.split_at(all);
        let (first, second) = moments.split_at(trained);
        let network = self.network.take().expect("looked at above. This is a bug.");
        // Settles running statistics: an update that is pending would be laid over those of the state.
        network.valid();
        self.network = Some(weights::fill(network, values));
        self.losses = Tensor::zeros([1], &self.device.clone().inner());
        self.optimizer.restore(u64::from_le_bytes(*steps) as usize, first, second);
        Ok(())
    }
}

impl Divisible for Autodiff {
    fn divide(&mut self, most_rows: usize) {
        self.most_rows = most_rows.max(1);
    }
}

/// AdamW (Loshchilov and Hutter, 2019) over all parameters as one vector, in the order in which Burn
/// visits them. The decay is for the weights of layers only, and gates are drawn to zero.
struct FlatAdamW {
    /// How many values each parameter has.
    sizes: Vec<usize>,
    /// The norm at which a parameter's gradient is cut.
    clip: Option<f32>,
    /// `[values]`: the decay of each value, as a share of the learning rate.
    decay: Option<Tensor<1>>,
    /// `[values]`: what draws each value to zero, as a share of the learning rate.
    penalty: Option<Tensor<1>>,
    /// `[values]`
    first: Tensor<1>,
    /// `[values]`
    second: Tensor<1>,
    steps: usize,
}

impl FlatAdamW {
    fn new(network: &Network, config: &MemberConfig, device: &Device) -> FlatAdamW {
        let device = device.clone().inner();
        let mut layout = Layout::default();
        network.visit(&mut layout);
        let by_name = |part: &str, value: f64| {
            let values: Vec<f32> = layout
                .parameters
                .iter()
                .flat_map(|(name, size)| {
                    let value = if name.contains(part) { value as f32 } else { 0.0 };
                    std::iter::repeat_n(value, *size)
                })
                .collect();
            let any = values.iter().any(|value| *value != 0.0);
            any.then(|| Tensor::from_floats(values.as_slice(), &device))
        };
        let sizes: Vec<usize> = layout.parameters.iter().map(|(_, size)| *size).collect();
        let values: usize = sizes.iter().sum();
        let zeros = Tensor::zeros([values], &device);
        FlatAdamW {
            clip: (config.gradient_clip > 0.0).then_some(config.gradient_clip),
            decay: by_name("weight", config.weight_decay),
            penalty: by_name("gates", config.gate_penalty),
            sizes,
            first: zeros.clone(),
            second: zeros,
            steps: 0,
        }
    }

    fn len(&self) -> usize {
        self.sizes.iter().sum()
    }

    fn restore(&mut self, steps: usize, first: &[f32], second: &[f32]) {
        let device = self.first.device();
        self.steps = steps;
        self.first = Tensor::from_floats(first, &device);
        self.second = Tensor::from_floats(second, &device);
    }

    /// The slope of a parameter, cut to the norm that it may have.
    fn clipped(&self, slope: Tensor<1>) -> Tensor<1> {
        match self.clip {
            Some(most) => {
                let norm = slope.clone().square().sum().sqrt();
                slope * (norm.add_scalar(f32::MIN_POSITIVE).recip() * most).clamp_max(1.0)
            }
            None => slope,
        }
    }

    /// The network after a step.
    fn step(&mut self, rate: f64, network: Network, slopes: Vec<Tensor<1>>) -> Network {
        let mut values = Values::default();
        network.visit(&mut values);
        let slopes = slopes.into_iter().map(|slope| self.clipped(slope)).collect();
        let (values, slopes) = (Tensor::cat(values.0, 0), Tensor::cat(slopes, 0));
        self.steps += 1;
        let (keep_first, keep_second) = BETAS;
        let unbiased = |keep: f64| 1.0 - keep.powf(self.steps as f64);
        self.first = self.first.clone() * keep_first + slopes.clone() * (1.0 - keep_first);
        self.second = self.second.clone() * keep_second + slopes.square() * (1.0 - keep_second);
        let first = self.first.clone() / unbiased(keep_first);
        let second = self.second.clone() / unbiased(keep_second);
        let kept = match &self.decay {
            Some(decay) => values.clone() - values * (decay.clone() * rate),
            None => values,
        };
        let mut moved = kept - first / (second.sqrt() + EPSILON) * rate;
        if let Some(penalty) = &self.penalty {
            // A proximal step: what is closer to zero than the penalty's step becomes exactly zero.
            let threshold = penalty.clone() * rate;
            let above = (moved.clone() - threshold.clone()).clamp_min(0.0);
            moved = above + (moved + threshold).clamp_max(0.0);
        }
        network.map(&mut Spread::new(moved))
    }
}

#[cfg(test)]
mod tests {
    use burn::grad_clipping::GradientClippingConfig;
    use burn::optim::{AdamWConfig, GradientsParams};

    use super::*;
    use crate::model::networks::mlp::MlpConfig;
    use crate::model::networks::piecewise::Bins;
    use crate::model::networks::tabular::TabularConfig;
    use crate::subnet::reward::Truth;
    use crate::train::config::{ClassifierLoss, RewardLossConfig};
    use crate::train::member::Architecture;
    use crate::train::observer::Stage;

    const ROWS: usize = 24;

    fn part() -> Part {
        let value = |index: usize| (index as f32 * 0.37).sin() * 2.0;
        let truth =
            |row: usize| Truth { converted: row.is_multiple_of(3), time_seconds: row as f64 };
        Part {
            inputs: (0..ROWS * INPUT_COUNT).map(value).collect(),
            truths: (0..ROWS).map(truth).collect(),
        }
    }

    fn objective() -> Objective {
        Objective::Classifier {
            loss: ClassifierLoss::Bce,
            reward: RewardLossConfig::default(),
            label_smoothing: 0.0,
        }
    }

    fn order() -> Vec<u32> {
        (0..ROWS as u32).rev().collect()
    }

    #[test]
    fn steps_are_those_of_burns_optimizer() {
        let device = Device::flex();
        // Without batch norm: the bias before one has no gradient but rounding, which Adam magnifies.
        let shape = TabularConfig::new(INPUT_COUNT).with_dropout(0.0);
        let start = Network::Tabular(shape.init(&Bins::default(), &device)).train();
        let config = MemberConfig {
            weight_decay: 0.3,
            gradient_clip: 0.05,
            gate_penalty: 0.0,
            ..MemberConfig::default()
        };
        let mut learner =
            Autodiff::new(start.clone().valid(), objective(), &config, false, &device);
        let part = part();
        learner.load(&part);
        learner.begin(order(), 1);
        (0..3).for_each(|step| learner.step(step * 8..step * 8 + 8, 0.02));

        let autodiff = device.autodiff();
        let adam = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0);
        let decaying = adam.clone().with_weight_decay(0.3);
        let clip = GradientClippingConfig::Norm(0.05);
        let mut optimizer = adam.with_grad_clipping(Some(clip.clone())).init().with_group(
            ParamGroup::from_predicate("weight"),
            decaying.build(),
            Some(clip.init()),
        );
        let mut network = start.valid().train();
        let (converted, times) = part.targets(1.0);
        for step in 0..3 {
            let rows: Vec<usize> = (step * 8..step * 8 + 8).map(|index| ROWS - 1 - index).collect();
            let batch = part.select(&rows);
            let of = |values: &[f32]| -> Tensor<1> {
                let values: Vec<f32> = rows.iter().map(|row| values[*row]).collect();
                Tensor::from_floats(values.as_slice(), &autodiff)
            };
            let inputs = TensorData::new(batch.inputs, [8, INPUT_COUNT]);
            let inputs = Tensor::from_data(inputs, &autodiff);
            let loss = objective().of(&network, inputs, of(&converted), of(&times));
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(0.02, network, gradients);
        }
        let (ours, burns) = (weights::of(&learner.network()), weights::of(&network.valid()));
        assert_eq!(ours.len(), burns.len());
        // Steps are of 0.02. Where a gradient is next to nothing, Adam magnifies its rounding, so it is
        // the mean that tells a wrong formula.
        let apart: f32 = ours.iter().zip(&burns).map(|(ours, burns)| (ours - burns).abs()).sum();
        let mean = apart / ours.len() as f32;
        assert!(mean <= 3e-6, "{mean}");
    }

    #[test]
    fn gates_close_and_frozen_ones_stay() {
        let device = Device::flex();
        let bins = Bins::default();
        let start = || Network::Tabular(TabularConfig::new(INPUT_COUNT).init(&bins, &device));
        let config = MemberConfig { gate_penalty: 10.0, ..MemberConfig::default() };
        let gates = |frozen: bool| {
            let mut learner = Autodiff::new(start(), objective(), &config, frozen, &device);
            learner.load(&part());
            learner.begin(order(), 1);
            (0..3).for_each(|_| learner.step(0..ROWS, 0.01));
            // The first parameter that is visited: one gate an input.
            weights::of(&learner.network())[..INPUT_COUNT].to_vec()
        };
        // Adam's step is at most about the rate, the penalty's 0.01 * 10 each: from 0.05 to zero.
        assert_eq!(gates(false), [0.0; INPUT_COUNT]);
        assert_eq!(gates(true), [0.05; INPUT_COUNT]);
    }

    #[test]
    fn a_state_goes_on_with_the_same_bits() {
        // No dropout: other tests draw from the process's only generator too.
        let device = Device::flex();
        let shape = MlpConfig::new(INPUT_COUNT).with_dropout(0.0);
        let start = Network::Mlp(shape.init(&device));
        let config = MemberConfig::new(Stage::Classifier, Architecture::Mlp);
        let learner = || {
            let start = weights::fill(Network::Mlp(shape.init(&device)), &weights::of(&start));
            let mut learner = Autodiff::new(start, objective(), &config, false, &device);
            learner.load(&part());
            learner
        };
        let pass = |learner: &mut Autodiff, seed| {
            learner.begin(order(), seed);
            (0..3).for_each(|step| learner.step(step * 8..step * 8 + 8, 0.02));
        };
        let mut whole = learner();
        pass(&mut whole, 1);
        let state = whole.state();
        pass(&mut whole, 2);

        let mut other = learner();
        assert!(other.restore(&state[1..]).is_err());
        other.restore(&state).unwrap();
        pass(&mut other, 2);
        assert!(other.state() == whole.state());
        assert!(other.state() != state);
    }
}

//! Several networks as one opinion.

use burn::tensor::{Device, Tensor, TensorData};

use super::device::memory;
use super::networks::lean::Lean;
use super::networks::{
    Combination, Member, Network, Networks, NetworksConfig, WeightsError, floats,
};
use super::predictor::sigmoid;
use crate::features::engineer::INPUT_COUNT;

/// Rows that go through the networks at once: enough to fill a device, little enough to stay in
/// its caches.
pub(crate) const BATCH: usize = 4096;
/// Up to so many rows at least, the folded networks are faster than tensors; see the `predict`
/// benchmarks. Beyond, tensors use what a device has.
const MOST_LEAN_ROWS: usize = 32;

/// The trained networks and what joins them.
#[derive(Debug)]
pub struct Ensemble {
    networks: Networks,
    config: NetworksConfig,
    /// Classifiers, then regressors.
    lean: (Vec<Lean>, Vec<Lean>),
    device: Device,
}

/// How a forward pass is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Row by row, by the folded networks.
    Lean,
    /// In batches, by tensors on the device.
    Tensors,
}

/// What an ensemble says of one conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Output {
    /// P(converts), if there are classifiers; NaN if a network says so.
    pub probability: Option<f64>,
    /// The time to conversion in seconds, if there are regressors.
    pub time_seconds: Option<f64>,
}

impl Ensemble {
    /// Joins networks that are of these shapes.
    pub fn new(networks: Networks, config: NetworksConfig, device: &Device) -> Ensemble {
        let lean = |networks: &[Network]| networks.iter().map(Lean::new).collect();
        let lean = (lean(&networks.classifiers), lean(&networks.regressors));
        Ensemble { networks, config, lean, device: device.clone() }
    }

    /// The ensembles of several folds as one, in which the folds share alike; none for none. With
    /// more than one, each member's name says which fold it is of.
    pub fn merge(parts: Vec<Ensemble>, device: &Device) -> Option<Ensemble> {
        let several = parts.len() > 1;
        let with_classifiers = parts.iter().filter(|part| !part.config.classifiers.is_empty());
        let with_regressors = parts.iter().filter(|part| !part.config.regressors.is_empty());
        let counts = (with_classifiers.count(), with_regressors.count());
        let mut parts = parts.into_iter().enumerate().map(|(index, mut part)| {
            let stages =
                [(&mut part.config.classifiers, counts.0), (&mut part.config.regressors, counts.1)];
            for (members, count) in stages.into_iter().filter(|_| several) {
                for member in members {
                    member.weight /= count as f32;
                    member.name = format!("{}, fold {}", member.name, index + 1);
                }
            }
            part
        });
        let Ensemble { mut networks, mut config, .. } = parts.next()?;
        for part in parts {
            networks.classifiers.extend(part.networks.classifiers);
            networks.regressors.extend(part.networks.regressors);
            config.classifiers.extend(part.config.classifiers);
            config.regressors.extend(part.config.regressors);
        }
        Some(Ensemble::new(networks, config, device))
    }

    /// The ensemble with the weights of a safetensors file.
    ///
    /// # Errors
    ///
    /// If the file is damaged or of other networks.
    pub fn from_safetensors(
        bytes: Vec<u8>,
        config: NetworksConfig,
        device: &Device,
    ) -> Result<Ensemble, WeightsError> {
        Ok(Ensemble::new(Networks::from_safetensors(bytes, &config, device)?, config, device))
    }

    /// The networks.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Their shapes, and how they are joined.
    pub fn config(&self) -> &NetworksConfig {
        &self.config
    }

    /// What the ensemble says of scaled rows.
    ///
    /// # Shapes
    ///
    /// - `rows`: `[conversations, INPUT_COUNT]`, row-major
    /// - output: one a conversation
    pub fn outputs(&self, rows: &[f32]) -> Vec<Output> {
        self.outputs_by(path_for(rows), rows)
    }

    /// [`Ensemble::outputs`] by a path of one's choice.
    pub fn outputs_by(&self, path: Path, rows: &[f32]) -> Vec<Output> {
        let count = rows.len() / INPUT_COUNT;
        let logits = self.config.combination == Combination::Logits;
        let probabilities = join(
            count,
            self.probabilities_by(path, rows).into_iter().zip(&self.config.classifiers),
            |probability| if logits { logit(probability) } else { probability },
            |joined| if logits { sigmoid(joined) } else { joined },
        );
        let times = join(
            count,
            self.times_by(path, rows).into_iter().zip(&self.config.regressors),
            |time| time,
            |time| time,
        );
        let has_classifiers = !self.config.classifiers.is_empty();
        let has_regressors = !self.config.regressors.is_empty();
        let output = |(probability, time_seconds)| Output {
            probability: has_classifiers.then_some(probability),
            time_seconds: has_regressors.then_some(time_seconds),
        };
        probabilities.into_iter().zip(times).map(output).collect()
    }

    /// P(converts) as each classifier sees it.
    ///
    /// # Shapes
    ///
    /// - `rows`: `[conversations, INPUT_COUNT]`, row-major
    /// - output: `[classifiers][conversations]`
    pub fn probabilities(&self, rows: &[f32]) -> Vec<Vec<f64>> {
        self.probabilities_by(path_for(rows), rows)
    }

    fn probabilities_by(&self, path: Path, rows: &[f32]) -> Vec<Vec<f64>> {
        let networks = self.networks.classifiers.iter().zip(&self.lean.0);
        let outputs = networks.zip(&self.config.classifiers);
        outputs
            .map(|((network, lean), member)| {
                self.packed_means(path, network, lean, member, rows, |raw| sigmoid(f64::from(raw)))
            })
            .collect()
    }

    /// The time to conversion in seconds as each regressor sees it.
    ///
    /// # Shapes
    ///
    /// - `rows`: `[conversations, INPUT_COUNT]`, row-major
    /// - output: `[regressors][conversations]`
    pub fn times(&self, rows: &[f32]) -> Vec<Vec<f64>> {
        self.times_by(path_for(rows), rows)
    }

    fn times_by(&self, path: Path, rows: &[f32]) -> Vec<Vec<f64>> {
        let unit = f64::from(self.config.unit_seconds);
        let networks = self.networks.regressors.iter().zip(&self.lean.1);
        let outputs = networks.zip(&self.config.regressors);
        outputs
            .map(|((network, lean), member)| {
                self.packed_means(path, network, lean, member, rows, |raw| {
                    softplus(f64::from(raw)) * unit
                })
            })
            .collect()
    }

    /// For each row the mean over a member's packed networks of what their first outputs say.
    fn packed_means(
        &self,
        path: Path,
        network: &Network,
        lean: &Lean,
        member: &Member,
        rows: &[f32],
        meaning: impl Fn(f32) -> f64,
    ) -> Vec<f64> {
        let step = member.network.outputs();
        let mean = |packed: &[f32]| {
            let said = packed.iter().step_by(step).map(|raw| meaning(*raw));
            said.sum::<f64>() / (packed.len() / step) as f64
        };
        if path == Path::Lean {
            return rows.chunks_exact(INPUT_COUNT).map(|row| mean(&lean.outputs(row))).collect();
        }
        rows.chunks(BATCH * INPUT_COUNT)
            .flat_map(|rows| {
                let outputs = raw_outputs(network, rows, &self.device);
                let width = outputs.len() / (rows.len() / INPUT_COUNT);
                outputs.chunks_exact(width).map(&mean).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The faster path for so many rows.
fn path_for(rows: &[f32]) -> Path {
    if rows.len() <= MOST_LEAN_ROWS * INPUT_COUNT { Path::Lean } else { Path::Tensors }
}

/// The raw outputs of a network through tensors.
///
/// # Shapes
///
/// - `rows`: `[conversations, INPUT_COUNT]`, row-major
/// - output: `[conversations, packed, outputs]`, row-major
pub(crate) fn raw_outputs(network: &Network, rows: &[f32], device: &Device) -> Vec<f32> {
    let shape = [rows.len() / INPUT_COUNT, INPUT_COUNT];
    let inputs = Tensor::<2>::from_data(TensorData::new(rows.to_vec(), shape), device);
    let forward = |inputs| floats(network.forward(inputs).swap_dims(0, 1).flatten(0, 2));
    memory::in_parts(inputs, &forward).concat()
}

/// The weighted mean of what members say, row by row, on a scale of its own.
fn join<'a>(
    rows: usize,
    members: impl Iterator<Item = (Vec<f64>, &'a Member)>,
    enter: impl Fn(f64) -> f64,
    leave: impl Fn(f64) -> f64,
) -> Vec<f64> {
    let mut joined = vec![0.0; rows];
    for (said, member) in members {
        for (sum, value) in joined.iter_mut().zip(said) {
            *sum += f64::from(member.weight) * enter(value);
        }
    }
    joined.into_iter().map(leave).collect()
}

/// ln(p / (1 - p)), finite for any probability.
pub fn logit(probability: f64) -> f64 {
    let probability = probability.clamp(1e-9, 1.0 - 1e-9);
    (probability / (1.0 - probability)).ln()
}

/// ln(1 + e^x), as [`super::networks::time_units`] has it.
pub(crate) fn softplus(raw: f64) -> f64 {
    raw.max(0.0) + (-raw.abs()).exp().ln_1p()
}

#[cfg(test)]
use super::networks::{NetworkConfig, mlp::MlpConfig, piecewise::Bins, residual::ResidualConfig};

#[cfg(test)]
impl Ensemble {
    /// A small one with random weights.
    pub(crate) fn sample(combination: Combination) -> Ensemble {
        let device = Device::flex();
        device.seed(4);
        let member = |network: NetworkConfig, weight| Member {
            name: network.architecture().to_owned(),
            weight,
            network,
        };
        let mlp = NetworkConfig::Mlp(MlpConfig::new(INPUT_COUNT));
        let residual = NetworkConfig::Residual(ResidualConfig::new(INPUT_COUNT));
        let networks = Networks {
            classifiers: vec![
                mlp.init(&Bins::default(), &device),
                residual.init(&Bins::default(), &device),
            ],
            regressors: vec![mlp.init(&Bins::default(), &device)],
        };
        let config = NetworksConfig {
            combination,
            classifiers: vec![member(mlp.clone(), 0.25), member(residual, 0.75)],
            regressors: vec![member(mlp, 1.0)],
            unit_seconds: 60.0,
        };
        Ensemble::new(networks, config, &device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::networks::mixture::MixtureConfig;
    use crate::model::networks::tabular::TabularConfig;
    use crate::model::networks::time_units;

    /// Inputs that look like scaled ones, the same at each run.
    fn rows(count: usize) -> Vec<f32> {
        (0..count * INPUT_COUNT).map(|index| ((index * 7919) % 613) as f32 / 150.0 - 2.0).collect()
    }

    fn shapes(bins: &Bins) -> Vec<NetworkConfig> {
        vec![
            NetworkConfig::Mlp(MlpConfig::new(INPUT_COUNT).with_outputs(2)),
            NetworkConfig::Residual(ResidualConfig::new(INPUT_COUNT)),
            NetworkConfig::Tabular(
                TabularConfig::new(INPUT_COUNT).with_bins(bins.len()).with_packed(3),
            ),
            NetworkConfig::Tabular(TabularConfig::new(INPUT_COUNT).with_bins(0).with_packed(1)),
            NetworkConfig::Mixture(MixtureConfig::new(INPUT_COUNT).with_bins(bins.len())),
            NetworkConfig::Mixture(MixtureConfig::new(INPUT_COUNT).with_outputs(2)),
        ]
    }

    /// One path serves single rows and the other trains: they must agree.
    #[test]
    fn lean_networks_say_what_tensors_say() {
        let device = Device::flex();
        device.seed(3);
        let rows = rows(40);
        let mut bins = Bins::default();
        bins.add_quantiles(&rows, INPUT_COUNT, 5);
        for shape in shapes(&bins) {
            let encodes = match &shape {
                NetworkConfig::Tabular(config) => config.bins > 0,
                NetworkConfig::Mixture(config) => config.bins > 0,
                NetworkConfig::Mlp(_) | NetworkConfig::Residual(_) => false,
            };
            let bins = if encodes { bins.clone() } else { Bins::default() };
            let network = shape.init(&bins, &device);
            let lean = Lean::new(&network);
            let tensors = raw_outputs(&network, &rows, &device);
            let single: Vec<f32> =
                rows.chunks_exact(INPUT_COUNT).flat_map(|row| lean.outputs(row)).collect();
            assert_eq!(tensors.len(), single.len(), "{shape:?}");
            assert!(tensors.iter().any(|value| value.abs() > 1e-2), "{shape:?} says nothing");
            for (tensor, single) in tensors.iter().zip(&single) {
                assert!((tensor - single).abs() < 1e-5, "{shape:?}: {tensor} and {single}");
            }
        }
    }

    #[test]
    fn closed_gates_can_be_left_out() {
        let device = Device::flex();
        device.seed(5);
        let rows = rows(3);
        let mut bins = Bins::default();
        bins.add_quantiles(&rows, INPUT_COUNT, 2);
        for shape in shapes(&bins) {
            let whole = match &shape {
                NetworkConfig::Tabular(config) if config.bins > 0 => shape.init(&bins, &device),
                NetworkConfig::Mixture(config) if config.bins > 0 => shape.init(&bins, &device),
                _ => continue,
            };
            let whole = whole.with_gate_closed(0);
            let before = raw_outputs(&whole, &rows, &device);
            let (pruned, smaller) = whole.pruned(shape.clone());
            assert_ne!(smaller, shape, "bins of the first input are left out");
            for (before, after) in before.iter().zip(raw_outputs(&pruned, &rows, &device)) {
                assert!((before - after).abs() < 1e-6, "{shape:?}: {before} and {after}");
            }
        }
    }

    #[test]
    fn opinions_are_weighed() {
        let rows = rows(3);
        for (combination, enter, leave) in [
            (Combination::Probabilities, (|p| p) as fn(f64) -> f64, (|p| p) as fn(f64) -> f64),
            (Combination::Logits, logit, sigmoid),
        ] {
            let ensemble = Ensemble::sample(combination);
            let members = ensemble.probabilities(&rows);
            let times = ensemble.times(&rows);
            for (row, output) in ensemble.outputs(&rows).iter().enumerate() {
                let joined = leave(0.25 * enter(members[0][row]) + 0.75 * enter(members[1][row]));
                assert!((output.probability.unwrap() - joined).abs() < 1e-9);
                assert!((output.time_seconds.unwrap() - times[0][row]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn many_rows_and_few_say_the_same() {
        let rows = rows(5);
        let ensemble = Ensemble::sample(Combination::Probabilities);
        let tensors = ensemble.outputs_by(Path::Tensors, &rows);
        assert_eq!(ensemble.outputs(&rows), ensemble.outputs_by(Path::Lean, &rows));
        for (many, few) in tensors.iter().zip(ensemble.outputs(&rows)) {
            let probabilities = (many.probability.unwrap(), few.probability.unwrap());
            assert!((probabilities.0 - probabilities.1).abs() < 1e-5);
            let times = (many.time_seconds.unwrap(), few.time_seconds.unwrap());
            assert!((times.0 / times.1 - 1.0).abs() < 1e-5, "{times:?}");
        }
    }

    #[test]
    fn folds_share_alike_and_keep_their_names() {
        let device = Device::flex();
        let sample = || Ensemble::sample(Combination::Probabilities);
        let alone = Ensemble::merge(vec![sample()], &device).unwrap();
        assert_eq!(alone.config(), sample().config());
        let both = Ensemble::merge(vec![sample(), sample()], &device).unwrap();
        let of = |members: &[Member]| -> Vec<(String, f32)> {
            members.iter().map(|member| (member.name.clone(), member.weight)).collect()
        };
        let expected = [
            ("mlp, fold 1", 0.125),
            ("residual, fold 1", 0.375),
            ("mlp, fold 2", 0.125),
            ("residual, fold 2", 0.375),
        ];
        assert_eq!(of(&both.config().classifiers), expected.map(|(n, w)| (n.to_owned(), w)));
        assert!(both.config().regressors.iter().all(|member| member.weight == 0.5));
    }

    #[test]
    fn softplus_is_the_networks() {
        for raw in [-90.0_f32, -3.0, 0.0, 2.5, 90.0] {
            let tensor = time_units(Tensor::<1>::from_floats([raw], &Device::flex()));
            assert!((f64::from(floats(tensor)[0]) - softplus(f64::from(raw))).abs() < 1e-5);
        }
    }
}

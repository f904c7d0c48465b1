//! Inputs and their encoding, each input behind a learned gate.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor};

use super::piecewise::{Bins, Piecewise};

/// How much faster than the weights the gates learn: they are stored divided by this, and Adam's
/// steps do not depend on scale.
pub const GATE_SPEED: f64 = 20.0;

/// Gates on the inputs and on the bins of their encoding.
///
/// A learned scale an input, as RealMLP has it (Holzmueller, Grinsztajn and Steinwart, "Better by
/// Default", 2024), here drawn to zero by an L1 penalty in training: inputs that say nothing fall
/// out, and a conversation has dozens of those.
#[derive(Module, Debug)]
pub struct GatedInputs {
    /// `[inputs]`, divided by [`GATE_SPEED`]
    gates: Param<Tensor<1>>,
    encoding: Option<Piecewise>,
}

impl GatedInputs {
    /// Open gates on so many inputs, and these bins.
    pub fn new(inputs: usize, bins: &Bins, device: &Device) -> GatedInputs {
        GatedInputs {
            gates: Initializer::Constant { value: 1.0 / GATE_SPEED }.init([inputs], device),
            encoding: (!bins.is_empty()).then(|| Piecewise::new(bins, device)),
        }
    }

    /// Inputs and their encoding, each times its gate.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, inputs]`
    /// - output: `[batch, inputs + bins]`
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        let gates = self.gates.val() * GATE_SPEED;
        let plain = inputs.clone() * gates.clone().unsqueeze();
        match &self.encoding {
            None => plain,
            Some(encoding) => {
                let gates = gates.select(0, encoding.columns());
                // Centred, like the inputs.
                let encoded = (encoding.forward(inputs) - 0.5) * gates.unsqueeze();
                Tensor::cat(vec![plain, encoded], 1)
            }
        }
    }

    /// Without the bins behind closed gates; also which rows of the layer above remain.
    pub(super) fn pruned(self) -> (GatedInputs, Tensor<1, Int>) {
        let (gates, bins) = self.values();
        let device = self.gates.val().device();
        let open: Vec<usize> =
            (0..bins.len()).filter(|bin| gates[bins.columns[*bin] as usize] != 0.0).collect();
        let kept = Bins {
            columns: open.iter().map(|bin| bins.columns[*bin]).collect(),
            lower: open.iter().map(|bin| bins.lower[*bin]).collect(),
            inverse_width: open.iter().map(|bin| bins.inverse_width[*bin]).collect(),
        };
        let inputs = 0..gates.len();
        let rows: Vec<i32> =
            inputs.chain(open.iter().map(|bin| gates.len() + bin)).map(|row| row as i32).collect();
        let encoding = (!kept.is_empty()).then(|| Piecewise::new(&kept, &device));
        (GatedInputs { encoding, ..self }, Tensor::from_ints(rows.as_slice(), &device))
    }

    /// Whether each bin is of an input that there is: what was read from a file need not be so.
    pub(super) fn is_sound(&self) -> bool {
        let (gates, bins) = self.values();
        let exists = |column: &i32| usize::try_from(*column).is_ok_and(|it| it < gates.len());
        bins.columns.iter().all(exists)
    }

    /// How many bins there are.
    pub(super) fn bins(&self) -> usize {
        self.encoding.as_ref().map_or(0, |encoding| encoding.columns().dims()[0])
    }

    /// The gates as they are in memory, and the bins.
    pub(super) fn values(&self) -> (Vec<f32>, Bins) {
        let gates = super::floats(self.gates.val() * GATE_SPEED);
        (gates, self.encoding.as_ref().map(Piecewise::bins).unwrap_or_default())
    }
}

#[cfg(test)]
impl GatedInputs {
    /// The same with one gate closed.
    pub(super) fn with_gate_closed(self, input: i32) -> GatedInputs {
        let gates = self.gates.map(|gates| {
            let one = Tensor::<1, Int>::from_ints([input], &gates.device());
            let value = gates.clone().select(0, one.clone());
            gates.select_assign(0, one, value.neg(), burn::tensor::IndexingUpdateOp::Add)
        });
        GatedInputs { gates, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_of_no_input_are_seen() {
        for (column, sound) in [(0, true), (2, true), (3, false), (-1, false)] {
            let bins = Bins { columns: vec![column], lower: vec![0.0], inverse_width: vec![1.0] };
            assert_eq!(GatedInputs::new(3, &bins, &Device::flex()).is_sound(), sound, "{column}");
        }
    }
}

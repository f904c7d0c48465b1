//! A network's numbers as Burn has them, and how each parameter is moved.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor};

use super::parameters::Rule;
use crate::model::networks::{Network, floats};
use crate::train::member::MemberConfig;

/// A parameter.
#[derive(Debug)]
pub(super) struct Field {
    /// Its path in the network.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Row-major.
    pub(super) values: Vec<f32>,
}

/// A network's parameters in the order in which Burn visits them.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) floats: Vec<Field>,
    /// Numbers that are no parameters.
    pub(super) integers: Vec<i32>,
    path: Vec<String>,
}

impl Fields {
    /// Those of a network.
    pub(super) fn of(network: &Network) -> Fields {
        let mut fields = Fields::default();
        network.visit(&mut fields);
        fields
    }
}

impl ModuleVisitor for Fields {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        self.floats.push(Field {
            name: self.path.join("."),
            shape: value.dims().to_vec(),
            values: floats(value.flatten(0, D - 1)),
        });
    }

    fn visit_int<const D: usize>(&mut self, parameter: &Param<Tensor<D, Int>>) {
        self.integers.extend(parameter.val().into_data().iter::<i32>());
    }
}

/// How parameters are moved: the decay is for the weights of layers only, and gates are drawn to zero.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    clip: f32,
    decay: f64,
    penalty: f64,
    has_frozen_gates: bool,
}

impl Rules {
    /// Those of a member.
    pub(super) fn new(config: &MemberConfig, has_frozen_gates: bool) -> Rules {
        Rules {
            clip: config.gradient_clip,
            decay: config.weight_decay,
            penalty: config.gate_penalty,
            has_frozen_gates,
        }
    }

    /// The rule of a parameter.
    pub(super) fn of(&self, field: &Field) -> Rule {
        let is_gate = field.name.contains("gates");
        let only = |applies: bool, value: f64| if applies { value } else { 0.0 };
        Rule {
            is_frozen: is_gate && self.has_frozen_gates,
            clip: self.clip,
            decay: only(field.name.contains("weight"), self.decay),
            penalty: only(is_gate, self.penalty),
        }
    }
}

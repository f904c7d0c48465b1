//! The numbers of a network as one vector, in the order in which Burn visits them.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use crate::model::networks::{Network, floats};

/// All numbers of a network, running statistics among them.
pub(super) fn of(network: &Network) -> Vec<f32> {
    struct Reading(Vec<f32>);
    impl ModuleVisitor for Reading {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.extend(floats(parameter.val().flatten(0, D - 1)));
        }
    }
    let mut reading = Reading(Vec::new());
    network.visit(&mut reading);
    reading.0
}

/// How many numbers [`of`] gives. Nothing is read from the device for that.
pub(super) fn count(network: &Network) -> usize {
    struct Counting(usize);
    impl ModuleVisitor for Counting {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0 += parameter.val().shape().num_elements();
        }
    }
    let mut counting = Counting(0);
    network.visit(&mut counting);
    counting.0
}

/// The network with other numbers; they must be as many as [`of`] gives.
pub(super) fn fill(network: Network, weights: &[f32]) -> Network {
    struct Writing<'a>(&'a [f32]);
    impl ModuleMapper for Writing<'_> {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(|old| {
                let (mine, rest) = self.0.split_at(old.shape().num_elements());
                self.0 = rest;
                // A tensor from data is a leaf: gradients end here, as they did before.
                let new = Tensor::<1>::from_floats(mine, &old.device()).reshape(old.dims());
                if old.is_require_grad() { new.detach().require_grad() } else { new }
            })
        }
    }
    network.map(&mut Writing(weights))
}

/// The names and sizes of the parameters that are trained.
#[derive(Default)]
pub(super) struct Layout {
    path: Vec<String>,
    pub(super) parameters: Vec<(String, usize)>,
}

impl ModuleVisitor for Layout {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if parameter.val().is_require_grad() {
            self.parameters.push((self.path.join("."), parameter.val().shape().num_elements()));
        }
    }
}

/// Collects the trained parameters' values, each flat.
#[derive(Default)]
pub(super) struct Values(pub(super) Vec<Tensor<1>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        if value.is_require_grad() {
            self.0.push(value.inner().flatten::<1>(0, D - 1));
        }
    }
}

/// Collects the trained parameters' gradients, each flat.
pub(super) struct Slopes<'a> {
    gradients: &'a Gradients,
    pub(super) slopes: Vec<Tensor<1>>,
}

impl<'a> Slopes<'a> {
    pub(super) fn new(gradients: &'a Gradients) -> Slopes<'a> {
        Slopes { gradients, slopes: Vec::new() }
    }
}

impl ModuleVisitor for Slopes<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        if value.is_require_grad() {
            self.slopes.push(match value.grad(self.gradients) {
                Some(slope) => slope.flatten::<1>(0, D - 1),
                // The loss does not depend on it.
                None => value.inner().flatten::<1>(0, D - 1).zeros_like(),
            });
        }
    }
}

/// Gives each trained parameter its part of a vector.
pub(super) struct Spread {
    values: Tensor<1>,
    next: usize,
}

impl Spread {
    pub(super) fn new(values: Tensor<1>) -> Spread {
        Spread { values, next: 0 }
    }
}

impl ModuleMapper for Spread {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !parameter.val().is_require_grad() {
            return parameter;
        }
        parameter.map(|old| {
            let size = old.shape().num_elements();
            let mine = self.values.clone().narrow(0, self.next, size);
            self.next += size;
            Tensor::from_inner(mine.reshape(old.dims())).require_grad()
        })
    }
}

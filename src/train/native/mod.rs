//! The CPU's own training: passes over a network forward and backward, written by hand.
//!
//! The networks are small, so a tensor framework spends most of its time outside of the products: each
//! elementwise operation walks the batch's memory again, and allocates. Here a step is a few phases
//! over shards of the batch, whose rows stay in the cache between the operations; biases, norms,
//! activations, dropout, loss and the optimiser are done where their numbers are at hand.
//!
//! From below: `simd` chooses the processor's instructions, `matrix` has the products, `parameters`
//! the numbers and AdamW, `pool` the threads, `turns` whether they pay, and `engine` the course of a
//! step. `encoded` is the first layer of networks with gates and bins, `output` the last layer of
//! most, with `loss`; `norm` and `dropout` are what their names say, and each architecture has a file.
//! `fields` and `trainer` are the borders to Burn's networks and to the stages.
//!
//! A batch is always cut into the same shards, and these are always summed in the same order, so the
//! same seed gives the same bits with any number of threads.

mod dropout;
mod encoded;
mod engine;
mod fields;
mod loss;
mod matrix;
mod mixture;
mod mlp;
mod norm;
mod output;
mod parameters;
mod pool;
mod simd;
mod tabular;
#[cfg(test)]
mod tests;
mod trainer;
mod turns;

use engine::{Model, Plan};
use fields::{Fields, Rules};
use loss::Loss;
use mixture::Mixture;
use mlp::Mlp;
use output::MOST_OUTPUTS;
use tabular::Tabular;
use trainer::Trainer;

use super::learner::Learner;
use super::member::MemberConfig;
use super::objective::Objective;
use crate::model::networks::Network;

/// What trains a network of this shape on the CPU with so many threads, or the network itself if that
/// is left to Burn.
pub(super) fn learner(
    network: Network,
    objective: &Objective,
    config: &MemberConfig,
    has_frozen_gates: bool,
    threads: usize,
) -> Result<Box<dyn Learner>, Box<Network>> {
    let Some(dropout) = network.dropout() else { return Err(Box::new(network)) };
    let fields = Fields::of(&network);
    // The last dimension of the last parameter, whatever the architecture.
    let outputs = fields.floats.last().and_then(|field| field.shape.last());
    if outputs.is_none_or(|outputs| *outputs > MOST_OUTPUTS) {
        return Err(Box::new(network));
    }
    let rules = Rules::new(config, has_frozen_gates);
    let (unit, loss) = (objective.unit_seconds(), Loss::of(objective));
    Ok(match network {
        Network::Mlp(_) => {
            let model = Mlp::new(&fields, &rules, dropout, loss);
            Box::new(Trainer::new(model, network, unit, busy::<Mlp>(threads, config)))
        }
        Network::Tabular(_) => {
            let model = Tabular::new(&fields, &rules, dropout, loss);
            Box::new(Trainer::new(model, network, unit, busy::<Tabular>(threads, config)))
        }
        Network::Mixture(_) => {
            let model = Mixture::new(&fields, &rules, dropout, loss);
            Box::new(Trainer::new(model, network, unit, busy::<Mixture>(threads, config)))
        }
        Network::Residual(_) => return Err(Box::new(network)),
    })
}

/// As many threads as batches have shards for; further ones would only look on, at a cost.
fn busy<M: Model>(threads: usize, config: &MemberConfig) -> usize {
    // The stages make batches of up to half as many rows again.
    threads.min(Plan::shards(config.batch_size + config.batch_size / 2, M::ROWS_A_SHARD))
}

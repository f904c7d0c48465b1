//! What takes the steps of a network's training, and where its rows come from.

use std::num::NonZero;
use std::ops::{ControlFlow, Range};
use std::thread;

use burn::tensor::Device;

use super::autodiff::Autodiff;
use super::data::Part;
use super::frugal::Frugal;
use super::member::MemberConfig;
use super::native;
use super::objective::Objective;
use crate::model::device::memory;
use crate::model::networks::Network;

/// One network in training. Of two kinds: [`Autodiff`] differentiates Burn's networks, any of them
/// and on any device; the CPU has passes of its own for those that are trained most.
pub(super) trait Learner {
    /// Takes rows to learn from, in place of those that it has.
    fn load(&mut self, rows: &Part);

    /// Begins a pass over the loaded rows: the order in which batches name them, and the seed of
    /// all that is random in it.
    fn begin(&mut self, order: Vec<u32>, seed: u64);

    /// A step on the rows `order[batch]`.
    fn step(&mut self, batch: Range<usize>, rate: f64);

    /// The sum of the mean losses of the steps since it was last asked. Nothing else is read from a
    /// device during a pass.
    fn take_loss(&mut self) -> f64;

    /// The network as it is now, without gradients.
    fn network(&self) -> Network;

    /// All that steps change, so that another learner of the same start can go on from here.
    fn state(&self) -> Vec<u8>;

    /// Goes on from a state.
    ///
    /// # Errors
    ///
    /// If it is of another network; nothing is changed then.
    fn restore(&mut self, state: &[u8]) -> Result<(), UnfitState>;
}

/// A state is of another network, or of another kind of learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the state of a training in {expected} bytes, but there are {found}")]
pub(super) struct UnfitState {
    pub(super) expected: usize,
    pub(super) found: usize,
}

/// What trains a network of this shape on this device.
pub(super) fn learner(
    mut start: Network,
    objective: Objective,
    config: &MemberConfig,
    frozen_gates: bool,
    device: &Device,
) -> Box<dyn Learner> {
    if *device == Device::flex() {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        match native::learner(start, &objective, config, frozen_gates, threads) {
            Ok(learner) => return learner,
            Err(network) => start = *network,
        }
    }
    let autodiff = Autodiff::new(start, objective, config, frozen_gates, device);
    if memory::may_run_short(device) {
        return Box::new(Frugal::new(autodiff, device));
    }
    Box::new(autodiff)
}

/// Where the rows of a training come from.
#[derive(Clone, Copy)]
pub(super) enum Training<'a> {
    /// They are in memory.
    Whole(&'a Part),
    /// They are read in each pass.
    Stream(&'a dyn ChunkSource),
}

/// Rows that are more than memory holds, in chunks that it does hold.
pub(super) trait ChunkSource {
    /// How many rows each chunk of a pass has; the same in every pass.
    fn chunk_rows(&self) -> Vec<usize>;

    /// Hands over the chunks of a pass, in an order of that pass, until told to stop.
    ///
    /// # Errors
    ///
    /// If rows cannot be read.
    fn visit(
        &self,
        pass: usize,
        seed: u64,
        visit: &mut dyn FnMut(Part) -> ControlFlow<()>,
    ) -> Result<(), StreamError>;
}

/// Rows could not be read while training.
#[derive(Debug, thiserror::Error)]
#[error("cannot read rows to train on")]
pub struct StreamError(#[from] pub crate::dataset::DatasetError);

impl Training<'_> {
    /// How many rows each chunk of a pass has.
    pub(super) fn chunk_rows(&self) -> Vec<usize> {
        match self {
            Training::Whole(part) => vec![part.len()],
            Training::Stream(source) => source.chunk_rows(),
        }
    }
}

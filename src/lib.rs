//! convminer: train and run a miner of Bittensor's conversion-prediction subnet.
//!
//! Each module is a room of the house; arrows go down only.
//!
//! - [`cli`]: one file a sub-command, arguments in, exit code out
//! - [`load`]: a load generator for axons; above [`serve`]
//! - [`report`]: how a miner does, as numbers and as a page; above [`train`]
//! - [`serve`] and [`train`]: the two activities; neither imports the other
//! - [`chain`]: keys, wallets and the metagraph file
//! - [`model`]: what a trained miner is
//! - [`features`]: a conversation becomes the model's input
//! - [`subnet`]: what the network defines; pure
//! - [`files`]: files that are whole or not there

mod causes;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod features;
pub mod files;
pub mod journal;
pub mod load;
pub mod model;
mod nearest;
pub mod outcomes;
pub mod replay;
pub mod report;
pub mod serve;
pub mod subnet;
pub mod train;

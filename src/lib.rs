//! convminer: train and run a miner of Bittensor's conversion-prediction subnet.
//!
//! Each module is a room of the house; arrows go down only.
//!
//! - [`cli`]: one file a sub-command, arguments in, exit code out
//! - [`load`]: a load generator for axons; above [`serve`]
//! - [`search`]: trainings with many configurations, and the best of them; above [`train`]
//! - [`report`]: how a miner does, as numbers and as a page; above [`train`]
//! - [`serve`] and [`train`]: the two activities; neither imports the other
//! - [`diagnosis`]: where the reward goes, as numbers and as a page; above [`replay`] and [`train`]
//! - [`learn`]: what a miner learns at work, and which checkpoint is served; above [`replay`] and
//!   [`train`]
//! - [`tune`]: changes to what runs, within rules, and their history
//! - [`chain`]: keys, wallets and the metagraph file
//! - [`model`]: what a trained miner is
//! - [`dataset`]: many tables as one, more than memory holds
//! - [`features`]: a conversation becomes the model's input
//! - [`subnet`]: what the network defines; pure
//! - [`files`]: files that are whole or not there

mod causes;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod dataset;
pub mod diagnosis;
pub mod features;
pub mod files;
pub mod journal;
pub mod learn;
pub mod load;
pub mod model;
mod nearest;
pub mod outcomes;
pub mod replay;
pub mod report;
pub mod search;
pub mod serve;
pub mod simulate;
pub mod subnet;
pub mod train;
pub mod tune;

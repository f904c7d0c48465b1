//! Keys, wallets and the metagraph: what a miner knows of the chain.

pub mod keys;
pub mod metagraph;
pub mod ss58;
pub mod wallet;

pub use keys::{Keypair, PublicKey};
pub use metagraph::Metagraph;

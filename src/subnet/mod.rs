//! What the network defines: the features, the wire types, the reward and the challenges.
//!
//! Pure: nothing here does I/O, reads a clock or keeps state of its own.

pub mod challenge;
pub mod reward;
pub mod schema;
pub mod synapse;

//! What must outlive the process, in the folder of `--state-dir`.
//!
//! Each axon has its own files, named by its hotkey: the nonces that it accepted ([`NonceFile`], a
//! format of their own, saved at once when need be), and as [`StateFile`]s what is known of its models
//! and what its truths have taught. A [`Keeper`] saves the latter every so often and at the end.
//! [`survey()`] reads all of them for who wants to look.
//!
//! A file that cannot be used is set aside under another name and told, and the miner goes on without
//! what it held.

mod file;
mod keeper;
mod nonces;
mod survey;

pub use file::{Damage, FORMAT_VERSION, Loaded, Saved, StateFile};
pub use keeper::{Keeper, StateHealth};
pub use nonces::NonceFile;
pub use survey::{Held, StateEntry, Summary, survey};

/// The models of an axon: a [`SavedModels`](super::models::SavedModels).
pub const MODELS: &str = "models";
/// What the truths have taught an axon: a [`SavedFeedback`](super::feedback::SavedFeedback).
pub const FEEDBACK: &str = "feedback";
/// The nonces of an axon.
const NONCES: &str = "nonces";

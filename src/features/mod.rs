//! A conversation becomes the model's input: one code path for training and for serving.

pub mod conversation;
pub mod engineer;
pub mod reader;
pub mod scaler;
pub mod table;

pub use conversation::Conversation;

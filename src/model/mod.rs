//! What a trained miner is: networks, baseline, calibration, decision and the checkpoint that holds them.

pub mod adjustment;
pub mod baseline;
pub mod calibration;
pub mod checkpoint;
pub mod constant;
pub mod decision;
pub mod device;
pub mod ensemble;
pub mod networks;
pub mod opinion;
pub mod predictor;
pub mod time;

pub use opinion::Opinion;
pub use predictor::Predictor;

use crate::features::Conversation;
use crate::subnet::reward::Answer;

/// Anything that answers conversations.
pub trait Model: Send + Sync {
    /// One answer a conversation, in the same order.
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer>;

    /// The same answers, with what they rest on where the model can say so.
    fn explain(&self, conversations: &[Conversation]) -> Vec<Opinion> {
        self.predict(conversations).into_iter().map(Opinion::from).collect()
    }
}

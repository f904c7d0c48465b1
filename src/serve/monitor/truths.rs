//! How answers fared whose truth became known.

use serde::{Deserialize, Serialize};

/// How the answers fared whose truth is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Truths {
    /// Of how many answers the truth is known.
    pub known: u64,
    /// Their mean reward.
    pub mean_reward: Option<f64>,
    /// The mean reward over time, the oldest first.
    pub rewards: Vec<RewardPoint>,
    /// What was sent as confidence beside what came true, by rising confidence.
    pub reliability: Vec<ReliabilityPart>,
}

/// The mean reward of some time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RewardPoint {
    /// When it began, in seconds since 1970.
    pub time: f64,
    /// The mean reward.
    pub mean_reward: f64,
    /// Of how many answers.
    pub count: u64,
}

/// Answers of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityPart {
    /// Their mean confidence.
    pub mean_confidence: f64,
    /// The share of them that converted.
    pub converted_rate: f64,
    /// How many they are.
    pub count: u64,
}

//! The models that may answer, and which of them does.

/// How a model does.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ModelStatistics {
    /// Its name.
    pub name: String,
    /// Whether it is asked at all at the moment.
    pub healthy: bool,
    /// How many conversations it was asked about.
    pub requests: u64,
    /// To how many of them it gave no valid answer.
    pub failures: u64,
    /// The mean time of the batches that it answered, in seconds.
    pub mean_seconds: f64,
    /// The 99th percentile of those times, in seconds.
    pub p99_seconds: f64,
    /// The mean confidence that it gave.
    pub mean_confidence: f64,
    /// The mean reward of its answers, where the truth is known.
    pub mean_reward: Option<f64>,
}

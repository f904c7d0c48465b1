//! Where a checkpoint that learned on comes from, and what became of it.

use serde::{Deserialize, Serialize};

/// What a checkpoint that was not trained from nothing learned from, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineageRecord {
    /// The checkpoint that it goes on from: a name beside it.
    pub parent: String,
    /// Conversations with a known truth that it learned from, besides the sample of its parent.
    pub truths: usize,
    /// How many of them converted.
    pub converted: usize,
    /// When the first of them was answered, in nanoseconds since 1970.
    pub from_ns: u64,
    /// When the last of them was answered: only what was answered later can be evidence.
    pub until_ns: u64,
    /// SHA-256 of their names, times and truths.
    pub sha256: String,
    /// Every promotion and demotion, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<LineageChange>,
}

/// A checkpoint became the one that is served, or ceased to be it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineageChange {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Which of the two.
    pub change: Change,
    /// Which checkpoint was served before, after a promotion; and which is from now on, after a
    /// demotion.
    pub other: String,
    /// What it rests on; absent where an operator chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// Into service, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Served from now on.
    Promoted,
    /// Served until now.
    Demoted,
}

/// How much more reward one checkpoint would have earned than another, conversation by conversation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Conversations with a known truth.
    pub truths: usize,
    /// The mean difference of the rewards.
    pub mean: f64,
    /// The lower end of its confidence interval.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// The mean difference in the older half of the time.
    pub older: f64,
    /// And in the newer half.
    pub newer: f64,
    /// Hours between the first and the last of them.
    pub hours: f64,
}

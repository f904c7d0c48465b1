//! A request that is over, as it is counted.

use std::time::Duration;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// 200.
    Answered,
    /// 400: headers, body or features that cannot be read.
    Malformed,
    /// 401: not signed by who it says, or not lately.
    Unverified,
    /// 403: nobody that may call.
    Forbidden,
    /// 404 and 405: no such synapse.
    Unknown,
    /// 408: its time was up.
    Late,
    /// 413: a body that is too large.
    TooLarge,
    /// 429: more than the caller's share.
    Limited,
    /// 500: no model could answer.
    Failed,
    /// 503: too many wait, or the miner is stopping.
    Overloaded,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 10] = [
        Outcome::Answered,
        Outcome::Malformed,
        Outcome::Unverified,
        Outcome::Forbidden,
        Outcome::Unknown,
        Outcome::Late,
        Outcome::TooLarge,
        Outcome::Limited,
        Outcome::Failed,
        Outcome::Overloaded,
    ];

    /// Its name in metrics and pages.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Malformed => "malformed",
            Outcome::Unverified => "unverified",
            Outcome::Forbidden => "forbidden",
            Outcome::Unknown => "unknown",
            Outcome::Late => "late",
            Outcome::TooLarge => "too_large",
            Outcome::Limited => "limited",
            Outcome::Failed => "failed",
            Outcome::Overloaded => "overloaded",
        }
    }
}

/// How long the parts of a request took, as far as it came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Phases {
    /// Checking nonce and signature.
    pub verify: Option<Duration>,
    /// Waiting for its turn, and for the model.
    pub queue: Option<Duration>,
    /// The batch that it was answered with.
    pub model: Option<Duration>,
}

/// An answer that was given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The class.
    pub converted: bool,
    /// The confidence that was sent, in 0..=1.
    pub confidence: f64,
    /// The model that gave it.
    pub model: &'a str,
}

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// The caller, if it is verified: an unverified one may claim to be anybody.
    pub hotkey: Option<&'a str>,
    /// What became of it.
    pub outcome: Outcome,
    /// From its headers to its answer.
    pub total: Duration,
    /// Where that went.
    pub phases: Phases,
    /// The answer, if it got one.
    pub answer: Option<Given<'a>>,
    /// Why it got none.
    pub reason: Option<&'a str>,
}

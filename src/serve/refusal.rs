//! Why a request is not answered, and how the caller is told.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::features::reader::ReadError;
use crate::subnet::synapse::{SYNAPSE_NAME, SynapseError};

use super::access::Forbidden;
use super::headers::HeaderError;
use super::monitor::Outcome;
use super::verify::Unverified;
use super::worker::{ModelFailure, PredictError};

/// The header that the reference client takes the status from.
pub(super) const STATUS_CODE: &str = "bt_header_axon_status_code";
/// The header that the reference client takes the message from.
pub(super) const STATUS_MESSAGE: &str = "bt_header_axon_status_message";

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such synapse.
    #[error("Synapse name '{name}' not found. Available synapses ['{SYNAPSE_NAME}']")]
    UnknownSynapse {
        /// What was asked for, shortened.
        name: String,
    },
    /// The request is no POST.
    #[error("a synapse is sent by POST")]
    Method,
    /// A header cannot be read.
    #[error("Improperly formatted request: {0}")]
    Headers(#[from] HeaderError),
    /// The caller may not call.
    #[error("Forbidden. Key is blacklisted: {0}.")]
    Forbidden(#[from] Forbidden),
    /// The caller is not who it says.
    #[error("Not Verified with error: {0}")]
    Unverified(#[from] Unverified),
    /// The body is larger than any synapse.
    #[error("the body should have at most {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body broke off.
    #[error("the body could not be received")]
    BodyLost,
    /// The body is no synapse.
    #[error(transparent)]
    Body(#[from] SynapseError),
    /// The features cannot be read.
    #[error(transparent)]
    Features(#[from] ReadError),
    /// The caller's time is up.
    #[error("Response timeout after: {seconds}s")]
    Timeout {
        /// How long the caller waits.
        seconds: f64,
    },
    /// The caller asks more often than it may.
    #[error("too many requests of this {of}; try again in {} s", retry_seconds(*.wait))]
    Limited {
        /// Whose requests are counted.
        of: &'static str,
        /// When there is room for another.
        wait: Duration,
    },
    /// Too many requests wait.
    #[error("too many requests wait; try again later")]
    Overloaded,
    /// The miner is stopping.
    #[error("the miner is stopping")]
    Stopping,
    /// The work on it ended without a result.
    #[error("the request could not be worked on")]
    Broken,
    /// The model failed. What happened is logged and not sent.
    #[error("the model failed on this conversation")]
    Model(#[source] ModelFailure),
}

impl Refusal {
    /// What became of a conversation whose caller waits for `timeout_seconds`.
    pub(super) fn from_predict(error: PredictError, timeout_seconds: f64) -> Self {
        match error {
            PredictError::Overloaded => Refusal::Overloaded,
            PredictError::DeadlinePassed => Refusal::Timeout { seconds: timeout_seconds },
            PredictError::Stopped => Refusal::Stopping,
            PredictError::Model(failure) => Refusal::Model(failure),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::UnknownSynapse { .. } => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Headers(_) | Refusal::Body(_) | Refusal::Features(_) | Refusal::BodyLost => {
                StatusCode::BAD_REQUEST
            }
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::Unverified(_) => StatusCode::UNAUTHORIZED,
            Refusal::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Refusal::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Overloaded | Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Model(_) | Refusal::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What it is counted as.
    pub fn outcome(&self) -> Outcome {
        match self {
            Refusal::UnknownSynapse { .. } | Refusal::Method => Outcome::Unknown,
            Refusal::Headers(_) | Refusal::Body(_) | Refusal::Features(_) | Refusal::BodyLost => {
                Outcome::Malformed
            }
            Refusal::Forbidden(_) => Outcome::Forbidden,
            Refusal::Unverified(_) => Outcome::Unverified,
            Refusal::BodyTooLarge { .. } => Outcome::TooLarge,
            Refusal::Timeout { .. } => Outcome::Late,
            Refusal::Limited { .. } => Outcome::Limited,
            Refusal::Overloaded | Refusal::Stopping => Outcome::Overloaded,
            Refusal::Model(_) | Refusal::Broken => Outcome::Failed,
        }
    }

    /// After how long it may be worth to ask again.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::Limited { wait, .. } => Some(retry_seconds(*wait)),
            Refusal::Overloaded | Refusal::Stopping => Some(1),
            _ => None,
        }
    }

    /// Tells the operator. What a client does wrong is no error of ours.
    pub(super) fn log(&self, hotkey: Option<&str>) {
        let status = self.status().as_u16();
        match self {
            Refusal::Model(failure) => tracing::error!(status, hotkey, %failure, "not answered"),
            Refusal::Broken => {
                tracing::error!(status, hotkey, "a panic ended the work. This is a bug.")
            }
            _ => tracing::debug!(status, hotkey, reason = %self, "refused"),
        }
    }
}

/// The header counts whole seconds.
fn retry_seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil().max(1.0) as u64
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = (self.status(), self.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(STATUS_CODE, HeaderValue::from(status.as_u16()));
        headers.insert(STATUS_MESSAGE, header_text(&message));
        if matches!(self, Refusal::Method) {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Refusal::Limited { .. }) {
            // Its connection is one of those that others may need.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::json!({ "message": message });
        (status, headers, body.to_string()).into_response()
    }
}

/// The text as a header, without what a header cannot hold.
pub(super) fn header_text(text: &str) -> HeaderValue {
    let printable = |letter: char| if matches!(letter, ' '..='~') { letter } else { '?' };
    let text: String = text.chars().take(300).map(printable).collect();
    HeaderValue::from_str(&text).expect("printable ASCII is a header value. This is a bug.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_can_hold_anything() {
        let name = "a\r\nb\u{e9}\0".to_owned();
        let response = Refusal::UnknownSynapse { name }.into_response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[STATUS_CODE], "404");
        let message = response.headers()[STATUS_MESSAGE].to_str().unwrap();
        assert!(message.starts_with("Synapse name 'a??b??' not found"), "{message}");
        assert_eq!(header_text(&"x".repeat(5000)).len(), 300);
    }

    #[test]
    fn who_comes_too_often_is_told_when_to_come_again() {
        for (millis, seconds) in [(0, "1"), (400, "1"), (1001, "2"), (60_000, "60")] {
            let wait = Duration::from_millis(millis);
            let response = Refusal::Limited { of: "hotkey", wait }.into_response();
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["retry-after"], seconds);
            let message = response.headers()[STATUS_MESSAGE].to_str().unwrap();
            assert!(message.ends_with(&format!("try again in {seconds} s")), "{message}");
        }
        assert_eq!(Refusal::Overloaded.into_response().headers()["retry-after"], "1");
    }

    #[test]
    fn a_model_keeps_its_secrets() {
        let refusal = Refusal::Model(ModelFailure::Panicked("at /home/me".to_owned()));
        assert_eq!(refusal.status(), 500);
        assert!(!refusal.to_string().contains("/home"));
    }
}

//! The way to the API and back.

use std::time::Duration;

use ureq::Agent;

use super::{Address, ApiKey, KEY_HEADER};

/// Something to ask the API for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path below the base address.
    pub path: String,
    /// The parameters.
    pub query: Vec<(&'static str, String)>,
    /// A longer answer than so many bytes is refused.
    pub most_bytes: u64,
}

/// What the API answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// When to ask again, as the header `Retry-After` says it.
    pub retry_after: Option<String>,
    /// When it was answered, as the header `Date` says it.
    pub date: Option<String>,
    /// Where it is now, as the header `Location` says it.
    pub location: Option<String>,
    /// The body, all of it.
    pub body: Vec<u8>,
}

/// Why there is no answer, or only a part of one.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct TransportError {
    /// What happened.
    pub reason: String,
}

/// Asks the API once.
pub trait Transport {
    /// The answer, whatever its status.
    ///
    /// # Errors
    ///
    /// If nobody answers in time, or not to the end.
    fn get(&mut self, request: &Request) -> Result<Response, TransportError>;
}

/// HTTP, encrypted where the address says so.
pub struct HttpTransport {
    agent: Agent,
    address: Address,
    key: Option<ApiKey>,
}

impl HttpTransport {
    /// To the API at `address`, with this key, if it wants one. Each answer must have come to its end
    /// within `timeout`.
    pub fn new(address: Address, key: Option<ApiKey>, timeout: Duration) -> HttpTransport {
        let agent = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // The key is for this address alone.
            .max_redirects(0)
            .user_agent(concat!("convminer/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        HttpTransport { agent, address, key }
    }
}

impl Transport for HttpTransport {
    fn get(&mut self, request: &Request) -> Result<Response, TransportError> {
        let mut call = self.agent.get(self.address.join(&request.path));
        for (name, value) in &request.query {
            call = call.query(name, value);
        }
        if let Some(key) = &self.key {
            call = call.header(KEY_HEADER, key.expose());
        }
        // ureq's errors do not tell headers.
        let failed = |error: ureq::Error| TransportError { reason: error.to_string() };
        let mut response = call.header("accept", "application/json").call().map_err(failed)?;
        let header = |name: &str| -> Option<String> {
            Some(response.headers().get(name)?.to_str().ok()?.to_owned())
        };
        let [retry_after, date, location] = ["retry-after", "date", "location"].map(header);
        let body = response.body_mut().with_config().limit(request.most_bytes);
        let body = body.read_to_vec().map_err(failed)?;
        Ok(Response { status: response.status().as_u16(), retry_after, date, location, body })
    }
}

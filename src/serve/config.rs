//! How an axon is set up.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::Keypair;

use super::access::Access;
use super::clock::{Clock, SystemClock};

/// How an axon is set up.
#[derive(Clone)]
pub struct ServeConfig {
    /// The miner's hotkey, which signs the answers.
    pub keypair: Keypair,
    /// Who may call. Default: nobody.
    pub access: Access,
    /// The address that answers name. Default: the one that the caller used.
    pub external_ip: Option<IpAddr>,
    /// The port that answers name. Default: the one that the caller used.
    pub external_port: Option<u16>,
    /// The largest body. Default: 256 KiB, some hundred times a usual one.
    pub body_limit_bytes: usize,
    /// The longest time that a caller is waited for and worked for, whatever it asks. It also bounds
    /// how old a request may be. Default: 120 s, the longest that a validator is known to use.
    pub max_timeout_seconds: f64,
    /// How many conversations may wait for the model; more are refused with 503. Default: 1024.
    pub queue: usize,
    /// How many conversations the model answers at a time at most. Default: 64.
    pub max_batch: usize,
    /// How long a stop waits for requests in flight. Default: 5 s.
    pub stop_limit: Duration,
    /// The time of day. Default: the system's.
    pub clock: Arc<dyn Clock>,
}

impl ServeConfig {
    /// The defaults for the axon of this hotkey.
    pub fn new(keypair: Keypair) -> Self {
        ServeConfig {
            keypair,
            access: Access::default(),
            external_ip: None,
            external_port: None,
            body_limit_bytes: 256 << 10,
            max_timeout_seconds: 120.0,
            queue: 1024,
            max_batch: 64,
            stop_limit: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for ServeConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServeConfig")
            .field("keypair", &self.keypair)
            .field("external_ip", &self.external_ip)
            .field("external_port", &self.external_port)
            .field("body_limit_bytes", &self.body_limit_bytes)
            .field("max_timeout_seconds", &self.max_timeout_seconds)
            .field("queue", &self.queue)
            .field("max_batch", &self.max_batch)
            .field("stop_limit", &self.stop_limit)
            .finish_non_exhaustive()
    }
}

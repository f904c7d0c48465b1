//! How an axon is set up.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::Keypair;

use super::access::Access;
use super::limits::{ConnectionLimits, Rate};
use super::listener::ConnectionTimes;
use super::monitor::Monitor;
use super::nonces::Nonces;
use crate::clock::{Clock, SystemClock};
use crate::journal::Journal;

/// How an axon is set up.
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
    /// How many requests are worked on at a time. Whoever waits for the client's body is not.
    /// Default: 64.
    pub max_concurrent: usize,
    /// How many requests may wait for their turn; more are refused with 503. Default: 1024.
    pub max_queue: usize,
    /// How many conversations the model answers at a time at most. Default: 64.
    pub max_batch: usize,
    /// How many threads check signatures, ask the models and sign. Default: as many as the processor
    /// runs at once.
    pub threads: usize,
    /// How often a verified hotkey may ask. Default: 1000 a second, far more than any validator does.
    pub hotkey_rate: Rate,
    /// How often an address may send a request that is not known to be signed, before it is not
    /// listened to any more; what then is verified does not count.
    /// Default: 20 a second.
    pub address_rate: Rate,
    /// How many connections there may be. Default: 8192, and 512 from one address.
    pub connections: ConnectionLimits,
    /// How long a connection may stall. Default: 20 s for headers, or between two requests; 10 s to
    /// take an answer.
    pub times: ConnectionTimes,
    /// How long the body may take after the headers, if the caller's patience lasts. Default: 10 s.
    pub body_time: Duration,
    /// The nonces of an earlier process. Default: none is known, and what was signed before the axon
    /// is started is refused.
    pub nonces: Option<Nonces>,
    /// Counts what becomes of requests. Default: one that nobody reads.
    pub monitor: Arc<Monitor>,
    /// Where answers are written down. Default: nowhere.
    pub journal: Option<Arc<Journal>>,
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
            max_concurrent: 64,
            max_queue: 1024,
            max_batch: 64,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            hotkey_rate: Rate::new(1000.0),
            address_rate: Rate::new(20.0),
            connections: ConnectionLimits { total: 8192, per_address: 512 },
            times: ConnectionTimes {
                headers: Duration::from_secs(20),
                write: Duration::from_secs(10),
            },
            body_time: Duration::from_secs(10),
            nonces: None,
            monitor: Arc::new(Monitor::new(Arc::new(SystemClock))),
            journal: None,
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
            .field("max_concurrent", &self.max_concurrent)
            .field("max_queue", &self.max_queue)
            .field("max_batch", &self.max_batch)
            .field("threads", &self.threads)
            .field("hotkey_rate", &self.hotkey_rate)
            .field("address_rate", &self.address_rate)
            .field("connections", &self.connections)
            .field("times", &self.times)
            .field("body_time", &self.body_time)
            .field("journal", &self.journal)
            .field("stop_limit", &self.stop_limit)
            .finish_non_exhaustive()
    }
}

//! The network's data API: what it knows of conversations, and its training and test sets.
//!
//! [`Caller`] asks politely - not too fast, again after a failure, later and later, and not at all
//! for a while after many - and [`fetch()`] and [`dataset`] say what is asked and what an answer means.
//! [`Transport`] is the network and [`Pause`] the time, so that tests have both in hand.

mod address;
mod breaker;
mod caller;
pub mod dataset;
mod fetch;
mod key;
mod retry_after;
mod transport;
mod truth;

pub use address::{Address, AddressError};
pub use caller::{Caller, Patience, Pause, Stop, SystemPause, Unusable};
pub use fetch::{Failure, Fetched, Watch, fetch};
pub use key::{ApiKey, KeyError};
pub use transport::{HttpTransport, Request, Response, Transport, TransportError};

/// The header that the key goes into.
const KEY_HEADER: &str = "x-api-key";

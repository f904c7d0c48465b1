//! Answers validators: the axon of the Bittensor SDK 6 to 10, and the dendrite to try it.
//!
//! A request's way: its address's share of what may go wrong (429), headers (400), known caller (403),
//! nonce (401), a turn at the gate (503, 408); then on a model's thread signature (401), the hotkey's
//! share (429), body (413, 400), models (408), answer (200). The body of a caller that is not verified is
//! never looked at.

pub mod access;
pub mod admin;
pub mod dendrite;
pub mod feedback;
pub mod gate;
pub mod headers;
pub mod limits;
pub mod live;
pub mod models;
pub mod monitor;
pub mod nonces;
pub mod shadow;
pub mod state;
pub mod verify;
pub mod worker;

mod axon;
mod config;
mod listener;
mod refusal;
mod request;
mod respond;

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

pub use axon::{Axon, AxonView};
pub use config::ServeConfig;
pub use listener::ConnectionTimes;
pub use refusal::Refusal;
pub use respond::PROTOCOL_VERSION;

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something still ran when the time for stopping was up. It was given up.
    #[error("stopping took longer than {seconds} s; {what}")]
    SlowStop {
        /// How long it was waited.
        seconds: f64,
        /// What was given up.
        what: &'static str,
    },
}

/// How often it is looked whether all that must be answered is.
const STOP_POLL: Duration = Duration::from_millis(5);
/// How long after the signal to stop a connection may take to get out the answer that is ready.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Answers requests on `listener` until `shutdown` completes, then those in flight.
///
/// # Errors
///
/// If stopping takes longer than the configured limit.
pub async fn serve(
    listener: TcpListener,
    axon: Axon,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (stop, stopping) = watch::channel(false);
    let view = axon.view();
    view.set_listening(true);
    let limit = axon.stop_limit();
    tokio::select! {
        () = listener::listen(&listener, &axon, stopping) => (),
        () = shutdown => (),
    }
    tracing::info!("stopping");
    view.set_listening(false);
    drop(listener);
    stop.send_replace(true);
    let asked = Instant::now();
    let in_time = loop {
        // Whoever holds a connection open without a whole request is nobody to wait for.
        let only_idle = axon.in_flight() == 0 && asked.elapsed() >= LAST_ANSWERS;
        if axon.peers().connections() == 0 || only_idle {
            break true;
        }
        if asked.elapsed() >= limit {
            break false;
        }
        tokio::time::sleep(STOP_POLL).await;
    };
    let model_ended = axon.stop(limit).await;
    let slow = |what| ServeError::SlowStop { seconds: limit.as_secs_f64(), what };
    match (in_time, model_ended) {
        (true, true) => Ok(()),
        (false, _) => Err(slow("requests in flight were given up")),
        (true, false) => Err(slow("the model was still at work")),
    }
}

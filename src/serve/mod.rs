//! Answers validators: the axon of the Bittensor SDK 6 to 10, and the dendrite to try it.
//!
//! A request's way: headers (400), known caller (403), signature and nonce (401), body (413, 400),
//! queue of the model (503, 408), answer (200). The body of a caller that is not verified is never
//! looked at.

pub mod access;
pub mod clock;
pub mod dendrite;
pub mod headers;
pub mod live;
pub mod models;
pub mod monitor;
pub mod nonces;
pub mod verify;
pub mod worker;

mod axon;
mod config;
mod refusal;
mod respond;

use std::future::Future;
use std::sync::Arc;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::model::Model;

pub use axon::Axon;
pub use config::ServeConfig;
pub use refusal::Refusal;
pub use respond::PROTOCOL_VERSION;

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The thread of the model could not be started.
    #[error("the thread of the model could not be started")]
    Thread(#[source] std::io::Error),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[source] std::io::Error),
    /// Something still ran when the time for stopping was up. It was given up.
    #[error("stopping took longer than {seconds} s; {what}")]
    SlowStop {
        /// How long it was waited.
        seconds: f64,
        /// What was given up.
        what: &'static str,
    },
}

/// Answers requests on `listener` until `shutdown` completes, then those in flight.
///
/// # Errors
///
/// If there is no thread for the model, or if stopping takes longer than the configured limit.
pub async fn serve(
    listener: TcpListener,
    config: ServeConfig,
    model: Arc<dyn Model>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let limit = config.stop_limit;
    let axon = Axon::start(config, model).map_err(ServeError::Thread)?;
    let listener = listener.tap_io(|stream| {
        // Answers are small and awaited, so they must not wait for more to send.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    let (stopping, stopped) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        tracing::info!("stopping");
        stopping.send(()).ok();
    };
    let server =
        axum::serve(listener, axon.router()).with_graceful_shutdown(shutdown).into_future();
    let too_late = async move {
        // An error means that the server ended without being asked.
        stopped.await.ok();
        tokio::time::sleep(limit).await;
    };
    let in_time = tokio::select! {
        result = server => result.map(|()| true).map_err(ServeError::Listener)?,
        // Whoever holds a connection open without a whole request is nobody to wait for.
        () = too_late => axon.in_flight() == 0,
    };
    let model_ended = axon.stop(limit).await;
    let slow = |what| ServeError::SlowStop { seconds: limit.as_secs_f64(), what };
    match (in_time, model_ended) {
        (true, true) => Ok(()),
        (false, _) => Err(slow("requests in flight were given up")),
        (true, false) => Err(slow("the model was still at work")),
    }
}

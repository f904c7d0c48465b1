//! The operator's listener: health, metrics, numbers and the dashboard. Not for validators, and on
//! this machine alone unless the operator says otherwise.
//!
//! `routes` answers, `events` is the stream behind the live page, `page` the page, and `host` keeps
//! other web sites from reading it through the operator's browser.

mod connections;
mod events;
mod host;
mod page;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::monitor::{Monitor, Snapshot};

pub use connections::run;

/// Gives the state of the miner at this moment.
pub type SnapshotOf = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// What the operator's listener shows. Clones share everything.
#[derive(Clone)]
pub struct Admin {
    monitor: Arc<Monitor>,
    snapshot: SnapshotOf,
    /// How many listen to the events.
    listeners: Arc<AtomicUsize>,
    /// The event that all listeners of this second get.
    event: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Shows what `monitor` counted and what `snapshot` says, which is called whenever somebody
    /// looks and must return at once.
    pub fn new(monitor: Arc<Monitor>, snapshot: SnapshotOf) -> Self {
        Admin { monitor, snapshot, listeners: Arc::default(), event: Arc::default() }
    }

    /// The numbers as JSON.
    fn stats_json(&self) -> Bytes {
        let stats = self.monitor.stats(&(self.snapshot)());
        serde_json::to_vec(&stats).expect("numbers and texts are JSON. This is a bug.").into()
    }

    /// The numbers as an event; worked out at most once in `every`, however many ask.
    fn event(&self, every: Duration) -> Bytes {
        let mut event = self.event.lock().unwrap_or_else(PoisonError::into_inner);
        match &*event {
            Some((made, text)) if made.elapsed() < every => text.clone(),
            _ => {
                let text: Bytes =
                    [b"retry: 1000\ndata: ", &*self.stats_json(), b"\n\n"].concat().into();
                *event = Some((Instant::now(), text.clone()));
                text
            }
        }
    }
}

/// The operator's listener on its own thread. Stops when dropped.
#[derive(Debug)]
pub struct AdminHandle {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was told when it happened.
            thread.join().ok();
        }
    }
}

/// Serves on a thread of its own with a runtime of its own: the axon's is busy exactly when an
/// operator wants to know why.
///
/// # Errors
///
/// If the listener or the runtime cannot be set up.
pub fn spawn(listener: std::net::TcpListener, admin: Admin) -> io::Result<AdminHandle> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = async move {
        // Dropping the sender is the sign.
        stopped.await.ok();
    };
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(run(listener, admin, serve)))?;
    Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread) })
}

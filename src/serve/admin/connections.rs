//! Connections of the operator's listener, and their limits.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Admin;
use super::routes::Routes;

/// How many connections are served at a time; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take for its headers, and a connection may lie idle.
const HEADERS: Duration = Duration::from_secs(10);
/// How long a connection lasts at most, so that one that is never read from cannot stay. A page that
/// listens to the events connects again.
const LIFE: Duration = Duration::from_secs(600);
/// How long a connection may go on when it should end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of a request's head is read: browsers send 1 KiB, and cookies of other ports.
const HEAD_BYTES: usize = 32 << 10;
/// How long to wait after a connection that could not be accepted, for want of files as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes, and ends every connection then.
pub async fn run(listener: TcpListener, admin: Admin, shutdown: impl Future<Output = ()>) {
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let (stopping, stop) = watch::channel(());
    let routes = Arc::new(Routes { admin, is_local, stop });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection of the operator was not accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let connection = serve(stream, Arc::clone(&routes));
            tokio::spawn(async move {
                connection.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => (),
        () = shutdown => (),
    }
    drop(listener);
    // Whoever still reads gets a moment.
    stopping.send(()).ok();
    tokio::time::timeout(FAREWELL, places.acquire_many(CONNECTIONS as u32)).await.ok();
}

async fn serve(stream: TcpStream, routes: Arc<Routes>) {
    // Small answers must not wait for more to send. If it cannot be set, they do.
    stream.set_nodelay(true).ok();
    let mut stop = routes.stop.clone();
    let service = service_fn(move |request| {
        let routes = Arc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(&request)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let is_over = tokio::select! {
        // A client that goes away, or is too slow, is nothing to tell of.
        _ = &mut connection => true,
        _ = stop.changed() => false,
        () = tokio::time::sleep(LIFE) => false,
    };
    if !is_over {
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(FAREWELL, connection).await.ok();
    }
}

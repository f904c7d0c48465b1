//! Connections: taken, counted, and ended when they stall.

use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::axon::Axon;
use super::limits::{self, Connected};

/// The most bytes of a request line with its headers; a dendrite sends about 2 KiB.
const HEADER_BYTES: usize = 16 << 10;
/// The most bytes that hyper holds of a connection in each direction.
const BUFFER_BYTES: usize = 64 << 10;
/// How long to wait before the next try when no connection can be taken: there are no files left.
const NO_FILES_PAUSE: Duration = Duration::from_millis(50);

/// How long connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTimes {
    /// For the headers of a request; and for the pause between two requests.
    pub headers: Duration,
    /// Until the client takes some more of an answer.
    pub write: Duration,
}

/// Where a request comes from: an extension of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin(pub(super) IpAddr);

/// Takes connections until `stop` changes. Each then ends after the request that it is at.
pub(super) async fn listen(listener: &TcpListener, axon: &Axon, stop: watch::Receiver<bool>) {
    let (router, peers, times) = (axon.router(), axon.peers(), axon.times());
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(times.headers)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES);
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stopping) => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // The connection was over before it was taken.
            Err(error) if is_of_the_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken; trying again");
                tokio::time::sleep(NO_FILES_PAUSE).await;
                continue;
            }
        };
        let network = limits::network(address.ip());
        let Some(connected) = peers.connect(network, Instant::now()) else {
            tracing::debug!(%address, "too many connections");
            continue;
        };
        // Answers are small and awaited, so they must not wait for more to send.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let router = TowerToHyperService::new(router.clone());
        let service = Tagged { router, origin: Origin(network) };
        let connection =
            builder.serve_connection(TokioIo::new(Patient::new(stream, times.write)), service);
        tokio::spawn(serve_connection(connection, connected, stop.clone()));
    }
}

type Connection = http1::Connection<TokioIo<Patient>, Tagged>;

async fn serve_connection(
    connection: Connection,
    connected: Connected,
    mut stop: watch::Receiver<bool>,
) {
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(connected);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that who could give the signal is gone: then it has stopped too.
    drop(stop.wait_for(|stop| *stop).await);
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// Tells each request where it comes from.
struct Tagged {
    router: TowerToHyperService<Router>,
    origin: Origin,
}

impl hyper::service::Service<Request<Incoming>> for Tagged {
    type Response = Response;
    type Error = Infallible;
    type Future = TowerToHyperServiceFuture<Router, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.origin);
        self.router.call(request)
    }
}

/// A connection that fails when its other side takes nothing for too long. hyper bounds how long
/// headers may take, but would wait for ever to write.
struct Patient {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Patient { stream, limit, stalled: None }
    }

    /// The result of a write, or an error when writes wait for too long.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no answer")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watched(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

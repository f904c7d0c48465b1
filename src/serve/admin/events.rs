//! The numbers once a second, as server-sent events.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::Admin;

/// How many may listen at a time.
const LISTENERS: usize = 16;
const EVERY: Duration = Duration::from_secs(1);
/// A little less than that, so that each listener finds a new event in each second.
const FRESH: Duration = Duration::from_millis(900);

/// A body without an end, until the listener stops or the client goes.
pub(super) struct Events {
    admin: Admin,
    ticks: Interval,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: Place,
}

impl Events {
    /// `None` if too many listen already.
    pub(super) fn start(admin: &Admin, mut stop: watch::Receiver<()>) -> Option<Self> {
        let place = Place::take(&admin.listeners)?;
        let mut ticks = tokio::time::interval(EVERY);
        // Who reads slowly gets the newest, and not all that it missed.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped = Box::pin(async move {
            // An error means that the listener has ended.
            stop.changed().await.ok();
        });
        Some(Events { admin: admin.clone(), ticks, stopped, _place: place })
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        let tick = self.ticks.poll_tick(context);
        tick.map(|_| Some(Ok(Frame::data(self.admin.event(FRESH)))))
    }
}

/// A place among the listeners, free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count| (count < LISTENERS).then_some(count + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Signatures made before they are needed, so that signing takes no time from the server while it
//! is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::chain::Keypair;
use crate::clock::{Clock as _, SystemClock};
use crate::serve::verify::request_text;
use crate::subnet::synapse::EMPTY_BODY_HASH;

/// How many are signed for one connection before another has its turn.
const CHUNK: usize = 32;
/// How often it is looked whether a connection needs more.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What makes a request one that can be sent.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    /// Nanoseconds since the epoch.
    pub(super) nonce: u64,
    /// The caller's signature.
    pub(super) signature: [u8; 64],
}

impl Signed {
    /// Signs a request to this axon.
    pub(super) fn new(caller: &Keypair, axon_hotkey: &str, uuid: &str, nonce: u64) -> Self {
        let text = request_text(nonce, caller.address(), axon_hotkey, uuid, EMPTY_BODY_HASH);
        let mut signature = [0; 64];
        hex::decode_to_slice(&caller.sign(&text)[2..], &mut signature)
            .expect("a signature has 128 digits. This is a bug.");
        Signed { nonce, signature }
    }
}

/// How many signatures a connection has ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stock {
    /// At the start, and never more.
    pub(super) most: usize,
    /// With fewer, more are made while requests are sent.
    pub(super) least: usize,
}

impl Stock {
    /// For `requests` in all at `per_second`, spread over connections. What is signed long before
    /// it is sent would be refused as too old, so at most half the timeout's worth lies ready.
    pub(super) fn new(
        requests: u64,
        per_second: f64,
        timeout_seconds: f64,
        connections: usize,
    ) -> Self {
        let a_connection = |count: f64| (count / connections as f64).ceil() as usize + CHUNK;
        let fresh = per_second * (timeout_seconds / 2.0).clamp(1.0, 30.0);
        // Connections do not take equal shares.
        let wanted = requests as f64 * 1.25;
        if wanted <= fresh {
            let most = a_connection(wanted);
            Stock { most, least: (most / 16).max(CHUNK) }
        } else {
            let most = a_connection((per_second * 5.0).min(fresh));
            Stock { most, least: most / 2 }
        }
    }
}

/// What one connection's signatures are for.
#[derive(Debug)]
struct Source {
    caller: Keypair,
    axon_hotkey: String,
    uuid: String,
    last_nonce: u64,
    signed: mpsc::Sender<Signed>,
}

impl Source {
    /// Nonces rise within one UUID.
    fn sign(&mut self) -> Signed {
        self.last_nonce = SystemClock.now_ns().max(self.last_nonce + 1);
        Signed::new(&self.caller, &self.axon_hotkey, &self.uuid, self.last_nonce)
    }

    fn ready(&self) -> usize {
        self.signed.max_capacity() - self.signed.capacity()
    }

    /// How many were made; none when nobody wants them any more.
    fn fill(&mut self, limit: usize) -> u64 {
        let mut made = 0;
        while made < limit && self.signed.capacity() > 0 && !self.signed.is_closed() {
            let signed = self.sign();
            if self.signed.try_send(signed).is_err() {
                break;
            }
            made += 1;
        }
        made as u64
    }
}

/// Makes signatures: all that are wanted at the start, then on a thread of its own.
#[derive(Debug, Default)]
pub(super) struct Signer {
    sources: Vec<Source>,
}

impl Signer {
    /// A new connection's signatures, which are made by [`Signer::prepare`].
    pub(super) fn add(
        &mut self,
        caller: &Keypair,
        axon_hotkey: &str,
        uuid: &str,
        stock: Stock,
    ) -> mpsc::Receiver<Signed> {
        let (signed, receiver) = mpsc::channel(stock.most);
        self.sources.push(Source {
            caller: caller.clone(),
            axon_hotkey: axon_hotkey.to_owned(),
            uuid: uuid.to_owned(),
            last_nonce: 0,
            signed,
        });
        receiver
    }

    /// Fills all stocks on all cores. How many signatures were made, and in what time.
    pub(super) fn prepare(&mut self) -> (u64, Duration) {
        let began = Instant::now();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let share = self.sources.len().div_ceil(cores).max(1);
        let made = thread::scope(|scope| {
            let fill = |sources: &mut [Source]| -> u64 {
                sources.iter_mut().map(|source| source.fill(usize::MAX)).sum()
            };
            let threads: Vec<_> = self
                .sources
                .chunks_mut(share)
                .map(|sources| scope.spawn(move || fill(sources)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        });
        (made, began.elapsed())
    }

    /// Goes on signing where fewer than `least` are ready.
    pub(super) fn start(self, least: usize) -> std::io::Result<SigningThread> {
        let stop = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&made));
        let mut sources = self.sources;
        let thread = thread::Builder::new().name("sign".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut made = 0;
                for source in sources.iter_mut().filter(|source| source.ready() < least) {
                    made += source.fill(CHUNK);
                }
                count.fetch_add(made, Ordering::Relaxed);
                if made == 0 {
                    thread::sleep(LOOK_EVERY);
                }
            }
        })?;
        Ok(SigningThread { stop, made, thread: Some(thread) })
    }
}

/// Signs until it is dropped.
#[derive(Debug)]
pub(super) struct SigningThread {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl SigningThread {
    /// How many signatures it made.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

impl Drop for SigningThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and whoever measures has what was measured.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_is_signed_beforehand_and_a_long_one_as_it_goes() {
        // By hand: 10 s of 1000 a second are 12,500 with the reserve, below 30 s' worth.
        let short = Stock::new(10_000, 1000.0, 60.0, 10);
        assert_eq!((short.most, short.least), (1250 + CHUNK, (1250 + CHUNK) / 16));
        let long = Stock::new(1_800_000, 1000.0, 60.0, 10);
        assert_eq!((long.most, long.least), (500 + CHUNK, (500 + CHUNK) / 2));
        // Nothing lies for longer than a second when the timeout is one.
        let hasty = Stock::new(1_800_000, 1000.0, 1.0, 10);
        assert_eq!(hasty.most, 100 + CHUNK);
    }

    #[test]
    fn nonces_rise_and_signatures_are_good() {
        let (caller, axon) = (Keypair::generate(), Keypair::generate());
        let mut signer = Signer::default();
        let stock = Stock { most: 10, least: 10 };
        let mut receivers =
            ["a", "b"].map(|uuid| (uuid, signer.add(&caller, axon.address(), uuid, stock)));
        assert_eq!(signer.prepare().0, 20);
        let thread = signer.start(stock.least).unwrap();
        for (uuid, receiver) in &mut receivers {
            let mut last = 0;
            for _ in 0..50 {
                let Signed { nonce, signature } = receiver.blocking_recv().unwrap();
                assert!(nonce > last);
                last = nonce;
                let text =
                    request_text(nonce, caller.address(), axon.address(), uuid, EMPTY_BODY_HASH);
                let signature = format!("0x{}", hex::encode(signature));
                assert_eq!(caller.public().verify(&text, &signature), Ok(()));
            }
        }
        assert!(thread.made() >= 60, "80 of 100 at the latest when all are taken");
    }
}

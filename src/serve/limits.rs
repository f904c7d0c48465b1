//! How much of the miner one caller may take: token buckets, and connections by address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many callers have a bucket of their own. Beyond that, all newcomers share one.
const MOST_BUCKETS: usize = 16_384;
/// How long an address counts as that of a hotkey that signed a request from it.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// How many hotkeys of one address are remembered; the one silent longest makes room.
const KNOWN_PER_ADDRESS: usize = 8;
/// How often it is looked for addresses that need not be remembered any more.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// From which part of the connections on only those who have signed a request before get one.
const RESERVED_FROM: f64 = 0.75;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How often a second in the long run. 0 or infinity means as often as anybody likes.
    pub per_second: f64,
    /// How often at once, after a pause.
    pub burst: f64,
}

impl Rate {
    /// Without a limit.
    pub const UNLIMITED: Rate = Rate { per_second: 0.0, burst: 0.0 };

    /// `per_second`, and five seconds' worth of it at once.
    pub fn new(per_second: f64) -> Self {
        Rate { per_second, burst: (5.0 * per_second).max(1.0) }
    }

    fn is_unlimited(self) -> bool {
        self.per_second <= 0.0 || self.per_second.is_infinite()
    }
}

/// A token bucket for each caller.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<Store<K>>,
}

#[derive(Debug)]
struct Store<K> {
    by_caller: HashMap<K, Bucket>,
    /// For those that found no room.
    shared: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn fill(&mut self, rate: Rate, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + seconds * rate.per_second).min(rate.burst);
        self.filled = self.filled.max(now);
    }

    fn missing(&self, rate: Rate) -> Result<(), Duration> {
        if self.tokens >= 1.0 {
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / rate.per_second))
    }
}

impl<K: Hash + Eq> Buckets<K> {
    /// A full bucket for everybody.
    pub fn new(rate: Rate, now: Instant) -> Self {
        let shared = Bucket { tokens: rate.burst, filled: now };
        Buckets { rate, buckets: Mutex::new(Store { by_caller: HashMap::new(), shared }) }
    }

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// If there is none: when there will be one.
    pub fn take<Q>(&self, caller: &Q, now: Instant) -> Result<(), Duration>
    where
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        K: std::borrow::Borrow<Q>,
    {
        let rate = self.rate;
        if rate.is_unlimited() {
            return Ok(());
        }
        let mut store = self.lock();
        let Store { by_caller, shared } = &mut *store;
        if !by_caller.contains_key(caller) {
            if by_caller.len() >= MOST_BUCKETS {
                // A full bucket says no more than none.
                by_caller.retain(|_, bucket| {
                    bucket.fill(rate, now);
                    bucket.tokens < rate.burst
                });
            }
            if by_caller.len() < MOST_BUCKETS {
                let full = Bucket { tokens: rate.burst, filled: now };
                by_caller.insert(caller.to_owned(), full);
            }
        }
        let bucket = by_caller.get_mut(caller).unwrap_or(shared);
        bucket.fill(rate, now);
        bucket.missing(rate)?;
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// Puts a token back.
    pub fn give_back<Q>(&self, caller: &Q)
    where
        Q: Hash + Eq + ?Sized,
        K: std::borrow::Borrow<Q>,
    {
        let mut store = self.lock();
        if let Some(bucket) = store.by_caller.get_mut(caller) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.rate.burst);
        }
    }

    /// Whether there is a token. Takes none, and makes no bucket.
    ///
    /// # Errors
    ///
    /// If there is none: when there will be one.
    pub fn check<Q>(&self, caller: &Q, now: Instant) -> Result<(), Duration>
    where
        Q: Hash + Eq + ?Sized,
        K: std::borrow::Borrow<Q>,
    {
        if self.rate.is_unlimited() {
            return Ok(());
        }
        let mut store = self.lock();
        let Store { by_caller, shared } = &mut *store;
        let full = by_caller.len() >= MOST_BUCKETS;
        let bucket = match by_caller.get_mut(caller) {
            Some(bucket) => bucket,
            None if full => shared,
            None => return Ok(()),
        };
        bucket.fill(self.rate, now);
        bucket.missing(self.rate)
    }

    fn lock(&self) -> MutexGuard<'_, Store<K>> {
        // No code that runs under the lock can leave it half-written.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of an address that one caller is taken to have: of IPv6 the network of 64 bits, which
/// is the least that a host is given.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all. The last quarter is kept for addresses from which a request was signed lately.
    pub total: usize,
    /// From one address.
    pub per_address: usize,
}

/// The addresses that are connected, or were lately the place of a verified caller.
#[derive(Debug)]
pub struct Peers {
    limits: ConnectionLimits,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    connections: usize,
    /// When those that are not known any more were last looked for.
    swept: Option<Instant>,
    by_address: HashMap<IpAddr, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    connections: usize,
    known: Vec<(String, Instant)>,
}

impl Peer {
    fn knows_anybody(&self, now: Instant) -> bool {
        self.known.iter().any(|(_, at)| is_recent(*at, now))
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < KNOWN_FOR
}

/// An open connection, counted until this is dropped.
#[derive(Debug)]
pub struct Connected {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl Peers {
    /// Nobody is connected.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Peers { limits, table: Mutex::default() })
    }

    /// Counts a connection from this [`network`]. `None` if there are too many.
    pub fn connect(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Connected> {
        let mut table = self.lock();
        let peer = table.by_address.get(&address);
        let known = peer.is_some_and(|peer| peer.knows_anybody(now));
        let reserved = (self.limits.total as f64 * RESERVED_FROM) as usize;
        let total = if known { self.limits.total } else { reserved.max(1) };
        let open = peer.map_or(0, |peer| peer.connections);
        if table.connections >= total || open >= self.limits.per_address {
            return None;
        }
        table.connections += 1;
        table.by_address.entry(address).or_default().connections += 1;
        Some(Connected { peers: Arc::clone(self), address })
    }

    /// Whether this hotkey signed a request from this [`network`] lately.
    pub fn knows(&self, address: IpAddr, hotkey: &str, now: Instant) -> bool {
        let table = self.lock();
        let known = table.by_address.get(&address).map_or(&[][..], |peer| &peer.known);
        known.iter().any(|(name, at)| name == hotkey && is_recent(*at, now))
    }

    /// Remembers that this hotkey signed a request from this [`network`].
    pub fn remember(&self, address: IpAddr, hotkey: &str, now: Instant) {
        let mut table = self.lock();
        let most = 2 * self.limits.total;
        if table.by_address.len() >= most && !table.by_address.contains_key(&address) {
            // Who cannot be remembered is served all the same, only after those who are.
            if table.swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY) {
                return;
            }
            table.swept = Some(now);
            table.by_address.retain(|_, peer| peer.connections > 0 || peer.knows_anybody(now));
            if table.by_address.len() >= most {
                return;
            }
        }
        let known = &mut table.by_address.entry(address).or_default().known;
        if let Some((_, at)) = known.iter_mut().find(|(name, _)| name == hotkey) {
            *at = now;
            return;
        }
        if known.len() == KNOWN_PER_ADDRESS {
            let oldest = (0..known.len()).min_by_key(|index| known[*index].1).unwrap_or(0);
            known.swap_remove(oldest);
        }
        known.push((hotkey.to_owned(), now));
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code that runs under the lock can leave it half-written.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut table = self.peers.lock();
        table.connections -= 1;
        if let Some(peer) = table.by_address.get_mut(&self.address) {
            peer.connections -= 1;
            if peer.connections == 0 && peer.known.is_empty() {
                table.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let rate = Rate { per_second: 10.0, burst: 3.0 };
        let buckets: Buckets<String> = Buckets::new(rate, start);
        for _ in 0..3 {
            assert_eq!(buckets.take("a", at(0)), Ok(()));
        }
        assert_eq!(buckets.check("a", at(0)), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take("a", at(50)), Err(Duration::from_millis(50)));
        assert_eq!(buckets.take("b", at(50)), Ok(()), "each has its own");
        assert_eq!(buckets.take("a", at(100)), Ok(()));
        assert!(buckets.take("a", at(100)).is_err());
        // A clock that goes back gives nothing.
        assert!(buckets.take("a", at(0)).is_err());
        for _ in 0..3 {
            assert_eq!(buckets.take("a", at(60_000)), Ok(()));
        }
        assert!(buckets.take("a", at(60_000)).is_err(), "no more than a burst");
    }

    #[test]
    fn no_limit_keeps_no_books() {
        let start = Instant::now();
        let buckets: Buckets<IpAddr> = Buckets::new(Rate::new(0.0), start);
        assert_eq!(buckets.take(&ip(1), start), Ok(()));
        assert!(buckets.lock().by_caller.is_empty());
    }

    #[test]
    fn many_callers_share_what_is_left() {
        let start = Instant::now();
        let rate = Rate { per_second: 1.0, burst: 2.0 };
        let buckets: Buckets<u64> = Buckets::new(rate, start);
        for caller in 0..MOST_BUCKETS as u64 {
            buckets.take(&caller, start).unwrap();
        }
        assert_eq!(buckets.take(&1_000_000, start), Ok(()));
        assert_eq!(buckets.take(&1_000_001, start), Ok(()));
        assert_eq!(buckets.check(&1_000_002, start), Err(Duration::from_secs(1)));
        assert_eq!(buckets.take(&1_000_002, start), Err(Duration::from_secs(1)));
        assert_eq!(buckets.take(&5, start), Ok(()), "who was there is not touched");
        let later = start + Duration::from_secs(2);
        assert_eq!(buckets.take(&1_000_002, later), Ok(()));
        assert_eq!(buckets.lock().by_caller.len(), 1, "those that were full again made room");
    }

    #[test]
    fn a_network_is_one_caller() {
        for (written, expected) in [
            ("1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(written.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let now = Instant::now();
        let peers = Peers::new(ConnectionLimits { total: 4, per_address: 2 });
        let first = peers.connect(ip(1), now).unwrap();
        let _second = peers.connect(ip(1), now).unwrap();
        assert!(peers.connect(ip(1), now).is_none(), "two of one address");
        let _third = peers.connect(ip(2), now).unwrap();
        assert!(peers.connect(ip(3), now).is_none(), "the fourth is for those that are known");
        peers.remember(ip(3), "5H", now);
        let fourth = peers.connect(ip(3), now).unwrap();
        assert!(peers.connect(ip(3), now).is_none());
        assert_eq!(peers.connections(), 4);
        drop((first, fourth));
        assert_eq!(peers.connections(), 2);
        assert_eq!(peers.lock().by_address[&ip(1)].connections, 1);
    }

    #[test]
    fn an_address_is_known_for_an_hour_and_by_hotkey() {
        let now = Instant::now();
        let peers = Peers::new(ConnectionLimits { total: 4, per_address: 2 });
        peers.remember(ip(1), "5H", now);
        assert!(peers.knows(ip(1), "5H", now + KNOWN_FOR - Duration::from_secs(1)));
        assert!(!peers.knows(ip(1), "5H", now + KNOWN_FOR));
        assert!(!peers.knows(ip(1), "5I", now) && !peers.knows(ip(2), "5H", now));
        for index in 0..20 {
            peers.remember(ip(1), &index.to_string(), now + Duration::from_secs(1));
        }
        assert_eq!(peers.lock().by_address[&ip(1)].known.len(), KNOWN_PER_ADDRESS);
        assert!(!peers.knows(ip(1), "5H", now), "the one silent longest made room");
    }

    #[test]
    fn no_more_addresses_are_remembered_than_may_connect_twice() {
        let now = Instant::now();
        let peers = Peers::new(ConnectionLimits { total: 4, per_address: 2 });
        for address in 0..20 {
            peers.remember(ip(address), "5H", now);
        }
        assert_eq!(peers.lock().by_address.len(), 8);
        assert!(peers.knows(ip(7), "5H", now) && !peers.knows(ip(8), "5H", now));
        let later = now + KNOWN_FOR;
        peers.remember(ip(9), "5H", later);
        assert!(peers.knows(ip(9), "5H", later), "there is room again");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let now = Instant::now();
        let buckets: Buckets<String> = Buckets::new(Rate { per_second: 1.0, burst: 1.0 }, now);
        buckets.take("a", now).unwrap();
        buckets.give_back("a");
        buckets.give_back("a");
        buckets.take("a", now).unwrap();
        assert!(buckets.take("a", now).is_err(), "no more than a burst");
    }
}

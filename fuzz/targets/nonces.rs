//! The saved nonces.

use convminer::serve::nonces::{NonceClaim, NonceLimits, Nonces};

/// The time that stands still, in nanoseconds.
const NOW: u64 = 1_763_789_253_500_000_000;
const CLAIM: NonceClaim<'_> =
    NonceClaim { hotkey: "5H", uuid: "a", nonce: NOW + 1, timeout_seconds: 60.0 };

/// A state is refused, or can be lived with: it is kept across restarts, and nothing is replayed.
pub(crate) fn run(bytes: &[u8]) {
    let restore = |bytes: &[u8]| Nonces::restore(NonceLimits::default(), bytes, NOW);
    let Ok(nonces) = restore(bytes) else { return };
    let accepted = nonces.accept(CLAIM, NOW).is_ok();
    for is_last in [true, false] {
        let saved = nonces.save(is_last, NOW);
        let again = restore(&saved).expect("what was saved can be restored");
        assert_eq!(again.len(), nonces.len());
        if is_last {
            assert_eq!(again.save(true, NOW), saved, "another state came back");
        }
        if accepted {
            assert!(again.accept(CLAIM, NOW).is_err(), "replayed after a restart");
        }
    }
}

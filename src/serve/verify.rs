//! Whether a request was really signed by the hotkey that it names, and lately.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chain::keys::{BadSignature, KeyPoint};
use crate::chain::ss58::Ss58Error;
use crate::chain::{Keypair, PublicKey};

use super::headers::RequestHeaders;
use super::nonces::{NonceClaim, NonceError, Nonces};

/// Why a request is not verified.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unverified {
    /// A part of what is signed is not there.
    #[error("Missing {0}")]
    Missing(&'static str),
    /// The caller's hotkey is no address.
    #[error("the hotkey is no address: {0}")]
    Hotkey(#[from] Ss58Error),
    /// The nonce is too old or was used.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// The signature is not the caller's.
    #[error("Signature mismatch: {0}")]
    Signature(#[from] BadSignature),
}

/// Verifies requests to one axon.
#[derive(Debug)]
pub struct Verifier {
    axon_hotkey: String,
    nonces: Nonces,
    /// Of those that called before.
    keys: Mutex<HashMap<String, KeyPoint>>,
}

/// How many keys are kept. A subnet has 256.
const MOST_KEYS: usize = 1024;

impl Verifier {
    /// A verifier of requests to the axon with this key.
    pub fn new(axon: &Keypair, nonces: Nonces) -> Self {
        Verifier { axon_hotkey: axon.address().to_owned(), nonces, keys: Mutex::default() }
    }

    /// What was accepted.
    pub fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// What can be known of a request without the work of checking its signature.
    ///
    /// The reference spares clients older than 7.2.0 the age of the nonce. Their version is a header
    /// that is not signed, so whoever replays a request could claim to be one; here all are checked.
    pub fn check<'a>(
        &self,
        headers: &'a RequestHeaders,
        now_ns: u64,
    ) -> Result<Candidate<'a>, Unverified> {
        let dendrite = &headers.dendrite;
        let hotkey = dendrite.hotkey.as_deref().ok_or(Unverified::Missing("Hotkey"))?;
        let uuid = dendrite.uuid.as_deref().ok_or(Unverified::Missing("UUID"))?;
        let nonce = dendrite.nonce.ok_or(Unverified::Missing("Nonce"))?;
        let signature = dendrite.signature.as_deref().filter(|signature| !signature.is_empty());
        let signature = signature.ok_or(Unverified::Missing("Signature"))?;
        let timeout_seconds = headers.timeout_seconds.unwrap_or(0.0);
        let claim = NonceClaim { hotkey, uuid, nonce, timeout_seconds };
        self.nonces.check(claim, now_ns)?;
        Ok(Candidate { claim, signature, body_hash: &headers.computed_body_hash })
    }

    /// Accepts a request once, if its signature is good and its nonce still new.
    pub fn verify(&self, candidate: &Candidate<'_>, now_ns: u64) -> Result<(), Unverified> {
        let Candidate { claim, signature, body_hash } = candidate;
        let known = self.lock().get(claim.hotkey).copied();
        let key = match known {
            Some(key) => key,
            None => PublicKey::from_address(claim.hotkey)?.point()?,
        };
        // The axon's hotkey is ours, whatever the caller wrote: a request to another axon fails.
        let message =
            request_text(claim.nonce, claim.hotkey, &self.axon_hotkey, claim.uuid, body_hash);
        key.verify(&message, signature)?;
        self.nonces.accept(*claim, now_ns)?;
        if known.is_none() {
            self.remember(claim.hotkey, key);
        }
        Ok(())
    }

    /// The key of a caller that is verified: strangers must not fill the table.
    fn remember(&self, hotkey: &str, key: KeyPoint) {
        let mut keys = self.lock();
        if keys.len() >= MOST_KEYS {
            keys.clear();
        }
        keys.insert(hotkey.to_owned(), key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, KeyPoint>> {
        // No code that runs under the lock can leave it half-written.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request whose signature remains to be checked.
#[derive(Debug)]
pub struct Candidate<'a> {
    claim: NonceClaim<'a>,
    signature: &'a str,
    body_hash: &'a str,
}

impl<'a> Candidate<'a> {
    /// Who the caller claims to be.
    pub fn hotkey(&self) -> &'a str {
        self.claim.hotkey
    }
}

/// What a dendrite signs.
pub fn request_text(
    nonce: u64,
    dendrite_hotkey: &str,
    axon_hotkey: &str,
    uuid: &str,
    body_hash: &str,
) -> String {
    format!("{nonce}.{dendrite_hotkey}.{axon_hotkey}.{uuid}.{body_hash}")
}

/// What an axon signs.
pub fn response_text(nonce: u64, dendrite_hotkey: &str, axon_hotkey: &str, uuid: &str) -> String {
    format!("{nonce}.{dendrite_hotkey}.{axon_hotkey}.{uuid}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::nonces::NonceLimits;
    use crate::subnet::synapse::Terminal;

    const NOW: u64 = 1_763_789_253_000_000_000;

    fn signed(caller: &Keypair, axon: &str, nonce: u64) -> RequestHeaders {
        let message = request_text(nonce, caller.address(), axon, "u", "h");
        let dendrite = Terminal {
            nonce: Some(nonce),
            uuid: Some("u".to_owned()),
            hotkey: Some(caller.address().to_owned()),
            signature: Some(caller.sign(&message)),
            ..Terminal::default()
        };
        RequestHeaders {
            timeout_seconds: Some(12.0),
            computed_body_hash: "h".to_owned(),
            dendrite,
            axon: Terminal::default(),
        }
    }

    fn verifier(axon: &Keypair) -> Verifier {
        Verifier::new(axon, Nonces::new(NonceLimits::default()))
    }

    fn verify(verifier: &Verifier, headers: &RequestHeaders) -> Result<(), Unverified> {
        verifier.verify(&verifier.check(headers, NOW)?, NOW)
    }

    #[test]
    fn a_good_request_is_accepted_once() {
        let (axon, caller) = (Keypair::generate(), Keypair::generate());
        let verifier = verifier(&axon);
        let request = signed(&caller, axon.address(), NOW);
        assert_eq!(verify(&verifier, &request), Ok(()));
        let again = verify(&verifier, &request);
        assert_eq!(again, Err(Unverified::Nonce(NonceError::Replayed)));
    }

    #[test]
    fn a_request_to_another_axon_is_refused() {
        let (axon, caller, other) = (Keypair::generate(), Keypair::generate(), Keypair::generate());
        let verifier = verifier(&axon);
        let mut request = signed(&caller, other.address(), NOW);
        request.axon.hotkey = Some(other.address().to_owned());
        let refused = Err(Unverified::Signature(BadSignature::Mismatch));
        assert_eq!(verify(&verifier, &request), refused);
    }

    #[test]
    fn a_forged_request_uses_up_no_nonce() {
        let (axon, caller, thief) = (Keypair::generate(), Keypair::generate(), Keypair::generate());
        let verifier = verifier(&axon);
        let mut forged = signed(&thief, axon.address(), NOW + 5);
        forged.dendrite.hotkey = Some(caller.address().to_owned());
        assert!(matches!(verify(&verifier, &forged), Err(Unverified::Signature(_))));
        assert_eq!(verify(&verifier, &signed(&caller, axon.address(), NOW)), Ok(()));
    }

    #[test]
    fn every_part_is_needed() {
        let (axon, caller) = (Keypair::generate(), Keypair::generate());
        let verifier = verifier(&axon);
        type Change = fn(&mut RequestHeaders);
        let table: [(Change, Unverified); 7] = [
            (|headers| headers.dendrite.hotkey = None, Unverified::Missing("Hotkey")),
            (|headers| headers.dendrite.uuid = None, Unverified::Missing("UUID")),
            (|headers| headers.dendrite.nonce = None, Unverified::Missing("Nonce")),
            (|headers| headers.dendrite.signature = None, Unverified::Missing("Signature")),
            (
                |headers| headers.dendrite.signature = Some(String::new()),
                Unverified::Missing("Signature"),
            ),
            (
                |headers| headers.computed_body_hash.clear(),
                Unverified::Signature(BadSignature::Mismatch),
            ),
            (
                |headers| headers.dendrite.hotkey = Some("5G".to_owned()),
                Unverified::Hotkey(Ss58Error::Length(1)),
            ),
        ];
        for (change, expected) in table {
            let mut headers = signed(&caller, axon.address(), NOW);
            change(&mut headers);
            assert_eq!(verify(&verifier, &headers), Err(expected));
        }
    }
}

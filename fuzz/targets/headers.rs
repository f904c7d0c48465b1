//! The headers of a request, and whether it is verified.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use convminer::chain::Keypair;
use convminer::serve::headers::RequestHeaders;
use convminer::serve::nonces::{NonceError, NonceLimits, Nonces};
use convminer::serve::verify::{Unverified, Verifier, request_text};

/// The time that stands still, in nanoseconds: shortly after the seeds were signed.
const NOW: u64 = 1_763_789_253_500_000_000;
/// As many as hyper takes by default.
const MOST_HEADERS: usize = 100;

/// A request that the real library signed; see seeds.py.
const SIGNED: &[u8] = include_bytes!("../corpus/headers/signed");
/// All of the requests to this axon that are signed: what the others change is not covered.
const ALL_SIGNED: [&[u8]; 3] = [
    SIGNED,
    include_bytes!("../corpus/headers/signed-second"),
    include_bytes!("../corpus/headers/signed-old"),
];

static AXON: LazyLock<Keypair> = LazyLock::new(|| Keypair::from_seed(&[2; 32]));
static CALLER: LazyLock<Keypair> = LazyLock::new(|| Keypair::from_seed(&[3; 32]));

/// What each signature covers, and the signature.
static COVERED: LazyLock<[[String; 4]; 3]> = LazyLock::new(|| {
    let parsed = ALL_SIGNED.map(|bytes| {
        let headers = headers(bytes).expect("the seeds are headers");
        RequestHeaders::parse(&headers).expect("the seeds are requests")
    });
    // Otherwise the rest would hold for a verifier that refuses everything.
    assert_eq!(verify(&verifier(), &parsed[0]), Ok(()), "the seed must be accepted");
    parsed.map(|request| covered(&request))
});

/// No headers end the miner; what is verified is what was signed, and is so once.
pub(crate) fn run(bytes: &[u8]) {
    let Some(headers) = headers(bytes) else { return };
    let request = match RequestHeaders::parse(&headers) {
        Ok(request) => request,
        Err(error) => {
            // It goes into a log and into an answer.
            assert!(error.to_string().len() < 300, "{error}");
            return;
        }
    };
    assert!(request.timeout_seconds.is_none_or(|seconds| seconds >= 0.0));
    let covered_here = &*COVERED;
    let verifier = verifier();
    if verify(&verifier, &request).is_ok() {
        assert!(covered_here.contains(&covered(&request)), "forged: {request:?}");
        let again = verify(&verifier, &request);
        assert_eq!(again, Err(Unverified::Nonce(NonceError::Replayed)));
    }
    if let (Some(nonce), Some(uuid)) = (request.dendrite.nonce, request.dendrite.uuid.clone()) {
        sign(request, nonce, &uuid);
    }
}

/// With a good signature a request is accepted exactly when it is of the present: so many seconds old
/// as its timeout, which is capped, and 4 more, or at most 600 ahead.
fn sign(mut request: RequestHeaders, nonce: u64, uuid: &str) {
    const SECOND: f64 = 1e9;
    let caller = CALLER.address();
    let text = request_text(nonce, caller, AXON.address(), uuid, &request.computed_body_hash);
    request.dendrite.hotkey = Some(caller.to_owned());
    request.dendrite.signature = Some(CALLER.sign(&text));
    let accepted = verify(&verifier(), &request).is_ok();
    let patience_seconds = request.timeout_seconds.unwrap_or(0.0).min(120.0);
    let oldest = NOW - 4 * SECOND as u64 - (patience_seconds * SECOND) as u64;
    let newest = NOW + 600 * SECOND as u64;
    assert_eq!(accepted, nonce > oldest && nonce <= newest, "{request:?}");
}

fn verifier() -> Verifier {
    Verifier::new(&AXON, Nonces::new(NonceLimits::default()))
}

fn verify(verifier: &Verifier, request: &RequestHeaders) -> Result<(), Unverified> {
    verifier.verify(&verifier.check(request, NOW)?, NOW)
}

/// The parts that a signature covers.
fn covered(request: &RequestHeaders) -> [String; 4] {
    let dendrite = &request.dendrite;
    [
        dendrite.nonce.unwrap_or_default().to_string(),
        dendrite.hotkey.clone().unwrap_or_default(),
        dendrite.uuid.clone().unwrap_or_default(),
        request.computed_body_hash.clone(),
    ]
}

/// Reads lines as hyper does.
fn headers(bytes: &[u8]) -> Option<HeaderMap> {
    let mut bytes = bytes.to_vec();
    // An empty line ends the headers, and an input need not discover that.
    bytes.extend_from_slice(b"\r\n\r\n");
    let mut lines = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let httparse::Status::Complete((_, lines)) =
        httparse::parse_headers(&bytes, &mut lines).ok()?
    else {
        return None;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some(headers)
}

//! Public keys and signatures as text.

use std::sync::LazyLock;

use convminer::chain::{Keypair, PublicKey};

// python: Keypair.create_from_uri("//Alice").sign("hello").hex()
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const HELLO: &str = "hello";
const ALICE_HELLO: &str = "0xf235b5d8b69256a9ee66c4f9e4a8d68392617637f7cc36fc4a6024ccd7df6407a12f1a70ebd4539c10f7cc2e63d2565c0b6867a8f372482b162d345fa17ae48d";

static OURS: LazyLock<Keypair> = LazyLock::new(|| Keypair::from_seed(&[7; 32]));

/// Lines of address, signature and message verify only where somebody has signed, and a signature
/// of which any bit is another never does.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (address, signature, message) = (line(), line(), line());
    if let Ok(key) = PublicKey::from_address(address) {
        assert_eq!(key.address(), address);
        if key.verify(message, signature).is_ok() {
            // Nobody can forge: what verifies is the one signature that the seeds hold.
            assert_eq!((address, message), (ALICE, HELLO), "forged: {signature}");
            assert!(signature.eq_ignore_ascii_case(ALICE_HELLO), "a second form: {signature}");
        }
    }
    flip(bytes);
}

/// Takes a bit from the first two bytes, and a message from the rest.
fn flip(bytes: &[u8]) {
    let Some((place, message)) = bytes.split_first_chunk::<2>() else { return };
    let message = String::from_utf8_lossy(message);
    let signature = OURS.sign(&message);
    assert_eq!(OURS.public().verify(&message, &signature), Ok(()), "{signature}");

    let bit = usize::from(u16::from_le_bytes(*place)) % (8 * signature.len());
    let mut flipped = signature.clone().into_bytes();
    flipped[bit / 8] ^= 1 << (bit % 8);
    // Without its high bit each letter is ASCII; flipping that bit alone makes no text.
    let Ok(flipped) = String::from_utf8(flipped) else { return };
    let same_digits = flipped.eq_ignore_ascii_case(&signature) && flipped.starts_with("0x");
    let verified = OURS.public().verify(&message, &flipped).is_ok();
    assert_eq!(verified, same_digits, "{signature} became {flipped}");

    let other = format!("{message}.");
    assert!(OURS.public().verify(&other, &signature).is_err(), "{signature} of two messages");
}

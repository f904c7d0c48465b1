//! sr25519 keys as Substrate uses them.

use std::fmt;
use std::sync::LazyLock;

use schnorrkel::context::SigningContext;
use schnorrkel::{ExpansionMode, MiniSecretKey, SecretKey, Signature, SignatureError};

use super::ss58::{self, Ss58Error};

/// Substrate signs everything in this context.
static CONTEXT: LazyLock<SigningContext> = LazyLock::new(|| SigningContext::new(b"substrate"));

/// Why bytes are not a secret key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a scalar and a nonce.
    // The source says what is wrong and holds no bytes of the key.
    #[error("the 64 bytes are no sr25519 secret key: {0}")]
    Secret(SignatureError),
}

/// A key that signs.
#[derive(Clone)]
pub struct Keypair {
    pair: schnorrkel::Keypair,
    address: String,
}

impl Keypair {
    /// The key of a 32-byte mini-secret, which wallets call the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mini =
            MiniSecretKey::from_bytes(seed).expect("a mini-secret is any 32 bytes. This is a bug.");
        // Substrate expands as Ed25519 does, not in schnorrkel's own way.
        Keypair::new(mini.expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// The key of a 64-byte expanded secret: a scalar and a nonce, as wallets keep it.
    pub fn from_secret(secret: &[u8; 64]) -> Result<Self, KeyError> {
        let secret = SecretKey::from_bytes(secret).map_err(KeyError::Secret)?;
        Ok(Keypair::new(secret.to_keypair()))
    }

    /// A new key from the system's randomness.
    pub fn generate() -> Self {
        Keypair::new(MiniSecretKey::generate().expand_to_keypair(ExpansionMode::Ed25519))
    }

    fn new(pair: schnorrkel::Keypair) -> Self {
        let address = ss58::encode(&pair.public.to_bytes());
        Keypair { pair, address }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair.public.to_bytes())
    }

    /// The public half as an SS58 address: the hotkey.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The signature of `message` as `0x` and 128 hexadecimal digits, as it goes over the wire.
    pub fn sign(&self, message: &str) -> String {
        let signature = self.pair.sign(CONTEXT.bytes(message.as_bytes()));
        format!("0x{}", hex::encode(signature.to_bytes()))
    }
}

/// Shows the address; never the secret.
impl fmt::Debug for Keypair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keypair").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A key that checks signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not `0x` and 128 hexadecimal digits of an sr25519 signature.
    #[error("the signature should be 0x and 128 hexadecimal digits of an sr25519 signature")]
    Malformed,
    /// The 32 bytes are no point of the curve, so nobody has this key; or they are its zero, whose
    /// secret is 0, so everybody has it.
    #[error("the hotkey is no sr25519 public key")]
    NoSuchKey,
    /// Another key signed, or another message was signed.
    #[error("the signature does not match")]
    Mismatch,
}

impl PublicKey {
    /// Reads an SS58 address.
    pub fn from_address(address: &str) -> Result<Self, Ss58Error> {
        Ok(PublicKey(ss58::decode(address)?))
    }

    /// The key of 32 raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        PublicKey(bytes)
    }

    /// The key as an SS58 address.
    pub fn address(&self) -> String {
        ss58::encode(&self.0)
    }

    /// The point of the curve, which takes as long to find as a tenth of checking a signature.
    ///
    /// # Errors
    ///
    /// If there is none, so that nobody has this key; or if everybody has it.
    pub fn point(&self) -> Result<KeyPoint, BadSignature> {
        // The zero is a point to schnorrkel, and one signature is good for every message under it.
        if self.0 == [0; 32] {
            return Err(BadSignature::NoSuchKey);
        }
        let point = schnorrkel::PublicKey::from_bytes(&self.0);
        point.map(KeyPoint).map_err(|_| BadSignature::NoSuchKey)
    }

    /// Checks the signature `0x...` of `message`.
    ///
    /// # Errors
    ///
    /// If it is none, or not of this key and message.
    pub fn verify(&self, message: &str, signature: &str) -> Result<(), BadSignature> {
        let signature = parse_signature(signature)?;
        self.point()?.check(message, &signature)
    }
}

/// A [`PublicKey`] that is ready to check signatures.
#[derive(Debug, Clone, Copy)]
pub struct KeyPoint(schnorrkel::PublicKey);

impl KeyPoint {
    /// As [`PublicKey::verify`].
    ///
    /// # Errors
    ///
    /// If the signature is none, or not of this key and message.
    pub fn verify(&self, message: &str, signature: &str) -> Result<(), BadSignature> {
        self.check(message, &parse_signature(signature)?)
    }

    fn check(&self, message: &str, signature: &Signature) -> Result<(), BadSignature> {
        let message = CONTEXT.bytes(message.as_bytes());
        self.0.verify(message, signature).map_err(|_| BadSignature::Mismatch)
    }
}

fn parse_signature(text: &str) -> Result<Signature, BadSignature> {
    let digits = text.strip_prefix("0x").ok_or(BadSignature::Malformed)?;
    let mut bytes = [0u8; 64];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| BadSignature::Malformed)?;
    Signature::from_bytes(&bytes).map_err(|_| BadSignature::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(digits: &str) -> [u8; N] {
        hex::decode(digits).unwrap().try_into().unwrap()
    }

    // python (bittensor_wallet 4.1.1):
    //   k = Keypair.create_from_seed("0x" + "f1e2d3c4b5a69788" * 4); k.ss58_address
    //   and the privateKey that Wallet.set_hotkey(k, encrypt=False) writes
    const SEED: &str = "f1e2d3c4b5a69788f1e2d3c4b5a69788f1e2d3c4b5a69788f1e2d3c4b5a69788";
    const SECRET: &str = "75607cea925bc353c8e8e9e69949798a8441cb4e6ef70741401e34807b18850ae0ff9e778a6a8bd8a3ddf853459964db9b0622c4540b09067d32b9cda5ac9169";
    const ADDRESS: &str = "5Gq1cRUwupkXUoK4vii6DWADvDCye2EabuRiHDtNR3EA7Dv7";

    // python: Keypair.create_from_uri("//Alice").sign("hello").hex()
    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const ALICE_HELLO: &str = "0xf235b5d8b69256a9ee66c4f9e4a8d68392617637f7cc36fc4a6024ccd7df6407a12f1a70ebd4539c10f7cc2e63d2565c0b6867a8f372482b162d345fa17ae48d";

    #[test]
    fn seed_and_secret_give_the_reference_address() {
        assert_eq!(Keypair::from_seed(&bytes(SEED)).address(), ADDRESS);
        assert_eq!(Keypair::from_secret(&bytes(SECRET)).unwrap().address(), ADDRESS);
        assert!(Keypair::from_secret(&[0xff; 64]).is_err());
    }

    #[test]
    fn a_signature_of_the_reference_is_accepted() {
        let alice = PublicKey::from_address(ALICE).unwrap();
        assert_eq!(alice.verify("hello", ALICE_HELLO), Ok(()));
        assert_eq!(alice.address(), ALICE);
        let other = Keypair::from_seed(&bytes(SEED)).public();
        let zeros = format!("0x{}", "0".repeat(128));
        // What schnorrkel accepts for any message under the key of zeros.
        let of_zero = format!("0x{}80", "0".repeat(126));
        for (key, message, signature, expected) in [
            (alice, "hello!", ALICE_HELLO, BadSignature::Mismatch),
            (other, "hello", ALICE_HELLO, BadSignature::Mismatch),
            (alice, "hello", &ALICE_HELLO[2..], BadSignature::Malformed),
            (alice, "hello", &ALICE_HELLO[..128], BadSignature::Malformed),
            (alice, "hello", "", BadSignature::Malformed),
            (alice, "hello", &zeros, BadSignature::Malformed),
            (PublicKey::from_bytes([0xff; 32]), "hello", ALICE_HELLO, BadSignature::NoSuchKey),
            (PublicKey::from_bytes([0; 32]), "hello", &of_zero, BadSignature::NoSuchKey),
        ] {
            assert_eq!(key.verify(message, signature), Err(expected), "{message} {signature}");
        }
    }

    #[test]
    fn own_signatures_verify() {
        let pair = Keypair::generate();
        let signature = pair.sign("a.b.c");
        assert_eq!(pair.public().verify("a.b.c", &signature), Ok(()));
        assert_ne!(pair.address(), Keypair::generate().address());
    }

    #[test]
    fn debug_hides_the_secret() {
        let shown = format!("{:?}", Keypair::from_seed(&bytes(SEED)));
        assert_eq!(shown, format!("Keypair {{ address: {ADDRESS:?}, .. }}"));
    }
}

//! SS58: how Substrate chains write a public key.
//!
//! `base58(prefix ++ key ++ checksum)`, where the checksum is the first two bytes of
//! BLAKE2b-512(`SS58PRE` ++ prefix ++ key).

use blake2::{Blake2b512, Digest};

/// The prefix of Bittensor, which is that of any Substrate chain.
pub const PREFIX: u8 = 42;

const KEY_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 2;
/// The longest text that 35 bytes can become; anything longer is not worth decoding.
const LONGEST_TEXT: usize = 50;

/// Why a text is not an address of Bittensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ss58Error {
    /// A letter outside of base 58.
    #[error("an SS58 address has base-58 letters only")]
    Alphabet,
    /// Not 1 + 32 + 2 bytes.
    #[error("an SS58 address should hold 35 bytes, but holds {0}")]
    Length(usize),
    /// Far too long for an address.
    #[error("an SS58 address should have at most {LONGEST_TEXT} letters, but has {0}")]
    TooLong(usize),
    /// An address of another chain.
    #[error("the SS58 prefix should be {PREFIX}, but is {0}")]
    Prefix(u8),
    /// A mistyped letter.
    #[error("the checksum of the SS58 address is wrong")]
    Checksum,
}

/// Writes a public key as an address.
pub fn encode(key: &[u8; KEY_BYTES]) -> String {
    let mut bytes = [0u8; 1 + KEY_BYTES + CHECKSUM_BYTES];
    bytes[0] = PREFIX;
    bytes[1..=KEY_BYTES].copy_from_slice(key);
    let checksum = checksum(&bytes[..=KEY_BYTES]);
    bytes[1 + KEY_BYTES..].copy_from_slice(&checksum);
    bs58::encode(bytes).into_string()
}

/// Reads the public key of an address.
pub fn decode(address: &str) -> Result<[u8; KEY_BYTES], Ss58Error> {
    if address.len() > LONGEST_TEXT {
        return Err(Ss58Error::TooLong(address.len()));
    }
    let bytes = bs58::decode(address).into_vec().map_err(|_| Ss58Error::Alphabet)?;
    let bytes: [u8; 1 + KEY_BYTES + CHECKSUM_BYTES] =
        bytes.as_slice().try_into().map_err(|_| Ss58Error::Length(bytes.len()))?;
    let (body, sum) = bytes.split_at(1 + KEY_BYTES);
    if body[0] != PREFIX {
        return Err(Ss58Error::Prefix(body[0]));
    }
    if sum != checksum(body) {
        return Err(Ss58Error::Checksum);
    }
    let mut key = [0u8; KEY_BYTES];
    key.copy_from_slice(&body[1..]);
    Ok(key)
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Blake2b512::new().chain_update(b"SS58PRE").chain_update(body).finalize();
    [digest[0], digest[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    // python: bittensor_wallet.Keypair.create_from_uri("//Alice").ss58_address, .public_key.hex()
    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const ALICE_KEY: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

    #[test]
    fn agrees_with_the_reference() {
        let key: [u8; 32] = hex::decode(ALICE_KEY).unwrap().try_into().unwrap();
        assert_eq!(encode(&key), ALICE);
        assert_eq!(decode(ALICE).unwrap(), key);
        for key in [[0; 32], [255; 32]] {
            assert_eq!(decode(&encode(&key)).unwrap(), key);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        // The same key as an address of Polkadot: base58 of prefix 0.
        let polkadot = "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5";
        let long = "5".repeat(10_000);
        for (text, expected) in [
            ("", Ss58Error::Length(0)),
            ("5GrwvaEF", Ss58Error::Length(6)),
            ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQ0", Ss58Error::Alphabet),
            ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ", Ss58Error::Checksum),
            ("\u{e9}", Ss58Error::Alphabet),
            (polkadot, Ss58Error::Prefix(0)),
            (&long, Ss58Error::TooLong(10_000)),
        ] {
            assert_eq!(decode(text), Err(expected), "{text}");
        }
    }
}

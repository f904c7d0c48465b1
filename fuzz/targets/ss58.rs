//! SS58 addresses.

use convminer::chain::ss58::{decode, encode};

/// Any text is refused or is the one address of its key; any key has an address.
pub(crate) fn run(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(key) = decode(text)
    {
        assert_eq!(encode(&key), text, "a key has two addresses");
    }
    if let Some(key) = bytes.first_chunk::<32>() {
        let address = encode(key);
        assert_eq!(decode(&address), Ok(*key), "{address}");
        // The next bytes say which letter is mistyped, and as what.
        if let [place, letter, ..] = bytes[32..] {
            let mut letters = address.into_bytes();
            let place = usize::from(place) % letters.len();
            if letters[place] != letter && letter.is_ascii() {
                letters[place] = letter;
                let mistyped = String::from_utf8(letters).expect("all letters are ASCII");
                assert_ne!(decode(&mistyped), Ok(*key), "{mistyped}");
            }
        }
    }
}

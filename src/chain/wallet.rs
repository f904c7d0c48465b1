//! Reads the hotkey of a Bittensor wallet.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::keys::{Keypair, PublicKey};

/// Where a hotkey lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletLocation {
    /// The folder of all wallets.
    pub path: PathBuf,
    /// The wallet's name.
    pub name: String,
    /// The hotkey's name in the wallet.
    pub hotkey: String,
}

impl Default for WalletLocation {
    fn default() -> Self {
        WalletLocation {
            path: PathBuf::from("~/.bittensor/wallets"),
            name: "default".to_owned(),
            hotkey: "default".to_owned(),
        }
    }
}

impl WalletLocation {
    /// The file of the hotkey; a leading `~` becomes the home directory.
    pub fn hotkey_file(&self) -> PathBuf {
        expand_home(&self.path).join(&self.name).join("hotkeys").join(&self.hotkey)
    }
}

/// Why a hotkey file gave no key. No message holds anything secret.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The file cannot be read.
    #[error("the hotkey file `{path}` cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is encrypted.
    #[error(
        "the hotkey file `{path}` is encrypted ({method}), and convminer asks for no passwords"
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// How it is encrypted.
        method: &'static str,
    },
    /// The file is something else.
    #[error("the hotkey file `{path}` should be a JSON object as Bittensor's wallet writes it")]
    NotJson {
        /// The file.
        path: PathBuf,
    },
    /// The file has no secret: it is the public half.
    #[error("the hotkey file `{path}` has neither `secretSeed` nor `privateKey`")]
    NoSecret {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that axons and dendrites do not sign with.
    #[error(
        "the hotkey file `{path}` should hold an sr25519 key (cryptoType 1), but has cryptoType {found}"
    )]
    KeyType {
        /// The file.
        path: PathBuf,
        /// The kind of key; 0 is ed25519.
        found: i64,
    },
    /// The file does not say whose key it is.
    #[error("the hotkey file `{path}` should name its key as `publicKey` or `ss58Address`")]
    NoPublicKey {
        /// The file.
        path: PathBuf,
    },
    /// The secret is of another key than the file says.
    #[error(
        "the hotkey file `{path}` says that its key is {expected}, but its secret is not of it"
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The address that the file names.
        expected: String,
    },
}

impl WalletError {
    /// What the user can do about it, if it is clear.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            WalletError::Encrypted { .. } => Some(
                "a miner's hotkey is kept unencrypted: make the file again from its mnemonic with \
                 `btcli wallet regen-hotkey`, without a password",
            ),
            WalletError::NoSecret { .. } => {
                Some("`coldkeypub.txt` and other `*pub.txt` files hold public keys only")
            }
            _ => None,
        }
    }
}

/// Reads an unencrypted hotkey file.
pub fn read_hotkey(path: &Path) -> Result<Keypair, WalletError> {
    let bytes = std::fs::read(path)
        .map_err(|source| WalletError::Read { path: path.to_owned(), source })?;
    parse_hotkey(path, &bytes)
}

fn parse_hotkey(path: &Path, bytes: &[u8]) -> Result<Keypair, WalletError> {
    let path = path.to_owned();
    if let Some(method) = encryption(bytes) {
        return Err(WalletError::Encrypted { path, method });
    }
    // serde_json's errors can quote the value that they stumble over, so they are not kept.
    let Ok(Value::Object(file)) = serde_json::from_slice(bytes) else {
        return Err(WalletError::NotJson { path });
    };
    // Older wallets do not write it, and have sr25519 only.
    if let Some(found) = file.get("cryptoType").and_then(Value::as_i64).filter(|kind| *kind != 1) {
        return Err(WalletError::KeyType { path, found });
    }
    let candidates = secrets(&file);
    if candidates.is_empty() {
        let written = ["secretSeed", "privateKey"].iter().any(|key| file.contains_key(*key));
        if !written {
            return Err(WalletError::NoSecret { path });
        }
    }
    let Some(expected) = public_key(&file) else {
        return Err(WalletError::NoPublicKey { path });
    };
    candidates
        .into_iter()
        .find(|pair| pair.public() == expected)
        .ok_or_else(|| WalletError::Mismatch { path, expected: expected.address() })
}

/// How a key file is encrypted, from its first bytes.
fn encryption(bytes: &[u8]) -> Option<&'static str> {
    [
        (&b"$NACL"[..], "NaCl secret box"),
        (&b"$ANSIBLE_VAULT"[..], "Ansible vault"),
        (&b"gAAAA"[..], "Fernet"),
    ]
    .into_iter()
    .find_map(|(start, method)| bytes.starts_with(start).then_some(method))
}

/// The keys of every secret in the file that can be one.
///
/// A key made from a URI or a private key has no seed. A key whose seed happens to be UTF-8 has a
/// `secretSeed` of raw characters instead of hexadecimal digits (bittensor_wallet 4.1.1). In both
/// cases `privateKey` is there; older wallets write the seed only.
fn secrets(file: &Map<String, Value>) -> Vec<Keypair> {
    let seed = bytes_of::<32>(file, "secretSeed").map(|seed| Keypair::from_seed(&seed));
    let secret =
        bytes_of::<64>(file, "privateKey").and_then(|secret| Keypair::from_secret(&secret).ok());
    seed.into_iter().chain(secret).collect()
}

fn public_key(file: &Map<String, Value>) -> Option<PublicKey> {
    bytes_of::<32>(file, "publicKey")
        .map(PublicKey::from_bytes)
        .or_else(|| PublicKey::from_address(file.get("ss58Address")?.as_str()?).ok())
}

/// The bytes of a hexadecimal field, with or without `0x`.
fn bytes_of<const N: usize>(file: &Map<String, Value>, key: &str) -> Option<[u8; N]> {
    let digits = file.get(key)?.as_str()?;
    let mut bytes = [0u8; N];
    hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut bytes).ok()?;
    Some(bytes)
}

/// Replaces a leading `~` by the home directory, if there is one.
pub fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Files that bittensor_wallet 4.1.1 wrote, of keys that are public knowledge or made up:
    // python: Wallet(name="a", hotkey=NAME, path=P).set_hotkey(KEYPAIR, encrypt=False)
    /// `Keypair.create_from_mnemonic("bottom drive obey lake curtain smoke basket hold race lonely
    /// fit walk")`, Substrate's well-known development phrase.
    const MNEMONIC: &str = r#"{"publicKey":"0x46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a","secretSeed":"0xfac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e","ss58Address":"5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV","cryptoType":1,"accountId":"0x46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a","secretPhrase":"bottom drive obey lake curtain smoke basket hold race lonely fit walk","privateKey":"0x05d65584630d16cd4af6d0bec10f34bb504a5dcb62dba2122d49f5a663763d0afd190cce74df356432b410bd64682309d6dedb27c76845daf388557cbac3ca34"}"#;
    /// `Keypair.create_from_seed("0x" + "11" * 32)`, whose bytes are UTF-8.
    const TEXT_SEED: &str = r#"{"accountId":"0x50780547322a1ceba67ea8c552c9bc6c686f8698ac9a8cafab7cd15a1db19859","secretSeed":"0x\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011\u0011","cryptoType":1,"privateKey":"0x704b72419b89bab3a4632685428901bf5715b44e40ec0df50f01fdc1553bf60b092539815e61663c7f9c4c9c377346f5d2936875bd760f0ac5c5f4f6e78a6d76","ss58Address":"5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi","publicKey":"0x50780547322a1ceba67ea8c552c9bc6c686f8698ac9a8cafab7cd15a1db19859"}"#;
    /// `Keypair.create_from_private_key(...)` of Alice.
    const PRIVATE: &str = r#"{"cryptoType":1,"accountId":"0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d","ss58Address":"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY","publicKey":"0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d","privateKey":"0x33a6f3093f158a7109f679410bef1a0c54168145e0cecb4df006c1c2fffb1f09925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011"}"#;
    /// The mnemonic's key as wallets before `privateKey` wrote it.
    const OLD: &str = r#"{"accountId":"0x46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a","publicKey":"0x46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a","secretPhrase":null,"secretSeed":"0xfac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e","ss58Address":"5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"}"#;

    fn parse(text: &[u8]) -> Result<Keypair, WalletError> {
        parse_hotkey(Path::new("wallets/a/hotkeys/b"), text)
    }

    #[test]
    fn files_of_real_wallets_are_read() {
        for (text, address) in [
            (MNEMONIC, "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
            (OLD, "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
            (TEXT_SEED, "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi"),
            (PRIVATE, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().address(), address);
        }
    }

    #[test]
    fn other_files_say_what_they_are_and_nothing_secret() {
        let coldkeypub = r#"{"ss58Address":"5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV","publicKey":"0x46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a"}"#;
        let mismatch = MNEMONIC.replace("0x46eb", "0x47eb");
        let nameless = MNEMONIC.replace("publicKey", "x").replace("ss58Address", "y");
        let ed25519 = MNEMONIC.replace("\"cryptoType\":1", "\"cryptoType\":0");
        let broken = PRIVATE.replace("0x33a6f3093f", "0x33");
        for (text, part) in [
            (&b"$NACL\x14\x9e\x11D"[..], "NaCl"),
            (b"$ANSIBLE_VAULT;1.1;AES256\n6238", "Ansible vault"),
            (b"gAAAAABjxg==", "Fernet"),
            (b"", "should be a JSON object"),
            (b"\"0xfac7959dbfe72f05\"", "should be a JSON object"),
            (coldkeypub.as_bytes(), "neither `secretSeed` nor `privateKey`"),
            (mismatch.as_bytes(), "its secret is not of it"),
            (broken.as_bytes(), "its secret is not of it"),
            (nameless.as_bytes(), "should name its key"),
            (ed25519.as_bytes(), "should hold an sr25519 key (cryptoType 1), but has cryptoType 0"),
        ] {
            let error = parse(text).unwrap_err();
            let message = format!("{error} {error:?}");
            assert!(message.contains(part), "{message}");
            assert!(message.contains("wallets/a/hotkeys/b"), "{message}");
            for secret in ["fac7959d", "05d65584", "33a6f3", "bottom"] {
                assert!(!message.contains(secret), "{message}");
            }
        }
    }

    #[test]
    fn a_missing_file_is_a_read_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_hotkey(&folder.path().join("none")).unwrap_err();
        assert!(matches!(error, WalletError::Read { .. }), "{error}");
    }

    #[test]
    fn a_tilde_is_the_home_directory() {
        let file = WalletLocation::default().hotkey_file();
        assert!(file.ends_with(".bittensor/wallets/default/hotkeys/default"));
        assert_eq!(file.starts_with("~"), std::env::home_dir().is_none());
        assert_eq!(expand_home(Path::new("/a/~/b")), Path::new("/a/~/b"));
    }
}

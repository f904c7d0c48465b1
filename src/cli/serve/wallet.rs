//! Which wallet signs.

use std::path::PathBuf;

use crate::chain::Keypair;
use crate::chain::wallet::{self, WalletLocation};
use crate::cli::error::WithHint as _;

/// Which hotkey signs.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct WalletArgs {
    /// The folder of the wallets [default: ~/.bittensor/wallets]
    #[arg(long = "wallet.path", value_name = "FOLDER")]
    wallet_path: Option<PathBuf>,
    /// The wallet's name [default: default]
    #[arg(long = "wallet.name", value_name = "NAME")]
    wallet_name: Option<String>,
    /// The hotkey's name [default: default]
    #[arg(long = "wallet.hotkey", value_name = "NAME")]
    pub(super) wallet_hotkey: Option<String>,
}

impl WalletArgs {
    /// The key of the wallet. `None` when none was named and there is none in the default place; a
    /// wallet that was named, or is there, must be readable.
    pub(in crate::cli) fn read(&self) -> anyhow::Result<Option<Keypair>> {
        let WalletArgs { wallet_path, wallet_name, wallet_hotkey } = self;
        let named = wallet_path.is_some() || wallet_name.is_some() || wallet_hotkey.is_some();
        let default = WalletLocation::default();
        let location = WalletLocation {
            path: wallet_path.clone().unwrap_or(default.path),
            name: wallet_name.clone().unwrap_or(default.name),
            hotkey: wallet_hotkey.clone().unwrap_or(default.hotkey),
        };
        let file = location.hotkey_file();
        // Only where there is none for certain: a wallet that may not be looked at is one.
        if !named && matches!(file.try_exists(), Ok(false)) {
            return Ok(None);
        }
        match wallet::read_hotkey(&file) {
            Ok(keypair) => Ok(Some(keypair)),
            Err(error) => match error.hint() {
                Some(hint) => Err(error).with_hint(|| hint),
                None => Err(error.into()),
            },
        }
    }
}

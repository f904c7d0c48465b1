//! `convminer serve`.

mod access;
mod feedback;
mod journal;
mod learning;
mod limits;
mod running;
mod signals;
mod wallet;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

use super::ExitStatus;
use super::printer::Printer;
use crate::chain::PublicKey;

use feedback::FeedbackArgs;
use journal::JournalArgs;
use learning::LearningArgs;
use limits::{LimitArgs, seconds};
pub(super) use wallet::WalletArgs;

/// Where the admin pages are, unless told otherwise.
const DEFAULT_ADMIN: &str = "127.0.0.1:9091";

/// The arguments of `convminer serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The checkpoint to answer with; without it that which checkpoints/latest names is followed
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// The model to prefer, whatever the others earn: ensemble, baseline or constant
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The address to listen on; without a wallet it is 127.0.0.1 in any case
    #[arg(long = "axon.ip", value_name = "IP", default_value = "0.0.0.0")]
    axon_ip: IpAddr,
    /// The port to listen on; 0 takes a free one
    #[arg(long = "axon.port", value_name = "PORT", default_value_t = 8091)]
    axon_port: u16,
    /// The address that answers name as ours [default: the one that the caller used]
    #[arg(long = "axon.external_ip", value_name = "IP")]
    axon_external_ip: Option<IpAddr>,
    /// The port that answers name as ours [default: the one that the caller used]
    #[arg(long = "axon.external_port", value_name = "PORT")]
    axon_external_port: Option<u16>,
    #[command(flatten)]
    wallet: WalletArgs,
    /// Who is registered: a JSON list of {"uid", "hotkey", "stake", "validator_permit"}
    #[arg(long, value_name = "FILE")]
    metagraph: Option<PathBuf>,
    /// Refuse callers with less stake
    #[arg(long, value_name = "STAKE", default_value_t = 0.0, value_parser = stake)]
    min_stake: f64,
    /// Refuse callers without a validator permit
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    require_permit: bool,
    /// Let hotkeys call that are not in the metagraph
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    allow_unregistered: bool,
    /// Hotkeys that may never call, separated by commas
    #[arg(long = "blacklist.hotkeys", value_name = "SS58,...", value_delimiter = ',',
          value_parser = hotkey)]
    blacklist_hotkeys: Vec<String>,
    /// Hotkeys that may always call, registered or not, separated by commas
    #[arg(long = "whitelist.hotkeys", value_name = "SS58,...", value_delimiter = ',',
          value_parser = hotkey)]
    whitelist_hotkeys: Vec<String>,
    /// Where to show metrics and the dashboard, or `off`
    #[arg(long = "admin.listen", value_name = "IP:PORT", default_value = DEFAULT_ADMIN)]
    admin_listen: AdminListen,
    /// The folder of what outlives the process
    #[arg(long, value_name = "FOLDER", default_value = "data/state")]
    state_dir: PathBuf,
    /// Seconds between two times that it is saved
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    state_interval: f64,
    /// Seconds between two lines in the log that sum up what was done
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    stats_interval: f64,
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    feedback: FeedbackArgs,
    #[command(flatten)]
    learning: LearningArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Break the ensemble at every so many conversations, to see what then happens
    #[arg(long = "fault.panic-every", value_name = "COUNT", hide = true)]
    fault_panic_every: Option<NonZeroU64>,
}

fn stake(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(stake) if (0.0..f64::INFINITY).contains(&stake) => Ok(stake),
        _ => Err("expected a stake of 0 or more".to_owned()),
    }
}

fn hotkey(text: &str) -> Result<String, String> {
    match PublicKey::from_address(text.trim()) {
        Ok(key) => Ok(key.address()),
        Err(error) => Err(format!("expected an SS58 address: {error}")),
    }
}

/// Where the admin pages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AdminListen {
    At(SocketAddr),
    Off,
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(AdminListen::Off);
        }
        let address =
            text.parse().map_err(|_| "expected an address like 127.0.0.1:9091, or off")?;
        Ok(AdminListen::At(address))
    }
}

/// Serves until it is told to stop.
///
/// # Errors
///
/// If a wallet, metagraph or checkpoint that was named cannot be used, or the address is taken.
pub fn run(args: ServeArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    running::run(&args, printer)?;
    printer.note("stopped");
    Ok(ExitStatus::Success)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn parse(arguments: &[&str]) -> Result<ServeArgs, clap::Error> {
        Line::try_parse_from([&["serve"], arguments].concat()).map(|line| line.args)
    }

    #[test]
    fn flags_have_the_names_of_the_sdk() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.axon_ip.to_string().as_str(), args.axon_port), ("0.0.0.0", 8091));
        let args = parse(&[
            "--axon.ip=127.0.0.1",
            "--axon.port=0",
            "--axon.external_ip=1.2.3.4",
            "--axon.external_port=80",
            "--wallet.path=/w",
            "--wallet.name=a",
            "--wallet.hotkey=b",
            "--min-stake=1.5",
            "--require-permit",
            "--allow-unregistered=true",
        ])
        .unwrap();
        assert_eq!(args.axon_external_port, Some(80));
        assert_eq!(args.wallet.wallet_hotkey.as_deref(), Some("b"));
        assert!(args.require_permit && args.allow_unregistered);
        for bad in ["--axon.port=70000", "--axon.ip=here", "--min-stake=-1", "--min-stake=NaN"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wallet_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("--wallet.path={}", folder.path().display());
        let error = parse(&[&path]).unwrap().wallet.read().unwrap_err();
        assert!(error.to_string().contains("default/hotkeys/default"), "{error}");
    }
}

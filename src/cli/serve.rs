//! `convminer serve`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::error::WithHint as _;
use super::printer::Printer;
use super::{ExitStatus, common};
use crate::chain::wallet::{self, WalletLocation};
use crate::chain::{Keypair, Metagraph};
use crate::features::Conversation;
use crate::model::Model;
use crate::model::checkpoint::{self, CheckpointError};
use crate::model::device::DeviceChoice;
use crate::serve::access::Access;
use crate::serve::live::LiveModel;
use crate::serve::{ServeConfig, serve};

/// How often it is looked whether the checkpoint's calibration was replaced.
const WATCH: Duration = Duration::from_secs(2);

/// The arguments of `convminer serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The checkpoint to answer with [default: the latest in checkpoints/]
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
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
}

/// Which hotkey signs.
#[derive(Debug, clap::Args)]
pub(super) struct WalletArgs {
    /// The folder of the wallets [default: ~/.bittensor/wallets]
    #[arg(long = "wallet.path", value_name = "FOLDER")]
    wallet_path: Option<PathBuf>,
    /// The wallet's name [default: default]
    #[arg(long = "wallet.name", value_name = "NAME")]
    wallet_name: Option<String>,
    /// The hotkey's name [default: default]
    #[arg(long = "wallet.hotkey", value_name = "NAME")]
    wallet_hotkey: Option<String>,
}

impl WalletArgs {
    /// The key of the wallet. `None` when none was named and there is none in the default place; a
    /// wallet that was named, or is there, must be readable.
    pub(super) fn read(&self) -> anyhow::Result<Option<Keypair>> {
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

fn stake(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(stake) if (0.0..f64::INFINITY).contains(&stake) => Ok(stake),
        _ => Err("expected a stake of 0 or more".to_owned()),
    }
}

/// Serves until it is told to stop.
///
/// # Errors
///
/// If a wallet, metagraph or checkpoint that was named cannot be used, or the address is taken.
pub fn run(args: ServeArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let checkpoint = common::checkpoint_path(args.checkpoint.clone())?;
    let model = Arc::new(live(&checkpoint)?);
    let (keypair, address) = identity(&args, printer)?;
    let access = access(&args, printer)?;
    let config = ServeConfig {
        access,
        external_ip: args.axon_external_ip,
        external_port: args.axon_external_port,
        ..ServeConfig::new(keypair)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let _watch = model.watch(WATCH).context("the checkpoint cannot be watched")?;
    let serving = listen(address, config, model, &checkpoint, printer);
    runtime.block_on(serving)?;
    printer.note("stopped");
    Ok(ExitStatus::Success)
}

/// The checkpoint's model, which follows what `convminer calibrate` writes.
fn live(checkpoint: &Path) -> anyhow::Result<LiveModel> {
    let device = common::open(DeviceChoice::Auto)?;
    let path = checkpoint.to_owned();
    let load = move || -> Result<Arc<dyn Model>, CheckpointError> {
        let predictor = checkpoint::load(&path, &device)?;
        // The first forward pass sets things up; no validator should wait for that.
        predictor.predict(&[Conversation::EMPTY]);
        Ok(Arc::new(predictor))
    };
    Ok(LiveModel::load(checkpoint::replaceable_files(checkpoint), load)?)
}

async fn listen(
    address: SocketAddr,
    config: ServeConfig,
    model: Arc<dyn Model>,
    checkpoint: &Path,
    printer: &Printer,
) -> anyhow::Result<()> {
    // Before anything says that the miner is ready, so that no signal comes too early.
    let stop = stop_signal().context("the signals to stop could not be listened for")?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("`{address}` cannot be listened on"))?;
    let listening = listener.local_addr().context("the listener has no address")?;
    let hotkey = config.keypair.address().to_owned();
    printer.note(format_args!("{} answers on {listening} as {hotkey}", checkpoint.display()));
    let ready = serde_json::json!({
        "listening": listening.to_string(),
        "hotkey": hotkey,
        "checkpoint": checkpoint.display().to_string(),
    });
    // A miner goes on when nobody reads its output.
    if let Err(error) = printer.out(ready) {
        tracing::warn!(%error, "nobody was told that the miner is ready");
    }
    Ok(serve(listener, config, model, stop).await?)
}

/// Our key, and where to listen with it.
fn identity(args: &ServeArgs, printer: &Printer) -> anyhow::Result<(Keypair, SocketAddr)> {
    if let Some(keypair) = args.wallet.read()? {
        return Ok((keypair, SocketAddr::new(args.axon_ip, args.axon_port)));
    }
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ip = if args.axon_ip.is_loopback() { args.axon_ip } else { local };
    printer.warn(format_args!(
        "there is no wallet, so a throw-away DEVELOPMENT KEY is used: no validator knows it, it is \
         gone when convminer stops, and only this machine can call (on {ip}). To mine, name a \
         wallet with --wallet.name and --wallet.hotkey."
    ));
    Ok((Keypair::generate(), SocketAddr::new(ip, args.axon_port)))
}

/// Who may call.
fn access(args: &ServeArgs, printer: &Printer) -> anyhow::Result<Access> {
    let metagraph = args.metagraph.as_deref().map(Metagraph::read).transpose()?;
    let access = Access {
        metagraph,
        allow_unregistered: args.allow_unregistered,
        min_stake: args.min_stake,
        require_permit: args.require_permit,
    };
    match &access.metagraph {
        Some(metagraph) if !metagraph.is_empty() => {
            printer.note(format_args!("{} hotkeys are registered", metagraph.len()));
        }
        _ if !access.allow_unregistered => printer.warn(
            "no hotkey is known, so every caller is refused with 403: name those that may call \
             with --metagraph, or let anybody call with --allow-unregistered",
        ),
        _ if access.require_permit || access.min_stake > 0.0 => printer.warn(
            "no hotkey is known, so no caller holds stake or a permit and every one is refused \
             with 403: name those that do with --metagraph",
        ),
        _ => printer.warn("anybody may call: --allow-unregistered is on and there is no metagraph"),
    }
    Ok(access)
}

/// Completes when the process is asked to stop, by Ctrl-C or by a service manager.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
        // Who asks again does not want to wait for what is in flight.
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
            // What a shell expects of a program that SIGINT ended.
            std::process::exit(130);
        });
    })
}

/// Completes when the process is asked to stop by Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        // Without the signal there is nothing to wait for, and the miner goes on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
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

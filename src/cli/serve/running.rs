//! A miner at work: its parts are put together, run, and stopped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use burn::tensor::Device;
use tokio::net::TcpListener;

use super::access::access;
use super::feedback::{Learning, LearningView};
use super::journal;
use super::learning::{Learner, Lessons};
use super::signals::stop_signal;
use super::{AdminListen, DEFAULT_ADMIN, ServeArgs};
use crate::chain::Keypair;
use crate::cli::common::{self, CHECKPOINTS};
use crate::cli::printer::Printer;
use crate::clock::{Clock, SystemClock};
use crate::journal::Journal;
use crate::model::adjustment::Adjusting;
use crate::model::checkpoint::{self, CheckpointError};
use crate::model::device::DeviceChoice;
use crate::serve::access::Access;
use crate::serve::admin::{self, Admin, AdminHandle};
use crate::serve::limits::ConnectionLimits;
use crate::serve::live::{Refresh, Watch};
use crate::serve::models::{LoadOptions, Registry, Source};
use crate::serve::monitor::{Monitor, Snapshot};
use crate::serve::nonces::{NonceLimits, Nonces};
use crate::serve::shadow::Challengers;
use crate::serve::state::{NonceFile, StateHealth};
use crate::serve::{Axon, AxonView, ServeConfig, serve};

/// How often it is looked whether files were replaced.
const WATCH: Duration = Duration::from_secs(2);
/// Files that a process has open besides its connections.
const OTHER_FILES: u64 = 128;

/// Serves until it is told to stop.
pub(super) fn run(args: &ServeArgs, printer: &Printer) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let monitor = Arc::new(Monitor::new(Arc::clone(&clock)));
    let device = common::open(DeviceChoice::Auto)?;
    let adjusting = Arc::default();
    let models = load_models(args, device.clone(), &adjusting, printer)?;
    let (wallet, address) = identity(args, printer)?;
    let is_lasting = wallet.is_some();
    let keypair = wallet.unwrap_or_else(Keypair::generate);
    let access = access(args, printer)?;
    let challengers = Challengers::follow(Path::new(CHECKPOINTS), device, Arc::clone(&adjusting));
    let _watches = watch(&models, &access, &challengers, &monitor)?;
    let journal = args.journal.start(Arc::clone(&clock), Some(challengers.annotate()))?;
    // A key that was made now and is gone when the process ends needs no memory: no request to it
    // can be from before, or be replayed.
    let health = Arc::default();
    let file = is_lasting.then(|| nonce_file(args, &keypair, &clock, &health)).transpose()?;
    let (file, nonces) = file.unzip();
    let learning = Learning::start(
        args,
        is_lasting.then_some(keypair.address()),
        (&models, &adjusting),
        journal.as_ref(),
        (&clock, &health),
    )?;
    let nonces = nonces.unwrap_or_else(|| Nonces::new(NonceLimits::default()));
    let mut config = ServeConfig {
        access,
        external_ip: args.axon_external_ip,
        external_port: args.axon_external_port,
        nonces: Some(nonces),
        monitor: Arc::clone(&monitor),
        journal: journal.clone(),
        clock,
        ..args.limits.apply(ServeConfig::new(keypair))
    };
    let hotkey = config.keypair.address().to_owned();
    more_files(&mut config.connections);
    let axon = Axon::start(config, Arc::clone(&models)).context("there is no thread to be had")?;
    let view = axon.view();
    let snapshots = snapshots(&models, &view, journal.clone(), learning.view());
    let admin = admin_pages(args, &snapshots, &monitor, printer)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let learner = learner(args, printer)?;
    let served = runtime.block_on(async {
        // Before anything says that the miner is ready, so that no signal comes too early.
        let stop = stop_signal().context("the signals to stop could not be listened for")?;
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("`{address}` cannot be listened on"))?;
        if let Some(file) = file.clone() {
            let every = Duration::from_secs_f64(args.state_interval);
            tokio::spawn(file.keep(view.clone(), every));
        }
        tokio::spawn(sum_up(
            Duration::from_secs_f64(args.stats_interval),
            Arc::clone(&monitor),
            Arc::clone(&snapshots),
        ));
        view.set_listening(true);
        ready(&listener, &hotkey, &models, admin.as_ref(), printer)?;
        anyhow::Ok(serve(listener, axon, stop).await?)
    });
    // Nothing is accepted any more, whether the stop went well or not.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if let Some(journal) = &journal {
        journal::stop(journal);
    }
    drop(learner);
    drop(learning);
    if let Some(file) = file {
        file.save(view.nonces(), served.is_ok()).with_context(|| {
            format!("the nonces cannot be saved to `{}`", file.path().display())
        })?;
    }
    served
}

/// Lets a process learn, if that is asked for.
fn learner(args: &ServeArgs, printer: &Printer) -> anyhow::Result<Option<Learner>> {
    let Some(every_hours) = args.learning.every_hours() else { return Ok(None) };
    if args.checkpoint.is_some() {
        printer.warn(
            "--checkpoint names the checkpoint to serve, so that nothing which --learn promotes is \
             taken up",
        );
    }
    let lessons = Lessons {
        every_hours,
        journal: args.journal.folder().clone(),
        outcomes: args.feedback.outcomes().clone(),
        state: args.state_dir.clone(),
    };
    let learner = Learner::start(lessons).context("there is no thread to learn on")?;
    Ok(Some(learner))
}

/// The models of the checkpoint that was named, or of the one that `latest` names.
fn load_models(
    args: &ServeArgs,
    device: Device,
    adjusting: &Arc<Adjusting>,
    printer: &Printer,
) -> anyhow::Result<Arc<Registry>> {
    let source = match &args.checkpoint {
        Some(path) => Source::Folder(path.clone()),
        None => {
            let (root, otherwise) = (PathBuf::from(CHECKPOINTS), common::shipped());
            let latest = checkpoint::latest(&root);
            if matches!(latest, Err(CheckpointError::NoLatest { .. })) && !otherwise.is_dir() {
                // An error that says what to do: a miner that has learned nothing earns nothing.
                common::checkpoint_path(None)?;
            }
            Source::Latest { root, otherwise }
        }
    };
    let models = Registry::load(
        source,
        device,
        LoadOptions {
            pin: args.model.clone(),
            panic_every: args.fault_panic_every,
            adjusting: Arc::clone(adjusting),
        },
    )?;
    for warning in models.warnings() {
        printer.warn(warning);
    }
    Ok(Arc::new(models))
}

/// Follows the files of models, challenger and metagraph.
fn watch(
    models: &Arc<Registry>,
    access: &Access,
    challengers: &Challengers,
    monitor: &Arc<Monitor>,
) -> anyhow::Result<Vec<Watch>> {
    let count = |what: &'static str| {
        let monitor = Arc::clone(monitor);
        move |news: &Refresh| match news {
            Refresh::Refused(reason) => monitor.reloaded(what, Some(reason)),
            _ => monitor.reloaded(what, None),
        }
    };
    let mut watches =
        vec![models.watch(WATCH, count("checkpoint")).context("the checkpoint cannot be watched")?];
    let watch = challengers.watch(WATCH, count("challenger"));
    watches.push(watch.context("the challenger cannot be watched")?);
    if let Some(metagraph) = &access.metagraph {
        let watch = metagraph.watch(WATCH, count("metagraph"));
        watches.push(watch.context("the metagraph file cannot be watched")?);
    }
    Ok(watches)
}

/// The file of the nonces, and what is in it.
fn nonce_file(
    args: &ServeArgs,
    keypair: &Keypair,
    clock: &Arc<dyn Clock>,
    health: &Arc<StateHealth>,
) -> anyhow::Result<(NonceFile, Nonces)> {
    let context = || {
        let folder = args.state_dir.display();
        format!("what was answered cannot be remembered in `{folder}` (--state-dir)")
    };
    let file = NonceFile::of(&args.state_dir, keypair.address(), Arc::clone(clock));
    let file = file.with_context(context)?.with_health(Arc::clone(health));
    let nonces = file.restore(NonceLimits::default()).with_context(context)?;
    Ok((file, nonces))
}

/// Lets the process open as many files as it may have connections, or have as many connections as the
/// system lets it.
fn more_files(connections: &mut ConnectionLimits) {
    let wanted = connections.total as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed < wanted => {
            let rest = allowed.saturating_sub(OTHER_FILES).max(allowed / 2);
            connections.total = usize::try_from(rest).unwrap_or(usize::MAX).max(1);
            tracing::warn!(
                open_files = allowed,
                max_connections = connections.total,
                "the system allows fewer open files than --max-connections needs (see `ulimit -n`)"
            );
        }
        Ok(_) => (),
        Err(error) => tracing::debug!(%error, "the limit of open files stays as it is"),
    }
}

/// What is so at this moment.
type Snapshots = Arc<dyn Fn() -> Snapshot + Send + Sync>;

fn snapshots(
    models: &Arc<Registry>,
    view: &AxonView,
    journal: Option<Arc<Journal>>,
    learning: LearningView,
) -> Snapshots {
    let (models, view) = (Arc::clone(models), view.clone());
    Arc::new(move || {
        let snapshot = view.look(Snapshot {
            checkpoint: models.checkpoint(),
            models: models.statistics(),
            journal: journal.as_ref().map(|journal| journal.stats()),
            ..Snapshot::default()
        });
        learning.look(snapshot)
    })
}

/// The pages for the operator. Where nobody asked for them, a miner goes on without.
fn admin_pages(
    args: &ServeArgs,
    snapshots: &Snapshots,
    monitor: &Arc<Monitor>,
    printer: &Printer,
) -> anyhow::Result<Option<AdminHandle>> {
    let AdminListen::At(address) = args.admin_listen else { return Ok(None) };
    let listener = match StdTcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) if address.to_string() == DEFAULT_ADMIN => {
            printer.warn(format_args!(
                "metrics and dashboard are not shown: {address} cannot be listened on ({error}); \
                 --admin.listen names another address, or `off`"
            ));
            return Ok(None);
        }
        Err(error) => {
            let message = format!("`{address}` of --admin.listen cannot be listened on");
            return Err(error).context(message);
        }
    };
    if !address.ip().is_loopback() {
        printer.warn(format_args!(
            "whoever can reach {address} sees metrics and dashboard: they ask for no password"
        ));
    }
    let admin = Admin::new(Arc::clone(monitor), Arc::clone(snapshots));
    Ok(Some(admin::spawn(listener, admin).context("the admin pages cannot be started")?))
}

/// Says where the miner answers: to a person, and to a program.
fn ready(
    listener: &TcpListener,
    hotkey: &str,
    models: &Registry,
    admin: Option<&AdminHandle>,
    printer: &Printer,
) -> anyhow::Result<()> {
    let listening = listener.local_addr().context("the listener has no address")?;
    let checkpoint = models.checkpoint();
    printer.note(format_args!("{checkpoint} answers on {listening} as {hotkey}"));
    let admin = admin.map(|admin| admin.address().to_string());
    if let Some(admin) = &admin {
        printer.note(format_args!("metrics and dashboard are at http://{admin}/"));
    }
    let ready = serde_json::json!({
        "listening": listening.to_string(),
        "hotkey": hotkey,
        "checkpoint": checkpoint,
        "admin": admin,
    });
    // A miner goes on when nobody reads its output.
    if let Err(error) = printer.out(ready) {
        tracing::warn!(%error, "nobody was told that the miner is ready");
    }
    Ok(())
}

/// Writes a line about what was done into the log, every so often.
async fn sum_up(every: Duration, monitor: Arc<Monitor>, snapshot: Snapshots) {
    loop {
        tokio::time::sleep(every).await;
        tracing::info!("{}", monitor.summary(&snapshot()));
    }
}

/// Our key, if there is a wallet, and where to listen.
fn identity(args: &ServeArgs, printer: &Printer) -> anyhow::Result<(Option<Keypair>, SocketAddr)> {
    if let Some(keypair) = args.wallet.read()? {
        return Ok((Some(keypair), SocketAddr::new(args.axon_ip, args.axon_port)));
    }
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ip = if args.axon_ip.is_loopback() { args.axon_ip } else { local };
    printer.warn(format_args!(
        "there is no wallet, so a throw-away DEVELOPMENT KEY is used: no validator knows it, it is \
         gone when convminer stops, and only this machine can call (on {ip}). To mine, name a \
         wallet with --wallet.name and --wallet.hotkey."
    ));
    Ok((None, SocketAddr::new(ip, args.axon_port)))
}

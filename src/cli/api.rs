//! The data API, as several commands ask it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};

use super::error::WithHint as _;
use super::printer::{Line, Printer};
use super::progress::Interrupts;
use crate::outcomes::api::{
    Address, ApiKey, Caller, HttpTransport, Patience, Stop, SystemPause, Watch,
};

/// Where the data API is, and how it is asked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Data API")]
pub(super) struct ApiArgs {
    /// The base address of the data API
    #[arg(long = "api.url", global = true, value_name = "URL")]
    api_url: Option<Address>,
    /// The key of the data API; better in the environment or a file, for all can see a command line
    #[arg(long = "api.key", global = true, value_name = "KEY", hide_default_value = true)]
    api_key: Option<Secret>,
    /// The file with the key of the data API, if it is not given
    #[arg(long = "api.key-file", global = true, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// How long to wait for an answer, in seconds
    #[arg(long = "api.timeout", global = true, value_name = "SECONDS", default_value_t = 30.0,
          value_parser = positive)]
    api_timeout: f64,
    /// How many requests to make in a second at most
    #[arg(long, global = true, value_name = "N", default_value_t = Patience::default().rate_per_second,
          value_parser = positive)]
    rate: f64,
    /// How often to ask for one thing
    #[arg(long = "api.attempts", global = true, value_name = "N",
          default_value_t = Patience::default().attempts,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    api_attempts: u32,
    /// How long to wait after a failure at most, in seconds; twice as long after the next one
    #[arg(long = "api.backoff", global = true, value_name = "SECONDS",
          default_value_t = Patience::default().backoff.as_secs_f64(), value_parser = positive)]
    api_backoff: f64,
    /// How long to ask nothing after eight failures in a row, in seconds; twice as long after the next
    #[arg(long = "api.pause", global = true, value_name = "SECONDS",
          default_value_t = Patience::default().pause.as_secs_f64(), value_parser = positive)]
    api_pause: f64,
}

/// Text that is not shown. Any text is one: what is wrong with a key is said later, without it.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.001..=86_400.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0.001 to 86400".to_owned()),
    }
}

impl ApiArgs {
    /// A way to ask, until Ctrl-C.
    pub(super) fn caller(&self, printer: &Printer) -> anyhow::Result<Caller> {
        let Some(address) = self.api_url.clone() else {
            return Err(anyhow!("it is not known where the data API is"))
                .with_hint(|| "--api.url or CONVMINER_API_URL says it");
        };
        let key = self.key()?;
        if key.is_none() {
            printer.warn("no key is given: most data APIs want one (CONVMINER_API_KEY)");
        } else if !address.is_private() {
            printer.warn(format_args!(
                "the key goes to {address} unencrypted: everybody on the way can read it"
            ));
        }
        let transport = HttpTransport::new(address, key, Duration::from_secs_f64(self.api_timeout));
        let patience = Patience {
            rate_per_second: self.rate,
            attempts: self.api_attempts,
            backoff: Duration::from_secs_f64(self.api_backoff),
            pause: Duration::from_secs_f64(self.api_pause),
            ..Patience::default()
        };
        let pause = SystemPause::new(Interrupts::listen()?.switch());
        // Which waits are drawn matters only in that no two clients draw the same.
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Ok(Caller::new(transport, pause, patience, seed))
    }

    fn key(&self) -> anyhow::Result<Option<ApiKey>> {
        Ok(match (&self.api_key, &self.api_key_file) {
            (Some(Secret(key)), _) => Some(key.parse()?),
            (None, Some(path)) => Some(ApiKey::read(path)?),
            (None, None) => None,
        })
    }
}

/// What to do about an API that is not asked any further.
pub(super) fn stopped(stop: Stop) -> anyhow::Error {
    let hint = match stop {
        Stop::Refused { .. } => "CONVMINER_API_KEY, --api.key-file or --api.key gives the key",
        Stop::Moved { .. } => "if that is right, name it with --api.url",
        Stop::Down { .. } | Stop::Later { .. } => "run it again later: what was stored stays",
        Stop::Interrupted => "run it again to go on",
    };
    let hinted: anyhow::Result<()> = Err(stop).with_hint(|| hint);
    hinted.expect_err("it was made from an error. This is a bug.")
}

/// A bar of what was asked for; without a terminal, a line for each longer wait.
pub(super) struct Progress<'a> {
    printer: &'a Printer,
    bar: ProgressBar,
}

impl<'a> Progress<'a> {
    /// A bar of `total` things called `what`; where nobody knows how many, of what is there.
    pub(super) fn new(
        total: Option<usize>,
        what: &str,
        printer: &'a Printer,
    ) -> anyhow::Result<Self> {
        let template = match total {
            Some(_) => {
                format!("{{bar:40}} {{human_pos}}/{{human_len}} {what}, {{eta}} left {{msg}}")
            }
            None => format!("{{spinner}} {{human_pos}} {what} {{msg}}"),
        };
        let style = ProgressStyle::with_template(&template)
            .context("the progress bar's template. This is a bug.")?;
        let bar = match total {
            Some(total) => ProgressBar::new(total as u64),
            None => ProgressBar::no_length(),
        };
        Ok(Progress { printer, bar: printer.bars().add(bar).with_style(style) })
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Progress<'_> {
    fn asked(&mut self, count: usize) {
        self.bar.set_position(count as u64);
        self.bar.set_message("");
    }

    fn waiting(&mut self, reason: &str, time: Duration) {
        const WORTH_A_LINE: Duration = Duration::from_secs(5);
        let (reason, seconds) = (Line(reason), time.as_secs_f64());
        self.bar.set_message(format!("({reason}; waiting {seconds:.1} s)"));
        if self.bar.is_hidden() && time >= WORTH_A_LINE {
            self.printer.note(format_args!("{reason}; waiting {seconds:.0} s"));
        }
    }
}

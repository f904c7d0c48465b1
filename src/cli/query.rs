//! `convminer query`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::printer::Printer;
use super::serve::WalletArgs;
use super::{ExitStatus, common};
use crate::causes::with_causes;
use crate::chain::{Keypair, PublicKey};
use crate::features::table::{LabelMode, Table};
use crate::serve::dendrite::{AskError, Dendrite, Reply, Target, wire_features};

/// The arguments of `convminer query`.
#[derive(Debug, clap::Args)]
pub struct QueryArgs {
    /// Where the axon listens
    #[arg(long, value_name = "IP:PORT")]
    axon: SocketAddr,
    /// The axon's hotkey: what is signed for another axon is refused
    #[arg(long, value_name = "SS58", value_parser = PublicKey::from_address)]
    hotkey: PublicKey,
    /// The conversations to ask about: parquet, CSV or newline-delimited JSON
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Ask about the first N conversations only
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How long to wait for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = timeout)]
    timeout: f64,
    #[command(flatten)]
    wallet: WalletArgs,
    /// Print a JSON object for each conversation instead of a table
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

fn timeout(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

/// Asks, prints, and says no if any conversation got no answer.
///
/// # Errors
///
/// If the file or a named wallet cannot be read, or nobody listens.
pub fn run(args: QueryArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let table = common::read_table(&args.data, LabelMode::Ignored, printer)?;
    let keypair = args.wallet.read()?.unwrap_or_else(|| {
        printer
            .note("there is no wallet: asking with a throw-away key, which nobody has registered");
        Keypair::generate()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let summary = runtime.block_on(ask_all(&args, &table, Dendrite::new(keypair), printer))?;
    if args.json {
        printer.note(&summary);
    } else {
        printer.out(format_args!("\n{summary}"))?;
    }
    Ok(if summary.failed == 0 { ExitStatus::Success } else { ExitStatus::No })
}

async fn ask_all(
    args: &QueryArgs,
    table: &Table,
    dendrite: Dendrite,
    printer: &Printer,
) -> anyhow::Result<Summary> {
    let target = Target { address: args.axon, hotkey: args.hotkey };
    let timeout = Duration::from_secs_f64(args.timeout);
    let rows = table.session_ids.iter().zip(&table.conversations);
    let mut summary = Summary::default();
    for (number, (session_id, conversation)) in
        (1..).zip(rows).take(args.limit.unwrap_or(usize::MAX))
    {
        let session_id = session_id.clone().unwrap_or_else(|| format!("row {number}"));
        let features = wire_features(&session_id, conversation);
        let result = dendrite.ask(&target, &features, timeout).await;
        // Nobody there is one thing to say, not one for each row.
        if summary.elapsed.is_empty() && matches!(result, Err(AskError::Connection { .. })) {
            result?;
            break;
        }
        if number == 1 && !args.json {
            printer.out(HEADING)?;
        }
        let line = Line { session_id: &session_id, result: &result };
        if args.json {
            printer.out(line.to_json())?
        } else {
            printer.out(&line)?
        }
        summary.count(&result);
    }
    Ok(summary)
}

const HEADING: &str =
    "session_id                            converts  after (s)  confidence  took (ms)";

/// What became of one conversation.
struct Line<'a> {
    session_id: &'a str,
    result: &'a Result<Reply, AskError>,
}

impl Line<'_> {
    fn to_json(&self) -> serde_json::Value {
        let session_id = self.session_id;
        match self.result {
            Ok(Reply { answer, signed, elapsed }) => serde_json::json!({
                "session_id": session_id,
                "conversion_happened": u8::from(answer.converted),
                "time_to_conversion_seconds": answer.time_seconds,
                "confidence": answer.confidence,
                "signed": signed,
                "milliseconds": milliseconds(*elapsed),
            }),
            Err(error) => serde_json::json!({
                "session_id": session_id,
                "error": with_causes(error),
            }),
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<36}  ", self.session_id)?;
        match self.result {
            Ok(Reply { answer, elapsed, .. }) => {
                let converts = if answer.converted { "yes" } else { "no" };
                write!(formatter, "{converts:<8}  ")?;
                match answer.converted {
                    true => write!(formatter, "{:>9.2}", answer.time_seconds)?,
                    false => write!(formatter, "{:>9}", "-")?,
                }
                write!(formatter, "  {:>10.4}  {:>9.2}", answer.confidence, milliseconds(*elapsed))
            }
            Err(error) => formatter.write_str(&with_causes(error)),
        }
    }
}

/// How all of it went.
#[derive(Debug, Default)]
struct Summary {
    /// How long each answer took.
    elapsed: Vec<Duration>,
    /// How many would convert.
    converted: usize,
    /// How many answers were not signed.
    unsigned: usize,
    /// How many got no answer.
    failed: usize,
}

impl Summary {
    fn count(&mut self, result: &Result<Reply, AskError>) {
        match result {
            Ok(reply) => {
                self.elapsed.push(reply.elapsed);
                self.converted += usize::from(reply.answer.converted);
                self.unsigned += usize::from(!reply.signed);
            }
            Err(_) => self.failed += 1,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.elapsed.len();
        write!(
            formatter,
            "{answered} answered, {} without an answer, {} would convert",
            self.failed, self.converted
        )?;
        if self.unsigned > 0 {
            write!(formatter, ", {} not signed", self.unsigned)?;
        }
        let mut sorted = self.elapsed.clone();
        sorted.sort_unstable();
        let (Some(p50), Some(p90), Some(max)) =
            (percentile(&sorted, 50), percentile(&sorted, 90), sorted.last())
        else {
            return Ok(());
        };
        let [p50, p90, max] = [p50, p90, *max].map(milliseconds);
        write!(formatter, "; p50 {p50:.2} ms, p90 {p90:.2} ms, max {max:.2} ms")
    }
}

/// The smallest value that `percent` of the values do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn milliseconds(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::subnet::reward::Answer;

    #[derive(Debug, clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: QueryArgs,
    }

    fn reply(milliseconds: u64, converted: bool) -> Result<Reply, AskError> {
        let time_seconds = if converted { 62.5 } else { -1.0 };
        let answer = Answer { converted, time_seconds, confidence: 0.25 };
        let elapsed = Duration::from_millis(milliseconds);
        Ok(Reply { answer, signed: converted, elapsed })
    }

    #[test]
    fn arguments() {
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        let parse = |axon, hotkey, timeout| {
            CommandLine::try_parse_from([
                "query",
                "--axon",
                axon,
                "--hotkey",
                hotkey,
                "--data",
                "x.csv",
                "--timeout",
                timeout,
            ])
        };
        let args = parse("[::1]:80", alice, "0.5").unwrap().args;
        assert_eq!((args.hotkey.address().as_str(), args.timeout), (alice, 0.5));
        for (axon, hotkey, timeout, part) in [
            ("127.0.0.1", alice, "60", "127.0.0.1"),
            ("1.2.3.4:80", "5Grwva", "60", "35 bytes"),
            ("1.2.3.4:80", alice, "0", "above 0"),
            ("1.2.3.4:80", alice, "NaN", "above 0"),
        ] {
            let error = parse(axon, hotkey, timeout).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn lines_stand_below_their_heading() {
        let refused = Err(AskError::Refused { status: 403, message: "no".to_owned() });
        let lines = [reply(2, true), reply(1234, false), refused];
        let text: Vec<_> =
            lines.iter().map(|result| Line { session_id: "a", result }.to_string()).collect();
        insta::assert_snapshot!(format!("{HEADING}\n{}", text.join("\n")), @"
        session_id                            converts  after (s)  confidence  took (ms)
        a                                     yes           62.50      0.2500       2.00
        a                                     no                -      0.2500    1234.00
        a                                     the axon refused with 403: no
        ");
        let json = Line { session_id: "a", result: &lines[1] }.to_json();
        assert_eq!(json["time_to_conversion_seconds"], -1.0);
        assert_eq!(json["conversion_happened"], 0);
    }

    #[test]
    fn the_summary_counts_and_ranks() {
        let mut summary = Summary::default();
        assert_eq!(summary.to_string(), "0 answered, 0 without an answer, 0 would convert");
        for milliseconds in (1..=10).rev() {
            summary.count(&reply(milliseconds, milliseconds % 2 == 0));
        }
        summary.count(&Err(AskError::Timeout { seconds: 1.0 }));
        assert_eq!(
            summary.to_string(),
            "10 answered, 1 without an answer, 5 would convert, 5 not signed; \
             p50 5.00 ms, p90 9.00 ms, max 10.00 ms"
        );
    }
}

//! What `convminer bench serve` prints.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{CheckReport, Floor, Histogram, LoadConfig, LoadReport, Pace, ProcessUse};

/// The quantiles that are shown.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// One load and its pace.
pub(super) struct Run {
    pub(super) pace: Pace,
    pub(super) report: LoadReport,
}

/// All that was measured.
pub(super) struct Bench {
    pub(super) config: LoadConfig,
    pub(super) floor: Option<Floor>,
    pub(super) runs: Vec<Run>,
}

impl Bench {
    /// Which part of what cryptography alone would allow was reached; of a closed loop.
    fn share_of_floor(&self, run: &Run) -> Option<f64> {
        let floor = self.floor.filter(|_| run.pace == Pace::Closed)?;
        Some(run.report.answered_per_second() / floor.per_second)
    }
}

/// For people.
pub(super) fn as_text(bench: &Bench) -> String {
    let mut text = String::new();
    if let Some(floor) = bench.floor {
        line(
            &mut text,
            format_args!(
                "cryptography alone: {:.0} verifications and signatures a second on {} cores",
                floor.per_second, floor.cores
            ),
        );
    }
    for run in &bench.runs {
        let LoadReport { tally, elapsed, .. } = &run.report;
        let pace = match run.pace {
            Pace::Closed => "closed loop".to_owned(),
            Pace::Open { per_second } => format!("open loop, {per_second:.0} a second"),
        };
        let callers = match bench.config.callers.len() {
            1 => String::new(),
            several => format!(", {several} callers"),
        };
        let connections = match bench.config.connections {
            1 => "1 connection".to_owned(),
            several => format!("{several} connections"),
        };
        line(&mut text, format_args!("{pace}, {connections}{callers}"));
        line(
            &mut text,
            format_args!(
                "  {:.1} answers a second: {} answered and {} not in {:.1} s",
                run.report.answered_per_second(),
                tally.answered(),
                tally.failed(),
                elapsed.as_secs_f64(),
            ),
        );
        if let Some(share) = bench.share_of_floor(run) {
            line(&mut text, format_args!("  {:.1} % of what cryptography allows", 100.0 * share));
        }
        line(&mut text, format_args!("  latency   {}", latencies(&tally.latency)));
        if tally.lateness.count() > 0 {
            line(&mut text, format_args!("  sent late {}", latencies(&tally.lateness)));
        }
        for (failure, count) in &tally.failures {
            line(&mut text, format_args!("  {count} {failure}"));
        }
        resources(&mut text, &run.report);
        callers_of(&mut text, bench, run);
        if let Some(checks) = &run.report.checks {
            checked(&mut text, checks);
        }
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes any text. This is a bug.");
}

fn latencies(histogram: &Histogram) -> String {
    let quantiles = QUANTILES.map(|(name, quantile)| {
        format!("{name} {:.3}", milliseconds(histogram.quantile(quantile)))
    });
    format!(
        "mean {:.3}  {}  max {:.3} ms",
        milliseconds(histogram.mean()),
        quantiles.join("  "),
        milliseconds(histogram.longest())
    )
}

fn resources(text: &mut String, report: &LoadReport) {
    let cores = |cpu: Duration| cpu.as_secs_f64() / report.elapsed.as_secs_f64().max(1e-9);
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / report.sent.max(1) as f64;
    if let Some((before, after)) = report.server {
        let cpu = after.cpu.saturating_sub(before.cpu);
        line(
            text,
            format_args!(
                "  server    {:.2} cores, {:.0} us a request, {:.1} MB resident (before: {:.1})",
                cores(cpu),
                each(cpu),
                megabytes(after),
                megabytes(before),
            ),
        );
    }
    if let Some(cpu) = report.own_cpu {
        line(
            text,
            format_args!("  generator {:.2} cores, {:.0} us a request", cores(cpu), each(cpu)),
        );
    }
    let (before, time) = report.signed_before;
    line(
        text,
        format_args!(
            "  signed    {before} before, in {:.1} s, and {} meanwhile",
            time.as_secs_f64(),
            report.signed_meanwhile
        ),
    );
}

fn callers_of(text: &mut String, bench: &Bench, run: &Run) {
    for (caller, tally) in bench.config.callers.iter().zip(&run.report.tally.callers) {
        line(
            text,
            format_args!(
                "  {}  {} answered, {} not, {}",
                caller.address(),
                tally.latency.count(),
                tally.failed,
                latencies(&tally.latency)
            ),
        );
    }
}

fn checked(text: &mut String, checks: &CheckReport) {
    line(text, format_args!("  checked   {} answers, {} wrong", checks.checked, checks.wrong()));
    for (fault, count) in &checks.faults {
        line(text, format_args!("    {count} {fault}"));
    }
    for (name, count) in &checks.given_by {
        line(text, format_args!("    {count} by {name}"));
    }
}

/// For programs.
pub(super) fn as_json(bench: &Bench) -> Value {
    let config = &bench.config;
    let floor =
        bench.floor.map(|floor| json!({"per_second": floor.per_second, "cores": floor.cores}));
    json!({
        "axon": config.axon.to_string(),
        "hotkey": config.hotkey.address(),
        "connections": config.connections,
        "callers": config.callers.len(),
        "timeout_seconds": config.timeout.as_secs_f64(),
        "floor": floor,
        "runs": bench.runs.iter().map(|run| run_as_json(bench, run)).collect::<Vec<_>>(),
    })
}

fn run_as_json(bench: &Bench, run: &Run) -> Value {
    let report = &run.report;
    let tally = &report.tally;
    let rate = match run.pace {
        Pace::Closed => None,
        Pace::Open { per_second } => Some(per_second),
    };
    let failures = tally.failures.iter().map(|(failure, count)| (failure.to_string(), *count));
    let callers: Vec<_> = bench
        .config
        .callers
        .iter()
        .zip(&tally.callers)
        .map(|(caller, tally)| {
            json!({
                "hotkey": caller.address(),
                "answered": tally.latency.count(),
                "failed": tally.failed,
                "latency_ms": histogram_as_json(&tally.latency),
            })
        })
        .collect();
    json!({
        "loop": if rate.is_some() { "open" } else { "closed" },
        "rate_per_second": rate,
        "sent": report.sent,
        "answered": tally.answered(),
        "failed": tally.failed(),
        "seconds": report.elapsed.as_secs_f64(),
        "answered_per_second": report.answered_per_second(),
        "share_of_floor": bench.share_of_floor(run),
        "latency_ms": histogram_as_json(&tally.latency),
        "lateness_ms": rate.map(|_| histogram_as_json(&tally.lateness)),
        "failures": failures.collect::<std::collections::BTreeMap<_, _>>(),
        "callers": callers,
        "server": report.server.map(|(before, after)| json!({
            "resident_bytes_before": before.resident_bytes,
            "resident_bytes_after": after.resident_bytes,
            "cpu_seconds": after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        })),
        "generator": {
            "cpu_seconds": report.own_cpu.map(|cpu| cpu.as_secs_f64()),
            "signed_before": report.signed_before.0,
            "signing_seconds": report.signed_before.1.as_secs_f64(),
            "signed_meanwhile": report.signed_meanwhile,
            "starved": report.starved,
        },
        "checks": report.checks.as_ref().map(checks_as_json),
    })
}

fn histogram_as_json(histogram: &Histogram) -> Value {
    let mut fields = serde_json::Map::new();
    fields.insert("mean".to_owned(), milliseconds(histogram.mean()).into());
    for (name, quantile) in QUANTILES {
        fields.insert(name.to_owned(), milliseconds(histogram.quantile(quantile)).into());
    }
    fields.insert("max".to_owned(), milliseconds(histogram.longest()).into());
    fields.into()
}

fn checks_as_json(checks: &CheckReport) -> Value {
    let faults = checks.faults.iter().map(|(fault, count)| (fault.to_string(), *count));
    let given_by = checks.given_by.iter().cloned();
    json!({
        "checked": checks.checked,
        "wrong": checks.wrong(),
        "faults": faults.collect::<std::collections::BTreeMap<_, _>>(),
        "given_by": given_by.collect::<std::collections::BTreeMap<_, _>>(),
        "waits": checks.waits,
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn megabytes(process: ProcessUse) -> f64 {
    process.resident_bytes as f64 / 1e6
}

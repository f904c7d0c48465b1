//! The rules by hand, the history against tampering, and all of it at random.

mod governance;
mod suggesting;
mod tampering;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::{DAY_NS, SECOND_NS};

/// 2025-11-22T00:00:00Z, when mining begins in these tests.
const START: u64 = 1_763_769_600 * SECOND_NS;

/// So many days after mining began.
fn day(days: u64) -> u64 {
    START + days * DAY_NS
}

/// The operator at a moment, under the default rules.
fn at(folder: &Path, now_ns: u64) -> Tuning {
    Tuning {
        state_dir: folder.to_owned(),
        rules: Rules::default(),
        limits: Limits::default(),
        clock: Arc::new(SetClock(now_ns)),
        now_by_hand_ns: None,
    }
}

fn wish(parameter: Parameter, to: f64) -> Wish {
    Wish { parameter, to, reason: "to see".to_owned() }
}

/// A folder where mining began at [`START`].
fn begun() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    record_start(folder.path(), START).unwrap();
    folder
}

/// Applies what must be allowed.
fn apply(folder: &Path, now_ns: u64, parameter: Parameter, to: f64) {
    let decision = at(folder, now_ns).apply(&wish(parameter, to)).unwrap();
    assert!(decision.entry.is_some(), "{:?}", decision.verdict.refusals);
}

/// The names of the rules that refuse it.
fn refused(folder: &Path, now_ns: u64, parameter: Parameter, to: f64) -> Vec<&'static str> {
    let before = read(folder).unwrap();
    let decision = at(folder, now_ns).apply(&wish(parameter, to)).unwrap();
    assert_eq!(decision.entry, None);
    assert_eq!(read(folder).unwrap(), before, "a refusal leaves no trace");
    decision.verdict.refusals.iter().map(Refusal::rule).collect()
}

//! Fuzz targets: what strangers send and what files hold must never end the miner, and what is
//! accepted must be what it says. `run.sh` builds and runs them.
//!
//! libFuzzer calls one function, so the target is chosen by [`VARIABLE`].

#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// The environment variable that names the target.
const VARIABLE: &str = "CONVMINER_FUZZ_TARGET";

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 9] = [
    ("body", targets::body::run),
    ("checkpoint", targets::checkpoint::run),
    ("headers", targets::headers::run),
    ("metagraph", targets::metagraph::run),
    ("nonces", targets::nonces::run),
    ("signature", targets::signature::run),
    ("ss58", targets::ss58::run),
    ("state", targets::state::run),
    ("table", targets::table::run),
];

static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let names = TARGETS.map(|(known, _)| known).join(", ");
    found.unwrap_or_else(|| panic!("{VARIABLE} should be one of {names}, but is `{name}`")).1
});

fuzz_target!(|bytes: &[u8]| CHOSEN(bytes));

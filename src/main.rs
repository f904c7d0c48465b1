//! The program `convminer`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    convminer::cli::run(std::env::args_os()).into()
}

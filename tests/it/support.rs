//! What the integration tests share.

use std::env;
use std::path::Path;
use std::process::{Command, Output};

/// The program, run in `folder` with no setting from the environment of the tests.
pub(crate) fn convminer(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convminer"));
    command.current_dir(folder);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CONVMINER_") {
            command.env_remove(name);
        }
    }
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

/// Exit code, stdout and stderr as one text.
pub(crate) fn transcript(output: &Output) -> String {
    format!(
        "exit code: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().map_or("none".to_owned(), |code| code.to_string()),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )
}

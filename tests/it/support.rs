//! What the integration tests share.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use convminer::features::Conversation;
use convminer::subnet::challenge::{Challenge, Example};
use convminer::subnet::reward::Truth;

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

/// The stdout of a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// stderr of a command that must fail with exit code 2.
pub(crate) fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", transcript(&output));
    String::from_utf8(output.stderr).unwrap()
}

/// Sends a signal by the shell's own `kill`: the program of that name is not everywhere.
pub(crate) fn signal(child: &std::process::Child, name: &str) {
    let command = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
}

/// Writes generated conversations.
pub(crate) fn generate(folder: &Path, challenge: &str, rows: usize, seed: u64, out: &str) {
    let arguments =
        format!("generate --challenge {challenge} --rows {rows} --seed {seed} --out {out}");
    succeed(convminer(folder).args(arguments.split(' ')));
}

/// Settings with which training takes a moment, and still learns.
pub(crate) const QUICK: &str = "
folds = 1
[[classifier]]
epochs = 8
least_steps = 0
packed = 1
units = 32
layers = 2
[[regressor]]
epochs = 8
least_steps = 0
units = 32
layers = 2
";

/// Trains with the quick settings and returns the table of results.
pub(crate) fn train(folder: &Path, data: &str, out: &str) -> String {
    fs::write(folder.join("quick.toml"), QUICK).unwrap();
    let arguments = format!("train --data {data} --config quick.toml --out {out} --device cpu");
    succeed(convminer(folder).args(arguments.split(' ')))
}

/// Generated conversations and their truths, through the library.
pub(crate) fn examples(challenge: Challenge, rows: usize, seed: u64) -> Labelled {
    let labelled = |example: Example| {
        let mut conversation = Conversation::EMPTY;
        for (index, value) in example.features.iter().enumerate() {
            conversation.set(index, *value);
        }
        (conversation, example.truth)
    };
    challenge.examples(seed).take(rows).map(labelled).unzip()
}

/// Conversations, and what became of each.
pub(crate) type Labelled = (Vec<Conversation>, Vec<Truth>);

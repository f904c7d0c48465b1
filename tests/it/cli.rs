//! The frame of the command line: settings, help, colors, exit codes.

use std::fs;
use std::io;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{convminer, transcript};

const COMMANDS: [&str; 16] = [
    "generate",
    "train",
    "evaluate",
    "predict",
    "calibrate",
    "inspect",
    "serve",
    "query",
    "replay",
    "diagnose",
    "learn",
    "models",
    "simulate",
    "state",
    "config",
    "completions",
];

/// Runs the program in a folder with this `convminer.toml`.
fn run(arguments: &[&str], variables: &[(&str, &str)], settings: Option<&str>) -> Output {
    let folder = TempDir::new().unwrap();
    if let Some(settings) = settings {
        fs::write(folder.path().join("convminer.toml"), settings).unwrap();
    }
    convminer(folder.path())
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn has_escape_codes(output: &Output) -> bool {
    output.stdout.contains(&0x1b) || output.stderr.contains(&0x1b)
}

/// `config` prints JSON or a table: which one shows the layer that won.
#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let on = "[config]\njson = true\n";
    let off = "json = true\n[config]\njson = false\n";
    for (flag, variable, file, expected, why) in [
        (None, None, None, false, "the default"),
        (None, None, Some(on), true, "the file beats the default"),
        (None, None, Some("json = true\n"), true, "a key at the top is for every command"),
        (None, None, Some(off), false, "a command's table beats the top"),
        (None, Some("0"), Some(on), false, "the environment beats the file"),
        (None, Some("yes"), Some(off), true, "the environment beats the file"),
        (None, Some(""), Some(on), true, "an empty variable is none"),
        (Some("--json"), Some("0"), Some(off), true, "the flag beats all"),
        (Some("--json=false"), Some("1"), Some(on), false, "the flag beats all"),
    ] {
        let arguments: Vec<&str> = ["config"].into_iter().chain(flag).collect();
        let variables: Vec<_> =
            variable.map(|value| ("CONVMINER_JSON", value)).into_iter().collect();
        let output = run(&arguments, &variables, file);
        assert_eq!(output.status.code(), Some(0), "{why}: {}", stderr(&output));
        assert_eq!(stdout(&output).starts_with('{'), expected, "{why}: {}", stdout(&output));
    }
}

#[test]
fn config_names_the_source_of_each_value() {
    let variables = [("CONVMINER_COLOR", "never"), ("CONVMINER_SHELL", "zsh")];
    let settings = "verbose = 1\n[completions]\nquiet = true\n";
    let output = run(&["config", "completions"], &variables, Some(settings));
    insta::assert_snapshot!(transcript(&output), @"
    exit code: 0
    --- stdout
    file: convminer.toml

    every command
      quiet        false  default
      verbose      1      convminer.toml
      color        never  environment CONVMINER_COLOR
      log.format   human  default
      config-file  -      unset

    completions
      shell        zsh    environment CONVMINER_SHELL
      quiet        true   convminer.toml
    --- stderr
    ");
}

#[test]
fn config_as_json_has_every_command() {
    let output = run(&["--quiet", "config", "--json"], &[("CONVMINER_SHELL", "none")], None);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    for command in COMMANDS {
        assert!(value["commands"][command].is_object(), "{command}");
    }
    assert_eq!(value["file"], Value::Null);
    assert_eq!(value["every_command"]["quiet"]["value"], true);
    assert_eq!(value["every_command"]["quiet"]["source"], "flag");
    let shell = &value["commands"]["completions"]["shell"];
    assert_eq!((&shell["value"], &shell["from"]), (&"none".into(), &"CONVMINER_SHELL".into()));
    assert!(shell["problem"].is_string());
    // A setting is not valid, and that is the answer "no".
    assert_eq!(output.status.code(), Some(1));
}

/// The rows of `train` as JSON, with this training configuration in the folder.
fn config_of_train(training: &str, variables: &[(&str, &str)], settings: &str) -> (Output, Value) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("train.toml"), training).unwrap();
    fs::write(folder.path().join("convminer.toml"), settings).unwrap();
    let output = convminer(folder.path())
        .args(["config", "train", "--json"])
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts");
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", transcript(&output)));
    let rows = value["commands"]["train"].clone();
    (output, rows)
}

#[test]
fn config_shows_the_training_configuration() {
    let training =
        "seed = 99\nloss = 'reward'\n[[classifier]]\nepochs = 3\n[[regressor]]\nepochs = 4\n";
    let named = "[train]\nconfig = 'train.toml'\n";
    let file = format!("{named}epochs = 2\n");
    let variable = [("CONVMINER_CONFIG", "train.toml")];
    let both = "3 (classifier), 4 (regressor)";
    for (variables, settings, epochs, from) in [
        (&[][..], named, Value::from(both), "train.toml"),
        (&[], &file, Value::from(2), "convminer.toml"),
        (&variable, "", Value::from(both), "train.toml"),
        (&variable, "[train]\nepochs = 2\n", Value::from(both), "train.toml"),
    ] {
        let (output, rows) = config_of_train(training, variables, settings);
        assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
        assert_eq!((&rows["epochs"]["value"], &rows["epochs"]["from"]), (&epochs, &from.into()));
        assert_eq!(rows["seed"], json!({"value": 99, "source": "file", "from": "train.toml"}));
        assert_eq!(rows["loss"]["value"], "reward");
        assert_eq!(rows["batch-size"], json!({"value": 256, "source": "default"}));
    }
}

#[test]
fn a_training_configuration_that_cannot_be_read_is_a_problem() {
    for (training, named, expected) in
        [("epoch = 3\n", "train.toml", "unknown field `epoch`"), ("", "none.toml", "No such file")]
    {
        let (output, rows) = config_of_train(training, &[("CONVMINER_CONFIG", named)], "");
        assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
        let problem = rows["config"]["problem"].as_str().unwrap();
        assert!(problem.contains(expected) && !problem.contains('\n'), "{problem}");
        assert_eq!(rows["seed"]["source"], "default");
    }
}

#[test]
fn a_switch_can_be_repeated() {
    let output = run(&["config", "config", "-qqq", "--json", "--json=false"], &[], None);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("quiet        true    flag"), "{}", stdout(&output));
    assert!(stdout(&output).contains("json         false   flag"), "{}", stdout(&output));
}

#[test]
fn a_negative_number_is_a_value() {
    for (flag, value, expected) in [
        ("--flip-rate", "-0.5", "the flip rate must be in 0..=1, but is -0.5"),
        ("--missing-rate", "-1", "the missing rate must be in 0..=1, but is -1"),
        ("--time-noise-seconds", "-2", "a finite number of seconds, 0 or more, but is -2"),
        ("--rows", "-2", "invalid value '-2' for '--rows <N>'"),
    ] {
        let mut arguments = vec!["generate", "--challenge", "noisy", "--out", "a.csv"];
        if flag != "--rows" {
            arguments.extend(["--rows", "5"]);
        }
        arguments.extend([flag, value]);
        let output = run(&arguments, &[], None);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn a_setting_can_stand_in_for_a_required_argument() {
    let asked = run(&["completions", "fish"], &[], None);
    let missing = run(&["completions"], &[], None);
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
    for (variables, settings) in [
        (&[("CONVMINER_SHELL", "fish")][..], None),
        (&[], Some("shell = 'fish'\n")),
        (&[], Some("[completions]\nshell = 'fish'\n")),
    ] {
        let output = run(&["completions"], variables, settings);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(output.stdout, asked.stdout);
    }
}

#[test]
fn a_mistake_in_the_file_is_explained() {
    let output = run(&["config"], &[], Some("# ours\n[config]\njsn = true\n"));
    insta::assert_snapshot!(transcript(&output), @"
    exit code: 2
    --- stdout
    --- stderr
    error: convminer.toml, line 3: unknown key `jsn` in [config]
    hint: did you mean `json`?
    ");
    let output = run(&["config"], &[], Some("[config]\njson = 'yes'\n"));
    insta::assert_snapshot!(transcript(&output), @"
    exit code: 2
    --- stdout
    --- stderr
    error: convminer.toml, line 2: `json` takes true or false, found a string
    ");
    let output = run(&["config"], &[], Some("data = ''\n"));
    insta::assert_snapshot!(transcript(&output), @"
    exit code: 2
    --- stdout
    --- stderr
    error: convminer.toml, line 1: invalid value `` for `data`: it is empty
    ");
    let output = run(&["config"], &[], Some("[config\n"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: convminer.toml, line 1: "), "{}", stderr(&output));
}

#[test]
fn a_mistake_in_the_environment_is_explained() {
    let output = run(&["config"], &[("CONVMINER_JSON", "perhaps"), ("CONVMINER_JSN", "1")], None);
    insta::assert_snapshot!(transcript(&output), @"
    exit code: 2
    --- stdout
    --- stderr
    error: environment variable CONVMINER_JSON: invalid value `perhaps` for `json`: value was not a boolean
    ");
    let output = run(&["config", "config"], &[("CONVMINER_JSN", "1")], None);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(stderr(&output), @"warning: environment variable CONVMINER_JSN is no setting; did you mean CONVMINER_JSON?");
}

#[test]
fn the_file_can_be_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("other.toml"), "[config]\njson = true\n").unwrap();
    fs::write(folder.path().join("convminer.toml"), "broken").unwrap();
    let file = |mut command: std::process::Command| {
        let value: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        value["file"].clone()
    };
    let mut flag = convminer(folder.path());
    flag.args(["config", "--config-file", "other.toml"]);
    assert_eq!(file(flag), "other.toml");
    let mut variable = convminer(folder.path());
    variable.arg("config").env("CONVMINER_CONFIG_FILE", "other.toml");
    assert_eq!(file(variable), "other.toml");

    let output = run(&["config", "--config-file", "none.toml"], &[], None);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot read settings from `none.toml`"));
}

#[test]
fn every_command_has_help() {
    let overview = run(&["--help"], &[], None);
    assert_eq!(overview.status.code(), Some(0));
    for command in COMMANDS {
        assert!(stdout(&overview).contains(&format!("\n  {command} ")), "{command}");
        // Help must not need a sound file.
        let output = run(&[command, "--help"], &[], Some("broken"));
        let help = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", stderr(&output));
        assert!(help.contains(&format!("Usage: convminer {command}")), "{help}");
        assert!(help.contains("--quiet") && help.contains("CONVMINER_"), "{help}");
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell], &[], None);
        assert_eq!(output.status.code(), Some(0));
        for command in COMMANDS {
            assert!(stdout(&output).contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn exit_codes_and_streams() {
    let version = run(&["--version"], &[], None);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stdout(&version), format!("convminer {}\n", env!("CARGO_PKG_VERSION")));
    for (arguments, why) in [
        (&[][..], "no command"),
        (&["trian"], "no such command"),
        (&["config", "--nonsense"], "no such flag"),
        (&["config", "--json=perhaps"], "not a value of the flag"),
        (&["config", "trian"], "no such command to show"),
        (&["completions", "cmd.exe"], "no such shell"),
    ] {
        let output = run(arguments, &[], None);
        assert_eq!(output.status.code(), Some(2), "{why}");
        assert_eq!(stdout(&output), "", "{why}");
        assert_ne!(stderr(&output), "", "{why}");
    }
}

#[test]
fn colors_are_for_terminals_and_for_who_asks() {
    for arguments in [&["config", "trian"][..], &["trian"], &["--help"], &["config"]] {
        let output = run(arguments, &[("TERM", "xterm")], None);
        assert!(!has_escape_codes(&output), "{arguments:?} into a pipe");
        let forced = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
        assert!(!has_escape_codes(&run(arguments, &forced, None)), "{arguments:?} with NO_COLOR");
    }
    for arguments in [&["config", "trian"][..], &["trian"]] {
        let forced = run(arguments, &[("CLICOLOR_FORCE", "1")], None);
        assert!(has_escape_codes(&forced), "{arguments:?} with CLICOLOR_FORCE");
    }
    let always = ["--color", "always", "config", "trian"];
    assert!(has_escape_codes(&run(&always, &[("NO_COLOR", "1")], None)));
    let never = ["--color=never", "config", "trian"];
    assert!(!has_escape_codes(&run(&never, &[("CLICOLOR_FORCE", "1")], None)));
    assert!(has_escape_codes(&run(&["config", "trian"], &[], Some("color = 'always'"))));
}

#[test]
fn a_reader_that_left_is_no_failure() {
    for arguments in [&["config"][..], &["config", "--json"], &["completions", "bash"], &["--help"]]
    {
        let folder = TempDir::new().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = convminer(folder.path())
            .args(arguments)
            .stdout(writer)
            .output()
            .expect("the program starts");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

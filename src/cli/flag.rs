//! What the clap tree says of one flag: its names, what it takes, and whether a value suits it.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};

use clap::builder::{BoolishValueParser, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// What every environment variable of this program starts with.
pub(super) const PREFIX: &str = "CONVMINER_";

/// Words in a flag's name that make its value a secret, which is never printed.
const SECRET_WORDS: &[&str] = &["apikey", "mnemonic", "password", "phrase", "secret", "token"];

/// What kind of value a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// Any number.
    Float,
    /// Words, paths, addresses.
    Text,
}

/// The arguments of one command that can be set: all but `--help` and `--version`.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        matches!(
            arg.get_action(),
            ArgAction::Set
                | ArgAction::Append
                | ArgAction::SetTrue
                | ArgAction::SetFalse
                | ArgAction::Count
        ) && !matches!(arg.get_id().as_str(), "help" | "version")
    })
}

/// The name without dashes in front; a positional argument goes by its identifier.
pub(super) fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

/// A name in the one spelling in which names are compared: dashes and underscores are the same.
pub(super) fn canonical(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// The environment variable that sets the flag.
pub(super) fn environment_name(arg: &Arg) -> String {
    format!("{PREFIX}{}", name(arg).to_ascii_uppercase().replace(['-', '.'], "_"))
}

/// What the flag takes.
pub(super) fn kind(arg: &Arg) -> Kind {
    match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse => return Kind::Boolean,
        ArgAction::Count => return Kind::Integer,
        _ => {}
    }
    let parsed = arg.get_value_parser().type_id();
    let is_one_of = |types: &[TypeId]| types.iter().any(|one| parsed == *one);
    if parsed == TypeId::of::<bool>() {
        Kind::Boolean
    } else if is_one_of(&[TypeId::of::<f32>(), TypeId::of::<f64>()]) {
        Kind::Float
    } else if is_one_of(&[
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<u128>(),
        TypeId::of::<usize>(),
        TypeId::of::<i8>(),
        TypeId::of::<i16>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<i128>(),
        TypeId::of::<isize>(),
    ]) {
        Kind::Integer
    } else {
        Kind::Text
    }
}

/// A boolean, read as the flags read it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    BoolishValueParser::new().parse_ref(&Command::new("boolean"), None, OsStr::new(text)).ok()
}

/// Whether the flag can have more than one value.
pub(super) fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// Whether the flag's value must not be shown.
pub(super) fn is_secret(name: &str) -> bool {
    let name = canonical(name).replace("api-key", "apikey").replace("api.key", "apikey");
    // Where a secret is kept is none.
    !name.ends_with("-file") && name.split(['-', '.']).any(|word| SECRET_WORDS.contains(&word))
}

/// The value as it may be shown.
pub(super) fn shown(arg: &Arg, value: &OsStr) -> String {
    if is_secret(name(arg)) { "***".to_owned() } else { value.to_string_lossy().into_owned() }
}

/// The flag as it is defined, made to read booleans the way people write them in an environment
/// (`1`, `yes`, `on`, ...), however often they are given, and to say less about them in the help. A
/// number may be negative: what is wrong with it, its reader says better than clap, which would
/// take it for another flag.
pub(super) fn polished(arg: Arg) -> Arg {
    if matches!(kind(&arg), Kind::Integer | Kind::Float) && arg.get_action().takes_values() {
        return arg.allow_negative_numbers(true);
    }
    let takes_boolean = matches!(arg.get_action(), ArgAction::Set)
        && arg.get_value_parser().type_id() == TypeId::of::<bool>();
    if !takes_boolean {
        return arg;
    }
    let itself = arg.get_id().clone();
    let is_off = arg.get_default_values().iter().all(|value| value == "false");
    arg.value_parser(BoolishValueParser::new())
        .overrides_with(itself)
        .value_name("true|false")
        .hide_possible_values(true)
        .hide_default_value(is_off)
}

/// Whether the flag accepts the value; if not, why.
pub(super) fn check(arg: &Arg, value: &OsStr) -> Result<(), String> {
    // The argument itself may refer to others, so only what reads its value is taken.
    let mut probe = Arg::new("value")
        .long("value")
        .action(ArgAction::Set)
        .allow_hyphen_values(true)
        .value_parser(arg.get_value_parser().clone());
    match arg.get_action() {
        ArgAction::Count => probe = probe.value_parser(clap::value_parser!(u8)),
        ArgAction::SetTrue | ArgAction::SetFalse => {
            probe = probe.value_parser(BoolishValueParser::new());
        }
        _ => {}
    }
    if let Some(delimiter) = arg.get_value_delimiter() {
        probe = probe.num_args(1..).value_delimiter(delimiter);
    }
    let command = Command::new("check").no_binary_name(true).disable_help_flag(true).arg(probe);
    let mut token = OsString::from("--value=");
    token.push(value);
    command.try_get_matches_from([token]).map(drop).map_err(|error| reason(&error, value))
}

/// What is wrong with a value, without clap's frame around it.
fn reason(error: &clap::Error, value: &OsStr) -> String {
    if let (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) =
        (error.kind(), error.get(ContextKind::ValidValue))
        && !valid.is_empty()
    {
        return format!("expected one of {}", valid.join(", "));
    }
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None if value.is_empty() => "it is empty".to_owned(),
        None => "it cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, value_parser};

    use super::*;

    #[derive(Debug, clap::Args)]
    struct Example {
        /// A path.
        #[arg(long)]
        data: std::path::PathBuf,
        /// A number.
        #[arg(long)]
        epochs: Option<usize>,
        /// A fraction.
        #[arg(long, default_value_t = 0.2)]
        valid_fraction: f64,
        /// Dotted.
        #[arg(long = "axon.external_port")]
        axon_external_port: Option<u16>,
        /// Repeated.
        #[arg(long)]
        tag: Vec<String>,
        /// A choice.
        #[arg(long, value_parser = ["auto", "cpu"])]
        device: Option<String>,
        /// A switch.
        #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
              require_equals = true, action = ArgAction::Set)]
        force: bool,
        /// A place.
        checkpoint: Option<String>,
    }

    fn arg(id: &str) -> Arg {
        let command = Example::augment_args(Command::new("example"));
        let found = command.get_arguments().find(|arg| arg.get_id() == id);
        found.expect("the example has it").clone()
    }

    #[test]
    fn names_and_kinds_come_from_the_tree() {
        for (id, expected_name, variable, expected_kind) in [
            ("data", "data", "CONVMINER_DATA", Kind::Text),
            ("epochs", "epochs", "CONVMINER_EPOCHS", Kind::Integer),
            ("valid_fraction", "valid-fraction", "CONVMINER_VALID_FRACTION", Kind::Float),
            (
                "axon_external_port",
                "axon.external_port",
                "CONVMINER_AXON_EXTERNAL_PORT",
                Kind::Integer,
            ),
            ("force", "force", "CONVMINER_FORCE", Kind::Boolean),
            ("checkpoint", "checkpoint", "CONVMINER_CHECKPOINT", Kind::Text),
        ] {
            let arg = arg(id);
            assert_eq!(name(&arg), expected_name);
            assert_eq!(environment_name(&arg), variable);
            assert_eq!(kind(&arg), expected_kind, "{id}");
        }
        assert!(takes_many(&arg("tag")));
        assert!(!takes_many(&arg("data")));
    }

    #[test]
    fn a_bad_value_is_refused_with_the_reason() {
        for (id, value, expected) in [
            ("epochs", "20", Ok(())),
            ("epochs", "abc", Err("invalid digit found in string")),
            ("epochs", "-3", Err("invalid digit found in string")),
            ("axon_external_port", "70000", Err("70000 is not in 0..=65535")),
            ("valid_fraction", "x", Err("invalid float literal")),
            ("device", "gpu", Err("expected one of auto, cpu")),
            ("tag", "--odd", Ok(())),
            ("data", "", Err("it is empty")),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(check(&arg(id), OsStr::new(value)), expected, "{id} = {value}");
        }
    }

    #[test]
    fn booleans_are_read_the_way_people_write_them() {
        let force = polished(arg("force"));
        assert_eq!(kind(&force), Kind::Boolean);
        for value in ["1", "yes", "on", "true", "0", "no", "off", "FALSE"] {
            assert_eq!(check(&force, OsStr::new(value)), Ok(()), "{value}");
        }
        assert!(check(&force, OsStr::new("perhaps")).is_err());
        let count = Arg::new("verbose").action(ArgAction::Count).value_parser(value_parser!(u8));
        assert!(check(&count, OsStr::new("loud")).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        for (name, secret) in [
            ("wallet.password", true),
            ("api-key", true),
            ("api_key", true),
            ("api.key", true),
            ("api.key-file", false),
            ("hotkey_mnemonic", true),
            ("seed", false),
            ("tokenizer", false),
            ("wallet.hotkey", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
        assert_eq!(shown(&Arg::new("token").long("api-token"), OsStr::new("abc")), "***");
        assert_eq!(shown(&arg("data"), OsStr::new("abc")), "abc");
    }
}

//! The layers of settings: flag, then environment, then `convminer.toml`, then default. A training
//! configuration stands below the file if the file names it, and above it if a higher layer does.
//!
//! Every flag is defined once, as a field of its command's arguments. The layers below the command
//! line are derived from the clap tree: before the command line is read in earnest, each argument
//! of the chosen command gets its environment variable and, as its default, what the file says.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::parser::ValueSource;
use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _, ValueEnum as _,
};

use super::computed::Training;
use super::config_file::{CONFIG_FILE, ConfigFile};
use super::flag;
use super::printer::ColorWhen;
use super::{Cli, computed};
use crate::nearest::nearest;
use crate::train::TrainConfig;

/// The command whose settings a training configuration holds, and its flag that names one.
const TRAIN: &str = "train";
const TRAINING: &str = "config";

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// This file.
    File(PathBuf),
    /// The training configuration of this file.
    Training(PathBuf),
    /// The program.
    Default,
    /// Nowhere: it has no value.
    Unset,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => formatter.write_str("flag"),
            Source::Environment(variable) => write!(formatter, "environment {variable}"),
            Source::File(path) | Source::Training(path) => write!(formatter, "{}", path.display()),
            Source::Default => formatter.write_str("default"),
            Source::Unset => formatter.write_str("unset"),
        }
    }
}

/// The program's environment variables. One that is set to nothing counts as not set.
#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Keeps the variables that are meant for this program.
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, value)| name.starts_with(flag::PREFIX) && !value.is_empty())
            .collect();
        Environment { variables }
    }

    fn value(&self, arg: &Arg) -> Option<&OsStr> {
        self.variables.get(&flag::environment_name(arg)).map(OsString::as_os_str)
    }

    /// A warning for each variable that sets nothing.
    fn warnings(&self, tree: &Command) -> Vec<String> {
        let commands = tree.get_subcommands().flat_map(flag::settings);
        let known: Vec<String> =
            flag::settings(tree).chain(commands).map(flag::environment_name).collect();
        let unknown = self.variables.keys().filter(|name| !known.contains(name));
        unknown
            .map(|name| {
                let near = nearest(name, known.iter().map(String::as_str));
                let advice = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                format!("environment variable {name} is no setting{advice}")
            })
            .collect()
    }
}

/// What the command line says before the values are read.
#[derive(Debug, Default)]
struct Request {
    command: Option<String>,
    /// What was given, by the argument's identifier.
    given: BTreeMap<String, Vec<OsString>>,
}

impl Request {
    /// None if the command line asks for help or for the version.
    fn read(tree: &Command, arguments: &[OsString]) -> Option<Self> {
        let any_value = |arg: Arg| match arg.get_action() {
            ArgAction::Set | ArgAction::Append => {
                arg.required(false).value_parser(clap::value_parser!(OsString))
            }
            _ => arg.required(false),
        };
        // What is wrong with the command line is left for the real reading to say.
        let lenient = tree
            .clone()
            .ignore_errors(true)
            .mut_args(any_value)
            .mut_subcommands(|command| command.mut_args(any_value));
        let matches = lenient.try_get_matches_from(arguments).ok()?;
        let mut request = Request::default();
        request.take(&matches);
        if let Some((command, matches)) = matches.subcommand() {
            request.command = Some(command.to_owned());
            request.take(matches);
        }
        Some(request)
    }

    fn take(&mut self, matches: &ArgMatches) {
        for id in matches.ids() {
            if matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
                && let Ok(Some(values)) = matches.try_get_raw(id.as_str())
            {
                self.given.insert(id.to_string(), values.map(OsStr::to_owned).collect());
            }
        }
    }

    fn gives(&self, arg: &Arg) -> bool {
        self.given.contains_key(arg.get_id().as_str())
    }
}

/// Everything below the command line, and what the command line gives.
#[derive(Debug, Default)]
pub(super) struct Layers {
    environment: Environment,
    file: Option<ConfigFile>,
    training: Option<Training>,
    /// Whether the training configuration stands above the file.
    training_outranks_file: bool,
    /// Why the training configuration was not read.
    training_problem: Option<String>,
    request: Request,
}

/// The value of one setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The value as text, if there is one; several are joined by commas.
    pub(super) value: Option<String>,
    /// Where it comes from.
    pub(super) source: Source,
    /// What is wrong with it.
    pub(super) problem: Option<String>,
}

impl Layers {
    /// The path of the file that was read.
    pub(super) fn file_path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// The training configuration that is named, or else the default.
    pub(super) fn training(&self) -> TrainConfig {
        self.training.as_ref().map(|training| training.config.clone()).unwrap_or_default()
    }

    /// Whether the command line gives the argument with this identifier.
    pub(super) fn command_line_gives(&self, id: &str) -> bool {
        self.request.given.contains_key(id)
    }

    /// Whether the file sets this flag for this command alone.
    pub(super) fn is_overridden(&self, command: &str, arg: &Arg) -> bool {
        self.file.as_ref().is_some_and(|file| file.values(Some(command), arg).is_some())
    }

    fn file_values(&self, command: Option<&str>, arg: &Arg) -> Option<&[String]> {
        let file = self.file.as_ref()?;
        if self.training_outranks_file && self.training_value(command, arg).is_some() {
            return None;
        }
        command.and_then(|_| file.values(command, arg)).or_else(|| file.values(None, arg))
    }

    fn training_value(&self, command: Option<&str>, arg: &Arg) -> Option<String> {
        let training = self.training.as_ref().filter(|_| command == Some(TRAIN))?;
        training.value(arg)
    }

    /// What `command` would run with, or with none what all commands would. Only of the running
    /// command is it known what the command line gives.
    pub(super) fn resolve(&self, command: Option<&str>, arg: &Arg) -> Resolved {
        let (values, source) = self.lookup(command, arg);
        // A default is the program's own, and a training configuration was checked when it was
        // read: both may be told in words.
        let is_checked = matches!(source, Source::Default | Source::Training(_));
        let problem =
            values.iter().filter(|_| !is_checked).find_map(|it| flag::check(arg, it).err());
        let names_training = command == Some(TRAIN) && flag::name(arg) == TRAINING;
        let problem = problem.or_else(|| self.training_problem.clone().filter(|_| names_training));
        let shown: Vec<String> = values.iter().map(|value| flag::shown(arg, value)).collect();
        let value = (source != Source::Unset).then(|| shown.join(","));
        Resolved { value, source, problem }
    }

    fn lookup(&self, command: Option<&str>, arg: &Arg) -> (Vec<OsString>, Source) {
        let is_running = command.is_none() || command == self.request.command.as_deref();
        let given = self.request.given.get(arg.get_id().as_str()).filter(|_| is_running);
        if let Some(values) = given {
            return (values.clone(), Source::Flag);
        }
        if let Some(value) = self.environment.value(arg) {
            return (vec![value.to_owned()], Source::Environment(flag::environment_name(arg)));
        }
        if let (Some(values), Some(file)) = (self.file_values(command, arg), &self.file) {
            let values = values.iter().map(OsString::from).collect();
            return (values, Source::File(file.path.clone()));
        }
        if let (Some(value), Some(training)) = (self.training_value(command, arg), &self.training) {
            return (vec![value.into()], Source::Training(training.path.clone()));
        }
        if !arg.get_default_values().is_empty() {
            let values = arg.get_default_values().iter().map(|value| value.into()).collect();
            return (values, Source::Default);
        }
        let computed = match arg.get_action() {
            ArgAction::Count => Some("0".to_owned()),
            ArgAction::SetTrue => Some("false".to_owned()),
            ArgAction::SetFalse => Some("true".to_owned()),
            _ => command.and_then(|command| computed::default_of(command, flag::name(arg))),
        };
        match computed {
            Some(value) => (vec![value.into()], Source::Default),
            None => (Vec::new(), Source::Unset),
        }
    }

    /// Refuses a value of the environment that is about to be used and does not suit its flag.
    fn check_environment(&self, tree: &Command) -> anyhow::Result<()> {
        let command = self.request.command.as_deref().and_then(|name| tree.find_subcommand(name));
        let args = flag::settings(tree).chain(command.into_iter().flat_map(flag::settings));
        for arg in args.filter(|arg| !self.request.gives(arg)) {
            let Some(value) = self.environment.value(arg) else { continue };
            flag::check(arg, value).map_err(|reason| {
                let (variable, name) = (flag::environment_name(arg), flag::name(arg));
                let value = flag::shown(arg, value);
                anyhow!(
                    "environment variable {variable}: invalid value `{value}` for `{name}`: {reason}"
                )
            })?;
        }
        Ok(())
    }

    /// The tree with these layers below the chosen command's flags.
    fn applied(&self, tree: Command) -> Command {
        let Some(command) = self.request.command.as_deref() else { return tree };
        tree.mut_args(|arg| self.layered(command, arg)).mut_subcommand(command, |subcommand| {
            subcommand.mut_args(|arg| self.layered(command, arg))
        })
    }

    fn layered(&self, command: &str, mut arg: Arg) -> Arg {
        if let Some(values) = self.file_values(Some(command), &arg) {
            arg = arg.default_values(values).required(false);
        }
        // What goes on has its data from what was begun.
        if command == TRAIN && self.command_line_gives("resume") && arg.get_id() == "data" {
            arg = arg.required(false);
        }
        if self.environment.value(&arg).is_some() {
            let variable = flag::environment_name(&arg);
            arg = arg.env(variable).hide_env(true);
        }
        arg
    }

    /// What `--color` is before the command line is read in earnest; a bad value is told later.
    fn color(&self, tree: &Command) -> ColorWhen {
        let arg = flag::settings(tree).find(|arg| flag::name(arg) == "color");
        arg.and_then(|arg| self.resolve(self.request.command.as_deref(), arg).value)
            .and_then(|value| ColorWhen::from_str(&value, true).ok())
            .unwrap_or_default()
    }
}

/// The whole command line, every flag as it is offered to the user.
pub(super) fn tree() -> Command {
    const ABOUT_SETTINGS: &str = "An option can also be set as an environment variable \
        (CONVMINER_ and its name in capitals, with underscores) or in convminer.toml. \
        `convminer config` shows what is set, and where.";
    Cli::command()
        .mut_args(flag::polished)
        .mut_subcommands(|command| command.mut_args(flag::polished).after_help(ABOUT_SETTINGS))
        .after_help(ABOUT_SETTINGS)
}

/// A command line that was understood.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) cli: Cli,
    pub(super) layers: Layers,
    /// What should be said before the work begins.
    pub(super) warnings: Vec<String>,
}

/// A command line that was not.
#[derive(Debug)]
pub(super) enum Failure {
    /// A mistake in it, or a request for help: clap has the words for both.
    Usage(clap::Error),
    /// A mistake in the layers below it.
    Settings(anyhow::Error, ColorWhen),
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Failure::Usage(error)
    }
}

/// Reads the command line and the layers below it.
pub(super) fn parse(arguments: &[OsString], environment: Environment) -> Result<Parsed, Failure> {
    let tree = tree();
    let mut layers = Layers { environment, ..Layers::default() };
    // Help must not depend on a file that may be broken.
    if let Some(request) = Request::read(&tree, arguments).filter(|it| it.command.is_some()) {
        layers.request = request;
        layers.read(&tree).map_err(|error| Failure::Settings(error, layers.color(&tree)))?;
    }
    let color = match layers.color(&tree) {
        ColorWhen::Auto => clap::ColorChoice::Auto,
        ColorWhen::Always => clap::ColorChoice::Always,
        ColorWhen::Never => clap::ColorChoice::Never,
    };
    let warnings = layers.environment.warnings(&tree);
    let matches = layers.applied(tree).color(color).try_get_matches_from(arguments)?;
    Ok(Parsed { cli: Cli::from_arg_matches(&matches)?, layers, warnings })
}

impl Layers {
    /// Reads the files and checks the environment.
    fn read(&mut self, tree: &Command) -> anyhow::Result<()> {
        let arg = flag::settings(tree).find(|arg| flag::name(arg) == CONFIG_FILE);
        let path = arg.and_then(|arg| self.lookup(None, arg).0.pop());
        self.file = ConfigFile::find(path.as_deref().map(Path::new), tree)?;
        self.check_environment(tree)?;
        self.read_training(tree)
    }

    /// Reads the training configuration, for the commands that want it.
    fn read_training(&mut self, tree: &Command) -> anyhow::Result<()> {
        let running = self.request.command.as_deref();
        let must_be_sound = match running {
            Some(TRAIN) => true,
            // It shows what is wrong among the settings.
            Some("config") => false,
            _ => return Ok(()),
        };
        let mut args = tree.find_subcommand(TRAIN).into_iter().flat_map(flag::settings);
        let Some(arg) = args.find(|arg| flag::name(arg) == TRAINING) else { return Ok(()) };
        let (mut values, source) = self.lookup(Some(TRAIN), arg);
        let Some(path) = values.pop().filter(|path| flag::check(arg, path).is_ok()) else {
            return Ok(());
        };
        self.training_outranks_file = matches!(source, Source::Flag | Source::Environment(_));
        match Training::read(Path::new(&path)) {
            Ok(training) => self.training = Some(training),
            Err(error) if must_be_sound => return Err(error),
            Err(error) => self.training_problem = Some(computed::reason(&error)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::render;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn arguments(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn arg_of(command: &str, name: &str) -> Arg {
        let tree = tree();
        let command = tree.find_subcommand(command).unwrap();
        let mut args = flag::settings(command).chain(flag::settings(&tree));
        args.find(|arg| flag::name(arg) == name).unwrap().clone()
    }

    /// Layers as `line` would make them, with this file.
    fn layers(line: &str, variables: &[(&str, &str)], file: &str) -> anyhow::Result<Layers> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, file).unwrap();
        let tree = tree();
        let request = Request::read(&tree, &arguments(line)).unwrap();
        let file = ConfigFile::find(Some(&path), &tree)?;
        let environment = environment(variables);
        let mut layers = Layers { environment, file, request, ..Layers::default() };
        layers.check_environment(&tree)?;
        layers.read_training(&tree)?;
        Ok(layers)
    }

    /// clap checks this itself, but only in a debug build, and none is ever made.
    #[test]
    fn no_two_flags_of_a_command_share_a_name() {
        let tree = tree();
        for command in tree.get_subcommands() {
            let args: Vec<&Arg> = flag::settings(&tree).chain(flag::settings(command)).collect();
            let mut names: Vec<String> =
                args.iter().map(|arg| flag::environment_name(arg)).collect();
            names.extend(args.iter().filter_map(|arg| arg.get_short()).map(String::from));
            names.extend(["h".to_owned(), "CONVMINER_HELP".to_owned()]);
            names.sort();
            let repeated = names.windows(2).find(|pair| pair[0] == pair[1]);
            assert_eq!(repeated, None, "{}", command.get_name());
        }
    }

    #[test]
    fn a_higher_layer_wins() {
        let variable = [("CONVMINER_COLOR", "never")];
        let file = "color = 'always'\n[config]\ncolor = 'auto'\n";
        let color = arg_of("config", "color");
        let resolved = |line, variables: &[_], file| {
            let layers = layers(line, variables, file).unwrap();
            let resolved = layers.resolve(Some("config"), &color);
            (resolved.value.unwrap(), resolved.source.to_string().replace('\\', "/"))
        };
        let (value, source) = resolved("convminer config --color auto", &variable, file);
        assert_eq!((value.as_str(), source.as_str()), ("auto", "flag"));
        let (value, source) = resolved("convminer config", &variable, file);
        assert_eq!((value.as_str(), source.as_str()), ("never", "environment CONVMINER_COLOR"));
        let (value, source) = resolved("convminer config", &[], file);
        assert!(value == "auto" && source.ends_with("/settings.toml"), "{value} {source}");
        let (value, source) = resolved("convminer config", &[], "color = 'always'");
        assert!(value == "always" && source.ends_with("/settings.toml"), "{value} {source}");
        let (value, source) = resolved("convminer config", &[("CONVMINER_COLOR", "")], "");
        assert_eq!((value.as_str(), source.as_str()), ("auto", "default"));
    }

    #[test]
    fn a_training_configuration_stands_where_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.toml");
        std::fs::write(&path, "seed = 99\n[[classifier]]\nepochs = 3\n").unwrap();
        let named = path.to_str().unwrap();
        let flag = format!("convminer train --data d.csv --config {named}");
        let variable = [("CONVMINER_CONFIG", named)];
        let variables = [("CONVMINER_CONFIG", named), ("CONVMINER_EPOCHS", "5")];
        let file = format!("[train]\ndata = 'd.csv'\nepochs = 2\nconfig = '{named}'\n");
        let elsewhere = "[train]\ndata = 'd.csv'\nepochs = 2\nbatch-size = 8\n";
        let regressors = TrainConfig::default().regressor;
        let regressors = regressors.iter().map(|it| format!(", {} (regressor)", it.epochs));
        let stages = format!("3 (classifier){}", regressors.collect::<String>());
        let (plain, stages) = ("convminer train", stages.as_str());
        let over = format!("{flag} --epochs 6");
        for (line, variables, file, epochs, seed, given) in [
            (plain, &[][..], file.as_str(), "2", "99", Some(2)),
            (plain, &variable, elsewhere, stages, "99", None),
            // clap itself looks into the environment of the tests, which has no such variable.
            (plain, &variables, elsewhere, "5", "99", None),
            (&flag, &[], elsewhere, stages, "99", None),
            (&over, &variables, elsewhere, "6", "99", Some(6)),
            (plain, &[], elsewhere, "2", "7", Some(2)),
        ] {
            let layers = layers(line, variables, file).unwrap();
            let value = |name| layers.resolve(Some("train"), &arg_of("train", name));
            let shown = value("epochs");
            assert_eq!(shown.value.as_deref(), Some(epochs), "{line} {file}");
            assert_eq!(shown.source == Source::Training(path.clone()), epochs == stages);
            assert_eq!(shown.problem, None);
            assert_eq!(value("seed").value.as_deref(), Some(seed));
            let epochs = layers.training().classifier[0].epochs;
            let default = TrainConfig::default().classifier[0].epochs;
            assert_eq!(epochs, if seed == "99" { 3 } else { default });
            // What the configuration does not state is left to the file.
            let batch_size = if file == elsewhere { "8" } else { "256" };
            assert_eq!(value("batch-size").value.as_deref(), Some(batch_size));
            let matches = layers.applied(tree()).try_get_matches_from(arguments(line)).unwrap();
            let train = matches.subcommand_matches("train").unwrap();
            assert_eq!(train.get_one::<usize>("epochs").copied(), given, "{line} {file}");
        }
    }

    #[test]
    fn the_file_is_a_default_and_satisfies_what_is_required() {
        let layers = layers("convminer completions", &[], "shell = 'zsh'\nverbose = 2").unwrap();
        let tree = layers.applied(tree());
        let matches = tree.try_get_matches_from(arguments("convminer completions")).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        assert_eq!(cli.global.verbose, 2);
        assert!(matches.subcommand_matches("completions").is_some());
    }

    #[test]
    fn a_bad_variable_is_told_only_if_it_is_used() {
        let bad = [("CONVMINER_COLOR", "pink")];
        let error = layers("convminer config", &bad, "").unwrap_err();
        assert_eq!(
            render(&error, false),
            "error: environment variable CONVMINER_COLOR: invalid value `pink` for `color`: \
             expected one of auto, always, never"
        );
        assert!(layers("convminer config --color auto", &bad, "").is_ok());
        assert!(layers("convminer config", &[("CONVMINER_SHELL", "none")], "").is_ok());
    }

    #[test]
    fn a_variable_that_sets_nothing_is_warned_of() {
        let variables = environment(&[
            ("CONVMINER_COLOUR", "never"),
            ("CONVMINER_WHATEVER_ELSE", "1"),
            ("CONVMINER_QUIET", "1"),
            ("CONVMINER_EMPTY", ""),
            ("HOME", "/"),
        ]);
        assert_eq!(
            variables.warnings(&tree()),
            [
                "environment variable CONVMINER_COLOUR is no setting; did you mean CONVMINER_COLOR?",
                "environment variable CONVMINER_WHATEVER_ELSE is no setting",
            ]
        );
    }

    #[test]
    fn help_and_mistakes_are_left_to_clap() {
        for (line, expected) in [
            ("convminer train --help", clap::error::ErrorKind::DisplayHelp),
            ("convminer --version", clap::error::ErrorKind::DisplayVersion),
            ("convminer trian", clap::error::ErrorKind::InvalidSubcommand),
            ("convminer config --jsn", clap::error::ErrorKind::UnknownArgument),
        ] {
            match parse(&arguments(line), Environment::default()) {
                Err(Failure::Usage(error)) => assert_eq!(error.kind(), expected, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}

//! `convminer.toml`: read, and checked against the flags that exist.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, anyhow};
use clap::{Arg, Command};
use toml::de::{DeTable, DeValue};

use super::error::WithHint as _;
use super::flag::{self, Kind};
use crate::nearest::nearest;

/// The file that is read when no other is named.
pub(super) const DEFAULT_PATH: &str = "convminer.toml";

/// The flag that names the file, and that the file can therefore not set.
pub(super) const CONFIG_FILE: &str = "config-file";

/// The settings of one file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    /// Where it was read from.
    pub(super) path: PathBuf,
    entries: Vec<Entry>,
}

/// One key of the file.
#[derive(Debug)]
struct Entry {
    /// The command whose table it stands in; none at the top, which is meant for all of them.
    command: Option<String>,
    /// The flag, in canonical spelling.
    flag: String,
    values: Vec<String>,
    line: usize,
}

impl ConfigFile {
    /// Reads the file that the user named or, if they named none, the one in the current directory
    /// if there is one. `tree` is the command line whose flags it may set.
    pub(super) fn find(named: Option<&Path>, tree: &Command) -> anyhow::Result<Option<Self>> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text, tree).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
            Err(error) => Err(error)
                .with_context(|| format!("cannot read settings from `{}`", path.display())),
        }
    }

    fn parse(path: &Path, text: &str, tree: &Command) -> anyhow::Result<Self> {
        let document = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            anyhow!("{}, line {line}: {}", path.display(), error.message())
        })?;
        let mut reader = Reader { path, text, tree, entries: Vec::new() };
        reader.table(document.get_ref(), None, "")?;
        Ok(ConfigFile { path: path.to_owned(), entries: reader.entries })
    }

    /// What the file says of a flag, for one command or, with none, at its top.
    pub(super) fn values(&self, command: Option<&str>, arg: &Arg) -> Option<&[String]> {
        let flag = flag::canonical(flag::name(arg));
        self.entries
            .iter()
            .find(|entry| entry.command.as_deref() == command && entry.flag == flag)
            .map(|entry| entry.values.as_slice())
    }
}

/// The number of the line that holds a byte, from 1.
fn line_at(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|byte| *byte == b'\n').count()
}

/// Walks through a document and collects its entries.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    tree: &'a Command,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    fn table(
        &mut self,
        table: &DeTable<'_>,
        command: Option<&Command>,
        prefix: &str,
    ) -> anyhow::Result<()> {
        for (key, value) in table {
            let line = line_at(self.text, key.span().start);
            let written = format!("{prefix}{}", key.get_ref());
            let section = self
                .tree
                .find_subcommand(key.get_ref().as_ref())
                .filter(|_| command.is_none() && prefix.is_empty());
            match (value.get_ref(), section) {
                (DeValue::Table(inner), Some(section)) => self.table(inner, Some(section), "")?,
                // `[axon]` with `port` in it is the flag `axon.port`.
                (DeValue::Table(inner), None) => {
                    self.known_prefix(&written, command, line)?;
                    self.table(inner, command, &format!("{written}."))?;
                }
                (value, _) => self.entry(&written, value, command, line)?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        written: &str,
        value: &DeValue<'_>,
        command: Option<&Command>,
        line: usize,
    ) -> anyhow::Result<()> {
        let flag = flag::canonical(written);
        let command_name = command.map(|command| command.get_name().to_owned());
        let known = self.args(command, &flag);
        if flag == CONFIG_FILE {
            return Err(anyhow!("{}: `{written}` cannot be set in the file itself", self.at(line)));
        }
        let Some(first) = known.first() else {
            self.no_table(written, value, command, line)?;
            return Err(self.unknown(written, command, line));
        };
        // A list only where all of them take one: a flag of this name may take one value alone.
        let strictest = known.iter().find(|arg| !flag::takes_many(arg)).unwrap_or(first);
        let values = values_of(strictest, value)
            .map_err(|problem| anyhow!("{}: `{written}` {problem}", self.at(line)))?;
        for arg in &known {
            for value in &values {
                flag::check(arg, value.as_ref()).map_err(|reason| {
                    let value = flag::shown(arg, value.as_ref());
                    anyhow!("{}: invalid value `{value}` for `{written}`: {reason}", self.at(line))
                })?;
            }
        }
        let twin = self
            .entries
            .iter()
            .find(|entry| entry.command == command_name && entry.flag == flag)
            .map(|entry| entry.line);
        if let Some(twin) = twin {
            return Err(anyhow!("{}: `{written}` is also set on line {twin}", self.at(line)));
        }
        self.entries.push(Entry { command: command_name, flag, values, line });
        Ok(())
    }

    /// The arguments that a key sets: in one command, or in all that have such a flag. Flags of the
    /// program itself can be set for one command, too.
    fn args(&self, command: Option<&Command>, flag: &str) -> Vec<&Arg> {
        let everywhere = flag::settings(self.tree);
        let named = |arg: &&Arg| flag::canonical(flag::name(arg)) == flag;
        match command {
            Some(command) => {
                let own = self.tree.find_subcommand(command.get_name()).into_iter();
                everywhere.chain(own.flat_map(flag::settings)).filter(named).collect()
            }
            None => {
                let all = self.tree.get_subcommands().flat_map(flag::settings);
                everywhere.chain(all).filter(named).collect()
            }
        }
    }

    fn at(&self, line: usize) -> String {
        format!("{}, line {line}", self.path.display())
    }

    /// Refuses a table that neither is a command nor begins the name of a flag.
    fn known_prefix(
        &self,
        written: &str,
        command: Option<&Command>,
        line: usize,
    ) -> anyhow::Result<()> {
        let start = format!("{}.", flag::canonical(written));
        let names = self.names(command);
        if names.iter().any(|name| flag::canonical(name).starts_with(&start)) {
            return Ok(());
        }
        if !self.args(command, &flag::canonical(written)).is_empty() {
            return Err(anyhow!("{}: `{written}` takes a value, found a table", self.at(line)));
        }
        Err(self.unknown(written, command, line))
    }

    /// Refuses a value that is no table where only a table can be.
    fn no_table(
        &self,
        written: &str,
        value: &DeValue<'_>,
        command: Option<&Command>,
        line: usize,
    ) -> anyhow::Result<()> {
        let start = format!("{}.", flag::canonical(written));
        let names = self.names(command);
        let member = names.iter().find(|name| flag::canonical(name).starts_with(&start));
        let is_command = command.is_none() && self.tree.find_subcommand(written).is_some();
        let hint = match member {
            Some(member) => format!("it holds settings, such as {member}"),
            None if is_command => format!("use [{written}]"),
            None => return Ok(()),
        };
        let found = described(value);
        let error = anyhow!("{}: `{written}` takes a table, found {found}", self.at(line));
        Err(error).with_hint(|| hint)
    }

    /// Every key that is valid in a table.
    fn names(&self, command: Option<&Command>) -> Vec<&str> {
        let everywhere = flag::settings(self.tree).map(flag::name);
        let mut names: Vec<&str> = match command.map(Command::get_name) {
            Some(command) => {
                let own = self.tree.find_subcommand(command).into_iter();
                everywhere.chain(own.flat_map(flag::settings).map(flag::name)).collect()
            }
            None => {
                let flags = self.tree.get_subcommands().flat_map(flag::settings).map(flag::name);
                let commands = self.tree.get_subcommands().map(Command::get_name);
                everywhere.chain(flags).chain(commands).collect()
            }
        };
        names.retain(|name| *name != CONFIG_FILE);
        names
    }

    fn unknown(&self, written: &str, command: Option<&Command>, line: usize) -> anyhow::Error {
        let table =
            command.map_or(String::new(), |command| format!(" in [{}]", command.get_name()));
        let error = Err::<(), _>(anyhow!("{}: unknown key `{written}`{table}", self.at(line)));
        let flag = flag::canonical(written);
        let owner = self.tree.get_subcommands().find(|command| {
            let mut names = flag::settings(command).map(|arg| flag::canonical(flag::name(arg)));
            names.any(|name| name == flag || name.starts_with(&format!("{flag}.")))
        });
        let hinted = if let Some(near) = nearest(&flag, self.names(command)) {
            error.with_hint(|| format!("did you mean `{near}`?"))
        } else if let Some(owner) = owner {
            error.with_hint(|| format!("it is a setting of [{}]", owner.get_name()))
        } else {
            error.with_hint(|| "`convminer config` lists every setting")
        };
        hinted.expect_err("it was made from an error. This is a bug.")
    }
}

/// The file's value as the texts that the command line would have.
fn values_of(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(items) if flag::takes_many(arg) => {
            items.iter().map(|item| text_of(arg, item.get_ref())).collect()
        }
        value => text_of(arg, value).map(|text| vec![text]),
    }
}

fn text_of(arg: &Arg, value: &DeValue<'_>) -> Result<String, String> {
    let kind = flag::kind(arg);
    let expected = match (kind, value) {
        (Kind::Text, DeValue::String(text)) => return Ok(text.to_string()),
        (Kind::Boolean, DeValue::Boolean(value)) => return Ok(value.to_string()),
        (Kind::Float, DeValue::Float(number)) => return Ok(number.as_str().to_owned()),
        (Kind::Integer | Kind::Float, DeValue::Integer(number)) => {
            return i128::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| format!("has a number that is too large: {number}"));
        }
        (Kind::Text, _) => "a string",
        (Kind::Boolean, _) => "true or false",
        (Kind::Integer, _) => "an integer",
        (Kind::Float, _) => "a number",
    };
    Err(format!("takes {expected}, found {}", described(value)))
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, value_parser};

    use super::*;
    use crate::cli::error::render;

    fn tree() -> Command {
        let text = |name: &'static str| Arg::new(name).long(name);
        Command::new("convminer")
            .arg(Arg::new("quiet").long("quiet").value_parser(value_parser!(bool)).global(true))
            .arg(text(CONFIG_FILE).global(true))
            .subcommand(
                Command::new("train")
                    .arg(text("data").required(true))
                    .arg(text("epochs").value_parser(value_parser!(u32)))
                    .arg(text("batch-size").value_parser(value_parser!(u32)))
                    .arg(text("lr").value_parser(value_parser!(f64)))
                    .arg(text("config")),
            )
            .subcommand(
                Command::new("serve")
                    .arg(text("axon.port").value_parser(value_parser!(u16)))
                    .arg(text("axon.external_ip"))
                    .arg(text("peer").action(ArgAction::Append)),
            )
            .subcommand(Command::new("config"))
    }

    fn parse(text: &str) -> anyhow::Result<ConfigFile> {
        ConfigFile::parse(Path::new("c.toml"), text, &tree())
    }

    fn values(file: &ConfigFile, command: Option<&str>, flag: &'static str) -> Option<String> {
        file.values(command, &Arg::new(flag).long(flag)).map(|values| values.join(","))
    }

    #[test]
    fn keys_can_be_written_in_many_ways() {
        let file = parse(
            "data = 'top'\nconfig = 'train.toml'\n[train]\nbatch_size = 1_000\nlr = 1\nquiet = true\n\
             [serve.axon]\nport = 0x1F\n[serve]\n'axon.external-ip' = '1.2.3.4'\npeer = ['a', 'b']\n",
        )
        .unwrap();
        for (command, flag, expected) in [
            (None, "data", Some("top")),
            (None, "config", Some("train.toml")),
            (Some("train"), "data", None),
            (Some("train"), "batch-size", Some("1000")),
            (Some("train"), "lr", Some("1")),
            (Some("train"), "quiet", Some("true")),
            (Some("serve"), "axon.port", Some("31")),
            (Some("serve"), "axon.external_ip", Some("1.2.3.4")),
            (Some("serve"), "peer", Some("a,b")),
        ] {
            assert_eq!(values(&file, command, flag).as_deref(), expected, "{command:?} {flag}");
        }
        let nested = parse("axon.port = 1\n").unwrap();
        assert_eq!(values(&nested, None, "axon.port").as_deref(), Some("1"));
    }

    #[test]
    fn mistakes_are_named_with_line_and_remedy() {
        for (text, expected) in [
            (
                "[train]\nepoch = 1",
                "error: c.toml, line 2: unknown key `epoch` in [train]\n\
                 hint: did you mean `epochs`?",
            ),
            (
                "\n[trian]\nepochs = 1",
                "error: c.toml, line 2: unknown key `trian`\nhint: did you mean `train`?",
            ),
            (
                "[train]\naxon.port = 1",
                "error: c.toml, line 2: unknown key `axon` in [train]\n\
                 hint: it is a setting of [serve]",
            ),
            (
                "[serve]\nepochs = 1",
                "error: c.toml, line 2: unknown key `epochs` in [serve]\n\
                 hint: it is a setting of [train]",
            ),
            ("epochs = '20'", "error: c.toml, line 1: `epochs` takes an integer, found a string"),
            ("epochs = 2.0", "error: c.toml, line 1: `epochs` takes an integer, found a float"),
            ("data = 5", "error: c.toml, line 1: `data` takes a string, found an integer"),
            ("data = ['x']", "error: c.toml, line 1: `data` takes a string, found an array"),
            ("[epochs]\na = 1", "error: c.toml, line 1: `epochs` takes a value, found a table"),
            (
                "[serve]\naxon = 5",
                "error: c.toml, line 2: `axon` takes a table, found an integer\n\
                 hint: it holds settings, such as axon.port",
            ),
            (
                "\n[[train]]\nepochs = 1",
                "error: c.toml, line 2: `train` takes a table, found an array\n\
                 hint: use [train]",
            ),
            (
                "train = 5",
                "error: c.toml, line 1: `train` takes a table, found an integer\n\
                 hint: use [train]",
            ),
            (
                "[train]\naxon = 5",
                "error: c.toml, line 2: unknown key `axon` in [train]\n\
                 hint: it is a setting of [serve]",
            ),
            (
                "[[serve.axon]]\nport = 1",
                "error: c.toml, line 1: `axon` takes a table, found an array\n\
                 hint: it holds settings, such as axon.port",
            ),
            ("quiet = 1", "error: c.toml, line 1: `quiet` takes true or false, found an integer"),
            (
                "[serve]\n\naxon.port = 70000",
                "error: c.toml, line 3: invalid value `70000` for `axon.port`: \
                 70000 is not in 0..=65535",
            ),
            (
                "[train]\nbatch-size = 1\nbatch_size = 2",
                "error: c.toml, line 3: `batch_size` is also set on line 2",
            ),
            (
                "config-file = 'x'",
                "error: c.toml, line 1: `config-file` cannot be set in the file itself",
            ),
        ] {
            assert_eq!(render(&parse(text).unwrap_err(), false), expected, "{text}");
        }
    }

    #[test]
    fn broken_toml_says_where() {
        let error = parse("a = 1\nb = = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("c.toml, line 2: "), "{error}");
    }

    #[test]
    fn a_named_file_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.toml");
        let error = ConfigFile::find(Some(&path), &tree()).unwrap_err();
        assert!(error.to_string().contains("none.toml"), "{error}");
    }
}

//! `convminer config`: what every command would run with, and where that comes from.

use std::fmt::Write as _;

use anyhow::anyhow;
use clap::{Arg, Command};
use serde_json::{Map, Value, json};

use super::ExitStatus;
use super::error::WithHint as _;
use super::flag::{self, Kind};
use super::printer::Printer;
use super::settings::{self, Layers, Resolved, Source};
use crate::nearest::nearest;

/// The arguments of `convminer config`.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Show this command's settings alone
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
    /// Print JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    pub json: bool,
}

/// The settings of one command, or of all.
struct Section {
    command: Option<String>,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    kind: Kind,
    required: bool,
    resolved: Resolved,
}

/// Prints the settings; the answer is "no" if one of them is not valid.
///
/// # Errors
/// When there is no such command or stdout cannot be written.
pub(super) fn run(
    args: ConfigArgs,
    layers: &Layers,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let tree = settings::tree();
    let commands = chosen(&tree, args.command.as_deref())?;
    let mut sections = vec![Section::everywhere(layers, &tree)];
    sections.extend(commands.into_iter().map(|command| Section::of(layers, &tree, command)));
    if args.json {
        printer.out(serde_json::to_string_pretty(&as_json(layers, &sections))?)?;
    } else {
        printer.out(as_table(layers, &sections))?;
    }
    let mut rows = sections.iter().flat_map(|section| &section.rows);
    let is_valid = rows.all(|row| row.resolved.problem.is_none());
    Ok(if is_valid { ExitStatus::Success } else { ExitStatus::No })
}

/// The commands to show.
fn chosen<'a>(tree: &'a Command, name: Option<&str>) -> anyhow::Result<Vec<&'a Command>> {
    let Some(name) = name else { return Ok(tree.get_subcommands().collect()) };
    if let Some(command) = tree.find_subcommand(name) {
        return Ok(vec![command]);
    }
    let names: Vec<&str> = tree.get_subcommands().map(Command::get_name).collect();
    Err(anyhow!("there is no command `{name}`")).with_hint(|| {
        match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the commands are {}", names.join(", ")),
        }
    })
}

impl Section {
    fn everywhere(layers: &Layers, tree: &Command) -> Self {
        let rows = flag::settings(tree).map(|arg| Row::of(layers, None, arg)).collect();
        Section { command: None, rows }
    }

    /// The command's own settings, and those of every command that the file sets for this one.
    fn of(layers: &Layers, tree: &Command, command: &Command) -> Self {
        let name = command.get_name();
        let overridden = flag::settings(tree).filter(|arg| layers.is_overridden(name, arg));
        let rows = flag::settings(command)
            .chain(overridden)
            .map(|arg| Row::of(layers, Some(name), arg))
            .collect();
        Section { command: Some(name.to_owned()), rows }
    }
}

impl Row {
    fn of(layers: &Layers, command: Option<&str>, arg: &Arg) -> Self {
        Row {
            name: flag::name(arg).to_owned(),
            kind: flag::kind(arg),
            required: arg.is_required_set(),
            resolved: layers.resolve(command, arg),
        }
    }

    fn shown_source(&self) -> String {
        let mut text = self.resolved.source.to_string();
        if self.resolved.source == Source::Unset && self.required {
            text.push_str(" (required)");
        }
        if let Some(problem) = &self.resolved.problem {
            text.push_str(&format!(" (invalid: {problem})"));
        }
        text
    }

    /// The value as JSON has it: a number where the flag takes one.
    fn json_value(&self) -> Value {
        let Some(text) = &self.resolved.value else { return Value::Null };
        let parsed = match self.kind {
            Kind::Boolean => flag::boolean(text).map(Value::from),
            Kind::Integer => text.parse::<i64>().ok().map(Value::from),
            Kind::Float => text.parse::<f64>().ok().map(Value::from),
            Kind::Text => None,
        };
        parsed.unwrap_or_else(|| Value::from(text.as_str()))
    }

    fn as_json(&self) -> Value {
        let (source, from) = match &self.resolved.source {
            Source::Flag => ("flag", None),
            Source::Environment(variable) => ("environment", Some(variable.clone())),
            Source::File(path) | Source::Training(path) => {
                ("file", Some(path.display().to_string()))
            }
            Source::Default => ("default", None),
            Source::Unset => ("unset", None),
        };
        let mut fields = Map::new();
        fields.insert("value".to_owned(), self.json_value());
        fields.insert("source".to_owned(), source.into());
        if let Some(from) = from {
            fields.insert("from".to_owned(), from.into());
        }
        if self.required {
            fields.insert("required".to_owned(), true.into());
        }
        if let Some(problem) = &self.resolved.problem {
            fields.insert("problem".to_owned(), problem.as_str().into());
        }
        fields.into()
    }
}

fn as_json(layers: &Layers, sections: &[Section]) -> Value {
    let fields = |section: &Section| -> Map<String, Value> {
        section.rows.iter().map(|row| (row.name.clone(), row.as_json())).collect()
    };
    let mut everywhere = Map::new();
    let mut commands = Map::new();
    for section in sections {
        match &section.command {
            None => everywhere = fields(section),
            Some(command) => {
                commands.insert(command.clone(), fields(section).into());
            }
        }
    }
    let file = layers.file_path().map(|path| path.display().to_string());
    json!({ "file": file, "every_command": everywhere, "commands": commands })
}

fn as_table(layers: &Layers, sections: &[Section]) -> String {
    let rows = || sections.iter().flat_map(|section| &section.rows);
    let widest = |length: fn(&Row) -> usize| rows().map(length).max().unwrap_or(0);
    let name_width = widest(|row| row.name.chars().count());
    let value_width = widest(|row| shown_value(row).chars().count());
    let mut text = match layers.file_path() {
        Some(path) => format!("file: {}\n", path.display()),
        None => "file: none\n".to_owned(),
    };
    for section in sections.iter().filter(|section| !section.rows.is_empty()) {
        let title = section.command.as_deref().unwrap_or("every command");
        let _ = writeln!(text, "\n{title}");
        for row in &section.rows {
            let (name, value, source) = (&row.name, shown_value(row), row.shown_source());
            let _ = writeln!(text, "  {name:name_width$}  {value:value_width$}  {source}");
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn shown_value(row: &Row) -> &str {
    row.resolved.value.as_deref().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, kind: Kind, value: Option<&str>, source: Source) -> Row {
        let resolved = Resolved { value: value.map(str::to_owned), source, problem: None };
        Row { name: name.to_owned(), kind, required: true, resolved }
    }

    fn example() -> Vec<Section> {
        let variable = Source::Environment("CONVMINER_EPOCHS".to_owned());
        let mut port = row("axon.port", Kind::Integer, Some("x"), Source::File("c.toml".into()));
        port.resolved.problem = Some("invalid digit".to_owned());
        let quiet = row("quiet", Kind::Boolean, Some("1"), Source::Flag);
        let rows = vec![
            row("data", Kind::Text, None, Source::Unset),
            row("epochs", Kind::Integer, Some("20"), variable),
            port,
        ];
        vec![
            Section { command: None, rows: vec![quiet] },
            Section { command: Some("train".to_owned()), rows },
        ]
    }

    #[test]
    fn the_table_is_aligned() {
        insta::assert_snapshot!(as_table(&Layers::default(), &example()), @"
        file: none

        every command
          quiet      1   flag

        train
          data       -   unset (required)
          epochs     20  environment CONVMINER_EPOCHS
          axon.port  x   c.toml (invalid: invalid digit)
        ");
    }

    #[test]
    fn json_has_types() {
        let value = as_json(&Layers::default(), &example());
        assert_eq!(value["every_command"]["quiet"]["value"], json!(true));
        assert_eq!(
            value["commands"]["train"],
            json!({
                "data": {"value": null, "source": "unset", "required": true},
                "epochs": {"value": 20, "source": "environment", "from": "CONVMINER_EPOCHS",
                           "required": true},
                "axon.port": {"value": "x", "source": "file", "from": "c.toml",
                              "required": true, "problem": "invalid digit"},
            })
        );
    }

    #[test]
    fn a_mistyped_command_is_told() {
        let tree = settings::tree();
        let error = chosen(&tree, Some("trian")).unwrap_err();
        assert_eq!(
            crate::cli::error::render(&error, false),
            "error: there is no command `trian`\nhint: did you mean `train`?"
        );
        assert_eq!(chosen(&tree, Some("train")).unwrap().len(), 1);
    }
}

//! Puts a table together, cell by cell, and judges it at the end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::columns::{Columns, Role};
use super::{LabelMode, Table, TableError, Unreadable, Warning};
use crate::features::Conversation;
use crate::features::reader::parse_text;
use crate::subnet::reward::{NOT_CONVERTED, Truth};
use crate::subnet::schema::{FEATURES, LABEL_CONVERTED, LABEL_TIME_SECONDS};

/// So many unreadable values are shown.
const EXAMPLES: usize = 5;

/// One value of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Missing,
    Number(f64),
    Text(&'a str),
    /// Neither, described in a word.
    Other(&'a str),
}

impl Cell<'_> {
    /// The number, none where there is none, or what is there instead.
    pub(super) fn number(self) -> Result<Option<f64>, String> {
        match self {
            Cell::Missing => Ok(None),
            Cell::Number(number) => Ok(Some(number)),
            Cell::Text(text) => parse_text(text).map_err(|_| format!("{text:?}")),
            Cell::Other(what) => Err(what.to_owned()),
        }
    }
}

/// A label before it is judged.
#[derive(Debug, Clone, Copy)]
struct Label {
    converted: Option<bool>,
    time_seconds: f64,
}

#[derive(Debug)]
pub(super) struct Builder {
    pub(super) path: PathBuf,
    labels: LabelMode,
    columns: Columns,
    session_ids: Vec<Option<String>>,
    conversations: Vec<Conversation>,
    /// As long as `conversations` if labels are read, else empty.
    found_labels: Vec<Label>,
    unreadable: usize,
    unreadable_first: Vec<Unreadable>,
}

impl Builder {
    pub(super) fn new(path: &Path, labels: LabelMode) -> Builder {
        Builder {
            path: path.to_owned(),
            labels,
            columns: Columns::default(),
            session_ids: Vec::new(),
            conversations: Vec::new(),
            found_labels: Vec::new(),
            unreadable: 0,
            unreadable_first: Vec::new(),
        }
    }

    pub(super) fn with_labels(&self) -> bool {
        self.labels != LabelMode::Ignored
    }

    /// Sets which columns there are, and gives back those that are needed.
    pub(super) fn set_columns(
        &mut self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Vec<(String, Role)>, TableError> {
        self.columns = Columns::pick(names, self.with_labels(), &self.path)?;
        self.columns.check(self.with_labels(), &self.path)?;
        Ok(self.columns.needed.clone())
    }

    /// Sets which columns there are, where that is known only after the last row.
    pub(super) fn set_columns_unchecked(&mut self, columns: Columns) {
        self.columns = columns;
    }

    /// How many rows there are so far.
    pub(super) fn rows(&self) -> usize {
        self.conversations.len()
    }

    /// Adds rows of which nothing is known yet.
    pub(super) fn add_rows(&mut self, count: usize) {
        let rows = self.rows() + count;
        self.session_ids.resize(rows, None);
        self.conversations.resize(rows, Conversation::EMPTY);
        if self.with_labels() {
            let unknown = Label { converted: None, time_seconds: f64::NAN };
            self.found_labels.resize(rows, unknown);
        }
    }

    pub(super) fn set_session(&mut self, index: usize, id: Option<String>) {
        self.session_ids[index] = id.filter(|id| !id.trim().is_empty());
    }

    pub(super) fn set_conversation(&mut self, index: usize, conversation: Conversation) {
        self.conversations[index] = conversation;
    }

    pub(super) fn set_feature(&mut self, index: usize, feature: usize, cell: Cell<'_>) {
        match cell.number() {
            Ok(Some(number)) => self.conversations[index].set(feature, number),
            Ok(None) => {}
            Err(value) => self.report(index, FEATURES[feature].name, value),
        }
    }

    /// Takes note of a value that is no number.
    pub(super) fn report(&mut self, index: usize, feature: &'static str, value: String) {
        self.unreadable += 1;
        if self.unreadable_first.len() < EXAMPLES {
            self.unreadable_first.push(Unreadable { row: index + 1, feature, value });
        }
    }

    pub(super) fn set_class(&mut self, index: usize, cell: Cell<'_>) -> Result<(), TableError> {
        let wrong = |value: String| TableError::Class {
            path: self.path.clone(),
            column: LABEL_CONVERTED.name,
            row: index + 1,
            value,
        };
        let converted = match cell.number().map_err(wrong)? {
            None => None,
            Some(number) if number.is_nan() => None,
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            Some(number) => return Err(wrong(number.to_string())),
        };
        self.found_labels[index].converted = converted;
        Ok(())
    }

    pub(super) fn set_time(&mut self, index: usize, cell: Cell<'_>) -> Result<(), TableError> {
        let time = cell.number().map_err(|value| TableError::Time {
            path: self.path.clone(),
            column: LABEL_TIME_SECONDS.name,
            row: index + 1,
            value,
        })?;
        self.found_labels[index].time_seconds = time.unwrap_or(f64::NAN);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Table, TableError> {
        if self.conversations.is_empty() {
            return Err(TableError::NoRows { path: self.path });
        }
        self.columns.check(self.with_labels(), &self.path)?;
        let mut warnings = Vec::new();
        let missing_required = self.columns.missing_required();
        if !missing_required.is_empty() {
            warnings.push(Warning::MissingRequired { columns: missing_required });
        }
        if self.unreadable > 0 {
            let first = std::mem::take(&mut self.unreadable_first);
            warnings.push(Warning::Unreadable { count: self.unreadable, first });
        }
        let truths = match self.labels {
            LabelMode::Ignored => None,
            LabelMode::Required { drop_invalid } => {
                Some(self.judge_labels(drop_invalid, &mut warnings)?)
            }
        };
        warnings.extend(duplicates(&self.session_ids));
        Ok(Table {
            session_ids: self.session_ids,
            conversations: self.conversations,
            truths,
            warnings,
        })
    }

    /// Turns the labels into truths, and leaves out or refuses the rows without a usable one.
    fn judge_labels(
        &mut self,
        drop_invalid: bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Truth>, TableError> {
        let truths: Vec<Option<Truth>> = self.found_labels.iter().map(Label::truth).collect();
        let unlabelled = positions(&self.found_labels, |label| label.converted.is_none());
        let untimed = positions(&self.found_labels, Label::is_untimed);
        if !drop_invalid {
            self.refuse(unlabelled, untimed)?;
        }
        let dropped = unlabelled.0 + untimed.0;
        if dropped > 0 {
            let mut keep = truths.iter().map(Option::is_some);
            self.conversations.retain(|_| keep.next().unwrap_or(true));
            let mut keep = truths.iter().map(Option::is_some);
            self.session_ids.retain(|_| keep.next().unwrap_or(true));
            warnings.push(Warning::Dropped { unlabelled: unlabelled.0, untimed: untimed.0 });
        }
        let truths: Vec<Truth> = truths.into_iter().flatten().collect();
        let Some(first) = truths.first() else {
            return Err(TableError::NoRowsLeft { path: self.path.clone(), dropped });
        };
        let converted = first.converted;
        if truths.iter().all(|truth| truth.converted == converted) {
            warnings.push(Warning::OneClass { converted });
        }
        Ok(truths)
    }

    /// An error if there are rows without a class or, of converted ones, without a time.
    fn refuse(
        &self,
        unlabelled: (usize, usize),
        untimed: (usize, usize),
    ) -> Result<(), TableError> {
        if let (count @ 1.., first) = unlabelled {
            return Err(TableError::Unlabelled {
                path: self.path.clone(),
                column: LABEL_CONVERTED.name,
                count,
                first_row: first + 1,
            });
        }
        let (count, first) = untimed;
        if count > 0 && !self.columns.has(Role::Time) {
            return Err(self.columns.missing(&LABEL_TIME_SECONDS, &self.path));
        }
        if count > 0 {
            return Err(TableError::Untimed {
                path: self.path.clone(),
                column: LABEL_TIME_SECONDS.name,
                count,
                first_row: first + 1,
            });
        }
        Ok(())
    }
}

impl Label {
    fn has_time(&self) -> bool {
        self.time_seconds.is_finite() && self.time_seconds > 0.0
    }

    fn is_untimed(&self) -> bool {
        self.converted == Some(true) && !self.has_time()
    }

    /// The truth, if the label is one.
    fn truth(&self) -> Option<Truth> {
        match self.converted {
            Some(true) if self.has_time() => Some(Truth::converted_after(self.time_seconds)),
            Some(false) => Some(Truth { converted: false, time_seconds: NOT_CONVERTED }),
            _ => None,
        }
    }
}

/// How many labels are such, and the index of the first; 0 if none is.
fn positions(labels: &[Label], is_such: impl Fn(&Label) -> bool) -> (usize, usize) {
    let mut such = labels.iter().enumerate().filter(|(_, label)| is_such(label));
    match such.next() {
        Some((first, _)) => (1 + such.count(), first),
        None => (0, 0),
    }
}

fn duplicates(session_ids: &[Option<String>]) -> Option<Warning> {
    let mut seen = HashSet::with_capacity(session_ids.len());
    let mut repeated = session_ids.iter().flatten().filter(|id| !seen.insert(id.as_str()));
    let example = repeated.next()?.clone();
    Some(Warning::DuplicateSessions { count: 1 + repeated.count(), example })
}

//! Puts the rows of a table together, cell by cell, judges their labels, and hands them over in
//! chunks.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::columns::{Columns, Role};
use super::{Chunk, LabelMode, ScanOptions, Scanned, TableError, Unreadable, Warning};
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

/// Why reading ended before the table did.
#[derive(Debug)]
pub(super) enum Halt {
    /// Something is wrong with it.
    Failed(TableError),
    /// Who gets the rows wants no more of them.
    Stopped,
}

impl From<TableError> for Halt {
    fn from(error: TableError) -> Halt {
        Halt::Failed(error)
    }
}

/// A label before it is judged.
#[derive(Debug, Clone, Copy)]
struct Label {
    converted: Option<bool>,
    time_seconds: f64,
}

/// Rows with the same fault: how many there are, and the first of them, counted from 0.
#[derive(Debug, Clone, Copy, Default)]
struct Faulty {
    count: usize,
    first: usize,
}

impl Faulty {
    fn add(&mut self, row: usize) {
        if self.count == 0 {
            self.first = row;
        }
        self.count += 1;
    }
}

/// The rows that are being read, and what is known of those before.
pub(super) struct Builder<'v> {
    pub(super) path: PathBuf,
    options: ScanOptions,
    visit: &'v mut dyn FnMut(Chunk) -> ControlFlow<()>,
    columns: Columns,
    session_ids: Vec<Option<String>>,
    conversations: Vec<Conversation>,
    /// As long as `conversations` if labels are read, else empty.
    found_labels: Vec<Label>,
    /// Rows that were judged before these.
    rows_before: usize,
    /// Rows that were handed over, and how many of them converted.
    kept: usize,
    converted: usize,
    unlabelled: Faulty,
    untimed: Faulty,
    unreadable: usize,
    unreadable_first: Vec<Unreadable>,
}

impl<'v> Builder<'v> {
    pub(super) fn new(
        path: &Path,
        options: ScanOptions,
        visit: &'v mut dyn FnMut(Chunk) -> ControlFlow<()>,
    ) -> Builder<'v> {
        Builder {
            path: path.to_owned(),
            options,
            visit,
            columns: Columns::default(),
            session_ids: Vec::new(),
            conversations: Vec::new(),
            found_labels: Vec::new(),
            rows_before: 0,
            kept: 0,
            converted: 0,
            unlabelled: Faulty::default(),
            untimed: Faulty::default(),
            unreadable: 0,
            unreadable_first: Vec::new(),
        }
    }

    pub(super) fn with_labels(&self) -> bool {
        self.options.labels != LabelMode::Ignored
    }

    pub(super) fn with_session_ids(&self) -> bool {
        self.options.session_ids
    }

    /// Rows of a chunk, about.
    pub(super) fn chunk_rows(&self) -> usize {
        self.options.chunk_rows.max(1)
    }

    /// Sets which columns there are, and gives back those that are needed.
    pub(super) fn set_columns(
        &mut self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Vec<(String, Role)>, TableError> {
        self.columns = Columns::pick(names, self.with_labels(), &self.path)?;
        self.columns.check(self.with_labels(), &self.path)?;
        let wanted = |role: &Role| self.options.session_ids || *role != Role::Session;
        Ok(self.columns.needed.iter().filter(|(_, role)| wanted(role)).cloned().collect())
    }

    /// Sets which columns there are, where that is known only after the last row.
    pub(super) fn set_columns_unchecked(&mut self, columns: Columns) {
        self.columns = columns;
    }

    /// How many rows there are in the chunk so far.
    pub(super) fn rows(&self) -> usize {
        self.conversations.len()
    }

    /// Adds rows of which nothing is known yet.
    pub(super) fn add_rows(&mut self, count: usize) {
        let rows = self.rows() + count;
        self.conversations.resize(rows, Conversation::EMPTY);
        if self.options.session_ids {
            self.session_ids.resize(rows, None);
        }
        if self.with_labels() {
            let unknown = Label { converted: None, time_seconds: f64::NAN };
            self.found_labels.resize(rows, unknown);
        }
    }

    pub(super) fn set_session(&mut self, index: usize, id: Option<String>) {
        if let Some(session_id) = self.session_ids.get_mut(index) {
            *session_id = id.filter(|id| !id.trim().is_empty());
        }
    }

    pub(super) fn set_conversation(&mut self, index: usize, conversation: Conversation) {
        self.conversations[index] = conversation;
    }

    /// The conversations from `index` on, for who sets many at once.
    pub(super) fn conversations_from(&mut self, index: usize) -> &mut [Conversation] {
        &mut self.conversations[index..]
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
            let row = self.rows_before + index + 1;
            self.unreadable_first.push(Unreadable { row, feature, value });
        }
    }

    pub(super) fn set_class(&mut self, index: usize, cell: Cell<'_>) -> Result<(), TableError> {
        let wrong = |value: String| TableError::Class {
            path: self.path.clone(),
            column: LABEL_CONVERTED.name,
            row: self.rows_before + index + 1,
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
            row: self.rows_before + index + 1,
            value,
        })?;
        self.found_labels[index].time_seconds = time.unwrap_or(f64::NAN);
        Ok(())
    }

    /// Hands the rows over if they are enough for a chunk.
    pub(super) fn hand_over_full(&mut self) -> Result<(), Halt> {
        if self.rows() < self.chunk_rows() { Ok(()) } else { self.hand_over() }
    }

    /// Hands the rows over that there are; none of them if one of the table has no usable label and
    /// such are not to be left out, for then the table will be refused.
    pub(super) fn hand_over(&mut self) -> Result<(), Halt> {
        let mut chunk = Chunk {
            session_ids: std::mem::take(&mut self.session_ids),
            conversations: std::mem::take(&mut self.conversations),
            truths: None,
        };
        self.rows_before += chunk.len();
        if self.with_labels() {
            self.judge(&mut chunk);
        }
        if chunk.is_empty() || self.is_refused() {
            return Ok(());
        }
        self.kept += chunk.len();
        match (self.visit)(chunk) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Stopped),
        }
    }

    /// Turns labels into truths, and leaves out the rows without a usable one.
    fn judge(&mut self, chunk: &mut Chunk) {
        let labels = std::mem::take(&mut self.found_labels);
        let first_row = self.rows_before - labels.len();
        let truths: Vec<Option<Truth>> = labels.iter().map(Label::truth).collect();
        let mut dropped = 0;
        for (index, label) in
            labels.iter().enumerate().filter(|(index, _)| truths[*index].is_none())
        {
            let kind = if label.is_untimed() { &mut self.untimed } else { &mut self.unlabelled };
            kind.add(first_row + index);
            dropped += 1;
        }
        if dropped > 0 {
            let mut keep = truths.iter().map(Option::is_some);
            chunk.conversations.retain(|_| keep.next().unwrap_or(true));
            let mut keep = truths.iter().map(Option::is_some);
            chunk.session_ids.retain(|_| keep.next().unwrap_or(true));
        }
        let truths: Vec<Truth> = truths.into_iter().flatten().collect();
        self.converted += truths.iter().filter(|truth| truth.converted).count();
        chunk.truths = Some(truths);
    }

    fn is_refused(&self) -> bool {
        let LabelMode::Required { drop_invalid: false } = self.options.labels else {
            return false;
        };
        self.unlabelled.count + self.untimed.count > 0
    }

    /// Hands over the last rows, and judges the table as a whole.
    pub(super) fn finish(mut self) -> Result<Scanned, Halt> {
        if self.rows_before + self.rows() == 0 {
            return Err(TableError::NoRows { path: self.path }.into());
        }
        self.columns.check(self.with_labels(), &self.path)?;
        self.hand_over()?;
        if self.is_refused() {
            return Err(self.refusal().into());
        }
        let mut warnings = Vec::new();
        let missing_required = self.columns.missing_required();
        if !missing_required.is_empty() {
            warnings.push(Warning::MissingRequired { columns: missing_required });
        }
        if self.unreadable > 0 {
            let first = self.unreadable_first;
            warnings.push(Warning::Unreadable { count: self.unreadable, first });
        }
        let (unlabelled, untimed) = (self.unlabelled.count, self.untimed.count);
        if unlabelled + untimed > 0 {
            warnings.push(Warning::Dropped { unlabelled, untimed });
        }
        if self.kept == 0 {
            let dropped = unlabelled + untimed;
            return Err(TableError::NoRowsLeft { path: self.path, dropped }.into());
        }
        Ok(Scanned { rows: self.kept, converted: self.converted, warnings })
    }

    /// What is wrong with rows without a class or, of converted ones, without a time.
    fn refusal(&self) -> TableError {
        if let Faulty { count: count @ 1.., first } = self.unlabelled {
            return TableError::Unlabelled {
                path: self.path.clone(),
                column: LABEL_CONVERTED.name,
                count,
                first_row: first + 1,
            };
        }
        if !self.columns.has(Role::Time) {
            return self.columns.missing(&LABEL_TIME_SECONDS, &self.path);
        }
        let Faulty { count, first } = self.untimed;
        TableError::Untimed {
            path: self.path.clone(),
            column: LABEL_TIME_SECONDS.name,
            count,
            first_row: first + 1,
        }
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

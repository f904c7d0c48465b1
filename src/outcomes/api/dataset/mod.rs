//! The training and test sets of the data API, page by page.

mod page;
mod write;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use polars::error::PolarsError;

use super::caller::{Caller, Missing, Stop};
use super::{Request, Watch};
use page::Page;

pub use page::Row;
pub use write::write;

/// No page is longer.
const MOST_BYTES: u64 = 1 << 28;

/// No set has so many rows.
const FAR: usize = 2_000_000_000;

/// Which set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Conversations whose outcome is known, to learn from.
    Training,
    /// Conversations whose outcome validators ask for.
    Test,
}

impl Set {
    /// Where it is, below the base address. The test set's place is not in the facts of the network.
    pub fn path(self) -> &'static str {
        match self {
            Set::Training => "/bittensor/analytics/training-data",
            Set::Test => "/bittensor/analytics/test-data",
        }
    }
}

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which set.
    pub set: Set,
    /// Its path, below the base address.
    pub path: String,
    /// The round, or else the current one.
    pub round: Option<u64>,
    /// So many rows are asked for at once.
    pub page_rows: usize,
    /// No more rows than these.
    pub most_rows: usize,
}

/// A set as it was fetched.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// The conversations; those that have names, each once.
    pub rows: Vec<Row>,
    /// The round that it belongs to, if the API says so.
    pub round: Option<String>,
    /// When it was made, or until when it may be answered, if the API says so.
    pub date: Option<String>,
    /// How many values are no numbers, and count as missing.
    pub unreadable: usize,
    /// How many rows came more than once.
    pub repeated: usize,
}

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Nothing is there.
    #[error("the data API knows no `{path}`")]
    Unknown {
        /// The path.
        path: String,
    },
    /// There was no usable answer.
    #[error("the data API gave no usable page of rows from row {offset} on: {reason}")]
    Failed {
        /// The page's first row, counted from 0.
        offset: usize,
        /// What happened.
        reason: String,
    },
    /// Nothing more may be asked.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// The set became another one meanwhile.
    #[error(
        "the data API went from round {before} to round {after} while its rows were fetched; \
         fetch them again"
    )]
    Changed {
        /// The round of the first page.
        before: String,
        /// The round of a later one.
        after: String,
    },
    /// It is empty.
    #[error("the data API holds no rows of this set")]
    Empty,
    /// The file cannot be written.
    #[error("`{}`: cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PolarsError,
    },
}

/// Fetches a set, page by page until there are no further rows.
///
/// # Errors
///
/// If a page cannot be had, or the set is empty or changes meanwhile.
pub fn fetch(
    caller: &mut Caller,
    wanted: &Wanted,
    watch: &mut dyn Watch,
) -> Result<Dataset, DatasetError> {
    let mut dataset = Dataset::default();
    let (mut seen, mut last) = (HashSet::new(), Vec::new());
    let mut offset = 0;
    let mut has_pages = false;
    while dataset.rows.len() < wanted.most_rows {
        let page = ask(caller, wanted, offset, watch)?;
        if !has_pages && page.is_unclear() && page.is(&last) {
            has_pages = knows_pages(caller, wanted, watch)?;
            if !has_pages {
                break;
            }
        }
        let rows = page.rows.len();
        offset += rows;
        last.clone_from(&page.rows);
        if dataset.take(page, &mut seen)? == 0 {
            break;
        }
        watch.asked(dataset.rows.len());
        if rows > wanted.page_rows {
            break;
        }
    }
    dataset.rows.truncate(wanted.most_rows);
    if dataset.rows.is_empty() { Err(DatasetError::Empty) } else { Ok(dataset) }
}

/// Whether the API looks at which rows are asked for. One that does not says the same page again; but
/// so may one that does, where rows have no names and are nearly empty, as most are. They differ where
/// there are no rows.
fn knows_pages(
    caller: &mut Caller,
    wanted: &Wanted,
    watch: &mut dyn Watch,
) -> Result<bool, DatasetError> {
    match ask(caller, wanted, FAR, watch) {
        Ok(page) => Ok(page.rows.is_empty()),
        Err(DatasetError::Failed { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

fn ask(
    caller: &mut Caller,
    wanted: &Wanted,
    offset: usize,
    watch: &mut dyn Watch,
) -> Result<Page, DatasetError> {
    let mut query = vec![("limit", wanted.page_rows.to_string()), ("offset", offset.to_string())];
    query.extend(wanted.round.map(|round| ("roundNumber", round.to_string())));
    let request = Request { path: wanted.path.clone(), query, most_bytes: MOST_BYTES };
    let mut waiting = |reason: &str, time: Duration| watch.waiting(reason, time);
    let page = caller.call(&request, &mut |body| page::read(body, wanted.set), &mut waiting);
    page.or_else(|missing| match missing {
        // Some answer so behind the last page.
        Missing::Unknown if offset > 0 => Ok(Page::default()),
        Missing::Unknown => Err(DatasetError::Unknown { path: wanted.path.clone() }),
        Missing::Failed(reason) | Missing::NotNow(reason) => {
            Err(DatasetError::Failed { offset, reason })
        }
        Missing::Stopped(stop) => Err(stop.into()),
    })
}

impl Dataset {
    /// Takes the rows of a page that did not come before, and says how many these are.
    fn take(&mut self, page: Page, seen: &mut HashSet<String>) -> Result<usize, DatasetError> {
        let before = self.rows.len();
        if before == 0 {
            (self.round, self.date) = (page.round.clone(), page.date);
        }
        if let (Some(before), Some(after)) = (&self.round, page.round)
            && *before != after
        {
            return Err(DatasetError::Changed { before: before.clone(), after });
        }
        let count = page.rows.len();
        let is_new = |row: &Row| row.id.as_ref().is_none_or(|id| seen.insert(id.clone()));
        self.rows.extend(page.rows.into_iter().filter(is_new));
        let new = self.rows.len() - before;
        if new > 0 {
            self.repeated += count - new;
            self.unreadable += page.unreadable;
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcomes::api::{Patience, Pause, Response, Transport, TransportError};

    /// Has so many rows, gives so many at once at most, and may know no offset.
    struct Server {
        rows: usize,
        most: usize,
        pages: bool,
        moves_on: bool,
        nameless: bool,
    }

    impl Transport for Server {
        fn get(&mut self, request: &Request) -> Result<Response, TransportError> {
            let parameter = |name: &str| {
                let found = request.query.iter().find(|(found, _)| *found == name);
                found.map_or(0, |(_, value)| value.parse::<usize>().unwrap())
            };
            let offset = if self.pages { parameter("offset") } else { 0 };
            let count = if self.pages { parameter("limit").min(self.most) } else { self.rows };
            let rows = offset.min(self.rows)..(offset + count).min(self.rows);
            let ids: Vec<String> = rows.clone().map(|row| format!("\"{row}\"")).collect();
            let features: Vec<String> = rows.map(|row| format!("[{row}, \"1.5\"]")).collect();
            let empty = vec!["[null, null]"; ids.len()].join(",");
            let (ids, features) = (ids.join(","), features.join(","));
            let names = format!(r#""ids": [{ids}], "#);
            let (names, features) =
                if self.nameless { (String::new(), empty) } else { (names, features) };
            let round = if self.moves_on { offset } else { 4 };
            let body = format!(
                r#"{{"test_features": [{features}], {names}"round_number": {round},
                 "features_list": ["totalMessages", "message_ratio"], "submissionDeadline": "x"}}"#
            );
            Ok(Response { status: 200, body: body.into_bytes(), ..Response::default() })
        }
    }

    struct NoTime;

    impl Pause for NoTime {
        fn now(&self) -> Duration {
            Duration::ZERO
        }
        fn sleep(&mut self, _: Duration) {}
        fn is_stopped(&self) -> bool {
            false
        }
    }

    struct NoWatch;

    impl Watch for NoWatch {
        fn asked(&mut self, _: usize) {}
        fn waiting(&mut self, _: &str, _: Duration) {}
    }

    fn fetch_from(server: Server, most_rows: usize) -> Result<Dataset, DatasetError> {
        let mut caller = Caller::new(server, NoTime, Patience::default(), 1);
        let (set, path) = (Set::Test, "/x".to_owned());
        let wanted = Wanted { set, path, round: None, page_rows: 10, most_rows };
        fetch(&mut caller, &wanted, &mut NoWatch)
    }

    #[test]
    fn all_rows_once_however_the_server_pages() {
        for (rows, most, pages) in [
            (25, 10, true),
            (30, 10, true),
            (25, 4, true),
            (25, 0, false),
            (10, 0, false),
            (3, 0, false),
        ] {
            let dataset = fetch_from(
                Server { rows, most, pages, moves_on: false, nameless: false },
                usize::MAX,
            );
            let dataset = dataset.unwrap();
            let values: Vec<f32> =
                dataset.rows.iter().map(|row| row.conversation.values[15]).collect();
            let expected: Vec<f32> = (0..rows).map(|row| row as f32).collect();
            assert_eq!(values, expected, "{rows} {most} {pages}");
            assert_eq!((dataset.repeated, dataset.unreadable), (0, 0));
            assert_eq!(dataset.round.as_deref(), Some("4"));
            assert_eq!(dataset.date.as_deref(), Some("x"));
        }
        let server = Server { rows: 25, most: 10, pages: true, moves_on: false, nameless: false };
        assert_eq!(fetch_from(server, 12).unwrap().rows.len(), 12);
    }

    #[test]
    fn rows_without_names_are_all_kept_though_they_are_equal() {
        for (rows, most, pages) in [
            (100, 10, true),
            (25, 10, true),
            (25, 4, true),
            (25, 0, false),
            (10, 0, false),
            (3, 0, false),
        ] {
            let server = Server { rows, most, pages, moves_on: false, nameless: true };
            let dataset = fetch_from(server, usize::MAX).unwrap();
            assert_eq!((dataset.rows.len(), dataset.repeated), (rows, 0), "{most} {pages}");
        }
    }

    #[test]
    fn no_rows_and_two_rounds_are_errors() {
        let nameless = false;
        let server = |rows, moves_on| Server { rows, most: 10, pages: true, moves_on, nameless };
        assert!(matches!(fetch_from(server(0, false), 99), Err(DatasetError::Empty)));
        assert!(matches!(fetch_from(server(25, true), 99), Err(DatasetError::Changed { .. })));
    }
}

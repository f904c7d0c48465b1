//! The tuned parameters in force.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::causes::with_causes;
use crate::tune::{self, PARAMETERS, Tunables};

/// The tuning history of a folder, as far as it could be read.
#[derive(Debug)]
pub(super) struct Tuning {
    state_dir: PathBuf,
    current: Tunables,
    /// The file that was read last.
    seen: Option<Option<(u64, Option<SystemTime>)>>,
    refused: Option<String>,
}

impl Tuning {
    /// Nothing is tuned, and nothing was read yet.
    pub(super) fn new(state_dir: &Path) -> Tuning {
        let current = Tunables::default();
        Tuning { state_dir: state_dir.to_owned(), current, seen: None, refused: None }
    }

    /// The values in force.
    pub(super) fn current(&self) -> &Tunables {
        &self.current
    }

    /// The names of the parameters, and their values in force.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, f64)> {
        PARAMETERS.iter().map(|spec| (spec.name, self.current.get(spec.parameter)))
    }

    /// Why the history cannot be used, if so; the values are those before it could not.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Reads the history if it was replaced. Whether there is anything new about it.
    pub(super) fn refresh(&mut self) -> bool {
        let metadata = fs::metadata(tune::history_path(&self.state_dir)).ok();
        let found = metadata.map(|metadata| (metadata.len(), metadata.modified().ok()));
        // One that was refused is tried again each time: it is small, and may be mended in place.
        if self.seen == Some(found) && self.refused.is_none() {
            return false;
        }
        self.seen = Some(found);
        match tune::read_current(&self.state_dir) {
            Ok(current) => {
                let is_other = current != self.current || self.refused.is_some();
                if is_other {
                    let values = Tuning { current, ..Tuning::new(&self.state_dir) };
                    let values: Vec<String> =
                        values.values().map(|(name, value)| format!("{name} {value}")).collect();
                    tracing::info!(values = values.join(", "), "tuned; in force from now on");
                }
                (self.current, self.refused) = (current, None);
                is_other
            }
            Err(error) => {
                let reason = with_causes(&error);
                let is_new = self.refused.as_ref() != Some(&reason);
                if is_new {
                    tracing::warn!(
                        reason,
                        "the tuning history cannot be used; what was tuned stays"
                    );
                }
                self.refused = Some(reason);
                is_new
            }
        }
    }
}

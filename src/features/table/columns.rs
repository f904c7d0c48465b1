//! Which columns of a table are needed.

use std::path::Path;

use super::TableError;
use crate::nearest::distance;
use crate::subnet::schema::{
    Column, FEATURES, LABEL_CONVERTED, LABEL_TIME_SECONDS, SESSION_ID, index_of,
};

/// What a needed column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Session,
    Feature(usize),
    Class,
    Time,
}

impl Role {
    /// What the column `name` is needed for. Spaces around a name are a slip of a CSV header.
    pub(super) fn of(name: &str, with_labels: bool) -> Option<Role> {
        let name = name.trim();
        let label = |column: Column, role| (with_labels && column.is(name)).then_some(role);
        index_of(name)
            .map(Role::Feature)
            .or_else(|| SESSION_ID.is(name).then_some(Role::Session))
            .or_else(|| label(LABEL_CONVERTED, Role::Class))
            .or_else(|| label(LABEL_TIME_SECONDS, Role::Time))
    }
}

/// The columns of a table that are needed, as the table spells them.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) needed: Vec<(String, Role)>,
    found: Vec<String>,
}

impl Columns {
    /// Picks what is needed from the columns of a table.
    pub(super) fn pick(
        names: impl IntoIterator<Item = String>,
        with_labels: bool,
        path: &Path,
    ) -> Result<Columns, TableError> {
        let mut columns = Columns::default();
        for name in names {
            if let Some(first) = columns.add(&name, with_labels) {
                let path = path.to_owned();
                return Err(TableError::SameColumn { path, first, second: name });
            }
        }
        Ok(columns)
    }

    /// Takes note of one more column; gives back the one that it repeats, if it does.
    pub(super) fn add(&mut self, name: &str, with_labels: bool) -> Option<String> {
        self.found.push(name.to_owned());
        let role = Role::of(name, with_labels)?;
        if let Some((first, _)) = self.needed.iter().find(|(_, taken)| *taken == role) {
            return Some(first.clone());
        }
        self.needed.push((name.to_owned(), role));
        None
    }

    /// Checks that there is something to learn from, and to learn.
    pub(super) fn check(&self, with_labels: bool, path: &Path) -> Result<(), TableError> {
        if with_labels && !self.has(Role::Class) {
            return Err(self.missing(&LABEL_CONVERTED, path));
        }
        if !self.needed.iter().any(|(_, role)| matches!(role, Role::Feature(_))) {
            return Err(TableError::NoFeatures {
                path: path.to_owned(),
                found: self.found.clone(),
            });
        }
        Ok(())
    }

    pub(super) fn has(&self, role: Role) -> bool {
        self.needed.iter().any(|(_, found)| *found == role)
    }

    /// The features that should be there and are not.
    pub(super) fn missing_required(&self) -> Vec<&'static str> {
        FEATURES
            .iter()
            .enumerate()
            .filter(|(index, feature)| feature.required && !self.has(Role::Feature(*index)))
            .map(|(_, feature)| feature.name)
            .collect()
    }

    /// The error of a label that is not there.
    pub(super) fn missing(&self, label: &Column, path: &Path) -> TableError {
        TableError::MissingLabel {
            path: path.to_owned(),
            column: label.name,
            nearest: nearest(label.name, &self.found),
            found: self.found.clone(),
        }
    }
}

/// The name most like `wanted`, unless all of them are quite another word. Case and underscores do
/// not count.
fn nearest(wanted: &str, names: &[String]) -> Option<String> {
    let plain = |name: &str| -> String {
        name.chars()
            .filter(|letter| letter.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let target = plain(wanted);
    names
        .iter()
        .filter(|name| index_of(name).is_none())
        .map(|name| (distance(&target, &plain(name)), name))
        .filter(|(distance, _)| distance * 2 < target.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(names: &[&str], with_labels: bool) -> Result<Columns, TableError> {
        let names = names.iter().map(|name| (*name).to_owned());
        Columns::pick(names, with_labels, Path::new("x.csv"))
    }

    #[test]
    fn only_what_is_needed_in_either_spelling() {
        let names = [
            "sessionId",
            " hour_of_day",
            "messageRatio",
            "test_pk",
            "conversion_happened",
            "timeToConversionSeconds",
            "timeToConversionMinutes",
        ];
        let roles = |with_labels| -> Vec<Role> {
            pick(&names, with_labels).unwrap().needed.into_iter().map(|(_, role)| role).collect()
        };
        let features = [Role::Session, Role::Feature(2), Role::Feature(18)];
        assert_eq!(roles(false), features);
        assert_eq!(roles(true), [features.as_slice(), &[Role::Class, Role::Time]].concat());
    }

    #[test]
    fn both_spellings_at_once_are_refused() {
        let error = pick(&["hour_of_day", "hourOfDay"], false).unwrap_err().to_string();
        assert_eq!(
            error,
            "`x.csv`: the columns `hour_of_day` and `hourOfDay` are the same; leave one out"
        );
    }

    #[test]
    fn one_name_twice_is_refused_where_it_matters() {
        let error = pick(&["hour_of_day", "hour_of_day"], false).unwrap_err().to_string();
        assert_eq!(
            error,
            "`x.csv`: the columns `hour_of_day` and `hour_of_day` are the same; leave one out"
        );
        assert_eq!(pick(&["note", "hour_of_day", "note"], false).unwrap().needed.len(), 1);
    }

    #[test]
    fn nearest_names() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        for (found, expected) in [
            (names(&["converted", "conversion_happend"]), Some("conversion_happend")),
            (names(&["Conversion Happened"]), Some("Conversion Happened")),
            (names(&["conversation_happened", "x"]), Some("conversation_happened")),
            (names(&["message_ratio", "label"]), None),
            (names(&[]), None),
        ] {
            assert_eq!(nearest("conversion_happened", &found).as_deref(), expected);
        }
    }
}

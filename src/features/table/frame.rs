//! From polars' columns to conversations.

use polars::prelude::{ArrowDataType, Column, DataFrame, DataType, Float64Chunked, PolarsError};

use super::TableError;
use super::builder::{Builder, Cell};
use super::columns::Role;
use crate::features::Conversation;
use crate::features::conversation::kept;
use crate::subnet::schema::FEATURES;

/// So many rows are filled column by column before the next ones: they stay in the processor's
/// cache meanwhile, which all rows of a slice would not.
const BLOCK: usize = 512;

/// Adds the rows of `frame`, which has all of the `needed` columns.
///
/// `unreadable` makes an error of what polars says.
pub(super) fn append(
    builder: &mut Builder<'_>,
    frame: &DataFrame,
    needed: &[(String, Role)],
    unreadable: impl Fn(PolarsError) -> TableError,
) -> Result<(), TableError> {
    let start = builder.rows();
    builder.add_rows(frame.height());
    let mut features = Vec::new();
    for (name, role) in needed {
        let column = frame.column(name).map_err(&unreadable)?;
        let values = Values::of(column, *role)
            .map_err(&unreadable)?
            .ok_or_else(|| unsupported(builder, name, column.dtype().to_string()))?;
        match (&values, role) {
            (Values::Numbers(column), Role::Feature(feature)) => {
                let numbers = column.f64().map_err(&unreadable)?.rechunk().into_owned();
                features.push((*feature, numbers));
            }
            _ => values.hand_over(builder, start, *role).map_err(&unreadable)??,
        }
    }
    let mut first = 0;
    for rows in builder.conversations_from(start).chunks_mut(BLOCK) {
        for (feature, numbers) in &features {
            set_features(rows, *feature, &numbers.slice(first as i64, rows.len()));
        }
        first += rows.len();
    }
    Ok(())
}

/// Sets one feature of some rows, as [`Builder::set_feature`] would one by one.
fn set_features(rows: &mut [Conversation], feature: usize, numbers: &Float64Chunked) {
    let minus_one_is_missing = FEATURES[feature].minus_one_is_missing;
    if let Ok(numbers) = numbers.cont_slice() {
        for (row, number) in rows.iter_mut().zip(numbers) {
            row.values[feature] = kept(*number, minus_one_is_missing);
        }
    } else {
        for (row, number) in rows.iter_mut().zip(numbers.iter()) {
            row.values[feature] = kept(number.unwrap_or(f64::NAN), minus_one_is_missing);
        }
    }
}

pub(super) fn unsupported(builder: &Builder<'_>, name: &str, found: String) -> TableError {
    TableError::ColumnType { path: builder.path.clone(), column: name.to_owned(), found }
}

/// Whether a column of this type can be read. Polars would refuse the other types of the list with
/// a panic or without the column's name: it is built without 128-bit integers, half floats and decimals.
pub(super) fn is_supported(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as Arrow;
    match dtype {
        Arrow::Dictionary(_, values, _) => is_supported(values),
        other => matches!(
            other,
            Arrow::Null
                | Arrow::Boolean
                | Arrow::Int8
                | Arrow::Int16
                | Arrow::Int32
                | Arrow::Int64
                | Arrow::UInt8
                | Arrow::UInt16
                | Arrow::UInt32
                | Arrow::UInt64
                | Arrow::Float32
                | Arrow::Float64
                | Arrow::Utf8
                | Arrow::LargeUtf8
                | Arrow::Utf8View
        ),
    }
}

/// A column's values in one of the two types that cells are made from.
enum Values {
    Text(Column),
    Numbers(Column),
}

impl Values {
    /// None if the column is of a type that cannot be a number.
    fn of(column: &Column, role: Role) -> Result<Option<Values>, PolarsError> {
        let text = |column: &Column| column.cast(&DataType::String).map(Values::Text).map(Some);
        match column.dtype() {
            // An id may be a number; its text is what counts.
            _ if role == Role::Session => text(column),
            DataType::String | DataType::Categorical(..) | DataType::Enum(..) => text(column),
            dtype if dtype.is_primitive_numeric() || dtype.is_bool() || dtype.is_null() => {
                column.cast(&DataType::Float64).map(Values::Numbers).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Sets the cells from row `start` on. The outer error is of the column, the inner of a value.
    fn hand_over(
        &self,
        builder: &mut Builder<'_>,
        start: usize,
        role: Role,
    ) -> Result<Result<(), TableError>, PolarsError> {
        Ok(match self {
            Values::Text(column) if role == Role::Session => {
                for (offset, id) in column.str()?.iter().enumerate() {
                    builder.set_session(start + offset, id.map(str::to_owned));
                }
                Ok(())
            }
            Values::Text(column) => {
                let cells = column.str()?.iter().map(|text| text.map_or(Cell::Missing, Cell::Text));
                set_all(builder, start, role, cells)
            }
            Values::Numbers(column) => {
                let numbers = column.f64()?.iter();
                let cells = numbers.map(|number| number.map_or(Cell::Missing, Cell::Number));
                set_all(builder, start, role, cells)
            }
        })
    }
}

fn set_all<'a>(
    builder: &mut Builder<'_>,
    start: usize,
    role: Role,
    cells: impl Iterator<Item = Cell<'a>>,
) -> Result<(), TableError> {
    for (index, cell) in (start..).zip(cells) {
        match role {
            Role::Feature(feature) => builder.set_feature(index, feature, cell),
            Role::Class => builder.set_class(index, cell)?,
            Role::Time => builder.set_time(index, cell)?,
            // Ids are text, never cells.
            Role::Session => {}
        }
    }
    Ok(())
}

//! One code path: a request and a table row with the same content are the same to the model.

use std::fs;

use convminer::features::engineer::engineer;
use convminer::features::scaler::Scaler;
use convminer::features::table::{self, LabelMode};
use convminer::features::{Conversation, reader};
use convminer::subnet::schema::{FEATURE_COUNT, FEATURES};
use proptest::prelude::*;

/// A cell as validators and tables write it.
#[derive(Debug, Clone)]
enum Cell {
    Number(f64),
    Text(f64),
    Flag(bool),
    Null,
    NotANumber,
}

impl Cell {
    fn json(&self) -> String {
        match self {
            Cell::Number(value) => format!("{value:?}"),
            Cell::Text(value) => format!("\"{value:?}\""),
            Cell::Flag(flag) => flag.to_string(),
            Cell::Null => "null".to_owned(),
            Cell::NotANumber => "NaN".to_owned(),
        }
    }

    fn csv(&self) -> String {
        match self {
            Cell::Number(value) | Cell::Text(value) => format!("{value:?}"),
            Cell::Flag(flag) => u8::from(*flag).to_string(),
            Cell::Null => String::new(),
            Cell::NotANumber => "NaN".to_owned(),
        }
    }
}

fn cell() -> impl Strategy<Value = Cell> {
    let number = prop_oneof![
        4 => -10.0..2000.0_f64,
        2 => (0..30_i32).prop_map(f64::from),
        2 => Just(-1.0),
        1 => Just(0.0),
        1 => prop::num::f64::NORMAL,
    ];
    prop_oneof![
        6 => number.clone().prop_map(Cell::Number),
        2 => number.prop_map(Cell::Text),
        1 => any::<bool>().prop_map(Cell::Flag),
        1 => Just(Cell::Null),
        1 => Just(Cell::NotANumber),
    ]
}

fn bits(values: &[f32]) -> Vec<u32> {
    // All NaNs are one: missing.
    values.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_requests_are_the_same(
        rows in prop::collection::vec(prop::collection::vec(cell(), FEATURE_COUNT), 1..12),
        camel in any::<bool>(),
    ) {
        let name = |index: usize| if camel { FEATURES[index].camel } else { FEATURES[index].name };
        let requests: Vec<Conversation> = rows
            .iter()
            .map(|row| {
                let entries: Vec<String> = row
                    .iter()
                    .enumerate()
                    .map(|(index, cell)| format!("\"{}\": {}", name(index), cell.json()))
                    .collect();
                let json = format!("{{{}}}", entries.join(", "));
                reader::read(json.as_bytes()).unwrap().conversation
            })
            .collect();

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let header: Vec<&str> = (0..FEATURE_COUNT).map(name).collect();
        let lines: Vec<String> = rows
            .iter()
            .map(|row| row.iter().map(Cell::csv).collect::<Vec<_>>().join(","))
            .collect();
        fs::write(&path, format!("{}\n{}\n", header.join(","), lines.join("\n"))).unwrap();
        let table = table::read(&path, LabelMode::Ignored).unwrap();

        prop_assert_eq!(table.conversations.len(), requests.len());
        let scaler = Scaler::fit(&table.conversations.iter().collect::<Vec<_>>());
        let bulk = scaler.rows(&table.conversations);
        for (index, (from_table, from_request)) in
            table.conversations.iter().zip(&requests).enumerate()
        {
            prop_assert_eq!(bits(&from_table.values), bits(&from_request.values));
            prop_assert_eq!(bits(&engineer(from_table)), bits(&engineer(from_request)));
            let row = scaler.row(from_request);
            prop_assert_eq!(bits(&row), bits(&bulk[index * row.len()..][..row.len()]));
            prop_assert!(row.iter().all(|value| value.is_finite()));
        }
    }
}

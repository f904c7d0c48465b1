//! What `convminer bench train` prints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::features::engineer::INPUT_COUNT;
use crate::train::throughput::cost::{Bound, Cost, Peak};
use crate::train::throughput::{RewardTrial, Speed};

/// One network at one batch size on one device.
pub(super) struct Cell {
    pub(super) network: String,
    pub(super) device: String,
    pub(super) batch_size: usize,
    pub(super) speed: Speed,
}

/// Whole trainings on one device.
pub(super) struct Rewards {
    pub(super) device: String,
    pub(super) wanted: Vec<f64>,
    pub(super) trials: Vec<RewardTrial>,
}

/// All that was measured.
pub(super) struct TrainBench {
    pub(super) cells: Vec<Cell>,
    pub(super) rewards: Vec<Rewards>,
    /// What devices can do at best, by name.
    pub(super) peaks: BTreeMap<String, Peak>,
    pub(super) rows: u32,
    pub(super) reward_rows: u32,
    pub(super) seed: u64,
}

/// What a device could do with a network at best.
struct Floor {
    rows_per_second: f64,
    /// What bounds the network that takes the longest.
    bound: Bound,
}

impl Cell {
    /// The median of the repetitions.
    fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len().is_multiple_of(2) {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        } else {
            sorted[middle]
        }
    }

    /// The slowest repetition and the fastest.
    fn extremes(&self) -> (f64, f64) {
        let sorted = self.sorted();
        (sorted[0], sorted[sorted.len() - 1])
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.speed.rows_per_second.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The best that the device could do, where it is known what that does.
    fn floor(&self, peaks: &BTreeMap<String, Peak>) -> Option<Floor> {
        let peak = *peaks.get(&self.device)?;
        let batch = self.batch_size as f64;
        let (mut seconds_a_row, mut longest) = (0.0, (0.0, Bound::Arithmetic));
        for trainee in &self.speed.trainees {
            let (seconds, bound) = trainee.cost.step_seconds(self.batch_size, peak);
            let of_a_row = trainee.share * seconds / batch;
            seconds_a_row += of_a_row;
            if of_a_row > longest.0 {
                longest = (of_a_row, bound);
            }
        }
        Some(Floor { rows_per_second: 1.0 / seconds_a_row, bound: longest.1 })
    }

    /// The costs of its networks, as a pass over the table has them.
    fn cost(&self) -> Cost {
        let zero = Cost::default();
        self.speed.trainees.iter().fold(zero, |sum, trainee| Cost {
            parameters: sum.parameters + trainee.cost.parameters,
            operations_per_row: sum.operations_per_row
                + trainee.share * trainee.cost.operations_per_row,
            operations_per_step: sum.operations_per_step + trainee.cost.operations_per_step,
            bytes_per_row: sum.bytes_per_row + trainee.share * trainee.cost.bytes_per_row,
            bytes_per_step: sum.bytes_per_step + trainee.cost.bytes_per_step,
            launches_per_step: sum.launches_per_step + trainee.cost.launches_per_step,
        })
    }
}

impl Rewards {
    /// The shortest training that earned so much.
    fn reached(&self, wanted: f64) -> Option<&RewardTrial> {
        let enough = self.trials.iter().filter(|trial| trial.mean_reward >= wanted);
        enough.min_by(|one, other| one.seconds.total_cmp(&other.seconds))
    }
}

/// For people.
pub(super) fn as_text(bench: &TrainBench) -> String {
    let mut text = String::new();
    if !bench.cells.is_empty() {
        costs(&mut text, bench);
        speeds(&mut text, bench);
    }
    for rewards in &bench.rewards {
        for wanted in &rewards.wanted {
            let line = match rewards.reached(*wanted) {
                Some(trial) => format!("reached in {:.2} s", trial.seconds),
                None => "not reached".to_owned(),
            };
            write_line(&mut text, &format!("{}: mean reward {wanted}: {line}", rewards.device));
        }
    }
    text
}

fn costs(text: &mut String, bench: &TrainBench) {
    let mut rows = vec![
        ["network", "parameters", "operations/row", "bytes/row", "launches/step"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for cell in &bench.cells {
        let cost = cell.cost();
        let cells = vec![
            cell.network.clone(),
            number(cost.parameters as f64),
            number(cost.operations_per_row),
            number(cost.bytes_per_row),
            cost.launches_per_step.to_string(),
        ];
        if !rows.iter().any(|row| row[0] == cells[0]) {
            rows.push(cells);
        }
    }
    write_line(text, "What a step must cost, reckoned from the layers:");
    aligned(text, &rows);
    write_line(text, "");
}

fn speeds(text: &mut String, bench: &TrainBench) {
    let headings = [
        "network", "device", "batch", "rows/s", "slowest", "fastest", "floor", "of it", "bound by",
    ];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for cell in &bench.cells {
        let (slowest, fastest) = cell.extremes();
        let floor = cell.floor(&bench.peaks);
        let of_floor =
            |value: &dyn Fn(&Floor) -> String| floor.as_ref().map_or("-".to_owned(), value);
        rows.push(vec![
            cell.network.clone(),
            cell.device.clone(),
            cell.batch_size.to_string(),
            number(cell.median()),
            number(slowest),
            number(fastest),
            of_floor(&|floor| number(floor.rows_per_second)),
            of_floor(&|floor| format!("{:.1} %", 100.0 * cell.median() / floor.rows_per_second)),
            of_floor(&|floor| bound_name(floor.bound).to_owned()),
        ]);
    }
    write_line(
        text,
        "Rows a second, the median of the repetitions; the floor is the best there could be:",
    );
    aligned(text, &rows);
    let mut peaks: Vec<(Peak, Vec<&str>)> = Vec::new();
    for (device, peak) in &bench.peaks {
        match peaks.iter_mut().find(|(other, _)| other == peak) {
            Some((_, devices)) => devices.push(device),
            None => peaks.push((*peak, vec![device])),
        }
    }
    for (peak, devices) in peaks {
        let line = format!(
            "{}: {:.3} TFLOP/s, {:.0} GB/s{}",
            devices.join(", "),
            peak.operations_per_second / 1e12,
            peak.bytes_per_second / 1e9,
            match peak.launch_seconds {
                0.0 => ", as measured".to_owned(),
                seconds => format!(", {:.1} us a launch, as given", seconds * 1e6),
            }
        );
        write_line(text, &line);
    }
}

/// Columns of one width: names to the left, numbers to the right.
fn aligned(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let is_name = |column: usize| {
        rows.iter()
            .skip(1)
            .all(|row| row[column].starts_with(|letter: char| letter.is_alphabetic()))
    };
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if is_name(column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        write_line(text, cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn write_line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes any text. This is a bug.");
}

/// A whole number with its thousands apart.
fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bound_name(bound: Bound) -> &'static str {
    match bound {
        Bound::Arithmetic => "arithmetic",
        Bound::Memory => "memory",
        Bound::Launches => "launches",
    }
}

/// For programs.
pub(super) fn as_json(bench: &TrainBench) -> Value {
    json!({
        "rows": bench.rows,
        "reward_rows": bench.reward_rows,
        "seed": bench.seed,
        "inputs": INPUT_COUNT,
        "peaks": bench.peaks,
        "speeds": bench.cells.iter().map(|cell| cell_as_json(cell, bench)).collect::<Vec<_>>(),
        "rewards": bench.rewards.iter().map(rewards_as_json).collect::<Vec<_>>(),
    })
}

fn cell_as_json(cell: &Cell, bench: &TrainBench) -> Value {
    let (slowest, fastest) = cell.extremes();
    let networks = cell.speed.trainees.iter().map(|trainee| {
        json!({
            "stage": trainee.stage,
            "network": trainee.network,
            "settings": trainee.settings,
            "share_of_rows": trainee.share,
            "cost": trainee.cost,
            "steps": trainee.steps,
        })
    });
    let floor = cell.floor(&bench.peaks).map(|floor| {
        json!({
            "rows_per_second": floor.rows_per_second,
            "share_reached": cell.median() / floor.rows_per_second,
            "bound_by": floor.bound,
        })
    });
    json!({
        "network": cell.network,
        "device": cell.device,
        "batch_size": cell.batch_size,
        "rows_per_second": {
            "median": cell.median(),
            "slowest": slowest,
            "fastest": fastest,
            "all": cell.speed.rows_per_second,
        },
        "networks": networks.collect::<Vec<_>>(),
        "floor": floor,
    })
}

fn rewards_as_json(rewards: &Rewards) -> Value {
    let reached = rewards.wanted.iter().map(|wanted| {
        let trial = rewards.reached(*wanted);
        json!({ "wanted": wanted, "seconds": trial.map(|trial| trial.seconds) })
    });
    json!({
        "device": rewards.device,
        "reached": reached.collect::<Vec<_>>(),
        "trials": rewards.trials,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::networks::NetworkConfig;
    use crate::model::networks::mlp::MlpConfig;
    use crate::train::member::MemberConfig;
    use crate::train::observer::Stage;
    use crate::train::throughput::Trainee;

    fn trainee(share: f64, operations_per_row: f64) -> Trainee {
        Trainee {
            stage: Stage::Classifier,
            network: NetworkConfig::Mlp(MlpConfig::new(INPUT_COUNT)),
            settings: MemberConfig::default(),
            share,
            cost: Cost { operations_per_row, launches_per_step: 10, ..Cost::default() },
            steps: 3,
        }
    }

    fn bench() -> TrainBench {
        let cell = Cell {
            network: "ensemble".to_owned(),
            device: "wgpu".to_owned(),
            batch_size: 100,
            speed: Speed {
                rows_per_second: vec![500.0, 2000.0, 1000.0],
                trainees: vec![trainee(1.0, 2e6), trainee(0.5, 1e3)],
            },
        };
        let peak = Peak { operations_per_second: 1e9, bytes_per_second: 1e9, launch_seconds: 1e-3 };
        let trial = |seconds, mean_reward| RewardTrial { epochs: Some(1), seconds, mean_reward };
        TrainBench {
            cells: vec![cell],
            rewards: vec![Rewards {
                device: "wgpu".to_owned(),
                wanted: vec![0.5, 0.6, 0.7],
                trials: vec![trial(1.5, 0.55), trial(2.5, 0.61), trial(9.0, 0.62)],
            }],
            peaks: BTreeMap::from([("wgpu".to_owned(), peak)]),
            rows: 1000,
            reward_rows: 1000,
            seed: 0,
        }
    }

    #[test]
    fn the_floor_of_an_ensemble_by_hand() {
        let bench = bench();
        let floor = bench.cells[0].floor(&bench.peaks).unwrap();
        // A row takes 2e6 / 1e9 s in the first network; a step of the second is ten launches of
        // 1 ms, for 100 rows of which half are there.
        assert!((1.0 / floor.rows_per_second - (2e-3 + 0.5 * 10e-3 / 100.0)).abs() < 1e-12);
        assert_eq!(floor.bound, Bound::Arithmetic);
        assert_eq!(bench.cells[0].median(), 1000.0);
        assert_eq!(bench.cells[0].cost().operations_per_row, 2e6 + 500.0);
    }

    #[test]
    fn for_people() {
        insta::assert_snapshot!(as_text(&bench()), @r"
        What a step must cost, reckoned from the layers:
        network   parameters  operations/row  bytes/row  launches/step
        ensemble           0       2,000,500          0             20

        Rows a second, the median of the repetitions; the floor is the best there could be:
        network   device  batch  rows/s  slowest  fastest  floor    of it  bound by
        ensemble  wgpu      100   1,000      500    2,000    488  205.0 %  arithmetic
        wgpu: 0.001 TFLOP/s, 1 GB/s, 1000.0 us a launch, as given
        wgpu: mean reward 0.5: reached in 1.50 s
        wgpu: mean reward 0.6: reached in 2.50 s
        wgpu: mean reward 0.7: not reached
        ");
    }

    #[test]
    fn for_programs() {
        let json = as_json(&bench());
        let speed = &json["speeds"][0];
        assert_eq!(speed["rows_per_second"]["slowest"], 500.0);
        assert_eq!(speed["floor"]["bound_by"], "arithmetic");
        assert_eq!(speed["networks"][1]["share_of_rows"], 0.5);
        let reached = &json["rewards"][0]["reached"];
        assert_eq!(reached[1], json!({ "wanted": 0.6, "seconds": 2.5 }));
        assert_eq!(reached[2], json!({ "wanted": 0.7, "seconds": null }));
    }

    #[test]
    fn thousands_are_apart() {
        for (value, expected) in [(0.0, "0"), (999.6, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(number(value), expected);
        }
    }
}

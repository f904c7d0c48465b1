//! What a simulation found.

use serde::Serialize;

use super::plan::{Plan, Scenario};

/// How a miner goes on after its first training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As it is.
    Frozen,
    /// What became of its answers corrects its confidence.
    Calibrated,
    /// That, and it goes on learning, with challengers that must prove themselves.
    Learning,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 3] = [Way::Frozen, Way::Calibrated, Way::Learning];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Way::Frozen => "frozen",
            Way::Calibrated => "calibrated only",
            Way::Learning => "learning",
        }
    }
}

/// The mean rewards of one day's answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Day {
    /// The day, the first one being 0.
    pub day: usize,
    /// Of the best possible answers.
    pub best: f64,
    /// Of the miners, in the order of [`Way::ALL`].
    pub miners: [f64; 3],
}

/// Something that the learning miner did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The day.
    pub day: usize,
    /// What it did.
    pub what: String,
}

/// What a simulation found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulation {
    /// What was simulated.
    pub plan: Plan,
    /// The days.
    pub days: Vec<Day>,
    /// What the learning miner did.
    pub events: Vec<Event>,
    /// What it comes to.
    pub summary: Summary,
}

/// What the rewards come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The mean reward of the best possible answers over all days.
    pub best: f64,
    /// The miners' mean rewards over all days, in the order of [`Way::ALL`].
    pub miners: [f64; 3],
    /// The same from the day of the event on.
    pub miners_since: [f64; 3],
    /// The learning miner's mean reward over the frozen one's, over all days, less 1.
    pub learning_over_frozen: f64,
    /// The lowest of the same over any seven days in a row.
    pub worst_week: f64,
    /// After a drift: of what the frozen miner lost to it, the share that the others had back a week
    /// later, in the order of [`Way::ALL`]; see [`RECOVERY_DAYS`].
    pub recovered: Option<[f64; 3]>,
}

/// The days after a drift, the first and the last, over which the recovery is measured: from the end
/// of the first week on, for as many days as make chance small.
pub const RECOVERY_DAYS: (usize, usize) = (7, 9);

impl Summary {
    /// Sums up days, of which there is at least one.
    pub fn of(plan: &Plan, days: &[Day]) -> Summary {
        let since = &days[plan.event_day.min(days.len())..];
        let miners = means(days);
        let ratio = |days: &[Day]| {
            let [frozen, _, learning] = means(days);
            learning / frozen - 1.0
        };
        let weeks = days.windows(7.min(days.len()));
        Summary {
            best: mean(days.iter().map(|day| day.best)),
            miners,
            miners_since: means(since),
            learning_over_frozen: ratio(days),
            worst_week: weeks.map(ratio).fold(f64::INFINITY, f64::min),
            recovered: (plan.scenario == Scenario::Drift).then(|| recovered(plan, days)).flatten(),
        }
    }
}

/// What is lost is measured by how far the rewards are from the best possible, which no drift
/// changes: some days are richer than others.
fn recovered(plan: &Plan, days: &[Day]) -> Option<[f64; 3]> {
    let (first, last) = (plan.event_day + RECOVERY_DAYS.0, plan.event_day + RECOVERY_DAYS.1);
    if days.len() <= last || plan.event_day == 0 {
        return None;
    }
    let missed = |days: &[Day], way: usize| mean(days.iter().map(|day| day.best - day.miners[way]));
    let before = missed(&days[..plan.event_day], 0);
    let lost = missed(&days[plan.event_day..], 0) - before;
    let left = |way| missed(&days[first..=last], way) - before;
    Some([0, 1, 2].map(|way| 1.0 - left(way) / lost))
}

fn means(days: &[Day]) -> [f64; 3] {
    [0, 1, 2].map(|way| mean(days.iter().map(|day| day.miners[way])))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_by_hand() {
        let plan = Plan {
            scenario: Scenario::Drift,
            days: 20,
            event_day: 5,
            per_day: 1,
            training_rows: 1,
            seed: 1,
        };
        // 0.1 from the best before, 0.3 after; the learning miner is back to 0.12 on the days 12-14.
        let day = |day: usize| Day {
            day,
            best: 0.6,
            miners: match day {
                0..5 => [0.5, 0.5, 0.5],
                12..=14 => [0.3, 0.35, 0.48],
                _ => [0.3, 0.3, 0.3],
            },
        };
        let days: Vec<Day> = (0..20).map(day).collect();
        let summary = Summary::of(&plan, &days);
        let [frozen, calibrated, learning] = summary.recovered.unwrap();
        assert!(frozen.abs() < 1e-9);
        // 1 - 0.15 / 0.2 and 1 - 0.02 / 0.2
        assert!((calibrated - 0.25).abs() < 1e-9 && (learning - 0.9).abs() < 1e-9);
        // (15 * 0.3 + 5 * 0.5) / 20 and 3 * 0.18 / 20 more
        assert!((summary.miners[0] - 0.35).abs() < 1e-9);
        assert!((summary.learning_over_frozen - 0.027 / 0.35).abs() < 1e-9);
        assert!((summary.miners_since[0] - 0.3).abs() < 1e-9);
        assert!(summary.worst_week.abs() < 1e-9);
        assert_eq!(Summary::of(&plan, &days[..14]).recovered, None);
    }
}

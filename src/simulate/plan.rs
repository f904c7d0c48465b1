//! What is simulated.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::world::Regime;

/// What happens to the miners on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Conversations begin to convert by another rule.
    Drift,
    /// The truths of one day that a miner hears of are all wrong.
    Flip,
    /// No truth is heard of for a week; then all come at once.
    Outage,
}

/// No scenario has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a scenario, one of `drift`, `flip` and `outage`, but found `{0}`")]
pub struct UnknownScenario(
    /// What was found.
    pub String,
);

/// How much is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plan {
    /// What happens.
    pub scenario: Scenario,
    /// How many days.
    pub days: usize,
    /// On which day it happens, the first one being 0.
    pub event_day: usize,
    /// How many conversations the validator asks about each day.
    pub per_day: usize,
    /// How many conversations the first model learns from.
    pub training_rows: usize,
    /// The seed of everything random.
    pub seed: u64,
}

/// How many days an outage of the truths lasts.
pub const OUTAGE_DAYS: usize = 7;

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 3] = [Scenario::Drift, Scenario::Flip, Scenario::Outage];

    /// Its name in settings and reports.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Drift => "drift",
            Scenario::Flip => "flip",
            Scenario::Outage => "outage",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Scenario, UnknownScenario> {
        let named = |scenario: &Scenario| scenario.name() == text;
        Scenario::ALL.into_iter().find(named).ok_or_else(|| UnknownScenario(text.to_owned()))
    }
}

impl Plan {
    /// The rule that outcomes follow on a day.
    pub fn regime(&self, day: usize) -> Regime {
        let has_drifted = self.scenario == Scenario::Drift && day >= self.event_day;
        if has_drifted { Regime::After } else { Regime::Before }
    }

    /// Whether what is told of a day's outcomes is the opposite of what is true.
    pub fn is_flipped(&self, day: usize) -> bool {
        self.scenario == Scenario::Flip && day == self.event_day
    }

    /// Whether no truth is heard of on a day.
    pub fn is_silent(&self, day: usize) -> bool {
        let silence = self.event_day..self.event_day + OUTAGE_DAYS;
        self.scenario == Scenario::Outage && silence.contains(&day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_on_their_days() {
        let plan = |scenario| Plan {
            scenario,
            days: 60,
            event_day: 20,
            per_day: 1,
            training_rows: 1,
            seed: 1,
        };
        let drift = plan(Scenario::Drift);
        assert_eq!((drift.regime(19), drift.regime(20)), (Regime::Before, Regime::After));
        assert_eq!(drift.regime(59), Regime::After);
        let flip = plan(Scenario::Flip);
        assert_eq!([19, 20, 21].map(|day| flip.is_flipped(day)), [false, true, false]);
        assert_eq!(flip.regime(59), Regime::Before);
        let outage = plan(Scenario::Outage);
        assert_eq!([19, 20, 26, 27].map(|day| outage.is_silent(day)), [false, true, true, false]);
        for scenario in Scenario::ALL {
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
        assert!("quake".parse::<Scenario>().is_err());
    }
}

//! The versions of the reward that are in use.

use std::fmt;
use std::str::FromStr;

/// How one version of the reward weighs its parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RewardSpec {
    /// What the spec is called in settings and reports.
    pub name: &'static str,
    /// The weight of the class.
    pub class_weight: f64,
    /// The weight of the time.
    pub time_weight: f64,
    /// The weight of the confidence.
    pub diversity_weight: f64,
    /// An answer that takes this long earns nothing for its response time.
    pub timeout_seconds: f64,
    /// What the confidence earns.
    pub diversity: Diversity,
}

/// What a confidence earns by itself, right or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diversity {
    /// Nothing.
    Absent,
    /// `0.5 - |c - 0.5|`, but 0 at exactly 0.5 and 0.5 at exactly 0 or 1.
    ///
    /// So the most is earned just beside 0.5 and at the two ends. The guide's text says the
    /// opposite of what this formula does; the formula is what a validator computes.
    TowardHalf,
}

impl Diversity {
    /// What `confidence` earns.
    pub fn of(self, confidence: f64) -> f64 {
        match self {
            Diversity::Absent => 0.0,
            Diversity::TowardHalf if confidence == 0.5 => 0.0,
            Diversity::TowardHalf if confidence == 0.0 || confidence == 1.0 => 0.5,
            Diversity::TowardHalf => 0.5 - (confidence - 0.5).abs(),
        }
    }
}

impl RewardSpec {
    /// The public main branch, and the default.
    pub const MAIN: RewardSpec = RewardSpec {
        name: "main",
        class_weight: 0.55,
        time_weight: 0.45,
        diversity_weight: 0.0,
        timeout_seconds: 60.0,
        diversity: Diversity::Absent,
    };
    /// The later branch that takes its conversations from the data API: [`RewardSpec::MAIN`] with
    /// twice the timeout.
    pub const API: RewardSpec =
        RewardSpec { name: "api", timeout_seconds: 120.0, ..RewardSpec::MAIN };
    /// The miner guide.
    pub const GUIDE: RewardSpec = RewardSpec {
        name: "guide",
        class_weight: 0.55,
        time_weight: 0.35,
        diversity_weight: 0.10,
        timeout_seconds: 60.0,
        diversity: Diversity::TowardHalf,
    };
    /// All of them.
    pub const ALL: [RewardSpec; 3] = [RewardSpec::MAIN, RewardSpec::API, RewardSpec::GUIDE];
}

impl Default for RewardSpec {
    fn default() -> Self {
        RewardSpec::MAIN
    }
}

impl fmt::Display for RewardSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// There is no reward spec of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a reward spec, one of `main`, `api` and `guide`, but found `{name}`")]
pub struct UnknownSpec {
    /// What was asked for.
    pub name: String,
}

impl FromStr for RewardSpec {
    type Err = UnknownSpec;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        RewardSpec::ALL
            .into_iter()
            .find(|spec| spec.name == name)
            .ok_or_else(|| UnknownSpec { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diversity_by_hand() {
        for (confidence, expected) in [
            (0.5, 0.0), // the first special case, where the formula alone would give 0.5
            (0.0, 0.5), // the second, where it would give 0
            (1.0, 0.5),
            (0.499, 0.499), // 0.5 - 0.001
            (0.501, 0.499),
            (0.25, 0.25), // 0.5 - 0.25
            (0.75, 0.25),
            (0.9, 0.1), // 0.5 - 0.4
            (0.001, 0.001),
            (0.999, 0.001), // 0.5 - 0.499
        ] {
            let found = Diversity::TowardHalf.of(confidence);
            assert!((found - expected).abs() < 1e-12, "{confidence}: {found}");
            assert_eq!(Diversity::Absent.of(confidence), 0.0);
        }
        // The special cases are about exactly these numbers and not about their neighbours.
        assert!(Diversity::TowardHalf.of(0.5_f64.next_up()) > 0.499);
        assert!(Diversity::TowardHalf.of(0.0_f64.next_up()) < 0.001);
        assert!(Diversity::TowardHalf.of(1.0_f64.next_down()) < 0.001);
    }

    #[test]
    fn specs_are_the_networks() {
        for (name, class, time, diversity, timeout) in [
            ("main", 0.55, 0.45, 0.0, 60.0),
            ("api", 0.55, 0.45, 0.0, 120.0),
            ("guide", 0.55, 0.35, 0.10, 60.0),
        ] {
            let spec: RewardSpec = name.parse().unwrap();
            assert_eq!(spec.to_string(), name);
            assert_eq!(spec.class_weight, class);
            assert_eq!(spec.time_weight, time);
            assert_eq!(spec.diversity_weight, diversity);
            assert_eq!(spec.timeout_seconds, timeout);
        }
        assert_eq!(RewardSpec::default(), RewardSpec::MAIN);
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        assert_eq!(
            "Main".parse::<RewardSpec>().unwrap_err().to_string(),
            "expected a reward spec, one of `main`, `api` and `guide`, but found `Main`"
        );
    }
}

//! The world that a simulation plays in: who converts, and when, before and after it changes.
//!
//! Conversations are those of the rule challenges. Their outcomes follow a rule too, spoilt like those
//! of the noisy challenges: a share of the labels is flipped, and times scatter. When the world drifts,
//! another rule takes the first one's place, of the same features.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::subnet::challenge::{Challenge, Example, Examples, Oracle, OracleTime};
use crate::subnet::reward::Truth;
use crate::subnet::schema::index_of;

/// The share of labels that no rule explains.
const FLIP_RATE: f64 = 0.08;
/// How times scatter, in seconds.
const TIME_NOISE_SECONDS: f64 = 6.0;
/// No time is shorter, in seconds.
const SHORTEST_SECONDS: f64 = 1.0;

/// Which rule outcomes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// The one that the first model learned.
    Before,
    /// The other one.
    After,
}

/// An endless row of conversations.
#[derive(Debug)]
pub struct World {
    examples: Examples,
    random: ChaCha8Rng,
}

/// The features that the rules look at.
struct Facts {
    duration_seconds: f64,
    ratio: f64,
    entities: f64,
    has_target: bool,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> World {
        World {
            examples: Challenge::Rule.examples(seed),
            random: ChaCha8Rng::seed_from_u64(seed ^ 0x0077_6f72_6c64),
        }
    }

    /// The next conversation and what becomes of it. As many random numbers are drawn whatever the
    /// regime is, so two worlds of one seed show the same conversations.
    pub fn next(&mut self, regime: Regime) -> Example {
        let mut example =
            self.examples.next().expect("the generators of challenges do not end. This is a bug.");
        let flipped = self.random.random::<f64>() < FLIP_RATE;
        let noise: f64 = StandardNormal.sample(&mut self.random);
        let facts = Facts::of(&example);
        let by_rule = facts.converts(regime);
        let mean = facts.time_seconds(regime);
        example.truth = if by_rule == flipped {
            Truth::not_converted()
        } else {
            Truth::converted_after((mean + TIME_NOISE_SECONDS * noise).max(SHORTEST_SECONDS))
        };
        example.oracle = Oracle {
            probability: if by_rule { 1.0 - FLIP_RATE } else { FLIP_RATE },
            time: OracleTime::Normal { mean, sd: TIME_NOISE_SECONDS, floor: SHORTEST_SECONDS },
        };
        example
    }
}

impl Facts {
    fn of(example: &Example) -> Facts {
        let value = |name| {
            let index = index_of(name).expect("a feature of the schema. This is a bug.");
            example.features[index]
        };
        Facts {
            duration_seconds: value("conversation_duration_seconds"),
            ratio: value("message_ratio"),
            entities: value("entities_collected_count"),
            has_target: value("has_target_entity") == 1.0,
        }
    }

    fn converts(&self, regime: Regime) -> bool {
        match regime {
            // The rule challenges' own.
            Regime::Before => {
                (self.has_target && self.entities >= 4.0)
                    || (self.ratio > 1.2 && self.duration_seconds > 90.0)
            }
            Regime::After => {
                (!self.has_target && self.entities >= 4.0)
                    || (self.ratio > 1.2 && self.duration_seconds <= 105.0)
            }
        }
    }

    fn time_seconds(&self, regime: Regime) -> f64 {
        match regime {
            Regime::Before => {
                let target = if self.has_target { 10.0 } else { 0.0 };
                (0.7 * self.duration_seconds + target).max(30.0)
            }
            Regime::After => {
                let target = if self.has_target { 0.0 } else { 15.0 };
                (0.9 * self.duration_seconds + target).max(30.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::reward::{ClassWeights, RewardSpec, reward};

    #[test]
    fn rules_by_hand() {
        let facts = |duration_seconds, ratio, entities, has_target| Facts {
            duration_seconds,
            ratio,
            entities,
            has_target,
        };
        for (facts, before, after, times) in [
            (facts(100.0, 1.0, 4.0, true), true, false, (80.0, 90.0)),
            (facts(100.0, 1.0, 4.0, false), false, true, (70.0, 105.0)),
            (facts(100.0, 1.3, 1.0, false), true, true, (70.0, 105.0)),
            (facts(110.0, 1.3, 1.0, true), true, false, (87.0, 99.0)),
            (facts(80.0, 1.3, 1.0, true), false, true, (66.0, 72.0)),
        ] {
            assert_eq!(facts.converts(Regime::Before), before);
            assert_eq!(facts.converts(Regime::After), after);
            assert!((facts.time_seconds(Regime::Before) - times.0).abs() < 1e-9);
            assert!((facts.time_seconds(Regime::After) - times.1).abs() < 1e-9);
        }
    }

    /// Who answers by the old rule when the new one holds loses much of the reward, and the shares of
    /// the classes alone do not give the change away.
    #[test]
    fn a_drift_hurts() {
        let (spec, weights) = (&RewardSpec::MAIN, ClassWeights::START);
        let earned = |known: Regime, real: Regime| {
            let (mut seen, mut world) = (World::new(3), World::new(3));
            let rewards = (0..20_000).map(|_| {
                let (believed, example) = (seen.next(known), world.next(real));
                assert_eq!(believed.session_id, example.session_id);
                let answer =
                    crate::subnet::challenge::bayes_answer(&believed.oracle, spec, weights);
                reward(spec, weights, answer, example.truth, 0.05).total
            });
            rewards.sum::<f64>() / 20_000.0
        };
        let best = [earned(Regime::Before, Regime::Before), earned(Regime::After, Regime::After)];
        let surprised = earned(Regime::Before, Regime::After);
        assert!(best[0] > 0.5 && best[1] > 0.5, "{best:?}");
        assert!(surprised < 0.7 * best[1], "{surprised} of {best:?}");
        let share = |regime| {
            let mut world = World::new(5);
            (0..20_000).filter(|_| world.next(regime).truth.converted).count() as f64 / 20_000.0
        };
        let shares = (share(Regime::Before), share(Regime::After));
        assert!((shares.0 - shares.1).abs() < 0.08, "{shares:?}");
    }
}

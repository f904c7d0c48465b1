//! What the reward loses when a feature says nothing any more.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::statistics::{Interval, Mean};
use super::{SEED, Subject, earned};
use crate::features::Conversation;
use crate::model::{Model as _, Predictor};
use crate::subnet::reward::{RewardSpec, Truth};
use crate::subnet::schema::{FEATURE_COUNT, FEATURES};

/// Rows at most: enough to see what matters within seconds.
const MOST_ROWS: usize = 2000;

/// The importance of every feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Importance {
    /// Rows that were picked.
    pub rows: usize,
    /// The mean reward of the miner on them.
    pub reward: f64,
    /// The features, the most important first.
    pub features: Vec<Permuted>,
}

/// A feature whose values were shuffled among the rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Permuted {
    /// Its name.
    pub feature: String,
    /// Whether it has more than one value; if not, nothing can be lost.
    pub varies: bool,
    /// The mean reward that is lost.
    pub drop: Mean,
    /// Its 95 % interval.
    pub drop_interval: Interval,
}

impl Importance {
    pub(super) fn of(subject: Subject<'_>) -> Importance {
        let Subject { predictor, rows, spec, .. } = subject;
        Importance::of_rows(predictor, rows.conversations, rows.truths, spec)
    }

    /// The importance of every feature to a miner on these rows, of which there is at least one.
    pub(crate) fn of_rows(
        predictor: &Predictor,
        conversations: &[Conversation],
        truths: &[Truth],
        spec: &RewardSpec,
    ) -> Importance {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut picked: Vec<usize> = (0..conversations.len()).collect();
        picked.shuffle(&mut random);
        picked.truncate(MOST_ROWS);
        picked.sort_unstable();
        let conversations: Vec<Conversation> =
            picked.iter().map(|row| conversations[*row].clone()).collect();
        let rewards = |conversations: &[Conversation]| -> Vec<f64> {
            let answers = predictor.predict(conversations);
            let truths = picked.iter().map(|row| truths[*row]);
            let rows = answers.into_iter().zip(truths);
            rows.map(|(answer, truth)| earned(spec, answer, truth)).collect()
        };
        let unshuffled = rewards(&conversations);
        let mut features: Vec<Permuted> = (0..FEATURE_COUNT)
            .map(|feature| {
                let mut order: Vec<usize> = (0..conversations.len()).collect();
                // Drawn even where it is not used, so that a feature's order is its own.
                order.shuffle(&mut random);
                let varies = varies(&conversations, feature);
                let drop = if varies {
                    let shuffled = shuffled(&conversations, feature, &order);
                    Mean::of_difference(&unshuffled, &rewards(&shuffled))
                } else {
                    Mean { mean: 0.0, standard_error: None }
                };
                let feature = FEATURES[feature].name.to_owned();
                Permuted { feature, varies, drop, drop_interval: drop.interval() }
            })
            .collect();
        features.sort_by(|left, right| right.drop.mean.total_cmp(&left.drop.mean));
        Importance { rows: picked.len(), reward: Mean::of(&unshuffled).mean, features }
    }
}

fn varies(conversations: &[Conversation], feature: usize) -> bool {
    // By their bits, so that a missing value is one as well.
    let bits = |conversation: &Conversation| conversation.values[feature].to_bits();
    conversations.windows(2).any(|pair| bits(&pair[0]) != bits(&pair[1]))
}

/// The conversations with the values of one feature taken from one another in this order.
fn shuffled(conversations: &[Conversation], feature: usize, order: &[usize]) -> Vec<Conversation> {
    let mut shuffled = conversations.to_vec();
    for (conversation, from) in shuffled.iter_mut().zip(order) {
        conversation.values[feature] = conversations[*from].values[feature];
    }
    shuffled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_feature_is_shuffled() {
        let conversations = [[1.0; 40], [2.0; 40], [3.0; 40]].map(|values| Conversation { values });
        let found = shuffled(&conversations, 5, &[2, 0, 1]);
        for (row, (five, others)) in [(3.0, 1.0), (1.0, 2.0), (2.0, 3.0)].into_iter().enumerate() {
            assert_eq!(found[row].values[5], five);
            assert_eq!(found[row].values[4], others);
        }
    }

    #[test]
    fn what_varies() {
        let mut conversations = vec![Conversation { values: [1.0; 40] }; 3];
        conversations[1].values[7] = f32::NAN;
        conversations[2].values[8] = 2.0;
        for (feature, expected) in [(6, false), (7, true), (8, true)] {
            assert_eq!(varies(&conversations, feature), expected);
        }
        assert!(!varies(&vec![Conversation::EMPTY; 2], 0));
        assert!(!varies(&[], 0));
    }
}

//! Which model is asked first.

use crate::features::Conversation;
use crate::model::checkpoint::{CoverageRecord, CoverageScores, NEARLY_EMPTY_COVERAGE};

/// With fewer held-out rows, what the models earned on them says nothing.
pub(super) const FEWEST_ROWS: usize = 50;
/// With fewer truths, what a model earns here says nothing.
pub(super) const FEWEST_TRUTHS: u64 = 100;

/// How much is known of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Little,
    Most,
}

impl Known {
    pub(super) const ALL: [Known; 2] = [Known::Little, Known::Most];

    /// By the threshold of the checkpoint's validation, if there was one.
    pub(super) fn of(coverage: f64, validation: Option<&CoverageRecord>) -> Known {
        let threshold = validation.map_or(NEARLY_EMPTY_COVERAGE, |record| record.threshold);
        if coverage < threshold { Known::Little } else { Known::Most }
    }

    pub(super) fn of_conversation(
        conversation: &Conversation,
        validation: Option<&CoverageRecord>,
    ) -> Known {
        Known::of(conversation.coverage(), validation)
    }

    /// What the models earned on such held-out rows, if there were enough.
    pub(super) fn scores(self, validation: Option<&CoverageRecord>) -> Option<&CoverageScores> {
        let scores = match self {
            Known::Little => &validation?.nearly_empty,
            Known::Most => &validation?.rest,
        };
        (scores.rows >= FEWEST_ROWS).then_some(scores)
    }
}

/// What speaks for a model and against it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The mean reward on held-out rows, if that is known of enough.
    pub(super) validated: Option<f64>,
    /// The mean reward here, if that is known of enough conversations.
    pub(super) earned: Option<f64>,
    /// Whether it rarely fails.
    pub(super) reliable: bool,
    /// Whether it is healthy.
    pub(super) healthy: bool,
    /// Whether it was named by the operator.
    pub(super) pinned: bool,
}

/// The order in which candidates are asked, as their indices.
///
/// It begins with their own order. Those with a validated reward change places among themselves by
/// it, and then those with a reward that was earned here, if they are two or more. What fails often
/// goes behind, a pinned one to the front, and what is not healthy last of all.
pub(super) fn order(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    rank(&mut order, |index| candidates[index].validated);
    rank(&mut order, |index| candidates[index].earned);
    // Stable sorts, so each keeps what the ones before it found among equals.
    order.sort_by_key(|index| !candidates[*index].reliable);
    order.sort_by_key(|index| !candidates[*index].pinned);
    order.sort_by_key(|index| !candidates[*index].healthy);
    order
}

/// Puts those that have a score in the order of it, the largest first, each on a place that one of
/// them had. Equal ones stay as they are.
fn rank(order: &mut [usize], score: impl Fn(usize) -> Option<f64>) {
    let places: Vec<usize> =
        (0..order.len()).filter(|place| score(order[*place]).is_some()).collect();
    let mut scored: Vec<(usize, f64)> =
        order.iter().filter_map(|index| score(*index).map(|score| (*index, score))).collect();
    scored.sort_by(|left, right| right.1.total_cmp(&left.1));
    for (place, (index, _)) in places.into_iter().zip(scored) {
        order[place] = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is different about the candidate at a place.
    type Change<'a> = (usize, &'a dyn Fn(&mut Candidate));

    const PLAIN: Candidate =
        Candidate { validated: None, earned: None, reliable: true, healthy: true, pinned: false };

    fn validated(rewards: [f64; 3]) -> [Candidate; 3] {
        rewards.map(|reward| Candidate { validated: Some(reward), ..PLAIN })
    }

    #[test]
    fn the_order_is_as_the_rules_say() {
        let with = |mut candidates: [Candidate; 3], changes: &[Change<'_>]| {
            for (index, change) in changes {
                change(&mut candidates[*index]);
            }
            candidates
        };
        let earns = |reward: f64| move |candidate: &mut Candidate| candidate.earned = Some(reward);
        let pin = |candidate: &mut Candidate| candidate.pinned = true;
        let unreliable = |candidate: &mut Candidate| candidate.reliable = false;
        let ill = |candidate: &mut Candidate| candidate.healthy = false;
        let falling = validated([0.5, 0.4, 0.3]);
        for (candidates, expected, why) in [
            ([PLAIN; 3], [0, 1, 2], "nothing known: as they come"),
            (falling, [0, 1, 2], "the ensemble validated best"),
            (validated([0.3, 0.4, 0.35]), [1, 2, 0], "the baseline validated best"),
            (validated([0.4, 0.4, 0.4]), [0, 1, 2], "equal ones stay"),
            (with(falling, &[(1, &earns(0.9))]), [0, 1, 2], "nothing to compare it with"),
            (
                with(falling, &[(0, &earns(0.3)), (1, &earns(0.4))]),
                [1, 0, 2],
                "what is earned wins",
            ),
            (
                with(falling, &[(0, &earns(0.3)), (2, &earns(0.4))]),
                [2, 1, 0],
                "they change places, and who is not known stays",
            ),
            (with(falling, &[(0, &unreliable)]), [1, 2, 0], "what fails often goes behind"),
            (with(falling, &[(2, &pin)]), [2, 0, 1], "pinned"),
            (with(falling, &[(2, &pin), (2, &unreliable)]), [2, 0, 1], "pinned, whatever it did"),
            (with(falling, &[(2, &pin), (2, &ill)]), [0, 1, 2], "pinned, but it does not work"),
            (with(falling, &[(0, &ill)]), [1, 2, 0], "does not work"),
            (
                with(falling, &[(0, &ill), (1, &unreliable)]),
                [2, 1, 0],
                "rather what fails often than what does not work",
            ),
        ] {
            assert_eq!(order(&candidates), expected, "{why}");
        }
    }

    #[test]
    fn little_known_is_below_the_threshold() {
        let scores =
            |rows| CoverageScores { rows, ensemble: Some(0.5), baseline: 0.4, constant: 0.3 };
        let record = CoverageRecord { threshold: 0.25, nearly_empty: scores(49), rest: scores(50) };
        for (coverage, validation, expected) in [
            (0.0, None, Known::Little),
            (0.79, None, Known::Little),
            (0.8, None, Known::Most),
            (0.24, Some(&record), Known::Little),
            (0.25, Some(&record), Known::Most),
        ] {
            assert_eq!(Known::of(coverage, validation), expected, "{coverage}");
        }
        assert_eq!(Known::Little.scores(Some(&record)), None, "49 rows are too few");
        assert_eq!(Known::Most.scores(Some(&record)), Some(&record.rest));
        assert_eq!(Known::Most.scores(None), None);
    }
}

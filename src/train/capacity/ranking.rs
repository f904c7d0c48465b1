//! Candidates, and how they rank.

use super::super::fit::Fitted;
use super::super::observer::StageReport;
use super::choice::{Candidate, Comparison};
use super::compare::{Compared, smallest_within_error};

/// A candidate with all that came of its trainings.
pub(super) struct Contender {
    pub(super) name: String,
    /// What it says of rows that it has not seen, by repeat and row; or why it says nothing.
    pub(super) said: Result<Vec<Vec<f64>>, String>,
    /// Its networks, if it is made of networks.
    pub(super) fits: Vec<Fitted>,
    pub(super) stages: Vec<StageReport>,
}

impl Contender {
    /// One without networks.
    pub(super) fn simple(
        name: impl Into<String>,
        said: Result<Vec<Vec<f64>>, String>,
    ) -> Contender {
        Contender { name: name.into(), said, fits: Vec::new(), stages: Vec::new() }
    }

    /// For each row, the mean of what it says.
    pub(super) fn mean_said(&self) -> Option<Vec<f64>> {
        let said = self.said.as_ref().ok()?;
        let rows = said.first()?.len();
        let mean = |row: usize| said.iter().map(|said| said[row]).sum::<f64>() / said.len() as f64;
        Some((0..rows).map(mean).collect())
    }
}

/// Candidates, smallest first, and how they did.
pub(super) struct Ranking {
    contenders: Vec<Contender>,
    /// The loss of each on every row, if it was compared.
    losses: Vec<Option<Vec<f64>>>,
    groups: Vec<usize>,
    compared: Vec<Option<Compared>>,
    chosen: usize,
}

impl Ranking {
    /// Chooses the smallest that is within one standard error of the best.
    ///
    /// # Panics
    ///
    /// If the first one has no losses.
    pub(super) fn new(
        contenders: Vec<Contender>,
        losses: Vec<Option<Vec<f64>>>,
        groups: Vec<usize>,
    ) -> Ranking {
        let (chosen, compared) = smallest_within_error(&losses, &groups);
        Ranking { contenders, losses, groups, compared, chosen }
    }

    /// One that nothing is compared with.
    pub(super) fn of_one(name: &str, why: &str) -> Ranking {
        Ranking {
            contenders: vec![Contender::simple(name, Err(why.to_owned()))],
            losses: vec![None],
            groups: Vec::new(),
            compared: vec![None],
            chosen: 0,
        }
    }

    /// Which one was chosen among the first `count`; the one chosen of all, if it is one of them.
    pub(super) fn chosen_of(&self, count: usize) -> usize {
        if self.chosen < count {
            return self.chosen;
        }
        smallest_within_error(&self.losses[..count], &self.groups).0
    }

    /// The candidate of this number, if there is one.
    pub(super) fn contender(&self, index: usize) -> Option<&Contender> {
        self.contenders.get(index)
    }

    /// The one that was chosen.
    pub(super) fn winner(&mut self) -> &mut Contender {
        &mut self.contenders[self.chosen]
    }

    /// Whether the smallest was chosen.
    pub(super) fn is_smallest(&self) -> bool {
        self.chosen == 0
    }

    /// How it is told.
    pub(super) fn told(&self) -> Comparison {
        let candidates = self.contenders.iter().zip(&self.compared).map(|(contender, compared)| {
            let (loss, error) = compared.map(|it| (it.loss, it.error)).unzip();
            let Contender { name, said, .. } = contender;
            Candidate {
                name: name.clone(),
                repeats: said.as_ref().map_or(0, Vec::len),
                loss,
                error,
                left_out: said.as_ref().err().cloned(),
            }
        });
        let chosen = self.contenders[self.chosen].name.clone();
        Comparison { chosen, candidates: candidates.collect() }
    }
}

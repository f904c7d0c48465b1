//! Which trial gets how many rows next: successive halving, asynchronous.
//!
//! The rungs of a ladder are trainings with more and more rows. A trial begins on the lowest one.
//! Whenever the best third (rounded up) of those that are done on a rung has a trial that was not
//! yet on the next one, that goes up; the highest such rung first, and a new trial only where
//! nobody can go up. There are no brackets to wait for, and what is done next follows from what was
//! done alone (ASHA: Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020, with
//! one worker). So a search goes on where it stopped, and with more trials it first does what it
//! does with fewer.
//!
//! Trial 0, the start, goes all the way before anything else: no result is worse than it.

use super::record::Record;

/// One of so many on a rung goes up.
pub(super) const REDUCTION: usize = 3;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The trial's number.
    pub trial: usize,
    /// The rung, from 0.
    pub rung: usize,
}

/// The next job of a search for so many trials on so many rungs, if there is one.
pub(super) fn next(done: &[Record], trials: usize, rungs: usize) -> Option<Job> {
    let is_done = |trial, rung| done.iter().any(|it| it.trial == trial && it.rung == rung);
    if let Some(rung) = (0..rungs).find(|rung| !is_done(0, *rung))
        && (rung == 0 || done.iter().all(|it| it.trial != 0 || it.reward.is_some()))
    {
        return Some(Job { trial: 0, rung });
    }
    for rung in (0..rungs.saturating_sub(1)).rev() {
        let ranked = ranked(done, rung);
        let places = ranked.len().div_ceil(REDUCTION);
        let going_up = ranked
            .iter()
            .take(places)
            .filter(|it| it.reward.is_some())
            .find(|it| !is_done(it.trial, rung + 1));
        if let Some(record) = going_up {
            return Some(Job { trial: record.trial, rung: rung + 1 });
        }
    }
    let new = done.iter().map(|it| it.trial + 1).max().unwrap_or(0);
    (new < trials).then_some(Job { trial: new, rung: 0 })
}

/// What was done on a rung, the best first and what failed last; of equals the earlier trial first.
pub(super) fn ranked(done: &[Record], rung: usize) -> Vec<&Record> {
    let mut of_rung: Vec<&Record> = done.iter().filter(|it| it.rung == rung).collect();
    let key = |it: &Record| it.reward.unwrap_or(f64::NEG_INFINITY);
    of_rung.sort_by(|one, other| key(other).total_cmp(&key(one)).then(one.trial.cmp(&other.trial)));
    of_rung
}

/// The best of those that came to the highest rung.
pub(super) fn best(done: &[Record], rungs: usize) -> Option<&Record> {
    let best = *ranked(done, rungs.checked_sub(1)?).first()?;
    best.reward.is_some().then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does a whole search, in which each trial earns what `reward` says, and shows the jobs.
    fn search(
        trials: usize,
        rungs: usize,
        done: &mut Vec<Record>,
        reward: impl Fn(usize) -> Option<f64>,
    ) -> Vec<(usize, usize)> {
        let mut jobs = Vec::new();
        while let Some(job) = next(done, trials, rungs) {
            jobs.push((job.trial, job.rung));
            done.push(Record { reward: reward(job.trial), ..Record::sample(job.trial, job.rung) });
            assert!(jobs.len() < 10 * trials, "{jobs:?}");
        }
        jobs
    }

    #[test]
    fn the_best_third_goes_up() {
        // Each trial is better than all before: the record always goes up.
        let rising = search(4, 3, &mut Vec::new(), |trial| Some(trial as f64));
        let each: Vec<_> = (0..4).flat_map(|trial| (0..3).map(move |rung| (trial, rung))).collect();
        assert_eq!(rising, each);
        // Each is worse: of four the second best goes up too, for a third of four is two, rounded up;
        // of seven the third best. On rung 1 the second of two is not in the best third.
        let falling = search(7, 3, &mut Vec::new(), |trial| Some(-(trial as f64)));
        let expected = [
            (0, 0),
            (0, 1),
            (0, 2),
            (1, 0),
            (2, 0),
            (3, 0),
            (1, 1),
            (4, 0),
            (5, 0),
            (6, 0),
            (2, 1),
        ];
        assert_eq!(falling, expected);
    }

    #[test]
    fn the_start_goes_all_the_way_however_bad() {
        let mut done = Vec::new();
        search(9, 3, &mut done, |trial| Some(if trial == 0 { -1.0 } else { trial as f64 }));
        assert!(done.iter().any(|it| (it.trial, it.rung) == (0, 2)));
        assert_eq!(best(&done, 3).map(|it| it.trial), Some(8));
    }

    #[test]
    fn what_fails_goes_nowhere() {
        let mut done = Vec::new();
        let jobs = search(5, 2, &mut done, |trial| (trial == 3).then_some(0.5));
        assert_eq!(jobs, [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (4, 0)]);
        assert_eq!(best(&done, 2).map(|it| it.trial), Some(3));
        done.clear();
        assert_eq!(search(2, 2, &mut done, |_| None), [(0, 0), (1, 0)]);
        assert_eq!(best(&done, 2), None);
    }

    #[test]
    fn more_trials_go_on_from_fewer() {
        let reward = |trial: usize| Some(((trial * 37) % 23) as f64);
        let mut whole = Vec::new();
        let all = search(30, 3, &mut whole, reward);
        let mut parts = Vec::new();
        let mut jobs = search(7, 3, &mut parts, reward);
        jobs.extend(search(30, 3, &mut parts, reward));
        assert_eq!(jobs, all);
        // And from any point at which it was ended.
        for length in 0..whole.len() {
            let job = next(&whole[..length], 30, 3).unwrap();
            assert_eq!((job.trial, job.rung), all[length]);
        }
    }

    #[test]
    fn one_rung_is_plain_random_search() {
        let jobs = search(3, 1, &mut Vec::new(), |trial| Some(trial as f64));
        assert_eq!(jobs, [(0, 0), (1, 0), (2, 0)]);
    }

    #[test]
    fn of_equals_the_earlier_one_is_the_best() {
        let mut done = Vec::new();
        search(3, 1, &mut done, |_| Some(0.5));
        assert_eq!(best(&done, 1).map(|it| it.trial), Some(0));
    }
}

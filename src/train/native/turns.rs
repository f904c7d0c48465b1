//! Whether threads pay: they do not where batches are small or the processor is busy with other work.
//!
//! Threads that wait for one that is not running wait for milliseconds, a hundred steps' time. As the
//! result does not depend on the number of threads, each training finds out what is faster here and
//! now, and looks again at times.

/// Steps from one look at the other way to the next.
const PERIOD: u32 = 256;
/// Steps of a look; the first of them is not counted, for threads may have to wake up.
const LOOK: u32 = 4;
/// The share of a usual step in the mean of its way, and that of a look's step.
const SHARES: (f64, f64) = (0.03, 0.15);

/// A way to take steps: alone, or together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Alone,
    Together,
}

/// Which way was how fast.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    /// Seconds a row, alone and together; none before the first step.
    means: [Option<f64>; 2],
    usual: Way,
    /// Steps until a look begins; a look is at steps below [`LOOK`].
    left: u32,
}

impl Turns {
    /// Threads pay until it is known better.
    pub(super) fn new() -> Turns {
        Turns { means: [None; 2], usual: Way::Together, left: 2 * LOOK }
    }

    /// The way of the next step.
    pub(super) fn next(&self) -> Way {
        match (self.usual, self.left < LOOK) {
            (Way::Alone, false) | (Way::Together, true) => Way::Alone,
            (Way::Alone, true) | (Way::Together, false) => Way::Together,
        }
    }

    /// Takes note of how long that step took.
    pub(super) fn note(&mut self, seconds_a_row: f64) {
        let way = self.next();
        let share = if self.left < LOOK { SHARES.1 } else { SHARES.0 };
        if self.left + 1 != LOOK {
            let mean = &mut self.means[way as usize];
            let before = mean.unwrap_or(seconds_a_row);
            *mean = Some(before + share * (seconds_a_row - before));
        }
        self.left = self.left.checked_sub(1).unwrap_or(PERIOD);
        if self.left < LOOK {
            return;
        }
        if let [Some(alone), Some(together)] = self.means {
            self.usual = if together < alone { Way::Together } else { Way::Alone };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of so many that were taken together, where these are the seconds of both ways.
    fn together(turns: &mut Turns, steps: usize, alone: f64, together: f64) -> usize {
        let step = |_: &usize| {
            let way = turns.next();
            turns.note(if way == Way::Alone { alone } else { together });
            way == Way::Together
        };
        (0..steps).filter(step).count()
    }

    #[test]
    fn the_faster_way_is_found() {
        for (alone, of_both, expected) in [(1.0, 0.6, 980..1000), (1.0, 1.2, 10..60)] {
            let taken = together(&mut Turns::new(), 1000, alone, of_both);
            assert!(expected.contains(&taken), "{alone}, {of_both}: {taken}");
        }
    }

    #[test]
    fn it_follows_what_changes() {
        let mut turns = Turns::new();
        together(&mut turns, 1000, 1.0, 0.6);
        // Others come, and each step waits for them.
        let taken = together(&mut turns, 1000, 1.0, 30.0);
        assert!(taken < 40, "{taken}");
        // They go, which a few looks must show.
        together(&mut turns, 20_000, 1.0, 0.6);
        let taken = together(&mut turns, 1000, 1.0, 0.6);
        assert!(taken > 950, "{taken}");
    }
}

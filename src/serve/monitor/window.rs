//! The last minute, hour and day: rings of slots that time moves through.

use super::tally::{Sample, Tally};
use crate::clock::Clock;

const SECOND_NS: u64 = 1_000_000_000;

/// A moment, told in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Never goes back.
    pub(super) steady_ns: u64,
    /// The time of day.
    pub(super) wall_ns: u64,
}

/// A time that never goes back, from a clock that may. Whenever the clock is set back, this time
/// goes on from where it was, at the same pace.
#[derive(Debug)]
pub(super) struct Timeline {
    last_wall_ns: u64,
    lead_ns: u64,
}

impl Timeline {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Timeline { last_wall_ns: clock.now_ns(), lead_ns: 0 }
    }

    pub(super) fn now(&mut self, clock: &dyn Clock) -> Moment {
        let wall_ns = clock.now_ns();
        let back = self.last_wall_ns.saturating_sub(wall_ns);
        self.lead_ns = self.lead_ns.saturating_add(back);
        self.last_wall_ns = wall_ns;
        Moment { steady_ns: wall_ns.saturating_add(self.lead_ns), wall_ns }
    }
}

/// The names of the windows, the shortest first.
pub(super) const NAMES: [&str; 3] = ["1m", "1h", "24h"];
/// The lengths of the windows in seconds.
pub(super) const SECONDS: [u64; 3] = [60, 3600, 86_400];

/// Into how many slots each window is cut. A window reaches back to the beginning of its oldest
/// slot, so it is up to one slot shorter than its name says, and never longer.
pub(super) type Slots = [usize; 3];

/// For all callers together: seconds, minutes, quarters of an hour.
pub(super) const FINE: Slots = [60, 60, 96];
/// For one validator: 5 seconds, 5 minutes, 2 hours. There may be hundreds of them, at 29 KB each.
pub(super) const COARSE: Slots = [12, 12, 12];

/// The last minute, hour and day of something.
#[derive(Debug)]
pub(super) struct Windows([Ring; 3]);

impl Windows {
    pub(super) fn new(slots: Slots) -> Self {
        Windows([0, 1, 2].map(|window| Ring::new(SECONDS[window], slots[window])))
    }

    pub(super) fn add(&mut self, moment: Moment, sample: &Sample) {
        self.0.iter_mut().for_each(|ring| ring.add(moment.steady_ns, sample));
    }

    /// Everything in one of the windows.
    pub(super) fn total(&self, window: usize, moment: Moment) -> Tally {
        let mut total = Tally::default();
        self.0[window].slots(moment.steady_ns).flatten().for_each(|slot| total.merge(slot));
        total
    }

    /// The slots of one of the windows, the oldest first; `None` where nothing happened.
    pub(super) fn slots(
        &self,
        window: usize,
        moment: Moment,
    ) -> impl Iterator<Item = Option<&Tally>> {
        self.0[window].slots(moment.steady_ns)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        for slot in self.0.iter_mut().flat_map(|ring| ring.slots.iter_mut()) {
            slot.number = EMPTY;
        }
    }
}

/// The number of a slot that holds nothing: no time is that late.
const EMPTY: u64 = u64::MAX;

#[derive(Debug)]
struct Ring {
    slot_ns: u64,
    slots: Box<[Slot]>,
}

#[derive(Debug, Clone)]
struct Slot {
    /// The time at which it begins, in slots.
    number: u64,
    tally: Tally,
}

impl Ring {
    fn new(seconds: u64, slots: usize) -> Self {
        let slot = Slot { number: EMPTY, tally: Tally::default() };
        Ring {
            slot_ns: seconds * SECOND_NS / slots as u64,
            slots: vec![slot; slots].into_boxed_slice(),
        }
    }

    fn place(&self, number: u64) -> usize {
        (number % self.slots.len() as u64) as usize
    }

    fn add(&mut self, now_ns: u64, sample: &Sample) {
        let number = now_ns / self.slot_ns;
        let place = self.place(number);
        let slot = &mut self.slots[place];
        if slot.number != number {
            *slot = Slot { number, tally: Tally::default() };
        }
        slot.tally.add(sample);
    }

    fn slots(&self, now_ns: u64) -> impl Iterator<Item = Option<&Tally>> {
        let newest = now_ns / self.slot_ns;
        (0..self.slots.len() as u64).rev().map(move |age| {
            let number = newest.checked_sub(age)?;
            let slot = &self.slots[self.place(number)];
            (slot.number == number).then_some(&slot.tally)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Finished, Outcome, Phases};
    use super::*;
    use crate::serve::monitor::tests::HandClock;

    fn answered() -> Sample {
        Sample::new(&Finished {
            hotkey: None,
            outcome: Outcome::Answered,
            total: Duration::from_micros(500),
            phases: Phases::default(),
            answer: None,
            reason: None,
        })
    }

    fn at(seconds: u64) -> Moment {
        Moment { steady_ns: seconds * SECOND_NS, wall_ns: 0 }
    }

    fn totals(windows: &Windows, moment: Moment) -> [u64; 3] {
        [0, 1, 2].map(|window| windows.total(window, moment).requests())
    }

    #[test]
    fn what_is_old_drops_out_of_one_window_after_the_other() {
        for slots in [FINE, COARSE] {
            let mut windows = Windows::new(slots);
            windows.add(at(0), &answered());
            windows.add(at(30), &answered());
            for (seconds, expected) in [
                (30, [2, 2, 2]),
                (59, [2, 2, 2]),
                (60, [1, 2, 2]),
                (89, [1, 2, 2]),
                (90, [0, 2, 2]),
                (3599, [0, 2, 2]),
                (3600, [0, 0, 2]),
                (86_399, [0, 0, 2]),
                (86_400, [0, 0, 0]),
                (10 * 86_400, [0, 0, 0]),
            ] {
                assert_eq!(totals(&windows, at(seconds)), expected, "{slots:?} {seconds}");
            }
        }
    }

    #[test]
    fn a_slot_is_used_again_for_its_next_time_only() {
        let mut windows = Windows::new(FINE);
        windows.add(at(5), &answered());
        windows.add(at(65), &answered());
        assert_eq!(totals(&windows, at(65)), [1, 2, 2]);
        windows.clear();
        assert_eq!(totals(&windows, at(65)), [0, 0, 0]);
    }

    #[test]
    fn slots_come_in_order() {
        let mut windows = Windows::new(FINE);
        windows.add(at(3600), &answered());
        windows.add(at(3602), &answered());
        windows.add(at(3602), &answered());
        let slots: Vec<Option<u64>> =
            windows.slots(0, at(3603)).map(|slot| slot.map(Tally::requests)).collect();
        assert_eq!(slots.len(), 60);
        assert_eq!(slots[56..], [Some(1), None, Some(2), None]);
        assert_eq!(slots[..56], [None; 56]);
    }

    #[test]
    fn time_goes_on_when_the_clock_goes_back() {
        let clock = HandClock::at_seconds(1000);
        let mut timeline = Timeline::new(&clock);
        for (wall, steady) in [(1000, 1000), (1010, 1010), (10, 1010), (11, 1011), (2000, 3000)] {
            clock.set_seconds(wall);
            let moment = timeline.now(&clock);
            assert_eq!(moment, Moment { wall_ns: wall * SECOND_NS, ..at(steady) });
        }
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let clock = HandClock::at_seconds(0);
        let mut timeline = Timeline::new(&clock);
        let mut windows = Windows::new(COARSE);
        for wall in [0, u64::MAX, 0, u64::MAX, 1] {
            clock.set(wall);
            let moment = timeline.now(&clock);
            windows.add(moment, &answered());
            assert!(totals(&windows, moment)[2] >= 1, "{wall}");
        }
    }
}

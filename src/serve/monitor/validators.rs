//! How each validator fares.

use std::collections::HashMap;

use super::tally::Sample;
use super::window::{COARSE, Moment, Windows};

/// How many are followed. A subnet has 256 places, and fewer of them validate.
pub(super) const LIMIT: usize = 256;
/// No hotkey is longer; one that was let through in spite of that is not worth remembering.
const HOTKEY_BYTES: usize = 64;

/// The verified callers that were heard from last.
#[derive(Debug, Default)]
pub(super) struct Validators {
    known: HashMap<Box<str>, Validator>,
}

/// One verified caller.
#[derive(Debug)]
pub(super) struct Validator {
    pub(super) last: Moment,
    pub(super) windows: Windows,
}

impl Validators {
    pub(super) fn add(&mut self, hotkey: &str, moment: Moment, sample: &Sample) {
        if let Some(validator) = self.known.get_mut(hotkey) {
            validator.last = moment;
            validator.windows.add(moment, sample);
            return;
        }
        if hotkey.len() > HOTKEY_BYTES {
            return;
        }
        let mut windows = self.make_room().unwrap_or_else(|| Windows::new(COARSE));
        windows.add(moment, sample);
        self.known.insert(hotkey.into(), Validator { last: moment, windows });
    }

    /// Forgets the one that was silent longest, if there is no room for another, and hands back its
    /// memory.
    fn make_room(&mut self) -> Option<Windows> {
        if self.known.len() < LIMIT {
            return None;
        }
        let silent = self.known.iter().min_by_key(|(_, validator)| validator.last.steady_ns);
        let hotkey = silent?.0.clone();
        let mut windows = self.known.remove(&hotkey)?.windows;
        windows.clear();
        Some(windows)
    }

    pub(super) fn hotkeys(&self) -> Vec<Box<str>> {
        self.known.keys().cloned().collect()
    }

    pub(super) fn get(&self, hotkey: &str) -> Option<&Validator> {
        self.known.get(hotkey)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Finished, Outcome, Phases};
    use super::*;

    #[test]
    fn the_one_that_was_silent_longest_makes_room() {
        let sample = Sample::new(&Finished {
            hotkey: None,
            outcome: Outcome::Answered,
            total: Duration::from_micros(500),
            phases: Phases::default(),
            answer: None,
            reason: None,
        });
        let at = |ns| Moment { steady_ns: ns, wall_ns: 0 };
        let mut validators = Validators::default();
        for number in 0..256 {
            validators.add(&format!("validator {number}"), at(number), &sample);
        }
        validators.add("validator 0", at(300), &sample);
        validators.add("one more", at(301), &sample);
        assert_eq!(validators.hotkeys().len(), LIMIT);
        assert!(validators.get("validator 1").is_none());
        let requests =
            |hotkey| validators.get(hotkey).unwrap().windows.total(2, at(301)).requests();
        assert_eq!((requests("validator 0"), requests("one more")), (2, 1));

        validators.add(&"x".repeat(65), at(302), &sample);
        assert!(validators.get("validator 2").is_some());
    }
}

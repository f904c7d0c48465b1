//! Axes: from numbers to places, with round numbers at the ticks.

use super::text::{escape, fixed};

/// Ticks of an axis, roughly.
const TICKS: f64 = 6.0;

/// One axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// What it shows, with the unit.
    pub(crate) label: String,
    /// Where it begins.
    pub(crate) low: f64,
    /// Where it ends; above `low`.
    pub(crate) high: f64,
    /// Whether only whole numbers are on it.
    whole: bool,
    /// What stands in place of ticks, each one wide.
    names: Vec<String>,
    /// Ticks in place of round numbers.
    own_ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over exactly this range.
    pub(crate) fn new(label: &str, low: f64, high: f64) -> Axis {
        let sound = low.is_finite() && high.is_finite() && high > low;
        let (low, high) = if sound { (low, high) } else { (0.0, 1.0) };
        Axis {
            label: label.to_owned(),
            low,
            high,
            whole: false,
            names: Vec::new(),
            own_ticks: Vec::new(),
        }
    }

    /// An axis over all of these values, out to the next ticks; those that are no numbers do not
    /// count.
    pub(crate) fn around(label: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let values = values.into_iter().filter(|value| value.is_finite());
        let (mut low, mut high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            return Axis::new(label, 0.0, 1.0);
        }
        if high - low < 1e-9 * high.abs().max(1e-3) {
            let half = 0.5 * high.abs().max(1e-3);
            (low, high) = (low - half, high + half);
        }
        // What is wider may have ticks further apart, and so ends elsewhere; twice is enough.
        for _ in 0..2 {
            let step = step(low, high);
            // A hair of slack, or what lies on a tick would go on to the next one.
            let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
            (low, high) = (first * step, last * step);
        }
        Axis::new(label, low, high)
    }

    /// The same with ticks at whole numbers only.
    pub(crate) fn whole(self) -> Axis {
        Axis { whole: true, ..self }
    }

    /// The same with a name in the middle of each unit in place of ticks.
    pub(crate) fn with_names(self, names: &[&str]) -> Axis {
        Axis { names: names.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    /// The same with these ticks in place of round numbers.
    pub(crate) fn with_ticks(self, ticks: impl IntoIterator<Item = (f64, String)>) -> Axis {
        Axis { own_ticks: ticks.into_iter().collect(), ..self }
    }

    /// A probability or a share.
    pub(crate) fn share(label: &str) -> Axis {
        Axis::new(label, 0.0, 1.0)
    }

    /// Where a value lies, 0 at the beginning and 1 at the end; never beyond these.
    pub(crate) fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Whether a value is within the range, give or take what rounding does.
    pub(crate) fn holds(&self, value: f64) -> bool {
        let slack = 1e-9 * (self.high - self.low);
        value >= self.low - slack && value <= self.high + slack
    }

    /// Round values within the range, and how they are written in HTML.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        if !self.names.is_empty() {
            let names = self.names.iter().enumerate();
            return names.map(|(index, name)| (index as f64 + 0.5, escape(name))).collect();
        }
        if !self.own_ticks.is_empty() {
            let ticks = self.own_ticks.iter().filter(|(value, _)| self.holds(*value));
            return ticks.map(|(value, label)| (*value, escape(label))).collect();
        }
        let step = step(self.low, self.high);
        let step = if self.whole { step.max(1.0) } else { step };
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let first = (self.low / step - 1e-9).ceil();
        let last = (self.high / step + 1e-9).floor();
        (0..=(last - first) as usize)
            .map(|index| {
                let value = (first + index as f64) * step;
                (value, fixed(value, decimals))
            })
            .collect()
    }
}

/// The distance of ticks: 1, 2 or 5 times a power of ten.
fn step(low: f64, high: f64) -> f64 {
    let wanted = (high - low) / TICKS;
    let unit = 10_f64.powf(wanted.log10().floor());
    let factor = wanted / unit;
    unit * match factor {
        factor if factor < 1.5 => 1.0,
        factor if factor < 3.5 => 2.0,
        factor if factor < 7.5 => 5.0,
        _ => 10.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::share("")), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(
            labels(&Axis::around("", [0.31, 0.52])),
            ["0.30", "0.35", "0.40", "0.45", "0.50", "0.55"]
        );
        assert_eq!(
            labels(&Axis::around("", [-12.0, 31.0])),
            ["\u{2212}20", "\u{2212}10", "0", "10", "20", "30", "40"]
        );
        assert_eq!(
            labels(&Axis::around("", [1.0, 60.0])),
            ["0", "10", "20", "30", "40", "50", "60"]
        );
        assert_eq!(
            labels(&Axis::new("", 0.0, 12_345.0)),
            ["0", "2000", "4000", "6000", "8000", "10000", "12000"]
        );
    }

    #[test]
    fn odd_ranges_have_an_axis() {
        for axis in [
            Axis::around("", []),
            Axis::around("", [f64::NAN]),
            Axis::around("", [5.0]),
            Axis::around("", [0.0, 0.0]),
            Axis::around("", [-3.0, -3.0, f64::INFINITY]),
            Axis::around("", [1e-12, 2e-12]),
            Axis::new("", 1.0, 1.0),
            Axis::new("", f64::NAN, 1.0),
        ] {
            assert!(axis.high > axis.low, "{axis:?}");
            assert!((1..20).contains(&axis.ticks().len()), "{axis:?}: {:?}", axis.ticks());
        }
    }

    #[test]
    fn some_axes_have_other_ticks() {
        assert_eq!(labels(&Axis::new("", 1.0, 3.0).whole()), ["1", "2", "3"]);
        let named = Axis::new("", 0.0, 2.0).with_names(&["a", "<b"]);
        assert_eq!(named.ticks(), [(0.5, "a".to_owned()), (1.5, "&lt;b".to_owned())]);
    }

    #[test]
    fn ticks_of_ones_own() {
        let ticks = [(0.0, "Monday".to_owned()), (7.0, "<".to_owned()), (9.0, "out".to_owned())];
        let axis = Axis::new("", 0.0, 8.0).with_ticks(ticks);
        assert_eq!(axis.ticks(), [(0.0, "Monday".to_owned()), (7.0, "&lt;".to_owned())]);
    }

    #[test]
    fn places_stay_inside() {
        let axis = Axis::new("", -1.0, 3.0);
        for (value, place) in [(-1.0, 0.0), (0.0, 0.25), (3.0, 1.0), (-9.0, 0.0), (9.0, 1.0)] {
            assert_eq!(axis.place(value), place);
        }
        assert!(axis.holds(3.0) && !axis.holds(3.1) && !axis.holds(f64::NAN));
    }
}

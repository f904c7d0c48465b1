//! Dropout from a small generator a shard: what is dropped depends on the seed, the step and the shard,
//! and on no thread.

use super::matrix::PANEL;

/// How much is dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dropout {
    /// Numbers below this are dropped.
    threshold: u32,
    /// What the rest is multiplied with.
    pub(super) scale: f32,
}

impl Dropout {
    /// Drops a share of the units, in 0..1.
    pub(super) fn new(share: f64) -> Dropout {
        let threshold = (share * 2.0_f64.powi(32)) as u32;
        Dropout { threshold, scale: (1.0 / (1.0 - share)) as f32 }
    }

    /// Whether nothing is dropped.
    pub(super) fn is_off(&self) -> bool {
        self.threshold == 0
    }

    /// Makes the dropped of a row's units zero and scales the others; whole panels only.
    #[inline(always)]
    pub(super) fn apply(&self, random: &mut Random, units: &mut [f32]) {
        for units in units.as_chunks_mut::<PANEL>().0 {
            random.advance();
            for (value, bits) in units.iter_mut().zip(&random.lanes) {
                *value *= if *bits < self.threshold { 0.0 } else { self.scale };
            }
        }
    }
}

/// Marsaglia's xorshift of 32 bits, in as many lanes as a panel has columns.
#[derive(Debug)]
pub(super) struct Random {
    lanes: [u32; PANEL],
}

impl Random {
    /// The generator of a layer's shard of a step.
    pub(super) fn new(seed: u64, step: u64, shard: usize, layer: usize) -> Random {
        let mut bits = seed;
        for part in [step, shard as u64, layer as u64] {
            bits = splitmix(bits ^ part);
        }
        // Only a state of zero bits is never left.
        Random {
            lanes: std::array::from_fn(|lane| (splitmix(bits ^ lane as u64) >> 32) as u32 | 1),
        }
    }

    #[inline(always)]
    fn advance(&mut self) {
        for bits in &mut self.lanes {
            *bits ^= *bits << 13;
            *bits ^= *bits >> 17;
            *bits ^= *bits << 5;
        }
    }
}

/// A number that looks like none of its neighbours (Steele, Lea and Flood, "Fast Splittable
/// Pseudorandom Number Generators", 2014).
fn splitmix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 rows of 64 units after dropout.
    fn dropped(seed: u64, step: u64, shard: usize, layer: usize) -> Vec<f32> {
        let dropout = Dropout::new(0.3);
        let mut random = Random::new(seed, step, shard, layer);
        let mut units = vec![1.0; 64_000];
        units.chunks_exact_mut(64).for_each(|row| dropout.apply(&mut random, row));
        units
    }

    #[test]
    fn so_many_are_dropped_and_the_mean_stays() {
        let units = dropped(7, 1, 0, 0);
        let kept: Vec<f32> = units.iter().copied().filter(|unit| *unit != 0.0).collect();
        assert!(kept.iter().all(|unit| (unit * 0.7 - 1.0).abs() < 1e-6));
        // A standard deviation is 0.0018.
        assert!((kept.len() as f64 / 64_000.0 - 0.7).abs() < 0.007, "{}", kept.len());
        for column in 0..64 {
            let kept = units.iter().skip(column).step_by(64).filter(|unit| **unit != 0.0).count();
            // 14.5 here.
            assert!((kept as f64 - 700.0).abs() < 73.0, "{kept} of column {column}");
        }
    }

    #[test]
    fn each_place_has_its_own() {
        let one = dropped(7, 1, 0, 0);
        assert_eq!(one, dropped(7, 1, 0, 0));
        for other in
            [dropped(8, 1, 0, 0), dropped(7, 2, 0, 0), dropped(7, 1, 1, 0), dropped(7, 1, 0, 1)]
        {
            let same = one.iter().zip(&other).filter(|(one, other)| one == other).count();
            // 0.3² + 0.7² by chance.
            assert!((same as f64 / 64_000.0 - 0.58).abs() < 0.01, "{same}");
        }
    }

    #[test]
    fn nothing_is_dropped_of_nothing() {
        assert!(Dropout::new(0.0).is_off() && !Dropout::new(1e-6).is_off());
    }
}

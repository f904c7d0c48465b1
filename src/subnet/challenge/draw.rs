//! The draws that the generators are made of.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// `value` rounded to `decimals` places; see the [module](super) on ties.
pub(super) fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// A normal distribution whose draws are clipped to a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clipped {
    mean: f64,
    sd: f64,
    low: f64,
    high: f64,
}

/// The normal distribution with this mean and standard deviation, clipped to `low..=high`.
pub(super) const fn clipped(mean: f64, sd: f64, low: f64, high: f64) -> Clipped {
    Clipped { mean, sd, low, high }
}

/// The randomness of one sequence of examples.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A random UUID, in its usual text form.
    pub(super) fn session_id(&mut self) -> String {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    pub(super) fn standard_normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.rng)
    }

    /// A draw of `law`, rounded to `decimals` places.
    pub(super) fn float(&mut self, law: Clipped, decimals: i32) -> f64 {
        let value = law.mean + law.sd * self.standard_normal();
        round(value.clamp(law.low, law.high), decimals)
    }

    /// A draw of `law` without its fraction. It is cut off after clipping and not rounded, so
    /// values come out half a unit low on average, as they do from the validators.
    pub(super) fn int(&mut self, law: Clipped) -> f64 {
        let value = law.mean + law.sd * self.standard_normal();
        value.clamp(law.low, law.high).trunc()
    }

    /// Each whole number of `low..=high` with the same chance.
    pub(super) fn any_int(&mut self, low: u32, high: u32) -> f64 {
        f64::from(self.rng.random_range(low..=high))
    }

    /// Anything between `low` and `high`.
    pub(super) fn any_float(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.rng.random::<f64>()
    }

    /// 1 or 0, with the same chance.
    pub(super) fn coin(&mut self) -> f64 {
        f64::from(u8::from(self.rng.random::<bool>()))
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random::<f64>() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding() {
        for (value, decimals, expected) in [
            (1.234, 2, 1.23),
            (1.235, 2, 1.24), // the tie that Python's decimal view would round down
            (-1.0, 2, -1.0),
            (92.0 / 60.0, 4, 1.5333),
            (0.12345, 3, 0.123),
            (7.5, 0, 8.0),
        ] {
            assert_eq!(round(value, decimals), expected, "{value}");
        }
    }

    #[test]
    fn draws_stay_in_their_ranges() {
        let mut dice = Dice::new(1);
        let law = clipped(8.0, 2.0, 4.0, 20.0);
        let mut sum = 0.0;
        for _ in 0..20_000 {
            let int = dice.int(law);
            assert!((4.0..=20.0).contains(&int) && int.fract() == 0.0);
            sum += int;
            let float = dice.float(clipped(0.0, 100.0, -1.0, 1.0), 2);
            assert!((-1.0..=1.0).contains(&float));
            assert!((8.0..=19.0).contains(&dice.any_int(8, 19)));
            assert!((0.2..0.8).contains(&dice.any_float(0.2, 0.8)));
        }
        // Truncation takes half a unit; the standard error of this mean is 0.014. The clip at 4
        // lies two deviations out and gives 0.017 back.
        let mean = sum / 20_000.0;
        assert!((mean - 7.517).abs() < 0.05, "{mean}");
    }

    #[test]
    fn session_ids_are_random_uuids() {
        let id = Dice::new(3).session_id();
        let parsed = uuid::Uuid::parse_str(&id).unwrap();
        assert_eq!(parsed.get_version_num(), 4);
        assert_eq!(parsed.hyphenated().to_string(), id);
    }
}

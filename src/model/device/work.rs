//! From how much work on a GPU pays.

/// What is to be computed, as far as it decides where.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Every row, as often as it goes through a network.
    pub rows: f64,
    /// Multiply-adds a row and network; of training three times as many as of answering.
    pub multiply_adds_per_row: f64,
    /// Batches, of all networks and passes.
    pub steps: f64,
    /// Kernels that a GPU is sent a batch.
    pub launches_per_step: f64,
}

/// What a core of the CPU does, in multiply-adds a second. The guide's classifier (22 thousand
/// weights, so 66 thousand multiply-adds a row in training) was trained with two cores at about
/// 270 thousand rows a second in batches of 1024 rows and more: 9e9 a core, batch norm, loss and
/// optimiser included.
const CPU_MULTIPLY_ADDS_PER_SECOND: f64 = 9e9;
/// What a GPU does at least while a kernel of these narrow layers runs. Every pass over the
/// activations goes to memory, so this is far below what its data sheet says.
const GPU_MULTIPLY_ADDS_PER_SECOND: f64 = 1e12;
/// What sending one kernel costs, on the side of the CPU: wgpu checks and encodes each.
const SECONDS_PER_LAUNCH: f64 = 10e-6;
/// What comes before the first step: the driver starts twice, once to be checked, and compiles
/// every kernel.
const START_SECONDS: f64 = 10.0;
/// How many times as fast the GPU must promise to be, since all of this is reckoned and not
/// measured on the machine at hand.
const MARGIN: f64 = 1.5;

/// Kernels of one step of training: about a hundred forward and backward in the default's
/// networks, and fifteen of AdamW for each of their dozen tensors.
const TRAINING_LAUNCHES: f64 = 300.0;
/// Kernels of one batch that is answered.
const ANSWERING_LAUNCHES: f64 = 40.0;

impl Work {
    /// Training a network of so many weights, by `steps` batches in which `rows` rows come.
    pub fn training(rows: f64, weights: f64, steps: f64) -> Work {
        let multiply_adds_per_row = 3.0 * weights;
        Work { rows, multiply_adds_per_row, steps, launches_per_step: TRAINING_LAUNCHES }
    }

    /// Answering so many rows with networks of so many weights in all, in batches.
    pub fn answering(rows: usize, weights: usize, networks: usize, batch_rows: usize) -> Work {
        Work {
            rows: rows as f64,
            multiply_adds_per_row: weights as f64,
            steps: (rows.div_ceil(batch_rows.max(1)) * networks) as f64,
            launches_per_step: ANSWERING_LAUNCHES,
        }
    }

    /// One after the other.
    #[must_use]
    pub fn and(self, other: Work) -> Work {
        let multiply_adds = self.multiply_adds() + other.multiply_adds();
        let rows = self.rows + other.rows;
        let steps = self.steps + other.steps;
        let launches = self.launches() + other.launches();
        let share = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
        Work {
            rows,
            multiply_adds_per_row: share(multiply_adds, rows),
            steps,
            launches_per_step: share(launches, steps),
        }
    }

    /// Whether a GPU promises to be done well before so many cores of a CPU.
    pub fn pays_on_gpu(&self, cores: usize) -> bool {
        self.gpu_seconds() * MARGIN < self.cpu_seconds(cores)
    }

    /// How long the CPU takes, by the constants above.
    pub fn cpu_seconds(&self, cores: usize) -> f64 {
        self.multiply_adds() / (CPU_MULTIPLY_ADDS_PER_SECOND * cores.max(1) as f64)
    }

    /// How long a GPU takes, by the constants above.
    pub fn gpu_seconds(&self) -> f64 {
        START_SECONDS
            + self.launches() * SECONDS_PER_LAUNCH
            + self.multiply_adds() / GPU_MULTIPLY_ADDS_PER_SECOND
    }

    fn multiply_adds(&self) -> f64 {
        self.rows * self.multiply_adds_per_row
    }

    fn launches(&self) -> f64 {
        self.steps * self.launches_per_step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_by_hand() {
        // 1e6 rows of 3 * 3000 multiply-adds: 9e9, a second of one core. In 1000 steps of 300
        // launches of 10 us, that is 3 s, with 9 ms of arithmetic and 10 s before.
        let work = Work::training(1e6, 3000.0, 1000.0);
        assert!((work.cpu_seconds(1) - 1.0).abs() < 1e-9);
        assert!((work.cpu_seconds(2) - 0.5).abs() < 1e-9);
        assert!((work.gpu_seconds() - 13.009).abs() < 1e-9);
        let both = work.and(work);
        assert!((both.cpu_seconds(1) - 2.0).abs() < 1e-9);
        assert!((both.gpu_seconds() - 16.018).abs() < 1e-9);
        let none = Work::default().and(Work::default());
        assert!(!none.pays_on_gpu(1));
    }

    #[test]
    fn small_work_stays_on_the_cpu() {
        for (rows, weights, batch, cores, expected, why) in [
            (20_000.0 * 60.0, 22_000.0, 256.0, 2, false, "a day's conversations"),
            (1e6 * 16.0, 22_000.0, 256.0, 2, false, "many steps, little in each"),
            (10e6 * 16.0, 22_000.0, 4096.0, 2, true, "much in each step"),
            (10e6 * 16.0, 22_000.0, 4096.0, 64, false, "many cores"),
            (50e6 * 16.0, 60_000.0, 16_384.0, 16, true, "more than many cores want"),
        ] {
            let work = Work::training(rows, weights, rows / batch);
            assert_eq!(work.pays_on_gpu(cores), expected, "{why}");
        }
        assert!(!Work::answering(100_000, 60_000, 6, 4096).pays_on_gpu(2));
        assert!(Work::answering(50_000_000, 60_000, 6, 4096).pays_on_gpu(2));
    }
}

//! How much there is to compute in a training, before any of it is.

use super::TrainConfig;
use super::member::{Architecture, MemberConfig};
use crate::features::engineer::INPUT_COUNT;
use crate::model::device::Work;

/// Of the bins that an input may have, those that it gets: a share, for an input with few values has
/// few, and how many values each has is known only when the rows are read.
const USED_BINS: f64 = 0.5;

/// The work of a training on so many rows, at its longest: no stage ends early.
pub fn work(config: &TrainConfig, rows: usize) -> Work {
    let members = config.classifier.iter().chain(&config.regressor);
    members.fold(Work::default(), |work, member| work.and(of_member(member, rows)))
}

fn of_member(member: &MemberConfig, rows: usize) -> Work {
    let batches = (rows / member.batch_size.max(1)).max(1);
    let passes = member.epochs.max(member.least_steps.div_ceil(batches)) * member.copies;
    let visits = rows as f64 * passes as f64;
    Work::training(visits, weights(member), (batches * passes) as f64)
}

/// About how many weights a network of these settings has.
fn weights(member: &MemberConfig) -> f64 {
    let units = member.units as f64;
    let inputs = INPUT_COUNT as f64;
    let encoded = inputs * (1.0 + USED_BINS * (member.bins + member.splits) as f64);
    let hidden = member.layers.saturating_sub(1) as f64;
    let alone = match member.architecture {
        Architecture::Mlp => inputs * units + units * units / 2.0,
        Architecture::Residual => inputs * units + 2.0 * member.layers as f64 * units * units,
        Architecture::Tabular => encoded * units + hidden * units * units,
        Architecture::Mixture => 2.0 * encoded * units,
    };
    alone * member.packed as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::observer::Stage;

    #[test]
    fn weights_are_about_those_of_the_networks() {
        let guide = MemberConfig::new(Stage::Classifier, Architecture::Mlp);
        // 102 * 128 + 128 * 64: without biases, norm and output.
        assert!((weights(&guide) - 21_248.0).abs() < 1e-9);
    }

    #[test]
    fn only_large_tables_are_for_a_gpu() {
        let config = TrainConfig::default();
        assert!(!work(&config, 1000).pays_on_gpu(2));
        assert!(!work(&config, 50_000).pays_on_gpu(2));
        let large = MemberConfig {
            batch_size: 16_384,
            ..MemberConfig::new(Stage::Classifier, Architecture::Mlp)
        };
        let config = TrainConfig { classifier: vec![large], regressor: Vec::new(), ..config };
        assert!(work(&config, 10_000_000).pays_on_gpu(2));
    }
}

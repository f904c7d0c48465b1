//! Piecewise-linear encoding of numbers: each input becomes several, one a bin of its values.
//!
//! A bin's input is 0 below it, 1 above it and rises linearly within, so that a linear layer on top
//! draws any piecewise-linear function of the number, jumps of a bin's width among them. After
//! Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
//! Learning" (2022).

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Tensor};

use super::floats;

/// The bins of all inputs, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bins {
    /// The input that each bin belongs to.
    pub columns: Vec<i32>,
    /// Where each bin begins.
    pub lower: Vec<f32>,
    /// One over each bin's width.
    pub inverse_width: Vec<f32>,
}

impl Bins {
    /// Adds bins between the quantiles of each column, at most `most` a column. A column with two
    /// values only gets none: a linear layer needs no help there.
    ///
    /// # Shapes
    ///
    /// - `rows`: `[rows, width]`, row-major
    pub fn add_quantiles(&mut self, rows: &[f32], width: usize, most: usize) {
        let step = step_of(rows, width);
        for column in 0..width {
            let mut values: Vec<f32> =
                rows.chunks_exact(width).step_by(step).map(|row| row[column]).collect();
            values.sort_unstable_by(f32::total_cmp);
            let mut borders: Vec<f32> = (0..=most)
                .filter_map(|part| values.get(part * values.len().saturating_sub(1) / most.max(1)))
                .copied()
                .collect();
            borders.dedup();
            if borders.len() >= 3 {
                borders.windows(2).for_each(|pair| self.push(column, pair[0], pair[1]));
            }
        }
    }

    /// Adds steps where the share of converted rows changes the most along a column, at most `most`
    /// a column: the splits that a decision tree on that column alone would make. Each is a bin
    /// between two neighbouring values, so that it is empty below and full above.
    ///
    /// Gorishniy and others call encodings with such borders target-aware; between borders they are
    /// linear, though, and jumps are what trees are good at.
    ///
    /// # Shapes
    ///
    /// - `rows`: `[converted.len(), width]`, row-major
    pub fn add_splits(&mut self, rows: &[f32], width: usize, converted: &[bool], most: usize) {
        let step = step_of(rows, width);
        for column in 0..width {
            let mut pairs: Vec<(f32, bool)> = rows
                .chunks_exact(width)
                .zip(converted)
                .step_by(step)
                .map(|(row, converted)| (row[column], *converted))
                .collect();
            pairs.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
            if pairs.first().map(|pair| pair.0) == pairs.last().map(|pair| pair.0) {
                continue;
            }
            for index in splits(&pairs, most) {
                self.push(column, pairs[index - 1].0, pairs[index].0);
            }
        }
    }

    fn push(&mut self, column: usize, lower: f32, upper: f32) {
        self.columns.push(column as i32);
        self.lower.push(lower);
        self.inverse_width.push(1.0 / (upper - lower));
    }

    /// How many bins there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}

/// Every so many rows are looked at: more rows move a border by nothing that matters.
fn step_of(rows: &[f32], width: usize) -> usize {
    const MOST_ROWS: usize = 100_000;
    (rows.len() / width.max(1)).div_ceil(MOST_ROWS).max(1)
}

/// Where to cut sorted rows so that the classes of the parts are as pure as they can be: the first
/// rows of the upper parts, the best cut first.
fn splits(pairs: &[(f32, bool)], most: usize) -> Vec<usize> {
    /// A part is at least this share of the rows, and at least so many.
    const LEAST: (usize, usize) = (200, 10);
    /// What a cut must add to the log likelihood, in nats. Chance alone adds as much to most
    /// columns, but closing gates is training's task, and a border that only matters together with
    /// others adds little on its own.
    const LEAST_GAIN: f64 = 1.0;
    let (share, rows) = LEAST;
    let least = (pairs.len() / share).max(rows);
    let mut below = vec![0_usize; pairs.len() + 1];
    for (index, (_, converted)) in pairs.iter().enumerate() {
        below[index + 1] = below[index] + usize::from(*converted);
    }
    let best_of = |from: usize, to: usize| -> Option<(f64, usize, usize, usize)> {
        let cost = |from: usize, to: usize| impurity(below[to] - below[from], to - from);
        let whole = cost(from, to);
        (from + least..(to + 1).saturating_sub(least))
            .filter(|cut| pairs[cut - 1].0 < pairs[*cut].0)
            .map(|cut| (whole - cost(from, cut) - cost(cut, to), cut, from, to))
            .max_by(|left, right| left.0.total_cmp(&right.0).then(right.1.cmp(&left.1)))
            .filter(|(gain, ..)| *gain > LEAST_GAIN)
    };
    let mut open: Vec<_> = best_of(0, pairs.len()).into_iter().collect();
    let mut cuts = Vec::new();
    while cuts.len() < most {
        let best = (0..open.len()).max_by(|left, right| open[*left].0.total_cmp(&open[*right].0));
        let Some(best) = best else { break };
        let (_, cut, from, to) = open.swap_remove(best);
        cuts.push(cut);
        open.extend(best_of(from, cut));
        open.extend(best_of(cut, to));
    }
    cuts
}

/// The entropy of a part's classes times its rows, in nats.
fn impurity(converted: usize, rows: usize) -> f64 {
    let part = |count: usize| {
        let count = count as f64;
        if count > 0.0 { count * (rows as f64 / count).ln() } else { 0.0 }
    };
    part(converted) + part(rows - converted)
}

/// Bins as constants of a network.
#[derive(Module, Debug)]
pub struct Piecewise {
    columns: Param<Tensor<1, Int>>,
    lower: Param<Tensor<1>>,
    inverse_width: Param<Tensor<1>>,
}

impl Piecewise {
    /// The encoding with these bins.
    pub fn new(bins: &Bins, device: &Device) -> Piecewise {
        let constant = |values: &[f32]| {
            Param::initialized(ParamId::new(), Tensor::from_floats(values, device))
                .set_require_grad(false)
        };
        let columns = Tensor::from_ints(bins.columns.as_slice(), device);
        Piecewise {
            columns: Param::initialized(ParamId::new(), columns),
            lower: constant(&bins.lower),
            inverse_width: constant(&bins.inverse_width),
        }
    }

    /// The input that each bin belongs to.
    ///
    /// # Shapes
    ///
    /// - output: `[bins]`
    pub fn columns(&self) -> Tensor<1, Int> {
        self.columns.val()
    }

    /// How far each bin is filled, in 0..=1.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, inputs]`
    /// - output: `[batch, bins]`
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        let above = inputs.select(1, self.columns.val()) - self.lower.val().unsqueeze();
        (above * self.inverse_width.val().unsqueeze()).clamp(0.0, 1.0)
    }

    /// The bins as they are in memory.
    pub fn bins(&self) -> Bins {
        let columns = self.columns.val().into_data();
        Bins {
            columns: columns.iter::<i32>().collect(),
            lower: floats(self.lower.val()),
            inverse_width: floats(self.inverse_width.val()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_by_hand() {
        // Column 0: 0, 1, 2, 3, 4 in two bins, with the border at the median; column 1 has two
        // values only, and column 2 one.
        let rows: Vec<f32> = (0..5).flat_map(|row| [row as f32, (row % 2) as f32, 7.0]).collect();
        let mut bins = Bins::default();
        bins.add_quantiles(&rows, 3, 2);
        assert_eq!(bins.columns, [0, 0]);
        assert_eq!(bins.lower, [0.0, 2.0]);
        assert_eq!(bins.inverse_width, [0.5, 0.5]);

        let device = Device::flex();
        let encoding = Piecewise::new(&bins, &device);
        assert_eq!(encoding.bins(), bins);
        let inputs =
            Tensor::<2>::from_floats([[1.0, 0.0, 7.0], [3.5, 0.0, 7.0], [-9.0, 0.0, 7.0]], &device);
        let filled = floats(encoding.forward(inputs).flatten(0, 1));
        assert_eq!(filled, [0.5, 0.0, 1.0, 0.75, 0.0, 0.0]);
    }

    #[test]
    fn equal_quantiles_are_one_border() {
        let rows = [vec![0.0; 97], vec![1.0, 2.0, 3.0]].concat();
        let mut bins = Bins::default();
        bins.add_quantiles(&rows, 1, 4);
        assert_eq!(bins.lower, Vec::<f32>::new(), "0 and the largest value are two borders only");
        bins.add_quantiles(&[], 3, 4);
        bins.add_splits(&[], 3, &[], 4);
        assert!(bins.is_empty());
    }

    #[test]
    fn splits_are_where_the_outcome_changes() {
        // Column 0 converts from 60 to 79 only; column 1 says nothing.
        let rows: Vec<f32> = (0..100).flat_map(|row| [row as f32, (row % 2) as f32]).collect();
        let converted: Vec<bool> = (0..100).map(|row| (60..80).contains(&row)).collect();
        let mut bins = Bins::default();
        bins.add_splits(&rows, 2, &converted, 8);
        assert_eq!(bins.columns, [0, 0]);
        let mut lower = bins.lower.clone();
        lower.sort_by(f32::total_cmp);
        assert_eq!(lower, [59.0, 79.0]);
        assert_eq!(bins.inverse_width, [1.0, 1.0]);
    }

    #[test]
    fn impurity_by_hand() {
        // 4 rows, one of each two: 4 ln 2. 3 of 4: 3 ln(4/3) + ln 4.
        assert!((impurity(2, 4) - 4.0 * 2.0_f64.ln()).abs() < 1e-12);
        assert!((impurity(3, 4) - (3.0 * (4.0_f64 / 3.0).ln() + 4.0_f64.ln())).abs() < 1e-12);
        assert_eq!((impurity(0, 4), impurity(4, 4)), (0.0, 0.0));
    }
}

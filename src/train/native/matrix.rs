//! Products of the sizes that training has: a shard's rows, some hundred columns.
//!
//! Weights lie in panels of [`PANEL`] columns, so that a product reads them from one end to the other.
//! Activations lie row by row, with a stride that is no power of two: rows of equal sets of the cache
//! would push each other out. Everything is padded, so that there are whole tiles only; what is
//! computed of the padding is never read.

use pulp::Simd;

/// Columns of a panel.
pub(super) const PANEL: usize = 32;
/// What rows are padded to a multiple of: the height of any tile divides it.
pub(super) const TILE: usize = 8;

/// Vectors side by side in a tile: with the tile's height they fill the registers and hide the latency of
/// a multiplication.
const ACROSS: usize = 2;

/// A matrix whose rows follow each other at a stride.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
}

/// How many panels so many columns need.
pub(super) fn panels(columns: usize) -> usize {
    columns.div_ceil(PANEL)
}

/// How far apart the rows of a matrix of activations lie.
pub(super) fn stride(columns: usize) -> usize {
    columns.next_multiple_of(PANEL) + PANEL / 2
}

/// So many rows, padded.
pub(super) fn height(rows: usize) -> usize {
    rows.next_multiple_of(TILE)
}

/// `c = a b` for a panel of columns.
///
/// # Shapes
///
/// - `a`: `[height(rows), depth]`
/// - `b`: `[depth, PANEL]`, without a gap between rows
/// - `c`: `[height(rows), PANEL]` at a stride
#[inline(always)]
pub(super) fn product<S: Simd>(
    simd: S,
    (rows, depth): (usize, usize),
    a: Rows<'_>,
    b: &[f32],
    c: &mut [f32],
    stride: usize,
) {
    // Twice as many registers where they are widest.
    if S::F32_LANES == 16 {
        product_by::<S, 8>(simd, (rows, depth), a, b, c, stride);
    } else {
        product_by::<S, 4>(simd, (rows, depth), a, b, c, stride);
    }
}

#[inline(always)]
fn product_by<S: Simd, const HIGH: usize>(
    simd: S,
    (rows, depth): (usize, usize),
    a: Rows<'_>,
    b: &[f32],
    c: &mut [f32],
    stride: usize,
) {
    let wide = ACROSS * S::F32_LANES;
    let b = &b[..depth * PANEL];
    for part in (0..PANEL).step_by(wide) {
        for row in (0..rows).step_by(HIGH) {
            let a: [&[f32]; HIGH] =
                std::array::from_fn(|high| &a.values[(row + high) * a.stride..][..depth]);
            let mut sums = [[simd.splat_f32s(0.0); ACROSS]; HIGH];
            for (step, b) in b.chunks_exact(PANEL).enumerate() {
                let (b, _) = S::as_simd_f32s(&b[part..part + wide]);
                let b: [S::f32s; ACROSS] = std::array::from_fn(|across| b[across]);
                for high in 0..HIGH {
                    let a = simd.splat_f32s(a[high][step]);
                    for across in 0..ACROSS {
                        sums[high][across] = simd.mul_add_e_f32s(a, b[across], sums[high][across]);
                    }
                }
            }
            for (high, sums) in sums.iter().enumerate() {
                let c = &mut c[(row + high) * stride + part..][..wide];
                S::as_mut_simd_f32s(c).0.copy_from_slice(sums);
            }
        }
    }
}

/// `c = a' b` for a panel of columns: a sum over rows.
///
/// # Shapes
///
/// - `a`: `[rows, height(columns)]`
/// - `b`: `[rows, PANEL]` at a stride
/// - `c`: `[height(columns), PANEL]`, without a gap between rows
#[inline(always)]
pub(super) fn product_of_transposed<S: Simd>(
    simd: S,
    (columns, rows): (usize, usize),
    a: Rows<'_>,
    b: Rows<'_>,
    c: &mut [f32],
) {
    if S::F32_LANES == 16 {
        product_of_transposed_by::<S, 8>(simd, (columns, rows), a, b, c);
    } else {
        product_of_transposed_by::<S, 4>(simd, (columns, rows), a, b, c);
    }
}

#[inline(always)]
fn product_of_transposed_by<S: Simd, const HIGH: usize>(
    simd: S,
    (columns, rows): (usize, usize),
    a: Rows<'_>,
    b: Rows<'_>,
    c: &mut [f32],
) {
    let wide = ACROSS * S::F32_LANES;
    for part in (0..PANEL).step_by(wide) {
        for column in (0..columns).step_by(HIGH) {
            let mut sums = [[simd.splat_f32s(0.0); ACROSS]; HIGH];
            for (a, b) in a.values.chunks(a.stride).zip(b.values.chunks(b.stride)).take(rows) {
                let (b, _) = S::as_simd_f32s(&b[part..part + wide]);
                let b: [S::f32s; ACROSS] = std::array::from_fn(|across| b[across]);
                let a = &a[column..][..HIGH];
                for high in 0..HIGH {
                    let a = simd.splat_f32s(a[high]);
                    for across in 0..ACROSS {
                        sums[high][across] = simd.mul_add_e_f32s(a, b[across], sums[high][across]);
                    }
                }
            }
            for (high, sums) in sums.iter().enumerate() {
                let c = &mut c[(column + high) * PANEL + part..][..wide];
                S::as_mut_simd_f32s(c).0.copy_from_slice(sums);
            }
        }
    }
}

/// The sum of products of two rows of equal length, a multiple of [`PANEL`].
#[inline(always)]
pub(super) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, _), (b, _)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sums = [simd.splat_f32s(0.0); 2];
    for (a, b) in a.chunks_exact(2).zip(b.chunks_exact(2)) {
        for half in 0..2 {
            sums[half] = simd.mul_add_e_f32s(a[half], b[half], sums[half]);
        }
    }
    simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]))
}

/// A panel of the transposed of a matrix in panels.
///
/// # Shapes
///
/// - `of`: `[rows, columns]` in panels of at least `rows` rows each
/// - `into`: columns `panel * PANEL..` of `[columns, rows]`
#[inline(always)]
pub(super) fn transpose_panel(of: &[&[f32]], panel: usize, into: &mut [f32]) {
    for (of, into) in of.iter().zip(into.chunks_exact_mut(PANEL * PANEL)) {
        let of = &of[panel * PANEL * PANEL..];
        for (row, of) in of.chunks_exact(PANEL).take(PANEL).enumerate() {
            for (value, into) in of.iter().zip(into.chunks_exact_mut(PANEL)) {
                into[row] = *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::train::native::simd::dispatch;

    /// Whole numbers, so that every order of summing gives the same.
    fn value(row: usize, column: usize) -> f32 {
        ((row * 7 + column * 3) % 11) as f32 - 5.0
    }

    fn rows(count: usize, columns: usize) -> Vec<f32> {
        let along = stride(columns);
        let mut values = vec![0.0; height(count) * along];
        for row in 0..count {
            (0..columns).for_each(|column| values[row * along + column] = value(row, column));
        }
        values
    }

    struct Both {
        rows: usize,
        depth: usize,
    }

    impl WithSimd for Both {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let Both { rows: count, depth } = self;
            let (a, b) = (rows(count, depth), rows(depth, PANEL));
            let (a, b) = (
                Rows { values: &a, stride: stride(depth) },
                Rows { values: &b, stride: stride(PANEL) },
            );
            let panel: Vec<f32> = (0..depth)
                .flat_map(|row| (0..PANEL).map(move |column| value(row, column)))
                .collect();
            let mut c = vec![f32::NAN; height(count) * PANEL];
            product(simd, (count, depth), a, &panel, &mut c, PANEL);
            let expected = |row: usize, column: usize| -> f32 {
                (0..depth).map(|step| value(row, step) * value(step, column)).sum()
            };
            for (row, c) in c.chunks_exact(PANEL).take(count).enumerate() {
                (0..PANEL).for_each(|column| assert_eq!(c[column], expected(row, column)));
            }

            // The same product with the first factor the other way round.
            let turned = rows_of_transposed(count, depth);
            let turned = Rows { values: &turned, stride: stride(count) };
            let mut c = vec![f32::NAN; height(count) * PANEL];
            product_of_transposed(simd, (count, depth), turned, b, &mut c);
            for (row, c) in c.chunks_exact(PANEL).take(count).enumerate() {
                (0..PANEL).for_each(|column| assert_eq!(c[column], expected(row, column)));
            }
        }
    }

    fn rows_of_transposed(count: usize, depth: usize) -> Vec<f32> {
        let along = stride(count);
        let mut values = vec![0.0; height(depth) * along];
        for row in 0..count {
            (0..depth).for_each(|column| values[column * along + row] = value(row, column));
        }
        values
    }

    #[test]
    fn products_are_sums_of_products() {
        for (rows, depth) in [(1, 1), (7, 3), (8, 32), (33, 102), (4, 0)] {
            dispatch(Both { rows, depth });
            pulp::Scalar::new().vectorize(Both { rows, depth });
        }
    }

    #[test]
    fn a_panel_turned_round() {
        // 40 rows and 50 columns: two panels, the second one not full.
        let panel = |first: usize| -> Vec<f32> {
            let value =
                |row, column| if first + column < 50 { value(row, first + column) } else { 0.0 };
            (0..40).flat_map(|row| (0..PANEL).map(move |column| value(row, column))).collect()
        };
        let (left, right) = (panel(0), panel(PANEL));
        let mut into = vec![0.0; 2 * PANEL * PANEL];
        transpose_panel(&[&left, &right], 1, &mut into);
        for column in 0..50 {
            for row in PANEL..40 {
                assert_eq!(into[column * PANEL + row - PANEL], value(row, column));
            }
        }
    }
}

//! Whether a device computes what it should.

use burn::tensor::{Device, Tensor, TensorData};

/// Rows, columns and depth of the product: none divides another, and none is a power of two, so
/// that swapped or padded layouts show.
const SHAPE: (usize, usize, usize) = (37, 70, 102);

/// Multiplies two matrices on the device, straight and both transposed, and compares with the same
/// in whole numbers. Every sum is a whole number below 2^24, so that f32 has it exactly, in
/// whatever order it is added up.
///
/// # Errors
///
/// What came out instead.
pub(super) fn products(device: &Device) -> Result<(), String> {
    let (rows, columns, depth) = SHAPE;
    let left: Vec<i32> = (0..rows * depth).map(|index| (index * 7919 % 23) as i32 - 11).collect();
    let right: Vec<i32> =
        (0..depth * columns).map(|index| (index * 6101 % 29) as i32 - 14).collect();
    let on_device = |values: &[i32], shape: [usize; 2]| {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        Tensor::<2>::from_data(TensorData::new(values, shape), device)
    };
    let a = on_device(&left, [rows, depth]);
    let b = on_device(&right, [depth, columns]);
    let straight = a.clone().matmul(b.clone());
    let transposed = b.transpose().matmul(a.transpose()).transpose();
    for (product, which) in [(straight, "product"), (transposed, "product of transposed matrices")]
    {
        let values = product.try_into_data().map_err(|error| first_line(&error.to_string()))?;
        let values = values.try_into_vec::<f32>().map_err(|error| error.to_string())?;
        for (index, found) in values.iter().enumerate() {
            let (row, column) = (index / columns, index % columns);
            let terms = (0..depth).map(|k| left[row * depth + k] * right[k * columns + column]);
            let expected = terms.sum::<i32>() as f32;
            if *found != expected {
                return Err(format!(
                    "it gives wrong results: in a {which} of two matrices, {found} instead of \
                     {expected} in row {row} and column {column}"
                ));
            }
        }
    }
    Ok(())
}

/// Of a message with a trace of calls below it.
pub(super) fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_multiplies() {
        assert_eq!(products(&Device::flex()), Ok(()));
    }
}

//! The vector instructions of the processor at hand.

use pulp::{Scalar, Simd, WithSimd};

/// Runs work compiled for the widest vectors that the processor has.
///
/// The results are the same bits on any number of cores, but may differ in the last bit between kinds
/// of processors: some add a product in one rounding.
pub(super) fn dispatch<W: WithSimd>(work: W) -> W::Output {
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if let Some(simd) = pulp::x86::V4::try_new() {
        return Simd::vectorize(simd, work);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return Simd::vectorize(simd, work);
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(simd) = pulp::aarch64::Neon::try_new() {
        return Simd::vectorize(simd, work);
    }
    Simd::vectorize(Scalar::new(), work)
}

//! The Zipf–Mandelbrot law over ranks, in integers.
//!
//! The weight of rank r is proportional to (r + s)^(-7/8). With this exponent the inverse of the cumulative weight is
//! an eighth power, which takes three squarings. No logarithm or power function is needed; their last bits differ
//! between platforms.

use crate::rng::below;
use rand::Rng;

/// One in fixed-point numbers with 32 fractional bits.
const ONE: u64 = 1 << 32;

/// A Zipf–Mandelbrot law with exponent 7/8.
#[derive(Clone, Copy, Debug)]
pub struct ZipfMandelbrot {
    ranks: u64,
    /// The law's shift s, with 32 fractional bits.
    shift: u64,
    /// The eighth root of the shift, with 32 fractional bits.
    first_root: u64,
    /// The eighth root of `ranks + shift` minus that of the shift, with 32 fractional bits.
    roots: u64,
}

impl ZipfMandelbrot {
    /// The law for the ranks `0..ranks`. `shift` is s with 32 fractional bits: the larger it is, the less the first
    /// ranks stand out. `ranks` + s must be below 2^32.
    pub fn new(ranks: u64, shift: u64) -> Self {
        let first_root = eighth_root(shift);
        Self {
            ranks,
            shift,
            first_root,
            roots: eighth_root(shift + ranks * ONE) - first_root,
        }
    }

    /// Draws a rank.
    #[inline]
    pub fn draw<R: Rng + ?Sized>(&self, rng: &mut R) -> u64 {
        self.rank(below(rng, self.roots))
    }

    /// The rank that the random word `word` draws.
    #[inline]
    pub fn draw_with(&self, word: u64) -> u64 {
        self.rank(((u128::from(word) * u128::from(self.roots)) >> 64) as u64)
    }

    #[inline]
    fn rank(&self, root: u64) -> u64 {
        let rank = eighth_power(self.first_root + root).saturating_sub(self.shift) / ONE;
        rank.min(self.ranks.saturating_sub(1))
    }
}

/// x^8 of a number with 32 fractional bits, rounded down.
#[inline]
fn eighth_power(x: u64) -> u64 {
    let square = |x: u64| ((u128::from(x) * u128::from(x)) >> 32) as u64;
    square(square(square(x)))
}

/// The smallest x whose eighth power is at least `value`, both with 32 fractional bits.
fn eighth_root(value: u64) -> u64 {
    // 16^8 = 2^32 is the first power that does not fit.
    let (mut low, mut high) = (0, 16 * ONE - 1);
    while low < high {
        let middle = (low + high) / 2;
        if eighth_power(middle) < value {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Kind, RecordSeed};

    #[test]
    fn shares_follow_the_law() {
        const DRAWS: u64 = 200_000;
        for (ranks, shift) in [(1_000, 4.0), (50, 1.0)] {
            let law = ZipfMandelbrot::new(ranks, (shift * ONE as f64) as u64);
            let rng = &mut RecordSeed::new(0, Kind::Order).rng(0);
            let mut counts = vec![0_u64; ranks as usize];
            (0..DRAWS).for_each(|_| counts[law.draw(rng) as usize] += 1);
            let root = |x: f64| x.powf(0.125);
            let all = root(ranks as f64 + shift) - root(shift);
            for first in [1, 5, 20] {
                let expected = (root(first as f64 + shift) - root(shift)) / all;
                let found = counts[..first].iter().sum::<u64>() as f64 / DRAWS as f64;
                let deviation = (expected * (1.0 - expected) / DRAWS as f64).sqrt();
                assert!(
                    (found - expected).abs() < 4.0 * deviation,
                    "first {first} of {ranks}: {found}, expected {expected}"
                );
            }
            assert!(*counts.last().unwrap() > 0);
        }
    }

    #[test]
    fn the_extremes_fit() {
        for ranks in [0, 1, 2, 1 << 31] {
            let law = ZipfMandelbrot::new(ranks, (ranks * ONE) / 50);
            assert_eq!(law.draw_with(0), 0);
            assert_eq!(law.draw_with(u64::MAX), ranks.saturating_sub(1));
        }
    }
}

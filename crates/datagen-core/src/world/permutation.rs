//! An invertible keyed permutation of `0..n`, computed in constant time in both directions.

use crate::rng::{GOLDEN, mix};

/// Rounds of multiply, add and fold. One round leaves the low bits of neighbouring inputs correlated; three
/// pass the tests below, and a fourth costs little.
const ROUNDS: usize = 4;

/// A permutation of `0..n`, selected by a key.
///
/// Each round multiplies by an odd number and adds a constant modulo a power of two of at least `n`, then XORs the
/// high half into the low half. All three steps are invertible. Inputs whose image is not below `n` are permuted
/// again until it is ("cycle walking", Black and Rogaway 2002); since the power of two is less than `2 * n` (for `n`
/// of at least 3), fewer than two applications are needed on average.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    n: u64,
    mask: u64,
    shift: u32,
    multipliers: [u64; ROUNDS],
    /// The multipliers' inverses modulo 2^64, which are also inverses modulo every smaller power of two.
    inverses: [u64; ROUNDS],
    addends: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..n` under `key`.
    ///
    /// # Panics
    /// If `n` exceeds 2^63.
    pub fn new(n: u64, key: u64) -> Self {
        assert!(n <= 1 << 63, "{n} numbers are too many to permute");
        // Folding requires at least two bits: one to fold, and one to fold it into.
        let bits = (u64::BITS - n.saturating_sub(1).leading_zeros()).max(2);
        let word = |index: usize| mix(key.wrapping_add((index as u64 + 1).wrapping_mul(GOLDEN)));
        let multipliers: [u64; ROUNDS] = std::array::from_fn(|round| word(2 * round) | 1);
        Self {
            n,
            mask: (1 << bits) - 1,
            // At least half of the bits, so that folding twice gives back the input.
            shift: bits.div_ceil(2),
            multipliers,
            inverses: multipliers.map(inverse),
            addends: std::array::from_fn(|round| word(2 * round + 1)),
        }
    }

    /// The number of permuted values, `n`.
    pub fn len(&self) -> u64 {
        self.n
    }

    /// Whether `n` is 0.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The image of `x`.
    ///
    /// # Panics
    /// If `x` is not below `n`.
    #[inline]
    pub fn get(&self, mut x: u64) -> u64 {
        assert!(x < self.n, "{x} is not below {}", self.n);
        loop {
            for round in 0..ROUNDS {
                x = x
                    .wrapping_mul(self.multipliers[round])
                    .wrapping_add(self.addends[round])
                    & self.mask;
                x ^= x >> self.shift;
            }
            if x < self.n {
                return x;
            }
        }
    }

    /// The number whose image is `x`.
    ///
    /// # Panics
    /// If `x` is not below `n`.
    #[inline]
    pub fn invert(&self, mut x: u64) -> u64 {
        assert!(x < self.n, "{x} is not below {}", self.n);
        loop {
            for round in (0..ROUNDS).rev() {
                x ^= x >> self.shift;
                x = x
                    .wrapping_sub(self.addends[round])
                    .wrapping_mul(self.inverses[round])
                    & self.mask;
            }
            if x < self.n {
                return x;
            }
        }
    }
}

/// The inverse of an odd number modulo 2^64: Newton's iteration, which doubles the number of correct bits each
/// time. An odd number is its own inverse modulo 8.
fn inverse(odd: u64) -> u64 {
    (0..5).fold(odd, |x, _| {
        x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_occurs_once_and_is_found_again() {
        for n in [1, 2, 3, 4, 5, 15, 16, 17, 100, 1_000, 4_096, 4_097] {
            let permutation = Permutation::new(n, 7);
            let mut images: Vec<_> = (0..n).map(|x| permutation.get(x)).collect();
            for (x, &image) in (0..).zip(&images) {
                assert_eq!(permutation.invert(image), x, "{n}");
            }
            images.sort_unstable();
            assert!(images.into_iter().eq(0..n), "{n}");
        }
        let wide = Permutation::new(1 << 31, 7);
        for x in [0, 1, (1 << 31) - 1] {
            assert_eq!(wide.invert(wide.get(x)), x);
        }
        assert!(Permutation::new(0, 7).is_empty());
    }

    #[test]
    fn the_order_looks_random_and_depends_on_the_key() {
        const N: u64 = 1_000_000;
        const SAMPLE: usize = 10_000;
        let images = |key| -> Vec<u64> {
            let permutation = Permutation::new(N, key);
            (0..SAMPLE as u64).map(|x| permutation.get(x)).collect()
        };
        assert_ne!(images(1), images(2));
        for key in 0..8 {
            let images = images(key);
            // The images of the first ten thousand numbers spread evenly over a hundred ranges, and over a hundred
            // remainders: chi-squared with 99 degrees of freedom exceeds 160 once in ten thousand.
            for bin in [|image: u64| image * 100 / N, |image: u64| image % 100] {
                let mut bins = [0_f64; 100];
                images.iter().for_each(|&image| bins[bin(image) as usize] += 1.0);
                let chi2: f64 = bins.iter().map(|n| (n - 100.0).powi(2) / 100.0).sum();
                assert!(chi2 < 160.0, "key {key}: {chi2}");
            }
            // The distance to the next number's image is distributed like that of independent draws: a third of the
            // pairs are less than N * 0.1835 apart.
            let near = images
                .windows(2)
                .filter(|pair| pair[0].abs_diff(pair[1]) < 183_503)
                .count();
            assert!((3_100..3_570).contains(&near), "key {key}: {near}");
        }
    }
}

//! One random number generator per record: the mechanism behind `record = f(SEED, kind, id)`.
//!
//! A [`RecordRng`] is started from `(seed, kind, id)` in a few nanoseconds, so no state is kept between records, and
//! any process can compute any record without a lookup.
//!
//! Everything here is integer arithmetic on xoshiro256++, whose output is specified
//! (<https://prng.di.unimi.it/xoshiro256plusplus.c>) and does not depend on the platform or on the version of a
//! crate. The ranges and choices built on it ([`below`], [`Alias`]) are implemented here for the same reason: those
//! of `rand` may change their values in any major version.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The generator of the random numbers of one record.
pub type RecordRng = Xoshiro256PlusPlus;

/// The kinds of entity. The numbers are part of the data format: changing one changes every record of that
/// kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Kind {
    /// A user of the shop.
    User = 1,
    /// A product of the shop.
    Product = 3,
    /// An order with its items.
    Order = 4,
    /// A visitor's session in the shop.
    Session = 5,
    /// The page addresses of a product, which do not depend on the seed.
    ProductPages = 6,
    /// The delivery of a session's messages: which are late or sent twice.
    Delivery = 7,
}

/// The records of one kind under one seed. Creates the generator of each record.
#[derive(Clone, Copy, Debug)]
pub struct RecordSeed {
    key: u64,
}

/// 2^64 / φ, the increment of splitmix64.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of splitmix64: a bijection that spreads every input bit over the whole word.
#[inline]
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns a generator whose state is the next four words of splitmix64 from `word`. This is what
/// `SeedableRng::seed_from_u64` is specified to do for xoshiro256++, inlined.
#[inline]
pub(crate) fn start(word: u64) -> RecordRng {
    let mut seed = [0; 32];
    let mut state = word;
    for chunk in seed.chunks_exact_mut(8) {
        state = state.wrapping_add(GOLDEN);
        chunk.copy_from_slice(&mix(state).to_le_bytes());
    }
    RecordRng::from_seed(seed)
}

impl RecordSeed {
    /// The records of `kind` under `seed`.
    pub fn new(seed: u64, kind: Kind) -> Self {
        Self {
            key: mix(mix(seed).wrapping_add((kind as u64).wrapping_mul(GOLDEN))),
        }
    }

    /// The generator of record `id`. Distinct ids get distinct, unrelated generators: `mix` is a bijection,
    /// and without it neighbouring ids would share three quarters of their state.
    #[inline]
    pub fn rng(self, id: u64) -> RecordRng {
        start(mix(self.key.wrapping_add(id.wrapping_mul(GOLDEN))))
    }

    /// The random word of block `block` of records, for decisions that concern several records at a time.
    #[inline]
    pub(crate) fn block_word(self, block: u64) -> u64 {
        mix(self.key ^ mix(block.wrapping_add(GOLDEN)))
    }
}

/// A uniform integer in `0..n` by multiplication (Lemire 2019, without the rejection step: the bias is below
/// n / 2^64, far below anything that a sample can show). `n` = 0 gives 0.
#[inline]
pub fn below<R: Rng + ?Sized>(rng: &mut R, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

/// The two halves of a random word.
#[inline(always)]
pub(crate) fn halves<R: Rng + ?Sized>(rng: &mut R) -> (u32, u32) {
    let word = rng.next_u64();
    ((word >> 32) as u32, word as u32)
}

/// A uniform integer in `0..n` from the random number `random`, with a bias below n / 2^32.
#[inline(always)]
pub(crate) fn scale32(random: u32, n: u32) -> u32 {
    ((u64::from(random) * u64::from(n)) >> 32) as u32
}

/// True with probability `numerator / denominator`.
#[inline]
pub fn chance<R: Rng + ?Sized>(rng: &mut R, numerator: u64, denominator: u64) -> bool {
    below(rng, denominator) < numerator
}

/// A weighted choice in constant time, by Walker's alias table; each draw takes one random word.
///
/// The tables are computed at build time, in integers, from the weights in `data/`.
#[derive(Debug)]
pub struct Alias {
    /// A threshold and an alias per slot: if the low half of the random word is below the threshold, the slot is
    /// drawn, otherwise the alias.
    slots: &'static [(u32, u16)],
}

impl Alias {
    /// Wraps a table made by the build script.
    pub(crate) const fn new(slots: &'static [(u32, u16)]) -> Self {
        Self { slots }
    }

    /// Draws an index.
    #[inline]
    pub fn pick<R: Rng + ?Sized>(&self, rng: &mut R) -> usize {
        self.pick_with(rng.next_u64())
    }

    /// The index that the random word `word` draws.
    #[inline]
    pub fn pick_with(&self, word: u64) -> usize {
        let slot = (((word >> 32) * self.slots.len() as u64) >> 32) as usize;
        let (threshold, alias) = self.slots[slot];
        if (word as u32) < threshold {
            slot
        } else {
            usize::from(alias)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_records_are_unrelated() {
        let seed = RecordSeed::new(0, Kind::User);
        let mut equal_bits = 0;
        for id in 0..10_000 {
            let (mut a, mut b) = (seed.rng(id), seed.rng(id + 1));
            equal_bits += (a.next_u64() ^ b.next_u64()).count_zeros();
        }
        let share = f64::from(equal_bits) / 640_000.0;
        assert!((share - 0.5).abs() < 0.005, "{share} of the bits agree");
    }

    #[test]
    fn a_generator_starts_as_its_authors_recommend() {
        for word in [0, 1, u64::MAX] {
            assert_eq!(start(word), RecordRng::seed_from_u64(word));
        }
    }

    #[test]
    fn seeds_and_kinds_give_different_generators() {
        let first = |seed, kind| RecordSeed::new(seed, kind).rng(7).next_u64();
        assert_ne!(first(0, Kind::User), first(1, Kind::User));
        assert_ne!(first(0, Kind::User), first(0, Kind::Order));
    }

    #[test]
    fn below_reaches_both_ends_and_no_further() {
        let mut rng = RecordSeed::new(1, Kind::User).rng(0);
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[below(&mut rng, 7) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        assert_eq!(below(&mut rng, 1), 0);
        assert_eq!(below(&mut rng, 0), 0);
    }
}

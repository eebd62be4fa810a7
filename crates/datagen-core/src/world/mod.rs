//! The world: facts about users and products that all generators share.
//!
//! Generators need not share a SEED (the stream's is random by default), but a product's popularity, price and shelf,
//! and a user's activity, year of birth, sign-up date, browser and home address must be the same in all of them.
//! These facts are therefore functions of only the id and the number of users or products. Each is computed in
//! constant time without a lookup table that grows with that number.
//!
//! Everything here is integer arithmetic, so that the facts are the same on every platform.

pub mod calendar;
pub mod catalogue;
mod permutation;
pub mod population;
pub(crate) mod quantiles;
mod zipf;

pub use catalogue::Catalogue;
pub use permutation::Permutation;
pub use population::Population;
pub use zipf::ZipfMandelbrot;

use crate::rng::{GOLDEN, mix};

/// The users and products of the shop.
#[derive(Clone, Debug)]
pub struct World {
    /// The users.
    pub population: Population,
    /// The products.
    pub catalogue: Catalogue,
}

impl World {
    /// The world of the users 0..`users` and the products 0..`products`, at most 2^31 of each.
    pub fn new(users: u64, products: u64) -> Self {
        Self {
            population: Population::new(users),
            catalogue: Catalogue::new(products),
        }
    }
}

/// The kinds of fact. The numbers are part of the data format: changing one changes that fact for every user or
/// product.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
enum Fact {
    ActivityRank = 1,
    AgePosition = 2,
    Membership = 3,
    FavouriteShelf = 4,
    Browser = 5,
    OtherBrowser = 6,
    HomeAddress = 7,
    PopularityRank = 8,
    Price = 9,
    Lemon = 10,
    LatencySign = 11,
    Outage = 12,
}

impl Fact {
    /// A word that depends only on the kind of fact.
    const fn key(self) -> u64 {
        (self as u64).wrapping_mul(GOLDEN)
    }

    /// The random word that decides this fact about `id`.
    #[inline]
    fn word(self, id: u64) -> u64 {
        mix(mix(self.key()).wrapping_add(id.wrapping_mul(GOLDEN)))
    }
}

/// `word` scaled to `0..n`.
#[inline]
fn scale(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

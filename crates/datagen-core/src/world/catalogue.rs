//! Facts about products: popularity, shelf, price, and special products (lemons and the pair).
//!
//! All products have a popularity rank; rank 0 is viewed and bought most often. Facts that concern several products
//! together (shelves, lemons, the pair, latency) are defined in terms of ranks.

use rand::Rng;

use super::quantiles::{LATENCY_EFFECT_MICROS, PRICES, quantile};
use super::{Fact, Permutation, ZipfMandelbrot, scale};
use crate::rng::{GOLDEN, below};

/// The shift of the law of popularity. With it, the first fifth of the products has 50 % of the popularity among 100
/// products, 64 % among 1 000, 71 % among 10 000 and 77 % among a million, as in real shops (the Pareto rule).
const POPULARITY_SHIFT: u64 = 4;

/// The number of products of neighbouring ranks that share a shelf. The last shelf may have fewer.
pub const SHELF_SIZE: u64 = 16;

/// The maximum price in CZK; prices are log-normal with the median 590 CZK. Ten items then cost at most 99 990 CZK,
/// so the value of every order is the exact sum of its prices. Source: our choice.
pub const MAX_PRICE: u64 = 9_999;

/// Each run of this many ranks among the most popular products contains one lemon. Source: our choice; about one
/// session in eight then includes a lemon.
const LEMON_ONE_IN: u64 = 12;

/// Lemons are among the most popular products; this is the percentage of the products that are considered. A lemon
/// that is rarely viewed could not be found in the ratings. Source: our choice.
const LEMON_RANKS_PERCENT: u64 = 6;

/// The rank of the first product of the pair, and that of the second in hundredths of the number of products. Source:
/// our choice; the first product is popular, so that many orders include it, and the second is less popular, so that
/// their coincidence stands out.
const PAIR_FIRST_RANK: u64 = 3;
const PAIR_SECOND_RANK_PERCENT: u64 = 7;

/// The percentage of the products after the first one of an order or session that are drawn from the first one's
/// shelf.
pub const SAME_SHELF_PERCENT: u64 = 25;

/// The percentage of products that are drawn from the user's favourite shelf. Source of both percentages: our choice.
pub const FAVOURITE_SHELF_PERCENT: u64 = 30;

/// The percentage of the variance of latencies that is due to the product: the table in `quantiles` has the standard
/// deviation 25 ms, half of the 50 ms of all latencies. Source: our choice.
pub const LATENCY_VARIANCE_PERCENT: u64 = 25;

/// The remaining standard deviation of the latencies of one product's pages, in milliseconds: √(50² − 25²).
pub(crate) const LATENCY_NOISE_DEVIATION: f64 = 43.301_270_189_221_93;

/// The facts about the products `0..products`.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue {
    products: u64,
    /// Popularity rank to product id.
    by_rank: Permutation,
    popularity: ZipfMandelbrot,
}

impl Catalogue {
    /// The facts about the products `0..products`, at most 2^31.
    pub fn new(products: u64) -> Self {
        Self {
            products,
            by_rank: Permutation::new(products, Fact::PopularityRank.key()),
            popularity: ZipfMandelbrot::new(products, POPULARITY_SHIFT << 32),
        }
    }

    /// The number of products.
    pub fn len(&self) -> u64 {
        self.products
    }

    /// Whether there are no products.
    pub fn is_empty(&self) -> bool {
        self.products == 0
    }

    /// The product with this popularity rank.
    ///
    /// # Panics
    /// If `rank` is not below the number of products.
    #[inline]
    pub fn product_at_rank(&self, rank: u64) -> u64 {
        self.by_rank.get(rank)
    }

    /// The popularity rank of product `id`.
    ///
    /// # Panics
    /// If there is no such product.
    #[inline]
    pub fn rank_of_product(&self, id: u64) -> u64 {
        self.by_rank.invert(id)
    }

    /// The shelf of product `id`: from 0, each with [`SHELF_SIZE`] products of neighbouring ranks.
    ///
    /// # Panics
    /// If there is no such product.
    #[inline]
    pub fn shelf_of_product(&self, id: u64) -> u64 {
        self.rank_of_product(id) / SHELF_SIZE
    }

    /// The number of shelves.
    pub fn shelf_count(&self) -> u64 {
        self.products.div_ceil(SHELF_SIZE)
    }

    /// The price of product `id` in CZK: 29 to [`MAX_PRICE`], with the last digit 9. It depends only on the id.
    #[inline]
    pub fn price(&self, id: u64) -> u64 {
        (quantile(&PRICES, Fact::Price.word(id)) / 10 * 10 + 9).min(MAX_PRICE)
    }

    /// Whether product `id` is a lemon, which makes visitors rate the shop badly.
    ///
    /// # Panics
    /// If there is no such product.
    pub fn is_lemon(&self, id: u64) -> bool {
        self.is_lemon_rank(self.rank_of_product(id))
    }

    /// Whether the product with this popularity rank is a lemon.
    #[inline]
    pub(crate) fn is_lemon_rank(&self, rank: u64) -> bool {
        let run = rank / LEMON_ONE_IN;
        run < self.lemon_count() && rank == self.lemon_rank(run)
    }

    /// The number of lemons: none if there are fewer than two products, otherwise at least one.
    pub fn lemon_count(&self) -> u64 {
        match self.products {
            0 | 1 => 0,
            products => (products * LEMON_RANKS_PERCENT / 100 / LEMON_ONE_IN).max(1),
        }
    }

    /// The ids of the lemons, the most popular first.
    pub fn lemons(&self) -> impl Iterator<Item = u64> {
        (0..self.lemon_count()).map(|run| self.product_at_rank(self.lemon_rank(run)))
    }

    /// The rank of the lemon in the `run`-th run of [`LEMON_ONE_IN`] ranks.
    #[inline]
    fn lemon_rank(&self, run: u64) -> u64 {
        run * LEMON_ONE_IN + scale(Fact::Lemon.word(run), LEMON_ONE_IN.min(self.products))
    }

    /// The ranks of the two products that are bought together far more often than by chance, the more popular first;
    /// `None` if there are fewer than two products.
    #[inline]
    pub(crate) fn pair_ranks(&self) -> Option<(u64, u64)> {
        let last = self.products.checked_sub(1).filter(|&last| last > 0)?;
        let first = PAIR_FIRST_RANK.min(last - 1);
        // On another shelf if one exists, so that the two are not also bought together as products of the same shelf.
        let second = (self.products * PAIR_SECOND_RANK_PERCENT / 100).max(SHELF_SIZE);
        Some((first, second.min(last)))
    }

    /// The ids of the two products that are bought together far more often than by chance: orders with the first
    /// often include the second as well. `None` if there are fewer than two products.
    pub fn pair(&self) -> Option<(u64, u64)> {
        let (first, second) = self.pair_ranks()?;
        Some((self.product_at_rank(first), self.product_at_rank(second)))
    }

    /// The number of microseconds by which the pages of the product with this popularity rank are slower than the
    /// average page.
    ///
    /// Two neighbouring ranks have opposite effects, so that the distribution of all latencies stays symmetric, and
    /// the absolute effects of all pairs of ranks spread evenly over their distribution. `None` means no effect: it
    /// is returned for a last rank without a neighbour, and for all products of a shop that has less than one full
    /// shelf, because so few effects would not be normally distributed. The remaining variation of the latencies of
    /// such pages is larger.
    #[inline]
    pub(crate) fn latency_effect(&self, rank: u64) -> Option<i64> {
        if rank ^ 1 >= self.products || self.products < SHELF_SIZE {
            return None;
        }
        let pair = rank / 2;
        // Multiples of the golden ratio are evenly distributed modulo 1.
        let effect = quantile(&LATENCY_EFFECT_MICROS, pair.wrapping_add(1).wrapping_mul(GOLDEN)) as i64;
        let odd_is_slower = Fact::LatencySign.word(pair) & 1 == 1;
        Some(if odd_is_slower == (rank & 1 == 1) {
            effect
        } else {
            -effect
        })
    }

    /// The number of milliseconds by which the pages of product `id` are slower than the average page; negative if
    /// they are faster.
    ///
    /// # Panics
    /// If there is no such product.
    pub fn latency_effect_millis(&self, id: u64) -> f64 {
        self.latency_effect(self.rank_of_product(id)).unwrap_or(0) as f64 / 1_000.0
    }

    /// The shelf that the random word `word` selects, by popularity: a shelf is the favourite of users as often as
    /// products are bought from it.
    #[inline]
    pub fn shelf_of_word(&self, word: u64) -> u64 {
        self.popularity.draw_with(word) / SHELF_SIZE
    }

    /// Draws the rank of the next product that a user views or buys: `first` is the rank of the first product of this
    /// order or session, and `favourite_shelf` the user's favourite shelf.
    #[inline]
    pub(crate) fn draw_rank<R: Rng + ?Sized>(
        &self,
        favourite_shelf: u64,
        first: Option<u64>,
        rng: &mut R,
    ) -> u64 {
        let draw = below(rng, 100);
        match first {
            _ if draw < FAVOURITE_SHELF_PERCENT => self.draw_on_shelf(favourite_shelf, rng),
            Some(first) if draw < FAVOURITE_SHELF_PERCENT + SAME_SHELF_PERCENT => {
                self.draw_on_shelf(first / SHELF_SIZE, rng)
            }
            _ => self.popularity.draw(rng),
        }
    }

    /// Draws a rank on a shelf: the lower of two uniform ranks, because lower ranks are more popular.
    #[inline]
    fn draw_on_shelf<R: Rng + ?Sized>(&self, shelf: u64, rng: &mut R) -> u64 {
        let start = shelf * SHELF_SIZE;
        let size = SHELF_SIZE.min(self.products - start);
        let word = rng.next_u64();
        let of = |half: u64| (half * size) >> 32;
        start + of(word >> 32).min(of(word & 0xffff_ffff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Kind, RecordSeed};

    #[test]
    fn small_shops_have_their_special_products() {
        for products in [0, 1, 2, 3, 4, 5, 15, 16, 17, 18, 24, 25, 26, 100, 1_000] {
            let catalogue = Catalogue::new(products);
            let lemons: Vec<_> = catalogue.lemons().collect();
            assert_eq!(lemons.is_empty(), products < 2, "{products}");
            for id in 0..products {
                assert_eq!(catalogue.is_lemon(id), lemons.contains(&id), "{products}");
                assert_eq!(catalogue.product_at_rank(catalogue.rank_of_product(id)), id);
                assert!(catalogue.shelf_of_product(id) < catalogue.shelf_count());
                let price = catalogue.price(id);
                assert!((29..=MAX_PRICE).contains(&price) && price % 10 == 9, "{price}");
            }
            assert_eq!(catalogue.pair().is_none(), products < 2, "{products}");
            if let Some((first, second)) = catalogue.pair() {
                assert_ne!(first, second, "{products}");
                assert!(first < products && second < products);
            }
            if products > 0 {
                let rng = &mut RecordSeed::new(0, Kind::Order).rng(products);
                for draw in 0..1_000_u64 {
                    let favourite = catalogue.shelf_of_word(draw.wrapping_mul(GOLDEN));
                    let first = catalogue.draw_rank(favourite, None, rng);
                    assert!(catalogue.draw_rank(favourite, Some(first), rng) < products);
                }
            }
        }
    }

    #[test]
    fn latency_effects_cancel_out_between_neighbours_and_are_normal() {
        let catalogue = Catalogue::new(10_001);
        let effects: Vec<_> = (0..10_001).map(|rank| catalogue.latency_effect(rank)).collect();
        assert_eq!(effects[10_000], None);
        let mut squares = 0.0;
        let mut slower_first = 0;
        for pair in effects[..10_000].chunks(2) {
            let (first, second) = (pair[0].unwrap(), pair[1].unwrap());
            assert_eq!(first, -second);
            squares += (first as f64 / 25_000.0).powi(2);
            slower_first += u32::from(first > 0);
        }
        assert!((squares / 5_000.0 - 1.0).abs() < 0.02, "{squares}");
        assert!((2_300..2_700).contains(&slower_first), "{slower_first}");
        for (products, has_effects) in [(1, false), (15, false), (16, true)] {
            let effect = Catalogue::new(products).latency_effect(0);
            assert_eq!(effect.is_some(), has_effects, "{products} products");
        }
    }
}

//! An order with its items: rows of the tables `orders` and `items`.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use crate::rng::{Kind, RecordRng, RecordSeed, below};

/// The most items of an order; the fewest are 1.
pub const MAX_ITEMS: u64 = 10;

/// The highest value of an order; the lowest is 1.
pub const MAX_VALUE: u64 = 100_000;

/// An order, with the products of its items in the order of their `rowId`, from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    /// From 1.
    pub order_id: i32,
    /// 0 to USER_MAX_ID.
    pub user_id: i32,
    /// Seconds since 1970-01-01 00:00:00, no time zone.
    pub order_date: i64,
    /// Whole, 1 to [`MAX_VALUE`].
    pub order_value: f64,
    /// How many of `products` are items.
    item_count: u8,
    products: [i32; MAX_ITEMS as usize],
}

impl Order {
    /// The product ids of the items; the first has `rowId` 1.
    pub fn items(&self) -> &[i32] {
        &self.products[..usize::from(self.item_count)]
    }

    /// The date and time of the order.
    pub fn date_time(&self) -> NaiveDateTime {
        DateTime::from_timestamp(self.order_date, 0)
            .expect("dates are within years 1 to 9999")
            .naive_utc()
    }
}

/// What orders refer to and when they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRange {
    /// The highest user id.
    pub user_max_id: u64,
    /// The highest product id.
    pub product_max_id: u64,
    /// The first day, and the day after the last.
    pub dates: Range<NaiveDate>,
}

/// The orders of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    seed: RecordSeed,
    users: u64,
    products: u64,
    first_second: i64,
    seconds: u64,
}

impl Orders {
    /// The orders of `seed` in `range`.
    pub fn new(seed: u64, range: &OrderRange) -> Self {
        let second = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc().timestamp();
        let (first_second, end) = (second(range.dates.start), second(range.dates.end));
        Self {
            seed: RecordSeed::new(seed, Kind::Order),
            users: range.user_max_id + 1,
            products: range.product_max_id + 1,
            first_second,
            seconds: end.saturating_sub(first_second).max(0) as u64,
        }
    }

    /// Order `id`, from 1.
    #[inline]
    pub fn get(&self, id: u64) -> Order {
        let rng = &mut self.seed.rng(id);
        let user_id = below(rng, self.users) as i32;
        let order_date = self.first_second + below(rng, self.seconds) as i64;
        let draw = below(rng, MAX_VALUE * MAX_ITEMS);
        let (value, item_count) = (1 + draw % MAX_VALUE, 1 + draw / MAX_VALUE);
        let mut products = [0; MAX_ITEMS as usize];
        for pair in products[..item_count as usize].chunks_mut(2) {
            self.draw_products(rng, pair);
        }
        Order {
            order_id: id as i32,
            user_id,
            order_date,
            order_value: value as f64,
            item_count: item_count as u8,
            products,
        }
    }

    /// Fills one or two products from one random word: 32 bits each, which 31-bit ids need no more than.
    #[inline]
    fn draw_products(&self, rng: &mut RecordRng, pair: &mut [i32]) {
        let mut word = rand::Rng::next_u64(rng);
        for product in pair {
            *product = (((word & 0xffff_ffff) * self.products) >> 32) as i32;
            word >>= 32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Orders {
        let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        Orders::new(
            0,
            &OrderRange {
                user_max_id: 4,
                product_max_id: 6,
                dates: day(2020)..day(2021),
            },
        )
    }

    #[test]
    fn every_id_value_and_item_count_in_range_occurs_and_none_outside() {
        let (mut users, mut products, mut counts) = ([0; 5], [0; 7], [0; 11]);
        let (mut lowest, mut highest) = (f64::MAX, f64::MIN);
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for id in 1..=200_000 {
            let order = orders().get(id);
            assert_eq!(order.order_id as u64, id);
            users[order.user_id as usize] += 1;
            counts[order.items().len()] += 1;
            order
                .items()
                .iter()
                .for_each(|&product| products[product as usize] += 1);
            assert_eq!(order.order_value.fract(), 0.0);
            lowest = order.order_value.min(lowest);
            highest = order.order_value.max(highest);
            first = order.order_date.min(first);
            last = order.order_date.max(last);
        }
        assert!(users.iter().all(|n| (39_000..41_000).contains(n)), "{users:?}");
        assert!(
            products.iter().all(|n| (154_000..160_000).contains(n)),
            "{products:?}"
        );
        assert_eq!(counts[0], 0);
        assert!(
            counts[1..].iter().all(|n| (19_300..20_700).contains(n)),
            "{counts:?}"
        );
        assert!(
            (1.0..10.0).contains(&lowest) && (99_990.0..=100_000.0).contains(&highest),
            "{lowest} {highest}"
        );
        let (start, end) = (1_577_836_800, 1_609_459_200);
        assert!((start..start + 3_600).contains(&first) && (end - 3_600..end).contains(&last));
    }

    #[test]
    fn the_widest_ids_fit() {
        let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let max = crate::model::MAX_ID;
        let range = OrderRange {
            user_max_id: max,
            product_max_id: max,
            dates: day(1)..day(9999),
        };
        let orders = Orders::new(0, &range);
        for id in [1, 2, max] {
            let order = orders.get(id);
            assert!(order.order_id > 0 && order.user_id >= 0 && order.items().iter().all(|&id| id >= 0));
            assert!(order.date_time() < day(9999).and_time(NaiveTime::MIN));
        }
    }
}

//! Orders of the profile `shop`: customers, dates and items as in a real shop.

use chrono::{Datelike, NaiveDate};
use rand::Rng;

use super::{MAX_ITEMS, Order, OrderRange};
use crate::rng::{RecordRng, below, chance};
use crate::world::World;
use crate::world::calendar::{Calendar, SECONDS_PER_DAY};

/// One order in this many is recorded late. Source: our choice.
pub const LATE_ONE_IN: u64 = 100;

/// A late order is dated at most this many seconds before its place among the other orders: two days.
pub const LATE_MAX_SECONDS: i64 = 2 * SECONDS_PER_DAY;

/// If an order contains the first product of the pair and not yet the second, each further item is the second one
/// with this probability, in per cent. Source: our choice.
pub const PAIR_PERCENT: u64 = 30;

/// The number of items of an order, for each 64th of the orders; 3 on average. Source: our choice.
static ITEM_COUNT_SLOTS: [u8; 64] = {
    let shares = [22, 13, 9, 6, 5, 3, 2, 2, 1, 1];
    let mut slots = [0; 64];
    let (mut count, mut next) = (0, 0);
    while count < shares.len() {
        let end = next + shares[count];
        while next < end {
            slots[next] = count as u8 + 1;
            next += 1;
        }
        count += 1;
    }
    assert!(next == slots.len(), "the shares are 64ths");
    slots
};

/// The orders of a shop.
#[derive(Clone, Debug)]
pub struct ShopOrders {
    world: World,
    calendar: Calendar,
    /// The number of the calendar's 2^64 positions that each order takes up.
    stride: u64,
}

impl ShopOrders {
    pub(super) fn new(count: u64, range: &OrderRange) -> Self {
        Self {
            world: World::new(range.user_max_id + 1, range.product_max_id + 1),
            calendar: Calendar::new(range.dates.start, range.dates.end),
            stride: u64::MAX / count.max(1),
        }
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    // Not inlined, because it is long and would make orders of the other profile slower.
    #[inline(never)]
    pub(super) fn get(&self, id: u64, mut rng: RecordRng) -> Order {
        let rng = &mut rng;
        // Each order has a separate part of the calendar, so that dates increase with ids.
        let place = self
            .calendar
            .second_at((id - 1) * self.stride + below(rng, self.stride));
        let delay = if chance(rng, 1, LATE_ONE_IN) {
            below_or_equal(rng, LATE_MAX_SECONDS.min(place - self.calendar.first_second()))
        } else {
            0
        };
        let order_date = place - delay;
        let year = NaiveDate::from_epoch_days(order_date.div_euclid(SECONDS_PER_DAY) as i32)
            .expect("dates are within years 1 to 9999")
            .year();
        let World {
            population,
            catalogue,
        } = &self.world;
        let user_id = population.draw_customer(order_date, year, rng);
        let favourite_shelf = catalogue.shelf_of_word(population.favourite_shelf_word(user_id));

        let item_count = ITEM_COUNT_SLOTS[(rng.next_u64() >> 58) as usize];
        let pair = catalogue.pair_ranks();
        let (mut first, mut awaits_second) = (None, false);
        let mut products = [0; MAX_ITEMS as usize];
        let mut value = 0;
        for product in &mut products[..usize::from(item_count)] {
            let rank = match pair {
                Some((_, second)) if awaits_second && chance(rng, PAIR_PERCENT, 100) => second,
                _ => catalogue.draw_rank(favourite_shelf, first, rng),
            };
            if let Some((first, second)) = pair {
                awaits_second = rank == first || awaits_second && rank != second;
            }
            first = first.or(Some(rank));
            let id = catalogue.product_at_rank(rank);
            value += catalogue.price(id);
            *product = id as i32;
        }
        Order {
            order_id: id as i32,
            user_id: user_id as i32,
            order_date,
            order_value: value as f64,
            is_late: delay > 0,
            item_count,
            products,
        }
    }
}

/// A uniform number from 1 to `most`, or 0 if `most` is 0.
#[inline]
fn below_or_equal(rng: &mut RecordRng, most: i64) -> i64 {
    match u64::try_from(most) {
        Ok(most) if most > 0 => 1 + below(rng, most) as i64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::order::Orders;
    use crate::model::{MAX_ID, Profile};

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn any_numbers_of_records_and_any_dates_work() {
        let dates = [
            day(2024, 2, 29)..day(2024, 3, 1),
            day(2012, 1, 1)..day(2012, 1, 3),
            day(1753, 1, 1)..day(1953, 1, 1),
            day(1900, 1, 1)..day(2100, 1, 1),
            day(2030, 1, 1)..day(2031, 1, 1),
            day(9999, 12, 1)..day(9999, 12, 31),
        ];
        for dates in dates {
            let start = i64::from(dates.start.to_epoch_days()) * SECONDS_PER_DAY;
            let end = i64::from(dates.end.to_epoch_days()) * SECONDS_PER_DAY;
            for (user_max_id, product_max_id) in [(0, 0), (0, 1), (1, 15), (99, 16), (MAX_ID, MAX_ID)] {
                let range = OrderRange {
                    user_max_id,
                    product_max_id,
                    dates: dates.clone(),
                };
                for count in [0, 1, 2, 99, 100, 101, MAX_ID] {
                    let orders = Orders::new(Profile::Shop, 0, count, &range);
                    let ids = (1..=count.min(101)).chain(count.saturating_sub(100).max(1)..=count);
                    for id in ids {
                        let order = orders.get(id);
                        assert_eq!(order.order_id as u64, id);
                        assert!((start..end).contains(&order.order_date), "{order:?}");
                        assert!((0..=user_max_id as i32).contains(&order.user_id));
                        let products = 0..=product_max_id as i32;
                        assert!(order.items().iter().all(|id| products.contains(id)), "{order:?}");
                        assert!((1..=10).contains(&order.items().len()));
                        assert!((1.0..=100_000.0).contains(&order.order_value));
                    }
                }
            }
        }
    }
}

//! Orders of the profile `uniform`: every value is drawn uniformly and independently of the others.
//!
//! The draws are those of data version 2; a test ensures this.

use chrono::{NaiveDate, NaiveTime};

use super::{MAX_ITEMS, MAX_VALUE, Order, OrderRange};
use crate::rng::{RecordRng, below};

#[derive(Clone, Copy, Debug)]
pub(super) struct UniformOrders {
    users: u64,
    products: u64,
    first_second: i64,
    seconds: u64,
}

impl UniformOrders {
    pub(super) fn new(range: &OrderRange) -> Self {
        let second = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc().timestamp();
        let (first_second, end) = (second(range.dates.start), second(range.dates.end));
        Self {
            users: range.user_max_id + 1,
            products: range.product_max_id + 1,
            first_second,
            seconds: end.saturating_sub(first_second).max(0) as u64,
        }
    }

    #[inline]
    pub(super) fn get(&self, id: u64, mut rng: RecordRng) -> Order {
        let rng = &mut rng;
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
            is_late: false,
            item_count: item_count as u8,
            products,
        }
    }

    /// Fills one or two products from one random word: 32 bits each, which are enough for 31-bit ids.
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
    use crate::model::Profile;
    use crate::model::order::Orders;

    fn orders() -> Orders {
        let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let range = OrderRange {
            user_max_id: 4,
            product_max_id: 6,
            dates: day(2020)..day(2021),
        };
        Orders::new(Profile::Uniform, 0, 200_000, &range)
    }

    #[test]
    fn every_id_value_and_item_count_in_range_occurs_and_none_outside() {
        let orders = orders();
        let (mut users, mut products, mut counts) = ([0; 5], [0; 7], [0; 11]);
        let (mut lowest, mut highest) = (f64::MAX, f64::MIN);
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for id in 1..=200_000 {
            let order = orders.get(id);
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
}

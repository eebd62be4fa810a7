//! An order with its items: rows of the tables `orders` and `items`.

mod shop;
mod uniform;

use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::Profile;
use crate::rng::{Kind, RecordSeed};
use crate::text::{TextBuf, date_time};
use crate::world::World;
pub use shop::{LATE_MAX_SECONDS, LATE_ONE_IN, PAIR_PERCENT, ShopOrders};
use uniform::UniformOrders;

/// The maximum number of items in an order; the minimum is 1.
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
    /// Seconds since 1970-01-01 00:00:00 of local time in Czechia.
    pub order_date: i64,
    /// A whole number, 1 to [`MAX_VALUE`].
    pub order_value: f64,
    /// Whether the order was recorded late: `order_date` is earlier than its id implies.
    pub is_late: bool,
    /// The number of elements of `products` that are items.
    item_count: u8,
    products: [i32; MAX_ITEMS as usize],
}

impl Order {
    /// The product ids of the items; the first has `rowId` 1.
    pub fn items(&self) -> &[i32] {
        &self.products[..usize::from(self.item_count)]
    }

    /// Appends the order with its items as a line of JSON, including the line feed.
    pub fn write_json_line(&self, out: &mut TextBuf) {
        let date = date_time(self.order_date, b'T');
        out.append(128 + self.items().len() * 64, |out| {
            out.push_str("{\"orderId\":");
            out.push_number(self.order_id as u64);
            out.push_str(",\"userId\":");
            out.push_number(self.user_id as u64);
            out.push_str(",\"orderDate\":\"");
            out.push_bytes(&date);
            out.push_str("\",\"orderValue\":");
            // Values are whole.
            out.push_number(self.order_value as u64);
            out.push_str(".0,\"items\":[");
            for (row, product) in (1..).zip(self.items()) {
                out.push_str(if row == 1 { "{\"rowId\":" } else { ",{\"rowId\":" });
                out.push_number(row);
                out.push_str(",\"productId\":");
                out.push_number(*product as u64);
                out.push_str("}");
            }
            out.push_str("]}\n");
        });
    }

    /// The date and time of the order.
    pub fn date_time(&self) -> NaiveDateTime {
        DateTime::from_timestamp(self.order_date, 0)
            .expect("dates are within years 1 to 9999")
            .naive_utc()
    }
}

/// The ids that orders refer to, and the dates of the orders.
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
#[derive(Clone, Debug)]
pub struct Orders {
    seed: RecordSeed,
    dates: Range<NaiveDate>,
    model: Model,
}

#[derive(Clone, Debug)]
enum Model {
    Shop(Box<ShopOrders>),
    Uniform(UniformOrders),
}

impl Orders {
    /// The orders 1 to `count` of `seed` in `range`.
    ///
    /// # Panics
    /// If the range has no day.
    pub fn new(profile: Profile, seed: u64, count: u64, range: &OrderRange) -> Self {
        Self {
            seed: RecordSeed::new(seed, Kind::Order),
            dates: range.dates.clone(),
            model: match profile {
                Profile::Shop => Model::Shop(Box::new(ShopOrders::new(count, range))),
                Profile::Uniform => Model::Uniform(UniformOrders::new(range)),
            },
        }
    }

    /// Order `id`, from 1.
    #[inline]
    pub fn get(&self, id: u64) -> Order {
        match &self.model {
            Model::Shop(orders) => orders.get(id, self.seed.rng(id)),
            Model::Uniform(orders) => orders.get(id, self.seed.rng(id)),
        }
    }

    /// The days of the orders: the first, and the day after the last.
    pub fn dates(&self) -> &Range<NaiveDate> {
        &self.dates
    }

    /// The world that the orders belong to, if their profile is [`Profile::Shop`].
    pub fn world(&self) -> Option<&World> {
        match &self.model {
            Model::Shop(orders) => Some(orders.world()),
            Model::Uniform(_) => None,
        }
    }
}

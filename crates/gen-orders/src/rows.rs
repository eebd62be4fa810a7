//! The tables `orders` and `items`, and chunks of their rows.

use std::ops::RangeInclusive;

use datagen_core::model::order::{Order, Orders};
use datagen_core::model::planted::{OrderCounts, PlantedOrders};
use serde::Serialize;

/// A table that is filled. No column may be null.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, ColumnKind)],
    pub primary_key: &'static [&'static str],
}

/// A column's type, by its name in SQL Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// A signed integer of 32 bits.
    Int,
    /// A date and time, to the second.
    DateTime,
    /// A floating-point number of 64 bits.
    Float,
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SqlValue {
    Int(i32),
    /// Seconds since 1970-01-01 00:00:00, without a time zone.
    DateTime(i64),
    Float(f64),
}

pub static ORDERS: Table = Table {
    name: "orders",
    columns: &[
        ("orderId", ColumnKind::Int),
        ("userId", ColumnKind::Int),
        ("orderDate", ColumnKind::DateTime),
        ("orderValue", ColumnKind::Float),
    ],
    primary_key: &["orderId"],
};

pub static ITEMS: Table = Table {
    name: "items",
    columns: &[
        ("orderId", ColumnKind::Int),
        ("rowId", ColumnKind::Int),
        ("productId", ColumnKind::Int),
    ],
    primary_key: &["orderId", "rowId"],
};

/// All tables that are filled, in the order in which they are created.
pub static TABLES: [&Table; 2] = [&ORDERS, &ITEMS];

impl Table {
    /// Returns how many bytes the values of a row take in the database, without the overhead of the database.
    fn row_bytes(&self) -> u64 {
        let widths = self.columns.iter().map(|(_, kind)| match kind {
            ColumnKind::Int => 4,
            ColumnKind::DateTime | ColumnKind::Float => 8,
        });
        widths.sum()
    }
}

/// The orders that are loaded in one transaction.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The number of the chunk among all chunks, from 0.
    pub number: u64,
    pub orders: Vec<Order>,
    pub totals: Totals,
    /// What is planted in the orders.
    pub planted: OrderCounts,
}

/// Sums of rows, for comparing a table with what was generated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Rows of `orders`.
    pub orders: u64,
    /// Rows of `items`.
    pub items: u64,
    pub user_id_sum: u64,
    /// The value of every order is a whole number.
    pub order_value_sum: u64,
    pub row_id_sum: u64,
    pub product_id_sum: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.items += other.items;
        self.user_id_sum += other.user_id_sum;
        self.order_value_sum += other.order_value_sum;
        self.row_id_sum += other.row_id_sum;
        self.product_id_sum += other.product_id_sum;
    }

    fn count(&mut self, order: &Order) {
        self.orders += 1;
        self.user_id_sum += order.user_id as u64;
        self.order_value_sum += order.order_value as u64;
        for (row_id, &product_id) in (1..).zip(order.items()) {
            self.items += 1;
            self.row_id_sum += row_id;
            self.product_id_sum += product_id as u64;
        }
    }
}

impl Chunk {
    /// Generates the orders `ids`.
    pub fn generate(number: u64, orders: &Orders, ids: RangeInclusive<u64>) -> Self {
        let answer_key = PlantedOrders::new(orders);
        let mut chunk = Self {
            number,
            orders: Vec::with_capacity((ids.end() + 1 - ids.start()) as usize),
            totals: Totals::default(),
            planted: OrderCounts::default(),
        };
        for id in ids {
            let order = orders.get(id);
            answer_key.count(&order, &mut chunk.planted);
            chunk.totals.count(&order);
            chunk.orders.push(order);
        }
        chunk
    }

    /// Returns the rows of [`ORDERS`] in the order of the primary key.
    pub fn order_rows(&self) -> impl Iterator<Item = [SqlValue; 4]> + Send {
        self.orders.iter().map(|order| {
            [
                SqlValue::Int(order.order_id),
                SqlValue::Int(order.user_id),
                SqlValue::DateTime(order.order_date),
                SqlValue::Float(order.order_value),
            ]
        })
    }

    /// Returns the rows of [`ITEMS`] in the order of the primary key.
    pub fn item_rows(&self) -> impl Iterator<Item = [SqlValue; 3]> + Send {
        self.orders.iter().flat_map(|order| {
            let items = (1..).zip(order.items());
            items.map(|(row_id, &product_id)| {
                [
                    SqlValue::Int(order.order_id),
                    SqlValue::Int(row_id),
                    SqlValue::Int(product_id),
                ]
            })
        })
    }

    /// Returns the number of rows of both tables.
    pub fn row_count(&self) -> u64 {
        self.totals.orders + self.totals.items
    }

    /// Returns how many bytes the values of all rows take in the database, without the overhead of the database.
    pub fn bytes(&self) -> u64 {
        self.totals.orders * ORDERS.row_bytes() + self.totals.items * ITEMS.row_bytes()
    }
}

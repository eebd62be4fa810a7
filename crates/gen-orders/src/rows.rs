//! Orders as rows of the two tables, chunk by chunk.

use std::ops::RangeInclusive;

use datagen_core::model::order::Orders;
use datagen_core::model::planted::{OrderCounts, PlantedOrders};
use serde::Serialize;

use crate::database::{Batch, Column, ColumnKind, Table, Values};

/// `orders(orderId, userId, orderDate, orderValue)`.
pub static ORDERS: Table = Table {
    name: "orders",
    columns: &[
        Column {
            name: "orderId",
            kind: ColumnKind::Int,
        },
        Column {
            name: "userId",
            kind: ColumnKind::Int,
        },
        Column {
            name: "orderDate",
            kind: ColumnKind::DateTime,
        },
        Column {
            name: "orderValue",
            kind: ColumnKind::Float,
        },
    ],
    primary_key: &["orderId"],
};

/// `items(orderId, rowId, productId)`.
pub static ITEMS: Table = Table {
    name: "items",
    columns: &[
        Column {
            name: "orderId",
            kind: ColumnKind::Int,
        },
        Column {
            name: "rowId",
            kind: ColumnKind::Int,
        },
        Column {
            name: "productId",
            kind: ColumnKind::Int,
        },
    ],
    primary_key: &["orderId", "rowId"],
};

/// The rows of a chunk of orders.
#[derive(Clone, Debug)]
pub struct ChunkRows {
    /// Rows of [`ORDERS`].
    pub orders: Batch,
    /// Rows of [`ITEMS`].
    pub items: Batch,
    /// What they add up to.
    pub totals: Totals,
    /// What is planted in them.
    pub planted: OrderCounts,
}

/// What rows add up to, for comparing a table with what was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Rows of `orders`.
    pub orders: u64,
    /// Rows of `items`.
    pub items: u64,
    /// Sum of `orders.userId`.
    pub user_id_sum: u64,
    /// Sum of `orders.orderValue`, which is whole.
    pub order_value_sum: u64,
    /// Sum of `items.rowId`.
    pub row_id_sum: u64,
    /// Sum of `items.productId`.
    pub product_id_sum: u64,
}

impl Totals {
    /// Adds the totals of other rows.
    pub fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.items += other.items;
        self.user_id_sum += other.user_id_sum;
        self.order_value_sum += other.order_value_sum;
        self.row_id_sum += other.row_id_sum;
        self.product_id_sum += other.product_id_sum;
    }
}

/// Makes the rows of the orders `ids`.
pub fn make(orders: &Orders, ids: RangeInclusive<u64>) -> ChunkRows {
    let expected = (ids.end() + 1 - ids.start()) as usize;
    let [mut order_ids, mut user_ids] = [(); 2].map(|()| Vec::with_capacity(expected));
    let (mut dates, mut values) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
    // 5.5 items an order on average.
    let [mut item_orders, mut row_ids, mut product_ids] = [(); 3].map(|()| Vec::with_capacity(expected * 6));
    let mut totals = Totals::default();
    let (answer_key, mut planted) = (PlantedOrders::new(orders), OrderCounts::default());
    for id in ids {
        let order = orders.get(id);
        answer_key.count(&order, &mut planted);
        order_ids.push(order.order_id);
        user_ids.push(order.user_id);
        dates.push(order.order_date);
        values.push(order.order_value);
        totals.user_id_sum += order.user_id as u64;
        totals.order_value_sum += order.order_value as u64;
        for (row_id, &product_id) in (1..).zip(order.items()) {
            item_orders.push(order.order_id);
            row_ids.push(row_id);
            product_ids.push(product_id);
            totals.row_id_sum += row_id as u64;
            totals.product_id_sum += product_id as u64;
        }
    }
    totals.orders = order_ids.len() as u64;
    totals.items = item_orders.len() as u64;
    let orders = vec![
        Values::Int(order_ids),
        Values::Int(user_ids),
        Values::DateTime(dates),
        Values::Float(values),
    ];
    let items = vec![
        Values::Int(item_orders),
        Values::Int(row_ids),
        Values::Int(product_ids),
    ];
    ChunkRows {
        orders: Batch::new(&ORDERS, orders),
        items: Batch::new(&ITEMS, items),
        totals,
        planted,
    }
}

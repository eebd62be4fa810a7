//! Counts the effects planted in orders.

use std::ops::AddAssign;

use chrono::{Datelike, NaiveDate, Weekday};
use serde_json::{Value, json};

use super::{Effect, MAX_LISTED};
use crate::model::order::{LATE_MAX_SECONDS, LATE_ONE_IN, Order, Orders, PAIR_PERCENT};
use crate::world::World;
use crate::world::calendar::{
    self, BLACK_FRIDAY_FACTOR, OUTAGE_DIVISOR, PAYDAYS, QUIET_DAY_DIVISOR, SECONDS_PER_DAY,
};
use crate::world::catalogue::{FAVOURITE_SHELF_PERCENT, SAME_SHELF_PERCENT, SHELF_SIZE};

/// An effect that orders can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderEffect {
    Late,
    Outage,
    BlackFriday,
    QuietDay,
    Payday,
    FourthQuarter,
    Monday,
    Saturday,
    BestCustomers,
    PairFirst,
    Pair,
    SameShelf,
    FavouriteShelf,
}

const EFFECTS: [OrderEffect; 13] = [
    OrderEffect::Late,
    OrderEffect::Outage,
    OrderEffect::BlackFriday,
    OrderEffect::QuietDay,
    OrderEffect::Payday,
    OrderEffect::FourthQuarter,
    OrderEffect::Monday,
    OrderEffect::Saturday,
    OrderEffect::BestCustomers,
    OrderEffect::PairFirst,
    OrderEffect::Pair,
    OrderEffect::SameShelf,
    OrderEffect::FavouriteShelf,
];

/// The number of records with each effect. The counts of several parts of the data add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts([u64; EFFECTS.len()]);

impl AddAssign for OrderCounts {
    fn add_assign(&mut self, other: Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
    }
}

/// Counts and describes the effects planted in the orders of one seed.
#[derive(Clone, Debug)]
pub struct PlantedOrders<'a> {
    orders: &'a Orders,
}

impl<'a> PlantedOrders<'a> {
    /// The effects planted in `orders`.
    pub fn new(orders: &'a Orders) -> Self {
        Self { orders }
    }

    /// Counts the effects of `order`.
    #[inline]
    pub fn count(&self, order: &Order, counts: &mut OrderCounts) {
        let Some(world) = self.orders.world() else { return };
        let mut add = |effect: OrderEffect, count: u64| counts.0[effect as usize] += count;
        add(OrderEffect::Late, u64::from(order.is_late));

        let day = NaiveDate::from_epoch_days(order.order_date.div_euclid(SECONDS_PER_DAY) as i32)
            .expect("dates are within years 1 to 9999");
        let (year, month) = (day.year(), day.month());
        add(
            OrderEffect::Outage,
            u64::from(month == 3 && calendar::outage(year) == Some(day)),
        );
        add(
            OrderEffect::BlackFriday,
            u64::from(month == 11 && calendar::black_friday(year) == day),
        );
        add(OrderEffect::QuietDay, u64::from(calendar::is_quiet_day(day)));
        add(OrderEffect::Payday, u64::from(PAYDAYS.contains(&day.day())));
        add(OrderEffect::FourthQuarter, u64::from(month >= 10));
        match day.weekday() {
            Weekday::Mon => add(OrderEffect::Monday, 1),
            Weekday::Sat => add(OrderEffect::Saturday, 1),
            _ => {}
        }

        let World {
            population,
            catalogue,
        } = world;
        let user = order.user_id as u64;
        let is_best = population.rank_of_user(user) < population.best_customers();
        add(OrderEffect::BestCustomers, u64::from(is_best));
        let favourite = catalogue.shelf_of_word(population.favourite_shelf_word(user));
        let pair = catalogue.pair_ranks();
        let (mut first_shelf, mut has_first, mut has_second) = (None, false, false);
        for &product in order.items() {
            let rank = catalogue.rank_of_product(product as u64);
            let shelf = rank / SHELF_SIZE;
            add(OrderEffect::SameShelf, u64::from(first_shelf == Some(shelf)));
            add(OrderEffect::FavouriteShelf, u64::from(shelf == favourite));
            first_shelf = first_shelf.or(Some(shelf));
            has_first |= pair.is_some_and(|(first, _)| rank == first);
            has_second |= pair.is_some_and(|(_, second)| rank == second);
        }
        add(OrderEffect::PairFirst, u64::from(has_first));
        add(OrderEffect::Pair, u64::from(has_first && has_second));
    }

    /// The effects with their counts; none if the orders have the profile `uniform`.
    pub fn effects(&self, counts: &OrderCounts) -> Vec<Effect> {
        let Some(world) = self.orders.world() else {
            return vec![];
        };
        let effects = EFFECTS.into_iter().zip(counts.0);
        effects
            .map(|(effect, count)| {
                let (effect, parameters) = self.describe(world, effect);
                Effect {
                    effect,
                    parameters,
                    count,
                }
            })
            .collect()
    }

    fn describe(&self, world: &World, effect: OrderEffect) -> (&'static str, Value) {
        let World {
            population,
            catalogue,
        } = world;
        let days = |day_of: &dyn Fn(i32) -> Option<NaiveDate>| -> Vec<NaiveDate> {
            let dates = self.orders.dates();
            let years = dates.start.year()..=dates.end.year();
            years
                .filter_map(day_of)
                .filter(|day| dates.contains(day))
                .take(MAX_LISTED)
                .collect()
        };
        let pair = catalogue.pair();
        match effect {
            OrderEffect::Late => (
                "late_order",
                json!({"counted": "orders", "one_in": LATE_ONE_IN, "hours_at_most": LATE_MAX_SECONDS / 3_600}),
            ),
            OrderEffect::Outage => (
                "outage",
                json!({"counted": "orders on these days", "days": days(&calendar::outage), "one_left_of": OUTAGE_DIVISOR}),
            ),
            OrderEffect::BlackFriday => (
                "black_friday",
                json!({
                    "counted": "orders on these days",
                    "days": days(&|year| Some(calendar::black_friday(year))),
                    "factor": BLACK_FRIDAY_FACTOR,
                }),
            ),
            OrderEffect::QuietDay => (
                "quiet_day",
                json!({"counted": "orders on 24 and 25 December", "one_left_of": QUIET_DAY_DIVISOR}),
            ),
            OrderEffect::Payday => (
                "payday",
                json!({
                    "counted": "orders on these days of the month",
                    "first_day": PAYDAYS.start(),
                    "last_day": PAYDAYS.end(),
                    "percent_of_other_days": calendar::PAYDAY_PERCENT,
                }),
            ),
            OrderEffect::FourthQuarter => ("fourth_quarter", json!({"counted": "orders"})),
            OrderEffect::Monday => (
                "monday",
                json!({"counted": "orders", "weight": calendar::WEEKDAYS[0]}),
            ),
            OrderEffect::Saturday => (
                "saturday",
                json!({"counted": "orders", "weight": calendar::WEEKDAYS[5]}),
            ),
            OrderEffect::BestCustomers => (
                "best_customers",
                json!({"counted": "orders of the most active users", "users": population.best_customers()}),
            ),
            OrderEffect::PairFirst => (
                "pair_first",
                json!({"counted": "orders with the product", "product": pair.map(|(first, _)| first)}),
            ),
            OrderEffect::Pair => (
                "pair",
                json!({"counted": "orders with both products", "products": pair, "percent": PAIR_PERCENT}),
            ),
            OrderEffect::SameShelf => (
                "same_shelf",
                json!({"counted": "items from the shelf of the order's first item", "percent": SAME_SHELF_PERCENT}),
            ),
            OrderEffect::FavouriteShelf => (
                "favourite_shelf",
                json!({"counted": "items from the user's favourite shelf", "percent": FAVOURITE_SHELF_PERCENT}),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Profile;
    use crate::model::order::OrderRange;

    fn orders(profile: Profile) -> Orders {
        let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let range = OrderRange {
            user_max_id: 999,
            product_max_id: 99,
            dates: day(2016)..day(2026),
        };
        Orders::new(profile, 5, 20_000, &range)
    }

    fn counts(orders: &Orders, ids: std::ops::RangeInclusive<u64>) -> OrderCounts {
        let mut counts = OrderCounts::default();
        ids.for_each(|id| PlantedOrders::new(orders).count(&orders.get(id), &mut counts));
        counts
    }

    #[test]
    fn effects_are_named_listed_and_add_up() {
        assert!(
            EFFECTS
                .iter()
                .enumerate()
                .all(|(index, &effect)| effect as usize == index)
        );
        let orders = orders(Profile::Shop);
        let whole = counts(&orders, 1..=20_000);
        let mut parts = counts(&orders, 1..=7_000);
        parts += counts(&orders, 7_001..=20_000);
        assert_eq!(parts, whole);

        let effects = PlantedOrders::new(&orders).effects(&whole);
        let names: std::collections::HashSet<_> = effects.iter().map(|effect| effect.effect).collect();
        assert_eq!(names.len(), EFFECTS.len());
        let of = |name: &str| effects.iter().find(|effect| effect.effect == name).unwrap();
        assert_eq!(of("outage").parameters["days"].as_array().unwrap().len(), 3);
        assert_eq!(
            of("black_friday").parameters["days"].as_array().unwrap().len(),
            10
        );
        for effect in &effects {
            assert!(effect.count > 0 || effect.effect == "outage", "{effect:?}");
        }
        assert!(of("pair").count < of("pair_first").count);
    }

    #[test]
    fn nothing_is_planted_in_uniform_orders() {
        let orders = orders(Profile::Uniform);
        let counts = counts(&orders, 1..=1_000);
        assert_eq!(counts, OrderCounts::default());
        assert_eq!(PlantedOrders::new(&orders).effects(&counts), []);
    }
}

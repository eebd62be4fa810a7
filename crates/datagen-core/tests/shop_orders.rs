//! Measures the effects in the orders of the profile `shop` on the records as consumers see them. Each bound must
//! fail on orders of the profile `uniform`, which must remain uniform: `differs` asserts both.

use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::LazyLock;

use chrono::{Datelike, NaiveDate, Timelike, Weekday};
use datagen_core::model::Profile;
use datagen_core::model::order::{Order, OrderRange, Orders};
use datagen_core::world::World;
use datagen_core::world::calendar::{black_friday, outage};

const ORDERS: u64 = 400_000;
const USERS: u64 = 20_000;
const PRODUCTS: u64 = 1_000;

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn make(profile: Profile, count: u64, users: u64, products: u64, dates: Range<NaiveDate>) -> Vec<Order> {
    let range = OrderRange {
        user_max_id: users - 1,
        product_max_id: products - 1,
        dates,
    };
    let orders = Orders::new(profile, 1, count, &range);
    (1..=count).map(|id| orders.get(id)).collect()
}

fn default_orders(profile: Profile) -> Vec<Order> {
    make(profile, ORDERS, USERS, PRODUCTS, day(2016, 1, 1)..day(2026, 1, 1))
}

static SHOP: LazyLock<Vec<Order>> = LazyLock::new(|| default_orders(Profile::Shop));
static UNIFORM: LazyLock<Vec<Order>> = LazyLock::new(|| default_orders(Profile::Uniform));
static WORLD: LazyLock<World> = LazyLock::new(|| World::new(USERS, PRODUCTS));

/// Asserts that the result of `measure` is within the bounds for the profile `shop` and outside them for `uniform`.
fn differs<T: PartialOrd + Debug>(what: &str, bounds: Range<T>, measure: impl Fn(&[Order]) -> T) {
    let (shop, uniform) = (measure(&SHOP), measure(&UNIFORM));
    assert!(bounds.contains(&shop), "{what}: {shop:?}, not in {bounds:?}");
    assert!(
        !bounds.contains(&uniform),
        "{what} of uniform orders: {uniform:?}, in {bounds:?}"
    );
}

fn share(orders: &[Order], of: impl Fn(&Order) -> bool) -> f64 {
    orders.iter().filter(|order| of(order)).count() as f64 / orders.len() as f64
}

/// The share of the `top` most frequent of `all` values.
fn top_share(values: impl Iterator<Item = i32>, all: u64, top: u64) -> f64 {
    let mut counts = vec![0_u64; all as usize];
    values.for_each(|value| counts[value as usize] += 1);
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let total: u64 = counts.iter().sum();
    counts[..top as usize].iter().sum::<u64>() as f64 / total as f64
}

fn products(orders: &[Order]) -> impl Iterator<Item = i32> {
    orders.iter().flat_map(|order| order.items().iter().copied())
}

/// The number of orders on each day.
fn by_day(orders: &[Order]) -> HashMap<NaiveDate, u64> {
    let mut days = HashMap::new();
    for order in orders {
        *days.entry(order.date_time().date()).or_default() += 1;
    }
    days
}

/// Spearman's rank correlation.
fn rank_correlation(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |of: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|&a, &b| of(a).total_cmp(&of(b)));
        let mut ranks = vec![0.0; pairs.len()];
        let mut start = 0;
        while start < order.len() {
            let mut end = start;
            while end < order.len() && of(order[end]) == of(order[start]) {
                end += 1;
            }
            for &index in &order[start..end] {
                ranks[index] = (start + end - 1) as f64 / 2.0;
            }
            start = end;
        }
        ranks
    };
    let (x, y) = (ranks(&|i| pairs[i].0), ranks(&|i| pairs[i].1));
    let mean = (pairs.len() - 1) as f64 / 2.0;
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(&y) {
        xy += (x - mean) * (y - mean);
        xx += (x - mean).powi(2);
        yy += (y - mean).powi(2);
    }
    xy / (xx * yy).sqrt()
}

#[test]
fn a_fifth_of_products_is_most_of_the_items() {
    differs("the top fifth of products", 0.60..0.70, |orders| {
        top_share(products(orders), PRODUCTS, PRODUCTS / 5)
    });
    // Shops of other sizes. The first fifth of the ranks is measured, because most products of a large shop are not
    // sold at all.
    for (products, expected) in [(100, 0.50), (10_000, 0.70), (1_000_000, 0.77)] {
        let world = World::new(1_000, products);
        let [shop, uniform] = Profile::ALL.map(|profile| {
            let orders = make(profile, 30_000, 1_000, products, day(2024, 1, 1)..day(2026, 1, 1));
            let all: Vec<_> = self::products(&orders).collect();
            let first = |id: &&i32| world.catalogue.rank_of_product(**id as u64) < products / 5;
            all.iter().filter(first).count() as f64 / all.len() as f64
        });
        assert!((shop - expected).abs() < 0.05, "{products} products: {shop}");
        assert!((uniform - 0.2).abs() < 0.01, "{products} products: {uniform}");
    }
}

#[test]
fn a_fifth_of_users_places_most_of_the_orders_and_none_too_many() {
    let users = |orders: &[Order]| -> Vec<i32> { orders.iter().map(|order| order.user_id).collect() };
    differs("the top fifth of users", 0.60..0.75, |orders| {
        top_share(users(orders).into_iter(), USERS, USERS / 5)
    });
    differs("the top hundredth of users", 0.10..0.20, |orders| {
        top_share(users(orders).into_iter(), USERS, USERS / 100)
    });
    let mean = ORDERS as f64 / USERS as f64;
    differs("the most orders of a user, in means", 8.0..100.0, |orders| {
        top_share(users(orders).into_iter(), USERS, 1) * ORDERS as f64 / mean
    });
    // The years in which few users have signed up, and other dates and numbers of users.
    for (users, dates) in [
        (500, day(2012, 1, 1)..day(2012, 7, 1)),
        (500, day(2012, 1, 1)..day(2014, 1, 1)),
        (500, day(1955, 1, 1)..day(1956, 1, 1)),
        (150, day(2016, 1, 1)..day(2026, 1, 1)),
        (500, day(2027, 1, 1)..day(2028, 1, 1)),
    ] {
        let orders = make(Profile::Shop, 50 * users, users, PRODUCTS, dates.clone());
        let most = top_share(orders.iter().map(|order| order.user_id), users, 1) * users as f64;
        assert!(most < 100.0, "{users} users, {dates:?}: {most} means");
    }
}

#[test]
fn vips_buy_several_times_as_much_as_others() {
    for vips in [20, USERS / 100, USERS / 20] {
        differs(
            "the orders of a VIP, in those of another user",
            3.0..20.0,
            |orders| {
                let is_vip = |order: &Order| WORLD.population.rank_of_user(order.user_id as u64) < vips;
                let share = share(orders, is_vip);
                (share / vips as f64) / ((1.0 - share) / (USERS - vips) as f64)
            },
        );
    }
}

#[test]
fn ids_increase_with_time_except_for_late_orders() {
    differs("the orders behind the latest so far", 0.008..0.012, |orders| {
        let mut latest = i64::MIN;
        let mut behind = 0;
        for order in orders {
            behind += u32::from(order.order_date < latest);
            latest = latest.max(order.order_date);
        }
        f64::from(behind) / orders.len() as f64
    });
    let late = SHOP.iter().filter(|order| order.is_late).count();
    assert!((3_700..4_300).contains(&late), "{late}");
    // Orders are only minutes apart, so the latest date so far is close to the date that a late order would have had.
    let (mut latest, mut delays) = (0, vec![]);
    for order in SHOP.iter() {
        if order.is_late {
            delays.push((latest - order.order_date).max(0));
        } else {
            assert!(order.order_date >= latest, "{order:?}");
            latest = order.order_date;
        }
    }
    let hours =
        |count: i64| delays.iter().filter(|&&delay| delay < count * 3_600).count() as f64 / late as f64;
    assert_eq!(hours(49), 1.0);
    for quarter in 1..4 {
        let expected = f64::from(quarter) / 4.0;
        assert!(
            (hours(12 * i64::from(quarter)) - expected).abs() < 0.035,
            "{quarter}"
        );
    }
}

#[test]
fn the_calendar_has_growth_seasons_weekdays_and_hours() {
    differs("the growth from 2016 to 2021", 2.1..2.5, |orders| {
        let year = |year| share(orders, |order| order.date_time().year() == year);
        year(2021) / year(2016)
    });
    differs("the fourth quarter", 0.32..0.36, |orders| {
        share(orders, |order| order.date_time().month() >= 10)
    });
    let weekday = |orders: &[Order], weekday| share(orders, |order| order.date_time().weekday() == weekday);
    differs("Mondays to Saturdays", 2.3..2.7, |orders| {
        weekday(orders, Weekday::Mon) / weekday(orders, Weekday::Sat)
    });
    for (peak, trough) in [(10, 14), (21, 18), (10, 3)] {
        let hour = |orders: &[Order], hour| share(orders, |order| order.date_time().hour() == hour);
        differs("an hour's peak", 1.3..40.0, |orders| {
            hour(orders, peak) / hour(orders, trough)
        });
    }
    let busiest = |orders: &[Order], hours: Range<u32>| {
        let of_hour = |hour: &u32| {
            let at = |order: &&Order| order.date_time().hour() == *hour;
            orders.iter().filter(at).count()
        };
        hours.max_by_key(of_hour).unwrap()
    };
    assert_eq!([busiest(&SHOP, 0..16), busiest(&SHOP, 16..24)], [10, 21]);
    differs("paydays", 1.05..1.15, |orders| {
        let days = |days: Range<u32>| share(orders, |order| days.contains(&order.date_time().day()));
        days(12..17) / (days(5..12) + days(17..24)) * 14.0 / 5.0
    });
}

#[test]
fn black_fridays_quiet_days_and_outages_stand_out() {
    let days_later =
        |day: NaiveDate, days: i64| day + chrono::Days::new((days + 70) as u64) - chrono::Days::new(70);
    differs("Black Friday, in other Fridays", 2.7..3.3, |orders| {
        let days = by_day(orders);
        let count = |later: i64| -> f64 {
            (2016..2026)
                .map(|year| {
                    days.get(&days_later(black_friday(year), later))
                        .copied()
                        .unwrap_or(0) as f64
                })
                .sum()
        };
        // The two Fridays before are in November as well.
        count(0) / ((count(-7) + count(-14)) / 2.0)
    });
    differs("Christmas, in the days before", 0.15..0.40, |orders| {
        let december = |days: Range<u32>| {
            share(orders, |order| {
                let date = order.date_time();
                date.month() == 12 && days.contains(&date.day())
            })
        };
        december(24..26) / 2.0 / (december(17..24) / 7.0)
    });
    let outages: Vec<_> = (2016..2026).filter_map(outage).collect();
    assert_eq!(outages.len(), 3);
    differs("outages, in the Tuesdays around", 0.0..0.10, |orders| {
        let days = by_day(orders);
        let count = |later: i64| -> f64 {
            let counts = outages
                .iter()
                .map(|&day| days.get(&days_later(day, later)).copied().unwrap_or(0) as f64);
            counts.sum()
        };
        count(0) / ((count(-7) + count(7)) / 2.0)
    });
}

#[test]
fn customers_are_of_age_and_have_signed_up() {
    differs("orders of people who are too young", 0.0..1e-9, |orders| {
        share(orders, |order| {
            let born = WORLD.population.birth_year(order.user_id as u64);
            order.date_time().year() - i32::from(born) < 16
        })
    });
    differs("orders before the sign-up", 0.0..0.01, |orders| {
        share(orders, |order| {
            order.order_date < WORLD.population.sign_up(order.user_id as u64)
        })
    });
    // Fewer and fewer users return in the years after their first order.
    differs(
        "the users of 2017 who still order in 2025",
        0.05..0.60,
        |orders| {
            let mut years: HashMap<i32, (i32, i32)> = HashMap::new();
            for order in orders {
                let year = order.date_time().year();
                let (first, last) = years.entry(order.user_id).or_insert((year, year));
                (*first, *last) = ((*first).min(year), (*last).max(year));
            }
            let of_2017: Vec<_> = years.values().filter(|(first, _)| *first == 2017).collect();
            of_2017.iter().filter(|(_, last)| *last == 2025).count() as f64 / of_2017.len() as f64
        },
    );

    // Dates on which few users are of age, and dates on which none are.
    let orders = make(Profile::Shop, 2_000, USERS, 10, day(1953, 1, 1)..day(1954, 1, 1));
    let born = orders
        .iter()
        .map(|order| WORLD.population.birth_year(order.user_id as u64));
    assert!(born.max() <= Some(1937));
    let orders = make(Profile::Shop, 2_000, USERS, 10, day(1900, 1, 1)..day(1901, 1, 1));
    let users: std::collections::HashSet<_> = orders.iter().map(|order| order.user_id).collect();
    assert!(users.len() > 1_000);
}

#[test]
fn values_are_the_exact_sums_of_prices() {
    let exact = |order: &Order| {
        let prices = order.items().iter().map(|&id| WORLD.catalogue.price(id as u64));
        prices.sum::<u64>() as f64 == order.order_value
    };
    differs(
        "orders whose value is the sum of their prices",
        1.0..2.0,
        |orders| share(orders, exact),
    );
    differs("ρ(value, items)", 0.6..0.85, |orders| {
        let pairs: Vec<_> = orders[..50_000]
            .iter()
            .map(|order| (order.order_value, order.items().len() as f64))
            .collect();
        rank_correlation(&pairs)
    });
    let mut prices: Vec<_> = (0..PRODUCTS).map(|id| WORLD.catalogue.price(id)).collect();
    prices.sort_unstable();
    assert!((480..720).contains(&prices[500]), "{}", prices[500]);
    assert!(prices[999] > 5_000 && prices[999] <= 9_999);
}

#[test]
fn orders_have_1_to_10_items_and_about_3() {
    for count in 1..=10 {
        assert!(SHOP.iter().any(|order| order.items().len() == count), "{count}");
    }
    differs("items per order", 2.8..3.2, |orders| {
        products(orders).count() as f64 / orders.len() as f64
    });
}

#[test]
fn a_pair_and_shelves_are_bought_together() {
    for products in [16, 100, PRODUCTS, 10_000] {
        let world = World::new(USERS, products);
        let (first, second) = world.catalogue.pair().unwrap();
        let [shop, uniform] = Profile::ALL.map(|profile| {
            let orders = make(
                profile,
                200_000,
                USERS,
                products,
                day(2016, 1, 1)..day(2026, 1, 1),
            );
            let has = |order: &Order, id: u64| order.items().contains(&(id as i32));
            let (a, b) = (
                share(&orders, |order| has(order, first)),
                share(&orders, |order| has(order, second)),
            );
            share(&orders, |order| has(order, first) && has(order, second)) / (a * b)
        });
        let least = match products {
            16 => 1.8,
            100 => 3.0,
            _ => 10.0,
        };
        assert!(shop > least, "lift of the pair among {products} products: {shop}");
        // With more products, too few orders include both by chance.
        if products <= PRODUCTS {
            assert!(uniform < least, "{products} products: {uniform}");
        }
    }
    differs("second items from the first one's shelf", 0.25..0.50, |orders| {
        let two: Vec<_> = orders
            .iter()
            .filter(|order| order.items().len() > 1)
            .copied()
            .collect();
        share(&two, |order| {
            let shelf = |item: usize| WORLD.catalogue.shelf_of_product(order.items()[item] as u64);
            shelf(0) == shelf(1)
        })
    });
    differs(
        "items from a frequent buyer's most frequent shelf",
        0.30..0.60,
        |orders| {
            let mut shelves: HashMap<i32, HashMap<u64, u64>> = HashMap::new();
            for order in orders {
                for &id in order.items() {
                    let of_user = shelves.entry(order.user_id).or_default();
                    *of_user
                        .entry(WORLD.catalogue.shelf_of_product(id as u64))
                        .or_default() += 1;
                }
            }
            let frequent: Vec<_> = shelves
                .values()
                .filter(|shelves| shelves.values().sum::<u64>() >= 30)
                .map(|shelves| *shelves.values().max().unwrap() as f64 / shelves.values().sum::<u64>() as f64)
                .collect();
            frequent.iter().sum::<f64>() / frequent.len() as f64
        },
    );
}

#[test]
fn the_pair_is_the_strongest_association_rule() {
    // The rule with the highest confidence among the rules "orders with a include b" that hold for at least 100
    // orders.
    let strongest = |orders: &[Order]| {
        let mut of_product: HashMap<i32, f64> = HashMap::new();
        let mut of_both: HashMap<(i32, i32), f64> = HashMap::new();
        for order in orders {
            let items: std::collections::BTreeSet<_> = order.items().iter().copied().collect();
            for &a in &items {
                *of_product.entry(a).or_default() += 1.0;
                for &b in items.iter().filter(|&&b| b != a) {
                    *of_both.entry((a, b)).or_default() += 1.0;
                }
            }
        }
        let rules = of_both.iter().filter(|(_, both)| **both >= 100.0);
        let best = rules.max_by(|x, y| (x.1 / of_product[&x.0.0]).total_cmp(&(y.1 / of_product[&y.0.0])));
        best.map(|(&(a, b), _)| (a.min(b) as u64, a.max(b) as u64))
    };
    // The strongest rule may have either direction, so the ids of the pair are sorted.
    let pair = WORLD.catalogue.pair().map(|(a, b)| (a.min(b), a.max(b)));
    assert_eq!(strongest(&SHOP), pair);
    assert_ne!(strongest(&UNIFORM), pair);
}

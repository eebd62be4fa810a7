//! The answer key: which effects were planted in a part of the data, and how often.
//!
//! Manifests list them as `{effect, parameters, count}`. Counts are taken from the records themselves, so that they
//! are exact after a restart and the counts of all shards add up to those of a single run. The profile `uniform` has
//! only the effects that the article describes, and late and duplicate messages.

mod orders;
mod sessions;

use std::ops::Range;

use serde::Serialize;
use serde_json::{Value, json};

use crate::world::catalogue::{MAX_PRICE, SHELF_SIZE};
use crate::world::{Catalogue, Population};
pub use orders::{OrderCounts, PlantedOrders};
pub use sessions::{PlantedSessions, SessionCounts, SessionEffect, SessionEffects};

/// The maximum number of entries of lists in parameters; longer lists are truncated.
pub const MAX_LISTED: usize = 100;

/// The number of best or slowest entities that are listed.
const EXAMPLES: usize = 10;

/// One kind of planted effect in a part of the data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The name of the effect.
    pub effect: &'static str,
    /// The parameters of the effect, as a JSON object.
    pub parameters: Value,
    /// The number of records in this part that have the effect; `parameters.counted` states what is counted.
    pub count: u64,
}

/// The effects planted in the products `ids`.
pub fn products(catalogue: &Catalogue, ids: Range<u64>) -> Vec<Effect> {
    let all = ids.end - ids.start;
    let within =
        |products: &mut dyn Iterator<Item = u64>| products.filter(|id| ids.contains(id)).count() as u64;
    let most_popular: Vec<_> = (0..catalogue.len())
        .take(EXAMPLES)
        .map(|rank| catalogue.product_at_rank(rank))
        .collect();
    let prices: Vec<_> = ids
        .clone()
        .take(MAX_LISTED)
        .map(|id| json!({"product": id, "price": catalogue.price(id)}))
        .collect();
    let pair: Vec<u64> = catalogue
        .pair()
        .map_or(vec![], |(first, second)| vec![first, second]);
    vec![
        Effect {
            effect: "popularity",
            parameters: json!({"counted": "products", "most_popular": most_popular}),
            count: all,
        },
        Effect {
            effect: "shelf",
            parameters: json!({"counted": "products", "products_per_shelf": SHELF_SIZE}),
            count: all,
        },
        Effect {
            effect: "price",
            parameters: json!({"counted": "products", "highest": MAX_PRICE, "prices": prices}),
            count: all,
        },
        Effect {
            effect: "lemon",
            parameters: json!({"counted": "products", "products": lemons(catalogue)}),
            count: within(&mut catalogue.lemons()),
        },
        Effect {
            effect: "pair",
            parameters: json!({"counted": "products", "products": pair}),
            count: within(&mut pair.iter().copied()),
        },
    ]
}

/// The effects planted in the users `ids`.
pub fn users(population: &Population, ids: Range<u64>) -> Vec<Effect> {
    let best = population.best_customers();
    let most_active: Vec<_> = (0..best)
        .take(EXAMPLES)
        .map(|rank| population.user_at_rank(rank))
        .collect();
    let within = (0..best).filter(|&rank| ids.contains(&population.user_at_rank(rank)));
    vec![Effect {
        effect: "best_customers",
        parameters: json!({"counted": "users", "of_all_users": best, "most_active": most_active}),
        count: within.count() as u64,
    }]
}

/// The effects planted in the VIP users `ranks`.
pub fn vips(ranks: Range<u64>) -> Vec<Effect> {
    vec![Effect {
        effect: "vip",
        parameters: json!({"counted": "VIP users", "order": "most active first"}),
        count: ranks.end - ranks.start,
    }]
}

/// The most popular lemons, at most [`MAX_LISTED`].
fn lemons(catalogue: &Catalogue) -> Vec<u64> {
    catalogue.lemons().take(MAX_LISTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_of_users_and_products_add_up() {
        for count in [0, 1, 2, 16, 1_000] {
            let (catalogue, population) = (Catalogue::new(count), Population::new(count));
            for (whole, parts) in [
                (
                    products(&catalogue, 0..count),
                    [
                        products(&catalogue, 0..count / 3),
                        products(&catalogue, count / 3..count),
                    ],
                ),
                (
                    users(&population, 0..count),
                    [
                        users(&population, 0..count / 3),
                        users(&population, count / 3..count),
                    ],
                ),
                (vips(0..count), [vips(0..count / 3), vips(count / 3..count)]),
            ] {
                for (index, effect) in whole.iter().enumerate() {
                    let [first, second] = &parts;
                    assert_eq!(effect.effect, first[index].effect);
                    assert_eq!(
                        effect.count,
                        first[index].count + second[index].count,
                        "{effect:?}"
                    );
                }
            }
        }
        let lemons = &products(&Catalogue::new(1_000), 0..1_000)[3];
        assert_eq!(lemons.count, 5);
        assert_eq!(lemons.parameters["products"].as_array().unwrap().len(), 5);
    }
}

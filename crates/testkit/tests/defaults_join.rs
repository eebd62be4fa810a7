//! Checks that the data that the four generators write with their defaults can be joined. Only the destinations, the
//! number of orders and the number of sessions are set (and no pauses between sessions). Of the users, only two of a
//! thousand shards are made: the first and the last one, which have the lowest and the highest ids.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::process::GeneratorProcess;

/// Runs a generator.
fn run(name: &str, variables: &[(&str, &str)]) {
    let generator = GeneratorProcess::of_workspace(name);
    variables
        .iter()
        .fold(generator, |generator, (name, value)| generator.env(name, value))
        .succeed();
}

/// Returns the objects of a file of JSON lines.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn number(object: &Value, field: &str) -> u64 {
    object[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} in {object}"))
}

#[test]
fn the_defaults_of_all_generators_join() {
    const SHARDS: u64 = 1_000;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let url = |scheme: &str, name: &str| format!("{scheme}://{}", path(name).display());
    let lake = url("file", "lake");

    let shards = SHARDS.to_string();
    let [first, last] = [0, SHARDS - 1].map(|shard| {
        let index = shard.to_string();
        run(
            "gen-users",
            &[
                ("LAKE_URL", &lake),
                ("SHARD_INDEX", &index),
                ("SHARD_COUNT", &shards),
            ],
        );
        let part = |kind: &str| path(&format!("lake/{kind}/{kind}-{shard:05}-of-{SHARDS:05}.json"));
        let vips = lines(&part("vipusers"));
        (lines(&part("users")), vips)
    });
    let ids = |users: &[Value]| users.iter().map(|user| number(user, "id")).collect::<Vec<_>>();
    let (first_users, last_users) = (ids(&first.0), ids(&last.0));
    let users = last_users.last().expect("the shard has users") + 1;
    let each = users / SHARDS;
    assert!(first_users.iter().copied().eq(0..each));
    assert!(last_users.iter().copied().eq(users - each..users));

    run("gen-products", &[("LAKE_URL", &lake)]);
    let mut pages = HashMap::new();
    let mut products = HashSet::new();
    for file in fs::read_dir(path("lake/products")).unwrap() {
        let product: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        let id = number(&product, "id");
        assert!(products.insert(id));
        for page in product["pages"].as_array().unwrap() {
            assert_eq!(pages.insert(page.as_str().unwrap().to_owned(), id), None);
        }
    }
    let highest_product = *products.iter().max().expect("there are products");
    assert_eq!(products.len() as u64, highest_product + 1);

    run(
        "gen-orders",
        &[("SQL_URL", &url("sqlite", "orders.db")), ("COUNT", "5000")],
    );
    let database = rusqlite::Connection::open(path("orders.db")).unwrap();
    let column = |sql: &str| -> Vec<u64> {
        let mut statement = database.prepare(sql).unwrap();
        let values = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        values.map(|value| value.unwrap().try_into().unwrap()).collect()
    };
    let of_orders = column("SELECT userId FROM orders");
    let of_items = column("SELECT productId FROM items");
    assert_eq!(of_orders.len(), 5_000);
    assert!(of_items.len() > 5_000);

    run(
        "stream-pageviews",
        &[
            ("STREAM_URL", &url("file", "stream")),
            ("SESSIONS", "1000"),
            ("SESSION_PAUSE_MEAN", "0"),
        ],
    );
    let views = lines(&path("stream/pageviews.jsonl"));
    let stars = lines(&path("stream/stars.jsonl"));
    let of_views: Vec<u64> = views.iter().map(|view| number(view, "user_id")).collect();
    let of_stars: Vec<u64> = stars.iter().map(|star| number(star, "user_id")).collect();
    let uris = views.iter().map(|view| view["uri"].as_str().unwrap());
    let viewed = uris.filter(|uri| uri.contains("/produkt/"));
    let viewed: Vec<Option<&u64>> = viewed.map(|uri| pages.get(uri)).collect();
    assert!(
        viewed.len() * 2 > views.len(),
        "{} of {} pageviews",
        viewed.len(),
        views.len()
    );

    // Every reference leads to an existing user or product.
    let of_vips = ids(&[first.1, last.1].concat());
    for (what, references) in [
        ("VIP users", &of_vips),
        ("orders", &of_orders),
        ("pageviews", &of_views),
        ("stars", &of_stars),
    ] {
        assert!(!references.is_empty(), "{what}");
        let dangling = references.iter().filter(|id| **id >= users).count();
        assert_eq!(dangling, 0, "{what} of unknown users");
    }
    let dangling = of_items.iter().filter(|id| !products.contains(id)).count();
    assert_eq!(dangling, 0, "items of unknown products");
    let dangling = viewed.iter().filter(|product| product.is_none()).count();
    assert_eq!(dangling, 0, "pageviews of unknown products");

    // The references are spread over all ids and are not limited to some of the lowest.
    let nine_tenths = |count: u64| count / 10 * 9;
    assert!(of_orders.iter().any(|id| *id > nine_tenths(users)));
    assert!(of_views.iter().any(|id| *id > nine_tenths(users)));
    assert!(of_items.iter().any(|id| *id > nine_tenths(highest_product)));
    assert!(
        viewed
            .iter()
            .flatten()
            .any(|id| **id > nine_tenths(highest_product))
    );
}

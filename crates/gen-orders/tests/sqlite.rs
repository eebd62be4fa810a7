//! gen-orders as a process against SQLite: every row exactly once, whatever happens on the way.

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::NaiveDate;
use datagen_core::model::Profile;
use datagen_core::model::order::{OrderRange, Orders};
use testkit::process::{Generator, wait_until};

type OrderRow = (i64, i64, String, f64);
type ItemRow = (i64, i64, i64);

fn gen_orders(database: &Path, count: u64) -> Generator {
    Generator::new(env!("CARGO_BIN_EXE_gen-orders"))
        .env("SQL_URL", format!("sqlite://{}", database.display()))
        .env("COUNT", count.to_string())
        .env("USER_MAX_ID", "499")
        .env("PRODUCT_MAX_ID", "99")
        .env("DATE_FROM", "2020-02-28")
        .env("DATE_TO", "2021-01-01")
}

fn database(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("orders.db")
}

fn open(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// All rows of both tables.
fn rows(path: &Path) -> (Vec<OrderRow>, Vec<ItemRow>) {
    let connection = open(path);
    let mut orders = connection
        .prepare("SELECT orderId, userId, orderDate, orderValue FROM orders ORDER BY 1")
        .unwrap();
    let orders = orders
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut items = connection
        .prepare("SELECT orderId, rowId, productId FROM items ORDER BY 1, 2")
        .unwrap();
    let items = items
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    (orders, items)
}

/// All rows that there should be, by the pure function.
fn expected(count: u64, seed: u64) -> (Vec<OrderRow>, Vec<ItemRow>) {
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
    let range = OrderRange {
        user_max_id: 499,
        product_max_id: 99,
        dates: day(2020, 2, 28)..day(2021, 1, 1),
    };
    let orders = Orders::new(Profile::Uniform, seed, count, &range);
    let (mut order_rows, mut item_rows) = (Vec::new(), Vec::new());
    for id in 1..=count {
        let order = orders.get(id);
        let date = order.date_time().format("%Y-%m-%d %H:%M:%S").to_string();
        order_rows.push((id as i64, i64::from(order.user_id), date, order.order_value));
        for (row_id, product) in (1..).zip(order.items()) {
            item_rows.push((id as i64, row_id, i64::from(*product)));
        }
    }
    (order_rows, item_rows)
}

#[test]
fn no_order_is_lost_and_none_is_without_items() {
    for (count, chunk) in [
        (0, 10),
        (1, 10),
        (99, 100),
        (100, 100),
        (101, 100),
        (1_000, 7),
        (12_345, 5_000),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = database(&directory);
        gen_orders(&path, count)
            .env("SQL_CHUNK", chunk.to_string())
            .succeed();
        assert!(
            rows(&path) == expected(count, 0),
            "{count} orders in chunks of {chunk}"
        );
    }
}

#[test]
fn a_finished_run_does_nothing_again_and_other_parameters_start_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    let first = gen_orders(&path, 300).succeed();
    // int, int, datetime and float an order; three int an item.
    let bytes = 300 * 24 + rows(&path).1.len() * 12;
    let summary = format!("records=300 bytes={bytes} ");
    assert!(first.output.contains(&summary), "{summary} in {}", first.output);
    let again = gen_orders(&path, 300).env("SQL_CHUNK", "10").succeed();
    assert!(again.output.contains("nothing to load"), "{}", again.output);
    assert!(again.output.contains("records=0 bytes=0 "), "{}", again.output);
    assert!(rows(&path) == expected(300, 0));
    gen_orders(&path, 200).env("SEED", "9").succeed();
    assert!(rows(&path) == expected(200, 9));
}

#[test]
fn shards_in_any_order_fill_the_same_tables() {
    for shards in [1_u32, 2, 7] {
        let directory = tempfile::tempdir().unwrap();
        let path = database(&directory);
        // The last first, the others at once.
        let shard = |index: u32| {
            gen_orders(&path, 2_000)
                .env("SQL_CHUNK", "100")
                .env("SHARD_INDEX", index.to_string())
                .env("SHARD_COUNT", shards.to_string())
        };
        shard(shards - 1).succeed();
        let running: Vec<_> = (0..shards - 1).map(|index| shard(index).start()).collect();
        for mut child in running {
            assert!(child.wait().unwrap().success());
        }
        assert!(rows(&path) == expected(2_000, 0), "{shards} shards");
    }
}

#[test]
fn a_killed_run_leaves_whole_orders_and_the_next_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    let run = |path: &Path| gen_orders(path, 20_000).env("SQL_CHUNK", "500");
    let started = Instant::now();
    run(&path).succeed();
    let duration = started.elapsed();
    std::fs::remove_file(&path).unwrap();

    for round in 0..30 {
        let moment = duration.mul_f64(f64::from(testkit::scattered(round, 60)) / 100.0);
        run(&path).run_and_kill_after(moment);
        if path.exists() {
            let torn = "SELECT COUNT(*) FROM orders WHERE orderId NOT IN (SELECT orderId FROM items)";
            // Without the tables nothing can be torn.
            let torn = open(&path)
                .query_row(torn, [], |row| row.get::<_, i64>(0))
                .unwrap_or(0);
            assert_eq!(torn, 0, "orders without items after a kill");
        }
        if round % 10 == 9 {
            run(&path).succeed();
            assert!(rows(&path) == expected(20_000, 0));
            std::fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn tables_that_somebody_else_filled_are_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    open(&path)
        .execute_batch("CREATE TABLE orders (mine text); INSERT INTO orders VALUES ('x')")
        .unwrap();
    let finished = gen_orders(&path, 10).run();
    assert_eq!(finished.code, Some(1));
    assert!(
        finished
            .output
            .contains("the table orders is there with rows that gen-orders did not write; drop it")
    );
    let kept: String = open(&path)
        .query_row("SELECT mine FROM orders", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "x");
}

#[test]
fn a_run_whose_tables_are_taken_over_stops_and_the_other_is_exact() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    let slow = gen_orders(&path, 1_000_000)
        .env("SQL_CHUNK", "100")
        .env("RATE", "2000");
    let first = std::thread::spawn(|| slow.run());
    let loading = || {
        let any = "SELECT 1 FROM orders LIMIT 1";
        open(&path).query_row(any, [], |_| Ok(())).is_ok()
    };
    while !loading() {
        assert!(!first.is_finished(), "it ended before it loaded anything");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    gen_orders(&path, 500).env("SEED", "9").succeed();
    let first = first.join().unwrap();
    assert_eq!(first.code, Some(1), "{}", first.output);
    assert!(
        first.output.contains("prepared for another run"),
        "{}",
        first.output
    );
    assert!(rows(&path) == expected(500, 9));
}

#[test]
fn the_manifest_agrees_with_its_own_queries() {
    // The last two have no rows: with one chunk, only the last of three shards has any.
    let cases = [
        (3_000, 0, 1, 3_000),
        (3_000, 1, 3, 1_000),
        (0, 0, 1, 0),
        (100, 0, 3, 0),
    ];
    for (count, index, shards, records) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = database(&directory);
        gen_orders(&path, count)
            .env("SQL_CHUNK", "100")
            .env("SHARD_INDEX", index.to_string())
            .env("SHARD_COUNT", shards.to_string())
            .succeed();
        let connection = open(&path);
        let manifest: String = connection
            .query_row(
                "SELECT manifest FROM _datagen_manifest WHERE kind = 'orders'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["records"], records);
        let totals = &manifest["totals"];
        let expected = [
            ["orders", "user_id_sum", "order_value_sum"],
            ["items", "row_id_sum", "product_id_sum"],
        ];
        for (query, names) in manifest["check"].as_array().unwrap().iter().zip(expected) {
            let found: [f64; 3] = connection
                .query_row(query.as_str().unwrap(), [], |row| {
                    Ok([
                        row.get::<_, i64>(0)? as f64,
                        row.get::<_, i64>(1)? as f64,
                        number(row, 2)?,
                    ])
                })
                .unwrap();
            assert_eq!(found, names.map(|name| totals[name].as_f64().unwrap()), "{query}");
        }
    }
}

/// A sum of integers or of floats.
fn number(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<f64> {
    row.get::<_, f64>(index)
        .or_else(|_| row.get::<_, i64>(index).map(|number| number as f64))
}

#[cfg(unix)]
#[test]
fn a_signal_stops_promptly_between_transactions() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    let mut child = gen_orders(&path, 1_000_000)
        .env("SQL_CHUNK", "100")
        .env("RATE", "2000")
        .start();
    let chunks = || {
        let count = "SELECT COUNT(*) FROM _datagen_chunks";
        open(&path)
            .query_row(count, [], |row| row.get::<_, i64>(0))
            .unwrap_or(0)
    };
    wait_until(&mut child, || chunks() >= 5);
    testkit::process::send_signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let (orders, items) = rows(&path);
    assert_eq!(orders.len() as i64, chunks() * 100);
    let (expected_orders, expected_items) = expected(orders.len() as u64, 0);
    assert!(orders == expected_orders && items == expected_items);
}

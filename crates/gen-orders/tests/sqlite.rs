//! gen-orders as a process against SQLite: every row exactly once, whatever happens on the way.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{Datelike, NaiveDate, Utc};
use datagen_core::model::Profile;
use datagen_core::model::order::{OrderRange, Orders};
use testkit::process::{
    GeneratorProcess, assert_sample_ends_with_its_reader, assert_samples, assert_start_and_end_name,
    wait_until,
};

type OrderRow = (i64, i64, String, f64);
type ItemRow = (i64, i64, i64);

fn gen_orders(database: &Path, count: u64) -> GeneratorProcess {
    with_default_dates(database, count)
        .env("DATE_FROM", "2020-02-28")
        .env("DATE_TO", "2021-01-01")
}

fn with_default_dates(database: &Path, count: u64) -> GeneratorProcess {
    GeneratorProcess::new(env!("CARGO_BIN_EXE_gen-orders"))
        .env("SQL_URL", format!("sqlite://{}", database.display()))
        .env("COUNT", count.to_string())
        .env("USER_MAX_ID", "499")
        .env("PRODUCT_MAX_ID", "99")
}

fn database(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("orders.db")
}

fn open(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// Returns all rows of both tables.
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

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

/// Returns all rows that should exist, according to the pure function.
fn expected(count: u64, seed: u64) -> (Vec<OrderRow>, Vec<ItemRow>) {
    expected_in(day(2020, 2, 28)..day(2021, 1, 1), count, seed)
}

fn expected_in(dates: Range<NaiveDate>, count: u64, seed: u64) -> (Vec<OrderRow>, Vec<ItemRow>) {
    first_rows(count, dates, count, seed)
}

/// Returns the rows of the first `orders` orders of a run of `count`.
fn first_rows(orders: u64, dates: Range<NaiveDate>, count: u64, seed: u64) -> (Vec<OrderRow>, Vec<ItemRow>) {
    let ids = 1..=orders;
    let range = OrderRange {
        user_max_id: 499,
        product_max_id: 99,
        dates,
    };
    let orders = Orders::new(Profile::Shop, seed, count, &range);
    let (mut order_rows, mut item_rows) = (Vec::new(), Vec::new());
    for id in ids {
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
    // int, int, datetime and float per order; three int per item.
    let bytes = 300 * 24 + rows(&path).1.len() * 12;
    let summary = format!("records=300 bytes={bytes} ");
    assert!(first.output.contains(&summary), "{summary} in {}", first.output);
    let again = gen_orders(&path, 300).env("SQL_CHUNK", "10").succeed();
    assert!(again.output.contains("nothing to load"), "{}", again.output);
    assert!(again.output.contains("records=0 bytes=0 "), "{}", again.output);
    assert!(rows(&path) == expected(300, 0));
    assert_eq!(warnings(&again.output), [""; 0]);
    let other = gen_orders(&path, 200).env("SEED", "9").succeed();
    assert!(rows(&path) == expected(200, 9));
    let warnings = warnings(&other.output);
    assert_eq!(warnings.len(), 1, "{}", other.output);
    for text in [
        "dropping the tables orders and items of another run",
        "\"seed\":0,\"profile\":\"shop\",\"count\":300",
        "\"seed\":9,\"profile\":\"shop\",\"count\":200",
    ] {
        assert!(warnings[0].contains(text), "{text} in {}", warnings[0]);
    }
}

/// Returns the lines of a log that are warnings.
fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("WARN")).collect()
}

#[cfg(unix)]
#[test]
fn the_warning_comes_before_anything_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    gen_orders(&path, 300).succeed();
    // While this connection is reading, no other process can change the file.
    let reader = open(&path);
    reader
        .execute_batch("BEGIN; SELECT COUNT(*) FROM orders;")
        .unwrap();
    let mut child = gen_orders(&path, 200).env("SEED", "9").start_logging();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let warned = log.by_ref().map(Result::unwrap).any(|line| line.contains("WARN"));
    assert!(warned, "it ended without a warning");
    testkit::process::send_signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    drop(reader);
    assert!(rows(&path) == expected(300, 0));
}

#[test]
fn a_table_that_is_missing_makes_all_of_them_anew_with_a_warning() {
    for table in ["orders", "items", "_datagen_chunks", "_datagen_manifest"] {
        let directory = tempfile::tempdir().unwrap();
        let path = database(&directory);
        gen_orders(&path, 300).succeed();
        open(&path).execute_batch(&format!("DROP TABLE {table}")).unwrap();
        let log = gen_orders(&path, 300).succeed().output;
        assert!(rows(&path) == expected(300, 0), "{table}");
        let warnings = warnings(&log);
        assert_eq!(warnings.len(), 1, "{log}");
        assert!(
            warnings[0].contains(&format!("because the table {table} is missing")),
            "{log}"
        );
    }
}

/// Returns the default range of dates of a run `years_ago` years ago.
fn default_dates(years_ago: i32) -> Range<NaiveDate> {
    let year = Utc::now().year() - years_ago;
    day(year - 10, 1, 1)..day(year, 1, 1)
}

#[test]
fn tables_keep_the_default_dates_of_the_year_in_which_they_were_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    let shard = |generator: GeneratorProcess, index: &str| {
        generator
            .env("SQL_CHUNK", "100")
            .env("SHARD_COUNT", "2")
            .env("SHARD_INDEX", index)
    };
    let last_year = default_dates(1);
    let created = with_default_dates(&path, 1_000)
        .env("DATE_FROM", last_year.start.to_string())
        .env("DATE_TO", last_year.end.to_string());
    shard(created, "0").succeed();
    // Unfinished, and then finished.
    let log = shard(with_default_dates(&path, 1_000), "1").succeed().output;
    assert!(rows(&path) == expected_in(last_year.clone(), 1_000, 0));
    assert_eq!(warnings(&log), [""; 0]);
    assert!(log.contains("keep their range of dates"), "{log}");
    let manifest = "SELECT manifest FROM _datagen_manifest WHERE shard_index = 1";
    let manifest: String = open(&path).query_row(manifest, [], |row| row.get(0)).unwrap();
    assert!(manifest.contains(&last_year.start.to_string()), "{manifest}");
    let log = with_default_dates(&path, 1_000).succeed().output;
    assert!(log.contains("nothing to load"), "{log}");
    assert_eq!(warnings(&log), [""; 0]);
    assert!(rows(&path) == expected_in(last_year.clone(), 1_000, 0));
    // Explicit dates are those of another run.
    let this_year = default_dates(0);
    let log = with_default_dates(&path, 1_000)
        .env("DATE_TO", this_year.end.to_string())
        .succeed()
        .output;
    assert!(rows(&path) == expected_in(this_year.clone(), 1_000, 0));
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 1, "{log}");
    for dates in [last_year, this_year] {
        let dates = format!("\"date_from\":\"{}\",\"date_to\":\"{}\"", dates.start, dates.end);
        assert!(warnings[0].contains(&dates), "{dates} in {log}");
    }
}

#[test]
fn tables_with_chosen_dates_are_not_continued_with_default_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    gen_orders(&path, 300).succeed();
    let log = with_default_dates(&path, 300).succeed().output;
    assert_eq!(warnings(&log).len(), 1, "{log}");
    assert!(rows(&path) == expected_in(default_dates(0), 300, 0));
}

/// While another process holds the lock, a signal ends a run at once, wherever it waits.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_a_run_that_waits_for_a_lock() {
    // When held from the start, the first of these keeps the run from reading, and the second keeps it from writing.
    for lock in ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"] {
        let directory = tempfile::tempdir().unwrap();
        let path = database(&directory);
        gen_orders(&path, 300).succeed();
        let holder = open(&path);
        holder.execute_batch(lock).unwrap();
        let mut child = gen_orders(&path, 200).env("SEED", "9").start();
        let files = format!("/proc/{}/fd", child.id());
        let has_opened_it = || {
            let mut files = std::fs::read_dir(&files).into_iter().flatten().flatten();
            files.any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path))
        };
        wait_until(&mut child, has_opened_it);
        testkit::process::send_signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(143), "{lock}");
        drop(holder);
        assert!(rows(&path) == expected(300, 0), "{lock}");
    }
}

#[test]
fn shards_in_any_order_fill_the_same_tables() {
    for shards in [1_u32, 2, 7] {
        let directory = tempfile::tempdir().unwrap();
        let path = database(&directory);
        // The last shard runs first, then all others at the same time.
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
            // Without the tables, no order can lack its items.
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
fn tables_that_gen_orders_did_not_create_are_not_touched() {
    let cases = [
        (
            "orders",
            "CREATE TABLE orders (mine text); INSERT INTO orders VALUES ('x')",
        ),
        ("orders", "CREATE TABLE orders (mine text)"),
        ("orders", "CREATE TABLE ORDERS (mine text)"),
        (
            "items",
            "CREATE TABLE items (orderId integer, rowId integer, productId integer)",
        ),
        ("items", "CREATE VIEW Items AS SELECT 1 AS orderId"),
        ("_datagen_chunks", "CREATE TABLE _datagen_chunks (chunk integer)"),
    ];
    let dump = |path: &Path| -> Vec<(String, i64)> {
        let connection = open(path);
        let mut schema = connection.prepare("SELECT name, sql FROM sqlite_schema").unwrap();
        let found = schema.query_map([], |row| {
            let name: String = row.get(0)?;
            let count = format!("SELECT COUNT(*) FROM {name}");
            Ok((row.get(1)?, connection.query_row(&count, [], |row| row.get(0))?))
        });
        found.unwrap().collect::<Result<_, _>>().unwrap()
    };
    for (table, theirs) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = database(&directory);
        open(&path).execute_batch(theirs).unwrap();
        let before = dump(&path);
        assert_eq!(before.len(), 1);
        let finished = gen_orders(&path, 10).run();
        assert_eq!(finished.code, Some(1), "{theirs}: {}", finished.output);
        let line =
            format!("the table {table} exists already, but gen-orders did not create it; drop or rename it");
        assert!(finished.output.contains(&line), "{line} in {}", finished.output);
        assert_eq!(dump(&path), before);
    }
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

/// Reads a sum of integers or of floats.
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
    let dates = day(2020, 2, 28)..day(2021, 1, 1);
    let (expected_orders, expected_items) = first_rows(orders.len() as u64, dates, 1_000_000, 0);
    assert!(orders == expected_orders && items == expected_items);
}

#[test]
fn a_sample_has_the_orders_of_the_tables() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    gen_orders(&path, 200).succeed();
    let (orders, items) = rows(&path);
    let settings = [
        ("COUNT", "200"),
        ("USER_MAX_ID", "499"),
        ("PRODUCT_MAX_ID", "99"),
        ("DATE_FROM", "2020-02-28"),
        ("DATE_TO", "2021-01-01"),
    ];
    let binary = env!("CARGO_BIN_EXE_gen-orders");
    let (mut sampled_orders, mut sampled_items) = (Vec::new(), Vec::new());
    for order in assert_samples(binary, &settings, 200) {
        let order: serde_json::Value = serde_json::from_str(&order).unwrap();
        let integer = |value: &serde_json::Value| value.as_i64().unwrap();
        let id = integer(&order["orderId"]);
        // SQLite has a space between date and time.
        let date = order["orderDate"].as_str().unwrap().replace('T', " ");
        sampled_orders.push((
            id,
            integer(&order["userId"]),
            date,
            order["orderValue"].as_f64().unwrap(),
        ));
        for item in order["items"].as_array().unwrap() {
            sampled_items.push((id, integer(&item["rowId"]), integer(&item["productId"])));
        }
    }
    let orders: Vec<OrderRow> = orders
        .into_iter()
        .map(|(id, user, date, value)| (id, user, date.replace('T', " "), value))
        .collect();
    assert_eq!((sampled_orders, sampled_items), (orders, items));
    assert_sample_ends_with_its_reader(binary, &[]);
}

#[test]
fn the_log_says_what_goes_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(&directory);
    assert_start_and_end_name(gen_orders(&path, 100), path.to_str().unwrap());
}

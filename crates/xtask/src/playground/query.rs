//! Shows that the data of the playground can be joined: loads its files into `playground.db` and runs some queries.
//!
//! The output of the generators is not changed. The database is a copy, without duplicate messages, for queries that
//! need only `sqlite3`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::Value;

/// A question, with the query that answers it in `sqlite3`.
struct Question {
    title: &'static str,
    sql: &'static str,
}

const QUESTIONS: [Question; 3] = [
    Question {
        title: "Who spends the most? (lake: users, VIP users; SQL: orders)",
        sql: "SELECT u.administrative_unit AS region, COUNT(DISTINCT u.id) AS customers, COUNT(*) AS orders,
       COUNT(DISTINCT v.id) AS vips, CAST(SUM(o.orderValue) AS integer) AS revenue
FROM orders o JOIN users u ON u.id = o.userId LEFT JOIN vipusers v ON v.id = u.id
GROUP BY region ORDER BY revenue DESC LIMIT 5;",
    },
    Question {
        title: "What did users look at in the ten minutes before a bad rating? (streams: stars, pageviews; lake: products)",
        sql: "SELECT p.name, p.description, COUNT(DISTINCT s.event_id) AS bad_ratings, MAX(s.event_time) AS latest
FROM stars s JOIN pageviews w ON w.user_id = s.user_id
    AND w.event_time BETWEEN strftime('%Y-%m-%dT%H:%M:%fZ', s.event_time, '-10 minutes') AND s.event_time
JOIN pages g ON g.uri = w.uri JOIN products p ON p.id = g.product_id
WHERE s.stars <= 2 GROUP BY p.id ORDER BY bad_ratings DESC, p.id LIMIT 5;",
    },
    Question {
        title: "Does looking lead to buying, and what is there to clean? (streams, lake and SQL)",
        sql: "SELECT (SELECT COUNT(*) FROM pageviews JOIN pages USING (uri)) AS views_of_products,
       (SELECT COUNT(*) FROM pageviews JOIN pages USING (uri)
        JOIN (SELECT DISTINCT userId, productId FROM orders JOIN items USING (orderId))
            ON userId = user_id AND productId = product_id) AS of_products_they_bought,
       (SELECT COUNT(*) FROM pageviews WHERE client_ip = '') AS without_ip,
       (SELECT COUNT(*) FROM pageviews WHERE latency >= 500) AS slow_outliers,
       (SELECT COUNT(*) FROM items WHERE productId NOT IN (SELECT id FROM products)) AS items_without_product;",
    },
];

/// How many records were loaded, and how many are in `orders.db`.
pub(super) struct Loaded {
    pub(super) orders: u64,
    pub(super) items: u64,
    pub(super) pageviews: u64,
    pub(super) stars: u64,
}

impl Loaded {
    /// Loads the files of `directory` into its `playground.db`.
    pub(super) fn into_file(directory: &Path) -> Result<Self> {
        let mut connection = Connection::open(directory.join("playground.db"))?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(
            "CREATE TABLE users (id integer PRIMARY KEY, name text, city text, birth_number text, administrative_unit text);
             CREATE TABLE vipusers (rank integer, id integer PRIMARY KEY);
             CREATE TABLE products (id integer PRIMARY KEY, name text, description text);
             CREATE TABLE pages (uri text PRIMARY KEY, product_id integer) WITHOUT ROWID;
             CREATE TABLE pageviews (event_id text PRIMARY KEY, session_id text, event_time text, user_id integer,
                                     http_method text, uri text, client_ip text, user_agent text, latency real)
                 WITHOUT ROWID;
             CREATE TABLE stars (event_id text PRIMARY KEY, session_id text, event_time text, user_id integer,
                                 stars integer) WITHOUT ROWID;
             CREATE TABLE pageview_messages (arrival integer PRIMARY KEY, event_id text, event_time text);
             CREATE TABLE star_messages (arrival integer PRIMARY KEY, event_id text, event_time text);",
        )?;
        let insert = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<()> {
            transaction.prepare_cached(sql)?.execute(values)?;
            Ok(())
        };
        let integer = |record: &Value, field: &str| record[field].as_i64();
        each_line(&directory.join("lake/users/users.json"), |user| {
            let text = |field: &str| user[field].as_str();
            insert(
                "INSERT INTO users VALUES (?, ?, ?, ?, ?)",
                &[
                    &integer(user, "id"),
                    &text("name"),
                    &text("city"),
                    &text("birth_number"),
                    &text("administrative_unit"),
                ],
            )
        })?;
        // In the order of their activity.
        let mut rank = 0;
        each_line(&directory.join("lake/vipusers/vipusers.json"), |vip| {
            rank += 1;
            insert(
                "INSERT INTO vipusers VALUES (?, ?)",
                &[&rank, &integer(vip, "id")],
            )
        })?;
        for entry in std::fs::read_dir(directory.join("lake/products"))? {
            each_line(&entry?.path(), |product| {
                let id = integer(product, "id");
                insert(
                    "INSERT INTO products VALUES (?, ?, ?)",
                    &[&id, &product["name"].as_str(), &product["description"].as_str()],
                )?;
                let pages = product["pages"].as_array().into_iter().flatten();
                pages
                    .map(Value::as_str)
                    .try_for_each(|page| insert("INSERT INTO pages VALUES (?, ?)", &[&page, &id]))
            })?;
        }
        // A message may arrive twice.
        let pageviews = each_line(&directory.join("stream/pageviews.jsonl"), |view| {
            let text = |field: &str| view[field].as_str();
            insert(
                "INSERT INTO pageview_messages (event_id, event_time) VALUES (?, ?)",
                &[&text("event_id"), &text("event_time")],
            )?;
            insert(
                "INSERT OR IGNORE INTO pageviews VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                &[
                    &text("event_id"),
                    &text("session_id"),
                    &text("event_time"),
                    &integer(view, "user_id"),
                    &text("http_method"),
                    &text("uri"),
                    &text("client_ip"),
                    &text("user_agent"),
                    &view["latency"].as_f64(),
                ],
            )
        })?;
        let stars = each_line(&directory.join("stream/stars.jsonl"), |star| {
            let text = |field: &str| star[field].as_str();
            insert(
                "INSERT INTO star_messages (event_id, event_time) VALUES (?, ?)",
                &[&text("event_id"), &text("event_time")],
            )?;
            insert(
                "INSERT OR IGNORE INTO stars VALUES (?, ?, ?, ?, ?)",
                &[
                    &text("event_id"),
                    &text("session_id"),
                    &text("event_time"),
                    &integer(star, "user_id"),
                    &integer(star, "stars"),
                ],
            )
        })?;
        transaction.execute_batch(
            "CREATE INDEX pageviews_of_users ON pageviews (user_id, event_time);
             CREATE INDEX pageviews_of_sessions ON pageviews (session_id);",
        )?;
        transaction.commit()?;
        let orders = Connection::open(directory.join("orders.db"))?;
        let count = |table: &str| {
            orders.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| {
                row.get::<_, i64>(0)
            })
        };
        Ok(Self {
            orders: count("orders")? as u64,
            items: count("items")? as u64,
            pageviews,
            stars,
        })
    }
}

/// Calls `insert` with every record of a file of JSON lines, and returns their number.
fn each_line(path: &Path, mut insert: impl FnMut(&Value) -> Result<()>) -> Result<u64> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut count = 0;
    for line in BufReader::new(file).lines() {
        insert(&serde_json::from_str(&line?).with_context(|| format!("{} is not JSON", path.display()))?)?;
        count += 1;
    }
    Ok(count)
}

/// Runs the queries, and prints each question with its answer.
pub(super) fn show(directory: &Path, given: &Path) -> Result<()> {
    let connection = Connection::open(directory.join("playground.db"))?;
    connection.execute(
        "ATTACH ? AS shop",
        [directory.join("orders.db").to_string_lossy()],
    )?;
    for Question { title, sql } in &QUESTIONS {
        println!("\n{title}\n\n{sql}\n");
        let mut statement = connection.prepare(sql)?;
        let names: Vec<_> = statement.column_names().iter().map(ToString::to_string).collect();
        let mut table = vec![names];
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let cells = (0..table[0].len()).map(|index| Ok(cell(row.get_ref(index)?)));
            table.push(cells.collect::<rusqlite::Result<_>>()?);
        }
        print_columns(&table);
    }
    let (copy, orders) = (given.join("playground.db"), given.join("orders.db"));
    println!(
        "\nAsk more: sqlite3 {} -cmd \"ATTACH '{}' AS shop\"",
        copy.display(),
        orders.display()
    );
    Ok(())
}

fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}

fn print_columns(table: &[Vec<String>]) {
    let width = |column: usize| {
        table
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    for row in table {
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

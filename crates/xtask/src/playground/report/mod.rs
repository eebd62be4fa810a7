//! `report.html`: a page that shows the contents of a playground. It is computed only from the files of the run,
//! consists of one file, and opens without a network.

mod charts;
mod facts;
mod figures;
mod findings;
mod map;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use maud::html;
use serde_json::Value as Json;

use self::charts::grouped;
use self::facts::Tables;
use self::figures::{Chart, Figure, Section};
use crate::playground::read_json;

const FILE: &str = "report.html";

/// Writes the report about the playground in `directory`, and returns its path.
///
/// # Errors
/// If the playground's files cannot be read, or if the page cannot be written.
pub(super) fn write(directory: &Path) -> Result<PathBuf> {
    let tables = Tables::open(directory)?;
    let manifests = Manifests::read(directory, &tables)?;
    let mut sections = vec![written(directory, &tables, &manifests)?];
    sections.extend(figures::sections(&tables)?);
    let findings = findings::findings(&tables, &manifests.all())?;
    let page = page::render(directory, &manifests, &sections, &findings);
    let path = directory.join(FILE);
    fs::write(&path, page.into_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The manifests in which the generators describe what they have written.
struct Manifests {
    users: Json,
    vips: Json,
    products: Json,
    orders: Json,
    stream: Json,
}

impl Manifests {
    fn read(directory: &Path, tables: &Tables) -> Result<Self> {
        let read = |name: &str| read_json(&directory.join(name));
        Ok(Self {
            users: read("lake/_datagen/users.json")?,
            vips: read("lake/_datagen/vipusers.json")?,
            products: read("lake/_datagen/products.json")?,
            orders: tables.orders_manifest()?,
            stream: read("stream/_datagen/stream.json")?,
        })
    }

    fn all(&self) -> Vec<Json> {
        [
            &self.users,
            &self.vips,
            &self.products,
            &self.orders,
            &self.stream,
        ]
        .map(Json::clone)
        .into()
    }
}

/// Creates the section about what was written where, and how fast.
fn written(directory: &Path, tables: &Tables, manifests: &Manifests) -> Result<Section> {
    let sql = "SELECT 'users' AS what, COUNT(*) AS records FROM users
UNION ALL SELECT 'VIP users', COUNT(*) FROM vipusers
UNION ALL SELECT 'products', COUNT(*) FROM products
UNION ALL SELECT 'orders', COUNT(*) FROM orders
UNION ALL SELECT 'items', COUNT(*) FROM items
UNION ALL SELECT 'pageviews', COUNT(*) FROM pageview_messages
UNION ALL SELECT 'stars', COUNT(*) FROM star_messages";
    let size = |name: &str| fs::metadata(directory.join(name)).map_or(f64::NAN, |file| file.len() as f64);
    let Manifests {
        users,
        vips,
        products,
        orders,
        stream,
    } = manifests;
    let number = |value: &Json| value.as_f64().unwrap_or(f64::NAN);
    // The value is the same as in the row above: the same file, or the same process.
    let same = f64::NAN;
    let rows = [
        (
            "users",
            "lake/users/users.json",
            &users["records"],
            number(&users["bytes"]),
            "gen-users",
        ),
        (
            "VIP users",
            "lake/vipusers/vipusers.json",
            &vips["records"],
            number(&vips["bytes"]),
            "",
        ),
        (
            "products",
            "lake/products/product_*.json",
            &products["records"],
            number(&products["bytes"]),
            "gen-products",
        ),
        (
            "orders",
            "orders.db",
            &orders["totals"]["orders"],
            size("orders.db"),
            "gen-orders",
        ),
        ("items", "orders.db", &orders["totals"]["items"], same, ""),
        (
            "pageviews",
            "stream/pageviews.jsonl",
            &stream["pageviews"],
            size("stream/pageviews.jsonl"),
            "stream-pageviews",
        ),
        (
            "stars",
            "stream/stars.jsonl",
            &stream["stars"],
            size("stream/stars.jsonl"),
            "",
        ),
    ];
    let mut cells = vec![];
    for (what, place, records, bytes, generator) in rows {
        let records = number(records);
        let seconds = if generator.is_empty() {
            same
        } else {
            tables.seconds(generator)?
        };
        cells.push((what, place, records, bytes, seconds));
    }
    let table = html! {
        table.written {
            thead { tr { th { "what and where" } th { "records" } th { "MB" } th { "seconds" } th { "records/s" } } }
            tbody {
                @for (what, place, records, bytes, seconds) in cells {
                    tr {
                        th { (what) small { (place) } }
                        td data-records=(what) { (grouped(records, 0)) }
                        td { (grouped(bytes / 1e6, 2)) }
                        td { (grouped(seconds, 2)) }
                        td { (grouped(records / seconds, 0)) }
                    }
                }
            }
        }
    };
    Ok(Section {
        id: "written",
        title: "What was written",
        figures: vec![Figure {
            title: "Records, files and times".to_owned(),
            look_for: "Look for the manifests' numbers: the query counts the same records again (a line without a time was \
                       written by the program of the line above)."
                .to_owned(),
            chart: Chart::table(true, table),
            sql: sql.to_owned(),
            answer: tables.query(sql)?,
        }],
    })
}

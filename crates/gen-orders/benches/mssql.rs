//! How fast orders go to a SQL Server, as ratios against peers in the same run.
//!
//! - Client side: one connection of ours into a TDS server on another thread that counts the rows and keeps
//!   none; measured is the CPU time of the client thread.
//! - End to end: the load by `INSERT BULK` against the way it used to be done, statements of 1000 rows of
//!   VALUES, over tiberius too and against the same test server, which decodes, checks and stores the rows.
//!   The test server is no SQL Server: its parser and its tables are part of both times.
//!
//! `cargo bench -p gen-orders --bench mssql`; ORDERS=n sets the size of the end-to-end load.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use datagen_core::model::DATA_VERSION;
use datagen_core::model::order::{OrderRange, Orders};
use datagen_settings::Secret;
use gen_orders::config::{Dates, SqlServer, Target};
use gen_orders::database::{Database, Table};
use gen_orders::rows::{self, ITEMS, ORDERS};
use gen_orders::run::{Parameters, Run};
use testkit::tds::{Bulk, Options, TdsServer};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_util::compat::TokioAsyncWriteCompatExt;

static TABLES: [&Table; 2] = [&ORDERS, &ITEMS];

/// SQL_CHUNK by default.
const CHUNK: u64 = 5_000;

fn main() {
    // `cargo test --all-targets` runs this too, and wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let servers = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    encoding(&servers);
    let count = std::env::var("ORDERS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(40_000);
    end_to_end(&servers, count);
}

fn orders() -> Orders {
    let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
    let range = OrderRange {
        user_max_id: 999_999,
        product_max_id: 999_999,
        dates: day(2015)..day(2025),
    };
    Orders::new(0, &range)
}

fn start(servers: &Runtime, bulk: Bulk) -> TdsServer {
    servers
        .block_on(TdsServer::start(Options {
            bulk,
            ..Options::default()
        }))
        .expect("a free port")
}

async fn open(server: &TdsServer, connections: u32) -> Arc<dyn Database> {
    let Options {
        user,
        password,
        database,
        ..
    } = Options::default();
    let target = Target::SqlServer(SqlServer {
        host: "localhost".into(),
        port: server.port(),
        database,
        login: Some((user, Secret::new(password))),
        connections,
        trust_certificate: true,
        timeout: Duration::from_secs(60),
        readers: Vec::new(),
    });
    let database = gen_orders::database::open(&target)
        .await
        .expect("nothing to fail yet");
    let dates = Dates::default();
    let range = dates.in_year(2025);
    let run = Run {
        parameters: Parameters {
            data_version: DATA_VERSION,
            seed: 0,
            count: 0,
            user_max_id: 0,
            product_max_id: 0,
            date_from: range.start,
            date_to: range.end,
        },
        dates,
        chunk_orders: CHUNK as u32,
        tables: &TABLES,
    };
    database.prepare(&run).await.expect("the server is there");
    database
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let nanoseconds = text
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.expect("schedstat begins with the time on the CPU"))
}

/// Whole chunks through one connection of ours: rows encoded by tiberius, encrypted and sent, with the
/// requests around them, in CPU time of the only client thread.
fn encoding(servers: &Runtime) {
    let server = start(servers, Bulk::Count);
    let client = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let chunks: Vec<_> = (0..20)
        .map(|chunk| rows::make(&orders(), chunk * CHUNK + 1..=(chunk + 1) * CHUNK))
        .collect();
    let chunks: Vec<_> = chunks.into_iter().map(|rows| [rows.orders, rows.items]).collect();
    let sent: usize = chunks.iter().flatten().map(|batch| batch.rows()).sum();
    let mut best = Duration::MAX;
    client.block_on(async {
        let database = open(&server, 1).await;
        let mut connection = database.connect().await.expect("the server is there");
        for round in 0..5 {
            let before = thread_cpu();
            for (number, batches) in (round * 100..).zip(&chunks) {
                connection
                    .load(number, batches)
                    .await
                    .expect("nothing goes wrong here");
            }
            best = best.min(thread_cpu() - before);
        }
    });
    let rate = sent as f64 / best.as_secs_f64();
    println!(
        "client side: {sent} rows in {:.0} ms of one core = {:.2} million rows/s, {:.1} times the 1.5 aimed at",
        best.as_secs_f64() * 1e3,
        rate / 1e6,
        rate / 1.5e6
    );
}

/// Our load against the old way, in turn, each into an empty server.
fn end_to_end(servers: &Runtime, count: u64) {
    let client = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut times = [Duration::MAX; 3];
    for _ in 0..3 {
        for (time, connections) in times.iter_mut().zip([0, 1, 4]) {
            let server = start(servers, Bulk::Store);
            let elapsed = client.block_on(async {
                match connections {
                    0 => old_way(&server, count).await,
                    _ => our_way(&server, count, connections).await,
                }
            });
            assert_eq!(server.count("orders"), Some(count));
            assert_eq!(server.violations(), []);
            *time = elapsed.min(*time);
        }
    }
    let [old, one, four] = times.map(|time| time.as_secs_f64());
    println!("{count} orders with their items, best of 3:");
    println!("  1000-row VALUES, 1 connection: {old:.2} s");
    println!(
        "  INSERT BULK, 1 connection: {one:.2} s, {:.1} times faster",
        old / one
    );
    println!(
        "  INSERT BULK, 4 connections: {four:.2} s, {:.1} times faster",
        old / four
    );
}

async fn our_way(server: &TdsServer, count: u64, connections: u32) -> Duration {
    let database = open(server, connections).await;
    let started = Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut loaders = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (database, next) = (database.clone(), next.clone());
        loaders.spawn(async move {
            let mut connection = database.connect().await.expect("the server is there");
            loop {
                let chunk = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let ids = chunk * CHUNK + 1..=((chunk + 1) * CHUNK).min(count);
                if ids.is_empty() {
                    return;
                }
                let rows = rows::make(&orders(), ids);
                connection
                    .load(chunk, &[rows.orders, rows.items])
                    .await
                    .expect("nothing goes wrong here");
            }
        });
    }
    loaders.join_all().await;
    started.elapsed()
}

/// What this replaces: rows as text, 1000 a statement (the most that SQL Server takes), in one transaction a
/// chunk as ours.
async fn old_way(server: &TdsServer, count: u64) -> Duration {
    drop(open(server, 1).await);
    let Options {
        user,
        password,
        database,
        ..
    } = Options::default();
    let mut config = Config::new();
    config.host("localhost");
    config.port(server.port());
    config.database(database);
    config.authentication(AuthMethod::sql_server(user, password));
    config.encryption(EncryptionLevel::Required);
    config.packet_size(32767);
    config.trust_cert();
    let started = Instant::now();
    let tcp = TcpStream::connect(server.address())
        .await
        .expect("the server is there");
    let mut client = Client::connect(config, tcp.compat_write())
        .await
        .expect("the login is right");
    let made = orders();
    let (mut order_rows, mut item_rows) = (
        Values::new("orders", "orderId, userId, orderDate, orderValue"),
        Values::new("items", "orderId, rowId, productId"),
    );
    for id in 1..=count {
        if id % CHUNK == 1 {
            run(&mut client, "BEGIN TRANSACTION;").await;
        }
        let order = made.get(id);
        let date = order.date_time().format("%Y-%m-%dT%H:%M:%S");
        if let Some(statement) = order_rows.add(format_args!(
            "{id},{},'{date}',{}",
            order.user_id, order.order_value
        )) {
            run(&mut client, &statement).await;
        }
        for (row, product) in (1..).zip(order.items()) {
            if let Some(statement) = item_rows.add(format_args!("{id},{row},{product}")) {
                run(&mut client, &statement).await;
            }
        }
        if id % CHUNK == 0 || id == count {
            for rest in [order_rows.take(), item_rows.take()].into_iter().flatten() {
                run(&mut client, &rest).await;
            }
            run(&mut client, "COMMIT TRANSACTION;").await;
        }
    }
    started.elapsed()
}

async fn run(client: &mut Client<tokio_util::compat::Compat<TcpStream>>, statement: &str) {
    let results = client.simple_query(statement).await.expect("it is sent");
    results.into_results().await.expect("the server takes it");
}

/// `INSERT … VALUES (…), (…)` in the making.
struct Values {
    head: String,
    text: String,
    rows: usize,
}

impl Values {
    fn new(table: &str, columns: &str) -> Self {
        Self {
            head: format!("INSERT INTO dbo.{table} ({columns}) VALUES "),
            text: String::new(),
            rows: 0,
        }
    }

    /// Adds a row; returns a statement when it is full.
    fn add(&mut self, row: std::fmt::Arguments<'_>) -> Option<String> {
        let separator = if self.rows == 0 { "" } else { "," };
        write!(self.text, "{separator}({row})").expect("writing to a String");
        self.rows += 1;
        if self.rows == 1000 { self.take() } else { None }
    }

    fn take(&mut self) -> Option<String> {
        let statement = (self.rows > 0).then(|| format!("{}{}", self.head, self.text));
        self.text.clear();
        self.rows = 0;
        statement
    }
}

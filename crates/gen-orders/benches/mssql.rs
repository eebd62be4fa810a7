//! How much CPU time gen-orders needs per row for SQL Server: whole chunks over one connection to a TDS server on
//! another thread, which counts the rows and stores none. It measures the CPU time of the client thread.
//!
//! `cargo bench -p gen-orders --bench mssql`

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use datagen_core::model::order::{OrderRange, Orders};
use datagen_core::model::{DATA_VERSION, Profile};
use datagen_settings::Secret;
use gen_orders::config::{DatabaseConfig, Dates, SqlServer};
use gen_orders::database::{Database, Prepared};
use gen_orders::rows::Chunk;
use gen_orders::run::{Parameters, Run};
use testkit::tds::{Bulk, TdsOptions, TdsServer};
use tokio::runtime::{Builder, Runtime};

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
    for profile in [Profile::Uniform, Profile::Shop] {
        measure(&servers, profile);
    }
}

fn orders(profile: Profile) -> Orders {
    let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
    let range = OrderRange {
        user_max_id: 999_999,
        product_max_id: 999_999,
        dates: day(2015)..day(2025),
    };
    Orders::new(profile, 0, 10_000_000, &range)
}

async fn open(server: &TdsServer, profile: Profile) -> (Arc<dyn Database>, Prepared) {
    let TdsOptions {
        user,
        password,
        database,
        ..
    } = TdsOptions::default();
    let config = DatabaseConfig::SqlServer(SqlServer {
        host: "localhost".into(),
        port: server.port(),
        database,
        login: Some((user, Secret::new(password))),
        connections: 1,
        trust_certificate: true,
        timeout: Duration::from_secs(60),
        readers: Vec::new(),
    });
    let database = gen_orders::database::open(&config)
        .await
        .expect("nothing to fail yet");
    let dates = Dates::default();
    let range = dates.in_year(2025);
    let run = Run {
        parameters: Parameters {
            data_version: DATA_VERSION,
            profile,
            seed: 0,
            count: 0,
            user_max_id: 0,
            product_max_id: 0,
            date_from: range.start,
            date_to: range.end,
        },
        dates,
        chunk_orders: CHUNK as u32,
    };
    let prepared = database.prepare(&run).await.expect("the server is there");
    (database, prepared)
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

fn measure(servers: &Runtime, profile: Profile) {
    let options = TdsOptions {
        bulk: Bulk::Count,
        ..TdsOptions::default()
    };
    let server = servers.block_on(TdsServer::start(options)).expect("a free port");
    let client = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let orders = orders(profile);
    let chunk = |number| Chunk::generate(number, &orders, number * CHUNK + 1..=(number + 1) * CHUNK);
    let mut chunks: Vec<Chunk> = (0..20).map(chunk).collect();
    let rows: u64 = chunks.iter().map(Chunk::row_count).sum();
    let mut best = Duration::MAX;
    client.block_on(async {
        let (database, prepared) = open(&server, profile).await;
        let mut connection = database.connect(&prepared).await.expect("the server is there");
        for _ in 0..5 {
            // Chunks with new numbers are not loaded yet.
            chunks.iter_mut().for_each(|chunk| chunk.number += 100);
            let round: Vec<Arc<Chunk>> = chunks.iter().cloned().map(Arc::new).collect();
            let before = thread_cpu();
            for chunk in &round {
                connection.load(chunk).await.expect("nothing goes wrong here");
            }
            best = best.min(thread_cpu() - before);
        }
    });
    println!(
        "{profile:?}: {rows} rows in {:.0} ms of one core = {:.2} million rows/s",
        best.as_secs_f64() * 1e3,
        rows as f64 / best.as_secs_f64() / 1e6
    );
}

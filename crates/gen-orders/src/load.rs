//! Controls the load: one thread generates chunks of rows and passes them through a bounded queue to the connections.

use std::ops::Range;
use std::sync::Arc;

use datagen_core::model::DATA_VERSION;
use datagen_core::model::order::{OrderRange, Orders};
use datagen_core::model::planted::{OrderCounts, PlantedOrders};
use datagen_process::error::{DestinationError, RunError};
use datagen_process::generator::{Context, Generator};
use datagen_process::manifest::Manifest;
use datagen_process::pace::Pace;
use datagen_process::progress::{Progress, Work};
use datagen_process::shard::Shard;
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::GenOrders;
use crate::config::OrdersConfig;
use crate::database::{self, Database, Prepared};
use crate::retry;
use crate::rows::{Chunk, Totals};
use crate::run::{Parameters, Run};

const KIND: &str = "orders";

/// Loads this shard's orders.
/// # Errors
/// If the database fails permanently, or if a signal arrives. What is committed stays, and a later run continues.
pub async fn run(config: &OrdersConfig, context: &Context) -> Result<(), RunError> {
    tokio::select! {
        biased;
        signal = context.shutdown.requested() => Err(RunError::Interrupted(signal)),
        result = load(config, context) => result.map_err(RunError::from),
    }
}

async fn load(config: &OrdersConfig, context: &Context) -> Result<(), DestinationError> {
    let database = database::open(&config.database).await?;
    let run = Run {
        parameters: parameters(config),
        dates: config.dates,
        chunk_orders: chunk_orders(config),
    };
    let shard = context.common.shard;
    let planned = ChunkLayout {
        count: config.orders.count,
        chunk_orders: u64::from(run.chunk_orders),
    };
    let work = Work {
        kind: KIND,
        // A run that continues another keeps its chunks, which may give a shard a few orders more or less.
        records: planned.orders(&shard.range(planned.chunks())),
        destination: database.describe(),
        seed: config.orders.seed,
        shard,
    };
    work.announce(&context.bar);
    let prepared = database.prepare(&run).await?;
    let range = OrderRange {
        dates: prepared.parameters.dates(),
        ..config.orders.range.clone()
    };
    if range.dates != config.orders.range.dates {
        tracing::info!(
            date_from = %range.dates.start,
            date_to = %range.dates.end,
            "the tables were created in another year and keep their range of dates; set DATE_FROM and DATE_TO \
             to replace them"
        );
    }
    let layout = ChunkLayout {
        count: config.orders.count,
        chunk_orders: u64::from(prepared.chunk_orders),
    };
    // One shard does this for all, since a shard does not see the users that another one is creating.
    if shard.index == 0 {
        database.admit_readers().await;
    }
    let chunks = shard.range(layout.chunks());
    let ids = layout.ids(&chunks);
    let already = database.loaded(&prepared, chunks.clone()).await?;
    let already_orders: u64 = already.ranges().iter().map(|range| layout.orders(range)).sum();
    let to_load = layout.orders(&chunks) - already_orders;
    if to_load > 0 {
        if !already.is_empty() {
            tracing::info!(
                chunks = already.len(),
                of = chunks.end - chunks.start,
                "continuing an unfinished run"
            );
        }
        database.begin().await;
    } else if already_orders > 0 {
        tracing::info!(
            orders = already_orders,
            "every order of this run is already there, nothing to load"
        );
    }

    let (progress, ticker) = Progress::start(
        &context.bar,
        Work {
            records: to_load,
            ..work
        },
    );
    let (queue, made) = mpsc::channel(database.connections());
    let orders = Orders::new(
        config.orders.profile,
        config.orders.seed,
        config.orders.count,
        &range,
    );
    let maker = tokio::task::spawn_blocking(move || {
        let (mut totals, mut planted) = (Totals::default(), OrderCounts::default());
        for chunk in chunks {
            let ids = layout.ids(&(chunk..chunk + 1));
            let rows = Chunk::generate(chunk, &orders, ids.start..=ids.end - 1);
            totals.add(&rows.totals);
            planted += rows.planted;
            if !already.contains(chunk) && queue.blocking_send(rows).is_err() {
                break;
            }
        }
        (totals, PlantedOrders::new(&orders).effects(&planted))
    });
    let queue = Arc::new(Mutex::new(Paced {
        chunks: made,
        pace: Pace::new(config.rate),
    }));
    let mut loaders = JoinSet::new();
    for _ in 0..database.connections() {
        loaders.spawn(load_chunks(
            Arc::clone(&database),
            prepared.clone(),
            Arc::clone(&queue),
            progress.clone(),
        ));
    }
    drop(queue);
    // The first error drops the other tasks, whose open transactions the server rolls back.
    while let Some(result) = loaders.join_next().await {
        result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    }
    let (totals, planted) = maker
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    drop(ticker);

    // The manifest is written last: if it is missing, no earlier process has finished this.
    if check_row_counts(&*database, &prepared, layout).await?
        && !database.has_manifest(&prepared, KIND, shard).await?
    {
        database.finish().await;
    }
    let contents = OrdersContents {
        totals,
        check: check_queries(shard, &ids),
        parameters: prepared.parameters.to_json(),
    };
    let manifest = Manifest::new(
        KIND,
        GenOrders::VERSION,
        config.orders.seed,
        config.orders.count,
        (shard, ids),
        planted,
        contents,
    );
    let json = manifest.to_json();
    let text = std::str::from_utf8(&json).expect("JSON is UTF-8");
    database.write_manifest(&prepared, KIND, shard, text).await?;
    progress.summarize();
    Ok(())
}

/// How ids are divided into chunks.
#[derive(Clone, Copy, Debug)]
struct ChunkLayout {
    count: u64,
    chunk_orders: u64,
}

impl ChunkLayout {
    fn chunks(self) -> u64 {
        self.count.div_ceil(self.chunk_orders)
    }

    fn ids(self, chunks: &Range<u64>) -> Range<u64> {
        let first = |chunk: u64| (chunk * self.chunk_orders).min(self.count) + 1;
        first(chunks.start)..first(chunks.end)
    }

    fn orders(self, chunks: &Range<u64>) -> u64 {
        let ids = self.ids(chunks);
        ids.end - ids.start
    }
}

/// The chunks to load, at RATE orders per second.
struct Paced {
    chunks: mpsc::Receiver<Chunk>,
    pace: Pace,
}

impl Paced {
    async fn next(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().await?;
        self.pace.wait(chunk.totals.orders).await;
        Some(chunk)
    }
}

/// Takes chunks from the queue and loads them over one connection, or over a new one after a transient error.
async fn load_chunks(
    database: Arc<dyn Database>,
    prepared: Prepared,
    queue: Arc<Mutex<Paced>>,
    progress: Progress,
) -> Result<(), DestinationError> {
    let mut connection = None;
    loop {
        let Some(chunk) = queue.lock().await.next().await else {
            return Ok(());
        };
        let chunk = Arc::new(chunk);
        let mut retries = retry::policy(database.retry_for()).start();
        loop {
            let result = async {
                if connection.is_none() {
                    connection = Some(database.connect(&prepared).await?);
                }
                let connected = connection.as_mut().expect("connected above");
                connected.load(&chunk).await
            };
            let Err(error) = result.await else { break };
            connection = None;
            let Some(pause) = retry::next_pause(&mut retries, &error) else {
                return Err(error);
            };
            tracing::warn!(
                chunk = chunk.number,
                "loading a chunk again in {pause:.1?}: {error}"
            );
            tokio::time::sleep(pause).await;
        }
        progress.add(chunk.totals.orders, chunk.bytes());
    }
}

/// Returns the configured number of orders per chunk, or fewer with RATE, so that there are at least four chunks per
/// second and rows arrive evenly.
fn chunk_orders(config: &OrdersConfig) -> u32 {
    let configured = config.chunk_orders.get();
    match config.rate {
        rate if rate > 0.0 => configured.min((rate / 4.0).ceil() as u32),
        _ => configured,
    }
}

/// Compares the row counts of the tables with the progress rows, once all shards are done: while others load, counts
/// change. Returns whether all are done.
async fn check_row_counts(
    database: &dyn Database,
    prepared: &Prepared,
    layout: ChunkLayout,
) -> Result<bool, DestinationError> {
    let tally = database.tally(prepared).await?;
    let Some(tally) = tally.filter(|tally| tally.chunks == layout.chunks()) else {
        tracing::info!(
            "other shards are not done; the last of them compares the tables with what was loaded"
        );
        return Ok(false);
    };
    let expected = [layout.count, tally.rows.saturating_sub(layout.count)];
    let found = database.count_rows(prepared).await?;
    if found == expected {
        return Ok(true);
    }
    let problem = format!("orders and items have {found:?} rows, but {expected:?} were loaded");
    Err(DestinationError::permanent(database.describe(), problem)
        .advise("another program changes these tables: drop them and run again"))
}

/// Returns everything that the rows depend on.
fn parameters(config: &OrdersConfig) -> Parameters {
    Parameters {
        data_version: DATA_VERSION,
        seed: config.orders.seed,
        profile: config.orders.profile,
        count: config.orders.count,
        user_max_id: config.orders.range.user_max_id,
        product_max_id: config.orders.range.product_max_id,
        date_from: config.orders.range.dates.start,
        date_to: config.orders.range.dates.end,
    }
}

/// What the manifest says about the rows.
#[derive(Debug, Serialize)]
struct OrdersContents {
    totals: Totals,
    /// Queries, each of which should return one row that equals the totals, in their order.
    check: [String; 2],
    parameters: String,
}

/// Returns queries for this shard's part of the tables. They are valid and have equal results in SQL Server, where
/// `COUNT(*)` and the sum of an `int` are an `int` and would overflow, and in SQLite, which has no `COUNT_BIG`. Without
/// rows they return 0.
fn check_queries(shard: Shard, ids: &Range<u64>) -> [String; 2] {
    let part = if shard.is_whole() {
        String::new()
    } else {
        format!(" WHERE orderId BETWEEN {} AND {}", ids.start, ids.end - 1)
    };
    let sum = |of: &str| format!("COALESCE(SUM({of}), 0)");
    let whole = |of: &str| sum(&format!("CAST({of} AS bigint)"));
    [
        format!(
            "SELECT {}, {}, {} FROM orders{part}",
            whole("1"),
            whole("userId"),
            sum("orderValue")
        ),
        format!(
            "SELECT {}, {}, {} FROM items{part}",
            whole("1"),
            whole("rowId"),
            whole("productId")
        ),
    ]
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::MsSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn the_manifest_s_queries_are_t_sql() {
        let shard = Shard { index: 1, count: 3 };
        for query in check_queries(Shard::WHOLE, &(1..1))
            .iter()
            .chain(&check_queries(shard, &(5..9)))
        {
            let parsed = Parser::parse_sql(&MsSqlDialect {}, query);
            assert!(parsed.is_ok(), "{query}: {parsed:?}");
        }
    }
}

//! A SQL database as a destination: the tables of orders and items are filled chunk by chunk, each chunk in one
//! transaction together with the progress row that says that it is loaded.
//!
//! A [`Database`] keeps three more tables: `_datagen_run` (what the run loads: one row), `_datagen_chunks` (which
//! chunks are loaded) and `_datagen_manifest` (what was loaded, for consumers). If `_datagen_run` is missing,
//! gen-orders has created none of the tables, and drops none.
//!
//! - [`sqlite`]: a local file;
//! - [`mssql`]: Azure SQL or SQL Server.

mod chunk_set;
#[cfg(feature = "mssql")]
pub mod mssql;
mod plan;
pub mod sqlite;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datagen_process::error::DestinationError;
use datagen_process::shard::Shard;

pub use self::chunk_set::ChunkSet;
use crate::config::DatabaseConfig;
use crate::rows::Chunk;
use crate::run::{Parameters, Run};

/// The run that the tables are ready for. Later reads and writes fail if the tables belong to another run by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The parameters as the database stores them: they identify the run.
    pub stored: Arc<str>,
    /// What the rows depend on: the parameters of this run, or those of the run that it continues.
    pub parameters: Parameters,
    /// Orders per chunk: the number of this run, or that of the run that it continues.
    pub chunk_orders: u32,
}

/// The chunks of all shards that are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    pub chunks: u64,
    /// How many rows of both tables these chunks have.
    pub rows: u64,
}

/// A database that can be prepared for a run and loaded. Another run may prepare the tables for itself at any time;
/// from then on, writing and counting rows fails.
#[async_trait]
pub trait Database: Send + Sync {
    /// Returns the name for messages, without secrets.
    fn describe(&self) -> String;

    /// Returns how many connections load in parallel.
    fn connections(&self) -> usize;

    /// Returns for how long after its first failure a chunk is retried.
    fn retry_for(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Prepares the tables for `run`: creates them if they are absent; keeps them if they belong to a run that this
    /// one continues; if they belong to another run, logs a warning, drops them and creates them again. Several
    /// processes may do this at once.
    ///
    /// # Errors
    /// If the database fails, or has a table with one of the names that gen-orders did not create.
    async fn prepare(&self, run: &Run) -> Result<Prepared, DestinationError>;

    /// Lets the readers of the configuration read the tables, which exist. If a reader cannot be admitted, the only
    /// effect is a warning.
    async fn admit_readers(&self) {}

    /// Returns those of `chunks` that are loaded.
    async fn loaded(&self, prepared: &Prepared, chunks: Range<u64>) -> Result<ChunkSet, DestinationError>;

    /// Prepares the tables for loads over several connections, before the first chunk. A failure costs only speed, so
    /// it is logged and not returned.
    async fn begin(&self) {}

    /// Opens a connection for loading.
    async fn connect(&self, prepared: &Prepared) -> Result<Box<dyn Connection>, DestinationError>;

    /// Returns what is loaded; `None` if another process has a chunk in progress and does not finish it in time.
    async fn tally(&self, prepared: &Prepared) -> Result<Option<Tally>, DestinationError>;

    /// Returns how many rows each of [`TABLES`](crate::rows::TABLES) has.
    async fn count_rows(&self, prepared: &Prepared) -> Result<Vec<u64>, DestinationError>;

    /// Optimizes the tables for readers, after the last chunk of all shards. A failure costs only speed, so it is
    /// logged and not returned.
    async fn finish(&self) {}

    /// Returns whether there is a manifest for a shard.
    async fn has_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
    ) -> Result<bool, DestinationError>;

    /// Writes the manifest of a shard, replacing an existing one.
    async fn write_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
        manifest: &str,
    ) -> Result<(), DestinationError>;
}

/// Returns the error for tables at `destination` that belong to another run by now.
fn taken_over(destination: &str) -> DestinationError {
    let problem = "the tables were prepared for another run while this one was loading";
    DestinationError::permanent(destination, problem)
        .advise("let one run finish before another with other parameters begins")
}

/// A connection of a [`Database`]. After an error it is not used again.
#[async_trait]
pub trait Connection: Send {
    /// Loads a chunk's rows and its progress row in one transaction. A chunk that an earlier attempt with an unknown
    /// outcome has loaded is not loaded again.
    async fn load(&mut self, chunk: &Arc<Chunk>) -> Result<(), DestinationError>;
}

/// Opens the database that the configuration names.
///
/// # Errors
/// If it cannot be reached. The error says what to check.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Database>, DestinationError> {
    match config {
        DatabaseConfig::Sqlite(path) => Ok(Arc::new(sqlite::Sqlite::open(path).await?)),
        #[cfg(feature = "mssql")]
        DatabaseConfig::SqlServer(server) => Ok(Arc::new(mssql::Mssql::open(server).await?)),
    }
}

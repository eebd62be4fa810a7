//! A SQL database as a destination: the tables of orders and items are filled chunk by chunk, each chunk in one
//! transaction together with the progress row that says that it is loaded.
//!
//! A [`Database`] keeps three more tables: `_datagen_run` (what the run loads: one row), `_datagen_chunks` (which
//! chunks are loaded) and `_datagen_manifest` (what was loaded, for consumers). Where `_datagen_run` is missing,
//! gen-orders has created none of the tables, and drops none.
//!
//! - [`sqlite`]: a file of this machine;
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

/// The run that the tables are ready for. What reads or writes them afterwards fails if they belong to another run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The parameters as the database stores them: they identify the run.
    pub stored: Arc<str>,
    /// What the rows depend on: the run's own parameters, or those of the run that it continues.
    pub parameters: Parameters,
    /// Orders per chunk: the run's own number, or that of the run that it continues.
    pub chunk_orders: u32,
}

/// The chunks of all shards that are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    pub chunks: u64,
    /// How many rows of both tables they have.
    pub rows: u64,
}

/// A database that can be prepared for a run and loaded. Another run may prepare the tables for itself at any time:
/// what writes or counts rows fails from then on.
#[async_trait]
pub trait Database: Send + Sync {
    /// The name for messages, without secrets.
    fn describe(&self) -> String;

    /// How many connections load in parallel.
    fn connections(&self) -> usize;

    /// How long after its first failure a chunk is retried.
    fn retry_for(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Prepares the tables for `run`: creates them if they are absent; keeps them if they belong to a run that this
    /// one continues; if they belong to another run, logs a warning, drops them and creates them again. Several
    /// processes may do this at once.
    ///
    /// # Errors
    /// If the database fails, or has a table of one of the names that gen-orders did not create.
    async fn prepare(&self, run: &Run) -> Result<Prepared, DestinationError>;

    /// Lets the readers of the configuration read the tables, which exist. A reader that cannot be admitted costs a
    /// warning and nothing else.
    async fn admit_readers(&self) {}

    /// Those of `chunks` that are loaded.
    async fn loaded(&self, prepared: &Prepared, chunks: Range<u64>) -> Result<ChunkSet, DestinationError>;

    /// Prepares the tables for loads over several connections, before the first chunk. A failure costs only speed, so
    /// it is logged and not returned.
    async fn begin(&self) {}

    /// Opens a connection for loading.
    async fn connect(&self, prepared: &Prepared) -> Result<Box<dyn Connection>, DestinationError>;

    /// What is loaded; `None` if another process has a chunk under way and does not finish it in time.
    async fn tally(&self, prepared: &Prepared) -> Result<Option<Tally>, DestinationError>;

    /// How many rows each of [`TABLES`](crate::rows::TABLES) has.
    async fn count_rows(&self, prepared: &Prepared) -> Result<Vec<u64>, DestinationError>;

    /// Optimizes the tables for readers, after the last chunk of all. A failure costs only speed, so it is logged and
    /// not returned.
    async fn finish(&self) {}

    /// Whether there is a manifest for a shard.
    async fn has_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
    ) -> Result<bool, DestinationError>;

    /// Writes the manifest of a shard, in place of one that is there.
    async fn write_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
        manifest: &str,
    ) -> Result<(), DestinationError>;
}

/// The tables at `destination` belong to another run by now.
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
/// If it cannot be reached, with what to check.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Database>, DestinationError> {
    match config {
        DatabaseConfig::Sqlite(path) => Ok(Arc::new(sqlite::Sqlite::open(path).await?)),
        #[cfg(feature = "mssql")]
        DatabaseConfig::SqlServer(server) => Ok(Arc::new(mssql::Mssql::open(server).await?)),
    }
}

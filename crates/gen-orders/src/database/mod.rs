//! A SQL database as a destination: tables that are filled chunk by chunk, each chunk in one transaction
//! together with the progress row that says it is in.
//!
//! A [`Database`] knows nothing of orders. It takes [`Batch`]es of typed columns for [`Table`]s that it is
//! given, and keeps three tables of its own beside them: `_datagen_run` (what the run loads: one row),
//! `_datagen_chunks` (which chunks are in) and `_datagen_manifest` (what was loaded, for consumers). Where
//! `_datagen_run` is missing, no table is one of ours, and none is dropped.
//!
//! - [`sqlite`]: a file of this machine;
//! - [`mssql`]: Azure SQL or SQL Server.

mod chunk_set;
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
use crate::config::Target;
use crate::run::{Parameters, Run};

/// A table to fill.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, none of which may be null.
    pub columns: &'static [Column],
    /// The names of the columns of its primary key.
    pub primary_key: &'static [&'static str],
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
}

/// A column's type, as SQL Server names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `int`, 32 bits with a sign.
    Int,
    /// `datetime`, here to the second.
    DateTime,
    /// `float`, 64 bits.
    Float,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// For [`ColumnKind::Int`].
    Int(Vec<i32>),
    /// For [`ColumnKind::DateTime`]: seconds since 1970-01-01 00:00:00, no time zone.
    DateTime(Vec<i64>),
    /// For [`ColumnKind::Float`].
    Float(Vec<f64>),
}

impl Values {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::DateTime(values) => values.len(),
            Self::Float(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take in the database, without its own overhead: 4 or 8 each.
    fn bytes(&self) -> u64 {
        let width = match self {
            Self::Int(_) => 4,
            Self::DateTime(_) | Self::Float(_) => 8,
        };
        self.len() as u64 * width
    }

    fn kind(&self) -> ColumnKind {
        match self {
            Self::Int(_) => ColumnKind::Int,
            Self::DateTime(_) => ColumnKind::DateTime,
            Self::Float(_) => ColumnKind::Float,
        }
    }
}

/// Rows of a table, by columns.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The table.
    pub table: &'static Table,
    /// As many as the table has columns, all of one length.
    pub columns: Vec<Values>,
}

impl Batch {
    /// Rows of `table`.
    ///
    /// # Panics
    /// If the columns are not the table's, or differ in length.
    pub fn new(table: &'static Table, columns: Vec<Values>) -> Self {
        assert!(
            columns
                .iter()
                .map(Values::kind)
                .eq(table.columns.iter().map(|column| column.kind))
        );
        assert!(columns.windows(2).all(|pair| pair[0].len() == pair[1].len()));
        Self { table, columns }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Values::len)
    }

    /// How many bytes their values take in the database, without its own overhead.
    pub fn bytes(&self) -> u64 {
        self.columns.iter().map(Values::bytes).sum()
    }
}

/// What the tables are ready for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// What the rows depend on: the run's own parameters, or those of the run that it continues.
    pub parameters: Parameters,
    /// Orders per chunk: the run's own number, or that of the run that it continues.
    pub chunk_orders: u32,
}

/// What the rows of `_datagen_chunks` add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many chunks are in, of all shards.
    pub chunks: u64,
    /// How many rows of all of the run's tables they have.
    pub rows: u64,
}

/// A database that can be prepared for a run and loaded. Another run may prepare the tables for itself at
/// any time: what writes or counts rows fails from then on.
#[async_trait]
pub trait Database: Send + Sync {
    /// Its name for messages, without secrets.
    fn describe(&self) -> String;

    /// How many connections are worth having.
    fn connections(&self) -> usize;

    /// How long after its first failure a chunk is worth another attempt.
    fn retry_for(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Makes the tables ready for `run`: creates them if they are absent; leaves them if they belong to a run
    /// that this one continues; if they belong to another run, logs a warning, drops them and creates them
    /// again. Several processes may do this at once.
    ///
    /// # Errors
    /// If the database fails, or has a table of one of the names that gen-orders did not create.
    async fn prepare(&self, run: &Run) -> Result<Prepared, DestinationError>;

    /// Lets the readers of the configuration read the tables, which exist. A reader that cannot be admitted costs a
    /// warning and nothing else.
    async fn admit_readers(&self) {}

    /// Those of `chunks` that are in.
    async fn loaded(&self, chunks: Range<u64>) -> Result<ChunkSet, DestinationError>;

    /// Makes the tables fit for being filled over several connections, before the first chunk. What fails here
    /// costs speed only, so it is told and not returned.
    async fn begin(&self, _tables: &[&'static Table]) {}

    /// Opens a connection for loading.
    async fn connect(&self) -> Result<Box<dyn Connection>, DestinationError>;

    /// What is in; `None` if another process has a chunk under way and does not finish it in time.
    async fn tally(&self) -> Result<Option<Tally>, DestinationError>;

    /// How many rows each of the tables has.
    async fn count_rows(&self, tables: &[&'static Table]) -> Result<Vec<u64>, DestinationError>;

    /// Leaves the tables as their readers want them, after the last chunk of all. What fails here costs them
    /// speed only, so it is told and not returned.
    async fn finish(&self, _tables: &[&'static Table]) {}

    /// Whether there is a manifest for a shard.
    async fn has_manifest(&self, kind: &str, shard: Shard) -> Result<bool, DestinationError>;

    /// Leaves a manifest for a shard, replacing one that is there.
    async fn write_manifest(&self, kind: &str, shard: Shard, manifest: &str) -> Result<(), DestinationError>;
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
    /// Loads a chunk's rows and its progress row in one transaction. When an earlier attempt's outcome is
    /// unknown, finds out: a chunk that is in is not loaded again.
    async fn load(&mut self, chunk: u64, batches: &[Batch]) -> Result<(), DestinationError>;
}

/// Opens the database that the configuration names.
///
/// # Errors
/// If it cannot be reached, with what to check.
pub async fn open(target: &Target) -> Result<Arc<dyn Database>, DestinationError> {
    match target {
        Target::Sqlite(path) => Ok(Arc::new(sqlite::Sqlite::open(path).await?)),
        Target::SqlServer(server) => Ok(Arc::new(mssql::Mssql::open(server).await?)),
    }
}

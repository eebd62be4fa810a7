//! A SQLite file as the database.
//!
//! SQLite's calls run on threads that may block. A call that waits for a lock of another process does so for a limited
//! time, and stops waiting when its result is no longer needed: a signal ends the run at once.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datagen_core::text::date_time;
use datagen_process::blocking::blocking;
use datagen_process::error::DestinationError;
use datagen_process::file_system::create_directory;
use datagen_process::shard::Shard;
use rusqlite::{ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::Mutex;

use super::plan::{ForeignTableError, RUN_TABLE, StoredRun, TablePlan, plan};
use super::{ChunkSet, Connection, Database, Prepared, Tally, taken_over};
use crate::rows::{Chunk, ColumnKind, ITEMS, ORDERS, SqlValue, TABLES, Table};
use crate::run::Run;

/// How long a transaction waits for those of other processes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// The pause between attempts to take a lock.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The tables that gen-orders keeps in addition to those that it fills, with their definitions.
const OWN_TABLES: [(&str, &str); 3] = [
    (
        RUN_TABLE,
        "(parameters text NOT NULL, chunk_orders integer NOT NULL)",
    ),
    (
        "_datagen_chunks",
        "(chunk integer PRIMARY KEY, row_count integer NOT NULL)",
    ),
    (
        "_datagen_manifest",
        "(kind text, shard_index integer, shard_count integer, manifest text NOT NULL, \
         PRIMARY KEY (kind, shard_index, shard_count))",
    ),
];

#[derive(Clone, Debug)]
pub struct Sqlite {
    path: PathBuf,
    /// One connection: SQLite has one writer at a time.
    connection: Arc<Mutex<rusqlite::Connection>>,
}

impl Sqlite {
    /// Opens the file, which is created with its directory if it is absent.
    ///
    /// # Errors
    /// If it cannot be created or is not a SQLite database.
    pub async fn open(path: &Path) -> Result<Self, DestinationError> {
        let path = path.to_owned();
        let opened = path.clone();
        let connection = interruptible(move || {
            let directory = opened.parent().expect("the path names a file in a directory");
            create_directory(directory)?;
            refuse_special_file(&opened)?;
            open_connection(&opened).map_err(|error| failed(&opened, error))
        })
        .await?;
        Ok(Self {
            path,
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Runs `work` with the connection, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let (path, connection) = (self.path.clone(), Arc::clone(&self.connection));
        interruptible(move || work(&mut connection.blocking_lock()).map_err(|error| failed(&path, error)))
            .await
    }

    /// Runs `work` in a transaction and commits it, if the tables are still prepared for this run.
    async fn transact<T: Send + 'static>(
        &self,
        prepared: &Prepared,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let stored = Arc::clone(&prepared.stored);
        self.with(move |connection| {
            let transaction = connection.transaction_with_behavior(behavior)?;
            let current = stored_run(&transaction)?;
            if current.is_none_or(|current| *current.parameters != *stored) {
                return Ok(None);
            }
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(Some(value))
        })
        .await?
        .ok_or_else(|| taken_over(&self.describe()))
    }
}

/// Fails if something other than a regular file has the name of the database. Opening a FIFO, for example, would wait
/// for another process.
fn refuse_special_file(path: &Path) -> Result<(), DestinationError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(DestinationError::io(path, &ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => {
            let problem = "a FIFO, socket or device stands where a file is needed";
            let error = DestinationError::permanent(path.display().to_string(), problem);
            Err(error.advise("move it, or give the path of a file"))
        }
        // SQLite reports what is wrong with a path that cannot be examined.
        _ => Ok(()),
    }
}

/// The state of a wait for the lock of another process.
struct LockWait {
    /// Can be upgraded as long as the result of the call is needed.
    wanted: Weak<()>,
    since: Instant,
}

thread_local! {
    /// What [`busy`] needs to know about the call that runs on this thread.
    static WAITING: RefCell<LockWait> = RefCell::new(LockWait { wanted: Weak::new(), since: Instant::now() });
}

/// Runs `work` on a thread that may block. If the returned future is dropped, a wait for a lock in it ends.
async fn interruptible<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let wanted = Arc::new(());
    let weak = Arc::downgrade(&wanted);
    let result = blocking(move || {
        WAITING.with_borrow_mut(|waiting| waiting.wanted = weak);
        work()
    })
    .await;
    drop(wanted);
    result
}

/// Returns whether SQLite should try again to take a lock, after this many attempts, and pauses before that.
fn busy(attempts: i32) -> bool {
    let try_again = WAITING.with_borrow_mut(|waiting| {
        if attempts == 0 {
            waiting.since = Instant::now();
        }
        waiting.wanted.strong_count() > 0 && waiting.since.elapsed() < BUSY_TIMEOUT
    });
    if try_again {
        std::thread::sleep(BUSY_PAUSE);
    }
    try_again
}

fn open_connection(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_handler(Some(busy))?;
    // If the file is something else, this fails here and not in the middle of a run.
    connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

fn failed(path: &Path, error: rusqlite::Error) -> DestinationError {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "move the file, or give another path",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "give a path that this user may write"
        }
        Some(ErrorCode::DiskFull) => "free some space, or give another path",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds the database: close it"
        }
        _ => "check the file",
    };
    DestinationError::permanent(path.display().to_string(), error.to_string())
        .advise(advice)
        .caused_by(error)
}

#[async_trait]
impl Database for Sqlite {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn connections(&self) -> usize {
        1
    }

    async fn prepare(&self, run: &Run) -> Result<Prepared, DestinationError> {
        let (run, destination) = (run.clone(), self.describe());
        let prepared = self.with(move |connection| {
            // The transaction is immediate: of several processes that start at once, one creates the tables, and the
            // others find them.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let prepared = prepare(&transaction, &run, &destination)?;
            if prepared.is_ok() {
                transaction.commit()?;
            }
            Ok(prepared)
        });
        prepared
            .await?
            .map_err(|foreign| foreign.describe(&self.describe(), "the table "))
    }

    async fn connect(&self, prepared: &Prepared) -> Result<Box<dyn Connection>, DestinationError> {
        Ok(Box::new(SqliteLoader {
            sqlite: self.clone(),
            prepared: prepared.clone(),
        }))
    }

    async fn loaded(&self, prepared: &Prepared, chunks: Range<u64>) -> Result<ChunkSet, DestinationError> {
        self.transact(prepared, TransactionBehavior::Deferred, move |transaction| {
            let mut loaded = ChunkSet::default();
            let sql = "SELECT chunk FROM _datagen_chunks WHERE chunk >= ? AND chunk < ? ORDER BY chunk";
            let mut statement = transaction.prepare(sql)?;
            let mut rows = statement.query([chunks.start as i64, chunks.end as i64])?;
            while let Some(row) = rows.next()? {
                loaded.push(row.get::<_, i64>(0)? as u64);
            }
            Ok(loaded)
        })
        .await
    }

    async fn tally(&self, prepared: &Prepared) -> Result<Option<Tally>, DestinationError> {
        self.transact(prepared, TransactionBehavior::Deferred, |transaction| {
            let sql = "SELECT COUNT(*), COALESCE(SUM(row_count), 0) FROM _datagen_chunks";
            transaction.query_row(sql, [], |row| {
                Ok(Some(Tally {
                    chunks: row.get::<_, i64>(0)? as u64,
                    rows: row.get::<_, i64>(1)? as u64,
                }))
            })
        })
        .await
    }

    async fn count_rows(&self, prepared: &Prepared) -> Result<Vec<u64>, DestinationError> {
        self.transact(prepared, TransactionBehavior::Deferred, move |transaction| {
            let count = |table: &Table| {
                let sql = format!("SELECT COUNT(*) FROM {}", table.name);
                transaction.query_row(&sql, [], |row| Ok(row.get::<_, i64>(0)? as u64))
            };
            TABLES.into_iter().map(count).collect()
        })
        .await
    }

    async fn has_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
    ) -> Result<bool, DestinationError> {
        let kind = kind.to_owned();
        self.transact(prepared, TransactionBehavior::Deferred, move |transaction| {
            let sql =
                "SELECT 1 FROM _datagen_manifest WHERE kind = ? AND shard_index = ? AND shard_count = ?";
            let found = transaction.query_row(sql, params![kind, shard.index, shard.count], |_| Ok(()));
            Ok(found.optional()?.is_some())
        })
        .await
    }

    async fn write_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
        manifest: &str,
    ) -> Result<(), DestinationError> {
        let (kind, manifest) = (kind.to_owned(), manifest.to_owned());
        self.transact(prepared, TransactionBehavior::Immediate, move |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO _datagen_manifest VALUES (?, ?, ?, ?)",
                params![kind, shard.index, shard.count, manifest],
            )
        })
        .await?;
        Ok(())
    }
}

/// See [`Database::prepare`].
fn prepare(
    transaction: &Transaction<'_>,
    run: &Run,
    destination: &str,
) -> rusqlite::Result<Result<Prepared, ForeignTableError>> {
    let names = TABLES.into_iter().map(|table| table.name);
    let names: Vec<&'static str> = names.chain(OWN_TABLES.map(|(name, _)| name)).collect();
    let existing = existing(transaction, &names)?;
    let exists = |name: &str| existing.contains(&name);
    let stored = if exists(RUN_TABLE) {
        stored_run(transaction)?
    } else {
        None
    };
    match plan(run, &names, exists, stored) {
        Err(foreign) => return Ok(Err(foreign)),
        Ok(TablePlan::Continue(prepared)) => return Ok(Ok(prepared)),
        Ok(TablePlan::Create) => {}
        Ok(TablePlan::Replace(replaced)) => {
            replaced.warn(destination, run);
            for name in &existing {
                transaction.execute_batch(&format!("DROP TABLE {name}"))?;
            }
        }
    }
    for table in TABLES {
        transaction.execute_batch(&create_table(table))?;
    }
    for (name, definition) in OWN_TABLES {
        transaction.execute_batch(&format!("CREATE TABLE {name} {definition}"))?;
    }
    let stored = run.parameters.to_json();
    transaction.execute(
        "INSERT INTO _datagen_run VALUES (?, ?)",
        params![stored, run.chunk_orders],
    )?;
    Ok(Ok(Prepared {
        stored: stored.into(),
        parameters: run.parameters.clone(),
        chunk_orders: run.chunk_orders,
    }))
}

/// Returns those of `names` that belong to tables or views. SQLite compares them without regard to case.
fn existing(transaction: &Transaction<'_>, names: &[&'static str]) -> rusqlite::Result<Vec<&'static str>> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE";
    let mut statement = transaction.prepare(sql)?;
    let mut existing = Vec::new();
    for name in names {
        if statement.exists([name])? {
            existing.push(*name);
        }
    }
    Ok(existing)
}

/// Returns the run that the tables belong to.
fn stored_run(connection: &rusqlite::Connection) -> rusqlite::Result<Option<StoredRun>> {
    let sql = "SELECT parameters, chunk_orders FROM _datagen_run";
    connection
        .query_row(sql, [], |row| {
            Ok(StoredRun {
                parameters: row.get(0)?,
                chunk_orders: row.get(1)?,
            })
        })
        .optional()
}

fn create_table(table: &Table) -> String {
    let columns = table.columns.iter().map(|(name, kind)| {
        let kind = match kind {
            // As a primary key, `integer` (and not `int`) is the row's id, without an additional index.
            ColumnKind::Int => "integer",
            ColumnKind::DateTime => "datetime",
            ColumnKind::Float => "float",
        };
        format!("{name} {kind} NOT NULL, ")
    });
    let columns: String = columns.collect();
    let rows = if table.primary_key.len() > 1 {
        " WITHOUT ROWID"
    } else {
        ""
    };
    format!(
        "CREATE TABLE {} ({columns}PRIMARY KEY ({})){rows}",
        table.name,
        table.primary_key.join(", ")
    )
}

/// Loads chunks by prepared INSERTs.
#[derive(Debug)]
struct SqliteLoader {
    sqlite: Sqlite,
    prepared: Prepared,
}

#[async_trait]
impl Connection for SqliteLoader {
    async fn load(&mut self, chunk: &Arc<Chunk>) -> Result<(), DestinationError> {
        let chunk = Arc::clone(chunk);
        let load = move |transaction: &Transaction<'_>| {
            let sql = "INSERT OR IGNORE INTO _datagen_chunks VALUES (?, ?)";
            let (number, rows) = (chunk.number as i64, chunk.row_count() as i64);
            if transaction.execute(sql, [number, rows])? == 1 {
                insert(transaction, &ORDERS, chunk.order_rows())?;
                insert(transaction, &ITEMS, chunk.item_rows())?;
            }
            Ok(())
        };
        self.sqlite
            .transact(&self.prepared, TransactionBehavior::Immediate, load)
            .await
    }
}

fn insert<const N: usize>(
    transaction: &Transaction<'_>,
    table: &Table,
    rows: impl Iterator<Item = [SqlValue; N]>,
) -> rusqlite::Result<()> {
    let places = ["?"; N].join(", ");
    let mut statement = transaction.prepare(&format!("INSERT INTO {} VALUES ({places})", table.name))?;
    for row in rows {
        for (index, value) in (1..).zip(row) {
            match value {
                SqlValue::Int(value) => statement.raw_bind_parameter(index, value)?,
                SqlValue::Float(value) => statement.raw_bind_parameter(index, value)?,
                SqlValue::DateTime(seconds) => {
                    let text = date_time(seconds, b' ');
                    let text = std::str::from_utf8(&text).expect("digits are ASCII");
                    statement.raw_bind_parameter(index, text)?;
                }
            }
        }
        statement.raw_execute()?;
    }
    Ok(())
}

//! Azure SQL or SQL Server as the database, over TDS via tiberius.
//!
//! - A chunk is one transaction: its progress row first, then its rows via `INSERT BULK`, table by table. The progress
//!   row claims the chunk: a second transaction with the same chunk waits for the first and then gets error 2627. A
//!   chunk whose COMMIT was cut off, with an unknown outcome, is therefore sent again over a new connection: either
//!   nothing of it is stored, or its progress row shows that all of it is.
//! - A chunk is claimed for one run: the transaction reads which run the tables belong to after it has inserted its
//!   first row, and the tables cannot be dropped between that and its end.
//! - After any error the session is dropped: a bulk load that broke off leaves a connection in a state in which all
//!   requests fail, and the server rolls back the open transaction. Otherwise the session is used again.
//! - The tables are set up in one transaction under an application lock, so shards may start at once.
//! - Every response must arrive within SQL_TIMEOUT. Transient errors are retried, with growing pauses, until five times
//!   that time has passed since the first. Before the first login, a missing firewall rule counts as transient.

mod attempts;
mod errors;
mod session;
mod statements;

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use datagen_process::error::DestinationError;
use datagen_process::retry::RetryPolicy;
use datagen_process::shard::Shard;
use tiberius::error::Error;
use tiberius::{Row, ToSql};

use self::attempts::Attempts;
use self::errors::{Cause, DUPLICATE_KEY, LOCK_TIMEOUT, cause};
use self::session::{Connector, SessionError, SqlSession, integer};
use super::plan::{RUN_TABLE, StoredRun, TablePlan, plan};
use super::{ChunkSet, Connection, Database, Prepared, Tally, taken_over};
use crate::config::{Reader, SqlServer};
use crate::retry;
use crate::rows::{Chunk, ITEMS, ORDERS, TABLES, Table};
use crate::run::Run;

/// How long a request is retried, as a multiple of SQL_TIMEOUT.
const RETRY_TIMEOUTS: u32 = 5;

/// How long counting the rows of a table or gathering its statistics may take, as a multiple of SQL_TIMEOUT.
const LONG_REQUEST: u32 = 10;

/// A database on a SQL Server.
#[derive(Debug)]
pub struct Mssql {
    connector: Arc<Connector>,
    connections: usize,
    readers: Vec<Reader>,
    /// Whether a login has ever succeeded. If so, the address and the names are right.
    logged_in: AtomicBool,
    /// Limits the warning about the replaced tables to one, however often the set-up is repeated.
    warned: Once,
}

impl Mssql {
    /// Creates the database that `server` describes. Determines how to sign in; connections are opened later.
    ///
    /// # Errors
    /// If there is no way to sign in.
    pub async fn open(server: &SqlServer) -> Result<Self, DestinationError> {
        Ok(Self {
            connector: Arc::new(Connector::new(server).await?),
            connections: server.connections as usize,
            readers: server.readers.clone(),
            logged_in: AtomicBool::new(false),
            warned: Once::new(),
        })
    }

    /// Runs `work` with a session, and again with another one after a transient error. If `work` succeeds, it may give
    /// the session back to the connector.
    async fn retried<T, W, F>(&self, what: &str, timeout: Duration, work: W) -> Result<T, DestinationError>
    where
        W: Fn(SqlSession) -> F,
        F: Future<Output = Result<T, SessionError>>,
    {
        let policy = retry::policy(self.retry_for());
        self.retried_as(policy, what, timeout, work).await
    }

    /// Does the same as [`Self::retried`], with another policy.
    async fn retried_as<T, W, F>(
        &self,
        policy: RetryPolicy,
        what: &str,
        timeout: Duration,
        work: W,
    ) -> Result<T, DestinationError>
    where
        W: Fn(SqlSession) -> F,
        F: Future<Output = Result<T, SessionError>>,
    {
        let mut attempts = Attempts::new(policy, self.connector.timeout());
        loop {
            let result = async {
                let session = self.connector.session(timeout).await?;
                self.logged_in.store(true, Ordering::Relaxed);
                work(session).await
            };
            let error = match result.await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let cause = match &error {
                SessionError::Server(error) if !self.logged_in.load(Ordering::Relaxed) => cause(error),
                _ => Cause::Other,
            };
            let error = self.connector.describe(error);
            let Some(pause) = attempts.pause(what, cause, &error) else {
                return Err(error);
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Creates the tables, or finds those of the same run.
    async fn set_up(&self, mut session: SqlSession, run: &Run) -> Result<Prepared, SessionError> {
        let names = TABLES.into_iter().map(|table| table.name);
        let names: Vec<&'static str> = names.chain(statements::own_tables()).collect();
        let lock_timeout = self.connector.timeout().as_millis() / 2;
        let text = statements::begin_set_up(lock_timeout, &names);
        let mut rows = session.rows(&text, &[]).await?.into_iter();
        let lock = rows.next().map(|row| integer(&row, 0)).transpose()?.flatten();
        if lock.is_none_or(|result| result < 0) {
            let problem = "another process has been setting up the tables for too long";
            return Err(SessionError::Other(DestinationError::transient(
                self.describe(),
                problem,
            )));
        }
        let found = rows.map(|row| Ok(row.try_get::<&str, _>(0)?.map(str::to_owned)));
        let found = found.collect::<Result<Vec<_>, Error>>()?;
        // The server found them by the rules of its collation, which usually does not distinguish upper and lower case.
        let exists = |name: &str| {
            let mut found = found.iter().flatten();
            found.any(|found| found.eq_ignore_ascii_case(name))
        };
        let stored = if exists(RUN_TABLE) {
            stored_run(&session.rows(statements::CURRENT_RUN, &[]).await?)?
        } else {
            None
        };
        match plan(run, &names, exists, stored) {
            Err(foreign) => return Err(SessionError::Other(foreign.describe(&self.describe(), "dbo."))),
            Ok(TablePlan::Continue(prepared)) => {
                session.batch(statements::COMMIT).await?;
                self.connector.keep(session);
                return Ok(prepared);
            }
            Ok(TablePlan::Create) => {}
            Ok(TablePlan::Replace(replaced)) => {
                self.warned.call_once(|| replaced.warn(&self.describe(), run));
                session.batch(&statements::drop_tables(exists)).await?;
            }
        }
        let stored = run.parameters.to_json();
        let text = statements::create_tables(&stored, run.chunk_orders);
        session.batch(&text).await?;
        self.connector.keep(session);
        Ok(Prepared {
            stored: stored.into(),
            parameters: run.parameters.clone(),
            chunk_orders: run.chunk_orders,
        })
    }

    /// Lets a reader read the tables, with a new user or the one that it already has.
    async fn admit(&self, reader: &Reader) -> Result<(), DestinationError> {
        let admit = |mut session: SqlSession| async move {
            let found = session.rows(&statements::find_user(reader), &[]).await?;
            let user = match found.first() {
                Some(row) => row.try_get::<&str, _>(0)?.unwrap_or_default(),
                None => {
                    session.batch(&statements::create_user(reader)).await?;
                    reader.name.as_str()
                }
            };
            // The owner of the database may read everything, and cannot become a member of a role (error 15405).
            if user != "dbo" {
                session.batch(&statements::let_read(user)).await?;
            }
            self.connector.keep(session);
            Ok(())
        };
        self.retried("admitting a reader", self.connector.timeout(), admit)
            .await
    }

    /// Runs statements that only affect speed. A failure is logged and has no other effect, so there is only one retry.
    async fn maintain(&self, timeout: Duration, texts: &[String]) {
        for text in texts {
            let text = text.trim_end();
            let work = |mut session: SqlSession| async move {
                session.batch(text).await?;
                self.connector.keep(session);
                Ok(())
            };
            let policy = retry::policy(Duration::ZERO);
            if let Err(error) = self.retried_as(policy, text, timeout, work).await {
                tracing::warn!("{text} failed, which only affects speed: {error}");
                if error.transient {
                    return;
                }
            }
        }
    }
}

/// Returns what an administrator can do about `reader`, which could not be admitted.
fn advice_for_reader(reader: &Reader) -> String {
    format!(
        "choose another NAME in SQL_READERS if another user has it, or sign in as the Microsoft Entra administrator \
         of the server and run: {} {}",
        statements::create_user(reader),
        statements::let_read(&reader.name)
    )
}

/// Reads the row of [`statements::CURRENT_RUN`].
fn stored_run(rows: &[Row]) -> Result<Option<StoredRun>, Error> {
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let parameters = row.try_get::<&str, _>(0)?.unwrap_or_default().to_owned();
    let chunk_orders = integer(row, 1)?.and_then(|number| u32::try_from(number).ok());
    Ok(Some(StoredRun {
        parameters,
        chunk_orders: chunk_orders.unwrap_or(0),
    }))
}

/// Fails if the tables belong to another run by now. `rows` are those of
/// [`statements::CURRENT_RUN`].
fn check_run(rows: &[Row], destination: &str, prepared: &Prepared) -> Result<(), SessionError> {
    match stored_run(rows)? {
        Some(stored) if *stored.parameters == *prepared.stored => Ok(()),
        _ => Err(SessionError::Other(taken_over(destination))),
    }
}

#[async_trait]
impl Database for Mssql {
    fn describe(&self) -> String {
        self.connector.destination().to_owned()
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn retry_for(&self) -> Duration {
        self.connector.timeout() * RETRY_TIMEOUTS
    }

    async fn prepare(&self, run: &Run) -> Result<Prepared, DestinationError> {
        let timeout = self.connector.timeout();
        let set_up = |session| self.set_up(session, run);
        self.retried("setting up the tables", timeout, set_up).await
    }

    async fn admit_readers(&self) {
        let mut given_up: Option<DestinationError> = None;
        for reader in &self.readers {
            let admitted = match &given_up {
                None => self.admit(reader).await,
                Some(error) => Err(error.clone()),
            };
            match admitted {
                Ok(()) => tracing::info!("{} may read the tables", reader.name),
                // The next reader does not wait again for a server that has been unavailable for this long.
                Err(error) if error.transient => {
                    tracing::warn!("{} could not be admitted as a reader: {error}", reader.name);
                    given_up = Some(error);
                }
                Err(error) => {
                    let error = error.advise(advice_for_reader(reader));
                    tracing::warn!("{} could not be admitted as a reader: {error}", reader.name);
                }
            }
        }
    }

    async fn loaded(&self, prepared: &Prepared, chunks: Range<u64>) -> Result<ChunkSet, DestinationError> {
        let [first, end] = [chunks.start, chunks.end].map(number);
        let read = |mut session: SqlSession| async move {
            let mut loaded = ChunkSet::default();
            let run = session
                .each(statements::CHUNKS, &[&first, &end], |chunk| {
                    loaded.push(chunk as u64);
                })
                .await?;
            check_run(&run, self.connector.destination(), prepared)?;
            self.connector.keep(session);
            Ok(loaded)
        };
        self.retried("reading the progress", self.connector.timeout(), read)
            .await
    }

    async fn begin(&self) {
        let texts = [statements::escalate_locks(false)];
        self.maintain(self.connector.timeout(), &texts).await;
    }

    async fn connect(&self, prepared: &Prepared) -> Result<Box<dyn Connection>, DestinationError> {
        let connected = self.connector.session(self.connector.timeout()).await;
        let session = connected.map_err(|error| self.connector.describe(error))?;
        Ok(Box::new(MssqlLoader {
            connector: self.connector.clone(),
            session: Some(session),
            prepared: prepared.clone(),
        }))
    }

    async fn tally(&self, prepared: &Prepared) -> Result<Option<Tally>, DestinationError> {
        let read = |mut session: SqlSession| async move {
            let rows = match session.rows(statements::TALLY, &[]).await {
                // Where readers wait for writers, this means that another process has a chunk in progress and does not
                // finish it.
                Err(Error::Server(error)) if error.code() == LOCK_TIMEOUT => return Ok(None),
                result => result?,
            };
            let (sums, run) = rows.split_at(1.min(rows.len()));
            check_run(run, self.connector.destination(), prepared)?;
            let sum = |index| sums.first().map_or(Ok(None), |row| integer(row, index));
            let tally = Tally {
                chunks: sum(0)?.unwrap_or(0) as u64,
                rows: sum(1)?.unwrap_or(0) as u64,
            };
            self.connector.keep(session);
            Ok(Some(tally))
        };
        self.retried("reading the progress", self.connector.timeout(), read)
            .await
    }

    async fn count_rows(&self, prepared: &Prepared) -> Result<Vec<u64>, DestinationError> {
        let text = &statements::count();
        let count = |mut session: SqlSession| async move {
            let rows = session.rows(text, &[]).await?;
            let (counts, run) = rows.split_at(TABLES.len().min(rows.len()));
            check_run(run, self.connector.destination(), prepared)?;
            let counts = counts.iter().map(|row| Ok(integer(row, 0)?.unwrap_or(0) as u64));
            let counts = counts.collect::<Result<_, Error>>()?;
            self.connector.keep(session);
            Ok(counts)
        };
        self.retried("counting rows", self.connector.timeout() * LONG_REQUEST, count)
            .await
    }

    async fn finish(&self) {
        // There are two batches, because a server that refuses the first may accept the second.
        let texts = [statements::escalate_locks(true), statements::update_statistics()];
        let timeout = self.connector.timeout() * LONG_REQUEST;
        self.maintain(timeout, &texts).await;
    }

    async fn has_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
    ) -> Result<bool, DestinationError> {
        let (index, count) = (i64::from(shard.index), i64::from(shard.count));
        let read = |mut session: SqlSession| async move {
            let rows = session
                .rows(statements::MANIFEST, &[&kind, &index, &count])
                .await?;
            let (found, run) = rows.split_at(1.min(rows.len()));
            check_run(run, self.connector.destination(), prepared)?;
            let found = found.first().map_or(Ok(None), |row| integer(row, 0))?;
            self.connector.keep(session);
            Ok(found.is_some_and(|manifests| manifests > 0))
        };
        self.retried("looking for the manifest", self.connector.timeout(), read)
            .await
    }

    async fn write_manifest(
        &self,
        prepared: &Prepared,
        kind: &str,
        shard: Shard,
        manifest: &str,
    ) -> Result<(), DestinationError> {
        let (index, count) = (i64::from(shard.index), i64::from(shard.count));
        let write = |mut session: SqlSession| async move {
            session.batch(statements::BEGIN).await?;
            let parameters: [&dyn ToSql; 4] = [&kind, &index, &count, &manifest];
            let rows = session.rows(statements::REPLACE_MANIFEST, &parameters).await?;
            check_run(&rows, self.connector.destination(), prepared)?;
            session.batch(statements::COMMIT).await?;
            self.connector.keep(session);
            Ok(())
        };
        self.retried("writing the manifest", self.connector.timeout(), write)
            .await
    }
}

/// Returns a chunk's number as a `bigint`.
fn number(chunk: u64) -> i64 {
    i64::try_from(chunk).expect("chunks are fewer than orders")
}

/// Loads chunks over one session.
struct MssqlLoader {
    connector: Arc<Connector>,
    /// `None` after an error.
    session: Option<SqlSession>,
    prepared: Prepared,
}

impl MssqlLoader {
    /// Loads a chunk. Returns the session for the next one.
    async fn try_load(&self, mut session: SqlSession, chunk: &Chunk) -> Result<SqlSession, SessionError> {
        let (number, rows) = (number(chunk.number), chunk.row_count() as i64);
        match session.rows(&statements::claim_chunk(number, rows), &[]).await {
            Ok(rows) => self.check_run(&rows)?,
            Err(Error::Server(error)) if error.code() == DUPLICATE_KEY => {
                return self.check_loaded(number, rows).await;
            }
            Err(error) => return Err(error.into()),
        }
        let orders = session.bulk(&ORDERS, chunk.order_rows()).await?;
        self.check_count(&ORDERS, orders, chunk.totals.orders)?;
        let items = session.bulk(&ITEMS, chunk.item_rows()).await?;
        self.check_count(&ITEMS, items, chunk.totals.items)?;
        session.batch(statements::COMMIT).await?;
        Ok(session)
    }

    /// Compares the number of rows that the server reports for a bulk load. If it reports none, the count of all rows
    /// at the end of the run decides.
    fn check_count(&self, table: &Table, reported: u64, sent: u64) -> Result<(), SessionError> {
        if reported == 0 || reported == sent {
            return Ok(());
        }
        let problem = format!(
            "dbo.{} took {reported} of {sent} rows without an error",
            table.name
        );
        Err(self.permanent(&problem, "nothing of this chunk is loaded; run again"))
    }

    /// Checks, over another session, a chunk that an earlier attempt or another process has loaded. Returns that
    /// session.
    async fn check_loaded(&self, chunk: i64, rows: i64) -> Result<SqlSession, SessionError> {
        let mut session = self.connector.session(self.connector.timeout()).await?;
        let found = session.rows(statements::CHUNK, &[&chunk]).await?;
        self.check_run(&session.rows(statements::CURRENT_RUN, &[]).await?)?;
        match found.first().map(|row| integer(row, 0)).transpose()?.flatten() {
            Some(found) if found == rows => {
                tracing::debug!(chunk, "was loaded already");
                Ok(session)
            }
            Some(found) => Err(self.permanent(
                &format!("chunk {chunk} is loaded with {found} rows instead of {rows}"),
                "drop the tables and run again",
            )),
            None => Err(SessionError::Other(DestinationError::transient(
                self.connector.destination(),
                format!("the progress row of chunk {chunk} appeared and disappeared"),
            ))),
        }
    }

    fn check_run(&self, rows: &[Row]) -> Result<(), SessionError> {
        check_run(rows, self.connector.destination(), &self.prepared)
    }

    fn permanent(&self, problem: &str, advice: &str) -> SessionError {
        SessionError::Other(DestinationError::permanent(self.connector.destination(), problem).advise(advice))
    }
}

#[async_trait]
impl Connection for MssqlLoader {
    async fn load(&mut self, chunk: &Arc<Chunk>) -> Result<(), DestinationError> {
        let session = self.session.take().expect("it is not used after an error");
        let loaded = self.try_load(session, chunk).await;
        self.session = Some(loaded.map_err(|error| self.connector.describe(error))?);
        Ok(())
    }
}

/// Gives the session back for the requests after the last chunk.
impl Drop for MssqlLoader {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.connector.keep(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::MsSqlDialect;
    use sqlparser::parser::Parser;

    use super::statements;

    /// With STATEMENTS_FILE set, the test also writes the texts to that file, one per line, for parsers in other
    /// languages.
    #[test]
    fn every_statement_is_t_sql_to_an_independent_parser() {
        let texts = statements::all();
        assert!(texts.len() > 15, "{}", texts.len());
        // What sqlparser 0.63 does not support of T-SQL: these three statements, and that EXEC may assign the result of
        // a procedure.
        let unknown = |text: &str| {
            ["UPDATE STATISTICS ", "CREATE USER "]
                .iter()
                .any(|start| text.starts_with(start))
                || text.contains(" SET (LOCK_ESCALATION = ")
        };
        for text in texts.iter().filter(|text| !unknown(text)) {
            let text = text.replace("EXEC @result = ", "EXEC ");
            let parsed = Parser::parse_sql(&MsSqlDialect {}, &text);
            assert!(
                parsed.as_ref().is_ok_and(|statements| !statements.is_empty()),
                "{text}: {parsed:?}"
            );
        }
        if let Some(path) = std::env::var_os("STATEMENTS_FILE") {
            std::fs::write(path, texts.join("\n")).expect("STATEMENTS_FILE can be written");
        }
    }
}

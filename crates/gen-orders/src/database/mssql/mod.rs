//! Azure SQL or SQL Server as the database, over TDS by tiberius.
//!
//! - A chunk is one transaction: its progress row first, then its rows by `INSERT BULK`, table by table.
//!   The progress row is the claim: whoever comes second with the same chunk waits for the first and then
//!   gets error 2627. So a chunk whose COMMIT was cut off, with an unknown outcome, is simply sent again
//!   over a new connection: either nothing is there yet, or its progress row says that all of it is.
//! - What is claimed is claimed for a run: the transaction reads which run the tables belong to after its
//!   first row is in, and nobody can drop the tables between that and its end.
//! - After any error the session is dropped: a bulk load that broke off leaves a connection in a state that
//!   no request survives, and the server rolls back what was open.
//! - The tables are set up in one transaction under an application lock, so shards may start at once.
//! - Every answer has to come within SQL_TIMEOUT. What may pass is tried again, with growing pauses, until
//!   five times as long has gone by since it first failed.

mod errors;
mod session;
mod statements;

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use datagen_core::error::DestinationError;
use datagen_core::shard::Shard;
use tiberius::error::Error;

use self::errors::{DUPLICATE_KEY, LOCK_TIMEOUT, is_doubtful};
use self::session::{Connector, Fault, Session, integer};
use super::{Batch, ChunkSet, Connection, Database, Run, Table, Tally, taken_over};
use crate::config::SqlServer;
use crate::retry::Retries;

/// How many times SQL_TIMEOUT a failing request is repeated for.
const PATIENCE: u32 = 5;

/// How many times SQL_TIMEOUT counting all rows of a table, or gathering statistics of them, may take.
const LONG_REQUEST: u32 = 10;

/// A database on a SQL Server.
#[derive(Debug)]
pub struct Mssql {
    connector: Arc<Connector>,
    connections: usize,
    /// Whether a login has ever succeeded: then the address and the names are right.
    logged_in: AtomicBool,
    /// The parameters of the run that the tables were prepared for.
    parameters: OnceLock<Arc<str>>,
}

impl Mssql {
    /// The database that `server` describes. Finds out how to sign in and connects later.
    ///
    /// # Errors
    /// If there is no way to sign in.
    pub async fn open(server: &SqlServer) -> Result<Self, DestinationError> {
        Ok(Self {
            connector: Arc::new(Connector::new(server).await?),
            connections: server.connections as usize,
            logged_in: AtomicBool::new(false),
            parameters: OnceLock::new(),
        })
    }

    /// The parameters of the run that the tables were prepared for.
    fn parameters(&self) -> &Arc<str> {
        self.parameters.get().expect("prepare comes first")
    }

    /// Runs `work` with a session, and again with a new one as long as its failure may pass.
    async fn retried<T, W, F>(&self, what: &str, timeout: Duration, work: W) -> Result<T, DestinationError>
    where
        W: Fn(Session) -> F,
        F: Future<Output = Result<T, Fault>>,
    {
        let retries = Retries::new(self.retry_for());
        self.retried_as(retries, what, timeout, work).await
    }

    /// As [`Self::retried`], as often as `retries` allow.
    async fn retried_as<T, W, F>(
        &self,
        mut retries: Retries,
        what: &str,
        timeout: Duration,
        work: W,
    ) -> Result<T, DestinationError>
    where
        W: Fn(Session) -> F,
        F: Future<Output = Result<T, Fault>>,
    {
        let mut doubts = Retries::new(self.connector.timeout() / 2);
        loop {
            let result = async {
                let session = self.connector.connect(timeout).await?;
                self.logged_in.store(true, Ordering::Relaxed);
                work(session).await
            };
            let fault = match result.await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            let doubtful = matches!(&fault, Fault::Server(error) if is_doubtful(error));
            let retries = if doubtful && !self.logged_in.load(Ordering::Relaxed) {
                &mut doubts
            } else {
                &mut retries
            };
            let error = self.connector.describe(fault);
            match retries.pause(&error) {
                Some(pause) => {
                    tracing::warn!("{what} again in {pause:.1?}: {error}");
                    tokio::time::sleep(pause).await;
                }
                None => return Err(error),
            }
        }
    }

    /// Creates the tables, or finds those of the same run.
    async fn set_up(&self, mut session: Session, run: &Run) -> Result<u32, Fault> {
        let permanent = |problem: String, advice: &str| {
            Fault::Other(DestinationError::permanent(self.describe(), problem).advise(advice))
        };
        session.batch(statements::BEGIN).await?;
        let patience = self.connector.timeout().as_millis() / 2;
        if session
            .number(&statements::lock_schema(patience))
            .await?
            .is_none_or(|result| result < 0)
        {
            let problem = "another process is setting the tables up and does not finish";
            return Err(Fault::Other(DestinationError::transient(
                self.describe(),
                problem,
            )));
        }
        let names: Vec<&str> = run
            .tables
            .iter()
            .map(|table| table.name)
            .chain(statements::own_tables())
            .collect();
        let rows = session.rows(&statements::existing(&names), &[]).await?;
        let found = rows.iter().map(|row| row.try_get::<&str, _>(0));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        // The server found them by its own rules; as a rule these do not tell capitals from small letters.
        let exists = |name: &str| {
            let mut found = found.iter().flatten();
            found.any(|found| found.eq_ignore_ascii_case(name))
        };
        if names.iter().all(|name| exists(name))
            && let Some(row) = session.rows(statements::CURRENT_RUN, &[]).await?.first()
            && row.try_get::<&str, _>(0)? == Some(run.parameters.as_str())
        {
            let chunk_orders = integer(row, 1)?
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n > 0);
            session.batch(statements::COMMIT).await?;
            return chunk_orders.ok_or_else(|| {
                permanent(
                    "dbo._datagen_run has no valid chunk_orders".into(),
                    "drop dbo._datagen_run",
                )
            });
        }
        // Without a run of ours the tables are somebody else's, and full ones are not for us to drop.
        if !exists("_datagen_run") {
            for table in run.tables.iter().filter(|table| exists(table.name)) {
                if !session
                    .rows(&statements::any_row(table.name), &[])
                    .await?
                    .is_empty()
                {
                    return Err(permanent(
                        format!(
                            "the table dbo.{} is there with rows that gen-orders did not write",
                            table.name
                        ),
                        "drop it, or give another database",
                    ));
                }
            }
        }
        for text in statements::create_anew(run.tables, exists) {
            session.batch(&text).await?;
        }
        let chunk_orders = i32::try_from(run.chunk_orders).expect("SQL_CHUNK is at most 100000");
        session
            .execute(statements::INSERT_RUN, &[&run.parameters.as_str(), &chunk_orders])
            .await?;
        session.batch(statements::COMMIT).await?;
        Ok(run.chunk_orders)
    }

    /// Runs statements that only make things faster. Their failure is told and changes nothing, so they get a
    /// second attempt and no more.
    async fn maintain(&self, timeout: Duration, texts: impl Iterator<Item = String>) {
        for text in texts {
            let text = text.as_str();
            let work = |mut session: Session| async move { Ok(session.batch(text).await?) };
            let retries = Retries::new(Duration::ZERO);
            if let Err(error) = self.retried_as(retries, text, timeout, work).await {
                tracing::warn!("{text} failed, which costs speed and nothing else: {error}");
                if error.transient {
                    return;
                }
            }
        }
    }
}

/// Fails if the tables do not belong to the run of these parameters any more.
async fn check_run(session: &mut Session, destination: &str, parameters: &str) -> Result<(), Fault> {
    let rows = session.rows(statements::CURRENT_RUN, &[]).await?;
    let found = rows.first().map(|row| row.try_get::<&str, _>(0)).transpose()?;
    if found.flatten() == Some(parameters) {
        Ok(())
    } else {
        Err(Fault::Other(taken_over(destination)))
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
        self.connector.timeout() * PATIENCE
    }

    async fn prepare(&self, run: &Run) -> Result<u32, DestinationError> {
        let timeout = self.connector.timeout();
        let chunk_orders = self
            .retried("setting the tables up", timeout, |session| {
                self.set_up(session, run)
            })
            .await?;
        self.parameters.get_or_init(|| run.parameters.as_str().into());
        Ok(chunk_orders)
    }

    async fn loaded(&self, chunks: Range<u64>) -> Result<ChunkSet, DestinationError> {
        let [first, end] = [chunks.start, chunks.end].map(number);
        let read = |mut session: Session| async move {
            let mut loaded = ChunkSet::default();
            session
                .each(statements::CHUNKS, &[&first, &end], |chunk| {
                    loaded.push(chunk as u64);
                })
                .await?;
            Ok(loaded)
        };
        self.retried("reading the progress", self.connector.timeout(), read)
            .await
    }

    async fn begin(&self, tables: &[&'static Table]) {
        let texts = tables
            .iter()
            .map(|table| statements::escalate_locks(table.name, false));
        self.maintain(self.connector.timeout(), texts).await;
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, DestinationError> {
        let parameters = self.parameters().clone();
        let connected = self.connector.connect(self.connector.timeout()).await;
        let session = connected.map_err(|fault| self.connector.describe(fault))?;
        Ok(Box::new(Loader {
            connector: self.connector.clone(),
            session,
            parameters,
        }))
    }

    async fn tally(&self) -> Result<Option<Tally>, DestinationError> {
        let read = |mut session: Session| async move {
            let rows = match session.rows(statements::TALLY, &[]).await {
                // Where readers wait for writers, this is a chunk that another process does not finish.
                Err(Error::Server(error)) if error.code() == LOCK_TIMEOUT => return Ok(None),
                result => result?,
            };
            let sum = |index| rows.first().map_or(Ok(None), |row| integer(row, index));
            Ok(Some(Tally {
                chunks: sum(0)?.unwrap_or(0) as u64,
                rows: sum(1)?.unwrap_or(0) as u64,
            }))
        };
        self.retried("reading the progress", self.connector.timeout(), read)
            .await
    }

    async fn count_rows(&self, tables: &[&'static Table]) -> Result<Vec<u64>, DestinationError> {
        let count = |mut session: Session| async move {
            let mut rows = Vec::with_capacity(tables.len());
            for table in tables {
                let found = session.number(&statements::count(table.name)).await?;
                rows.push(found.unwrap_or(0) as u64);
            }
            // Afterwards: what is ours still was ours when it was counted.
            check_run(&mut session, self.connector.destination(), self.parameters()).await?;
            Ok(rows)
        };
        self.retried("counting rows", self.connector.timeout() * LONG_REQUEST, count)
            .await
    }

    async fn finish(&self, tables: &[&'static Table]) {
        let texts = tables.iter().flat_map(|table| {
            [
                statements::escalate_locks(table.name, true),
                statements::update_statistics(table.name),
            ]
        });
        let timeout = self.connector.timeout() * LONG_REQUEST;
        self.maintain(timeout, texts).await;
    }

    async fn has_manifest(&self, kind: &str, shard: Shard) -> Result<bool, DestinationError> {
        let (index, count) = (i64::from(shard.index), i64::from(shard.count));
        let read = |mut session: Session| async move {
            let found = session
                .rows(statements::MANIFEST, &[&kind, &index, &count])
                .await?;
            Ok(!found.is_empty())
        };
        self.retried("looking for the manifest", self.connector.timeout(), read)
            .await
    }

    async fn write_manifest(&self, kind: &str, shard: Shard, manifest: &str) -> Result<(), DestinationError> {
        let (index, count) = (i64::from(shard.index), i64::from(shard.count));
        let write = |mut session: Session| async move {
            session.batch(statements::BEGIN).await?;
            session
                .execute(statements::DELETE_MANIFEST, &[&kind, &index, &count])
                .await?;
            session
                .execute(statements::INSERT_MANIFEST, &[&kind, &index, &count, &manifest])
                .await?;
            check_run(&mut session, self.connector.destination(), self.parameters()).await?;
            session.batch(statements::COMMIT).await?;
            Ok(())
        };
        self.retried("writing the manifest", self.connector.timeout(), write)
            .await
    }
}

/// A chunk's number as a `bigint`.
fn number(chunk: u64) -> i64 {
    i64::try_from(chunk).expect("chunks are fewer than orders")
}

/// Loads chunks over one session.
struct Loader {
    connector: Arc<Connector>,
    session: Session,
    parameters: Arc<str>,
}

impl Loader {
    async fn try_load(&mut self, chunk: u64, batches: &[Batch]) -> Result<(), Fault> {
        let number = number(chunk);
        let rows = batches.iter().map(|batch| batch.rows() as i64).sum::<i64>();
        self.session.batch(statements::BEGIN).await?;
        let claimed = self
            .session
            .execute(statements::INSERT_CHUNK, &[&number, &rows])
            .await;
        match claimed {
            Ok(_) => self.check_run().await?,
            Err(Error::Server(error)) if error.code() == DUPLICATE_KEY => {
                return self.check_loaded(number, rows).await;
            }
            Err(error) => return Err(error.into()),
        }
        for batch in batches {
            let table = format!("dbo.{}", batch.table.name);
            let taken = self.session.bulk(&table, batch).await?;
            // A server that does not say is judged by the count of all rows at the end.
            if taken != 0 && taken != batch.rows() as u64 {
                let problem = format!("{table} took {taken} of {} rows without an error", batch.rows());
                return Err(self.permanent(&problem, "nothing of this chunk is in; run again"));
            }
        }
        Ok(self.session.batch(statements::COMMIT).await?)
    }

    /// An earlier attempt, or somebody else, has loaded this chunk: makes sure.
    async fn check_loaded(&mut self, chunk: i64, rows: i64) -> Result<(), Fault> {
        self.session = self.connector.connect(self.connector.timeout()).await?;
        let found = self.session.rows(statements::CHUNK, &[&chunk]).await?;
        self.check_run().await?;
        match found.first().map(|row| integer(row, 0)).transpose()?.flatten() {
            Some(found) if found == rows => {
                tracing::debug!(chunk, "was in already");
                Ok(())
            }
            Some(found) => Err(self.permanent(
                &format!("chunk {chunk} is in with {found} rows instead of {rows}"),
                "drop the tables and run again",
            )),
            None => Err(Fault::Other(DestinationError::transient(
                self.connector.destination(),
                format!("the progress row of chunk {chunk} came and went"),
            ))),
        }
    }

    async fn check_run(&mut self) -> Result<(), Fault> {
        check_run(&mut self.session, self.connector.destination(), &self.parameters).await
    }

    fn permanent(&self, problem: &str, advice: &str) -> Fault {
        Fault::Other(DestinationError::permanent(self.connector.destination(), problem).advise(advice))
    }
}

#[async_trait]
impl Connection for Loader {
    async fn load(&mut self, chunk: u64, batches: &[Batch]) -> Result<(), DestinationError> {
        let result = self.try_load(chunk, batches).await;
        result.map_err(|fault| self.connector.describe(fault))
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::MsSqlDialect;
    use sqlparser::parser::Parser;

    use super::statements;
    use crate::rows::{ITEMS, ORDERS};

    /// With STATEMENTS_FILE set it also leaves the texts there, one a line, for parsers of other languages.
    #[test]
    fn every_statement_is_t_sql_to_an_independent_parser() {
        let texts = statements::all(&[&ORDERS, &ITEMS]);
        assert!(texts.len() > 30, "{}", texts.len());
        // What sqlparser 0.63 does not know of T-SQL: these two statements, and that EXEC may assign the
        // result of a procedure.
        let unknown =
            |text: &str| text.starts_with("UPDATE STATISTICS ") || text.contains(" SET (LOCK_ESCALATION = ");
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

//! Connections to a SQL Server: sign-in, batches, bulk loads. A session is reused for the next request, because setting
//! one up takes many round trips; after an error, it is dropped.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use datagen_azure::entra::{EntraCredential, EntraError, SQL_SCOPE};
use datagen_process::error::DestinationError;
use futures_util::TryStreamExt;
use tiberius::error::Error;
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, Row, ToSql, TokenRow};
use tokio::net::{TcpStream, lookup_host};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::errors::{describe, timed_out, unresolved};
use super::statements;
use crate::config::SqlServer;
use crate::rows::{SqlValue, Table};

/// The largest packet of TDS (MS-TDS 2.2.3.1.3); servers may choose a smaller one.
const PACKET_SIZE: u32 = 32767;

/// How long setting up a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle session is kept: gateways and firewalls drop connections that are idle for longer.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// How often a login may be redirected; Azure SQL does it once.
const MAX_ROUTES: usize = 4;

/// Opens sessions on one database.
#[derive(Debug)]
pub(super) struct Connector {
    server: SqlServer,
    destination: String,
    credential: Option<EntraCredential>,
    /// The server to which the last login was redirected, so that the log names it once.
    routed: Mutex<Option<String>>,
    /// Sessions that are ready for the next request, the latest last.
    idle: Mutex<Vec<(Instant, SqlSession)>>,
}

#[derive(Debug)]
pub(super) enum SessionError {
    /// An error of the server or of the connection to it.
    Server(Error),
    /// Any other error, which is described already.
    Other(DestinationError),
}

impl From<Error> for SessionError {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl Connector {
    /// Determines how to sign in, without connecting.
    pub(super) async fn new(server: &SqlServer) -> Result<Self, DestinationError> {
        let destination = format!("{}/{}", server.host, server.database);
        let credential = match server.login {
            Some(_) => None,
            None => {
                let credential = EntraCredential::from_env().await;
                Some(credential.map_err(|error| sign_in_failed(&destination, error))?)
            }
        };
        Ok(Self {
            server: server.clone(),
            destination,
            credential,
            routed: Mutex::default(),
            idle: Mutex::default(),
        })
    }

    /// Returns `server/database`, for messages.
    pub(super) fn destination(&self) -> &str {
        &self.destination
    }

    /// Returns the one line about an error.
    pub(super) fn describe(&self, error: SessionError) -> DestinationError {
        match error {
            SessionError::Server(error) => describe(&self.destination, error, self.credential.is_some()),
            SessionError::Other(error) => error,
        }
    }

    /// Returns how long a response may take.
    pub(super) fn timeout(&self) -> Duration {
        self.server.timeout
    }

    async fn authentication(&self) -> Result<AuthMethod, SessionError> {
        match (&self.server.login, &self.credential) {
            (Some((user, password)), _) => Ok(AuthMethod::sql_server(user, password.expose())),
            (None, Some(credential)) => {
                // The sign-in has a separate limit and separate retries.
                match credential.token(SQL_SCOPE).await {
                    Ok(token) => Ok(AuthMethod::aad_token(token.secret())),
                    Err(error) => Err(SessionError::Other(sign_in_failed(&self.destination, error))),
                }
            }
            (None, None) => unreachable!("without a login there is a credential"),
        }
    }

    /// Returns a session whose responses may take `timeout`: an idle one, or a new one.
    pub(super) async fn session(&self, timeout: Duration) -> Result<SqlSession, SessionError> {
        match self.idle_session(timeout) {
            Some(session) => Ok(session),
            None => self.connect(timeout).await,
        }
    }

    fn idle_session(&self, timeout: Duration) -> Option<SqlSession> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, _)| since.elapsed() < MAX_IDLE);
        let index = idle.iter().rposition(|(_, session)| session.timeout == timeout)?;
        Some(idle.remove(index).1)
    }

    /// Keeps a session for the next request. Its last request must have succeeded, and no transaction may be open.
    pub(super) fn keep(&self, session: SqlSession) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((Instant::now(), session));
    }

    /// Logs in, following redirects. A response may take `timeout`.
    async fn connect(&self, timeout: Duration) -> Result<SqlSession, SessionError> {
        let mut host = self.server.host.clone();
        let mut port = self.server.port;
        for _ in 0..MAX_ROUTES {
            let mut config = Config::new();
            // The certificate is checked against the name of the server to which the login was redirected.
            config.host(&host);
            config.port(port);
            config.database(&self.server.database);
            config.application_name("gen-orders");
            config.authentication(self.authentication().await?);
            config.encryption(EncryptionLevel::Required);
            config.packet_size(PACKET_SIZE);
            config.handshake_timeout(Some(self.server.timeout));
            config.command_timeout(Some(timeout));
            if self.server.trust_certificate {
                config.trust_cert();
            } else if !has_native_authorities() {
                // An image built from scratch has no certificate store.
                config.trust_webpki_roots();
            }
            let limit = CONNECT_TIMEOUT.min(self.server.timeout);
            let address = (host.as_str(), port);
            let tcp = within(limit, async {
                let addresses = lookup_host(address).await.map_err(|error| unresolved(&error))?;
                let addresses: Vec<_> = addresses.collect();
                TcpStream::connect(&*addresses).await.map_err(Error::from)
            })
            .await?;
            tcp.set_nodelay(true).map_err(Error::from)?;
            match Client::connect(config, tcp.compat_write()).await {
                Ok(client) => {
                    let mut session = SqlSession { client, timeout };
                    // Half of the client's timeout, so that the server reports the lock first.
                    session
                        .batch(&statements::session(timeout.as_millis() / 2))
                        .await?;
                    return Ok(session);
                }
                Err(Error::Routing {
                    host: next,
                    port: next_port,
                }) => {
                    let mut routed = self.routed.lock().expect("nothing panics with it");
                    if routed.as_ref() != Some(&next) {
                        tracing::info!(server = %next, port = next_port, "the login is redirected");
                        *routed = Some(next.clone());
                    }
                    (host, port) = (next, next_port);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Routing { host, port }.into())
    }
}

fn sign_in_failed(destination: &str, error: EntraError) -> DestinationError {
    DestinationError::permanent(destination, error.to_string())
        .advise("alternatively, set SQL_USER and SQL_PASSWORD")
        .caused_by(error)
}

/// Returns whether this machine has a store of certificate authorities.
fn has_native_authorities() -> bool {
    static FOUND: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| !rustls_native_certs::load_native_certs().certs.is_empty())
}

/// Runs `work`, but no longer than `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(timed_out(limit)))
}

/// A connection that is logged in.
pub(super) struct SqlSession {
    client: Client<Compat<TcpStream>>,
    timeout: Duration,
}

impl fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl SqlSession {
    /// Runs a batch and drops what it returns.
    pub(super) async fn batch(&mut self, text: &str) -> Result<(), Error> {
        within(self.timeout * 2, async {
            self.client
                .simple_query(text)
                .await?
                .into_results()
                .await
                .map(drop)
        })
        .await
    }

    /// Runs statements, with or without parameters, and takes the rows of all their results.
    pub(super) async fn rows(&mut self, text: &str, parameters: &[&dyn ToSql]) -> Result<Vec<Row>, Error> {
        within(self.timeout * 2, async {
            let results = if parameters.is_empty() {
                self.client.simple_query(text).await?.into_results().await?
            } else {
                self.client.query(text, parameters).await?.into_results().await?
            };
            Ok(results.into_iter().flatten().collect())
        })
        .await
    }

    /// Runs statements with parameters. Each row of the first begins with an integer, which is passed to `take`; the
    /// rows of the others are returned.
    pub(super) async fn each(
        &mut self,
        text: &str,
        parameters: &[&dyn ToSql],
        mut take: impl FnMut(i64),
    ) -> Result<Vec<Row>, Error> {
        within(self.timeout * 2, async {
            let mut rows = self.client.query(text, parameters).await?.into_row_stream();
            let mut others = Vec::new();
            while let Some(row) = rows.try_next().await? {
                match row.result_index() {
                    0 => integer(&row, 0)?.into_iter().for_each(&mut take),
                    _ => others.push(row),
                }
            }
            Ok(others)
        })
        .await
    }

    /// Loads rows via `INSERT BULK`. Returns the number of rows that the server reports; 0 if it reports none. The rows
    /// are in the order of the primary key, but without an ORDER hint: it would save the server a sort of one chunk in
    /// memory, and not every server that speaks TDS accepts it.
    pub(super) async fn bulk<const N: usize>(
        &mut self,
        table: &Table,
        rows: impl Iterator<Item = [SqlValue; N]>,
    ) -> Result<u64, Error> {
        let name = format!("dbo.{}", table.name);
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        // tiberius limits the wait for responses only; this also limits the wait for a server that stops reading.
        within(self.timeout * 4, async {
            let mut bulk = self.client.bulk_insert_columns(&name, &columns).await?;
            for values in rows {
                let mut row = TokenRow::with_capacity(N);
                for value in values {
                    row.push(match value {
                        SqlValue::Int(value) => ColumnData::I32(Some(value)),
                        SqlValue::Float(value) => ColumnData::F64(Some(value)),
                        SqlValue::DateTime(seconds) => ColumnData::DateTime(Some(datetime(seconds))),
                    });
                }
                bulk.send(row).await?;
            }
            // Without this no row is stored.
            Ok(bulk.finalize().await?.total())
        })
        .await
    }
}

/// Returns an integer column of any width; `None` for NULL.
pub(super) fn integer(row: &Row, index: usize) -> Result<Option<i64>, Error> {
    match row.try_get::<i64, _>(index) {
        Ok(value) => Ok(value),
        Err(_) => Ok(row.try_get::<i32, _>(index)?.map(i64::from)),
    }
}

/// Converts a number of seconds since 1970-01-01 00:00:00 to SQL Server's `datetime`: days since 1900-01-01 and ticks
/// of 1/300 s. (`chrono`'s types would be sent as `datetime2`, which a bulk load does not convert.)
fn datetime(seconds: i64) -> tiberius::time::DateTime {
    /// Days from 1900-01-01 to 1970-01-01.
    const EPOCH: i64 = 25_567;
    let days = seconds.div_euclid(86_400) + EPOCH;
    let ticks = seconds.rem_euclid(86_400) * 300;
    tiberius::time::DateTime::new(
        i32::try_from(days).expect("years have four digits"),
        u32::try_from(ticks).expect("a day has 25 920 000 ticks"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_before_and_after_both_epochs() {
        let check = |seconds, days, ticks| {
            assert_eq!(
                datetime(seconds),
                tiberius::time::DateTime::new(days, ticks),
                "{seconds}"
            );
        };
        check(0, 25_567, 0);
        check(-1, 25_566, 86_399 * 300);
        check(-2_208_988_800, 0, 0);
        check(-6_847_804_800, -53_690, 0); // 1753-01-01, the first datetime
        check(253_402_300_799, 2_958_463, 86_399 * 300); // 9999-12-31 23:59:59
    }
}

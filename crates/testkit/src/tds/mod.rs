//! A strict TDS 7.4 server with an embedded database and fault injection.
//!
//! It supports what loaders of tables use: PRELOGIN with TLS, LOGIN7 with a password or an Entra ID token, SQL batches,
//! `sp_executesql` and bulk loads. It exists to find mistakes of clients, so a message that MS-TDS does not allow ends
//! the connection and is recorded in [`TdsServer::violations`]; and to inject faults of networks and servers: see
//! [`fault`].
//!
//! It is not SQL Server: it understands only the T-SQL of `sql.rs`, its locks are coarser, and it never detects a
//! deadlock by itself. See `engine.rs`.

mod engine;
pub mod fault;
mod login;
mod session;
mod sql;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::lock;
pub use engine::TestUser;
use engine::{Engine, EngineSession};
pub use fault::{Action, FaultContext, Faults, Point};
pub use wire::{Column, ColumnType, ProtocolError, ServerError, TdsValue};

/// What happens to the rows of bulk loads.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Bulk {
    /// They are decoded, checked and stored.
    #[default]
    Store,
    /// They are decoded and counted, but not stored: a fast server, for measuring clients.
    Count,
}

pub struct TdsOptions {
    pub user: String,
    pub password: String,
    /// An Entra ID token that is also accepted.
    pub token: Option<String>,
    /// The only database.
    pub database: String,
    /// The names in the server's certificate; empty means a server without TLS.
    pub names: Vec<String>,
    /// The largest packet size that the server negotiates, in bytes (512 to 32767).
    pub packet_size: usize,
    /// The delay of every answer.
    pub latency: Duration,
    /// Whether answers contain the number of affected rows; `false` is a server that enforces NOCOUNT ON.
    pub counts: bool,
    pub bulk: Bulk,
    /// The port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    pub faults: Faults,
}

impl Default for TdsOptions {
    fn default() -> Self {
        Self {
            user: "loader".into(),
            password: "Příliš-tajné-1".into(),
            token: None,
            database: "playground".into(),
            names: vec!["localhost".into(), "127.0.0.1".into()],
            packet_size: 32767,
            latency: Duration::ZERO,
            counts: true,
            bulk: Bulk::Store,
            port: 0,
            faults: fault::none(),
        }
    }
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    bulks: AtomicU64,
    faults: AtomicU64,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// TCP connections accepted.
    pub connections: u64,
    /// Batches and procedure calls.
    pub requests: u64,
    /// Bulk loads whose rows were accepted.
    pub bulks: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// The largest number of sessions that had an open transaction at the same time.
    pub most_busy: usize,
}

struct TdsState {
    options: TdsOptions,
    faults: Mutex<Faults>,
    identity: Option<tls::TlsIdentity>,
    engine: Arc<Engine>,
    counters: Counters,
    violations: Mutex<Vec<ProtocolError>>,
}

impl TdsState {
    /// Returns the action that the plan of faults has for an event, if any.
    fn fault(&self, point: Point, sql: &str) -> Option<Action> {
        let action = lock(&self.faults)(&FaultContext { point, sql });
        if action.is_some() {
            self.counters.faults.fetch_add(1, Ordering::Relaxed);
        }
        action
    }
}

/// A running server. Dropping it stops it and cuts its connections.
pub struct TdsServer {
    shared: Arc<TdsState>,
    address: SocketAddr,
    listener: JoinHandle<()>,
}

impl Drop for TdsServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl TdsServer {
    /// Starts a server on 127.0.0.1.
    pub async fn start(mut options: TdsOptions) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(TdsState {
            faults: Mutex::new(std::mem::replace(&mut options.faults, fault::none())),
            identity: (!options.names.is_empty()).then(|| tls::TlsIdentity::new(&options.names)),
            options,
            engine: Arc::new(Engine::new()),
            counters: Counters::default(),
            violations: Mutex::default(),
        });
        let serving = shared.clone();
        let listener = tokio::spawn(async move {
            // The set is dropped together with this task, which ends the connections.
            let mut sessions = tokio::task::JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    continue;
                };
                while sessions.try_join_next().is_some() {}
                let shared = serving.clone();
                shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                sessions.spawn(async move {
                    if let Err(violation) = session::serve(&shared, tcp).await {
                        lock(&shared.violations).push(violation);
                    }
                });
            }
        });
        Ok(Self {
            shared,
            address,
            listener,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the certificate of the authority that a client has to trust, in PEM; empty without TLS.
    pub fn ca_pem(&self) -> &str {
        let identity = self.shared.identity.as_ref();
        identity.map_or("", |identity| &identity.ca_pem)
    }

    /// Sets the faults that are injected from now on.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// Returns the client actions that MS-TDS does not allow. A client's test asserts that there are none.
    pub fn violations(&self) -> Vec<ProtocolError> {
        lock(&self.shared.violations).clone()
    }

    /// Returns the committed rows of a table in the order of its primary key; `None` if it does not exist.
    pub fn rows(&self, table: &str) -> Option<Vec<Vec<TdsValue>>> {
        self.shared.engine.rows(table)
    }

    /// Returns the number of committed rows of a table; `None` if it does not exist.
    pub fn count(&self, table: &str) -> Option<u64> {
        self.shared.engine.count(table)
    }

    /// Returns the users of the database except for those that log in, in the order of their creation.
    pub fn users(&self) -> Vec<TestUser> {
        self.shared.engine.users()
    }

    /// Replaces the users, as an administrator would.
    pub async fn set_users(&self, users: &[TestUser]) {
        self.shared.engine.set_users(users).await;
    }

    /// Executes T-SQL independently of any client to prepare a test. Each statement is committed.
    pub async fn execute(&self, text: &str) -> Result<(), ServerError> {
        EngineSession::new(Arc::clone(&self.shared.engine))
            .batch(text)
            .await
    }

    /// Returns the number of transactions that have not ended.
    pub fn open_transactions(&self) -> usize {
        self.shared.engine.open_transactions()
    }

    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            connections: counters.connections.load(Ordering::Relaxed),
            requests: counters.requests.load(Ordering::Relaxed),
            bulks: counters.bulks.load(Ordering::Relaxed),
            faults: counters.faults.load(Ordering::Relaxed),
            most_busy: self.shared.engine.most_open_transactions(),
        }
    }
}

//! A strict TDS 7.4 server with an embedded database, and faults on demand.
//!
//! It supports what loaders of tables use: PRELOGIN with TLS, LOGIN7 with a password or an Entra ID token, SQL
//! batches, `sp_executesql` and bulk loads. It exists to find a client's mistakes, so a message that MS-TDS does not
//! allow ends the connection and is kept in [`TdsServer::violations`]; and to inject the faults of networks and
//! servers: see [`fault`].
//!
//! It is not SQL Server: it understands the T-SQL of `sql.rs` only, its locks are coarser, and it never detects a
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

/// What becomes of the rows of bulk loads.
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
    /// An Entra ID token that signs in as well.
    pub token: Option<String>,
    /// The only database.
    pub database: String,
    /// Names in the server's certificate; empty means a server without TLS.
    pub names: Vec<String>,
    /// Largest packet that it negotiates, in bytes (512 to 32767).
    pub packet_size: usize,
    /// How long every answer takes.
    pub latency: Duration,
    /// Whether answers say how many rows were affected; `false` is a server that insists on NOCOUNT ON.
    pub counts: bool,
    pub bulk: Bulk,
    /// Port on 127.0.0.1; 0 picks a free one.
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
    /// Bulk loads whose rows were taken.
    pub bulks: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// The most sessions that had a transaction open at one time.
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
    /// Asks the plan of faults about an event.
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
            // The set is dropped with this task, and the connections with it.
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

    /// Certificate of the authority that a client has to trust, in PEM; empty without TLS.
    pub fn ca_pem(&self) -> &str {
        let identity = self.shared.identity.as_ref();
        identity.map_or("", |identity| &identity.ca_pem)
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// What clients did that MS-TDS does not allow. A client's test asserts that this is empty.
    pub fn violations(&self) -> Vec<ProtocolError> {
        lock(&self.shared.violations).clone()
    }

    /// The committed rows of a table in the order of its primary key; `None` if it does not exist.
    pub fn rows(&self, table: &str) -> Option<Vec<Vec<TdsValue>>> {
        self.shared.engine.rows(table)
    }

    /// How many committed rows a table has; `None` if it does not exist.
    pub fn count(&self, table: &str) -> Option<u64> {
        self.shared.engine.count(table)
    }

    /// The users of the database besides those that log in, in the order of their creation.
    pub fn users(&self) -> Vec<TestUser> {
        self.shared.engine.users()
    }

    /// Replaces the users, as an administrator would.
    pub async fn set_users(&self, users: &[TestUser]) {
        self.shared.engine.set_users(users).await;
    }

    /// Runs T-SQL outside of any client, each statement committed, to prepare a test.
    pub async fn execute(&self, text: &str) -> Result<(), ServerError> {
        EngineSession::new(Arc::clone(&self.shared.engine))
            .batch(text)
            .await
    }

    /// Transactions that have not ended.
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

//! A strict TDS 7.4 server with a small database, and faults on demand.
//!
//! It speaks what loaders of tables use: PRELOGIN with TLS, LOGIN7 with a password or an Entra ID
//! token, SQL batches, `sp_executesql`, transaction manager requests and bulk loads. It exists to
//! catch a client's mistakes, so a message that MS-TDS does not allow ends the connection and is kept
//! in [`TdsServer::violations`]; and to be the bad day of a network: see [`fault`].
//!
//! It is no SQL Server: the T-SQL that it knows is in `sql.rs`, its locks are coarser, and it never
//! detects a deadlock by itself.

mod engine;
pub mod fault;
mod login;
mod session;
mod sql;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use engine::Engine;
pub use engine::User;
pub use fault::{Action, Event, Faults, Point};
pub use wire::{Column, ColumnType, ProtocolError, ServerError, Value};

/// What becomes of the rows of bulk loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bulk {
    /// They are decoded, checked and stored.
    #[default]
    Store,
    /// They are decoded and counted, not kept: a fast server, for measuring clients.
    Count,
}

/// How the server is set up.
pub struct Options {
    /// Login name.
    pub user: String,
    /// Its password.
    pub password: String,
    /// An Entra ID token that signs in too.
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
    /// What becomes of bulk rows.
    pub bulk: Bulk,
    /// Port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for Options {
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

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("database", &self.database)
            .field("names", &self.names)
            .field("packet_size", &self.packet_size)
            .field("latency", &self.latency)
            .field("counts", &self.counts)
            .field("bulk", &self.bulk)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// What happened so far.
#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    logins: AtomicU64,
    requests: AtomicU64,
    bulks: AtomicU64,
    commits: AtomicU64,
    faults: AtomicU64,
    /// Sessions with a transaction open, now and at most.
    busy: AtomicUsize,
    most_busy: AtomicUsize,
}

/// A copy of the server's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// TCP connections accepted.
    pub connections: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Batches, procedure calls and transaction manager requests.
    pub requests: u64,
    /// Bulk loads whose rows were stored.
    pub bulks: u64,
    /// Transactions committed by a COMMIT.
    pub commits: u64,
    /// Faults that happened.
    pub faults: u64,
    /// The most sessions that had a transaction open at one time.
    pub most_busy: usize,
}

struct Shared {
    options: Mutex<Options>,
    /// Copies of what never changes, so that a request need not take the options' lock.
    latency: Duration,
    packet_size: usize,
    counts: bool,
    identity: Option<tls::Identity>,
    engine: Mutex<Engine>,
    /// Rung whenever a transaction may have ended.
    ended: Notify,
    counters: Counters,
    violations: Mutex<Vec<ProtocolError>>,
}

impl Shared {
    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine
            .lock()
            .expect("no session panicked inside of the engine")
    }

    /// Asks the plan of faults about an event.
    fn fault(&self, point: Point, connection: u64, sql: &str) -> Option<Action> {
        let mut options = self.options.lock().expect("no fault plan panicked");
        let action = (options.faults)(&Event {
            point,
            connection,
            sql,
        });
        if action.is_some() {
            self.counters.faults.fetch_add(1, Ordering::Relaxed);
        }
        action
    }
}

/// A running server. Dropping it stops it and cuts its connections.
pub struct TdsServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: JoinHandle<()>,
}

impl std::fmt::Debug for TdsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TdsServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for TdsServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl TdsServer {
    /// Starts a server on 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
        let address = listener.local_addr()?;
        let identity = (!options.names.is_empty()).then(|| tls::Identity::new(&options.names));
        let mut engine = Engine::default();
        engine.discard_bulk = options.bulk != Bulk::Store;
        let shared = Arc::new(Shared {
            latency: options.latency,
            packet_size: options.packet_size,
            counts: options.counts,
            options: Mutex::new(options),
            identity,
            engine: Mutex::new(engine),
            ended: Notify::new(),
            counters: Counters::default(),
            violations: Mutex::default(),
        });
        let serving = shared.clone();
        let listener = tokio::spawn(async move {
            // The set goes with this task, and its connections with it.
            let mut sessions = tokio::task::JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    continue;
                };
                while sessions.try_join_next().is_some() {}
                let shared = serving.clone();
                let connection = shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                sessions.spawn(async move {
                    if let Err(violation) = session::serve(&shared, tcp, connection).await {
                        shared.violations.lock().expect("unpoisoned").push(violation);
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Certificate of the authority that a client has to trust, in PEM; empty without TLS.
    pub fn ca_pem(&self) -> &str {
        self.shared
            .identity
            .as_ref()
            .map_or("", |identity| &identity.ca_pem)
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.options.lock().expect("no fault plan panicked").faults = faults;
    }

    /// What clients did that MS-TDS does not allow. A client's test asserts that this is empty.
    pub fn violations(&self) -> Vec<ProtocolError> {
        self.shared.violations.lock().expect("unpoisoned").clone()
    }

    /// The committed rows of a table in the order of its primary key; `None` if it does not exist.
    pub fn rows(&self, table: &str) -> Option<Vec<Vec<Value>>> {
        self.shared.engine().committed(&table.to_lowercase())
    }

    /// How many committed rows a table has; `None` if it does not exist.
    pub fn count(&self, table: &str) -> Option<u64> {
        self.shared.engine().count(&table.to_lowercase())
    }

    /// The users of the database besides those that log in, in the order of their creation.
    pub fn users(&self) -> Vec<User> {
        self.shared.engine().users.clone()
    }

    /// Adds or changes users, as an administrator would.
    pub fn set_users(&self, users: Vec<User>) {
        self.shared.engine().users = users;
    }

    /// Runs T-SQL outside of any client, each statement committed: to prepare a test.
    ///
    /// # Errors
    /// The server's error.
    pub fn execute(&self, text: &str) -> Result<(), ServerError> {
        let mut session = engine::Session::default();
        for statement in sql::parse(text)? {
            self.shared.engine().execute(&mut session, &statement)?;
        }
        self.shared.ended.notify_waiters();
        Ok(())
    }

    /// Transactions that have not ended.
    pub fn open_transactions(&self) -> usize {
        self.shared.engine().open_transactions()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            connections: counters.connections.load(Ordering::Relaxed),
            logins: counters.logins.load(Ordering::Relaxed),
            requests: counters.requests.load(Ordering::Relaxed),
            bulks: counters.bulks.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            faults: counters.faults.load(Ordering::Relaxed),
            most_busy: counters.most_busy.load(Ordering::Relaxed),
        }
    }
}

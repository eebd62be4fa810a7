//! Tables and transactions: what SQL Server would answer to the statements of [`super::sql`]. The tables are stored in
//! a SQLite file.
//!
//! Isolation is READ COMMITTED with row versions, which is Azure SQL's default: readers see what is committed and do
//! not wait for writers. Locks are coarser than SQL Server's: from its first change (or application lock) until its
//! end, a transaction is the only writer; other writers wait as long as their LOCK_TIMEOUT allows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, ffi, params, params_from_iter};
use tokio::sync::OwnedMutexGuard;

use super::sql::{Statement, parse};
use super::wire::{Column, ColumnType, ServerError, TdsValue};

/// Views of the catalog, named by the schema and the name with `_` between them, as the statements of [`super::sql`]
/// do.
const CATALOG: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE sys_database_principals
        (name text UNIQUE COLLATE NOCASE, sid text UNIQUE, type text, reads integer DEFAULT 0);
    CREATE VIEW information_schema_tables AS
        SELECT 'dbo' AS TABLE_SCHEMA, name COLLATE NOCASE AS TABLE_NAME FROM sqlite_schema
        WHERE type = 'table' AND name <> 'sys_database_principals';";

/// `datetime` has 300 ticks per second.
const TICKS_PER_DAY: i64 = 24 * 3600 * 300;

type Result<T, E = ServerError> = std::result::Result<T, E>;

/// A user of the database in addition to those that log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestUser {
    pub name: String,
    /// `0x` and upper-case hexadecimal digits.
    pub sid: String,
    /// `E` for an Entra user or application, `X` for an Entra group.
    pub kind: String,
    /// Whether it is a member of `db_datareader`.
    pub reads: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Nothing,
    Began(u64),
    Committed(u64),
    RolledBack(u64),
    /// The number of affected rows.
    Affected(u64),
    Rows(Vec<Column>, Vec<Vec<TdsValue>>),
    /// The table may now receive rows with these columns.
    Bulk(String, Vec<(String, ColumnType)>),
}

pub(super) struct Engine {
    /// A transaction holds this lock from its first change until its end.
    writer: Arc<tokio::sync::Mutex<Connection>>,
    /// Used by everything that is not part of a writing transaction: it sees what is committed.
    reader: Mutex<Connection>,
    last_transaction: AtomicU64,
    /// The number of sessions with an open transaction, now and at most.
    open: AtomicUsize,
    most_open: AtomicUsize,
    _directory: tempfile::TempDir,
}

impl Engine {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let connect = || {
            let connection = Connection::open(directory.path().join("dbo.db")).expect("a new file");
            // The file is not needed after the process has ended.
            connection
                .execute_batch("PRAGMA synchronous = OFF")
                .expect("a known pragma");
            connection
        };
        let writer = connect();
        writer.execute_batch(CATALOG).expect("valid SQL");
        Self {
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            reader: Mutex::new(connect()),
            last_transaction: AtomicU64::default(),
            open: AtomicUsize::default(),
            most_open: AtomicUsize::default(),
            _directory: directory,
        }
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        crate::lock(&self.reader)
    }

    /// Returns the committed rows of a table in the order of its primary key; `None` if it does not exist.
    pub(super) fn rows(&self, table: &str) -> Option<Vec<Vec<TdsValue>>> {
        let reader = self.reader();
        columns(&reader, table).ok()?;
        let (_, rows) = select(
            &reader,
            &format!("SELECT * FROM {table}"),
            Some(table),
            &HashMap::new(),
        )
        .expect("the table is there");
        Some(rows)
    }

    pub(super) fn count(&self, table: &str) -> Option<u64> {
        let count = format!("SELECT COUNT(*) FROM {table}");
        let count = self.reader().query_row(&count, [], |row| row.get::<_, i64>(0));
        count.ok().map(|count| count as u64)
    }

    pub(super) fn users(&self) -> Vec<TestUser> {
        let reader = self.reader();
        let mut users = reader
            .prepare("SELECT name, sid, type, reads FROM sys_database_principals ORDER BY rowid")
            .expect("the table is there");
        let users = users.query_map([], |row| {
            Ok(TestUser {
                name: row.get(0)?,
                sid: row.get(1)?,
                kind: row.get(2)?,
                reads: row.get(3)?,
            })
        });
        let users = users.and_then(Iterator::collect);
        users.expect("the columns have these types")
    }

    pub(super) async fn set_users(&self, users: &[TestUser]) {
        let writer = self.writer.lock().await;
        writer
            .execute_batch("DELETE FROM sys_database_principals")
            .expect("the table is there");
        for TestUser {
            name,
            sid,
            kind,
            reads,
        } in users
        {
            let insert = "INSERT INTO sys_database_principals VALUES (?, ?, ?, ?)";
            writer
                .execute(insert, params![name, sid, kind, reads])
                .expect("users differ in name and SID");
        }
    }

    pub(super) fn open_transactions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn most_open_transactions(&self) -> usize {
        self.most_open.load(Ordering::Relaxed)
    }
}

/// The state of one connection. If it is dropped with an open transaction, the transaction is rolled back.
pub(super) struct EngineSession {
    engine: Arc<Engine>,
    transaction: Option<u64>,
    /// The writer lock, once the transaction has acquired it.
    writer: Option<OwnedMutexGuard<Connection>>,
    pub(super) xact_abort: bool,
    /// The value of SET LOCK_TIMEOUT; if it is not set, statements wait for locks without a limit.
    lock_timeout: Option<Duration>,
    /// The variables of the batch, and the parameters.
    pub(super) variables: HashMap<String, TdsValue>,
}

impl Drop for EngineSession {
    fn drop(&mut self) {
        self.end(false);
    }
}

impl EngineSession {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            transaction: None,
            writer: None,
            xact_abort: false,
            lock_timeout: None,
            variables: HashMap::new(),
        }
    }

    /// Returns the descriptor of the open transaction.
    pub(super) fn transaction(&self) -> Option<u64> {
        self.transaction
    }

    pub(super) fn columns(&self, table: &str) -> Result<Vec<Column>> {
        self.read(|connection| columns(connection, table))
    }

    /// Executes a whole batch; its results are dropped.
    pub(super) async fn batch(&mut self, text: &str) -> Result<()> {
        for statement in parse(text)? {
            self.execute(statement).await?;
        }
        Ok(())
    }

    /// Executes a statement. If it fails, its effects are undone, and with XACT_ABORT the transaction is rolled back.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<Outcome> {
        let result = self.try_execute(statement).await;
        if result.is_err() && self.xact_abort {
            self.end(false);
        }
        result
    }

    async fn try_execute(&mut self, statement: Statement) -> Result<Outcome> {
        Ok(match statement {
            Statement::Begin => Outcome::Began(self.begin()?),
            Statement::Commit => {
                Outcome::Committed(self.end(true).ok_or_else(|| no_transaction(3902, "COMMIT"))?)
            }
            Statement::Rollback => {
                Outcome::RolledBack(self.end(false).ok_or_else(|| no_transaction(3903, "ROLLBACK"))?)
            }
            Statement::XactAbort(on) => {
                self.xact_abort = on;
                Outcome::Nothing
            }
            Statement::LockTimeout(timeout) => {
                self.lock_timeout = Some(timeout);
                Outcome::Nothing
            }
            Statement::NoChange => Outcome::Nothing,
            Statement::Declare { variable } => {
                self.variables.insert(variable, TdsValue::Null);
                Outcome::Nothing
            }
            Statement::AppLock { result, timeout } => {
                if self.transaction.is_none() {
                    let problem = "sp_getapplock must be executed in the context of a user transaction.";
                    return Err(ServerError::new(50000, problem));
                }
                let taken = self.take_writer(Some(timeout)).await.is_ok();
                self.variables
                    .insert(result, TdsValue::Int(if taken { 0 } else { -1 }));
                Outcome::Nothing
            }
            Statement::Maintain { table } => {
                self.columns(&table)?;
                Outcome::Nothing
            }
            Statement::CreateUser { name, sid, kind } => {
                self.write(move |connection| create_user(connection, &name, &sid, &kind))
                    .await?;
                Outcome::Nothing
            }
            Statement::AddReader { user } => {
                self.write(move |connection| add_reader(connection, &user))
                    .await?;
                Outcome::Nothing
            }
            Statement::InsertBulk { table, columns: sent } => {
                let stored = self.columns(&table)?;
                check_bulk_columns(&stored, &sent)?;
                Outcome::Bulk(table, sent)
            }
            Statement::Select { sql, table } => {
                let (columns, rows) =
                    self.read(|connection| select(connection, &sql, table.as_deref(), &self.variables))?;
                Outcome::Rows(columns, rows)
            }
            Statement::Write { sql } => {
                let variables = self.variables.clone();
                let count = self.write(move |connection| {
                    let mut statement = connection.prepare(&sql)?;
                    bind(&mut statement, &variables)?;
                    Ok(statement.raw_execute()? as u64)
                });
                Outcome::Affected(count.await?)
            }
        })
    }

    /// Inserts the rows of a bulk load as one statement.
    pub(super) async fn bulk(&mut self, table: &str, rows: &[Box<[TdsValue]>]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let places = vec!["?"; first.len()].join(", ");
        let insert = format!("INSERT INTO {table} VALUES ({places})");
        let result = self.write(|connection| {
            let mut statement = connection.prepare(&insert)?;
            for row in rows {
                statement.execute(params_from_iter(row.iter()))?;
            }
            Ok(())
        });
        let result = result.await;
        if result.is_err() && self.xact_abort {
            self.end(false);
        }
        result
    }

    fn begin(&mut self) -> Result<u64> {
        if self.transaction.is_some() {
            return Err(ServerError::new(3988, "this server has no nested transactions"));
        }
        let number = self.engine.last_transaction.fetch_add(1, Ordering::Relaxed) + 1;
        let open = self.engine.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.engine.most_open.fetch_max(open, Ordering::Relaxed);
        self.transaction = Some(number);
        Ok(number)
    }

    /// Ends the open transaction. Returns its descriptor.
    pub(super) fn end(&mut self, commit: bool) -> Option<u64> {
        if let Some(writer) = self.writer.take() {
            let end = if commit { "COMMIT" } else { "ROLLBACK" };
            writer.execute_batch(end).expect("the transaction is open");
        }
        let ended = self.transaction.take();
        if ended.is_some() {
            self.engine.open.fetch_sub(1, Ordering::Relaxed);
        }
        ended
    }

    /// Makes this session the only writer of the database.
    async fn take_writer(&mut self, timeout: Option<Duration>) -> Result<&Connection> {
        if self.writer.is_none() {
            let waiting = Arc::clone(&self.engine.writer).lock_owned();
            let writer = match timeout {
                None => waiting.await,
                Some(timeout) => tokio::time::timeout(timeout, waiting)
                    .await
                    .map_err(|_| ServerError::new(1222, "Lock request time out period exceeded."))?,
            };
            writer.execute_batch("BEGIN")?;
            self.writer = Some(writer);
        }
        Ok(self.writer.as_deref().expect("taken above"))
    }

    /// Changes the database by one statement, in the open transaction or in a separate one.
    async fn write<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let writer = self.take_writer(self.lock_timeout).await?;
        writer.execute_batch("SAVEPOINT statement")?;
        let result = work(writer);
        if result.is_err() {
            writer.execute_batch("ROLLBACK TO statement")?;
        }
        writer.execute_batch("RELEASE statement")?;
        if self.transaction.is_none() {
            self.end(true);
        }
        result
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        match self.writer.as_deref() {
            Some(writer) => work(writer),
            None => work(&self.engine.reader()),
        }
    }
}

fn no_transaction(number: u32, request: &str) -> ServerError {
    let problem = format!("The {request} TRANSACTION request has no corresponding BEGIN TRANSACTION.");
    ServerError::new(number, problem)
}

/// Returns the columns of a table or view.
fn columns(connection: &Connection, table: &str) -> Result<Vec<Column>> {
    let mut found = connection.prepare("SELECT name, type, \"notnull\" OR pk FROM pragma_table_info(?)")?;
    let columns = found.query_map([table], |row| {
        let kind: String = row.get(1)?;
        Ok(Column {
            name: row.get(0)?,
            // The columns of the catalog.
            kind: ColumnType::from_sql_name(&kind).unwrap_or(ColumnType::NVarChar(128)),
            nullable: !row.get::<_, bool>(2)?,
        })
    })?;
    let columns = columns.collect::<rusqlite::Result<Vec<_>>>()?;
    if columns.is_empty() {
        return Err(ServerError::new(
            208,
            format!("Invalid object name 'dbo.{table}'."),
        ));
    }
    Ok(columns)
}

fn check_bulk_columns(stored: &[Column], sent: &[(String, ColumnType)]) -> Result<()> {
    for (name, kind) in sent {
        match stored
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name))
        {
            Some(column) if column.kind == *kind => {}
            Some(_) => {
                let problem = format!("Invalid column type from bcp client for column {name}.");
                return Err(ServerError::new(4816, problem));
            }
            None => return Err(ServerError::new(207, format!("Invalid column name '{name}'."))),
        }
    }
    Ok(())
}

fn bind(statement: &mut rusqlite::Statement<'_>, variables: &HashMap<String, TdsValue>) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or_default();
        let value = variables
            .get(name)
            .ok_or_else(|| ServerError::new(137, format!("Must declare the scalar variable \"{name}\".")))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

fn select(
    connection: &Connection,
    sql: &str,
    table: Option<&str>,
    variables: &HashMap<String, TdsValue>,
) -> Result<(Vec<Column>, Vec<Vec<TdsValue>>)> {
    let stored = table.map(|table| columns(connection, table)).transpose()?;
    let mut statement = connection.prepare(sql)?;
    bind(&mut statement, variables)?;
    let names = statement.column_names().into_iter().map(str::to_owned);
    let columns: Vec<Column> = names
        .map(|name| {
            let mut stored = stored.iter().flatten();
            let same = stored.find(|column| column.name.eq_ignore_ascii_case(&name));
            same.cloned().unwrap_or(Column {
                name,
                // Counts and sums are `bigint` here, and variables are `int`.
                kind: ColumnType::Int(if table.is_some() { 8 } else { 4 }),
                nullable: true,
            })
        })
        .collect();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..).zip(&columns).map(|(index, column)| {
            let value = row.get_ref(index)?;
            Ok(match (value, column.kind) {
                (ValueRef::Null, _) => TdsValue::Null,
                (ValueRef::Integer(ticks), ColumnType::DateTime) => {
                    let (days, ticks) = (ticks.div_euclid(TICKS_PER_DAY), ticks.rem_euclid(TICKS_PER_DAY));
                    TdsValue::DateTime(days as i32, ticks as u32)
                }
                (ValueRef::Integer(number), ColumnType::Int(_)) => TdsValue::Int(number),
                (ValueRef::Real(number), ColumnType::Float) => TdsValue::Float(number),
                (ValueRef::Text(text), ColumnType::NVarChar(_)) => {
                    TdsValue::Text(String::from_utf8_lossy(text).into_owned())
                }
                (other, kind) => {
                    let problem = format!("this server cannot answer {} with {other:?}", kind.sql_name());
                    return Err(ServerError::new(50000, problem));
                }
            })
        });
        found.push(values.collect::<Result<_>>()?);
    }
    Ok((columns, found))
}

fn create_user(connection: &Connection, name: &str, sid: &str, kind: &str) -> Result<()> {
    let insert = "INSERT INTO sys_database_principals (name, sid, type) VALUES (?, ?, ?)";
    match connection.execute(insert, params![name, sid, kind]) {
        Ok(_) => Ok(()),
        Err(error) if error.to_string().ends_with(".name") => {
            let problem = format!("User, group, or role '{name}' already exists in the current database.");
            Err(ServerError::new(15023, problem))
        }
        Err(error) if error.to_string().ends_with(".sid") => {
            let problem = "The login already has an account under a different user name.";
            Err(ServerError::new(15063, problem))
        }
        Err(error) => Err(error.into()),
    }
}

fn add_reader(connection: &Connection, user: &str) -> Result<()> {
    if user.eq_ignore_ascii_case("dbo") {
        return Err(ServerError::new(15405, "Cannot use the special principal 'dbo'."));
    }
    let update = "UPDATE sys_database_principals SET reads = 1 WHERE name = ?";
    if connection.execute(update, [user])? == 0 {
        let problem = format!("Cannot add the principal '{user}', because it does not exist.");
        return Err(ServerError::new(15151, problem));
    }
    Ok(())
}

impl ToSql for TdsValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::DateTime(days, ticks) => (i64::from(*days) * TICKS_PER_DAY + i64::from(*ticks)).into(),
            Self::Text(text) => text.as_str().into(),
        })
    }
}

/// Maps SQLite's errors to SQL Server's error numbers.
impl From<rusqlite::Error> for ServerError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let by_text = [
            ("no such table", 208),
            ("no such column", 207),
            ("has no column", 207),
            ("no such function", 195),
            ("already exists", 2714),
            // The constraints of `create_table` in `sql.rs`.
            ("failed: 8115", 8115),
            ("failed: 2628", 2628),
        ];
        let number = match error.sqlite_error().map(|error| error.extended_code) {
            Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => 2627,
            Some(ffi::SQLITE_CONSTRAINT_NOTNULL) => 515,
            _ => by_text
                .iter()
                .find(|(part, _)| text.contains(part))
                .map_or(102, |(_, number)| *number),
        };
        Self::new(number, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions<const N: usize>() -> [EngineSession; N] {
        let engine = Arc::new(Engine::new());
        [(); N].map(|()| EngineSession::new(Arc::clone(&engine)))
    }

    async fn error_of(session: &mut EngineSession, text: &str) -> u32 {
        session.batch(text).await.expect_err("it cannot be done").number
    }

    #[tokio::test]
    async fn changes_show_after_the_commit_and_vanish_with_the_rollback() {
        let [mut one, mut two] = sessions();
        one.batch("CREATE TABLE t (a int PRIMARY KEY)").await.unwrap();
        for (end, after) in [("ROLLBACK", 0), ("COMMIT", 2)] {
            one.batch("BEGIN TRANSACTION; INSERT INTO t (a) VALUES (1), (2)")
                .await
                .unwrap();
            let count = |session: &EngineSession| session.read(|connection| Ok(rows_of(connection))).unwrap();
            assert_eq!((count(&one), count(&two)), (2, 0));
            one.batch(&format!("{end} TRANSACTION")).await.unwrap();
            assert_eq!((count(&one), count(&two)), (after, after));
        }
        assert_eq!(error_of(&mut two, "COMMIT TRANSACTION").await, 3902);
        assert_eq!(one.engine.open_transactions(), 0);
    }

    fn rows_of(connection: &Connection) -> i64 {
        connection
            .query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0))
            .unwrap()
    }

    #[tokio::test]
    async fn a_key_in_another_transaction_is_waited_for() {
        let [mut one, mut two] = sessions();
        let insert = "INSERT INTO t (a) VALUES (1)";
        one.batch("CREATE TABLE t (a int PRIMARY KEY); BEGIN TRANSACTION")
            .await
            .unwrap();
        one.batch(insert).await.unwrap();
        two.batch("SET LOCK_TIMEOUT 10; BEGIN TRANSACTION").await.unwrap();
        assert_eq!(error_of(&mut two, insert).await, 1222);
        one.batch("COMMIT TRANSACTION").await.unwrap();
        assert_eq!(error_of(&mut two, insert).await, 2627);
        assert!(
            two.transaction().is_some(),
            "without XACT_ABORT the transaction continues"
        );
        two.batch("SET XACT_ABORT ON").await.unwrap();
        assert_eq!(error_of(&mut two, insert).await, 2627);
        assert!(two.transaction().is_none(), "XACT_ABORT rolls back");
    }

    #[tokio::test]
    async fn values_and_names_are_checked() {
        let [mut session] = sessions();
        session
            .batch("CREATE TABLE t (a int PRIMARY KEY, d datetime NOT NULL, n nvarchar(3), f float)")
            .await
            .unwrap();
        for (text, number) in [
            ("INSERT INTO t (a) VALUES (1)", 515),
            ("INSERT INTO t (a, d) VALUES (3000000000, 0)", 8115),
            ("INSERT INTO t (a, d) VALUES (1, 'soon')", 8115),
            ("INSERT INTO t (a, d, n) VALUES (1, 0, N'long')", 2628),
            ("INSERT INTO t (a, d) VALUES (1, @P1)", 137),
            ("INSERT INTO t (a, b) VALUES (1, 0)", 207),
            ("SELECT b FROM t", 207),
            ("SELECT a FROM u", 208),
            ("DROP TABLE u", 208),
            ("CREATE TABLE T (a int)", 2714),
            ("UPDATE STATISTICS dbo.u", 208),
            ("INSERT BULK dbo.t (a bigint)", 4816),
            ("INSERT BULK dbo.t (b int)", 207),
            ("ALTER ROLE db_datareader ADD MEMBER ada", 15151),
        ] {
            assert_eq!(error_of(&mut session, text).await, number, "{text}");
        }
        session
            .batch("INSERT INTO dbo.T (a, d, n, f) VALUES (1, 0, N'it''', 2)")
            .await
            .unwrap();
        let row = [
            TdsValue::Int(1),
            TdsValue::DateTime(0, 0),
            TdsValue::Text("it'".into()),
            TdsValue::Float(2.0),
        ];
        assert_eq!(session.engine.rows("t").unwrap(), [row]);
    }

    #[tokio::test]
    async fn tables_are_listed_in_any_spelling() {
        let [mut session] = sessions();
        session
            .batch("CREATE TABLE t (a int); CREATE TABLE u (a int); DROP TABLE u")
            .await
            .unwrap();
        let list = "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES \
                    WHERE TABLE_SCHEMA = 'dbo' AND TABLE_NAME IN ('T', 'u')";
        let statement = parse(list).unwrap().remove(0);
        match session.execute(statement).await.unwrap() {
            Outcome::Rows(_, rows) => assert_eq!(rows, [[TdsValue::Text("t".into())]]),
            other => panic!("{other:?}"),
        }
    }
}

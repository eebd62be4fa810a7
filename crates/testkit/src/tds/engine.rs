//! Tables, transactions and locks: what SQL Server would answer to [`super::sql`]'s statements.
//!
//! Isolation is READ COMMITTED with row versions, as Azure SQL has it by default: readers see what is
//! committed and wait for no writer of rows. A writer that meets another transaction's
//! uncommitted key or table waits for that transaction's end, as in SQL Server; [`Step::Wait`] tells
//! the session to try the statement again then.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::sql::{Aggregate, CATALOG, Condition, Expr, Operator, Query, Statement, USERS};
use super::wire::{Column, ColumnType, ServerError, Value};

/// A transaction's descriptor; 0 on the wire means none.
pub(super) type Tx = u64;

/// A row's place in its table: the primary key, or the order of insertion without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Ints([i64; 2]),
    Text(String),
}

#[derive(Debug, Clone)]
struct Row {
    values: Box<[Value]>,
    /// The transaction that inserted or changed it and has not ended.
    owner: Option<Tx>,
    /// The transaction that deleted it and has not ended.
    deleted: Option<Tx>,
}

impl Row {
    fn visible(&self, tx: Tx) -> bool {
        self.owner.is_none_or(|owner| owner == tx) && self.deleted != Some(tx)
    }

    fn other(&self, tx: Tx) -> bool {
        self.owner.is_some_and(|owner| owner != tx) || self.deleted.is_some_and(|owner| owner != tx)
    }
}

#[derive(Debug, Default)]
struct Table {
    columns: Vec<Column>,
    key: Vec<usize>,
    rows: BTreeMap<Key, Row>,
    next_heap_key: i64,
    /// Transactions with changes.
    writers: HashSet<Tx>,
    /// Rows that a sink swallowed, see [`Engine::discard_bulk`].
    swallowed: u64,
}

#[derive(Debug)]
enum Undo {
    Inserted(String, Key),
    Deleted(String, Key),
    /// A deleted or changed row that another took the place of.
    Replaced(String, Key, Row),
    Created(String),
    Dropped(String, Table),
}

#[derive(Debug, Default)]
struct Transaction {
    undo: Vec<Undo>,
}

/// One connection's state in the engine.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) tx: Option<Tx>,
    /// SET XACT_ABORT.
    pub(super) xact_abort: bool,
    /// SET LOCK_TIMEOUT in ms; `None` waits for ever.
    pub(super) lock_timeout: Option<u64>,
    /// DECLAREd variables of the batch, and parameters.
    pub(super) variables: HashMap<String, Value>,
}

/// What a statement did.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Nothing to report.
    Nothing,
    /// A transaction began.
    Began(Tx),
    /// A transaction ended; `true` if committed.
    Ended(Tx, bool),
    /// So many rows were affected.
    Affected(u64),
    /// A result set.
    Rows(Vec<Column>, Vec<Vec<Value>>),
    /// Rows for this table may come.
    Bulk(String),
}

/// Whether a statement could be done.
#[derive(Debug)]
pub(super) enum Step {
    Done(Outcome),
    /// Another transaction is in the way.
    Wait,
}

/// Internal: the statement failed or has to wait.
enum Stop {
    Error(ServerError),
    Wait,
}

impl From<ServerError> for Stop {
    fn from(error: ServerError) -> Self {
        Self::Error(error)
    }
}

type Result<T, E = Stop> = std::result::Result<T, E>;

/// Makes a result's value of a row.
type Pick = Box<dyn Fn(&Row) -> Value>;

/// A user of the database. Users are not part of transactions here: what was done to them stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its SID: `0x` and capital hexadecimal digits.
    pub sid: String,
    /// `E` for an Entra user or application, `X` for an Entra group.
    pub kind: String,
    /// Whether it is a member of `db_datareader`.
    pub reads: bool,
}

/// The database.
#[derive(Debug, Default)]
pub(super) struct Engine {
    tables: BTreeMap<String, Table>,
    pub(super) users: Vec<User>,
    /// Tables that a transaction creates or drops.
    schema_locks: HashMap<String, Tx>,
    app_locks: HashMap<String, Tx>,
    transactions: HashMap<Tx, Transaction>,
    last_tx: Tx,
    /// Count rows of bulk loads instead of keeping them: a sink to measure clients against.
    pub(super) discard_bulk: bool,
}

fn invalid_object(table: &str) -> ServerError {
    ServerError::new(208, format!("Invalid object name 'dbo.{table}'."))
}

impl Engine {
    /// Begins a transaction.
    fn begin(&mut self) -> Tx {
        self.last_tx += 1;
        self.transactions.insert(self.last_tx, Transaction::default());
        self.last_tx
    }

    /// Executes a statement of a session. On an error the statement's own effects are undone, and with
    /// XACT_ABORT the session's transaction too (`session.tx` is then `None`).
    pub(super) fn execute(
        &mut self,
        session: &mut Session,
        statement: &Statement,
    ) -> Result<Step, ServerError> {
        match statement {
            Statement::Begin => {
                if session.tx.is_some() {
                    return Err(ServerError::new(3988, "this server has no nested transactions"));
                }
                let tx = self.begin();
                session.tx = Some(tx);
                return Ok(Step::Done(Outcome::Began(tx)));
            }
            Statement::Commit => {
                let Some(tx) = session.tx.take() else {
                    return Err(ServerError::new(
                        3902,
                        "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.",
                    ));
                };
                self.commit(tx);
                return Ok(Step::Done(Outcome::Ended(tx, true)));
            }
            Statement::Rollback => {
                let Some(tx) = session.tx.take() else {
                    return Err(ServerError::new(
                        3903,
                        "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
                    ));
                };
                self.rollback(tx);
                return Ok(Step::Done(Outcome::Ended(tx, false)));
            }
            Statement::Set(option, value) => {
                match (option.as_str(), value.as_str()) {
                    ("XACT_ABORT", on @ ("ON" | "OFF")) => session.xact_abort = on == "ON",
                    ("NOCOUNT" | "IMPLICIT_TRANSACTIONS", "OFF") => {}
                    ("LOCK_TIMEOUT", ms) if ms.parse::<u64>().is_ok() => {
                        session.lock_timeout = ms.parse().ok();
                    }
                    _ => {
                        return Err(ServerError::new(
                            195,
                            format!("'{option}' is not a recognized SET option."),
                        ));
                    }
                }
                return Ok(Step::Done(Outcome::Nothing));
            }
            Statement::Declare(name) => {
                session.variables.insert(name.clone(), Value::Null);
                return Ok(Step::Done(Outcome::Nothing));
            }
            _ => {}
        }
        self.atomically(session, |engine, tx, session| engine.run(tx, session, statement))
    }

    /// Inserts the rows of a bulk load as one statement.
    pub(super) fn bulk(
        &mut self,
        session: &mut Session,
        table: &str,
        rows: &[Box<[Value]>],
    ) -> Result<Step, ServerError> {
        let table = table.to_string();
        self.atomically(session, |engine, tx, _| {
            if engine.discard_bulk {
                engine.table(&table, tx)?.swallowed += rows.len() as u64;
                return Ok(Outcome::Affected(rows.len() as u64));
            }
            for row in rows {
                engine.insert_row(&table, tx, row.clone())?;
            }
            Ok(Outcome::Affected(rows.len() as u64))
        })
    }

    /// Runs one statement in the session's transaction, or in one of its own.
    fn atomically(
        &mut self,
        session: &mut Session,
        work: impl FnOnce(&mut Self, Tx, &mut Session) -> Result<Outcome>,
    ) -> Result<Step, ServerError> {
        let own = session.tx.is_none();
        let tx = session.tx.unwrap_or_else(|| self.begin());
        let mark = self.transactions[&tx].undo.len();
        match work(self, tx, session) {
            Ok(outcome) => {
                if own {
                    self.commit(tx);
                }
                Ok(Step::Done(outcome))
            }
            Err(stop) => {
                self.undo_to(tx, mark);
                let abort = matches!(&stop, Stop::Error(error) if session.xact_abort || error.number == 1205);
                if own || abort {
                    self.rollback(tx);
                    session.tx = None;
                }
                match stop {
                    Stop::Error(error) => Err(error),
                    Stop::Wait => Ok(Step::Wait),
                }
            }
        }
    }

    fn run(&mut self, tx: Tx, session: &mut Session, statement: &Statement) -> Result<Outcome> {
        match statement {
            Statement::CreateTable { table, columns, key } => {
                self.lock_schema(table, tx)?;
                if self.tables.contains_key(table) {
                    return Err(ServerError::new(
                        2714,
                        format!("There is already an object named '{table}' in the database."),
                    )
                    .into());
                }
                let new = Table {
                    columns: columns.clone(),
                    key: key.clone(),
                    ..Table::default()
                };
                self.tables.insert(table.clone(), new);
                self.undo(tx, Undo::Created(table.clone()));
                Ok(Outcome::Nothing)
            }
            Statement::DropTable { table } => {
                self.lock_schema(table, tx)?;
                match self.tables.remove(table) {
                    Some(dropped) => self.undo(tx, Undo::Dropped(table.clone(), dropped)),
                    None => {
                        return Err(ServerError::new(
                            3701,
                            format!("Cannot drop the table 'dbo.{table}', because it does not exist or you do not have permission."),
                        )
                        .into());
                    }
                }
                Ok(Outcome::Nothing)
            }
            Statement::InsertValues { table, columns, rows } => {
                for row in rows {
                    if row.len() != columns.len() {
                        return Err(ServerError::new(
                            109,
                            "There are fewer or more columns in the INSERT statement than values.",
                        )
                        .into());
                    }
                    let values = row
                        .iter()
                        .map(|expr| scalar(expr, session))
                        .collect::<Result<Vec<_>>>()?;
                    self.insert(table, tx, columns, values)?;
                }
                Ok(Outcome::Affected(rows.len() as u64))
            }
            Statement::Delete { table, filter } => self.delete(table, filter, tx, session),
            Statement::Update { table, set, filter } => self.update(table, set, filter, tx, session),
            Statement::Select(query) => {
                let (columns, rows) = self.select(tx, session, query)?;
                Ok(Outcome::Rows(columns, rows))
            }
            Statement::InsertBulk { table, columns } => {
                let found = self.table(table, tx)?;
                for column in &found.columns {
                    let sent = columns
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case(&column.name));
                    match sent {
                        Some((_, kind)) if *kind != column.kind => {
                            return Err(ServerError::new(
                                4816,
                                format!("Invalid column type from bcp client for column {}.", column.name),
                            )
                            .into());
                        }
                        None if !column.nullable => return Err(null_error(table, column).into()),
                        _ => {}
                    }
                }
                for (name, _) in columns {
                    column_index(&found.columns, name)?;
                }
                Ok(Outcome::Bulk(table.clone()))
            }
            Statement::AppLock { resource, result, .. } => {
                match self.app_locks.get(resource) {
                    Some(owner) if *owner != tx => return Err(Stop::Wait),
                    _ => {}
                }
                if session.tx.is_none() {
                    return Err(ServerError::new(
                        50000,
                        "sp_getapplock: the statement or function must be executed in the context of a user transaction.",
                    )
                    .into());
                }
                self.app_locks.insert(resource.clone(), tx);
                session.variables.insert(result.clone(), Value::Int(0));
                Ok(Outcome::Nothing)
            }
            Statement::Maintain { table } => {
                self.table(table, tx)?;
                Ok(Outcome::Nothing)
            }
            Statement::CreateUser { name, sid, kind } => {
                self.create_user(name, sid, kind)?;
                Ok(Outcome::Nothing)
            }
            Statement::AddMember { role, member } => {
                self.add_member(role, member)?;
                Ok(Outcome::Nothing)
            }
            Statement::Begin
            | Statement::Commit
            | Statement::Rollback
            | Statement::Set(..)
            | Statement::Declare(_) => unreachable!("done before a transaction is needed"),
        }
    }

    fn undo(&mut self, tx: Tx, entry: Undo) {
        self.transactions
            .get_mut(&tx)
            .expect("the transaction is open")
            .undo
            .push(entry);
    }

    /// Takes the schema lock (Sch-M) of a table, which nobody else may be using.
    fn lock_schema(&mut self, table: &str, tx: Tx) -> Result<()> {
        if self.schema_locks.get(table).is_some_and(|owner| *owner != tx) {
            return Err(Stop::Wait);
        }
        if let Some(found) = self.tables.get(table)
            && found.writers.iter().any(|user| *user != tx)
        {
            return Err(Stop::Wait);
        }
        self.schema_locks.insert(table.to_string(), tx);
        Ok(())
    }

    fn table(&mut self, table: &str, tx: Tx) -> Result<&mut Table> {
        if self.schema_locks.get(table).is_some_and(|owner| *owner != tx) {
            return Err(Stop::Wait);
        }
        self.tables
            .get_mut(table)
            .ok_or_else(|| invalid_object(table).into())
    }

    fn insert(&mut self, table: &str, tx: Tx, columns: &[String], values: Vec<Value>) -> Result<()> {
        let found = self.table(table, tx)?;
        let mut row = vec![Value::Null; found.columns.len()];
        for (name, value) in columns.iter().zip(values) {
            let index = column_index(&found.columns, name)?;
            row[index] = convert(value, &found.columns[index])?;
        }
        self.insert_row(table, tx, row.into_boxed_slice())
    }

    fn insert_row(&mut self, name: &str, tx: Tx, values: Box<[Value]>) -> Result<()> {
        let table = self.table(name, tx)?;
        for (column, value) in table.columns.iter().zip(&values) {
            if *value == Value::Null && !column.nullable {
                return Err(null_error(name, column).into());
            }
        }
        let key = match table.key.as_slice() {
            [] => {
                table.next_heap_key += 1;
                Key::Ints([table.next_heap_key, 0])
            }
            [one] => match &values[*one] {
                Value::Int(n) => Key::Ints([*n, 0]),
                Value::Text(text) => Key::Text(text.to_lowercase()),
                other => panic!("a primary key of {other:?} is not supported"),
            },
            several => match several.iter().map(|i| &values[*i]).collect::<Vec<_>>().as_slice() {
                [Value::Int(a), Value::Int(b)] => Key::Ints([*a, *b]),
                parts => {
                    let parts: Vec<String> = parts.iter().map(|part| show(part).to_lowercase()).collect();
                    Key::Text(parts.join("\u{1f}"))
                }
            },
        };
        let mut replaced = None;
        if let Some(row) = table.rows.get(&key) {
            if row.other(tx) {
                return Err(Stop::Wait);
            }
            if row.deleted.is_none() {
                let shown: Vec<String> = table.key.iter().map(|i| show(&values[*i])).collect();
                return Err(ServerError::new(
                    2627,
                    format!(
                        "Violation of PRIMARY KEY constraint 'PK_{name}'. Cannot insert duplicate key in object 'dbo.{name}'. The duplicate key value is ({}).",
                        shown.join(", ")
                    ),
                )
                .into());
            }
            replaced = Some(row.clone());
        }
        table.writers.insert(tx);
        table.rows.insert(
            key.clone(),
            Row {
                values,
                owner: Some(tx),
                deleted: None,
            },
        );
        let entry = match replaced {
            Some(row) => Undo::Replaced(name.to_string(), key, row),
            None => Undo::Inserted(name.to_string(), key),
        };
        self.undo(tx, entry);
        Ok(())
    }

    /// Keys of the rows that a DELETE or UPDATE concerns.
    fn keys(&mut self, name: &str, filter: &[Condition], tx: Tx, session: &Session) -> Result<Vec<Key>> {
        let table = self.table(name, tx)?;
        let mut keys = Vec::new();
        for (key, row) in &table.rows {
            if !matches(&table.columns, &row.values, filter, session)? {
                continue;
            }
            if row.other(tx) {
                return Err(Stop::Wait);
            }
            if row.visible(tx) {
                keys.push(key.clone());
            }
        }
        table.writers.insert(tx);
        Ok(keys)
    }

    fn delete(&mut self, name: &str, filter: &[Condition], tx: Tx, session: &Session) -> Result<Outcome> {
        let keys = self.keys(name, filter, tx, session)?;
        let count = keys.len() as u64;
        for key in keys {
            let table = self.table(name, tx)?;
            table.rows.get_mut(&key).expect("found just now").deleted = Some(tx);
            self.undo(tx, Undo::Deleted(name.to_string(), key));
        }
        Ok(Outcome::Affected(count))
    }

    fn update(
        &mut self,
        name: &str,
        set: &[(String, Expr)],
        filter: &[Condition],
        tx: Tx,
        session: &Session,
    ) -> Result<Outcome> {
        let keys = self.keys(name, filter, tx, session)?;
        let count = keys.len() as u64;
        for key in keys {
            let table = self.table(name, tx)?;
            let row = table.rows.get_mut(&key).expect("found just now");
            let before = row.clone();
            for (column, expr) in set {
                let index = column_index(&table.columns, column)?;
                if table.key.contains(&index) {
                    return Err(ServerError::new(50000, "this server does not change keys").into());
                }
                row.values[index] = convert(scalar(expr, session)?, &table.columns[index])?;
            }
            row.owner = Some(tx);
            self.undo(tx, Undo::Replaced(name.to_string(), key, before));
        }
        Ok(Outcome::Affected(count))
    }

    fn select(&mut self, tx: Tx, session: &Session, query: &Query) -> Result<(Vec<Column>, Vec<Vec<Value>>)> {
        let Some(name) = &query.table else {
            let mut columns = Vec::new();
            let mut row = Vec::new();
            for (expr, name) in &query.outputs {
                let value = scalar(expr, session)?;
                let kind = match &value {
                    Value::Text(text) => ColumnType::NVarChar(text.encode_utf16().count().max(1) as u16),
                    Value::Float(_) => ColumnType::Float,
                    Value::DateTime(..) => ColumnType::DateTime,
                    Value::Int(_) | Value::Null => ColumnType::Int(4),
                };
                columns.push(Column {
                    name: name.clone(),
                    kind,
                    nullable: true,
                });
                row.push(value);
            }
            return Ok((columns, vec![row]));
        };
        if name == CATALOG {
            return project(&self.catalog(tx)?, tx, session, query);
        }
        if name == USERS {
            let rows = self
                .users
                .iter()
                .map(|user| [user.name.as_str(), &user.sid, &user.kind]);
            return project(&view(["name", "sid", "type"], rows), tx, session, query);
        }
        let table = self.table(name, tx)?;
        if let [(Expr::CountBig, name)] = query.outputs.as_slice()
            && query.filter.is_empty()
            && table.swallowed > 0
        {
            let column = Column {
                name: name.clone(),
                kind: ColumnType::Int(8),
                nullable: true,
            };
            return Ok((vec![column], vec![vec![Value::Int(table.swallowed as i64)]]));
        }
        project(table, tx, session, query)
    }

    /// All tables as INFORMATION_SCHEMA.TABLES lists them. Waits for whoever creates or drops one.
    fn catalog(&self, tx: Tx) -> Result<Table> {
        if self.schema_locks.values().any(|owner| *owner != tx) {
            return Err(Stop::Wait);
        }
        let rows = self.tables.keys().map(|name| ["dbo", name]);
        Ok(view(["TABLE_SCHEMA", "TABLE_NAME"], rows))
    }

    fn create_user(&mut self, name: &str, sid: &str, kind: &str) -> Result<()> {
        if !["E", "X"].contains(&kind) || sid.len() != "0x".len() + 32 {
            return Err(ServerError::new(50000, "this server knows Entra users and groups only").into());
        }
        if self.users.iter().any(|user| user.name.eq_ignore_ascii_case(name)) {
            let problem = format!("User, group, or role '{name}' already exists in the current database.");
            return Err(ServerError::new(15023, problem).into());
        }
        if self.users.iter().any(|user| user.sid == sid) {
            let problem = "The login already has an account under a different user name.";
            return Err(ServerError::new(15063, problem).into());
        }
        self.users.push(User {
            name: name.to_owned(),
            sid: sid.to_owned(),
            kind: kind.to_owned(),
            reads: false,
        });
        Ok(())
    }

    fn add_member(&mut self, role: &str, member: &str) -> Result<()> {
        let missing = |what: &str| {
            let problem = format!("Cannot {what}, because it does not exist or you do not have permission.");
            ServerError::new(15151, problem)
        };
        if role != "db_datareader" {
            return Err(missing(&format!("alter the role '{role}'")).into());
        }
        if member.eq_ignore_ascii_case("dbo") {
            return Err(ServerError::new(15405, "Cannot use the special principal 'dbo'.").into());
        }
        let mut users = self.users.iter_mut();
        let user = users.find(|user| user.name.eq_ignore_ascii_case(member));
        user.ok_or_else(|| missing(&format!("add the principal '{member}'")))?
            .reads = true;
        Ok(())
    }

    /// Undoes a transaction's latest changes until `mark` are left.
    fn undo_to(&mut self, tx: Tx, mark: usize) {
        let entries = self
            .transactions
            .get_mut(&tx)
            .expect("the transaction is open")
            .undo
            .split_off(mark);
        for entry in entries.into_iter().rev() {
            match entry {
                Undo::Inserted(table, key) => {
                    if let Some(table) = self.tables.get_mut(&table) {
                        table.rows.remove(&key);
                    }
                }
                Undo::Deleted(table, key) => {
                    if let Some(row) = self
                        .tables
                        .get_mut(&table)
                        .and_then(|table| table.rows.get_mut(&key))
                    {
                        row.deleted = None;
                    }
                }
                Undo::Replaced(table, key, row) => {
                    if let Some(table) = self.tables.get_mut(&table) {
                        table.rows.insert(key, row);
                    }
                }
                Undo::Created(table) => {
                    self.tables.remove(&table);
                }
                Undo::Dropped(name, table) => {
                    self.tables.insert(name, table);
                }
            }
        }
    }

    /// Makes a transaction's changes permanent and releases its locks.
    fn commit(&mut self, tx: Tx) {
        let Some(transaction) = self.transactions.remove(&tx) else {
            return;
        };
        for entry in transaction.undo {
            let (Undo::Inserted(name, key) | Undo::Deleted(name, key) | Undo::Replaced(name, key, _)) = entry
            else {
                continue;
            };
            let Some(table) = self.tables.get_mut(&name) else {
                continue;
            };
            let Some(row) = table.rows.get_mut(&key) else {
                continue;
            };
            if row.deleted == Some(tx) {
                table.rows.remove(&key);
            } else if row.owner == Some(tx) {
                row.owner = None;
            }
        }
        self.release(tx);
    }

    /// Undoes a transaction and releases its locks. Nothing to do for one that has ended.
    pub(super) fn rollback(&mut self, tx: Tx) {
        if self.transactions.contains_key(&tx) {
            self.undo_to(tx, 0);
            self.transactions.remove(&tx);
            self.release(tx);
        }
    }

    fn release(&mut self, tx: Tx) {
        self.app_locks.retain(|_, owner| *owner != tx);
        self.schema_locks.retain(|_, owner| *owner != tx);
        for table in self.tables.values_mut() {
            table.writers.remove(&tx);
        }
    }

    /// Columns of a table as stored.
    pub(super) fn columns(&self, table: &str) -> Option<&[Column]> {
        self.tables.get(table).map(|table| table.columns.as_slice())
    }

    /// Committed rows of a table in the order of its key.
    pub(super) fn committed(&self, table: &str) -> Option<Vec<Vec<Value>>> {
        let table = self.tables.get(table)?;
        let rows = table.rows.values().filter(|row| row.owner.is_none());
        Some(rows.map(|row| row.values.to_vec()).collect())
    }

    /// Number of committed rows, those that a sink swallowed included.
    pub(super) fn count(&self, table: &str) -> Option<u64> {
        let table = self.tables.get(table)?;
        Some(table.rows.values().filter(|row| row.owner.is_none()).count() as u64 + table.swallowed)
    }

    /// Transactions that have not ended.
    pub(super) fn open_transactions(&self) -> usize {
        self.transactions.len()
    }
}

/// A table of texts that is made for a query.
fn view<'a, const N: usize>(columns: [&str; N], rows: impl Iterator<Item = [&'a str; N]>) -> Table {
    let column = |name: &str| Column {
        name: name.into(),
        kind: ColumnType::NVarChar(128),
        nullable: true,
    };
    let row = |values: [&str; N]| Row {
        values: values.map(|text| Value::Text(text.into())).into(),
        owner: None,
        deleted: None,
    };
    Table {
        columns: columns.map(column).into(),
        rows: (0..)
            .zip(rows)
            .map(|(place, values)| (Key::Ints([place, 0]), row(values)))
            .collect(),
        ..Table::default()
    }
}

/// What a query without locks takes of a table's rows.
fn project(
    table: &Table,
    tx: Tx,
    session: &Session,
    query: &Query,
) -> Result<(Vec<Column>, Vec<Vec<Value>>)> {
    let mut found: Vec<&Row> = Vec::new();
    for row in table.rows.values() {
        if !matches(&table.columns, &row.values, &query.filter, session)? {
            continue;
        }
        // A row whose earlier version is gone from the table: its change has to end first.
        if row.owner.is_some_and(|owner| owner != tx) && row.deleted.is_some() {
            return Err(Stop::Wait);
        }
        if row.visible(tx) {
            found.push(row);
        }
    }
    for name in query.order.iter().rev() {
        let index = column_index(&table.columns, name)?;
        found.sort_by(|a, b| compare(&a.values[index], &b.values[index]));
    }
    if let Some(top) = query.top {
        found.truncate(usize::try_from(top).unwrap_or(usize::MAX));
    }
    let aggregate = query
        .outputs
        .iter()
        .any(|(expr, _)| matches!(expr, Expr::CountBig | Expr::Aggregate(..)));
    let mut columns = Vec::new();
    let mut picks: Vec<Pick> = Vec::new();
    let mut totals = Vec::new();
    for (expr, name) in &query.outputs {
        match expr {
            Expr::CountBig => {
                columns.push(Column {
                    name: name.clone(),
                    kind: ColumnType::Int(8),
                    nullable: true,
                });
                totals.push(Value::Int(found.len() as i64));
            }
            Expr::Aggregate(function, column) => {
                let index = column_index(&table.columns, column)?;
                let ints = found.iter().filter_map(|row| match row.values[index] {
                    Value::Int(n) => Some(n),
                    _ => None,
                });
                let (kind, total) = match function {
                    Aggregate::Sum => (
                        ColumnType::Int(8),
                        ints.fold(None, |sum, n| Some(sum.unwrap_or(0) + n)),
                    ),
                    Aggregate::Min => (table.columns[index].kind, ints.min()),
                    Aggregate::Max => (table.columns[index].kind, ints.max()),
                };
                columns.push(Column {
                    name: name.clone(),
                    kind,
                    nullable: true,
                });
                totals.push(total.map_or(Value::Null, Value::Int));
            }
            Expr::Column(star) if star == "*" => {
                for (index, column) in table.columns.iter().enumerate() {
                    columns.push(column.clone());
                    picks.push(Box::new(move |row| row.values[index].clone()));
                }
            }
            Expr::Column(column) => {
                let index = column_index(&table.columns, column)?;
                columns.push(table.columns[index].clone());
                picks.push(Box::new(move |row| row.values[index].clone()));
            }
            other => {
                let value = scalar(other, session)?;
                let kind = match &value {
                    Value::Text(text) => ColumnType::NVarChar(text.encode_utf16().count().max(1) as u16),
                    _ => ColumnType::Int(8),
                };
                columns.push(Column {
                    name: name.clone(),
                    kind,
                    nullable: true,
                });
                picks.push(Box::new(move |_| value.clone()));
            }
        }
    }
    if aggregate {
        if !picks.is_empty() {
            return Err(ServerError::new(
                8120,
                "A column is invalid in the select list because it is not contained in an aggregate function.",
            )
            .into());
        }
        return Ok((columns, vec![totals]));
    }
    let rows = found
        .into_iter()
        .map(|row| picks.iter().map(|pick| pick(row)).collect())
        .collect();
    Ok((columns, rows))
}

fn null_error(table: &str, column: &Column) -> ServerError {
    ServerError::new(
        515,
        format!(
            "Cannot insert the value NULL into column '{}', table 'dbo.{table}'; column does not allow nulls. INSERT fails.",
            column.name
        ),
    )
}

fn column_index(columns: &[Column], name: &str) -> Result<usize, ServerError> {
    let found = columns
        .iter()
        .position(|column| column.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| ServerError::new(207, format!("Invalid column name '{name}'.")))
}

fn scalar(expr: &Expr, session: &Session) -> Result<Value> {
    match expr {
        Expr::Literal(value) => Ok(value.clone()),
        Expr::Variable(name) => session.variables.get(name).cloned().ok_or_else(|| {
            ServerError::new(137, format!("Must declare the scalar variable \"{name}\".")).into()
        }),
        Expr::Column(name) => Err(ServerError::new(207, format!("Invalid column name '{name}'.")).into()),
        Expr::CountBig | Expr::Aggregate(..) => {
            Err(ServerError::new(102, "this server does not compute that here").into())
        }
    }
}

/// Converts a value to a column's type as an assignment does.
fn convert(value: Value, column: &Column) -> Result<Value, ServerError> {
    let converted = match (value, column.kind) {
        (Value::Null, _) => Value::Null,
        (Value::Int(n), ColumnType::Int(width)) => {
            let fits = match width {
                1 => u8::try_from(n).is_ok(),
                2 => i16::try_from(n).is_ok(),
                4 => i32::try_from(n).is_ok(),
                _ => true,
            };
            if !fits {
                return Err(ServerError::new(
                    8115,
                    format!(
                        "Arithmetic overflow error converting expression to data type {}.",
                        column.kind.sql_name()
                    ),
                ));
            }
            Value::Int(n)
        }
        (Value::Int(n), ColumnType::Float) => Value::Float(n as f64),
        (Value::Float(x), ColumnType::Float) => Value::Float(x),
        (Value::DateTime(days, ticks), ColumnType::DateTime) => Value::DateTime(days, ticks),
        (Value::Text(text), ColumnType::DateTime) => parse_datetime(&text)?,
        (Value::Text(text), ColumnType::NVarChar(limit)) => {
            if text.encode_utf16().count() > usize::from(limit) {
                return Err(ServerError::new(
                    2628,
                    format!(
                        "String or binary data would be truncated in column '{}'.",
                        column.name
                    ),
                ));
            }
            Value::Text(text)
        }
        (value, kind) => {
            return Err(ServerError::new(
                245,
                format!(
                    "Conversion failed when converting {value:?} to data type {}.",
                    kind.sql_name()
                ),
            ));
        }
    };
    Ok(converted)
}

/// `YYYY-MM-DDThh:mm:ss`, the form that means the same under every language setting.
fn parse_datetime(text: &str) -> Result<Value, ServerError> {
    let wrong = || {
        ServerError::new(
            241,
            "Conversion failed when converting date and/or time from character string.",
        )
    };
    let part = |range: std::ops::Range<usize>| -> Result<i64, ServerError> {
        text.get(range)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(wrong)
    };
    if text.len() != 19 || text.as_bytes()[10] != b'T' {
        return Err(wrong());
    }
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
    // Days from civil, Howard Hinnant: days since 1970-01-01.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let from_1900 = i32::try_from(days + 25_567).map_err(|_| wrong())?;
    let ticks = u32::try_from((hour * 3600 + minute * 60 + second) * 300).map_err(|_| wrong())?;
    Ok(Value::DateTime(from_1900, ticks))
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::DateTime(d1, t1), Value::DateTime(d2, t2)) => (d1, t1).cmp(&(d2, t2)),
        // The default collation ignores case.
        (Value::Text(a), Value::Text(b)) => a.to_lowercase().cmp(&b.to_lowercase()),
        (Value::Null, Value::Null) => std::cmp::Ordering::Equal,
        (Value::Null, _) => std::cmp::Ordering::Less,
        (_, Value::Null) => std::cmp::Ordering::Greater,
        (a, b) => panic!("comparison of {a:?} with {b:?} is not supported"),
    }
}

fn matches(columns: &[Column], values: &[Value], filter: &[Condition], session: &Session) -> Result<bool> {
    for condition in filter {
        let index = column_index(columns, &condition.column)?;
        let mut holds = false;
        for right in &condition.right {
            let right = scalar(right, session)?;
            if values[index] == Value::Null || right == Value::Null {
                continue;
            }
            let order = compare(&values[index], &right);
            holds |= match condition.operator {
                Operator::Eq => order.is_eq(),
                Operator::Ne => order.is_ne(),
                Operator::Lt => order.is_lt(),
                Operator::Le => order.is_le(),
                Operator::Gt => order.is_gt(),
                Operator::Ge => order.is_ge(),
            };
        }
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn show(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tds::sql::parse;

    fn run(engine: &mut Engine, session: &mut Session, text: &str) -> Result<Step, ServerError> {
        let mut last = Ok(Step::Done(Outcome::Nothing));
        for statement in parse(text).expect("the test's statements are known") {
            last = engine.execute(session, &statement);
        }
        last
    }

    fn count(engine: &mut Engine, session: &mut Session, table: &str) -> i64 {
        match run(engine, session, &format!("SELECT COUNT_BIG(*) FROM {table}")) {
            Ok(Step::Done(Outcome::Rows(_, rows))) => match rows[0][0] {
                Value::Int(n) => n,
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn changes_show_after_the_commit_and_vanish_with_the_rollback() {
        let mut engine = Engine::default();
        let (mut one, mut two) = (Session::default(), Session::default());
        run(&mut engine, &mut one, "CREATE TABLE t (a int PRIMARY KEY)").unwrap();
        run(
            &mut engine,
            &mut one,
            "BEGIN TRAN; INSERT INTO t (a) VALUES (1),(2)",
        )
        .unwrap();
        assert_eq!(count(&mut engine, &mut one, "t"), 2);
        assert_eq!(count(&mut engine, &mut two, "t"), 0);
        run(&mut engine, &mut one, "ROLLBACK").unwrap();
        assert_eq!(count(&mut engine, &mut one, "t"), 0);
        run(
            &mut engine,
            &mut one,
            "BEGIN TRAN; INSERT INTO t (a) VALUES (7); COMMIT",
        )
        .unwrap();
        assert_eq!(count(&mut engine, &mut two, "t"), 1);
        assert_eq!(engine.open_transactions(), 0);
    }

    #[test]
    fn an_uncommitted_key_makes_the_other_wait_then_fail() {
        let mut engine = Engine::default();
        let (mut one, mut two) = (Session::default(), Session::default());
        run(&mut engine, &mut one, "CREATE TABLE t (a int PRIMARY KEY)").unwrap();
        run(&mut engine, &mut one, "BEGIN TRAN; INSERT INTO t (a) VALUES (1)").unwrap();
        let step = run(&mut engine, &mut two, "BEGIN TRAN; INSERT INTO t (a) VALUES (1)").unwrap();
        assert!(matches!(step, Step::Wait));
        run(&mut engine, &mut one, "COMMIT").unwrap();
        let error = run(&mut engine, &mut two, "INSERT INTO t (a) VALUES (1)").unwrap_err();
        assert_eq!(error.number, 2627);
        assert!(two.tx.is_some(), "without XACT_ABORT the transaction goes on");
        two.xact_abort = true;
        run(&mut engine, &mut two, "INSERT INTO t (a) VALUES (1)").unwrap_err();
        assert!(two.tx.is_none(), "XACT_ABORT rolls back");
    }

    #[test]
    fn a_drop_waits_for_the_table_s_users_and_can_be_undone() {
        let mut engine = Engine::default();
        let (mut one, mut two) = (Session::default(), Session::default());
        run(&mut engine, &mut one, "CREATE TABLE t (a int PRIMARY KEY)").unwrap();
        run(&mut engine, &mut one, "BEGIN TRAN; INSERT INTO t (a) VALUES (1)").unwrap();
        assert!(matches!(
            run(&mut engine, &mut two, "DROP TABLE t").unwrap(),
            Step::Wait
        ));
        run(&mut engine, &mut one, "COMMIT").unwrap();
        run(&mut engine, &mut two, "BEGIN TRAN; DROP TABLE t").unwrap();
        let blocked = run(&mut engine, &mut one, "SELECT COUNT_BIG(*) FROM t").unwrap();
        assert!(matches!(blocked, Step::Wait));
        run(&mut engine, &mut two, "ROLLBACK").unwrap();
        assert_eq!(count(&mut engine, &mut one, "t"), 1);
    }

    #[test]
    fn tables_are_listed_once_nobody_creates_or_drops_one() {
        let mut engine = Engine::default();
        let (mut one, mut two) = (Session::default(), Session::default());
        run(&mut engine, &mut one, "CREATE TABLE t (a int PRIMARY KEY)").unwrap();
        run(&mut engine, &mut one, "CREATE TABLE u (a int PRIMARY KEY)").unwrap();
        let list = "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES \
                    WHERE TABLE_SCHEMA = 'dbo' AND TABLE_NAME IN ('T', 'other')";
        run(&mut engine, &mut one, "BEGIN TRAN; DROP TABLE u").unwrap();
        assert!(matches!(run(&mut engine, &mut two, list).unwrap(), Step::Wait));
        run(&mut engine, &mut one, "COMMIT").unwrap();
        match run(&mut engine, &mut two, list).unwrap() {
            Step::Done(Outcome::Rows(_, rows)) => assert_eq!(rows, [[Value::Text("t".into())]]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nulls_and_overflows_are_refused() {
        let mut engine = Engine::default();
        let mut one = Session::default();
        run(
            &mut engine,
            &mut one,
            "CREATE TABLE t (a int PRIMARY KEY, d datetime NOT NULL)",
        )
        .unwrap();
        let number =
            |engine: &mut Engine, one: &mut Session, text: &str| run(engine, one, text).unwrap_err().number;
        assert_eq!(number(&mut engine, &mut one, "INSERT INTO t (a) VALUES (1)"), 515);
        assert_eq!(
            number(
                &mut engine,
                &mut one,
                "INSERT INTO t (a, d) VALUES (3000000000, '2020-01-01T00:00:00')"
            ),
            8115
        );
        assert_eq!(
            number(&mut engine, &mut one, "INSERT INTO t (a, d) VALUES (1, 'soon')"),
            241
        );
        run(
            &mut engine,
            &mut one,
            "INSERT INTO t (a, d) VALUES (1, '1900-01-02T00:00:01')",
        )
        .unwrap();
        assert_eq!(
            engine.committed("t").unwrap(),
            [[Value::Int(1), Value::DateTime(1, 300)]]
        );
    }
}

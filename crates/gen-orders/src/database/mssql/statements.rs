//! The T-SQL that is sent, except for what tiberius generates for a bulk load.
//!
//! Every text is one batch and one round trip: statements between which gen-orders decides nothing are sent together.
//! XACT_ABORT makes sure that no statement is executed after one that failed. `@P1`… are parameters of `sp_executesql`.
//! Tables are named with their schema, so that a user with another default schema never drops tables of that schema.

use super::super::plan::RUN_TABLE;
use crate::config::{Reader, ReaderKind};
use crate::rows::{ColumnKind, TABLES, Table};

/// Returns the settings of every session, whatever the server's defaults are. XACT_ABORT: any error rolls the
/// transaction back, so that no part of it is committed. LOCK_TIMEOUT, in milliseconds: a request that waits for a lock
/// fails (1222) before the client's timeout closes the connection. NOCOUNT: the response to a bulk load has the number
/// of its rows. IMPLICIT_TRANSACTIONS: transactions begin and end only by statements.
pub(super) fn session(lock_timeout_ms: u128) -> String {
    format!(
        "SET XACT_ABORT ON; SET NOCOUNT OFF; SET IMPLICIT_TRANSACTIONS OFF; \
         SET LOCK_TIMEOUT {lock_timeout_ms};"
    )
}

pub(super) const BEGIN: &str = "BEGIN TRANSACTION;";

pub(super) const COMMIT: &str = "COMMIT TRANSACTION;";

/// Begins a transaction, takes the lock under which one process at a time sets up the tables, and queries which of
/// `names` belong to tables or views. The first row has the lock's result, and each of the others has a name.
///
/// The lock belongs to the transaction and is released with it, however the transaction ends. Every user of a database
/// may take it (`sp_getapplock` requires only `public`). Its result is negative if the lock was not granted: -1 after
/// the timeout, -3 after a deadlock.
pub(super) fn begin_set_up(timeout_ms: u128, names: &[&str]) -> String {
    format!(
        "{BEGIN} DECLARE @result int; EXEC @result = sp_getapplock @Resource = N'datagen gen-orders', \
         @LockMode = 'Exclusive', @LockOwner = 'Transaction', @LockTimeout = {timeout_ms}; \
         SELECT @result AS result; \
         SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES \
         WHERE TABLE_SCHEMA = 'dbo' AND TABLE_NAME IN ('{}');",
        names.join("', '")
    )
}

/// Counts the rows of the tables, in one row per table, and then reads the run that they belong to: tables that belong
/// to a run after they were counted belonged to it before.
pub(super) fn count() -> String {
    let count = |table: &Table| format!("SELECT COUNT_BIG(*) AS found FROM dbo.{}; ", table.name);
    TABLES.into_iter().map(count).collect::<String>() + CURRENT_RUN
}

macro_rules! current_run {
    () => {
        "SELECT parameters, chunk_orders FROM dbo._datagen_run;"
    };
}

/// The run that the tables belong to.
pub(super) const CURRENT_RUN: &str = current_run!();

/// The tables that gen-orders keeps in addition to those that it fills, with their columns, in the order in which they
/// are dropped. A transaction that loads a chunk or writes a manifest first inserts into `_datagen_chunks` or
/// `_datagen_manifest`, and then reads `_datagen_run`. The lock of the insert makes a drop of that table wait for the
/// end of the transaction, and a drop makes new inserts wait. The drop of `_datagen_run`, which comes after both,
/// therefore never happens during a transaction that has read it, and the two never wait for each other.
const OWN_TABLES: [(&str, &str); 3] = [
    (
        "_datagen_chunks",
        "chunk bigint NOT NULL PRIMARY KEY, row_count bigint NOT NULL",
    ),
    (
        "_datagen_manifest",
        "kind nvarchar(40) NOT NULL, shard_index int NOT NULL, shard_count int NOT NULL, \
         manifest nvarchar(4000) NOT NULL, PRIMARY KEY (kind, shard_index, shard_count)",
    ),
    (
        RUN_TABLE,
        "parameters nvarchar(2000) NOT NULL, chunk_orders int NOT NULL",
    ),
];

pub(super) fn own_tables() -> impl Iterator<Item = &'static str> {
    OWN_TABLES.iter().map(|(name, _)| *name)
}

/// Drops those of all tables that exist. This is a separate batch, since a server compiles a whole batch before it
/// executes any of it, and the tables may have had other columns.
pub(super) fn drop_tables(exists: impl Fn(&str) -> bool) -> String {
    own_tables()
        .chain(TABLES.into_iter().rev().map(|table| table.name))
        .filter(|name| exists(name))
        .map(|name| format!("DROP TABLE dbo.{name}; "))
        .collect()
}

/// Creates all tables, stores which run they are for, and commits.
pub(super) fn create_tables(parameters: &str, chunk_orders: u32) -> String {
    let own = OWN_TABLES
        .iter()
        .map(|(name, columns)| format!("CREATE TABLE dbo.{name} ({columns});"));
    let mut statements: Vec<String> = TABLES.into_iter().map(create).chain(own).collect();
    let parameters = parameters.replace('\'', "''");
    statements.push(format!(
        "INSERT INTO dbo.{RUN_TABLE} (parameters, chunk_orders) VALUES (N'{parameters}', {chunk_orders});"
    ));
    statements.push(COMMIT.to_owned());
    statements.join(" ")
}

fn create(table: &Table) -> String {
    let columns = table.columns.iter().map(|(name, kind)| {
        let kind = match kind {
            ColumnKind::Int => "int",
            ColumnKind::DateTime => "datetime",
            ColumnKind::Float => "float",
        };
        format!("{name} {kind} NOT NULL, ")
    });
    let columns: String = columns.collect();
    format!(
        "CREATE TABLE dbo.{} ({columns}PRIMARY KEY ({}));",
        table.name,
        table.primary_key.join(", ")
    )
}

/// Switches lock escalation on or off. While a run loads, it is off: otherwise the many row locks of a chunk would
/// become a lock of the whole table, and the connections would wait for each other.
pub(super) fn escalate_locks(escalate: bool) -> String {
    let value = if escalate { "TABLE" } else { "DISABLE" };
    let set = |table: &Table| format!("ALTER TABLE dbo.{} SET (LOCK_ESCALATION = {value}); ", table.name);
    TABLES.into_iter().map(set).collect()
}

/// Updates the statistics, as after any bulk load, so that a consumer's first query has a good plan.
pub(super) fn update_statistics() -> String {
    let update = |table: &Table| format!("UPDATE STATISTICS dbo.{}; ", table.name);
    TABLES.into_iter().map(update).collect()
}

/// Begins a transaction, claims a chunk in it, and reads which run the tables belong to. If the chunk is loaded, this
/// fails with error 2627; if another transaction is loading it, this waits for the end of that transaction.
pub(super) fn claim_chunk(chunk: i64, rows: i64) -> String {
    format!(
        "{BEGIN} INSERT INTO dbo._datagen_chunks (chunk, row_count) VALUES ({chunk}, {rows}); {CURRENT_RUN}"
    )
}

/// The row count of a chunk that is loaded.
pub(super) const CHUNK: &str = "SELECT row_count FROM dbo._datagen_chunks WHERE chunk = @P1;";

/// The chunks that are loaded, from the first parameter to before the second, and then the run that the tables belong
/// to. No other chunks are read: where readers wait for writers (READ_COMMITTED_SNAPSHOT is off), a chunk that another
/// shard is loading would block this one.
pub(super) const CHUNKS: &str = concat!(
    "SELECT chunk FROM dbo._datagen_chunks WHERE chunk >= @P1 AND chunk < @P2 ORDER BY chunk; ",
    current_run!(),
);

/// How many chunks are loaded, and how many rows they have, in one row; then the run that the tables belong to.
pub(super) const TALLY: &str = concat!(
    "SELECT COUNT_BIG(*) AS chunks, SUM(row_count) AS loaded FROM dbo._datagen_chunks; ",
    current_run!(),
);

/// How many manifests there are of a kind, index and count, in one row; then the run that the tables belong to.
pub(super) const MANIFEST: &str = concat!(
    "SELECT COUNT_BIG(*) AS manifests FROM dbo._datagen_manifest \
     WHERE kind = @P1 AND shard_index = @P2 AND shard_count = @P3; ",
    current_run!(),
);

/// Writes a shard's manifest, replacing an existing one, and reads which run the tables belong to. The parameters are
/// kind, index, count and text.
pub(super) const REPLACE_MANIFEST: &str = concat!(
    "DELETE FROM dbo._datagen_manifest \
     WHERE kind = @P1 AND shard_index = @P2 AND shard_count = @P3; \
     INSERT INTO dbo._datagen_manifest (kind, shard_index, shard_count, manifest) VALUES (@P1, @P2, @P3, @P4); ",
    current_run!(),
);

/// Queries the name of a reader's user, if the database has one: one row or none.
pub(super) fn find_user(reader: &Reader) -> String {
    format!(
        "SELECT name FROM sys.database_principals WHERE sid = {};",
        sid(reader)
    )
}

/// Creates a reader's user. With the SID, the server does not have to look up the identity in Entra ID, for which the
/// server would need an identity with permissions there. E is a user or an application and X a group:
/// <https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-database-principals-transact-sql>.
pub(super) fn create_user(reader: &Reader) -> String {
    let kind = match reader.kind {
        ReaderKind::User | ReaderKind::Application => 'E',
        ReaderKind::Group => 'X',
    };
    format!(
        "CREATE USER {} WITH SID = {}, TYPE = {kind};",
        quoted(&reader.name),
        sid(reader)
    )
}

/// Lets a user read all tables. There is no effect if the user is allowed to already.
pub(super) fn let_read(user: &str) -> String {
    format!("ALTER ROLE db_datareader ADD MEMBER {};", quoted(user))
}

/// Returns the SID of an Entra identity: its GUID in the byte order of `uniqueidentifier`, whose first three fields are
/// little-endian.
fn sid(reader: &Reader) -> String {
    let bytes = reader.id.to_bytes_le();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("0x{hex}")
}

/// Returns `name` as a quoted identifier.
fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// Returns every text of this module, for tests that parse them.
#[cfg(test)]
pub(super) fn all() -> Vec<String> {
    let names = TABLES.into_iter().map(|table| table.name);
    let names: Vec<&str> = names.chain(own_tables()).collect();
    let constant = [
        BEGIN,
        COMMIT,
        CURRENT_RUN,
        CHUNK,
        CHUNKS,
        TALLY,
        MANIFEST,
        REPLACE_MANIFEST,
    ];
    let reader = Reader {
        kind: ReaderKind::Group,
        id: uuid::Uuid::from_u128(7),
        name: "Data team".to_owned(),
    };
    let mut texts = vec![
        session(30_000),
        begin_set_up(30_000, &names),
        drop_tables(|_| true),
        create_tables(r#"{"name":"it's"}"#, 5_000),
        claim_chunk(7, 32_000),
        count(),
        update_statistics(),
        escalate_locks(true),
        escalate_locks(false),
        find_user(&reader),
        create_user(&reader),
        let_read("Data team"),
    ];
    texts.extend(constant.map(String::from));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_users_by_their_sid() {
        let reader = |kind| Reader {
            kind,
            id: "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01".parse().expect("a GUID"),
            name: "a]b".to_owned(),
        };
        // .NET's [guid]::ToByteArray() orders the bytes like this.
        let sid = "0xF7A2D60B9C5D6B4B9C0F0D3B7C1F2A01";
        assert_eq!(
            find_user(&reader(ReaderKind::User)),
            format!("SELECT name FROM sys.database_principals WHERE sid = {sid};")
        );
        for (kind, letter) in [
            (ReaderKind::User, 'E'),
            (ReaderKind::Application, 'E'),
            (ReaderKind::Group, 'X'),
        ] {
            assert_eq!(
                create_user(&reader(kind)),
                format!("CREATE USER [a]]b] WITH SID = {sid}, TYPE = {letter};")
            );
        }
        assert_eq!(let_read("a]b"), "ALTER ROLE db_datareader ADD MEMBER [a]]b];");
    }
}

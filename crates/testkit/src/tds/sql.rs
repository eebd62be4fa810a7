//! The T-SQL that the server understands, translated for SQLite.
//!
//! A statement has to be T-SQL to sqlparser, and may only use the keywords that loaders of tables use; everything else
//! is error 102 ("incorrect syntax"). SQLite then checks names and values. Statements without an equivalent in SQLite
//! are recognized by their words; statements are separated by semicolons.

use std::time::Duration;

use sqlparser::ast::{self, DataType, Expr, ObjectType, SelectItem, SetExpr, TableFactor};
use sqlparser::dialect::MsSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::wire::{ColumnType, ServerError};

/// The keywords of the statements that are passed on to SQLite. The last ones are keywords of other dialects, but names
/// in T-SQL.
const KEYWORDS: &str = "AND AS BIGINT BY CREATE DATETIME DELETE DROP FLOAT FROM IN INSERT INT INTO KEY NOT NULL NVARCHAR \
     ORDER PRIMARY SELECT SET SUM TABLE TOP UPDATE VALUES WHERE ITEMS MANIFEST NAME RESULT ROWID TABLES TYPE";

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statement {
    Begin,
    Commit,
    Rollback,
    XactAbort(bool),
    LockTimeout(Duration),
    /// A setting whose value is the only one that this server supports.
    NoChange,
    Declare {
        variable: String,
    },
    /// `EXEC @result = sp_getapplock …`: an exclusive lock that belongs to the transaction.
    AppLock {
        result: String,
        timeout: Duration,
    },
    /// `ALTER TABLE … SET (LOCK_ESCALATION = …)` and `UPDATE STATISTICS …`: the only check is that the table exists.
    Maintain {
        table: String,
    },
    CreateUser {
        name: String,
        sid: String,
        kind: String,
    },
    AddReader {
        user: String,
    },
    InsertBulk {
        table: String,
        columns: Vec<(String, ColumnType)>,
    },
    /// A query in SQLite's dialect, and the table or view that it reads.
    Select {
        sql: String,
        table: Option<String>,
    },
    /// Any other statement, in SQLite's dialect.
    Write {
        sql: String,
    },
}

fn syntax(near: impl std::fmt::Display) -> ServerError {
    ServerError::new(102, format!("Incorrect syntax near '{near}'."))
}

pub(super) fn parse(text: &str) -> Result<Vec<Statement>, ServerError> {
    let mut tokens = Tokenizer::new(&MsSqlDialect {}, text)
        .tokenize()
        .map_err(syntax)?;
    tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
    tokens
        .split(|token| *token == Token::SemiColon)
        .filter(|statement| !statement.is_empty())
        .map(statement)
        .collect()
}

fn statement(tokens: &[Token]) -> Result<Statement, ServerError> {
    let words: Vec<String> = tokens.iter().map(word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let milliseconds = |text: &str| text.parse().map(Duration::from_millis).map_err(|_| syntax(text));
    Ok(match words.as_slice() {
        ["BEGIN", "TRANSACTION"] => Statement::Begin,
        ["COMMIT", "TRANSACTION"] => Statement::Commit,
        ["ROLLBACK", "TRANSACTION"] => Statement::Rollback,
        ["SET", "XACT_ABORT", value @ ("ON" | "OFF")] => Statement::XactAbort(*value == "ON"),
        ["SET", "NOCOUNT" | "IMPLICIT_TRANSACTIONS", "OFF"] => Statement::NoChange,
        ["SET", "LOCK_TIMEOUT", time] => Statement::LockTimeout(milliseconds(time)?),
        ["DECLARE", variable, "INT"] if variable.starts_with('@') => Statement::Declare {
            variable: variable.to_lowercase(),
        },
        [
            "EXEC",
            result,
            "=",
            "SP_GETAPPLOCK",
            arguments @ ..,
            "@LOCKTIMEOUT",
            "=",
            time,
        ] if arguments
            .concat()
            .contains("@LOCKMODE='Exclusive',@LOCKOWNER='Transaction'") =>
        {
            Statement::AppLock {
                result: result.to_lowercase(),
                timeout: milliseconds(time)?,
            }
        }
        [
            "ALTER",
            "TABLE",
            "DBO",
            ".",
            table,
            "SET",
            "(",
            "LOCK_ESCALATION",
            "=",
            "TABLE" | "DISABLE",
            ")",
        ]
        | ["UPDATE", "STATISTICS", "DBO", ".", table] => Statement::Maintain {
            table: table.to_lowercase(),
        },
        [
            "CREATE",
            "USER",
            _,
            "WITH",
            "SID",
            "=",
            _,
            ",",
            "TYPE",
            "=",
            kind @ ("E" | "X"),
        ] => Statement::CreateUser {
            name: name(&tokens[2])?,
            sid: binary(&tokens[6])?,
            kind: (*kind).to_owned(),
        },
        ["ALTER", "ROLE", "DB_DATAREADER", "ADD", "MEMBER", _] => Statement::AddReader {
            user: name(&tokens[5])?,
        },
        ["INSERT", "BULK", "DBO", ".", table, "(", .., ")"] => Statement::InsertBulk {
            table: table.to_lowercase(),
            columns: tokens[6..tokens.len() - 1]
                .split(|token| *token == Token::Comma)
                .try_fold(Vec::new(), bulk_column)?,
        },
        _ => translate(tokens)?,
    })
}

/// Returns a token in a form for comparison: words that are not quoted in capital letters, everything else as it was
/// written.
fn word(token: &Token) -> String {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
        Token::NationalStringLiteral(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

fn name(token: &Token) -> Result<String, ServerError> {
    match token {
        Token::Word(word) => Ok(word.value.clone()),
        other => Err(syntax(other)),
    }
}

/// Returns a binary literal as text: `0x` and upper-case hexadecimal digits.
fn binary(token: &Token) -> Result<String, ServerError> {
    match token {
        Token::HexStringLiteral(digits) => Ok(format!("0x{}", digits.to_uppercase())),
        other => Err(syntax(other)),
    }
}

/// Adds a column of `INSERT BULK`. The comma in a type such as `decimal(9, 2)` would split the column, but no such type
/// is supported.
fn bulk_column(
    mut columns: Vec<(String, ColumnType)>,
    tokens: &[Token],
) -> Result<Vec<(String, ColumnType)>, ServerError> {
    let [column, kind @ ..] = tokens else {
        return Err(syntax(','));
    };
    let kind: String = kind.iter().map(Token::to_string).collect();
    let known = ColumnType::from_sql_name(&kind).ok_or_else(|| unknown_type(&kind))?;
    columns.push((name(column)?, known));
    Ok(columns)
}

fn unknown_type(name: impl std::fmt::Display) -> ServerError {
    let problem = format!("Column, parameter, or variable: Cannot find data type {name}.");
    ServerError::new(2715, problem)
}

/// Translates a statement that SQLite can execute.
fn translate(tokens: &[Token]) -> Result<Statement, ServerError> {
    for token in tokens {
        if let Token::Word(word) = token
            && word.quote_style.is_none()
            && word.keyword != Keyword::NoKeyword
            && !KEYWORDS
                .split(' ')
                .any(|known| word.value.eq_ignore_ascii_case(known))
        {
            return Err(syntax(&word.value));
        }
    }
    let dialect = MsSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens(tokens.to_vec());
    let parsed = parser.parse_statement().map_err(syntax)?;
    if parser.peek_token().token != Token::EOF {
        return Err(syntax(parser.peek_token()));
    }
    let mut sql = render(tokens);
    match parsed {
        ast::Statement::Query(query) => {
            let SetExpr::Select(select) = *query.body else {
                return Err(syntax(query.body));
            };
            // SQLite would return the column of an arbitrary row.
            let is_call = |item: &&SelectItem| {
                matches!(
                    item,
                    SelectItem::UnnamedExpr(Expr::Function(_))
                        | SelectItem::ExprWithAlias {
                            expr: Expr::Function(_),
                            ..
                        }
                )
            };
            let calls = select.projection.iter().filter(is_call).count();
            if calls != 0 && calls != select.projection.len() {
                let problem =
                    "Column is invalid in the select list because it is not contained in an aggregate.";
                return Err(ServerError::new(8120, problem));
            }
            if let [_, Token::Word(top), Token::Number(limit, _), rest @ ..] = tokens
                && top.keyword == Keyword::TOP
            {
                sql = format!("SELECT {} LIMIT {limit}", render(rest));
            }
            let table = match select.from.as_slice() {
                [] => None,
                [from] if from.joins.is_empty() => match &from.relation {
                    TableFactor::Table { name, .. } => Some(object_name(&name.to_string())),
                    other => return Err(syntax(other)),
                },
                [_, second, ..] => return Err(syntax(second)),
                [from] => return Err(syntax(from)),
            };
            Ok(Statement::Select { sql, table })
        }
        ast::Statement::CreateTable(create) => Ok(Statement::Write {
            sql: create_table(&create)?,
        }),
        ast::Statement::Insert(_)
        | ast::Statement::Update(_)
        | ast::Statement::Delete(_)
        | ast::Statement::Drop {
            object_type: ObjectType::Table,
            ..
        } => Ok(Statement::Write { sql }),
        other => Err(syntax(other)),
    }
}

/// Returns the name of a table in the SQLite file, where `dbo` is the only schema.
fn object_name(name: &str) -> String {
    let name = name.to_lowercase();
    name.strip_prefix("dbo.").unwrap_or(&name).replace('.', "_")
}

fn render(tokens: &[Token]) -> String {
    let mut sql = String::new();
    let mut rest = tokens;
    while let [token, after @ ..] = rest {
        rest = after;
        sql += &match (token, after) {
            (Token::Word(schema), [Token::Period, Token::Word(object), after @ ..]) => {
                rest = after;
                object_name(&format!("{}.{}", schema.value, object.value))
            }
            (Token::Word(word), _) if word.value.starts_with('@') => word.value.to_lowercase(),
            (Token::Word(word), _) if word.value.eq_ignore_ascii_case("COUNT_BIG") => "COUNT".to_owned(),
            (Token::NationalStringLiteral(text) | Token::SingleQuotedString(text), _) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            (Token::HexStringLiteral(digits), _) => format!("'0x{}'", digits.to_uppercase()),
            (other, _) => other.to_string(),
        };
        sql.push(' ');
    }
    sql
}

/// Returns a `CREATE TABLE` that includes constraints for what SQLite does not check by itself. The name of a
/// constraint is the number of the error that SQL Server reports for it.
fn create_table(create: &ast::CreateTable) -> Result<String, ServerError> {
    let mut parts = Vec::new();
    for column in &create.columns {
        let name = &column.name;
        let (integer, error) = (format!("typeof({name}) = 'integer'"), 8115);
        let (check, error) = match &column.data_type {
            DataType::Int(None) => (
                format!("{integer} AND {name} BETWEEN -2147483648 AND 2147483647"),
                error,
            ),
            DataType::BigInt(None) | DataType::Datetime(None) => (integer, error),
            DataType::Float(_) => (format!("typeof({name}) = 'real'"), error),
            DataType::Nvarchar(Some(ast::CharacterLength::IntegerLength { length, .. })) => (
                format!("typeof({name}) = 'text' AND length({name}) <= {length}"),
                2628,
            ),
            other => return Err(unknown_type(other)),
        };
        parts.push(format!(
            "{column} CONSTRAINT \"{error}\" CHECK ({name} IS NULL OR {check})"
        ));
    }
    parts.extend(create.constraints.iter().map(ToString::to_string));
    let definition = parts.join(", ");
    // A primary key is clustered: the rows are stored in its order.
    let clustered = if definition.contains("PRIMARY KEY") {
        " WITHOUT ROWID"
    } else {
        ""
    };
    let table = object_name(&create.name.to_string());
    Ok(format!("CREATE TABLE {table} ({definition}){clustered}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_quotes_and_names_lose_their_schema() {
        let text =
            "INSERT INTO dbo.T (a, b) VALUES (-5, N'it''s'); SELECT TOP 0 a FROM sys.database_principals";
        let write = "INSERT INTO t ( a , b ) VALUES ( - 5 , 'it''s' ) ";
        let read = "SELECT a FROM sys_database_principals  LIMIT 0";
        let expected = [
            Statement::Write { sql: write.into() },
            Statement::Select {
                sql: read.into(),
                table: Some("sys_database_principals".into()),
            },
        ];
        assert_eq!(parse(text).expect("both statements are T-SQL"), expected);
    }

    #[test]
    fn what_sql_server_refuses_is_refused_also_where_sqlite_would_take_it() {
        for (text, number) in [
            ("GRANT ALL", 102),
            ("SELECT FROM t", 102),
            ("SELECT a FROM t WHERE", 102),
            ("DROP orders", 102),
            ("SELECT a FROM t LIMIT 1", 102),
            ("INSERT OR IGNORE INTO t (a) VALUES (1)", 102),
            ("CREATE TABLE IF NOT EXISTS t (a int)", 102),
            ("PRAGMA user_version", 102),
            ("BEGIN", 102),
            ("SET NOCOUNT ON", 102),
            ("SELECT a FROM t SELECT b FROM t", 102),
            ("SELECT 'a", 102),
            ("CREATE TABLE t (a text)", 102),
            ("CREATE TABLE t (a datetime2)", 2715),
            ("INSERT BULK dbo.t (a datetime2)", 2715),
            ("SELECT a, COUNT_BIG(*) FROM t", 8120),
        ] {
            assert_eq!(parse(text).map_err(|error| error.number), Err(number), "{text}");
        }
    }
}

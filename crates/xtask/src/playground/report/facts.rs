//! The files of the run as tables, and the answers to queries about them.
//!
//! The report's queries are DuckDB SQL, for readers who want to continue there. The playground does not compile DuckDB,
//! which would take longer than everything else together: it runs the queries using SQLite, for which the few functions
//! of DuckDB that they need are defined here. A check also runs all of them in DuckDB.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use chrono::{DateTime, NaiveDate};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, OpenFlags};
use serde_json::Value as Json;

/// The tables of a playground, read-only.
pub(super) struct Tables {
    connection: Connection,
    /// The answers so far, since several parts of the page use the same query.
    answers: RefCell<HashMap<String, Answer>>,
}

/// The rows that a query returns.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Tables {
    /// Opens `playground.db` and `orders.db` in `directory`.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let open = |name: &str| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(directory.join(name), flags)
                .with_context(|| format!("cannot open {}", directory.join(name).display()))
        };
        let connection = open("playground.db")?;
        connection.execute(
            "ATTACH ? AS shop",
            [directory.join("orders.db").to_string_lossy()],
        )?;
        define_functions(&connection)?;
        Ok(Self {
            connection,
            answers: RefCell::default(),
        })
    }

    /// Runs a query.
    ///
    /// # Errors
    /// If the query is wrong, or if the tables cannot be read.
    pub(super) fn query(&self, sql: &str) -> Result<Answer> {
        let run = || {
            let mut statement = self.connection.prepare(sql)?;
            let columns: Vec<_> = statement.column_names().iter().map(ToString::to_string).collect();
            let rows =
                statement.query_map([], |row| (0..columns.len()).map(|index| row.get(index)).collect())?;
            let rows = rows.collect::<rusqlite::Result<_>>()?;
            Ok::<_, Error>(Answer { columns, rows })
        };
        if let Some(answer) = self.answers.borrow().get(sql) {
            return Ok(answer.clone());
        }
        let answer = run().with_context(|| format!("in the query {sql}"))?;
        self.answers.borrow_mut().insert(sql.to_owned(), answer.clone());
        Ok(answer)
    }

    /// Returns the manifest of the orders.
    pub(super) fn orders_manifest(&self) -> Result<Json> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let text = self
            .connection
            .query_row("SELECT manifest FROM _datagen_manifest", [], read);
        Ok(serde_json::from_str(&text.context("orders.db has no manifest")?)?)
    }

    /// Returns the time that a generator's run took, in seconds.
    pub(super) fn seconds(&self, generator: &str) -> Result<f64> {
        let sql = "SELECT seconds FROM runs WHERE generator = ?";
        Ok(self.connection.query_row(sql, [generator], |row| row.get(0))?)
    }
}

impl Answer {
    fn column(&self, name: &str) -> usize {
        let found = self.columns.iter().position(|column| column == name);
        found.unwrap_or_else(|| panic!("the query has no column {name}"))
    }

    /// Returns a column of numbers. NULL becomes NaN.
    pub(super) fn numbers(&self, column: &str) -> Vec<f64> {
        let column = self.column(column);
        self.rows.iter().map(|row| as_number(&row[column])).collect()
    }

    /// Returns a column of texts.
    pub(super) fn texts(&self, column: &str) -> Vec<&str> {
        let column = self.column(column);
        self.rows.iter().map(|row| as_text(&row[column])).collect()
    }

    /// Returns the number in the only row. It is NaN if there is no row, or if the number is NULL.
    pub(super) fn number(&self, column: &str) -> f64 {
        self.numbers(column).first().copied().unwrap_or(f64::NAN)
    }
}

fn as_number(value: &Value) -> f64 {
    match value {
        Value::Integer(number) => *number as f64,
        Value::Real(number) => *number,
        _ => f64::NAN,
    }
}

fn as_text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

/// Defines the functions of DuckDB that the queries use and SQLite lacks.
fn define_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_UTF8;
    let real = |name: &str, function: fn(f64) -> f64| {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(context.get::<Option<f64>>(0)?.map(function))
        })
    };
    real("sqrt", f64::sqrt)?;
    real("floor", f64::floor)?;
    real("log10", f64::log10)?;
    connection.create_scalar_function("epoch_ms", 1, flags, epoch_ms)?;
    connection.create_scalar_function("split_part", 3, flags, |context| {
        let (text, separator) = (context.get::<String>(0)?, context.get::<String>(1)?);
        let index = context.get::<u32>(2)?;
        let part = text.split(&separator).nth((index - 1) as usize);
        Ok(part.unwrap_or("").to_owned())
    })
}

/// Converts a time to milliseconds since 1970, and a number of milliseconds to a time.
fn epoch_ms(context: &Context<'_>) -> rusqlite::Result<Value> {
    Ok(match context.get_raw(0) {
        ValueRef::Text(text) => {
            let time = std::str::from_utf8(text).ok().and_then(millis);
            time.map_or(Value::Null, Value::Integer)
        }
        ValueRef::Integer(millis) => DateTime::from_timestamp_millis(millis).map_or(Value::Null, |time| {
            Value::Text(time.format("%Y-%m-%d %H:%M:%S%.3f").to_string())
        }),
        _ => Value::Null,
    })
}

/// Returns the milliseconds since 1970 of a time such as `2025-12-31 23:59:59` or `2025-12-31T23:59:59.999Z`. Its
/// numbers are at fixed positions, so that this is much faster than parsing by a format.
fn millis(time: &str) -> Option<i64> {
    let number = |range: Range<usize>| time.get(range)?.parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(number(0..4)? as i32, number(5..7)?, number(8..10)?)?;
    let fraction = number(20..23).unwrap_or(0);
    let time = date.and_hms_milli_opt(number(11..13)?, number(14..16)?, number(17..19)?, fraction)?;
    Some(time.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_of_duckdb_have_its_results() {
        let connection = Connection::open_in_memory().unwrap();
        define_functions(&connection).unwrap();
        let value = |sql: &str| -> Value {
            connection
                .query_row(&format!("SELECT {sql}"), [], |row| row.get(0))
                .unwrap()
        };
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            value("epoch_ms('1970-01-02 00:00:01')"),
            Value::Integer(86_401_000)
        );
        assert_eq!(
            value("epoch_ms('2025-12-29T00:00:01.457Z')"),
            Value::Integer(1_766_966_401_457)
        );
        assert_eq!(value("epoch_ms(86401000)"), text("1970-01-02 00:00:01.000"));
        assert_eq!(value("epoch_ms(NULL)"), Value::Null);
        assert_eq!(value("floor(-1.5)"), Value::Real(-2.0));
        assert_eq!(value("sqrt(NULL)"), Value::Null);
        assert_eq!(value("log10(1000)"), Value::Real(3.0));
        assert_eq!(value("split_part('Ing. Jana Malá', ' ', 2)"), text("Jana"));
        assert_eq!(value("split_part('Jana', ' ', 2)"), text(""));
    }
}

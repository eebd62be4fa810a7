//! The T-SQL that the server understands: what loaders of tables use, and nothing else.
//!
//! An unknown statement is error 102 ("incorrect syntax"), so a test that sends one notices.

use super::wire::{Column, ColumnType, ServerError, Value};

/// The name of the view that lists all tables, schema included so that no table of dbo can have it.
pub(super) const CATALOG: &str = "information_schema.tables";

/// The view that lists all users.
pub(super) const USERS: &str = "sys.database_principals";

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statement {
    /// `SET option value`, the option upper-case.
    Set(String, String),
    Begin,
    Commit,
    Rollback,
    CreateTable {
        table: String,
        columns: Vec<Column>,
        /// Positions of the primary key's columns.
        key: Vec<usize>,
    },
    DropTable {
        table: String,
    },
    InsertValues {
        table: String,
        columns: Vec<String>,
        rows: Vec<Vec<Expr>>,
    },
    Delete {
        table: String,
        filter: Vec<Condition>,
    },
    Update {
        table: String,
        set: Vec<(String, Expr)>,
        filter: Vec<Condition>,
    },
    Select(Query),
    InsertBulk {
        table: String,
        columns: Vec<(String, ColumnType)>,
    },
    /// `EXEC @result = sp_getapplock …`: the lock is the transaction's.
    AppLock {
        resource: String,
        result: String,
        /// Milliseconds; `None` waits for ever.
        timeout: Option<u64>,
    },
    /// `DECLARE @name type`.
    Declare(String),
    /// `ALTER TABLE … SET (…)` and `UPDATE STATISTICS …`: the table must exist, nothing more.
    Maintain {
        table: String,
    },
    /// `CREATE USER … WITH SID = …, TYPE = …`: a user by a SID that is known.
    CreateUser {
        name: String,
        sid: String,
        kind: String,
    },
    /// `ALTER ROLE … ADD MEMBER …`.
    AddMember {
        role: String,
        member: String,
    },
}

/// `SELECT … FROM … WHERE …`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) top: Option<u64>,
    /// Each with the name that the result gives it.
    pub(super) outputs: Vec<(Expr, String)>,
    pub(super) table: Option<String>,
    pub(super) filter: Vec<Condition>,
    pub(super) order: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Literal(Value),
    Column(String),
    Variable(String),
    CountBig,
    Aggregate(Aggregate, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

/// `column operator expression`, or `column IN (expressions)`: one of which is equal. Conditions are joined by
/// AND.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) column: String,
    pub(super) operator: Operator,
    pub(super) right: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word as written; keywords are compared case-insensitively.
    Word(String),
    /// `[name]`.
    Quoted(String),
    Variable(String),
    Text(String),
    Integer(i64),
    Decimal(f64),
    /// `0x…`, in capital letters behind the `x`.
    Binary(String),
    Symbol(&'static str),
}

fn syntax(near: impl std::fmt::Display) -> ServerError {
    let mut error = ServerError::new(102, format!("Incorrect syntax near '{near}'."));
    error.class = 15;
    error
}

fn tokens(text: &str) -> Result<Vec<Token>, ServerError> {
    const SYMBOLS: [&str; 14] = [
        "<=", ">=", "<>", "(", ")", ",", ";", "=", "<", ">", "*", ".", "-", "+",
    ];
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return Ok(out);
        };
        if let Some(quoted) = rest.strip_prefix("N'").or_else(|| rest.strip_prefix('\'')) {
            let mut value = String::new();
            let mut chars = quoted.char_indices().peekable();
            let end = loop {
                match chars.next() {
                    None => return Err(syntax("'")),
                    Some((_, '\'')) if matches!(chars.peek(), Some((_, '\''))) => {
                        chars.next();
                        value.push('\'');
                    }
                    Some((at, '\'')) => break at,
                    Some((_, c)) => value.push(c),
                }
            };
            out.push(Token::Text(value));
            rest = &quoted[end + 1..];
        } else if first == '[' {
            let end = rest.find(']').ok_or_else(|| syntax("["))?;
            out.push(Token::Quoted(rest[1..end].to_string()));
            rest = &rest[end + 1..];
        } else if let Some(binary) = rest.strip_prefix("0x") {
            let end = binary
                .find(|c: char| !c.is_ascii_hexdigit())
                .unwrap_or(binary.len());
            out.push(Token::Binary(format!("0x{}", binary[..end].to_uppercase())));
            rest = &binary[end..];
        } else if first.is_ascii_digit() {
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let number = &rest[..end];
            out.push(match number.parse() {
                Ok(integer) => Token::Integer(integer),
                Err(_) => Token::Decimal(number.parse().map_err(|_| syntax(number))?),
            });
            rest = &rest[end..];
        } else if first.is_alphabetic() || first == '_' || first == '@' || first == '#' {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || "_@#$".contains(c)))
                .unwrap_or(rest.len());
            let word = rest[..end].to_string();
            out.push(if first == '@' {
                Token::Variable(word.to_lowercase())
            } else {
                Token::Word(word)
            });
            rest = &rest[end..];
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            out.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            return Err(syntax(first));
        }
    }
}

/// Parses a batch.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, ServerError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    let mut statements = Vec::new();
    loop {
        while parser.symbol(";") {}
        if parser.at == parser.tokens.len() {
            return Ok(statements);
        }
        statements.push(parser.statement()?);
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn unexpected(&self) -> ServerError {
        match self.peek() {
            None => syntax("end of batch"),
            Some(
                Token::Word(word)
                | Token::Quoted(word)
                | Token::Variable(word)
                | Token::Text(word)
                | Token::Binary(word),
            ) => syntax(word),
            Some(Token::Integer(n)) => syntax(n),
            Some(Token::Decimal(n)) => syntax(n),
            Some(Token::Symbol(symbol)) => syntax(symbol),
        }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(s)) if *s == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ServerError> {
        if self.symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn expect_keyword(&mut self, keyword: &str) -> Result<(), ServerError> {
        if self.keyword(keyword) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn word(&mut self) -> Result<String, ServerError> {
        match self.peek() {
            Some(Token::Word(word) | Token::Quoted(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn variable(&mut self) -> Result<String, ServerError> {
        match self.peek() {
            Some(Token::Variable(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn integer(&mut self) -> Result<i64, ServerError> {
        let negative = self.symbol("-");
        match self.peek() {
            Some(Token::Integer(n)) => {
                let n = *n;
                self.at += 1;
                Ok(if negative { -n } else { n })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `schema.table` or `table`. The only schema is dbo, which is dropped, but for [`CATALOG`] and [`USERS`].
    fn table(&mut self) -> Result<String, ServerError> {
        let mut name = self.word()?;
        if self.symbol(".") {
            if name.eq_ignore_ascii_case("INFORMATION_SCHEMA") && self.keyword("TABLES") {
                return Ok(CATALOG.to_owned());
            }
            if name.eq_ignore_ascii_case("sys") && self.keyword("database_principals") {
                return Ok(USERS.to_owned());
            }
            if !name.eq_ignore_ascii_case("dbo") {
                return Err(ServerError::new(
                    2760,
                    format!(
                        "The specified schema name \"{name}\" either does not exist or you do not have permission to use it."
                    ),
                ));
            }
            name = self.word()?;
        }
        Ok(name.to_lowercase())
    }

    fn statement(&mut self) -> Result<Statement, ServerError> {
        if self.keyword("SET") {
            let option = self.word()?.to_uppercase();
            let value = match self.peek() {
                Some(Token::Word(word)) => word.to_uppercase(),
                Some(Token::Integer(n)) => n.to_string(),
                _ => return Err(self.unexpected()),
            };
            self.at += 1;
            return Ok(Statement::Set(option, value));
        }
        if self.keyword("BEGIN") {
            if !self.keyword("TRANSACTION") {
                self.expect_keyword("TRAN")?;
            }
            return Ok(Statement::Begin);
        }
        for (keyword, statement) in [("COMMIT", Statement::Commit), ("ROLLBACK", Statement::Rollback)] {
            if self.keyword(keyword) {
                let _ = self.keyword("TRANSACTION") || self.keyword("TRAN");
                return Ok(statement);
            }
        }
        if self.keyword("CREATE") {
            if self.keyword("USER") {
                return self.create_user();
            }
            self.expect_keyword("TABLE")?;
            return self.create_table();
        }
        if self.keyword("DROP") {
            self.expect_keyword("TABLE")?;
            return Ok(Statement::DropTable { table: self.table()? });
        }
        if self.keyword("ALTER") {
            if self.keyword("ROLE") {
                let role = self.word()?;
                self.expect_keyword("ADD")?;
                self.expect_keyword("MEMBER")?;
                let member = self.word()?;
                return Ok(Statement::AddMember { role, member });
            }
            self.expect_keyword("TABLE")?;
            let table = self.table()?;
            self.expect_keyword("SET")?;
            self.expect("(")?;
            self.expect_keyword("LOCK_ESCALATION")?;
            self.expect("=")?;
            let value = self.word()?;
            if !["AUTO", "TABLE", "DISABLE"]
                .iter()
                .any(|known| value.eq_ignore_ascii_case(known))
            {
                return Err(syntax(value));
            }
            self.expect(")")?;
            return Ok(Statement::Maintain { table });
        }
        if self.keyword("UPDATE") {
            if self.keyword("STATISTICS") {
                return Ok(Statement::Maintain { table: self.table()? });
            }
            let table = self.table()?;
            self.expect_keyword("SET")?;
            let mut set = Vec::new();
            loop {
                let column = self.word()?;
                self.expect("=")?;
                set.push((column, self.expr()?));
                if !self.symbol(",") {
                    break;
                }
            }
            return Ok(Statement::Update {
                table,
                set,
                filter: self.filter()?,
            });
        }
        if self.keyword("INSERT") {
            if self.keyword("BULK") {
                return self.insert_bulk();
            }
            self.expect_keyword("INTO")?;
            return self.insert();
        }
        if self.keyword("DELETE") {
            self.expect_keyword("FROM")?;
            return Ok(Statement::Delete {
                table: self.table()?,
                filter: self.filter()?,
            });
        }
        if self.keyword("SELECT") {
            return Ok(Statement::Select(self.query()?));
        }
        if self.keyword("DECLARE") {
            let name = self.variable()?;
            let _ = self.keyword("AS");
            self.expect_keyword("int")?;
            return Ok(Statement::Declare(name));
        }
        if self.keyword("EXEC") || self.keyword("EXECUTE") {
            return self.app_lock();
        }
        Err(self.unexpected())
    }

    fn create_user(&mut self) -> Result<Statement, ServerError> {
        let name = self.word()?;
        self.expect_keyword("WITH")?;
        self.expect_keyword("SID")?;
        self.expect("=")?;
        let Some(Token::Binary(sid)) = self.peek().cloned() else {
            return Err(self.unexpected());
        };
        self.at += 1;
        self.expect(",")?;
        self.expect_keyword("TYPE")?;
        self.expect("=")?;
        let kind = self.word()?;
        Ok(Statement::CreateUser { name, sid, kind })
    }

    fn column_type(&mut self) -> Result<ColumnType, ServerError> {
        let name = self.word()?.to_lowercase();
        Ok(match name.as_str() {
            "tinyint" => ColumnType::Int(1),
            "smallint" => ColumnType::Int(2),
            "int" => ColumnType::Int(4),
            "bigint" => ColumnType::Int(8),
            "float" => ColumnType::Float,
            "datetime" => ColumnType::DateTime,
            "nvarchar" => {
                self.expect("(")?;
                let chars = self.integer()?;
                self.expect(")")?;
                match u16::try_from(chars) {
                    Ok(chars @ 1..=4000) => ColumnType::NVarChar(chars),
                    _ => return Err(syntax(chars)),
                }
            }
            other => {
                return Err(ServerError::new(
                    2715,
                    format!("Column, parameter, or variable: Cannot find data type {other}."),
                ));
            }
        })
    }

    fn create_table(&mut self) -> Result<Statement, ServerError> {
        let table = self.table()?;
        self.expect("(")?;
        let mut columns: Vec<Column> = Vec::new();
        let mut key_names: Vec<String> = Vec::new();
        loop {
            let named = self.keyword("CONSTRAINT");
            if named {
                self.word()?;
            }
            if self.keyword("PRIMARY") {
                self.expect_keyword("KEY")?;
                let _ = self.keyword("CLUSTERED");
                self.expect("(")?;
                loop {
                    key_names.push(self.word()?);
                    if !self.symbol(",") {
                        break;
                    }
                }
                self.expect(")")?;
            } else {
                let name = self.word()?;
                let kind = self.column_type()?;
                let mut nullable = true;
                loop {
                    if self.keyword("NOT") {
                        self.expect_keyword("NULL")?;
                        nullable = false;
                    } else if self.keyword("NULL") {
                    } else if self.keyword("CONSTRAINT") {
                        self.word()?;
                    } else if self.keyword("PRIMARY") {
                        self.expect_keyword("KEY")?;
                        let _ = self.keyword("CLUSTERED");
                        nullable = false;
                        key_names.push(name.clone());
                    } else {
                        break;
                    }
                }
                columns.push(Column { name, kind, nullable });
            }
            if !self.symbol(",") {
                break;
            }
        }
        self.expect(")")?;
        let mut key = Vec::new();
        for name in key_names {
            let position = columns
                .iter()
                .position(|column| column.name.eq_ignore_ascii_case(&name));
            let position = position.ok_or_else(|| {
                ServerError::new(
                    1911,
                    format!("Column name '{name}' does not exist in the target table or view."),
                )
            })?;
            columns[position].nullable = false;
            key.push(position);
        }
        Ok(Statement::CreateTable { table, columns, key })
    }

    fn name_list(&mut self) -> Result<Vec<String>, ServerError> {
        self.expect("(")?;
        let mut names = vec![self.word()?];
        while self.symbol(",") {
            names.push(self.word()?);
        }
        self.expect(")")?;
        Ok(names)
    }

    fn insert(&mut self) -> Result<Statement, ServerError> {
        let table = self.table()?;
        let columns = self.name_list()?;
        self.expect_keyword("VALUES")?;
        let mut rows = Vec::new();
        loop {
            self.expect("(")?;
            let mut row = vec![self.expr()?];
            while self.symbol(",") {
                row.push(self.expr()?);
            }
            self.expect(")")?;
            rows.push(row);
            if !self.symbol(",") {
                break;
            }
        }
        if rows.len() > 1000 {
            return Err(ServerError::new(
                10738,
                "The number of row value expressions in the INSERT statement exceeds the maximum allowed number of 1000 row values.",
            ));
        }
        Ok(Statement::InsertValues { table, columns, rows })
    }

    fn insert_bulk(&mut self) -> Result<Statement, ServerError> {
        let table = self.table()?;
        self.expect("(")?;
        let mut columns = Vec::new();
        loop {
            let name = self.word()?;
            columns.push((name, self.column_type()?));
            if !self.symbol(",") {
                break;
            }
        }
        self.expect(")")?;
        if self.keyword("WITH") {
            self.bulk_hints()?;
        }
        Ok(Statement::InsertBulk { table, columns })
    }

    /// `WITH (TABLOCK, CHECK_CONSTRAINTS, ORDER(column ASC, …))`.
    fn bulk_hints(&mut self) -> Result<(), ServerError> {
        self.expect("(")?;
        loop {
            if self.keyword("ORDER") {
                self.expect("(")?;
                loop {
                    self.word()?;
                    let _ = self.keyword("ASC") || self.keyword("DESC");
                    if !self.symbol(",") {
                        break;
                    }
                }
                self.expect(")")?;
            } else if !["TABLOCK", "CHECK_CONSTRAINTS", "KEEP_NULLS", "FIRE_TRIGGERS"]
                .iter()
                .any(|hint| self.keyword(hint))
            {
                return Err(self.unexpected());
            }
            if !self.symbol(",") {
                break;
            }
        }
        self.expect(")")
    }

    fn app_lock(&mut self) -> Result<Statement, ServerError> {
        let result = self.variable()?;
        self.expect("=")?;
        let procedure = self.table_of_sys()?;
        if procedure != "sp_getapplock" {
            return Err(ServerError::new(
                2812,
                format!("Could not find stored procedure '{procedure}'."),
            ));
        }
        let (mut resource, mut mode, mut owner, mut timeout) = (None, None, "transaction".to_string(), None);
        loop {
            let name = self.variable()?;
            self.expect("=")?;
            match name.as_str() {
                "@resource" => resource = Some(self.text()?),
                "@lockmode" => mode = Some(self.text()?.to_lowercase()),
                "@lockowner" => owner = self.text()?.to_lowercase(),
                "@locktimeout" => timeout = u64::try_from(self.integer()?).ok(),
                other => {
                    return Err(ServerError::new(
                        8145,
                        format!("{other} is not a parameter for procedure sp_getapplock."),
                    ));
                }
            }
            if !self.symbol(",") {
                break;
            }
        }
        match (resource, mode.as_deref(), owner.as_str()) {
            (Some(resource), Some("exclusive"), "transaction") => Ok(Statement::AppLock {
                resource,
                result,
                timeout,
            }),
            _ => Err(ServerError::new(
                50000,
                "this server knows exclusive locks of transactions only",
            )),
        }
    }

    fn table_of_sys(&mut self) -> Result<String, ServerError> {
        let mut name = self.word()?;
        if name.eq_ignore_ascii_case("sys") && self.symbol(".") {
            name = self.word()?;
        }
        Ok(name.to_lowercase())
    }

    fn text(&mut self) -> Result<String, ServerError> {
        match self.peek() {
            Some(Token::Text(text) | Token::Word(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn expr(&mut self) -> Result<Expr, ServerError> {
        let negative = self.symbol("-");
        let sign = if negative { -1 } else { 1 };
        let expr = match self.peek().cloned() {
            Some(Token::Integer(n)) => Expr::Literal(Value::Int(sign * n)),
            Some(Token::Decimal(x)) => Expr::Literal(Value::Float(f64::from(sign as i32) * x)),
            _ if negative => return Err(self.unexpected()),
            // Only compared with each other.
            Some(Token::Text(text) | Token::Binary(text)) => Expr::Literal(Value::Text(text)),
            Some(Token::Variable(name)) => Expr::Variable(name),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("NULL") => Expr::Literal(Value::Null),
            Some(Token::Word(word)) => {
                self.at += 1;
                if !self.symbol("(") {
                    return Ok(Expr::Column(word));
                }
                let call = match word.to_uppercase().as_str() {
                    "COUNT_BIG" => {
                        self.expect("*")?;
                        Expr::CountBig
                    }
                    "SUM" => Expr::Aggregate(Aggregate::Sum, self.word()?),
                    "MIN" => Expr::Aggregate(Aggregate::Min, self.word()?),
                    "MAX" => Expr::Aggregate(Aggregate::Max, self.word()?),
                    _ => {
                        return Err(ServerError::new(
                            195,
                            format!("'{word}' is not a recognized built-in function name."),
                        ));
                    }
                };
                self.expect(")")?;
                return Ok(call);
            }
            Some(Token::Quoted(word)) => Expr::Column(word),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(expr)
    }

    fn query(&mut self) -> Result<Query, ServerError> {
        let mut top = None;
        if self.keyword("TOP") {
            let parenthesis = self.symbol("(");
            top = Some(u64::try_from(self.integer()?).map_err(|_| self.unexpected())?);
            if parenthesis {
                self.expect(")")?;
            }
        }
        let mut outputs = Vec::new();
        loop {
            let expr = if self.symbol("*") {
                Expr::Column("*".into())
            } else {
                self.expr()?
            };
            let mut name = match &expr {
                Expr::Column(name) => name.clone(),
                _ => String::new(),
            };
            if self.keyword("AS") {
                name = self.word()?;
            }
            outputs.push((expr, name));
            if !self.symbol(",") {
                break;
            }
        }
        let mut query = Query {
            top,
            outputs,
            table: None,
            filter: Vec::new(),
            order: Vec::new(),
        };
        if self.keyword("FROM") {
            query.table = Some(self.table()?);
            query.filter = self.filter()?;
            if self.keyword("ORDER") {
                self.expect_keyword("BY")?;
                query.order.push(self.word()?);
                while self.symbol(",") {
                    query.order.push(self.word()?);
                }
            }
        }
        Ok(query)
    }

    fn filter(&mut self) -> Result<Vec<Condition>, ServerError> {
        let mut conditions = Vec::new();
        if !self.keyword("WHERE") {
            return Ok(conditions);
        }
        loop {
            let column = self.word()?;
            if self.keyword("BETWEEN") {
                let low = self.expr()?;
                self.expect_keyword("AND")?;
                let high = self.expr()?;
                conditions.push(Condition {
                    column: column.clone(),
                    operator: Operator::Ge,
                    right: vec![low],
                });
                conditions.push(Condition {
                    column,
                    operator: Operator::Le,
                    right: vec![high],
                });
            } else if self.keyword("IN") {
                self.expect("(")?;
                let mut right = vec![self.expr()?];
                while self.symbol(",") {
                    right.push(self.expr()?);
                }
                self.expect(")")?;
                conditions.push(Condition {
                    column,
                    operator: Operator::Eq,
                    right,
                });
            } else {
                const OPERATORS: [(&str, Operator); 6] = [
                    ("=", Operator::Eq),
                    ("<>", Operator::Ne),
                    ("<=", Operator::Le),
                    (">=", Operator::Ge),
                    ("<", Operator::Lt),
                    (">", Operator::Gt),
                ];
                let found = OPERATORS.iter().find(|(symbol, _)| self.symbol(symbol));
                let Some(&(_, operator)) = found else {
                    return Err(self.unexpected());
                };
                conditions.push(Condition {
                    column,
                    operator,
                    right: vec![self.expr()?],
                });
            }
            if !self.keyword("AND") {
                return Ok(conditions);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_both_spellings_of_a_primary_key() {
        let parsed = parse(
            "CREATE TABLE dbo.Orders (orderId int PRIMARY KEY, v float); \
             CREATE TABLE [items] (a int NOT NULL, b int NOT NULL, CONSTRAINT pk PRIMARY KEY CLUSTERED (a, b))",
        )
        .expect("both statements are T-SQL");
        let Statement::CreateTable { table, columns, key } = &parsed[0] else {
            panic!("{parsed:?}")
        };
        assert_eq!((table.as_str(), key.as_slice()), ("orders", &[0][..]));
        assert_eq!(
            columns.iter().map(|c| c.nullable).collect::<Vec<_>>(),
            [false, true]
        );
        let Statement::CreateTable { table, key, .. } = &parsed[1] else {
            panic!("{parsed:?}")
        };
        assert_eq!((table.as_str(), key.as_slice()), ("items", &[0, 1][..]));
    }

    #[test]
    fn quotes_in_texts_and_negative_numbers() {
        let parsed = parse("INSERT INTO t (a, b) VALUES (-5, N'it''s')").expect("T-SQL");
        let Statement::InsertValues { rows, .. } = &parsed[0] else {
            panic!("{parsed:?}")
        };
        assert_eq!(
            rows[0],
            [
                Expr::Literal(Value::Int(-5)),
                Expr::Literal(Value::Text("it's".into()))
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_error_102() {
        for text in [
            "GRANT ALL",
            "SELECT FROM t",
            "SELECT a FROM t WHERE",
            "DROP orders",
            "INSERT t VALUES (1)",
        ] {
            assert_eq!(parse(text).map_err(|error| error.number), Err(102), "{text}");
        }
    }
}

//! What gen-orders is told by its environment variables: how many orders, of what, into which database.

use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{Datelike, Months, NaiveDate, Utc};
use datagen_core::config::common::Common;
use datagen_core::config::{Environment, Problems, Text, local_path};
use datagen_core::model::MAX_ID;
use datagen_core::model::order::OrderRange;
use datagen_core::pace::MAX_RATE;
use datagen_core::secret::Secret;
use datagen_core::settings;

settings! {
    /// What gen-orders reads beside the common variables.
    pub struct OrderSettings {
        count: u64 = "COUNT", default "10000000",
            "How many orders, with ids 1 to COUNT. 0 to 2147483647.";
        user_max_id: u64 = "USER_MAX_ID", default "999999",
            "The highest existing user id; orders refer to users 0 to USER_MAX_ID. 0 to 2147483647.";
        product_max_id: u64 = "PRODUCT_MAX_ID", default "999999",
            "The highest existing product id; items refer to products 0 to PRODUCT_MAX_ID. 0 to 2147483647.";
        date_from: NaiveDate = "DATE_FROM", default "1 January ten years before this year",
            "The first day of orders, YYYY-MM-DD. From 1753-01-01 on, as SQL Server's datetime.";
        date_to: NaiveDate = "DATE_TO", default "1 January of this year",
            "The day after the last day of orders, YYYY-MM-DD. Up to 9999-12-31.";
        rate: f64 = "RATE", default "0",
            "Orders a second at the most; 0 is as fast as the destination takes them. 0 to 1000000000.";
        sql_url: Text = "SQL_URL", default "",
            "A local database file: sqlite:///path. Either this or SQL_SERVER.";
        sql_server: Text = "SQL_SERVER", default "",
            "Host name of the Azure SQL or SQL Server: NAME.database.windows.net. Either this or SQL_URL.";
        sql_database: Text = "SQL_DATABASE", default "",
            "Name of the database on SQL_SERVER.";
        sql_user: Text = "SQL_USER", default "",
            "SQL login. Without SQL_USER and SQL_PASSWORD Microsoft Entra ID signs in.";
        sql_password: Secret = "SQL_PASSWORD", default "",
            "The password of SQL_USER.";
        sql_port: u16 = "SQL_PORT", default "1433",
            "TCP port of SQL_SERVER. 1 to 65535.";
        sql_connections: u32 = "SQL_CONNECTIONS", default "4",
            "How many connections to SQL_SERVER load in parallel. 1 to 64.";
        sql_trust_server_certificate: bool = "SQL_TRUST_SERVER_CERTIFICATE", default "false",
            "Accept any certificate of SQL_SERVER: for local servers only. true or false.";
        sql_timeout: u32 = "SQL_TIMEOUT", default "60",
            "Seconds that SQL_SERVER may take to answer; failures that may pass are tried again for five times as long. 1 to 3600.";
        sql_chunk: u32 = "SQL_CHUNK", default "5000",
            "Orders a transaction. A run that continues another keeps the other's. 1 to 100000.";
    }
}

/// The first day of SQL Server's `datetime`.
const FIRST_DATE: NaiveDate = NaiveDate::from_ymd_opt(1753, 1, 1).expect("a date");
/// The last day that may bound the orders: years have four digits.
const LAST_DATE: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");

/// The work of gen-orders.
#[derive(Clone, Debug)]
pub struct OrdersConfig {
    /// How many orders all shards make together: ids 1 to `count`.
    pub count: u64,
    /// Which data.
    pub seed: u64,
    /// What the orders refer to, and when they were made.
    pub range: OrderRange,
    /// Orders a second at the most.
    pub rate: Option<f64>,
    /// Orders a transaction.
    pub chunk_orders: NonZeroU32,
    /// Where the rows go.
    pub target: Target,
}

/// A database.
#[derive(Clone, Debug)]
pub enum Target {
    /// A SQLite file of this machine.
    Sqlite(PathBuf),
    /// Azure SQL or SQL Server.
    SqlServer(SqlServer),
}

/// A database on a SQL Server, and how to reach it.
#[derive(Clone, Debug)]
pub struct SqlServer {
    /// Host name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// User and password; without them Entra ID signs in.
    pub login: Option<(String, Secret)>,
    /// How many connections load in parallel.
    pub connections: u32,
    /// Whether any certificate is accepted.
    pub trust_certificate: bool,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl OrdersConfig {
    /// Reads and judges the variables.
    pub fn read(environment: &Environment, common: &Common, problems: &mut Problems) -> Option<Self> {
        let mut settings: OrderSettings = environment.read();
        let id =
            |setting: &mut datagen_core::config::Setting<u64>, name, default, problems: &mut Problems| {
                std::mem::take(setting)
                    .within(name, 0..=MAX_ID, problems)
                    .unwrap_or(default)
            };
        let count = id(&mut settings.count, "COUNT", 10_000_000, problems);
        let user_max_id = id(&mut settings.user_max_id, "USER_MAX_ID", 999_999, problems);
        let product_max_id = id(&mut settings.product_max_id, "PRODUCT_MAX_ID", 999_999, problems);
        let rate = std::mem::take(&mut settings.rate).within("RATE", 0.0..=MAX_RATE, problems);
        let chunk = std::mem::take(&mut settings.sql_chunk).within("SQL_CHUNK", 1..=100_000, problems);
        let dates = read_dates(&mut settings, problems);
        let target = read_target(settings, problems);
        Some(Self {
            count,
            seed: common.seed.unwrap_or(0),
            range: OrderRange {
                user_max_id,
                product_max_id,
                dates: dates?,
            },
            rate,
            chunk_orders: chunk
                .and_then(NonZeroU32::new)
                .unwrap_or(NonZeroU32::new(5_000).expect("not 0")),
            target: target?,
        })
    }
}

fn read_dates(settings: &mut OrderSettings, problems: &mut Problems) -> Option<std::ops::Range<NaiveDate>> {
    let before = problems.len();
    let mut read = |setting: &mut datagen_core::config::Setting<NaiveDate>, name| {
        std::mem::take(setting).within(name, FIRST_DATE..=LAST_DATE, problems)
    };
    let from = read(&mut settings.date_from, "DATE_FROM");
    let to = read(&mut settings.date_to, "DATE_TO");
    if problems.len() > before {
        return None;
    }
    let this_year = NaiveDate::from_ymd_opt(Utc::now().year(), 1, 1).expect("1 January exists");
    let to = to.unwrap_or(this_year);
    let from = from.unwrap_or_else(|| this_year - Months::new(120));
    if from >= to {
        problems.report(
            "DATE_FROM",
            format_args!(
                "is {from}, not before DATE_TO, which is {to}: give an earlier DATE_FROM or a later DATE_TO"
            ),
        );
        return None;
    }
    Some(from..to)
}

fn read_target(settings: OrderSettings, problems: &mut Problems) -> Option<Target> {
    let before = problems.len();
    let (by_url, by_server) = (settings.sql_url.is_set(), settings.sql_server.is_set());
    let of_server = [
        ("SQL_DATABASE", settings.sql_database.is_set()),
        ("SQL_USER", settings.sql_user.is_set()),
        ("SQL_PASSWORD", settings.sql_password.is_set()),
    ];
    let login_half_set = settings.sql_user.is_set() != settings.sql_password.is_set();
    let url = settings.sql_url.value("SQL_URL", problems);
    let host = settings.sql_server.value("SQL_SERVER", problems);
    let database_is_set = settings.sql_database.is_set();
    let database = settings.sql_database.value("SQL_DATABASE", problems);
    let user = settings.sql_user.value("SQL_USER", problems);
    let password = settings.sql_password.value("SQL_PASSWORD", problems);
    let port = settings.sql_port.within("SQL_PORT", 1..=u16::MAX, problems);
    let connections = settings
        .sql_connections
        .within("SQL_CONNECTIONS", 1..=64, problems);
    let timeout = settings.sql_timeout.within("SQL_TIMEOUT", 1..=3600, problems);
    let trust = settings
        .sql_trust_server_certificate
        .value("SQL_TRUST_SERVER_CERTIFICATE", problems);
    match (by_url, by_server) {
        (false, false) => problems.report(
            "SQL_SERVER",
            "is not set and neither is SQL_URL: name a destination, NAME.database.windows.net in SQL_SERVER or sqlite:///path in SQL_URL",
        ),
        (true, true) => {
            problems.report("SQL_URL", "and SQL_SERVER name two destinations: unset one of them");
        }
        (true, false) => {
            for (name, is_set) in of_server {
                if is_set {
                    problems.report(name, "is for SQL_SERVER, but SQL_URL names the destination: unset it");
                }
            }
            if let Some(Text(url)) = url {
                return read_sqlite_url(&url)
                    .map_err(|fault| problems.report("SQL_URL", fault))
                    .ok()
                    .filter(|_| problems.len() == before);
            }
        }
        (false, true) => {
            if !database_is_set {
                problems.report("SQL_DATABASE", "is not set: give the name of the database on SQL_SERVER");
            }
            if login_half_set {
                problems.report(
                    "SQL_USER",
                    "and SQL_PASSWORD belong together: set both, or neither to sign in with Entra ID",
                );
            }
            let host_is_plain = |Text(host): &Text| {
                host.parse::<Ipv6Addr>().is_ok()
                    || host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            };
            if host.as_ref().is_some_and(|host| !host_is_plain(host)) {
                problems.report(
                    "SQL_SERVER",
                    "is not a host name: give NAME.database.windows.net, without tcp: or a port (that is SQL_PORT)",
                );
            }
        }
    }
    if problems.len() > before {
        return None;
    }
    let (Text(host), Text(database)) = (host?, database?);
    Some(Target::SqlServer(SqlServer {
        host,
        port: port.unwrap_or(1433),
        database,
        login: user.zip(password).map(|(Text(user), password)| (user, password)),
        connections: connections.unwrap_or(4),
        trust_certificate: trust.unwrap_or(false),
        timeout: Duration::from_secs(timeout.unwrap_or(60).into()),
    }))
}

fn read_sqlite_url(text: &str) -> Result<Target, String> {
    let path = local_path(text, "sqlite")?;
    if path.file_name().is_none() || text.ends_with('/') {
        return Err("names no file: give sqlite:///path, the path of a file".to_owned());
    }
    Ok(Target::Sqlite(path))
}

//! The database for the orders, by SQL_URL or by SQL_SERVER and the settings that belong to it.

use std::path::PathBuf;
use std::time::Duration;

use datagen_settings::catalog::DatabaseSettings;
use datagen_settings::{ConfigurationErrors, Environment, Secret, is_host, local_path};

use super::readers::{self, Reader};

/// A database.
#[derive(Clone, Debug)]
pub enum DatabaseConfig {
    /// A local SQLite file.
    Sqlite(PathBuf),
    /// Azure SQL or SQL Server.
    #[cfg(feature = "mssql")]
    SqlServer(SqlServer),
}

#[cfg(feature = "mssql")]
fn accept(
    server: SqlServer,
    environment: &Environment,
    problems: &mut ConfigurationErrors,
) -> Option<DatabaseConfig> {
    if server.login.is_none() {
        datagen_azure::entra::check(environment, problems);
    }
    Some(DatabaseConfig::SqlServer(server))
}

#[cfg(not(feature = "mssql"))]
fn accept(
    _server: SqlServer,
    _environment: &Environment,
    problems: &mut ConfigurationErrors,
) -> Option<DatabaseConfig> {
    problems.report(
        &DatabaseSettings::SQL_SERVER,
        "names a SQL Server, which this build leaves out: build gen-orders with the feature `mssql`",
    );
    None
}

/// A database on a SQL Server, and how to reach it.
#[derive(Clone, Debug)]
pub struct SqlServer {
    /// Host name or IP address.
    pub host: String,
    pub port: u16,
    pub database: String,
    /// User and password; `None` means to sign in with Microsoft Entra ID.
    pub login: Option<(String, Secret)>,
    /// How many connections load in parallel.
    pub connections: u32,
    /// Whether any certificate is accepted.
    pub trust_certificate: bool,
    /// How long a response may take.
    pub timeout: Duration,
    /// The identities that may read the tables, in addition to the users that the database has.
    pub readers: Vec<Reader>,
}

impl DatabaseConfig {
    /// Reads and validates the settings.
    pub fn read(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let settings: DatabaseSettings = environment.read(problems);
        let (url, server) = (DatabaseSettings::SQL_URL, DatabaseSettings::SQL_SERVER);
        match (environment.is_set(&url), environment.is_set(&server)) {
            (false, false) => {
                problems.report(
                    &server,
                    "is not set and neither is SQL_URL: name a destination, NAME.database.windows.net in \
                     SQL_SERVER or sqlite:///path in SQL_URL",
                );
                None
            }
            (true, true) => {
                problems.report(&url, "and SQL_SERVER name two destinations: unset one of them");
                None
            }
            (true, false) => read_file(settings, environment, problems).map(Self::Sqlite),
            (false, true) => accept(
                read_server(settings, environment, problems)?,
                environment,
                problems,
            ),
        }
    }
}

fn read_file(
    settings: DatabaseSettings,
    environment: &Environment,
    problems: &mut ConfigurationErrors,
) -> Option<PathBuf> {
    let of_server = [
        DatabaseSettings::SQL_DATABASE,
        DatabaseSettings::SQL_USER,
        DatabaseSettings::SQL_PASSWORD,
        DatabaseSettings::SQL_READERS,
    ];
    for variable in of_server.iter().filter(|variable| environment.is_set(variable)) {
        problems.report(
            variable,
            "is for SQL_SERVER, but SQL_URL names the destination: unset it",
        );
    }
    let url = settings.sql_url?.0;
    let path = local_path(&url, "sqlite").and_then(|path| {
        let names_a_file = path.file_name().is_some() && !url.ends_with('/');
        names_a_file
            .then_some(path)
            .ok_or_else(|| "names no file: give sqlite:///path, the path of a file".to_owned())
    });
    path.map_err(|problem| problems.report(&DatabaseSettings::SQL_URL, problem))
        .ok()
}

fn read_server(
    settings: DatabaseSettings,
    environment: &Environment,
    problems: &mut ConfigurationErrors,
) -> Option<SqlServer> {
    if !environment.is_set(&DatabaseSettings::SQL_DATABASE) {
        problems.report(
            &DatabaseSettings::SQL_DATABASE,
            "is not set: give the name of the database on SQL_SERVER",
        );
    }
    if environment.is_set(&DatabaseSettings::SQL_USER) != environment.is_set(&DatabaseSettings::SQL_PASSWORD)
    {
        problems.report(
            &DatabaseSettings::SQL_USER,
            "and SQL_PASSWORD belong together: set both, or neither to sign in with Entra ID",
        );
    }
    let mut checked = |setting, text: Option<String>, is_valid: fn(&str) -> bool, problem| {
        let invalid = text.as_deref().is_some_and(|text| !is_valid(text));
        if invalid {
            problems.report(setting, problem);
        }
        text.filter(|_| !invalid)
    };
    let host = checked(
        &DatabaseSettings::SQL_SERVER,
        settings.sql_server.map(|text| text.0),
        is_host,
        "is not a host name: give NAME.database.windows.net, without tcp: or a port (that is SQL_PORT)",
    );
    let database = checked(
        &DatabaseSettings::SQL_DATABASE,
        settings.sql_database.map(|text| text.0),
        is_database_name,
        "is not the name of a database: give the name alone, not a URL or a connection string",
    );
    let user = checked(
        &DatabaseSettings::SQL_USER,
        settings.sql_user.map(|text| text.0),
        |text| !is_connection_string(text),
        "is not the name of a login: give the name alone, not a connection string",
    );
    let readers = settings
        .sql_readers
        .map(|text| readers::read(&text.0, problems))
        .unwrap_or_default();
    Some(SqlServer {
        // An IPv6 address may be in brackets, as in a URL; neither a certificate nor a socket address has them.
        host: host?.trim_matches(['[', ']']).to_owned(),
        port: settings.sql_port,
        database: database?,
        login: user.zip(settings.sql_password),
        connections: settings.sql_connections,
        trust_certificate: settings.sql_trust_server_certificate,
        timeout: Duration::from_secs(settings.sql_timeout.into()),
        readers,
    })
}

/// Returns whether `text` has the form of a database's name in Azure:
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftsql>.
fn is_database_name(text: &str) -> bool {
    !text.contains(['<', '>', '*', '%', '&', ':', '\\', '/', '?']) && !is_connection_string(text)
}

/// Returns whether `text` looks like `Name=value;Password=value`. Such text must not be printed, while names of
/// databases and users are.
fn is_connection_string(text: &str) -> bool {
    text.contains([';', '='])
}

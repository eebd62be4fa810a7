//! Which database the orders go into, by SQL_URL or SQL_SERVER and what belongs to it.

use std::path::PathBuf;
use std::time::Duration;

use datagen_core::config::{Environment, Problems, Text, is_host, local_path};
use datagen_core::secret::Secret;
use datagen_core::settings;

settings! {
    /// What names the database.
    pub struct TargetSettings {
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
    }
}

settings! {
    /// How to talk to SQL_SERVER.
    pub struct ServerSettings {
        sql_port: u16 = "SQL_PORT", default "1433",
            "TCP port of SQL_SERVER. 1 to 65535.";
        sql_connections: u32 = "SQL_CONNECTIONS", default "4",
            "How many connections to SQL_SERVER load in parallel. 1 to 64.";
        sql_trust_server_certificate: bool = "SQL_TRUST_SERVER_CERTIFICATE", default "false",
            "Accept any certificate of SQL_SERVER: for local servers only. true or false.";
        sql_timeout: u32 = "SQL_TIMEOUT", default "60",
            "Seconds that SQL_SERVER may take to answer; failures that may pass are tried again for five times as long. 1 to 3600.";
    }
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

impl Target {
    /// Reads and judges the variables.
    pub fn read(environment: &Environment, problems: &mut Problems) -> Option<Self> {
        let settings: TargetSettings = environment.read();
        let server = ServerOptions::read(environment, problems);
        match (settings.sql_url.is_set(), settings.sql_server.is_set()) {
            (false, false) => {
                problems.report(
                    "SQL_SERVER",
                    "is not set and neither is SQL_URL: name a destination, NAME.database.windows.net in \
                     SQL_SERVER or sqlite:///path in SQL_URL",
                );
                None
            }
            (true, true) => {
                problems.report(
                    "SQL_URL",
                    "and SQL_SERVER name two destinations: unset one of them",
                );
                None
            }
            (true, false) => read_file(settings, problems).map(Self::Sqlite),
            (false, true) => read_server(settings, server, problems).map(Self::SqlServer),
        }
    }
}

fn read_file(settings: TargetSettings, problems: &mut Problems) -> Option<PathBuf> {
    let before = problems.len();
    let of_server = [
        ("SQL_DATABASE", settings.sql_database.is_set()),
        ("SQL_USER", settings.sql_user.is_set()),
        ("SQL_PASSWORD", settings.sql_password.is_set()),
    ];
    for (name, _) in of_server.iter().filter(|(_, is_set)| *is_set) {
        problems.report(
            name,
            "is for SQL_SERVER, but SQL_URL names the destination: unset it",
        );
    }
    let Text(url) = settings.sql_url.value("SQL_URL", problems)?;
    let path = local_path(&url, "sqlite").and_then(|path| {
        let names_a_file = path.file_name().is_some() && !url.ends_with('/');
        names_a_file
            .then_some(path)
            .ok_or_else(|| "names no file: give sqlite:///path, the path of a file".to_owned())
    });
    match path {
        Ok(path) => (problems.len() == before).then_some(path),
        Err(fault) => {
            problems.report("SQL_URL", fault);
            None
        }
    }
}

/// How to talk to a server, by [`ServerSettings`].
struct ServerOptions {
    port: u16,
    connections: u32,
    trust_certificate: bool,
    timeout: Duration,
}

impl ServerOptions {
    /// Reads and judges the variables; what is wrong is told, and its default returned.
    fn read(environment: &Environment, problems: &mut Problems) -> Self {
        let settings: ServerSettings = environment.read();
        let port = settings.sql_port.within("SQL_PORT", 1..=u16::MAX, problems);
        let connections = settings
            .sql_connections
            .within("SQL_CONNECTIONS", 1..=64, problems);
        let timeout = settings.sql_timeout.within("SQL_TIMEOUT", 1..=3600, problems);
        let trust = settings
            .sql_trust_server_certificate
            .value("SQL_TRUST_SERVER_CERTIFICATE", problems);
        Self {
            port: port.unwrap_or(1433),
            connections: connections.unwrap_or(4),
            trust_certificate: trust.unwrap_or(false),
            timeout: Duration::from_secs(timeout.unwrap_or(60).into()),
        }
    }
}

fn read_server(
    settings: TargetSettings,
    options: ServerOptions,
    problems: &mut Problems,
) -> Option<SqlServer> {
    let before = problems.len();
    let login_is_half_set = settings.sql_user.is_set() != settings.sql_password.is_set();
    let database_is_set = settings.sql_database.is_set();
    let host = settings.sql_server.value("SQL_SERVER", problems);
    let database = settings.sql_database.value("SQL_DATABASE", problems);
    let user = settings.sql_user.value("SQL_USER", problems);
    let password = settings.sql_password.value("SQL_PASSWORD", problems);
    if !database_is_set {
        problems.report(
            "SQL_DATABASE",
            "is not set: give the name of the database on SQL_SERVER",
        );
    }
    if login_is_half_set {
        problems.report(
            "SQL_USER",
            "and SQL_PASSWORD belong together: set both, or neither to sign in with Entra ID",
        );
    }
    if host.as_ref().is_some_and(|Text(host)| !is_host(host)) {
        problems.report(
            "SQL_SERVER",
            "is not a host name: give NAME.database.windows.net, without tcp: or a port (that is SQL_PORT)",
        );
    }
    if database
        .as_ref()
        .is_some_and(|Text(name)| !is_database_name(name))
    {
        problems.report(
            "SQL_DATABASE",
            "is not the name of a database: give the name alone, not a URL or a connection string",
        );
    }
    if user.as_ref().is_some_and(|Text(name)| is_connection_string(name)) {
        problems.report(
            "SQL_USER",
            "is not the name of a login: give the name alone, not a connection string",
        );
    }
    if problems.len() > before {
        return None;
    }
    let (Text(host), Text(database)) = (host?, database?);
    Some(SqlServer {
        host,
        port: options.port,
        database,
        login: user.zip(password).map(|(Text(user), password)| (user, password)),
        connections: options.connections,
        trust_certificate: options.trust_certificate,
        timeout: options.timeout,
    })
}

/// Whether `text` has the form of a database's name in Azure:
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftsql>.
fn is_database_name(text: &str) -> bool {
    !text.contains(['<', '>', '*', '%', '&', ':', '\\', '/', '?']) && !is_connection_string(text)
}

/// Whether `text` looks like `Name=value;Password=value`. It must not be printed, as names of databases and users are.
fn is_connection_string(text: &str) -> bool {
    text.contains([';', '='])
}

//! Errors of SQL Server: one line with advice for each, and whether it is transient.
//!
//! This is the only file that evaluates the English texts of tiberius, where its errors have neither a code nor a type.
//! The test `what_is_wrong_for_good_is_one_clear_line` in `tests/mssql.rs` pins these texts with the real library.

use std::time::Duration;

use datagen_azure::http::describe_certificate_reason;
use datagen_process::error::DestinationError;
use tiberius::error::{Error, IoErrorKind};

/// "Violation of PRIMARY KEY constraint": the key exists already.
pub(super) const DUPLICATE_KEY: u32 = 2627;

/// "Lock request time out period exceeded": the sessions of `session.rs` set a LOCK_TIMEOUT.
pub(super) const LOCK_TIMEOUT: u32 = 1222;

/// "Cannot open database requested by the login": it does not exist, or is not ready yet.
const CANNOT_OPEN_DATABASE: u32 = 4060;

/// "Client with IP address … is not allowed to access the server": a firewall rule is missing or has not
/// taken effect yet.
const FIREWALL: u32 = 40615;

/// Transient errors of SQL Server and Azure SQL. Microsoft lists them in
/// <https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues> and
/// <https://learn.microsoft.com/dotnet/api/microsoft.data.sqlclient.sqlconfigurableretryfactory>. In addition, there
/// are the errors that clients get during a restart, a failover, an upgrade or an administrator's KILL (596, 983, 6005,
/// 6006 and 18401), and 8645, a lack of memory for a query
/// (<https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors>).
const TRANSIENT: [u32; 29] = [
    64, 233, 596, 983, 1204, 1205, 1222, 4060, 4221, 6005, 6006, 8645, 10053, 10054, 10060, 10928, 10929,
    18401, 40143, 40166, 40197, 40501, 40540, 40613, 42108, 42109, 49918, 49919, 49920,
];

/// From this severity on, an error concerns the server and not the request, and ends the connection.
/// <https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-error-severities>
const FATAL_SEVERITY: u8 = 20;

/// Returns whether an error that the server reported is transient.
fn is_transient_number(number: u32, severity: u8) -> bool {
    severity >= FATAL_SEVERITY || TRANSIENT.contains(&number)
}

/// Returns whether an attempt that failed with `error` may succeed later, over a new connection.
pub(super) fn is_transient(error: &Error) -> bool {
    match error {
        Error::Server(token) => is_transient_number(token.code(), token.class()) || token.code() == FIREWALL,
        Error::Io { .. } | Error::Routing { .. } => true,
        // The token stream was cut off, or a broken connection was used again. Refused encryption is the only permanent
        // protocol error.
        Error::Protocol(text) => !text.contains("encryption level"),
        _ => false,
    }
}

/// The probable cause of an error while no login has succeeded yet. It decides how long attempts are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A firewall rule that is missing or has not taken effect yet.
    Firewall,
    /// A wrong address or name.
    WrongName,
    Other,
}

pub(super) fn cause(error: &Error) -> Cause {
    match error {
        Error::Server(token) => cause_of_number(token.code()),
        Error::Io {
            kind: IoErrorKind::ConnectionRefused | UNRESOLVED,
            ..
        } => Cause::WrongName,
        _ => Cause::Other,
    }
}

/// The kind of error for a host name that could not be resolved. The standard library has none, and setting up a
/// connection never fails with this one.
const UNRESOLVED: IoErrorKind = IoErrorKind::NotFound;

/// Returns the error for a failure of the resolver.
pub(super) fn unresolved(error: &std::io::Error) -> Error {
    Error::Io {
        kind: UNRESOLVED,
        message: error.to_string(),
    }
}

fn cause_of_number(number: u32) -> Cause {
    match number {
        FIREWALL => Cause::Firewall,
        CANNOT_OPEN_DATABASE => Cause::WrongName,
        _ => Cause::Other,
    }
}

/// Returns the one line about `error` of the database `destination`.
pub(super) fn describe(destination: &str, error: Error, entra: bool) -> DestinationError {
    let problem = match &error {
        Error::Server(token) => format!("error {}: {}", token.code(), token.message()),
        Error::Io {
            kind: IoErrorKind::TimedOut,
            ..
        } => "the server does not respond".to_owned(),
        Error::Io {
            kind:
                IoErrorKind::UnexpectedEof
                | IoErrorKind::ConnectionReset
                | IoErrorKind::ConnectionAborted
                | IoErrorKind::BrokenPipe,
            ..
        } => "the server closed the connection".to_owned(),
        Error::Io { message, .. } => format!("the connection failed ({message})"),
        Error::Tls(text) => match certificate_reason(text) {
            Some(reason) => describe_certificate_reason(reason),
            None => format!("TLS failed: {text}"),
        },
        Error::Routing { .. } => "the server keeps redirecting the login".to_owned(),
        other => other.to_string(),
    };
    let described = if is_transient(&error) {
        DestinationError::transient(destination, problem)
    } else {
        DestinationError::permanent(destination, problem)
    };
    let described = match advice(&error, entra) {
        Some(advice) => described.advise(advice),
        None => described,
    };
    described.caused_by(error)
}

fn advice(error: &Error, entra: bool) -> Option<&'static str> {
    Some(match error {
        Error::Server(token) => match token.code() {
            18456 if entra => {
                "create a user for this identity in the database (CREATE USER [name] FROM EXTERNAL PROVIDER); if \
                 Terraform made it the administrator of the server, set sql_administrator_id = \"client\" there and \
                 apply again"
            }
            18456 | 18470 | 18487 | 18488 => "check SQL_USER and SQL_PASSWORD",
            CANNOT_OPEN_DATABASE | 911 => "check SQL_DATABASE, and that this login has a user in it",
            FIREWALL => "allow this machine's address in the firewall of the server",
            47073 => "public access is off: run inside the server's network, or allow public access",
            40532 => "check SQL_SERVER and SQL_USER",
            229 | 230 | 262 | 297 | 300 | 916 | 1088 | 2760 | 3701 | 15247 => {
                "grant the user CREATE TABLE, ALTER on schema dbo, and SELECT, INSERT, DELETE"
            }
            1105 | 9002 | 40544 | 40552 => "the database is full: raise its maximum size, or free some space",
            2714 => {
                "a table of that name exists, but this user may not see it: grant access to it, or drop the table"
            }
            3705 => "a view has the name of one of the tables: drop it, or give another database",
            208 => "a table was dropped during the run: start again",
            DUPLICATE_KEY => "another program writes to these tables: drop them and run again",
            code if is_transient_number(code, token.class()) => "run again later: what is loaded is kept",
            _ => return None,
        },
        Error::Tls(_) => {
            "check that SQL_SERVER is the name in the server's certificate; for a local server set SQL_TRUST_SERVER_CERTIFICATE=true"
        }
        Error::Io { .. } => "check SQL_SERVER, SQL_PORT, the network and firewalls; what is loaded is kept",
        Error::Protocol(text) if text.contains("encryption level") => {
            "this server does not offer TLS: enable it on the server"
        }
        _ => return None,
    })
}

/// Returns what rustls says about a certificate that it refused, if `text`, an error of tiberius, is about one.
/// tiberius adds advice for programmers.
fn certificate_reason(text: &str) -> Option<&str> {
    let (_, reason) = text.split_once("certificate was rejected during the TLS handshake: ")?;
    let reason = reason.split(" To connect anyway").next()?;
    Some(reason.trim_end_matches('.'))
}

/// Returns the error that tiberius has for a request that took longer than `limit`.
pub(super) fn timed_out(limit: Duration) -> Error {
    Error::Io {
        kind: IoErrorKind::TimedOut,
        message: format!("nothing within {limit:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_connection_is_reported_without_words_for_programmers() {
        let cut = Error::Io {
            kind: IoErrorKind::UnexpectedEof,
            message: "failed to fill whole buffer".into(),
        };
        let line = describe("host/db", cut, false).to_string();
        assert!(
            line.starts_with("host/db: the server closed the connection; check"),
            "{line}"
        );
    }

    #[test]
    fn transient_and_permanent_errors() {
        let io = |kind| Error::Io {
            kind,
            message: String::new(),
        };
        assert!(is_transient(&io(IoErrorKind::UnexpectedEof)));
        assert!(is_transient(&Error::Protocol("Never got DONE token.".into())));
        assert!(!is_transient(&Error::Protocol(
            "Server does not allow the requested encryption level.".into()
        )));
        assert!(is_transient_number(40613, 17) && is_transient_number(0, 20) && is_transient_number(596, 21));
        assert!(
            !is_transient_number(18456, 14)
                && !is_transient_number(208, 16)
                && !is_transient_number(9002, 17)
        );
        assert!(!is_transient(&Error::Tls("no".into())));
        assert!(!is_transient(&Error::BulkInput("wrong".into())));
        assert_eq!(cause(&io(IoErrorKind::ConnectionRefused)), Cause::WrongName);
        let no_host = std::io::Error::other("no such host");
        assert_eq!(cause(&unresolved(&no_host)), Cause::WrongName);
        assert_eq!(cause(&io(IoErrorKind::ConnectionReset)), Cause::Other);
        let numbers = [40615, 4060, 40613, 18456].map(cause_of_number);
        assert_eq!(
            numbers,
            [Cause::Firewall, Cause::WrongName, Cause::Other, Cause::Other]
        );
    }
}

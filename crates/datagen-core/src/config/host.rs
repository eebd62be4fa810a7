//! Names of hosts, as variables give them.

use std::net::Ipv6Addr;

/// Whether `text` has the form of a host: a name or an IPv4 address of ASCII letters, digits, `-`, `.` and `_`, or an
/// IPv6 address without brackets.
///
/// A host is printed when it cannot be reached. Text of any other form may be a misplaced secret, such as
/// `user:password@host` or a connection string.
pub fn is_host(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    text.parse::<Ipv6Addr>().is_ok() || (!text.is_empty() && text.chars().all(is_allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
        for host in [
            "playground.servicebus.windows.net",
            "my_broker-1",
            "10.0.0.1",
            "::1",
            "fe80::1",
        ] {
            assert!(is_host(host), "{host}");
        }
        for other in [
            "",
            "user:hush@host",
            "user@host",
            "host;sig=hush",
            "[::1]",
            "host/x",
            "host:1",
            "a b",
            "č",
        ] {
            assert!(!is_host(other), "{other}");
        }
    }
}

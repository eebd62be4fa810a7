//! The form of host names.

use std::net::Ipv6Addr;

/// Returns whether `text` has the form of a host name or of an IP address: no scheme, user, password, port or path.
pub fn is_host(text: &str) -> bool {
    let in_a_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    text.parse::<Ipv6Addr>().is_ok() || (!text.is_empty() && text.chars().all(in_a_name))
}

//! Which requests may go through the proxy of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY).

use url::{Host, Url};

/// Returns whether `url` names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // RFC 6761, section 6.3: `localhost.` and all names below it are loopback addresses.
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns whether plain http may carry a SAS to `url`: only to this machine, or to a host name of a single label,
/// which is a container or a machine of the same network.
pub fn may_be_plain(url: &Url) -> bool {
    let is_single_label = matches!(url.host(), Some(Host::Domain(name)) if !name.contains('.'));
    is_loopback(url) || is_single_label
}

/// Returns whether requests to `url` may go through a proxy. A proxy cannot reach this machine under these names, and
/// would read the credentials of a request over plain http.
pub fn may_use_proxy(url: &Url) -> bool {
    url.scheme() == "https" && !is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_other_machines_uses_a_proxy() {
        for (url, loopback, plain, proxy) in [
            ("https://acc.dfs.core.windows.net/", false, false, true),
            ("https://192.0.2.1/", false, false, true),
            ("http://192.0.2.1/", false, false, false),
            ("http://10.0.0.1:10000/", false, false, false),
            ("http://azurite:10000/", false, true, false),
            ("https://azurite:10000/", false, true, true),
            ("http://localhost:10000/", true, true, false),
            ("https://localhost/", true, true, false),
            ("http://acc.blob.localhost:10000/", true, true, false),
            ("http://127.0.0.1:10000/", true, true, false),
            ("https://127.8.9.10/", true, true, false),
            ("http://[::1]:10000/", true, true, false),
            ("http://[2001:db8::1]/", false, false, false),
            ("http://localhost.example.com/", false, false, false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(
                (is_loopback(&url), may_be_plain(&url), may_use_proxy(&url)),
                (loopback, plain, proxy),
                "{url}"
            );
        }
    }
}

//! URLs of local files: `file:///dir`, `sqlite:///path`.

use std::path::PathBuf;

use url::Url;

/// Returns the absolute path that a URL of `scheme` names. Whatever the scheme, it is written as in a file URL (RFC
/// 8089): `%20` is a space.
///
/// # Errors
/// A text that follows the variable's name and says what is wrong and what is allowed.
pub fn local_path(url: &str, scheme: &str) -> Result<PathBuf, String> {
    let expected = format!("give {scheme}:///path, with three slashes");
    let path = url
        .strip_prefix(scheme)
        .and_then(|rest| rest.strip_prefix("://"))
        .ok_or_else(|| format!("does not begin with {scheme}:///: {expected}"))?;
    let url = path
        .starts_with('/')
        .then(|| Url::parse(&format!("file://{path}")).ok())
        .flatten()
        .ok_or_else(|| format!("is not an absolute path: {expected}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a ? or # in its path: write them as %3F and %23".to_owned());
    }
    url.to_file_path()
        .map_err(|()| format!("is not a path of this machine: {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_in_a_file_url() {
        assert_eq!(local_path("file:///a%20b/č", "file"), Ok(PathBuf::from("/a b/č")));
        assert_eq!(
            local_path("sqlite:///a/b.db", "sqlite"),
            Ok(PathBuf::from("/a/b.db"))
        );
    }

    #[test]
    fn what_is_no_absolute_path_is_told() {
        for (url, fault) in [
            (
                "/dir",
                "does not begin with file:///: give file:///path, with three slashes",
            ),
            (
                "file:/dir",
                "does not begin with file:///: give file:///path, with three slashes",
            ),
            (
                "file://dir",
                "is not an absolute path: give file:///path, with three slashes",
            ),
            (
                "file:///dir?x",
                "has a ? or # in its path: write them as %3F and %23",
            ),
            (
                "file:///dir#x",
                "has a ? or # in its path: write them as %3F and %23",
            ),
        ] {
            assert_eq!(local_path(url, "file"), Err(fault.to_owned()));
        }
    }
}

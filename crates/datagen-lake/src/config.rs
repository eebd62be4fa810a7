//! The settings of the lake: LAKE_URL, or STORAGE_SAS for a URL with a SAS, and LAKE_API.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::sas;
use datagen_settings::catalog::LakeSettings;
use datagen_settings::{ConfigurationErrors, Environment, Secret, is_host, local_path};

pub use datagen_settings::catalog::LakeApi as Api;

/// The lake, and how to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeConfig {
    /// The location of the files.
    pub location: Location,
}

/// A location of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A local directory.
    Directory(PathBuf),
    /// A storage account.
    #[cfg(feature = "azure")]
    Account(Account),
}

#[cfg(feature = "azure")]
fn accept(account: Account) -> Result<Location, String> {
    Ok(Location::Account(account))
}

/// Whether plain http may carry a SAS to `url`.
#[cfg(feature = "azure")]
use datagen_azure::http::may_be_plain;

/// This build sends no requests.
#[cfg(not(feature = "azure"))]
fn may_be_plain(_url: &Url) -> bool {
    true
}

#[cfg(not(feature = "azure"))]
fn accept(_account: Account) -> Result<Location, String> {
    Err(
        "names a storage account, which this build leaves out: build the program with the feature `azure`"
            .to_owned(),
    )
}

/// A storage account and a location in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The service: scheme, host, port, and the account's name for path-style emulators. It has no query, and ends with
    /// a slash.
    pub service: Url,
    /// The filesystem (container), if the URL names one.
    pub filesystem: Option<String>,
    /// The segments of the directory in the filesystem, not percent-encoded.
    pub directory: Vec<String>,
    /// The query of the URL, without `?`. `None` means to sign in with Microsoft Entra ID.
    pub sas: Option<Secret>,
    /// The API.
    pub api: Api,
    /// How long a request may make no progress before it is abandoned; `None` means 30 seconds. No variable sets it.
    pub stall_timeout: Option<Duration>,
}

/// The URL without its SAS, for messages.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service.as_str())?;
        for name in self.filesystem.iter().chain(&self.directory) {
            write!(f, "{name}/")?;
        }
        Ok(())
    }
}

/// The form of a lake's URL, for messages.
const URL_FORM: &str = "https://ACCOUNT.dfs.core.windows.net/[FILESYSTEM/[DIR/]]";

impl LakeConfig {
    /// Reads and validates the settings.
    pub fn read(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let settings: LakeSettings = environment.read(problems);
        let (url, sas) = (LakeSettings::LAKE_URL, LakeSettings::STORAGE_SAS);
        match (environment.is_set(&url), environment.is_set(&sas)) {
            (false, false) => problems.report(
                &url,
                format_args!(
                    "is not set and neither is STORAGE_SAS: name a destination, file:///dir or {URL_FORM}"
                ),
            ),
            (true, true) if !problems.concern(&url) && !problems.concern(&sas) => {
                problems.report(&url, "and STORAGE_SAS name two destinations: unset one of them");
            }
            _ => {}
        }
        if problems.concern(&url) || problems.concern(&sas) {
            return None;
        }
        let api = settings.lake_api;
        let (variable, location) = match (settings.lake_url, settings.storage_sas) {
            (Some(text), _) => (url, parse_lake_url(&text.0, api)),
            (None, Some(secret)) => (sas, parse_sas_url(&secret, api)),
            (None, None) => return None,
        };
        match location {
            Ok(location) => {
                #[cfg(feature = "azure")]
                if matches!(&location, Location::Account(account) if account.sas.is_none()) {
                    datagen_azure::entra::check(environment, problems);
                }
                Some(Self { location })
            }
            Err(problem) => {
                problems.report(&variable, problem);
                None
            }
        }
    }
}

/// Refuses characters that a URL parser would remove silently.
fn refuse_control_characters(text: &str) -> Result<(), String> {
    if text.contains(char::is_control) {
        return Err("has a control character, such as a line break, in it: remove it".to_owned());
    }
    Ok(())
}

fn parse_lake_url(text: &str, api: Option<Api>) -> Result<Location, String> {
    refuse_control_characters(text)?;
    let expected = format!("give file:///dir or {URL_FORM}");
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}): {expected}"))?;
    if url.scheme() == "file" {
        if api.is_some() {
            return Err("is a local directory, which has no LAKE_API: unset LAKE_API".to_owned());
        }
        return local_path(text, "file").map(Location::Directory);
    }
    if url.query().is_some() || has_signature(text) {
        return Err("has a query: put a URL with a SAS into STORAGE_SAS, which is kept secret".to_owned());
    }
    accept(parse_account(url, api, None)?)
}

fn parse_sas_url(text: &Secret, api: Option<Api>) -> Result<Location, String> {
    refuse_control_characters(text.expose())?;
    let expected = format!("give {URL_FORM}?sv=…&sig=…");
    let url = Url::parse(text.expose()).map_err(|error| format!("is not a URL ({error}): {expected}"))?;
    if url.scheme() == "file" {
        return Err("is a local directory, which needs no SAS: put it into LAKE_URL".to_owned());
    }
    if has_signature(url.path()) {
        return Err(format!(
            "has its SAS in the path, behind a ? that is percent-encoded: {expected}"
        ));
    }
    let query = url.query().unwrap_or_default();
    sas::check(query)?;
    let sas = Secret::new(query);
    accept(parse_account(url, api, Some(sas))?)
}

/// Returns whether a part of a URL that may be printed contains the signature of a SAS, even if it was percent-encoded
/// repeatedly.
fn has_signature(text: &str) -> bool {
    let mut text = text.to_ascii_lowercase();
    loop {
        if text.contains("sig=") {
            return true;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().to_ascii_lowercase();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
}

/// Parses a URL whose SAS has been extracted; no message repeats any of its query, user or password.
fn parse_account(mut url: Url, api: Option<Api>, sas: Option<Secret>) -> Result<Account, String> {
    if url.scheme() != "https" && url.scheme() != "http" {
        // Only LAKE_URL may name a directory.
        let local = if sas.is_none() { " or file:///" } else { "" };
        return Err(format!("does not begin with https://{local}: give {URL_FORM}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or a password in it: sign in with a SAS or with Entra ID".to_owned());
    }
    if url.fragment().is_some() {
        return Err("has a # in it: write it as %23".to_owned());
    }
    url.set_query(None);
    let host = match url.host() {
        Some(Host::Domain(host)) if is_host(host) => host.to_owned(),
        Some(Host::Domain(_)) => return Err(format!("has a host that cannot exist: give {URL_FORM}")),
        Some(_) => String::new(),
        None => return Err(format!("has no host: give {URL_FORM}")),
    };
    if url.scheme() == "http" && !may_be_plain(&url) {
        return Err(
            "begins with http://: give https:// (plain http is for this machine and for host names without a dot)"
                .to_owned(),
        );
    }
    // Emulators are reached by an address or a name without dots, and have the account in the path:
    // http://127.0.0.1:10000/devstoreaccount1/…
    let path_style = !host.contains('.');
    let mut names = Vec::new();
    for segment in url
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|segment| !segment.is_empty())
    {
        let name = percent_decode_str(segment).decode_utf8();
        let name = name.map_err(|_| "has a path that is not UTF-8".to_owned())?;
        check_name(&name)?;
        names.push(name.into_owned());
    }
    let mut names = names.into_iter();
    url.set_path("");
    if path_style {
        let account = names.next().filter(|name| is_account(name));
        let account = account.ok_or("is an emulator's URL without an account: give http://127.0.0.1:10000/devstoreaccount1/[FILESYSTEM/]")?;
        url.set_path(&format!("{account}/"));
    }
    let by_host = if path_style || host.contains(".blob.") {
        Some(Api::Blob)
    } else if host.contains(".dfs.") {
        Some(Api::Dfs)
    } else {
        None
    };
    let api = api.or(by_host).ok_or(
        "names a host that is neither *.dfs.* nor *.blob.*: set LAKE_API to dfs or blob, or check the host",
    )?;
    let filesystem = names.next();
    if let Some(name) = &filesystem {
        check_filesystem(name)?;
    }
    Ok(Account {
        service: url,
        filesystem,
        directory: names.collect(),
        sas,
        api,
        stall_timeout: None,
    })
}

/// Checks a name in a path by the rules under which both APIs read it alike:
/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata#blob-names>.
fn check_name(name: &str) -> Result<(), String> {
    refuse_control_characters(name)?;
    if name.contains(['?', '/', '\\']) {
        return Err("has a percent-encoded ?, / or \\ in its path: rename the directory".to_owned());
    }
    if name.ends_with('.') {
        return Err(
            "has a directory whose name ends with a dot, which the service does not allow: rename it"
                .to_owned(),
        );
    }
    Ok(())
}

/// Returns whether `name` has the form of an account's name, which may have `-secondary` at its end.
fn is_account(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Checks the name of a filesystem (container) by the naming rules:
/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>.
fn check_filesystem(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let well_formed = (3..=63).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    // `$web` is the container of static websites. `$root` is refused, because the names in it have no directories.
    if well_formed || name == "$web" {
        return Ok(());
    }
    Err(
        "names a filesystem that cannot exist or hold directories: 3 to 63 of a-z, 0-9 and single hyphens between them"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Location, String> {
        let mut problems = ConfigurationErrors::default();
        let config = LakeConfig::read(&pairs.iter().copied().collect(), &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config.location),
            _ => Err(problems.to_string()),
        }
    }

    fn account(pairs: &[(&str, &str)]) -> Account {
        match read(pairs) {
            Ok(Location::Account(account)) => account,
            other => panic!("not an account: {other:?}"),
        }
    }

    #[test]
    fn the_forms_that_the_url_may_have() {
        let a = account(&[("STORAGE_SAS", "https://lake.dfs.core.windows.net/?sv=1&sig=abc")]);
        assert_eq!(
            (a.service.as_str(), a.api),
            ("https://lake.dfs.core.windows.net/", Api::Dfs)
        );
        assert_eq!((a.filesystem, a.directory), (None, vec![]));
        assert_eq!(a.sas.unwrap().expose(), "sv=1&sig=abc");

        let a = account(&[("LAKE_URL", "https://lake.blob.core.windows.net/bronze/a%20b/c/")]);
        assert_eq!(
            (a.service.as_str(), a.api),
            ("https://lake.blob.core.windows.net/", Api::Blob)
        );
        assert_eq!(a.filesystem.as_deref(), Some("bronze"));
        assert_eq!(a.directory, ["a b", "c"]);
        assert_eq!(a.sas, None);

        for host in ["127.0.0.1", "[::1]", "localhost", "azurite"] {
            let url = format!("http://{host}:10000/devstoreaccount1/bronze?sig=x");
            let a = account(&[("STORAGE_SAS", &url)]);
            assert_eq!((a.service.scheme(), a.api), ("http", Api::Blob), "{url}");
        }
        let a = account(&[(
            "STORAGE_SAS",
            "http://127.0.0.1:10000/devstoreaccount1/bronze?sig=x",
        )]);
        assert_eq!(
            (a.service.as_str(), a.api),
            ("http://127.0.0.1:10000/devstoreaccount1/", Api::Blob)
        );
        assert_eq!(a.filesystem.as_deref(), Some("bronze"));

        let a = account(&[
            ("LAKE_URL", "https://lake.dfs.core.windows.net/bronze"),
            ("LAKE_API", "blob"),
        ]);
        assert_eq!(a.api, Api::Blob);
        assert_eq!(a.to_string(), "https://lake.dfs.core.windows.net/bronze/");

        let a = account(&[("LAKE_URL", "https://lake.blob.core.windows.net/$web/data/")]);
        assert_eq!(a.filesystem.as_deref(), Some("$web"));

        assert_eq!(
            read(&[("LAKE_URL", "file:///a/b%20c")]),
            Ok(Location::Directory("/a/b c".into()))
        );
    }

    #[test]
    fn what_is_refused_is_explained_without_the_secret() {
        for (variable, url, expected) in [
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/b?sig=hush",
                "put a URL with a SAS into STORAGE_SAS",
            ),
            (
                "LAKE_URL",
                "http://lake.dfs.core.windows.net/bronze",
                "give https://",
            ),
            (
                "STORAGE_SAS",
                "http://192.0.2.1:10000/devstoreaccount1/bronze?sig=hush",
                "give https://",
            ),
            (
                "STORAGE_SAS",
                "http://[2001:db8::1]:10000/devstoreaccount1/bronze?sig=hush",
                "give https://",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze/??sv=1&sig=hush",
                "has ??",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze/?sv=1&sig=hush+hush",
                "%2B",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze/?sv=1&sig=hush hush",
                "%2B",
            ),
            ("LAKE_URL", "file://dir", "three slashes"),
            ("LAKE_URL", "dir", "is not a URL"),
            ("LAKE_URL", "s3://bucket/x", "does not begin with https://"),
            ("LAKE_URL", "https://lake.example.com/bronze", "set LAKE_API"),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/Bronze_",
                "filesystem that cannot exist",
            ),
            (
                "LAKE_URL",
                "https://lake.blob.core.windows.net/$root",
                "filesystem that cannot",
            ),
            ("LAKE_URL", "http://127.0.0.1:10000/", "without an account"),
            (
                "STORAGE_SAS",
                "https://u:hush@lake.dfs.core.windows.net/?sig=hush",
                "user name or a password",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze",
                "has no SAS",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze?sig=",
                "has no SAS",
            ),
            ("STORAGE_SAS", "sv=2024&sig=hush", "is not a URL"),
            ("STORAGE_SAS", "file:///hush", "put it into LAKE_URL"),
            ("STORAGE_SAS", "file:///dir?sig=hush", "put it into LAKE_URL"),
            (
                "STORAGE_SAS",
                "s3://bucket/x?sig=hush",
                "does not begin with https://: give",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze/dir%3Fsv=1&sig=hush",
                "has its SAS in the path",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze/dir%3Fsv=1&sig=hush?sig=hush",
                "has its SAS in the path",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/dir%3Fsv=1&sig=hush",
                "put a URL with a SAS into STORAGE_SAS",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/dir%253Fsv%253D1%2526SIG%253Dhush",
                "put a URL with a SAS into STORAGE_SAS",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/#?sig=hush",
                "put a URL with a SAS into STORAGE_SAS",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/#hush",
                "%23",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/dir%3Fhush",
                "percent-encoded ?",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/a%2Fhush",
                "percent-encoded ?",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/hush./",
                "ends with a dot",
            ),
            (
                "LAKE_URL",
                "https://lake.blob.core.windows.net/bronze/a%0Ab",
                "control character",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bronze/a%7F",
                "control character",
            ),
            (
                "LAKE_URL",
                "https://lake.dfs.core.windows.net/bron\nze/",
                "control character",
            ),
            (
                "STORAGE_SAS",
                "https://lake.dfs.core.windows.net/bronze/\t?sv=1\n&sig=hush",
                "control character",
            ),
            (
                "LAKE_URL",
                "https://lake.blob.core.windows.net;hush/bronze",
                "a host that cannot exist",
            ),
            (
                "LAKE_URL",
                "https://lake.blob.core.windows.net&hush",
                "a host that cannot exist",
            ),
            (
                "LAKE_URL",
                "http://127.0.0.1:10000/devstoreaccount1_hush",
                "without an account",
            ),
        ] {
            let fault = read(&[(variable, url)]).unwrap_err();
            assert!(fault.starts_with(variable), "{fault}");
            assert!(fault.contains(expected), "{url}: {fault}");
            assert!(!fault.contains("hush"), "{fault}");
            assert_eq!(fault.lines().count(), 1, "{fault}");
        }
        assert!(read(&[]).unwrap_err().contains("name a destination"));
        let two = [
            ("LAKE_URL", "file:///a"),
            ("STORAGE_SAS", "https://a.dfs.core.windows.net/?sig=hush"),
        ];
        assert!(read(&two).unwrap_err().contains("two destinations"));
        assert!(
            read(&[("LAKE_URL", "file:///a"), ("LAKE_API", "s3")])
                .unwrap_err()
                .starts_with("LAKE_API")
        );
    }
}

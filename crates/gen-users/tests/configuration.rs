//! Configurations that gen-users must refuse, and how.

use std::ffi::OsString;
use std::fs;

use datagen_settings::catalog;
use testkit::process::{GeneratorProcess, assert_fails, assert_harmless, assert_help_lists, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-users");

/// The configurations that are refused: what differs from a good one, and the reported lines.
const REFUSED: &str = "\
-LAKE_URL
    LAKE_URL is not set and neither is STORAGE_SAS: name a destination
LAKE_URL=
    LAKE_URL is set but empty
LAKE_URL=lake
    LAKE_URL is not a URL
LAKE_URL=file://lake
    LAKE_URL is not an absolute path: give file:///path
LAKE_URL=ftp://host/hush-hush
    LAKE_URL does not begin with https:// or file:///
LAKE_URL=https://a.dfs.core.windows.net/bronze
AZURE_CLIENT_SECRET=hush-hush
    AZURE_TENANT_ID is not set
    AZURE_CLIENT_ID is not set
LAKE_URL=https://a.dfs.core.windows.net/bronze
AZURE_TENANT_ID=a-tenant
AZURE_CLIENT_ID=an-application
    AZURE_CLIENT_SECRET is not set, but AZURE_TENANT_ID and AZURE_CLIENT_ID are
LAKE_URL=https://a.dfs.core.windows.net/b?sig=hush-hush
    LAKE_URL has a query: put a URL with a SAS into STORAGE_SAS
STORAGE_SAS=https://a.dfs.core.windows.net/?sig=hush-hush
    LAKE_URL and STORAGE_SAS name two destinations
LAKE_URL=
STORAGE_SAS=https://a.dfs.core.windows.net/?sig=hush-hush
    LAKE_URL is set but empty
-LAKE_URL
STORAGE_SAS=https://a.dfs.core.windows.net/users?sv=hush-hush
    STORAGE_SAS has no SAS in it
-LAKE_URL
STORAGE_SAS=http://a.dfs.core.windows.net/?sig=hush-hush
    STORAGE_SAS begins with http://
-LAKE_URL
STORAGE_SAS=https://a.dfs.core.windows.net/B_/?sig=hush-hush
    STORAGE_SAS names a filesystem that cannot exist
LAKE_API=ftp
    LAKE_API is not an allowed value: give dfs or blob
LAKE_API=dfs
    LAKE_URL is a local directory, which has no LAKE_API
COUNT=
    COUNT is set but empty: give 0 to 2147483648
COUNT=many
    COUNT is not a whole number: give 0 to 2147483648
COUNT=hush-hush
    COUNT is not a whole number
COUNT=2147483649
    COUNT is 2147483649, out of range: give 0 to 2147483648
VIP_COUNT=11
    VIP_COUNT is 11, more than the 10 users of COUNT: give 0 to 10
SEED=18446744073709551616
    SEED is 18446744073709551616, out of range
SHARD_INDEX=1
    SHARD_INDEX is 1, but SHARD_COUNT is 1: give 0 to 0
SHARD_COUNT=0
    SHARD_COUNT is 0, out of range: give 1 to 99999
THREADS=0
    THREADS is 0, out of range: give 1 to 256
LOG_FORMAT=xml
    LOG_FORMAT is not an allowed value: give text or json
RUST_LOG=gen_users=loud
    RUST_LOG is not a log filter
-LAKE_URL
COUNT=x
VIP_COUNT=y
SEED=z
THREADS=-9
    SEED is not
    THREADS is -9
    COUNT is not
    VIP_COUNT is not
    LAKE_URL is not set
";

#[test]
fn every_problem_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().join("lake").display());
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let below_a_file = format!("file://{}/lake", file.display());
    let below_a_file = ("LAKE_URL", below_a_file.as_str());
    let good = [("LAKE_URL", url.as_str()), ("COUNT", "10")];
    assert_refused(BINARY, &good, REFUSED);
    assert_fails(
        BINARY,
        &good,
        ("LAKE_URL", "file:///proc/nowhere"),
        "/proc/nowhere",
    );
    assert_fails(
        BINARY,
        &good,
        below_a_file,
        "a file stands where a directory is needed",
    );
    assert!(
        !directory.path().join("lake").exists(),
        "a refused run leaves nothing"
    );
}

#[cfg(unix)]
#[test]
fn text_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(b"hush-hush\xff".to_vec());
    let finished = GeneratorProcess::new(BINARY)
        .envs([("LAKE_URL", value.clone()), ("COUNT", value)])
        .env("VIP_COUNT", "1500000")
        .run();
    assert_eq!(finished.code, Some(2));
    assert_eq!(
        finished.output,
        "gen-users: COUNT is not valid UTF-8: give 0 to 2147483648\n\
         gen-users: LAKE_URL is not valid UTF-8: give text of one line\n"
    );
    assert_harmless(&finished.output);
}

#[test]
fn for_collectors_a_failure_is_json_too() {
    for (variable, value, code, message) in [
        (
            "COUNT",
            "ten",
            2,
            "gen-users: COUNT is not a whole number: give 0 to 2147483648",
        ),
        (
            "LAKE_URL",
            "file:///dev/null/lake",
            1,
            "gen-users: /dev/null/lake",
        ),
    ] {
        let finished = GeneratorProcess::new(BINARY)
            .env("LAKE_URL", "file:///tmp/never-written")
            .env("LOG_FORMAT", "json")
            .env(variable, value)
            .run();
        assert_eq!(finished.code, Some(code), "{}", finished.output);
        let lines = finished.output.lines();
        let last = lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .next_back()
            .unwrap();
        assert_eq!(last["level"], "ERROR", "{last}");
        assert!(last["message"].as_str().unwrap().starts_with(message), "{last}");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_reported_and_leaves_nothing() {
    let lake = tempfile::tempdir().unwrap();
    let finished = GeneratorProcess::with_file_size_limit(BINARY, 1_000)
        .env("LAKE_URL", format!("file://{}", lake.path().display()))
        .env("COUNT", "20000")
        .run();
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    let line = finished.output.lines().last().unwrap();
    assert!(
        line.contains("users/users.json: File too large") && line.contains("ulimit -f"),
        "{line}"
    );
    assert!(!lake.path().join("users/users.json").exists());
    let temporary = fs::read_dir(lake.path().join("_temporary"));
    assert_eq!(temporary.map_or(0, Iterator::count), 0);
}

#[test]
fn help_and_version_answer_and_other_arguments_do_not() {
    let variables = catalog::GEN_USERS.variables().map(|variable| variable.name);
    assert_help_lists(BINARY, variables);
    let version = GeneratorProcess::new(BINARY).arg("--version").succeed().output;
    assert_eq!(version, format!("gen-users {}\n", env!("CARGO_PKG_VERSION")));
    let finished = GeneratorProcess::new(BINARY).arg("--count=5").run();
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.output.contains("configured by environment variables"),
        "{}",
        finished.output
    );
}

//! Configurations that gen-users must refuse, and how.

use std::ffi::OsString;
use std::fs;

use testkit::process::{Generator, Refused, assert_harmless, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-users");

#[test]
fn every_problem_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().join("lake").display());
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let below_a_file = format!("file://{}/lake", file.display());
    let below_a_file = [("LAKE_URL", below_a_file.as_str())];
    let good = [("LAKE_URL", url.as_str()), ("COUNT", "10")];
    let refused = |set, code, lines| Refused { set, code, lines };
    let cases = [
        refused(
            &[("-LAKE_URL", "")],
            2,
            &["LAKE_URL is not set and neither is STORAGE_SAS: name a destination"],
        ),
        refused(&[("LAKE_URL", "")], 2, &["LAKE_URL is set but empty"]),
        refused(&[("LAKE_URL", "lake")], 2, &["LAKE_URL is not a URL"]),
        refused(
            &[("LAKE_URL", "file://lake")],
            2,
            &["LAKE_URL is not an absolute path: give file:///path"],
        ),
        refused(
            &[("LAKE_URL", "ftp://host/hush-hush")],
            2,
            &["LAKE_URL does not begin with https:// or file:///"],
        ),
        refused(&[("LAKE_URL", "https://")], 2, &["LAKE_URL is not a URL"]),
        refused(
            &[
                ("LAKE_URL", "https://a.dfs.core.windows.net/bronze"),
                ("AZURE_CLIENT_SECRET", "hush-hush"),
            ],
            2,
            &["AZURE_TENANT_ID is not set", "AZURE_CLIENT_ID is not set"],
        ),
        refused(
            &[
                ("LAKE_URL", "https://a.dfs.core.windows.net/bronze"),
                ("AZURE_TENANT_ID", "a-tenant"),
                ("AZURE_CLIENT_ID", "an-application"),
            ],
            2,
            &["AZURE_CLIENT_SECRET is not set, but AZURE_TENANT_ID and AZURE_CLIENT_ID are"],
        ),
        refused(
            &[("LAKE_URL", "https://a.dfs.core.windows.net/b?sig=hush-hush")],
            2,
            &["LAKE_URL has a query: put a URL with a SAS into STORAGE_SAS"],
        ),
        refused(
            &[("STORAGE_SAS", "https://a.dfs.core.windows.net/?sig=hush-hush")],
            2,
            &["LAKE_URL and STORAGE_SAS name two destinations"],
        ),
        refused(
            &[
                ("LAKE_URL", ""),
                ("STORAGE_SAS", "https://a.dfs.core.windows.net/?sig=hush-hush"),
            ],
            2,
            &["LAKE_URL is set but empty"],
        ),
        refused(
            &[
                ("-LAKE_URL", ""),
                ("STORAGE_SAS", "https://a.dfs.core.windows.net/users?sv=hush-hush"),
            ],
            2,
            &["STORAGE_SAS has no SAS in it"],
        ),
        refused(
            &[
                ("-LAKE_URL", ""),
                ("STORAGE_SAS", "http://a.dfs.core.windows.net/?sig=hush-hush"),
            ],
            2,
            &["STORAGE_SAS begins with http://"],
        ),
        refused(
            &[
                ("-LAKE_URL", ""),
                ("STORAGE_SAS", "https://a.dfs.core.windows.net/B_/?sig=hush-hush"),
            ],
            2,
            &["STORAGE_SAS names a filesystem that cannot exist"],
        ),
        refused(
            &[("LAKE_API", "ftp")],
            2,
            &["LAKE_API is not an allowed value: give dfs or blob"],
        ),
        refused(
            &[("LAKE_API", "dfs")],
            2,
            &["LAKE_URL is a local directory, which has no LAKE_API"],
        ),
        refused(
            &[("COUNT", "")],
            2,
            &["COUNT is set but empty: give 0 to 2147483648"],
        ),
        refused(
            &[("COUNT", "many")],
            2,
            &["COUNT is not a whole number: give 0 to 2147483648"],
        ),
        refused(&[("COUNT", "hush-hush")], 2, &["COUNT is not a whole number"]),
        refused(&[("COUNT", "-1")], 2, &["COUNT is -1, out of range"]),
        refused(&[("COUNT", "1e6")], 2, &["COUNT is 1e6, not a whole number"]),
        refused(
            &[("COUNT", "2147483649")],
            2,
            &["COUNT is 2147483649, out of range: give 0 to 2147483648"],
        ),
        refused(
            &[("COUNT", "99999999999999999999")],
            2,
            &["COUNT is 99999999999999999999, out of range"],
        ),
        refused(
            &[("VIP_COUNT", "11")],
            2,
            &["VIP_COUNT is 11, more than the 10 users of COUNT: give 0 to 10"],
        ),
        refused(
            &[("VIP_COUNT", "1.5")],
            2,
            &["VIP_COUNT is 1.5, not a whole number"],
        ),
        refused(&[("SEED", "0x10")], 2, &["SEED is not a whole number"]),
        refused(
            &[("SEED", "18446744073709551616")],
            2,
            &["SEED is 18446744073709551616, out of range"],
        ),
        refused(
            &[("SHARD_INDEX", "1")],
            2,
            &["SHARD_INDEX is 1, but SHARD_COUNT is 1: give 0 to 0"],
        ),
        refused(
            &[("SHARD_INDEX", "3"), ("SHARD_COUNT", "3")],
            2,
            &["SHARD_INDEX is 3, but SHARD_COUNT is 3"],
        ),
        refused(
            &[("SHARD_COUNT", "0")],
            2,
            &["SHARD_COUNT is 0, out of range: give 1 to 99999"],
        ),
        refused(
            &[("THREADS", "0")],
            2,
            &["THREADS is 0, out of range: give 1 to 256"],
        ),
        refused(
            &[("LOG_FORMAT", "xml")],
            2,
            &["LOG_FORMAT is not an allowed value: give text or json"],
        ),
        refused(
            &[("RUST_LOG", "gen_users=loud")],
            2,
            &["RUST_LOG is not a log filter"],
        ),
        refused(
            &[
                ("-LAKE_URL", ""),
                ("COUNT", "x"),
                ("VIP_COUNT", "y"),
                ("SEED", "z"),
                ("THREADS", "-9"),
            ],
            2,
            &[
                "SEED is not",
                "THREADS is -9",
                "COUNT is not",
                "VIP_COUNT is not",
                "LAKE_URL is not set",
            ],
        ),
        refused(&[("LAKE_URL", "file:///proc/nowhere")], 1, &["/proc/nowhere"]),
        refused(&below_a_file, 1, &["a file stands where a directory is needed"]),
    ];
    assert_refused(BINARY, &good, &cases);
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
    let finished = Generator::new(BINARY)
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
        let finished = Generator::new(BINARY)
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
    let finished = Generator::with_file_size_limit(BINARY, 1_000)
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
    let help = Generator::new(BINARY).arg("--help").succeed().output;
    for variable in [
        "COUNT",
        "VIP_COUNT",
        "LAKE_URL",
        "STORAGE_SAS",
        "LAKE_API",
        "SEED",
        "SHARD_INDEX",
        "SHARD_COUNT",
        "LOG_FORMAT",
        "RUST_LOG",
    ] {
        assert!(help.contains(&format!("\n  {variable}")), "{variable} in {help}");
    }
    let version = Generator::new(BINARY).arg("--version").succeed().output;
    assert_eq!(version, format!("gen-users {}\n", env!("CARGO_PKG_VERSION")));
    let finished = Generator::new(BINARY).arg("--count=5").run();
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.output.contains("configured by environment variables"),
        "{}",
        finished.output
    );
}

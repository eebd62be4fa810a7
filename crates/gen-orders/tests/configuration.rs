//! Configurations that gen-orders must refuse, and how.

use std::fs;

use testkit::process::{Generator, Refused, assert_harmless, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-orders");
const SERVER: (&str, &str) = ("SQL_SERVER", "s.database.windows.net");
const READER: &str = "user:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01:deployer";

#[test]
fn every_problem_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
    fs::write(
        directory.path().join("text"),
        "this is no database, but it is long enough to look at",
    )
    .unwrap();
    fs::create_dir(directory.path().join("directory.db")).unwrap();
    let fifo = directory.path().join("fifo.db");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo is there").success());
    let fifo = path("fifo.db");
    let fifo = [("SQL_URL", fifo.as_str())];
    let (url, text, folder, below) = (
        path("orders.db"),
        path("text"),
        path("directory.db"),
        path("text/orders.db"),
    );
    let (text, folder, below) = (
        [("SQL_URL", text.as_str())],
        [("SQL_URL", folder.as_str())],
        [("SQL_URL", below.as_str())],
    );
    let good = [("SQL_URL", url.as_str()), ("COUNT", "10")];
    let refused = |set, code, lines| Refused { set, code, lines };
    let cases = [
        refused(
            &[("-SQL_URL", "")],
            2,
            &["SQL_SERVER is not set and neither is SQL_URL: name a destination"],
        ),
        refused(&[SERVER], 2, &["SQL_URL and SQL_SERVER name two destinations"]),
        refused(
            &[("SQL_USER", "loader"), ("SQL_PASSWORD", "hush-hush")],
            2,
            &[
                "SQL_USER is for SQL_SERVER, but SQL_URL names the destination: unset it",
                "SQL_PASSWORD is for SQL_SERVER",
            ],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                SERVER,
                ("SQL_DATABASE", "d"),
                ("AZURE_CLIENT_SECRET", "hush-hush"),
                ("AZURE_CLIENT_ID", "an-application"),
            ],
            2,
            &[
                "AZURE_TENANT_ID is not set: it belongs to AZURE_CLIENT_SECRET, so set it, or unset AZURE_CLIENT_SECRET",
            ],
        ),
        refused(
            &[("SQL_READERS", READER)],
            2,
            &["SQL_READERS is for SQL_SERVER, but SQL_URL names the destination: unset it"],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                SERVER,
                ("SQL_DATABASE", "d"),
                ("SQL_READERS", "user:ada;robot:hush-hush:"),
                ("COUNT", "x"),
            ],
            2,
            &[
                "COUNT is not",
                "SQL_READERS has an entry (number 1) that is not KIND:ID:NAME: give for example user:",
                "SQL_READERS has an entry (number 2) that does not begin with its kind: give user, group or application",
                "SQL_READERS has an entry (number 2) whose ID is not a GUID: give the object ID",
                "SQL_READERS has an entry (number 2) whose name cannot be that of a database user: give 1 to 128",
            ],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                SERVER,
                ("SQL_DATABASE", "d"),
                ("SQL_READERS", ""),
            ],
            2,
            &["SQL_READERS is set but empty: give text of one line, or unset it"],
        ),
        refused(
            &[("DATE_FROM", "+2024-1-01")],
            2,
            &["DATE_FROM is +2024-1-01, not a date"],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                ("SQL_SERVER", "localhost:1433"),
                ("SQL_DATABASE", "d"),
            ],
            2,
            &["SQL_SERVER is not a host name"],
        ),
        refused(
            &[("SQL_URL", "orders.db")],
            2,
            &["SQL_URL does not begin with sqlite:///"],
        ),
        refused(
            &[("SQL_URL", "sqlite://orders.db")],
            2,
            &["SQL_URL is not an absolute path: give sqlite:///path"],
        ),
        refused(&[("SQL_URL", "sqlite:///tmp/")], 2, &["SQL_URL names no file"]),
        refused(
            &[("SQL_URL", "sqlite:///a?mode=hush-hush")],
            2,
            &["SQL_URL has a ? or #"],
        ),
        refused(&[("-SQL_URL", ""), SERVER], 2, &["SQL_DATABASE is not set"]),
        refused(
            &[
                ("-SQL_URL", ""),
                SERVER,
                ("SQL_DATABASE", "d"),
                ("SQL_PASSWORD", "hush-hush"),
            ],
            2,
            &["SQL_USER and SQL_PASSWORD belong together"],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                ("SQL_SERVER", "tcp:s.database.windows.net,1433"),
                ("SQL_DATABASE", "d"),
            ],
            2,
            &["SQL_SERVER is not a host name"],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                ("SQL_SERVER", "sa:hush-hush@s.database.windows.net"),
                (
                    "SQL_DATABASE",
                    "Server=s;Database=d;User ID=sa;Password=hush-hush",
                ),
                ("SQL_USER", "sa;Password=hush-hush"),
                ("SQL_PASSWORD", "hush-hush"),
            ],
            2,
            &[
                "SQL_SERVER is not a host name",
                "SQL_DATABASE is not the name of a database",
                "SQL_USER is not the name of a login",
            ],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                SERVER,
                ("SQL_DATABASE", "d"),
                ("SQL_PORT", "tcp://10.0.0.1:1433"),
            ],
            2,
            &["SQL_PORT is the address that Kubernetes puts into this variable"],
        ),
        refused(
            &[
                ("-SQL_URL", ""),
                SERVER,
                ("SQL_DATABASE", "d"),
                ("SQL_PORT", "65536"),
                ("SQL_CONNECTIONS", "0"),
            ],
            2,
            &[
                "SQL_PORT is 65536, out of range: give 1 to 65535",
                "SQL_CONNECTIONS is 0, out of range: give 1 to 64",
            ],
        ),
        refused(
            &[("SQL_TRUST_SERVER_CERTIFICATE", "maybe")],
            2,
            &["SQL_TRUST_SERVER_CERTIFICATE is not true or false"],
        ),
        refused(
            &[("COUNT", "2147483648")],
            2,
            &["COUNT is 2147483648, out of range: give 0 to 2147483647"],
        ),
        refused(&[("USER_MAX_ID", "-1")], 2, &["USER_MAX_ID is -1, out of range"]),
        refused(
            &[("PRODUCT_MAX_ID", "lots")],
            2,
            &["PRODUCT_MAX_ID is not a whole number"],
        ),
        refused(
            &[("SQL_CHUNK", "0")],
            2,
            &["SQL_CHUNK is 0, out of range: give 1 to 100000"],
        ),
        refused(&[("RATE", "1/s")], 2, &["RATE is not a number"]),
        refused(
            &[("DATE_FROM", "yesterday")],
            2,
            &["DATE_FROM is not a date as YYYY-MM-DD"],
        ),
        refused(
            &[("DATE_FROM", "2024-02-30")],
            2,
            &["DATE_FROM is 2024-02-30, not a date"],
        ),
        refused(
            &[("DATE_TO", "1.1.2024")],
            2,
            &["DATE_TO is 1.1.2024, not a date"],
        ),
        refused(
            &[("DATE_FROM", "1700-01-01")],
            2,
            &["DATE_FROM is 1700-01-01, out of range: give 1753-01-01"],
        ),
        refused(
            &[("DATE_FROM", "2024-01-01"), ("DATE_TO", "2024-01-01")],
            2,
            &["DATE_FROM is 2024-01-01, not before DATE_TO, which is 2024-01-01"],
        ),
        refused(&[("DATE_TO", "1999-12-31")], 2, &["DATE_FROM is"]),
        refused(
            &[
                ("-SQL_URL", ""),
                ("COUNT", "x"),
                ("DATE_TO", "y"),
                ("SQL_CHUNK", "z"),
            ],
            2,
            &[
                "COUNT is not",
                "DATE_TO is not",
                "SQL_CHUNK is not",
                "SQL_SERVER is not set",
            ],
        ),
        refused(&text, 1, &["file is not a database; move the file"]),
        refused(&folder, 1, &["a directory stands where a file is needed"]),
        refused(
            &fifo,
            1,
            &["fifo.db: a FIFO, socket or device stands where a file is needed; move it"],
        ),
        refused(&below, 1, &["a file stands where a directory is needed"]),
        refused(
            &[("SQL_URL", "sqlite:///proc/nowhere/orders.db")],
            1,
            &["/proc/nowhere"],
        ),
    ];
    assert_refused(BINARY, &good, &cases);
    assert!(
        !directory.path().join("orders.db").exists(),
        "a refused run leaves nothing"
    );
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_reported_and_leaves_whole_orders() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders.db");
    let generator = |limit| match limit {
        Some(blocks) => Generator::with_file_size_limit(BINARY, blocks),
        None => Generator::new(BINARY),
    };
    let configured = |limit| {
        let url = format!("sqlite://{}", path.display());
        generator(limit)
            .env("SQL_URL", url)
            .env("COUNT", "20000")
            .env("SQL_CHUNK", "500")
    };
    let finished = configured(Some(2_000)).run();
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert!(
        finished
            .output
            .lines()
            .last()
            .unwrap()
            .starts_with("gen-orders: "),
        "{}",
        finished.output
    );
    assert_harmless(&finished.output);
    // With room again the run continues, and its own check of the counts passes.
    configured(None).succeed();
}

#[test]
fn help_lists_every_variable() {
    let help = Generator::new(BINARY).arg("--help").succeed().output;
    for variable in [
        "COUNT",
        "USER_MAX_ID",
        "PRODUCT_MAX_ID",
        "RATE",
        "SQL_SERVER",
        "SQL_DATABASE",
        "SQL_USER",
        "SQL_PASSWORD",
        "SQL_PORT",
        "SQL_CONNECTIONS",
        "SQL_TRUST_SERVER_CERTIFICATE",
        "SQL_CHUNK",
        "SQL_READERS",
        "DATE_FROM",
        "DATE_TO",
        "SQL_URL",
        "SEED",
        "SHARD_INDEX",
        "SHARD_COUNT",
        "LOG_FORMAT",
        "RUST_LOG",
    ] {
        assert!(help.contains(&format!("\n  {variable}")), "{variable} in {help}");
    }
}

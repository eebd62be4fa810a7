//! Configurations that gen-orders must refuse, and how.

use std::fs;

use datagen_settings::catalog;
use testkit::process::{GeneratorProcess, assert_fails, assert_harmless, assert_help_lists, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-orders");

/// The configurations that are refused: what differs from a good one, and the reported lines.
const REFUSED: &str = "\
-SQL_URL
    SQL_SERVER is not set and neither is SQL_URL: name a destination
SQL_SERVER=s.database.windows.net
    SQL_URL and SQL_SERVER name two destinations
SQL_USER=loader
SQL_PASSWORD=hush-hush
    SQL_USER is for SQL_SERVER, but SQL_URL names the destination: unset it
    SQL_PASSWORD is for SQL_SERVER
-SQL_URL
SQL_SERVER=s.database.windows.net
SQL_DATABASE=d
AZURE_CLIENT_SECRET=hush-hush
AZURE_CLIENT_ID=an-application
    AZURE_TENANT_ID is not set: it belongs to AZURE_CLIENT_SECRET, so set it, or unset AZURE_CLIENT_SECRET
SQL_READERS=user:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01:deployer
    SQL_READERS is for SQL_SERVER, but SQL_URL names the destination: unset it
-SQL_URL
SQL_SERVER=s.database.windows.net
SQL_DATABASE=d
SQL_READERS=user:ada;robot:hush-hush:
COUNT=x
    COUNT is not
    SQL_READERS has an entry (number 1) that is not KIND:ID:NAME: give for example user:
    SQL_READERS has an entry (number 2) that does not begin with its kind: give user, group or application
    SQL_READERS has an entry (number 2) whose ID is not a GUID: give the object ID
    SQL_READERS has an entry (number 2) whose name cannot be that of a database user: give 1 to 128
-SQL_URL
SQL_SERVER=s.database.windows.net
SQL_DATABASE=d
SQL_READERS=
    SQL_READERS is set but empty: give text of one line, or unset it
-SQL_URL
SQL_SERVER=localhost:1433
SQL_DATABASE=d
    SQL_SERVER is not a host name
SQL_URL=orders.db
    SQL_URL does not begin with sqlite:///
SQL_URL=sqlite://orders.db
    SQL_URL is not an absolute path: give sqlite:///path
SQL_URL=sqlite:///tmp/
    SQL_URL names no file
SQL_URL=sqlite:///a?mode=hush-hush
    SQL_URL has a ? or #
-SQL_URL
SQL_SERVER=s.database.windows.net
    SQL_DATABASE is not set
-SQL_URL
SQL_SERVER=s.database.windows.net
SQL_DATABASE=d
SQL_PASSWORD=hush-hush
    SQL_USER and SQL_PASSWORD belong together
-SQL_URL
SQL_SERVER=tcp:s.database.windows.net,1433
SQL_DATABASE=d
    SQL_SERVER is not a host name
-SQL_URL
SQL_SERVER=sa:hush-hush@s.database.windows.net
SQL_DATABASE=Server=s;Database=d;User ID=sa;Password=hush-hush
SQL_USER=sa;Password=hush-hush
SQL_PASSWORD=hush-hush
    SQL_SERVER is not a host name
    SQL_DATABASE is not the name of a database
    SQL_USER is not the name of a login
-SQL_URL
SQL_SERVER=s.database.windows.net
SQL_DATABASE=d
SQL_PORT=tcp://10.0.0.1:1433
    SQL_PORT is the address that Kubernetes puts into this variable
-SQL_URL
SQL_SERVER=s.database.windows.net
SQL_DATABASE=d
SQL_PORT=65536
SQL_CONNECTIONS=0
    SQL_PORT is 65536, out of range: give 1 to 65535
    SQL_CONNECTIONS is 0, out of range: give 1 to 64
COUNT=2147483648
    COUNT is 2147483648, out of range: give 0 to 2147483647
USER_MAX_ID=-1
    USER_MAX_ID is -1, out of range
SQL_CHUNK=0
    SQL_CHUNK is 0, out of range: give 1 to 100000
DATE_FROM=yesterday
    DATE_FROM is not a date as YYYY-MM-DD
DATE_TO=1.1.2024
    DATE_TO is 1.1.2024, not a date
DATE_FROM=1700-01-01
    DATE_FROM is 1700-01-01, out of range: give 1753-01-01
DATE_FROM=2024-01-01
DATE_TO=2024-01-01
    DATE_FROM is 2024-01-01, not before DATE_TO, which is 2024-01-01
DATE_TO=1999-12-31
    DATE_FROM is
-SQL_URL
COUNT=x
DATE_TO=y
SQL_CHUNK=z
    COUNT is not
    DATE_TO is not
    SQL_CHUNK is not
    SQL_SERVER is not set
";

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
    let fifo = ("SQL_URL", fifo.as_str());
    let (url, text, folder, below) = (
        path("orders.db"),
        path("text"),
        path("directory.db"),
        path("text/orders.db"),
    );
    let (text, folder, below) = (
        ("SQL_URL", text.as_str()),
        ("SQL_URL", folder.as_str()),
        ("SQL_URL", below.as_str()),
    );
    let good = [("SQL_URL", url.as_str()), ("COUNT", "10")];
    assert_refused(BINARY, &good, REFUSED);
    assert_fails(BINARY, &good, text, "file is not a database; move the file");
    assert_fails(BINARY, &good, folder, "a directory stands where a file is needed");
    assert_fails(
        BINARY,
        &good,
        fifo,
        "fifo.db: a FIFO, socket or device stands where a file is needed; move it",
    );
    assert_fails(BINARY, &good, below, "a file stands where a directory is needed");
    assert_fails(
        BINARY,
        &good,
        ("SQL_URL", "sqlite:///proc/nowhere/orders.db"),
        "/proc/nowhere",
    );
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
        Some(blocks) => GeneratorProcess::with_file_size_limit(BINARY, blocks),
        None => GeneratorProcess::new(BINARY),
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
    // With enough space again, the run continues, and its check of the counts passes.
    configured(None).succeed();
}

#[test]
fn help_lists_every_variable() {
    let variables = catalog::GEN_ORDERS.variables().map(|variable| variable.name);
    assert_help_lists(BINARY, variables);
}

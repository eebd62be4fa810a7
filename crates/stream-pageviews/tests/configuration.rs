//! Configurations that stream-pageviews must reject, and the errors that it must report.

use std::fs;

use datagen_settings::catalog;
use testkit::process::{GeneratorProcess, assert_fails, assert_help_lists, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_stream-pageviews");

/// The rejected configurations: the differences from a valid one, and the reported lines.
const REFUSED: &str = "\
-STREAM_URL
    EVENTHUB_NAMESPACE is not set, and neither is KAFKA_BOOTSTRAP_SERVERS
EVENTHUB_NAMESPACE=ns
    name two destinations: unset all but one
-STREAM_URL
EVENTHUB_NAMESPACE=ns
AZURE_CLIENT_SECRET=hush-hush
AZURE_CLIENT_ID=an-application
    AZURE_TENANT_ID is not set: it belongs to AZURE_CLIENT_SECRET
KAFKA_BOOTSTRAP_SERVERS=localhost:9092
    name two destinations
EVENTHUB_CONNECTION_STRING_PAGEVIEWS=Endpoint=sb://ns/;SharedAccessKey=hush-hush
EVENTHUB_CONNECTION_STRING_STARS=Endpoint=sb://ns/;SharedAccessKey=hush-hush
    STREAM_URL and the EVENTHUB_CONNECTION_STRINGs name two destinations
STREAM_URL=stream
    STREAM_URL does not begin with file:///
STREAM_URL=kafka://hush-hush
    STREAM_URL does not begin with file:///
-STREAM_URL
EVENTHUB_NAMESPACE=ns.servicebus.windows.net
    EVENTHUB_NAMESPACE is not the name of a namespace
-STREAM_URL
EVENTHUB_NAMESPACE=ns
EVENTHUB_CONNECTION_STRING_STARS=Endpoint=sb://ns/;SharedAccessKey=hush-hush
    EVENTHUB_CONNECTION_STRING_PAGEVIEWS and EVENTHUB_CONNECTION_STRING_STARS belong together
KAFKA_SECURITY_PROTOCOL=TLS
    KAFKA_SECURITY_PROTOCOL is not an allowed value: give PLAINTEXT, SASL_PLAINTEXT, SASL_SSL or SSL
SESSION_PAUSE_MEAN=soon
    SESSION_PAUSE_MEAN is not a number: give 0 to 86400
SESSION_PAUSE_STDDEV=-5
    SESSION_PAUSE_STDDEV is -5, out of range
CONCURRENT_USERS=0
    CONCURRENT_USERS is 0, out of range: give 1 to 100000
CONCURRENT_USERS=3
SHARD_COUNT=4
    CONCURRENT_USERS is 3, the number of sources of all shards together, but SHARD_COUNT is 4: give at least 4
STREAM_FROM=yesterday
STREAM_TO=2026-13-01
    STREAM_FROM is not a time as YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ
    STREAM_TO is 2026-13-01, not a time
STREAM_FROM=1969-12-31T23:59:59Z
    STREAM_FROM is 1969-12-31T23:59:59Z, out of range: give 1970-01-01T00:00:00Z to 9999-12-31T00:00:00Z
STREAM_FROM=2026-01-02
STREAM_TO=2026-01-02T01:00:00+01:00
    STREAM_TO is 2026-01-02T00:00:00Z, but the stream begins at STREAM_FROM=2026-01-02T00:00:00Z: give a later time
STREAM_TO=2026-01-02
    STREAM_TO is 2026-01-02T00:00:00Z, which has passed: give a time in the future, or set STREAM_FROM
STREAM_FROM=9999-01-01
-SESSIONS
    STREAM_FROM is 9999-01-01T00:00:00Z, which is in the future, and the stream has no end
LATE_ONE_IN=10
DUPLICATE_ONE_IN=10
    LATE_ONE_IN needs time to pass, but SESSION_PAUSE_MEAN=0 is a load test
    DUPLICATE_ONE_IN needs time to pass
USER_MAX_ID=3000000000
    USER_MAX_ID is 3000000000, out of range
";

#[test]
fn every_problem_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().join("stream").display());
    fs::write(directory.path().join("file"), "not a directory").unwrap();
    let below = format!("file://{}", directory.path().join("file/stream").display());
    let below = ("STREAM_URL", below.as_str());
    let good = [
        ("STREAM_URL", url.as_str()),
        ("SESSIONS", "1"),
        ("SESSION_PAUSE_MEAN", "0"),
    ];
    assert_refused(BINARY, &good, REFUSED);
    assert_fails(BINARY, &good, below, "a file stands where a directory is needed");
    assert!(
        !directory.path().join("stream").exists(),
        "a refused run leaves nothing"
    );
}

#[test]
fn a_port_that_is_taken_is_reported_before_anything_is_connected_to() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = GeneratorProcess::new(BINARY)
        .env("KAFKA_BOOTSTRAP_SERVERS", &address)
        .env("METRICS_ADDR", &address)
        .run();
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    let expected = format!("stream-pageviews: METRICS_ADDR {address}: Address already in use");
    assert!(finished.output.starts_with(&expected), "{}", finished.output);
}

#[test]
fn help_lists_every_variable() {
    let variables = catalog::STREAM_PAGEVIEWS
        .variables()
        .map(|variable| variable.name);
    assert_help_lists(BINARY, variables);
}

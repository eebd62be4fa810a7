//! Configurations that stream-pageviews must refuse, and how.

use std::fs;

use testkit::process::{Generator, Refused, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_stream-pageviews");

#[test]
fn every_problem_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().join("stream").display());
    fs::write(directory.path().join("file"), "not a directory").unwrap();
    let below = format!("file://{}", directory.path().join("file/stream").display());
    let below = [("STREAM_URL", below.as_str())];
    let good = [
        ("STREAM_URL", url.as_str()),
        ("SESSIONS", "1"),
        ("SESSION_PAUSE_MEAN", "0"),
    ];
    let refused = |set, code, lines| Refused { set, code, lines };
    let cases = [
        refused(
            &[("-STREAM_URL", "")],
            2,
            &["EVENTHUB_NAMESPACE is not set, and neither is KAFKA_BOOTSTRAP_SERVERS"],
        ),
        refused(
            &[("EVENTHUB_NAMESPACE", "ns")],
            2,
            &["name two destinations: unset all but one"],
        ),
        refused(
            &[
                ("-STREAM_URL", ""),
                ("EVENTHUB_NAMESPACE", "ns"),
                ("AZURE_CLIENT_SECRET", "hush-hush"),
                ("AZURE_CLIENT_ID", "an-application"),
            ],
            2,
            &["AZURE_TENANT_ID is not set: it belongs to AZURE_CLIENT_SECRET"],
        ),
        refused(
            &[("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")],
            2,
            &["name two destinations"],
        ),
        refused(
            &[
                (
                    "EVENTHUB_CONNECTION_STRING_PAGEVIEWS",
                    "Endpoint=sb://ns/;SharedAccessKey=hush-hush",
                ),
                (
                    "EVENTHUB_CONNECTION_STRING_STARS",
                    "Endpoint=sb://ns/;SharedAccessKey=hush-hush",
                ),
            ],
            2,
            &["STREAM_URL and the EVENTHUB_CONNECTION_STRINGs name two destinations"],
        ),
        refused(
            &[("STREAM_URL", "stream")],
            2,
            &["STREAM_URL does not begin with file:///"],
        ),
        refused(
            &[("STREAM_URL", "file://stream")],
            2,
            &["STREAM_URL is not an absolute path: give file:///path"],
        ),
        refused(
            &[("STREAM_URL", "kafka://hush-hush")],
            2,
            &["STREAM_URL does not begin with file:///"],
        ),
        refused(
            &[
                ("-STREAM_URL", ""),
                ("EVENTHUB_NAMESPACE", "ns.servicebus.windows.net"),
            ],
            2,
            &["EVENTHUB_NAMESPACE is not the name of a namespace"],
        ),
        refused(
            &[
                ("-STREAM_URL", ""),
                ("EVENTHUB_NAMESPACE", "ns"),
                (
                    "EVENTHUB_CONNECTION_STRING_STARS",
                    "Endpoint=sb://ns/;SharedAccessKey=hush-hush",
                ),
            ],
            2,
            &["EVENTHUB_CONNECTION_STRING_PAGEVIEWS and EVENTHUB_CONNECTION_STRING_STARS belong together"],
        ),
        refused(
            &[("KAFKA_SECURITY_PROTOCOL", "TLS")],
            2,
            &[
                "KAFKA_SECURITY_PROTOCOL is not an allowed value: give PLAINTEXT, SASL_PLAINTEXT, SASL_SSL or SSL",
            ],
        ),
        refused(&[("SESSIONS", "-1")], 2, &["SESSIONS is -1, out of range"]),
        refused(
            &[("SESSION_PAUSE_MEAN", "soon")],
            2,
            &["SESSION_PAUSE_MEAN is not a number: give 0 to 86400"],
        ),
        refused(
            &[("SESSION_PAUSE_STDDEV", "-5")],
            2,
            &["SESSION_PAUSE_STDDEV is -5, out of range"],
        ),
        refused(
            &[("CONCURRENT_USERS", "0")],
            2,
            &["CONCURRENT_USERS is 0, out of range: give 1 to 100000"],
        ),
        refused(
            &[("CONCURRENT_USERS", "3"), ("SHARD_COUNT", "4")],
            2,
            &[
                "CONCURRENT_USERS is 3, the number of sources of all shards together, but SHARD_COUNT is 4: give at least 4",
            ],
        ),
        refused(
            &[("STREAM_FROM", "yesterday"), ("STREAM_TO", "2026-13-01")],
            2,
            &[
                "STREAM_FROM is not a time as YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ",
                "STREAM_TO is 2026-13-01, not a time",
            ],
        ),
        refused(
            &[("STREAM_FROM", "1969-12-31T23:59:59Z")],
            2,
            &[
                "STREAM_FROM is 1969-12-31T23:59:59Z, out of range: give 1970-01-01T00:00:00Z to 9999-12-31T00:00:00Z",
            ],
        ),
        refused(
            &[
                ("STREAM_FROM", "2026-01-02"),
                ("STREAM_TO", "2026-01-02T01:00:00+01:00"),
            ],
            2,
            &[
                "STREAM_TO is 2026-01-02T00:00:00Z, but the stream begins at STREAM_FROM=2026-01-02T00:00:00Z: give a later time",
            ],
        ),
        refused(
            &[("STREAM_TO", "2026-01-02")],
            2,
            &[
                "STREAM_TO is 2026-01-02T00:00:00Z, which has passed: give a time in the future, or set STREAM_FROM",
            ],
        ),
        refused(
            &[("STREAM_FROM", "9999-01-01"), ("-SESSIONS", "")],
            2,
            &["STREAM_FROM is 9999-01-01T00:00:00Z, which is in the future, and the stream has no end"],
        ),
        refused(
            &[("LATE_ONE_IN", "10"), ("DUPLICATE_ONE_IN", "10")],
            2,
            &[
                "LATE_ONE_IN needs time to pass, but SESSION_PAUSE_MEAN=0 is a load test",
                "DUPLICATE_ONE_IN needs time to pass",
            ],
        ),
        refused(
            &[("EVENT_FIELDS", "maybe")],
            2,
            &["EVENT_FIELDS is not true or false"],
        ),
        refused(
            &[("USER_MAX_ID", "3000000000")],
            2,
            &["USER_MAX_ID is 3000000000, out of range"],
        ),
        refused(&[("PRODUCT_MAX_ID", "")], 2, &["PRODUCT_MAX_ID is set but empty"]),
        refused(&[("RATE", "1e10")], 2, &["RATE is 1e10, out of range"]),
        refused(&below, 1, &["a file stands where a directory is needed"]),
    ];
    assert_refused(BINARY, &good, &cases);
    assert!(
        !directory.path().join("stream").exists(),
        "a refused run leaves nothing"
    );
}

#[test]
fn a_port_that_is_taken_is_reported_before_anything_is_connected_to() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = Generator::new(BINARY)
        .env("KAFKA_BOOTSTRAP_SERVERS", &address)
        .env("METRICS_ADDR", &address)
        .run();
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    let expected = format!("stream-pageviews: METRICS_ADDR {address}: Address already in use");
    assert!(finished.output.starts_with(&expected), "{}", finished.output);
}

#[test]
fn help_lists_every_variable() {
    let help = Generator::new(BINARY).arg("--help").succeed().output;
    for variable in [
        "USER_MAX_ID",
        "PRODUCT_MAX_ID",
        "EVENTHUB_NAMESPACE",
        "EVENTHUB_CONNECTION_STRING_PAGEVIEWS",
        "EVENTHUB_CONNECTION_STRING_STARS",
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_SECURITY_PROTOCOL",
        "STREAM_URL",
        "SESSION_PAUSE_MEAN",
        "SESSION_PAUSE_STDDEV",
        "SESSIONS",
        "CONCURRENT_USERS",
        "STREAM_FROM",
        "STREAM_TO",
        "EVENT_FIELDS",
        "LATE_ONE_IN",
        "DUPLICATE_ONE_IN",
        "SEED",
        "SHARD_INDEX",
        "SHARD_COUNT",
        "LOG_FORMAT",
        "RUST_LOG",
    ] {
        assert!(help.contains(&format!("\n  {variable}")), "{variable} in {help}");
    }
}

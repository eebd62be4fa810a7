//! Messages to Apache Kafka: stream-pageviews against kcat, kafka-producer-perf-test, confluent-kafka and the article's loop.
//!
//! The measuring script is beside the end-to-end checks, with which it shares the broker and its tools; `.ci/kafka`
//! installs them.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Bench, succeed};
use crate::build;

/// Prints messages per second, CPU time and ratios.
pub(super) fn run(bench: &Bench) -> Result<()> {
    let rounds = bench.pairs.to_string();
    succeed(
        Command::new(build::root().join(".ci/kafka"))
            .args(["run", "crates/stream-pageviews/tests/e2e/bench.py", "--bin"])
            .arg(&bench.binaries)
            .args(["--rounds", &rounds]),
    )
    .context(
        "the comparison of streams failed: it needs kcat (Debian's package of that name), Java and Maven",
    )
}

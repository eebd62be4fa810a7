//! Files into a lake: `gen-users` and `gen-products` against the article's loop and a plain upload, in Python,
//! on the test kit's server.

use std::error::Error;
use std::path::Path;
use std::process::Command;

/// What measures both sides; it prints the rows of a table.
const SCRIPT: &str = include_str!("lake.py");

/// Builds the programs, installs the peers from PyPI below `target/`, and prints the comparison.
///
/// # Errors
/// If one of these steps fails.
pub(crate) fn run(workspace: &Path) -> Result<(), Box<dyn Error>> {
    let target = workspace.join("target");
    let venv = target.join("bench/lake");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    succeed(Command::new(cargo).current_dir(workspace).args([
        "build",
        "--release",
        "--package=gen-users",
        "--package=gen-products",
        "--package=testkit",
    ]))?;
    if !venv.join("bin/python").exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    succeed(Command::new(venv.join("bin/pip")).args([
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "azure-storage-blob>=12.25,<13",
        "azure-storage-file-datalake>=12.18,<13",
    ]))?;
    succeed(Command::new(venv.join("bin/python")).args(["-c", SCRIPT]).arg(target.join("release")))
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}

//! Builds of the workspace, by cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The four binaries.
pub(crate) const GENERATORS: [&str; 4] = ["gen-users", "gen-products", "gen-orders", "stream-pageviews"];

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two levels below the root")
}

/// A command of cargo in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(root())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

/// Builds the generators with the release profile and returns the directory of the binaries.
pub(crate) fn generators() -> Result<PathBuf> {
    let mut arguments = vec!["build", "--release"];
    arguments.extend(GENERATORS.iter().flat_map(|name| ["--package", name]));
    cargo(&arguments)?;
    release_directory()
}

/// Where the release profile puts its binaries.
pub(crate) fn release_directory() -> Result<PathBuf> {
    // target/debug/xtask → target
    let this = std::env::current_exe().context("the path of this program")?;
    let target = this
        .ancestors()
        .nth(2)
        .context("cargo puts programs two levels below its target directory")?;
    Ok(target.join("release"))
}

//! Builds of the workspace, by cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two levels below the root")
}

/// Builds the binaries of the workspace with the release profile and returns their directory.
pub(crate) fn release() -> Result<PathBuf> {
    build(&["--bins"])?;
    release_directory()
}

/// Builds an example with the release profile and returns its path.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    build(&["--example", name])?;
    Ok(release_directory()?.join("examples").join(name))
}

/// Always of the whole workspace: cargo unites the features that the chosen packages ask of a dependency, so that
/// another choice would compile the dependencies anew.
fn build(what: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--workspace"]).args(what);
    // What `cargo run` tells of this crate is no business of the others: `ring` would be compiled anew for it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    let status = command.current_dir(root()).status().context("cannot run cargo")?;
    ensure!(status.success(), "the release build failed");
    Ok(())
}

/// Where the release profile puts its binaries.
fn release_directory() -> Result<PathBuf> {
    // target/debug/xtask → target
    let this = std::env::current_exe().context("the path of this program")?;
    let target = this
        .ancestors()
        .nth(2)
        .context("cargo puts programs two levels below its target directory")?;
    Ok(target.join("release"))
}

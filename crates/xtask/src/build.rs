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

/// The generators.
const GENERATORS: [&str; 4] = ["gen-users", "gen-products", "gen-orders", "stream-pageviews"];

/// Builds the generators for local destinations only, and returns the directory of their binaries. The clients of
/// Azure and Kafka, which take most of a complete build's time, are left out.
pub(crate) fn local_generators() -> Result<PathBuf> {
    const PROFILE: &str = "playground";
    let packages = GENERATORS.iter().flat_map(|name| ["--package", name]);
    build(PROFILE, packages.chain(["--no-default-features"]))?;
    directory(PROFILE)
}

/// The profile that benchmarks measure.
const BENCHMARK_PROFILE: &str = "dist";

/// Builds all binaries of the workspace for benchmarks, and returns their directory.
pub(crate) fn for_benchmarks() -> Result<PathBuf> {
    build(BENCHMARK_PROFILE, ["--workspace", "--bins"])?;
    directory(BENCHMARK_PROFILE)
}

/// Builds an example for benchmarks, and returns its path.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    // Of the whole workspace: cargo unites the features that the chosen packages require of a dependency, so another
    // choice would compile the dependencies again.
    build(BENCHMARK_PROFILE, ["--workspace", "--example", name])?;
    Ok(directory(BENCHMARK_PROFILE)?.join("examples").join(name))
}

fn build<'a>(profile: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", profile]).args(arguments);
    // `cargo run` sets these for xtask. Build scripts that read them, such as that of `ring`, would run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    let status = command.current_dir(root()).status().context("cannot run cargo")?;
    ensure!(status.success(), "the build failed");
    Ok(())
}

/// Where `profile` puts its binaries.
pub(crate) fn directory(profile: &str) -> Result<PathBuf> {
    // target/playground/xtask -> target
    let this = std::env::current_exe().context("the path of this program")?;
    let target = this
        .ancestors()
        .nth(2)
        .context("cargo puts programs two levels below its target directory")?;
    Ok(target.join(profile))
}

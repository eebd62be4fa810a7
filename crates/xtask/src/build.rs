//! Builds the workspace using cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Returns the root of the workspace.
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

/// Returns the absolute path of a directory with generators that were built elsewhere.
///
/// # Errors
/// If one of them is missing, cannot be run, or has a different version than this workspace: one line for each.
pub(crate) fn generators_in(directory: &Path) -> Result<PathBuf> {
    let version = env!("CARGO_PKG_VERSION");
    let directory = directory
        .canonicalize()
        .with_context(|| format!("--bin-dir {} cannot be read", directory.display()))?;
    let problems: Vec<String> = GENERATORS
        .iter()
        .filter_map(|name| {
            let program = directory
                .join(name)
                .with_extension(std::env::consts::EXE_EXTENSION);
            let problem = problem_of(&program, &format!("{name} {version}"))?;
            Some(format!("{} {problem}", program.display()))
        })
        .collect();
    if !problems.is_empty() {
        bail!(
            "{}\n--bin-dir needs {} of version {version}: unpack them from the release v{version}, or leave out --bin-dir to \
             compile them",
            problems.join("\n"),
            GENERATORS.join(", ")
        );
    }
    Ok(directory)
}

/// Returns why `program` cannot be used, if its `--version` is not `expected`.
fn problem_of(program: &Path, expected: &str) -> Option<String> {
    if !program.is_file() {
        return Some("is missing".to_owned());
    }
    match Command::new(program).arg("--version").env_clear().output() {
        Err(error) => Some(format!("cannot be run: {error}")),
        Ok(output) => {
            let found = String::from_utf8_lossy(&output.stdout);
            (found.trim() != expected).then(|| format!("is {:?}, not {expected:?}", found.trim()))
        }
    }
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
    // Build the whole workspace: cargo unifies the features that the selected packages require of a dependency, so a
    // different selection would compile the dependencies again.
    build(BENCHMARK_PROFILE, ["--workspace", "--example", name])?;
    Ok(directory(BENCHMARK_PROFILE)?.join("examples").join(name))
}

fn build<'a>(profile: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", profile]).args(arguments);
    // `cargo run` sets these for xtask. Build scripts that depend on them, such as that of `ring`, would run again.
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

/// Returns the directory in which `profile` places its binaries.
pub(crate) fn directory(profile: &str) -> Result<PathBuf> {
    // target/playground/xtask -> target
    let this = std::env::current_exe().context("the path of this program")?;
    let target = this
        .ancestors()
        .nth(2)
        .context("cargo puts programs two levels below its target directory")?;
    Ok(target.join(profile))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Creates a directory with scripts in place of the generators. Each script prints what `version` returns.
    fn directory_with(version: impl Fn(&str) -> Option<String>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in GENERATORS {
            if let Some(version) = version(name) {
                let program = directory.path().join(name);
                fs::write(&program, format!("#!/bin/sh\necho \"{version}\"\n")).unwrap();
                fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        directory
    }

    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[test]
    fn programs_of_this_version_are_used() {
        let directory = directory_with(|name| Some(format!("{name} {VERSION}")));
        let found = generators_in(directory.path()).unwrap();
        assert!(
            found.is_absolute() && found.join("gen-users").is_file(),
            "{found:?}"
        );
    }

    #[test]
    fn a_missing_program_and_one_of_another_version_are_both_reported() {
        let directory = directory_with(|name| match name {
            "gen-users" => None,
            "gen-orders" => Some("gen-orders 0.0.9".to_owned()),
            _ => Some(format!("{name} {VERSION}")),
        });
        let error = generators_in(directory.path()).unwrap_err().to_string();
        assert!(error.contains("/gen-users is missing\n"), "{error}");
        let expected = format!("/gen-orders is \"gen-orders 0.0.9\", not \"gen-orders {VERSION}\"\n");
        assert!(error.contains(&expected), "{error}");
        assert!(
            !error.contains("/gen-products") && error.contains("leave out --bin-dir"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_directory_or_no_program_is_reported() {
        let error = generators_in(Path::new("/no/such/directory")).unwrap_err();
        assert!(
            error.to_string().contains("--bin-dir /no/such/directory"),
            "{error}"
        );
        let directory = directory_with(|name| Some(format!("{name} {VERSION}")));
        let program = directory.path().join("gen-users");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
        let error = generators_in(directory.path()).unwrap_err().to_string();
        assert!(error.contains("/gen-users cannot be run: "), "{error}");
    }
}

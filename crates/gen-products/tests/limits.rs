//! gen-products under limits that are too low, and on file systems that lack something.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use testkit::process::{GeneratorProcess, assert_limits_are_reported, wait_until};
use testkit::system_calls::{SystemCallFault, errno, with_fault};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-products");

fn configured(generator: GeneratorProcess, lake: &Path) -> GeneratorProcess {
    generator
        .env("LAKE_URL", format!("file://{}", lake.display()))
        .env("COUNT", "300")
}

#[test]
fn limits_are_reported() {
    let lake = tempfile::tempdir().unwrap();
    let url = format!("file://{}", lake.path().display());
    assert_limits_are_reported(BINARY, &[("LAKE_URL", &url), ("COUNT", "10")]);
    assert_eq!(fs::read_dir(lake.path()).unwrap().count(), 0);
}

#[test]
fn a_limit_of_the_file_size_is_an_error_and_not_the_end_by_a_signal() {
    let lake = tempfile::tempdir().unwrap();
    let limited = configured(GeneratorProcess::with_file_size_limit(BINARY, 0), lake.path()).run();
    assert_eq!(limited.code, Some(1), "{}", limited.output);
    assert!(limited.output.contains("ulimit -f"), "{}", limited.output);
    assert!(!lake.path().join("_temporary").exists());
}

#[test]
fn a_file_system_without_locks_is_enough() {
    for errno in [errno::ENOSYS, errno::ENOLCK] {
        let lake = tempfile::tempdir().unwrap();
        let generator = configured(GeneratorProcess::new(BINARY), lake.path());
        with_fault(generator, &SystemCallFault::Flock(errno)).succeed();
        assert_eq!(fs::read_dir(lake.path().join("products")).unwrap().count(), 300);
        assert!(!lake.path().join("_temporary").exists());
    }
}

#[test]
fn products_that_are_removed_during_the_run_fail_it() {
    let remove_all = |folder: &Path| drop(fs::remove_dir_all(folder));
    let remove_one = |folder: &Path| drop(fs::remove_file(folder.join("product_0.json")));
    let removals: [&dyn Fn(&Path); 2] = [&remove_all, &remove_one];
    for remove in removals {
        let lake = tempfile::tempdir().unwrap();
        let folder = lake.path().join("products");
        let generator = configured(GeneratorProcess::new(BINARY), lake.path()).env("RATE", "500");
        let mut child = generator.start();
        wait_until(&mut child, || folder.join("product_20.json").exists());
        remove(&folder);
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(!lake.path().join("_datagen/products.json").exists());
    }
}

/// Pins the texts that distinguish a wrong name from a resolver that is out of order: those of the C library, of Rust's
/// standard library and of hyper-util.
#[test]
fn a_name_that_does_not_exist_ends_the_run_and_a_resolver_that_is_out_of_order_does_not() {
    for host in ["acc.blob.core.windows.net", "acc.dfs.core.windows.net"] {
        let resolving = |code| {
            let generator = GeneratorProcess::new(BINARY)
                .env(
                    "STORAGE_SAS",
                    format!("https://{host}/bronze?se=2999-01-01T00%3A00%3A00Z&sp=rcwdlm&sig=c2lnbmF0dXJl"),
                )
                .env("COUNT", "1")
                .env("RUST_LOG", "datagen_lake=debug");
            with_fault(generator, &SystemCallFault::Resolve(code))
        };
        let wrong = resolving(errno::EAI_NONAME).run();
        assert_eq!(wrong.code, Some(1), "{}", wrong.output);
        assert!(
            wrong.output.contains("Name or service not known")
                && wrong.output.contains("check the account's name"),
            "{}",
            wrong.output
        );
        let mut child = resolving(errno::EAI_AGAIN).start_logging();
        let log = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut lines = log.lines().map(|line| line.expect("the log is UTF-8"));
        let again = lines.find(|line| line.contains("Temporary failure in name resolution"));
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
        assert!(
            again.as_ref().is_some_and(|line| line.contains("trying again")),
            "{again:?}"
        );
    }
}

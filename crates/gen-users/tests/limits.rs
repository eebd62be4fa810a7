//! gen-users under limits that are too low, and on file systems that lack something.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;

use testkit::process::{GeneratorProcess, assert_limits_are_reported};
use testkit::system_calls::{SystemCallFault, errno, synced_paths, with_fault};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-users");

#[test]
fn limits_are_reported() {
    let lake = tempfile::tempdir().unwrap();
    let url = format!("file://{}", lake.path().display());
    let good = [("LAKE_URL", url.as_str()), ("COUNT", "1000"), ("VIP_COUNT", "10")];
    assert_limits_are_reported(BINARY, &good);
    assert_eq!(fs::read_dir(lake.path()).unwrap().count(), 0);
}

fn gen_users(lake: &std::path::Path) -> GeneratorProcess {
    configured(GeneratorProcess::new(BINARY), lake)
}

fn configured(generator: GeneratorProcess, lake: &std::path::Path) -> GeneratorProcess {
    generator
        .env("LAKE_URL", format!("file://{}", lake.display()))
        .env("COUNT", "3000")
        .env("VIP_COUNT", "10")
}

#[test]
fn few_threads_are_enough() {
    let lake = tempfile::tempdir().unwrap();
    with_fault(gen_users(lake.path()), &SystemCallFault::Threads(8)).succeed();
}

#[test]
fn a_limit_of_the_file_size_is_an_error_and_not_the_end_by_a_signal() {
    let lake = tempfile::tempdir().unwrap();
    let limited = configured(GeneratorProcess::with_file_size_limit(BINARY, 100), lake.path()).run();
    assert_eq!(limited.code, Some(1), "{}", limited.output);
    assert!(limited.output.contains("ulimit -f"), "{}", limited.output);
    assert!(!lake.path().join("_temporary").exists());
}

#[test]
fn a_file_system_without_locks_is_enough() {
    for errno in [errno::ENOSYS, errno::ENOLCK] {
        let lake = tempfile::tempdir().unwrap();
        fs::create_dir(lake.path().join("_temporary")).unwrap();
        let unfinished = lake.path().join("_temporary/users.json.datagen-1-0");
        fs::write(&unfinished, "another run may be writing it").unwrap();
        let finished = with_fault(gen_users(lake.path()), &SystemCallFault::Flock(errno)).succeed();
        assert!(lake.path().join("users/users.json").exists());
        assert!(unfinished.exists());
        let warning = "_temporary: 1 unfinished files stay";
        assert!(finished.output.contains(warning), "{}", finished.output);
    }
}

#[test]
fn metadata_that_cannot_be_read_end_the_run() {
    let lake = tempfile::tempdir().unwrap();
    let finished = with_fault(gen_users(lake.path()), &SystemCallFault::Statx(errno::EIO)).run();
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert!(finished.output.contains("_temporary/"), "{}", finished.output);
    assert!(!lake.path().join("_temporary").exists(), "no file is left");
}

#[test]
fn a_directory_that_cannot_be_listed_is_reported_before_anything_is_written() {
    for suffix in ["/lake", "/users", "/_datagen"] {
        let root = tempfile::tempdir().unwrap();
        let lake = root.path().join("lake");
        fs::create_dir_all(lake.join("_datagen")).unwrap();
        let finished = with_fault(gen_users(&lake), &SystemCallFault::List(suffix)).run();
        assert_eq!(finished.code, Some(1), "{suffix}: {}", finished.output);
        let line = format!("{suffix}: Permission denied");
        assert!(finished.output.contains(&line), "{}", finished.output);
        assert!(!lake.join("users/users.json").exists());
    }
}

#[test]
fn new_directories_are_durable() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let lake = root.join("new/lake");
    let synced = synced_paths(gen_users(&lake));
    for parent in [&root, &root.join("new"), &lake] {
        assert!(
            synced.iter().any(|path| path.as_str() == parent.as_os_str()),
            "{}: {synced:?}",
            parent.display()
        );
    }
}

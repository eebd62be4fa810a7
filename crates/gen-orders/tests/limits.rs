//! gen-orders under limits that are too low.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;

use testkit::process::{GeneratorProcess, assert_limits_are_reported};
use testkit::system_calls::synced_paths;

const BINARY: &str = env!("CARGO_BIN_EXE_gen-orders");

#[test]
fn limits_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/shop.db", directory.path().display());
    assert_limits_are_reported(BINARY, &[("SQL_URL", &url), ("COUNT", "10")]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_directory_of_a_new_database_is_durable() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let database = root.join("new/shop/orders.db");
    let synced = synced_paths(
        GeneratorProcess::new(BINARY)
            .env("SQL_URL", format!("sqlite://{}", database.display()))
            .env("COUNT", "10"),
    );
    for parent in [&root, &root.join("new")] {
        assert!(
            synced.iter().any(|path| path.as_str() == parent.as_os_str()),
            "{}: {synced:?}",
            parent.display()
        );
    }
}

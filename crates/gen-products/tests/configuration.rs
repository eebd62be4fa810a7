//! Configurations that gen-products must refuse, and how.

use std::fs;

use datagen_settings::catalog;
use testkit::process::{assert_fails, assert_help_lists, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-products");

/// The configurations that are refused: what differs from a good one, and the reported lines.
const REFUSED: &str = "\
-LAKE_URL
    LAKE_URL is not set and neither is STORAGE_SAS
COUNT=4294967296
    COUNT is 4294967296, out of range
RATE=fast
    RATE is not a number: give 0 to 1000000000
RATE=-1
    RATE is -1, out of range
RATE=NaN
    RATE is NaN, not a number
SHARD_INDEX=100000
    SHARD_INDEX is 100000, out of range: give 0 to 99998
-LAKE_URL
STORAGE_SAS=https://hush-hush:hush-hush@a.dfs.core.windows.net/?sig=hush-hush
    STORAGE_SAS has a user name or a password in it
";

#[test]
fn every_problem_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().join("lake").display());
    // A file stands where the folder of the products should be.
    let blocked = directory.path().join("blocked");
    fs::create_dir(&blocked).unwrap();
    fs::write(blocked.join("products"), "not a directory").unwrap();
    let blocked = format!("file://{}", blocked.display());
    let blocked = ("LAKE_URL", blocked.as_str());
    let good = [("LAKE_URL", url.as_str()), ("COUNT", "10")];
    assert_refused(BINARY, &good, REFUSED);
    assert_fails(
        BINARY,
        &good,
        ("LAKE_URL", "file:///dev/null/lake"),
        "a file stands where a directory is needed",
    );
    assert_fails(BINARY, &good, blocked, "blocked/products");
}

#[test]
fn help_lists_every_variable() {
    let variables = catalog::GEN_PRODUCTS.variables().map(|variable| variable.name);
    assert_help_lists(BINARY, variables);
}

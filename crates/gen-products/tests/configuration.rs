//! Configurations that gen-products must refuse, and how.

use std::fs;

use testkit::process::{Generator, Refused, assert_refused};

const BINARY: &str = env!("CARGO_BIN_EXE_gen-products");

#[test]
fn every_problem_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().join("lake").display());
    // A file stands where the folder of the products should be.
    let blocked = directory.path().join("blocked");
    fs::create_dir(&blocked).unwrap();
    fs::write(blocked.join("products"), "not a directory").unwrap();
    let blocked = format!("file://{}", blocked.display());
    let blocked = [("LAKE_URL", blocked.as_str())];
    let good = [("LAKE_URL", url.as_str()), ("COUNT", "10")];
    let refused = |set, code, lines| Refused { set, code, lines };
    let cases = [
        refused(
            &[("-LAKE_URL", "")],
            2,
            &["LAKE_URL is not set and neither is STORAGE_SAS"],
        ),
        refused(
            &[("COUNT", "ten")],
            2,
            &["COUNT is not a whole number: give 0 to 2147483648"],
        ),
        refused(&[("COUNT", "-10")], 2, &["COUNT is -10, out of range"]),
        refused(
            &[("COUNT", "4294967296")],
            2,
            &["COUNT is 4294967296, out of range"],
        ),
        refused(
            &[("RATE", "fast")],
            2,
            &["RATE is not a number: give 0 to 1000000000"],
        ),
        refused(&[("RATE", "-1")], 2, &["RATE is -1, out of range"]),
        refused(&[("RATE", "NaN")], 2, &["RATE is NaN, not a number"]),
        refused(&[("RATE", "inf")], 2, &["RATE is inf, not a number"]),
        refused(&[("RATE", "")], 2, &["RATE is set but empty"]),
        refused(
            &[("SHARD_INDEX", "100000")],
            2,
            &["SHARD_INDEX is 100000, out of range: give 0 to 99998"],
        ),
        refused(
            &[("COUNT", "x"), ("RATE", "y")],
            2,
            &["COUNT is not", "RATE is not"],
        ),
        refused(
            &[
                ("-LAKE_URL", ""),
                (
                    "STORAGE_SAS",
                    "https://hush-hush:hush-hush@a.dfs.core.windows.net/?sig=hush-hush",
                ),
            ],
            2,
            &["STORAGE_SAS has a user name or a password in it"],
        ),
        refused(
            &[("LAKE_URL", "file:///dev/null/lake")],
            1,
            &["a file stands where a directory is needed"],
        ),
        refused(&blocked, 1, &["blocked/products"]),
    ];
    assert_refused(BINARY, &good, &cases);
}

#[test]
fn help_lists_every_variable() {
    let help = Generator::new(BINARY).arg("--help").succeed().output;
    for variable in [
        "COUNT",
        "RATE",
        "LAKE_URL",
        "STORAGE_SAS",
        "LAKE_API",
        "SEED",
        "SHARD_INDEX",
        "SHARD_COUNT",
    ] {
        assert!(help.contains(&format!("\n  {variable}")), "{variable} in {help}");
    }
}

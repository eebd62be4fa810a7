//! Users: generated on one core compared with other generators, and written to a file compared with `dd`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use url::Url;

use super::Bench;
use crate::build;

/// The script that writes the article's records with the library that the article uses.
const FAKER: &str = "faker_users.py";

/// The number of records per run: at least a second of work for each side.
const FAKER_RECORDS: u64 = 3_000;
const OUR_RECORDS: u64 = 3_000_000;
/// The scale of the TPC-H customers: about a gigabyte, so that preparing the text pool has little influence.
const TPCH_SCALE: &str = "40";

pub(super) fn run(bench: &Bench) -> Result<()> {
    let users_to_stdout = build::example("users_to_stdout")?;
    let our_seconds = || bench.seconds(Command::new(&users_to_stdout).arg(OUR_RECORDS.to_string()));

    bench.compare(
        "users as JSON lines on one core",
        "records/s",
        || Ok(OUR_RECORDS as f64 / our_seconds()?),
        ("Python Faker", || {
            let mut faker = Command::new(&bench.python);
            faker.arg(super::script(FAKER)).arg(FAKER_RECORDS.to_string());
            Ok(FAKER_RECORDS as f64 / bench.seconds(&mut faker)?)
        }),
    )?;

    let our_bytes = output_bytes(Command::new(&users_to_stdout).arg("10000"))? * OUR_RECORDS / 10_000;
    let tpchgen = || {
        let mut command = Command::new(bench.python.with_file_name("tpchgen-cli"));
        command.args([
            "--scale-factor",
            TPCH_SCALE,
            "--tables",
            "customer",
            "--num-threads",
            "1",
            "--stdout",
        ]);
        command
    };
    let tpch_bytes = output_bytes(&mut tpchgen())?;
    bench.compare(
        "users as JSON lines on one core",
        "MB/s",
        || Ok(our_bytes as f64 / 1e6 / our_seconds()?),
        ("tpchgen-cli, customer, one thread", || {
            Ok(tpch_bytes as f64 / 1e6 / bench.seconds(&mut tpchgen())?)
        }),
    )?;

    to_a_file(bench)
}

/// Compares gen-users writing to a local directory on all cores with `dd` writing the same bytes to the same disk. Both
/// make their data durable at the end.
fn to_a_file(bench: &Bench) -> Result<()> {
    let lake = bench.scratch.path().join("lake");
    let copy = bench.scratch.path().join("copy");
    let users = lake.join("users/users.json");
    let url = Url::from_directory_path(&lake)
        .ok()
        .context("the target directory has an absolute path")?;
    let size = || anyhow::Ok(fs::metadata(&users)?.len() as f64 / 1e6);
    bench.compare(
        "gen-users to a local file, all cores",
        "MB/s",
        || {
            let _ = fs::remove_dir_all(&lake);
            let mut generator = Command::new(bench.binaries.join("gen-users"));
            generator.env_clear().env("LAKE_URL", url.as_str());
            let seconds = bench.seconds(
                generator
                    .env("COUNT", OUR_RECORDS.to_string())
                    .env("VIP_COUNT", "0"),
            )?;
            Ok(size()? / seconds)
        },
        ("dd conv=fsync", || {
            let _ = fs::remove_file(&copy);
            let mut dd = Command::new("dd");
            dd.arg(format!("if={}", users.display()))
                .arg(format!("of={}", copy.display()));
            Ok(size()? / bench.seconds(dd.args(["bs=1M", "conv=fsync"]))?)
        }),
    )
}

/// Returns the number of bytes that a command prints.
fn output_bytes(command: &mut Command) -> Result<u64> {
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let mut output = child.stdout.take().context("the output is piped")?;
    let bytes = std::io::copy(&mut output, &mut std::io::sink())?;
    child.wait()?;
    Ok(bytes)
}

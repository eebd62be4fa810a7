//! Users: made on one core against other generators, and written to a file against `dd`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use url::Url;

use super::Bench;
use crate::build;

/// Writes the article's records with the article's library.
const FAKER: &str = "faker_users.py";

/// Records per run: at least a second of work for each side.
const FAKER_RECORDS: u64 = 3_000;
const OUR_RECORDS: u64 = 3_000_000;
/// TPC-H customers at this scale: about a gigabyte, so that the text pool's preparation matters little.
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

/// gen-users to a local directory with all cores, against `dd` writing the same bytes to the same disk; both
/// durable at their end.
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

/// How many bytes a command prints.
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

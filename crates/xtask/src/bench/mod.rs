//! `cargo xtask bench`: compares the generators with peers on this machine.
//!
//! Machines are noisy and drift, so a number of records per second means little by itself. Each comparison therefore
//! runs both sides in turn, several times, and reports the median of the ratios.
//!
//! - [`lake`]: both file generators against plain Python, into a lake that is 20 ms away;
//! - [`local`]: all four generators with destinations in memory, against `cp`, a loop in Python and `sqlite3`;
//! - [`stream`]: messages to a real broker, against confluent-kafka and the article's loop;
//! - [`sql`]: orders into SQL Server, CPU time per row;
//! - [`users`]: users against Python Faker and `tpchgen-cli`, and against `dd` to a file.

mod lake;
mod local;
mod sql;
mod stream;
mod users;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::build;

/// What to time.
#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// Areas; all by default.
    areas: Vec<BenchArea>,
    /// Pairs of runs per comparison.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Measure the programs in this directory instead of building them.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// A group of comparisons.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BenchArea {
    Lake,
    Local,
    Sql,
    Stream,
    Users,
}

/// The state that the comparisons share.
pub(crate) struct Bench {
    /// Where cargo puts release binaries.
    pub(crate) binaries: PathBuf,
    /// A Python interpreter with the peers' packages.
    pub(crate) python: PathBuf,
    /// The directory for the output; it is on the disk of the workspace, and removed at the end.
    pub(crate) scratch: tempfile::TempDir,
    /// Pairs of runs per comparison.
    pub(crate) pairs: usize,
}

pub(crate) fn run(options: &BenchArgs) -> Result<()> {
    let binaries = match &options.bin_dir {
        Some(directory) => directory.canonicalize().context("--bin-dir")?,
        None => build::for_benchmarks()?,
    };
    let target = build::directory("")?;
    let bench = Bench {
        python: python(&target.join("bench-venv"))?,
        scratch: tempfile::tempdir_in(&target)?,
        binaries,
        pairs: options.pairs,
    };
    let wanted = |area| options.areas.is_empty() || options.areas.contains(&area);
    if wanted(BenchArea::Sql) {
        sql::run()?;
    }
    if wanted(BenchArea::Stream) {
        stream::run(&bench)?;
    }
    if wanted(BenchArea::Local) {
        local::run(&bench)?;
    }
    if wanted(BenchArea::Users) {
        users::run(&bench)?;
    }
    if wanted(BenchArea::Lake) {
        lake::run(&bench)?;
    }
    Ok(())
}

/// The peers' packages, from PyPI.
const PEERS: [&str; 2] = ["Faker==40.*", "tpchgen-cli==2.*"];

/// Returns the Python interpreter of a virtual environment with the peers' packages. The first run creates the
/// environment.
fn python(directory: &Path) -> Result<PathBuf> {
    let python = directory.join("bin/python");
    if !python.exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    }
    succeed(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PEERS),
    )?;
    Ok(python)
}

/// Returns the path of a script in this directory.
fn script(name: &str) -> PathBuf {
    build::root().join("crates/xtask/src/bench").join(name)
}

/// Runs a command and requires it to succeed.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_os_string();
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(status.success(), "{} ended with {status}", program.display());
    Ok(())
}

impl Bench {
    /// Runs a command without showing its output, requires it to succeed, and returns the seconds it took.
    pub(crate) fn seconds(&self, command: &mut Command) -> Result<f64> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Instant::now();
        succeed(command)?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Measures both sides in turn, as rates in the same unit. Prints the median rate of each side, and the median and
    /// the range of the ratios of the pairs.
    pub(crate) fn compare(
        &self,
        what: &str,
        unit: &str,
        mut ours: impl FnMut() -> Result<f64>,
        (peer, mut theirs): (&str, impl FnMut() -> Result<f64>),
    ) -> Result<()> {
        let mut rates = Vec::new();
        for _ in 0..self.pairs {
            let (ours, theirs) = (ours()?, theirs()?);
            rates.push([ours, theirs, ours / theirs]);
        }
        let [ours, theirs, ratio] = [0, 1, 2].map(|column| median(rates.iter().map(|row| row[column])));
        let ratios = rates.iter().map(|row| row[2]);
        let (low, high) = (
            ratios.clone().fold(f64::MAX, f64::min),
            ratios.fold(0.0, f64::max),
        );
        println!(
            "{what}: {} {unit}; {peer}: {} {unit}; ratio {} ({} to {})",
            short(ours),
            short(theirs),
            short(ratio),
            short(low),
            short(high)
        );
        Ok(())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

/// Formats a number with three significant digits.
fn short(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

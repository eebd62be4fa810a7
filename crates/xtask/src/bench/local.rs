//! Local destinations in memory, so that the disk has no influence: users against `cp`, products against a loop in
//! Python, orders against the import of the `sqlite3` program, and messages against `cp`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Bench, succeed};

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

const USERS: u64 = 1_000_000;
const PRODUCTS: u64 = 50_000;
const ORDERS: u64 = 300_000;
/// Streams of about 7 million messages.
const STREAMS: [(&str, &[(&str, &str)]); 2] = [
    (
        "backfill, PROFILE=shop",
        &[
            ("CONCURRENT_USERS", "25"),
            ("STREAM_FROM", "2025-01-01"),
            ("STREAM_TO", "2025-01-04"),
        ],
    ),
    (
        "load test, PROFILE=uniform, EVENT_FIELDS=false",
        &[
            ("CONCURRENT_USERS", "64"),
            ("SESSION_PAUSE_MEAN", "0"),
            ("SESSIONS", "450000"),
            ("PROFILE", "uniform"),
            ("EVENT_FIELDS", "false"),
        ],
    ),
];

pub(super) fn run(bench: &Bench) -> Result<()> {
    let memory = tempfile::tempdir_in(MEMORY)?;
    users(bench, memory.path())?;
    products(bench, memory.path())?;
    orders(bench, memory.path())?;
    for (what, settings) in STREAMS {
        messages(bench, memory.path(), what, settings)?;
    }
    Ok(())
}

/// Runs a generator with these settings, and returns the seconds it took.
fn seconds(bench: &Bench, mut command: Command, settings: &[(&str, String)]) -> Result<f64> {
    command
        .env_clear()
        .envs(settings.iter().map(|(name, value)| (*name, value)));
    bench.seconds(&mut command)
}

/// Returns a command that runs only on the first core.
fn on_one_core(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

fn users(bench: &Bench, memory: &Path) -> Result<()> {
    let lake = memory.join("lake");
    let (file, copy) = (lake.join("users/users.json"), memory.join("copy"));
    let settings = [
        ("LAKE_URL", format!("file://{}", lake.display())),
        ("COUNT", USERS.to_string()),
        ("VIP_COUNT", "0".to_owned()),
    ];
    bench.compare(
        "gen-users into memory, one core",
        "users/s",
        || {
            let generator = on_one_core(bench.binaries.join("gen-users"));
            Ok(USERS as f64 / seconds(bench, generator, &settings)?)
        },
        ("cp", || {
            let _ = fs::remove_file(&copy);
            Ok(USERS as f64 / bench.seconds(on_one_core("cp").args([&file, &copy]))?)
        }),
    )?;
    fs::remove_dir_all(&lake)?;
    Ok(fs::remove_file(&copy)?)
}

fn products(bench: &Bench, memory: &Path) -> Result<()> {
    let (lake, naive) = (memory.join("lake"), memory.join("naive"));
    let settings = [
        ("LAKE_URL", format!("file://{}", lake.display())),
        ("COUNT", PRODUCTS.to_string()),
    ];
    bench.compare(
        "gen-products into memory",
        "files/s",
        || {
            let _ = fs::remove_dir_all(&lake);
            let generator = Command::new(bench.binaries.join("gen-products"));
            Ok(PRODUCTS as f64 / seconds(bench, generator, &settings)?)
        },
        ("a loop in Python", || {
            let _ = fs::remove_dir_all(&naive);
            let mut python = Command::new(&bench.python);
            python.arg(super::script("naive_files.py")).arg(&naive);
            Ok(PRODUCTS as f64 / bench.seconds(python.arg(PRODUCTS.to_string()))?)
        }),
    )?;
    fs::remove_dir_all(&lake)?;
    Ok(fs::remove_dir_all(&naive)?)
}

fn orders(bench: &Bench, memory: &Path) -> Result<()> {
    let (ours, theirs) = (memory.join("ours.db"), memory.join("theirs.db"));
    let settings = [
        ("SQL_URL", format!("sqlite://{}", ours.display())),
        ("COUNT", ORDERS.to_string()),
    ];
    let generate = || {
        let _ = fs::remove_file(&ours);
        seconds(bench, Command::new(bench.binaries.join("gen-orders")), &settings)
    };
    generate()?;
    // The same rows as CSV, and the same empty tables.
    let database = rusqlite::Connection::open(&ours)?;
    let mut rows = 0;
    let mut create = Vec::new();
    for table in ["orders", "items"] {
        let count = format!("SELECT COUNT(*) FROM {table}");
        rows += database.query_one(&count, [], |row| row.get::<_, i64>(0))?;
        let sql = "SELECT sql FROM sqlite_schema WHERE name = ?1";
        create.push(database.query_one(sql, [table], |row| row.get::<_, String>(0))?);
        let csv = fs::File::create(memory.join(format!("{table}.csv")))?;
        let select = format!("SELECT * FROM {table}");
        succeed(
            Command::new("sqlite3")
                .arg("-csv")
                .arg(&ours)
                .arg(select)
                .stdout(csv),
        )?;
    }
    drop(database);
    bench.compare(
        "gen-orders into a database in memory",
        "rows/s",
        || Ok(rows as f64 / generate()?),
        ("sqlite3 .import", || {
            let _ = fs::remove_file(&theirs);
            let database = rusqlite::Connection::open(&theirs)?;
            database.execute_batch(&create.join(";"))?;
            drop(database);
            let mut import = Command::new("sqlite3");
            import.arg("-csv").arg(&theirs).current_dir(memory);
            import.args([".import orders.csv orders", ".import items.csv items"]);
            Ok(rows as f64 / bench.seconds(&mut import)?)
        }),
    )?;
    fs::remove_file(&ours)?;
    Ok(fs::remove_file(&theirs)?)
}

fn messages(bench: &Bench, memory: &Path, what: &str, stream_settings: &[(&str, &str)]) -> Result<()> {
    let (stream, copy) = (memory.join("stream"), memory.join("copy"));
    let url = format!("file://{}", stream.display());
    let settings: Vec<_> = stream_settings
        .iter()
        .copied()
        .chain([("STREAM_URL", url.as_str()), ("SEED", "1")])
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    let generate = || {
        let _ = fs::remove_dir_all(&stream);
        seconds(
            bench,
            Command::new(bench.binaries.join("stream-pageviews")),
            &settings,
        )
    };
    generate()?;
    let manifest = fs::read(stream.join("_datagen/stream.json"))?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    let count = |name: &str| manifest[name].as_u64().context("the manifest counts messages");
    let messages = (count("pageviews")? + count("stars")?) as f64;
    bench.compare(
        &format!("stream-pageviews into files in memory, {what}"),
        "messages/s",
        || Ok(messages / generate()?),
        ("cp", || {
            let _ = fs::remove_dir_all(&copy);
            let mut cp = Command::new("cp");
            Ok(messages / bench.seconds(cp.arg("--recursive").args([&stream, &copy]))?)
        }),
    )?;
    fs::remove_dir_all(&stream)?;
    Ok(fs::remove_dir_all(&copy)?)
}

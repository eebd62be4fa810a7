//! `cargo xtask playground`: the main job on this machine. Runs the four real binaries, configured only
//! through their environment variables, and shows that what they wrote joins.

mod query;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use url::Url;

use crate::build;

/// Sizes and place of the playground.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Users.
    #[arg(long, default_value_t = 20_000)]
    users: u64,
    /// VIP users among them.
    #[arg(long, default_value_t = 500)]
    vips: u64,
    /// Products, a file each.
    #[arg(long, default_value_t = 1_000)]
    products: u64,
    /// Orders, with one to ten items each.
    #[arg(long, default_value_t = 50_000)]
    orders: u64,
    /// Sessions of the stream, with one to thirty pageviews each.
    #[arg(long, default_value_t = 2_000)]
    sessions: u64,
    /// Which data: the same seed gives the same playground.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to put it; what an earlier playground left there is replaced.
    #[arg(long, default_value = "playground")]
    dir: PathBuf,
}

/// What a playground puts into its directory.
const CONTENTS: [&str; 4] = ["lake", "orders.db", "stream", "playground.db"];

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        options.users > 0 && options.products > 0,
        "without users and products there is nothing to refer to"
    );
    let binaries = build::release()?;
    let directory = prepare(&options.dir)?;
    eprintln!("filling {}", directory.display());
    let times = generate(options, &binaries, &directory)?;
    let loaded = query::Loaded::into_file(&directory)?;
    print_table(&rows(&directory, &times, &loaded)?);
    query::show(&directory, &options.dir)
}

/// How long each generator took.
struct Times {
    users: Duration,
    products: Duration,
    orders: Duration,
    sessions: Duration,
}

/// Runs the four generators, one after the other.
fn generate(options: &Options, binaries: &Path, directory: &Path) -> Result<Times> {
    let url = |name: &str| {
        Url::from_file_path(directory.join(name))
            .map(String::from)
            .map_err(|()| anyhow::anyhow!("{} is no absolute path", directory.display()))
    };
    let (lake, stream) = (url("lake")?, url("stream")?);
    let database = url("orders.db")?.replacen("file:", "sqlite:", 1);
    let number = |number: u64| number.to_string();
    let generator = |name: &str, variables: &[(&str, String)]| {
        let mut command = Command::new(binaries.join(name));
        command.env_clear().env("SEED", number(options.seed));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        // For the progress bar's characters and colours.
        command.envs(
            ["TERM", "LANG", "LC_ALL"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        timed(&mut command)
    };
    let user_max_id = ("USER_MAX_ID", number(options.users - 1));
    let product_max_id = ("PRODUCT_MAX_ID", number(options.products - 1));
    Ok(Times {
        users: generator(
            "gen-users",
            &[
                ("LAKE_URL", lake.clone()),
                ("COUNT", number(options.users)),
                ("VIP_COUNT", number(options.vips)),
            ],
        )?,
        products: generator(
            "gen-products",
            &[("LAKE_URL", lake), ("COUNT", number(options.products))],
        )?,
        orders: generator(
            "gen-orders",
            &[
                ("SQL_URL", database),
                ("COUNT", number(options.orders)),
                user_max_id.clone(),
                product_max_id.clone(),
            ],
        )?,
        sessions: generator(
            "stream-pageviews",
            &[
                ("STREAM_URL", stream),
                ("SESSIONS", number(options.sessions)),
                ("SESSION_PAUSE_MEAN", number(0)),
                user_max_id,
                product_max_id,
            ],
        )?,
    })
}

/// What was written where, by the manifests or, where there is none, by what was read back.
fn rows(directory: &Path, times: &Times, loaded: &query::Loaded) -> Result<Vec<Row>> {
    let of_manifest = |what, place, manifest: &str, time| -> Result<Row> {
        let manifest = read_json(&directory.join("lake/_datagen").join(manifest))?;
        let number = |field: &str| manifest[field].as_u64().unwrap_or(0);
        Ok(Row {
            what,
            place,
            records: number("records"),
            bytes: number("bytes"),
            time,
        })
    };
    let of_file = |what, place: &'static str, records, time| Row {
        what,
        place,
        records,
        bytes: fs::metadata(directory.join(place)).map_or(0, |file| file.len()),
        time,
    };
    let Times {
        users,
        products,
        orders,
        sessions,
    } = *times;
    Ok(vec![
        of_manifest("users", "lake/users/users.json", "users.json", Some(users))?,
        of_manifest("VIP users", "lake/vipusers/vipusers.json", "vipusers.json", None)?,
        of_manifest(
            "products",
            "lake/products/product_*.json",
            "products.json",
            Some(products),
        )?,
        of_file(
            "orders + items",
            "orders.db",
            loaded.orders + loaded.items,
            Some(orders),
        ),
        of_file(
            "pageviews",
            "stream/pageviews.jsonl",
            loaded.pageviews,
            Some(sessions),
        ),
        of_file("stars", "stream/stars.jsonl", loaded.stars, None),
    ])
}

/// Makes the directory, without what an earlier playground left in it.
fn prepare(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    for name in CONTENTS {
        let path = directory.join(name);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                bail!("cannot remove {}: {error}", path.display())
            }
            _ => {}
        }
    }
    Ok(directory)
}

/// Runs a generator to its good end and says how long it took.
fn timed(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(
        status.success(),
        "{} ended with {status}",
        command.get_program().display()
    );
    Ok(started.elapsed())
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// A line of the closing table.
struct Row {
    what: &'static str,
    place: &'static str,
    records: u64,
    bytes: u64,
    /// Of the whole process; `None` where another row's process wrote it.
    time: Option<Duration>,
}

fn print_table(rows: &[Row]) {
    println!(
        "\n{:<15} {:<29} {:>9} {:>9} {:>8} {:>12}",
        "what", "where", "records", "MB", "seconds", "records/s"
    );
    for Row {
        what,
        place,
        records,
        bytes,
        time,
    } in rows
    {
        let megabytes = *bytes as f64 / 1e6;
        print!("{what:<15} {place:<29} {records:>9} {megabytes:>9.2}");
        match time {
            Some(time) => println!(
                " {:>8.2} {:>12.0}",
                time.as_secs_f64(),
                *records as f64 / time.as_secs_f64()
            ),
            None => println!(" {:>8} {:>12}", "\u{2033}", "\u{2033}"),
        }
    }
}

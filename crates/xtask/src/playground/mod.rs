//! `cargo xtask playground`: the main use case on a local machine. Runs the four real binaries, configured only through
//! their environment variables, and shows that their data can be joined.

mod directory;
mod query;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;
use datagen_core::model::Profile;
use rusqlite::Connection;
use serde_json::Value;
use url::Url;

use self::directory::Directory;
use crate::build;

/// Sizes and place of the playground.
#[derive(clap::Args)]
pub(crate) struct PlaygroundArgs {
    /// Users.
    #[arg(long, default_value_t = 20_000)]
    users: u64,
    /// VIP users among them [default: 500, or all if there are fewer users].
    #[arg(long)]
    vips: Option<u64>,
    /// Products, a file each.
    #[arg(long, default_value_t = 1_000)]
    products: u64,
    /// Orders, with one to ten items each.
    #[arg(long, default_value_t = 50_000)]
    orders: u64,
    /// Days of the stream, which are the last ones of the orders. A day has about 8,600 sessions.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
    /// What orders and sessions look like.
    #[arg(long, default_value = Profile::default().as_str(),
          value_parser = PossibleValuesParser::new(Profile::ALL.map(Profile::as_str)))]
    profile: String,
    /// Which data: the same seed gives the same playground.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only write the report of the playground in the directory again.
    #[arg(long, conflicts_with_all = ["users", "vips", "products", "orders", "days", "profile", "seed"])]
    report_only: bool,
    /// Where to put it; what an earlier playground created there is replaced.
    #[arg(long, default_value = "playground")]
    dir: PathBuf,
    /// Directory of the four generators, such as those of a release, to use instead of compiling them.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
}

/// The number of VIP users, unless there are fewer users.
const VIPS: u64 = 500;

/// One message in this many arrives late, and one in this many arrives twice, so that there is something to clean.
const LATE_ONE_IN: u64 = 50;
const DUPLICATE_ONE_IN: u64 = 100;

impl PlaygroundArgs {
    fn vips(&self) -> u64 {
        self.vips.unwrap_or(VIPS.min(self.users))
    }
}

pub(crate) fn run(options: &PlaygroundArgs) -> Result<()> {
    if !options.report_only {
        fill(options)?;
    }
    let report = report::write(&options.dir)?;
    println!("\nSee it: open {} in a browser", report.display());
    Ok(())
}

/// Runs the generators, and prints what they wrote.
fn fill(options: &PlaygroundArgs) -> Result<()> {
    ensure!(
        options.users > 0 && options.products > 0,
        "without users and products there is nothing to refer to"
    );
    ensure!(
        options.vips() <= options.users,
        "--vips {} is more than --users {}",
        options.vips(),
        options.users
    );
    let directory = Directory::open(&options.dir)?;
    let binaries = match &options.bin_dir {
        Some(directory) => build::generators_in(directory)?,
        None => build::local_generators()?,
    };
    let directory = directory.clear()?;
    eprintln!("filling {}", directory.display());
    let times = generate(options, &binaries, &directory)?;
    let loaded = query::Loaded::into_file(&directory)?;
    times.store(&directory)?;
    print_table(&rows(&directory, &times, &loaded)?);
    query::show(&directory, &options.dir)
}

/// The time that each generator took.
struct Times {
    users: Duration,
    products: Duration,
    orders: Duration,
    sessions: Duration,
}

impl Times {
    /// Adds the times to `playground.db`, for the report.
    fn store(&self, directory: &Path) -> Result<()> {
        let database = Connection::open(directory.join("playground.db"))?;
        database.execute_batch("CREATE TABLE runs (generator text PRIMARY KEY, seconds real)")?;
        for (generator, time) in [
            ("gen-users", self.users),
            ("gen-products", self.products),
            ("gen-orders", self.orders),
            ("stream-pageviews", self.sessions),
        ] {
            database.execute("INSERT INTO runs VALUES (?, ?)", (generator, time.as_secs_f64()))?;
        }
        Ok(())
    }
}

/// Runs the four generators, one after the other.
fn generate(options: &PlaygroundArgs, binaries: &Path, directory: &Path) -> Result<Times> {
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
        // The progress bar needs these for its characters and colours.
        command.envs(
            ["TERM", "NO_COLOR", "LANG", "LC_ALL"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        timed(&mut command)
    };
    let user_max_id = ("USER_MAX_ID", number(options.users - 1));
    let product_max_id = ("PRODUCT_MAX_ID", number(options.products - 1));
    let profile = ("PROFILE", options.profile.clone());
    let users = generator(
        "gen-users",
        &[
            ("LAKE_URL", lake.clone()),
            ("COUNT", number(options.users)),
            ("VIP_COUNT", number(options.vips())),
        ],
    )?;
    let products = generator(
        "gen-products",
        &[("LAKE_URL", lake), ("COUNT", number(options.products))],
    )?;
    let orders = generator(
        "gen-orders",
        &[
            ("SQL_URL", database),
            ("COUNT", number(options.orders)),
            user_max_id.clone(),
            product_max_id.clone(),
            profile.clone(),
        ],
    )?;
    let (from, to) = last_days(&directory.join("orders.db"), options.days)?;
    let sessions = generator(
        "stream-pageviews",
        &[
            ("STREAM_URL", stream),
            ("STREAM_FROM", from),
            ("STREAM_TO", to),
            ("LATE_ONE_IN", number(LATE_ONE_IN)),
            ("DUPLICATE_ONE_IN", number(DUPLICATE_ONE_IN)),
            user_max_id,
            product_max_id,
            profile,
        ],
    )?;
    Ok(Times {
        users,
        products,
        orders,
        sessions,
    })
}

/// Returns the first of the last `days` days of the orders in `database`, and the day after the last one, according to
/// the manifest.
fn last_days(database: &Path, days: u32) -> Result<(String, String)> {
    let sql = "SELECT date(date_to, '-' || ? || ' days'), date_to
               FROM (SELECT manifest ->> '$.parameters' ->> '$.date_to' AS date_to FROM _datagen_manifest)";
    Connection::open(database)?
        .query_row(sql, [days], |row| Ok((row.get(0)?, row.get(1)?)))
        .context("the manifest of the orders does not say until when they are")
}

/// Returns what was written where, according to the manifests or, if there is none, according to what was read back.
fn rows(directory: &Path, times: &Times, loaded: &query::Loaded) -> Result<Vec<Row>> {
    let of_manifest = |what, place, manifest: &str, time| -> Result<Row> {
        let manifest = read_json(&directory.join("lake/_datagen").join(manifest))?;
        let number = |field: &str| manifest[field].as_u64().unwrap_or(0);
        Ok(Row {
            what,
            place,
            records: number("records"),
            bytes: Some(number("bytes")),
            time,
        })
    };
    let of_file = |what, place: &'static str, records, time| Row {
        what,
        place,
        records,
        bytes: fs::metadata(directory.join(place)).ok().map(|file| file.len()),
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
        of_file("orders", "orders.db", loaded.orders, Some(orders)),
        Row {
            what: "items",
            place: "orders.db",
            records: loaded.items,
            bytes: None,
            time: None,
        },
        of_file(
            "pageviews",
            "stream/pageviews.jsonl",
            loaded.pageviews,
            Some(sessions),
        ),
        of_file("stars", "stream/stars.jsonl", loaded.stars, None),
    ])
}

/// Runs a generator, requires it to succeed, and returns how long it took.
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

/// A row of the table at the end.
struct Row {
    what: &'static str,
    place: &'static str,
    records: u64,
    /// `None` if the records are in the file of another row.
    bytes: Option<u64>,
    /// The time of the whole process; `None` if the process of another row wrote the records.
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
        // The same as in the row above.
        let ditto = || "\u{2033}".to_owned();
        let megabytes = bytes.map_or_else(ditto, |bytes| format!("{:.2}", bytes as f64 / 1e6));
        let seconds = time.map_or_else(ditto, |time| format!("{:.2}", time.as_secs_f64()));
        let rate = time.map_or_else(ditto, |time| {
            format!("{:.0}", *records as f64 / time.as_secs_f64())
        });
        println!("{what:<15} {place:<29} {records:>9} {megabytes:>9} {seconds:>8} {rate:>12}");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Task {
        #[command(flatten)]
        options: PlaygroundArgs,
    }

    #[test]
    fn the_default_of_vips_is_no_more_than_there_are_users() {
        let vips = |arguments: &[&str]| {
            let arguments = ["playground"].iter().chain(arguments);
            Task::parse_from(arguments).options.vips()
        };
        assert_eq!(vips(&[]), 500);
        assert_eq!(vips(&["--users", "100"]), 100);
        assert_eq!(vips(&["--users", "100", "--vips", "7"]), 7);
    }
}

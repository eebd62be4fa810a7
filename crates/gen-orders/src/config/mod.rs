//! What gen-orders is told by its environment variables: how many orders, of what, into which database.

mod dates;
mod target;

use std::num::NonZeroU32;
use std::ops::Range;

use chrono::{Datelike, NaiveDate, Utc};
use datagen_core::config::common::Common;
use datagen_core::config::{Environment, Problems, Setting};
use datagen_core::model::order::OrderRange;
use datagen_core::model::{MAX_ID, defaults};
use datagen_core::pace::MAX_RATE;
use datagen_core::settings;

use self::dates::LAST_DATE;

pub use dates::Dates;
pub use target::{ServerSettings, SqlServer, Target, TargetSettings};

settings! {
    /// What gen-orders reads beside the common variables.
    pub struct OrderSettings {
        count: u64 = "COUNT", default "10000000",
            "How many orders, with ids 1 to COUNT. 0 to 2147483647.";
        user_max_id: u64 = "USER_MAX_ID", default defaults::USER_MAX_ID_TEXT,
            "The highest existing user id; orders refer to users 0 to USER_MAX_ID. 0 to 2147483647.";
        product_max_id: u64 = "PRODUCT_MAX_ID", default defaults::PRODUCT_MAX_ID_TEXT,
            "The highest existing product id; items refer to products 0 to PRODUCT_MAX_ID. 0 to 2147483647.";
        date_from: NaiveDate = "DATE_FROM", default "1 January ten years before this year",
            "The first day of orders, YYYY-MM-DD. From 1753-01-01 on, as SQL Server's datetime.";
        date_to: NaiveDate = "DATE_TO", default "1 January of this year, or of the year after DATE_FROM if that is later",
            "The day after the last day of orders, YYYY-MM-DD. Up to 9999-12-31.";
        rate: f64 = "RATE", default "0",
            "Orders a second at the most; 0 is as fast as the destination takes them. 0 to 1000000000.";
        sql_chunk: u32 = "SQL_CHUNK", default "5000",
            "Orders a transaction. A run that continues another keeps the other's. 1 to 100000.";
    }
}

/// The first day of SQL Server's `datetime`.
const FIRST_DATE: NaiveDate = NaiveDate::from_ymd_opt(1753, 1, 1).expect("a date");

/// The work of gen-orders.
#[derive(Clone, Debug)]
pub struct OrdersConfig {
    /// How many orders all shards make together: ids 1 to `count`.
    pub count: u64,
    /// Which data.
    pub seed: u64,
    /// What the orders refer to, and when they were made.
    pub range: OrderRange,
    /// The range of order dates as configured: `range` has this year's default where there is none.
    pub dates: Dates,
    /// Orders a second at the most.
    pub rate: Option<f64>,
    /// Orders a transaction.
    pub chunk_orders: NonZeroU32,
    /// Where the rows go.
    pub target: Target,
}

impl OrdersConfig {
    /// Reads and judges the variables.
    pub fn read(environment: &Environment, common: &Common, problems: &mut Problems) -> Option<Self> {
        let settings: OrderSettings = environment.read();
        let count = settings.count.within("COUNT", 0..=MAX_ID, problems);
        let user_max_id = settings.user_max_id.within("USER_MAX_ID", 0..=MAX_ID, problems);
        let product_max_id = settings
            .product_max_id
            .within("PRODUCT_MAX_ID", 0..=MAX_ID, problems);
        let rate = settings.rate.within("RATE", 0.0..=MAX_RATE, problems);
        let chunk = settings.sql_chunk.within("SQL_CHUNK", 1..=100_000, problems);
        let dates = read_dates(settings.date_from, settings.date_to, problems);
        let target = Target::read(environment, problems);
        let (dates, range) = dates?;
        Some(Self {
            count: count.unwrap_or(10_000_000),
            seed: common.seed.unwrap_or(0),
            range: OrderRange {
                user_max_id: user_max_id.unwrap_or(defaults::USER_MAX_ID),
                product_max_id: product_max_id.unwrap_or(defaults::PRODUCT_MAX_ID),
                dates: range,
            },
            dates,
            rate,
            chunk_orders: chunk
                .and_then(NonZeroU32::new)
                .unwrap_or(NonZeroU32::new(5_000).expect("not 0")),
            target: target?,
        })
    }
}

/// The range as configured, and the days of it in this year.
fn read_dates(
    from: Setting<NaiveDate>,
    to: Setting<NaiveDate>,
    problems: &mut Problems,
) -> Option<(Dates, Range<NaiveDate>)> {
    let before = problems.len();
    let from = from.within("DATE_FROM", FIRST_DATE..=LAST_DATE, problems);
    let to = to.within("DATE_TO", FIRST_DATE..=LAST_DATE, problems);
    if problems.len() > before {
        return None;
    }
    let dates = Dates { from, to };
    let range = dates.in_year(Utc::now().year());
    if range.is_empty() {
        let (from, to) = (range.start, range.end);
        problems.report(
            "DATE_FROM",
            format_args!(
                "is {from}, not before DATE_TO, which is {to}: give an earlier DATE_FROM or a later DATE_TO"
            ),
        );
        return None;
    }
    Some((dates, range))
}

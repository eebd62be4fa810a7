//! The configuration of gen-orders: how many orders, which data, and which database.

mod database;
mod dates;
mod readers;

use std::num::NonZeroU32;
use std::ops::Range;

use chrono::{Datelike, NaiveDate, Utc};
use datagen_core::model::Profile;
use datagen_core::model::order::OrderRange;
use datagen_settings::catalog::{FiniteSettings, OrderSettings, WorldSettings};
use datagen_settings::{ConfigurationErrors, Environment};

pub use database::{DatabaseConfig, SqlServer};
pub use dates::Dates;
pub use readers::{Reader, ReaderKind};

/// The work of gen-orders.
#[derive(Clone, Debug)]
pub struct OrdersConfig {
    /// The set of orders.
    pub orders: OrderSet,
    /// The range of order dates as configured: `orders.range` has this year's default where there is none.
    pub dates: Dates,
    /// Orders per second at most; 0 means no limit.
    pub rate: f64,
    /// Orders per transaction.
    pub chunk_orders: NonZeroU32,
    /// The database for the rows.
    pub database: DatabaseConfig,
}

/// The orders of all shards.
#[derive(Clone, Debug)]
pub struct OrderSet {
    /// How many orders all shards make together: ids 1 to `count`.
    pub count: u64,
    /// The seed of the data.
    pub seed: u64,
    /// What the orders look like.
    pub profile: Profile,
    /// What the orders refer to, and the range of their dates.
    pub range: OrderRange,
}

impl OrderSet {
    /// Validates the settings that the orders depend on.
    pub fn read(
        settings: &OrderSettings,
        environment: &Environment,
        problems: &mut ConfigurationErrors,
    ) -> Option<Self> {
        let FiniteSettings { seed } = environment.read(problems);
        let WorldSettings {
            user_max_id,
            product_max_id,
            profile,
        } = environment.read(problems);
        Some(Self {
            count: settings.count,
            seed,
            profile,
            range: OrderRange {
                user_max_id,
                product_max_id,
                dates: dates_of_this_year(configured_dates(settings), problems)?,
            },
        })
    }
}

impl OrdersConfig {
    /// Reads and validates the settings.
    pub fn read(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let settings: OrderSettings = environment.read(problems);
        let orders = OrderSet::read(&settings, environment, problems);
        let database = DatabaseConfig::read(environment, problems);
        Some(Self {
            orders: orders?,
            dates: configured_dates(&settings),
            rate: settings.rate,
            chunk_orders: NonZeroU32::new(settings.sql_chunk)?,
            database: database?,
        })
    }
}

fn configured_dates(settings: &OrderSettings) -> Dates {
    Dates {
        from: settings.date_from,
        to: settings.date_to,
    }
}

/// Returns the days of `dates` for a run that begins this year.
fn dates_of_this_year(dates: Dates, problems: &mut ConfigurationErrors) -> Option<Range<NaiveDate>> {
    if problems.concern(&OrderSettings::DATE_FROM) || problems.concern(&OrderSettings::DATE_TO) {
        return None;
    }
    let range = dates.in_year(Utc::now().year());
    if range.is_empty() {
        let (from, to) = (range.start, range.end);
        problems.report(
            &OrderSettings::DATE_FROM,
            format_args!(
                "is {from}, not before DATE_TO, which is {to}: give an earlier DATE_FROM or a later DATE_TO"
            ),
        );
        return None;
    }
    Some(range)
}

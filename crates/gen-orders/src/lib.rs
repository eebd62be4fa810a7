//! Fills a SQL database with orders and their items.
//!
//! The work is divided into chunks of ids. [`rows`] generates the rows of a chunk, a [`database`] writes them in one
//! transaction together with a progress row, and [`load`] controls both: it skips the chunks that are loaded, keeps the
//! connections busy, and retries a chunk whose connection failed. A run that was killed therefore continues where it
//! stopped, and no row is lost or written twice. A [`run`] is identified by its parameters.

pub mod config;
pub mod database;
pub mod load;
pub mod retry;
pub mod rows;
pub mod run;

use datagen_core::model::order::Orders;
use datagen_process::error::RunError;
use datagen_process::generator::{Context, Generator};
use datagen_process::sample::Sample;
use datagen_process::shard::Shard;
use datagen_settings::catalog::{self, OrderSettings};
use datagen_settings::{ConfigurationErrors, Environment};

use crate::config::{OrderSet, OrdersConfig};

/// The generator of orders.
#[derive(Debug)]
pub struct GenOrders {
    config: OrdersConfig,
}

impl Generator for GenOrders {
    const SETTINGS: catalog::GeneratorSettings = catalog::GEN_ORDERS;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");

    fn configure(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let config = OrdersConfig::read(environment, problems)?;
        Some(Self { config })
    }

    fn sample(environment: &Environment, shard: Shard, problems: &mut ConfigurationErrors) -> Option<Sample> {
        let settings: OrderSettings = environment.read(problems);
        let set = OrderSet::read(&settings, environment, problems)?;
        let orders = Orders::new(set.profile, set.seed, set.count, &set.range);
        let ids = shard.range(set.count);
        // Orders are numbered from 1.
        Some(Sample::of_ids(ids, move |index, out| {
            orders.get(index + 1).write_json_line(out);
        }))
    }

    async fn run(self, context: Context) -> Result<(), RunError> {
        load::run(&self.config, &context).await
    }
}

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

use datagen_process::error::Failure;
use datagen_process::generator::{Context, Generator};
use datagen_settings::catalog;
use datagen_settings::{Environment, Problems};

use crate::config::OrdersConfig;

/// The generator of orders.
#[derive(Debug)]
pub struct GenOrders {
    config: OrdersConfig,
}

impl Generator for GenOrders {
    const SETTINGS: catalog::Generator = catalog::GEN_ORDERS;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");

    fn configure(environment: &Environment, problems: &mut Problems) -> Option<Self> {
        let config = OrdersConfig::read(environment, problems)?;
        Some(Self { config })
    }

    async fn run(self, context: Context) -> Result<(), Failure> {
        load::run(&self.config, &context).await
    }
}

//! Fills a SQL database with orders and their items.
//!
//! The work is cut into chunks of ids. [`rows`] makes a chunk's rows, a [`database`] writes them in one
//! transaction together with a progress row, and [`load`] drives both: it skips the chunks that are in,
//! keeps the connections busy, and repeats a chunk whose connection failed. So a run that was killed goes on
//! where it stopped, and no row is lost or written twice. A [`run`] says which rows these are.

pub mod config;
pub mod database;
pub mod load;
pub mod retry;
pub mod rows;
pub mod run;

use datagen_core::config::common::Common;
use datagen_core::config::{Environment, Problems, Settings, Variable};
use datagen_core::error::Failure;
use datagen_core::process::{Context, Generator};

use crate::config::{OrderSettings, OrdersConfig, ServerSettings, TargetSettings};

/// The generator of orders.
#[derive(Debug)]
pub struct GenOrders {
    config: OrdersConfig,
}

impl Generator for GenOrders {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");

    fn variables() -> Vec<&'static [Variable]> {
        vec![
            OrderSettings::VARIABLES,
            TargetSettings::VARIABLES,
            ServerSettings::VARIABLES,
        ]
    }

    fn configure(environment: &Environment, common: &Common, problems: &mut Problems) -> Option<Self> {
        let config = OrdersConfig::read(environment, common, problems)?;
        Some(Self { config })
    }

    async fn run(self, context: Context) -> Result<(), Failure> {
        load::run(&self.config, &context).await
    }
}

//! Streams the pageviews and star ratings of sessions in a shop, live, from a time in the past, or as a load test.
//!
//! Sessions come from [`datagen_core::model::session`]. [`schedule`] decides which message is sent when, and encodes it
//! into a [`batch`]; [`merge`] brings the batches of several workers into one order; a [`sink`] delivers them.
//! [`stream`] runs all of this according to the [`clock`] and shuts it down in an orderly way; [`metrics`] report the
//! progress, and a [`manifest`] what was sent.

pub mod batch;
pub mod clock;
pub mod config;
pub mod connection_string;
pub mod manifest;
pub mod merge;
pub mod message;
pub mod metrics;
pub mod schedule;
pub mod sink;
pub mod stream;

use datagen_process::error::RunError;
use datagen_process::generator::{Context, Generator};
use datagen_process::sample::Sample;
use datagen_process::shard::Shard;
use datagen_settings::catalog::{self, StreamSettings};
use datagen_settings::{ConfigurationErrors, Environment};

use crate::config::{EventConfig, StreamConfig};
use crate::metrics::prometheus::Listener;

/// The generator of the two streams.
#[derive(Debug)]
pub struct StreamPageviews {
    config: StreamConfig,
}

impl Generator for StreamPageviews {
    const SETTINGS: catalog::GeneratorSettings = catalog::STREAM_PAGEVIEWS;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");
    const EXIT_CODE_OF_SIGNALS: &'static str = "0 after SIGINT/SIGTERM, 130/143 after a second one";

    fn configure(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let config = StreamConfig::read(environment, problems)?;
        Some(Self { config })
    }

    fn sample(environment: &Environment, shard: Shard, problems: &mut ConfigurationErrors) -> Option<Sample> {
        let settings: StreamSettings = environment.read(problems);
        let events = EventConfig::new(&settings, environment, problems);
        Some(stream::sample(&events, shard))
    }

    async fn run(self, context: Context) -> Result<(), RunError> {
        let page = match self.config.metrics {
            Some(address) => Some(Listener::bind(address).await?),
            None => None,
        };
        let sink = tokio::select! {
            signal = context.shutdown.requested() => {
                tracing::info!("{signal} before the first message: nothing was produced");
                return Ok(());
            }
            sink = sink::open(&self.config.sink) => sink?,
        };
        Ok(stream::run(&self.config, sink, page, &context).await?)
    }
}

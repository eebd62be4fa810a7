//! Streams pageviews and stars of visitors' sessions, for ever or for a number of sessions.
//!
//! Sessions come from [`datagen_core::model::session`]; [`visit`] turns each into messages; a [`sink`]
//! delivers them; [`stream`] keeps the pace and stops in good order; [`metrics`] tells how it goes.

pub mod config;
pub mod connection_string;
pub mod metrics;
pub mod sink;
pub mod stream;
pub mod visit;

use datagen_process::error::Failure;
use datagen_process::generator::{Context, Generator};
use datagen_settings::catalog;
use datagen_settings::{Environment, Problems};

use crate::config::StreamConfig;
use crate::metrics::prometheus::Listener;

/// The generator of the two streams.
#[derive(Debug)]
pub struct StreamPageviews {
    config: StreamConfig,
}

impl Generator for StreamPageviews {
    const SETTINGS: catalog::Generator = catalog::STREAM_PAGEVIEWS;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");
    const EXIT_CODE_OF_SIGNALS: &'static str = "0 after SIGINT/SIGTERM, 130/143 after a second one";

    fn configure(environment: &Environment, problems: &mut Problems) -> Option<Self> {
        let config = StreamConfig::read(environment, problems)?;
        Some(Self { config })
    }

    async fn run(self, context: Context) -> Result<(), Failure> {
        let page = match self.config.metrics {
            Some(address) => Some(Listener::bind(address).await?),
            None => None,
        };
        let sink = tokio::select! {
            signal = context.shutdown.requested() => {
                tracing::info!("{signal} before the first session: nothing was produced");
                return Ok(());
            }
            sink = sink::open(&self.config.target) => sink?,
        };
        Ok(stream::run(&self.config, sink, page, &context).await?)
    }
}

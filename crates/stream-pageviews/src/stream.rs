//! Keeps the sessions coming at their pace, and stops in good order.

use std::sync::Arc;
use std::time::Duration;

use datagen_core::error::{DestinationError, Failure};
use datagen_core::model::session::Sessions;
use datagen_core::pace::Pace;
use datagen_core::process::Context;
use datagen_core::progress::Progress;
use datagen_core::shard::Shard;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::StreamConfig;
use crate::metrics::Metrics;
use crate::sink::Sink;
use crate::visit::Visit;

/// How long the end may take to deliver what was produced.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// How long visitors may take to finish the session that they are in when the end comes.
const LAST_SESSION: Duration = Duration::from_secs(1);

/// Streams sessions until the last, until a signal comes, or until nothing can be delivered any more; then delivers
/// what was produced.
///
/// # Errors
/// If the sink fails for good, or some messages could not be delivered.
pub async fn run(config: &StreamConfig, sink: Arc<dyn Sink>, context: &Context) -> Result<(), Failure> {
    let seed = context.common.seed.unwrap_or_else(rand::random);
    tracing::info!(seed, "streaming; the same SEED gives the same sessions");
    let shard = context.common.shard;
    let metrics = Arc::new(Metrics::new(Arc::clone(&sink)));
    let total = config.sessions.map(|all| {
        let range = shard.range(all);
        range.end - range.start
    });
    let shown = context
        .bar
        .is_shown()
        .then(|| Progress::start(&context.bar, "sessions", total));
    let mut background = JoinSet::new();
    if let Some(address) = config.metrics {
        let listener = Metrics::listen(address).await.map_err(|error| {
            DestinationError::permanent(format!("METRICS_ADDR {address}"), error.to_string())
                .advise("give an address of this machine and a free port")
        })?;
        background.spawn(Arc::clone(&metrics).serve(listener));
    }
    if shown.is_none() {
        let metrics = Arc::clone(&metrics);
        background.spawn(async move { metrics.log_periodically().await });
    }

    let shop = Arc::new(Shop {
        config: config.clone(),
        sessions: Sessions::new(seed, config.user_max_id, config.product_max_id),
        shard,
        sink: Arc::clone(&sink),
        pace: Mutex::new(Pace::new(config.rate)),
        metrics: Arc::clone(&metrics),
        progress: shown.as_ref().map(|(progress, _)| progress.clone()),
        closing: CancellationToken::new(),
    });
    let mut visitors = JoinSet::new();
    for visitor in 0..config.concurrent_users {
        visitors.spawn(Arc::clone(&shop).visit_again_and_again(visitor));
    }
    let produced = tokio::select! {
        biased;
        signal = context.shutdown.requested() => {
            tracing::info!("{signal}: delivering what was produced");
            Ok(())
        }
        failure = sink.failed() => Err(failure),
        result = all(&mut visitors) => result,
    };
    shop.closing.cancel();
    // Those who wait for a broker that does not answer are not waited for.
    let _ = tokio::time::timeout(LAST_SESSION, all(&mut visitors)).await;
    visitors.shutdown().await;

    let flushed = sink.flush(FLUSH_LIMIT).await;
    drop(shown);
    metrics.summarize();
    // The first error is the cause; what was lost is in the summary.
    Ok(produced.and(flushed)?)
}

/// Waits for all visitors, or for the first whose messages the sink does not take.
async fn all(visitors: &mut JoinSet<Result<(), DestinationError>>) -> Result<(), DestinationError> {
    while let Some(visitor) = visitors.join_next().await {
        match visitor {
            Ok(result) => result?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    Ok(())
}

/// What all visitors share.
struct Shop {
    config: StreamConfig,
    sessions: Sessions,
    shard: Shard,
    sink: Arc<dyn Sink>,
    /// RATE is kept by all together: whoever waits, waits in line.
    pace: Mutex<Pace>,
    metrics: Arc<Metrics>,
    progress: Option<Progress>,
    closing: CancellationToken,
}

impl Shop {
    /// The ids of one visitor's sessions: every n-th of this shard's, so that all visitors of all shards together
    /// make the same sessions, whatever their numbers.
    fn ids(&self, visitor: u32) -> Box<dyn Iterator<Item = u64> + Send> {
        let (visitor, visitors) = (visitor as usize, self.config.concurrent_users as usize);
        match self.config.sessions {
            Some(all) => Box::new(self.shard.range(all).skip(visitor).step_by(visitors)),
            None => {
                let ids = (u64::from(self.shard.index)..).step_by(self.shard.count as usize);
                Box::new(ids.skip(visitor).step_by(visitors))
            }
        }
    }

    /// One visitor's sessions: without end, or its part of the first `SESSIONS`.
    async fn visit_again_and_again(self: Arc<Self>, visitor: u32) -> Result<(), DestinationError> {
        let mut visit = Visit::default();
        for id in self.ids(visitor) {
            let session = self.sessions.get(id);
            let pause = self.config.pause.before(&session);
            if pause > Duration::ZERO {
                // Thousands may wait at once: they do not hold on to their messages' memory.
                visit = Visit::default();
                if self.until_closing(tokio::time::sleep(pause)).await.is_none() {
                    return Ok(());
                }
            } else {
                // So that a signal is noticed.
                tokio::task::consume_budget().await;
            }
            visit.fill(&session);
            let paced = async { self.pace.lock().await.wait(visit.len() as u64).await };
            if self.until_closing(paced).await.is_none() {
                return Ok(());
            }
            self.sink.send(&visit).await?;
            self.metrics.add(&visit);
            if let Some(progress) = &self.progress {
                progress.add(1, visit.bytes());
            }
        }
        Ok(())
    }

    /// Waits, unless the shop closes first.
    async fn until_closing<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            done = waiting => Some(done),
        }
    }
}

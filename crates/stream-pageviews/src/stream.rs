//! Keeps the sessions coming at their pace, and stops in good order.

use std::time::Duration;

use datagen_core::error::Failure;
use datagen_core::model::session::Sessions;
use datagen_core::pace::Pace;
use datagen_core::process::Context;
use datagen_core::progress::Progress;

use crate::config::StreamConfig;
use crate::sink::Sink;
use crate::visit::Visit;

/// How long the end may take to deliver what was produced.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// Streams sessions until the last, or until a signal comes; then delivers what was produced.
///
/// # Errors
/// If the sink fails for good, or some messages could not be delivered.
pub async fn run(config: &StreamConfig, mut sink: Box<dyn Sink>, context: &Context) -> Result<(), Failure> {
    let seed = context.common.seed.unwrap_or_else(rand::random);
    tracing::info!(seed, "streaming; the same SEED gives the same sessions");
    let sessions = Sessions::new(seed, config.user_max_id, config.product_max_id);
    let shard = context.common.shard;
    let total = config.sessions.map(|all| {
        let range = shard.range(all);
        range.end - range.start
    });
    let (progress, ticker) = Progress::start(&context.bar, "sessions", total);

    let produced = tokio::select! {
        biased;
        signal = context.shutdown.requested() => {
            tracing::info!("{signal}: delivering what was produced");
            Ok(())
        }
        result = produce(config, &sessions, &mut *sink, context, &progress) => result,
    };
    let flushed = sink.flush(FLUSH_LIMIT).await;
    drop(ticker);
    progress.summarize();
    Ok(produced.and(flushed)?)
}

/// Sends this shard's sessions: without end, or its range of the first `SESSIONS`.
async fn produce(
    config: &StreamConfig,
    sessions: &Sessions,
    sink: &mut dyn Sink,
    context: &Context,
    progress: &Progress,
) -> Result<(), datagen_core::error::DestinationError> {
    let shard = context.common.shard;
    let ids: Box<dyn Iterator<Item = u64> + Send> = match config.sessions {
        Some(all) => Box::new(shard.range(all)),
        None => Box::new((u64::from(shard.index)..).step_by(shard.count as usize)),
    };
    let mut pace = Pace::new(config.rate);
    let mut visit = Visit::default();
    for id in ids {
        let session = sessions.get(id);
        let pause = config.pause.before(&session);
        if pause > Duration::ZERO {
            tokio::time::sleep(pause).await;
        } else {
            // So that a signal is noticed.
            tokio::task::consume_budget().await;
        }
        visit.fill(&session);
        pace.wait(visit.len() as u64).await;
        sink.send(&visit).await?;
        progress.add(1, visit.bytes());
    }
    Ok(())
}

//! Keeps the sessions coming at their pace, and stops in good order.
//!
//! There may be a hundred thousand visitors. Nearly all of them pause, and a pausing visitor is a few hundred
//! bytes; to visit, it takes one of a few desks, so that no more than these hold messages, however many wait
//! for RATE or for a broker that is away.

use std::sync::Arc;
use std::time::Duration;

use datagen_core::model::session::Sessions;
use datagen_process::error::DestinationError;
use datagen_process::generator::Context;
use datagen_process::pace::Pace;
use datagen_process::progress::Progress;
use datagen_process::shard::Shard;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::StreamConfig;
use crate::metrics::Metrics;
use crate::metrics::prometheus::Listener;
use crate::sink::{Delivery, Sink};
use crate::visit::{Batch, Visit};

/// How long the end may take to deliver what was produced. Ten seconds after a signal the process has to be
/// gone, what is lost counted and reported: a second goes to what is given up, and one is spare.
const END_LIMIT: Duration = Duration::from_secs(8);

/// How much of it visitors may take to finish the session that they are in.
const LAST_SESSION: Duration = Duration::from_secs(1);

/// Desks for each of the runtime's threads: one at work, and one that waits for its turn meanwhile.
const DESKS_PER_THREAD: usize = 2;

/// Streams sessions until the last, until a signal comes, or until nothing can be delivered any more; then
/// delivers what was produced.
///
/// # Errors
/// If the sink fails for good, or some messages could not be delivered.
pub async fn run(
    config: &StreamConfig,
    sink: Arc<dyn Sink>,
    page: Option<Listener>,
    context: &Context,
) -> Result<(), DestinationError> {
    let seed = config.seed.unwrap_or_else(rand::random);
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
    if let Some(page) = page {
        background.spawn(page.serve(Arc::clone(&metrics)));
    }
    if shown.is_none() {
        let metrics = Arc::clone(&metrics);
        background.spawn(async move { metrics.log_periodically().await });
    }

    let desks = DESKS_PER_THREAD * Handle::current().metrics().num_workers();
    let shop = Arc::new(Shop {
        config: config.clone(),
        sessions: Sessions::new(config.profile, seed, config.user_max_id, config.product_max_id),
        shard,
        sink: Arc::clone(&sink),
        desks: std::iter::repeat_with(Mutex::default).take(desks).collect(),
        pace: (config.rate > 0.0).then(|| Mutex::new(Pace::new(config.rate))),
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
        // After the last session a broker that is away is waited for, as before it.
        result = async {
            all(&mut visitors).await?;
            sink.flush(Duration::MAX).await
        } => result,
    };
    let deadline = Instant::now() + END_LIMIT;
    shop.closing.cancel();
    // Those who wait for a broker that does not answer are not waited for.
    let _ = tokio::time::timeout(LAST_SESSION, all(&mut visitors)).await;
    visitors.shutdown().await;

    let flushed = sink.flush(deadline - Instant::now()).await;
    drop(shown);
    metrics.summarize();
    // The first error is the cause; what followed from it is counted.
    produced.and(flushed).map_err(|mut failure| {
        let Delivery { delivered, lost, .. } = sink.delivery();
        if lost > 0 {
            failure.problem += &format!("; {lost} messages were lost, {delivered} delivered");
        }
        failure
    })
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
    /// Where visitors make their messages and wait until they are sent.
    desks: Box<[Mutex<Visit>]>,
    /// RATE is kept by all together: whoever waits, waits in line.
    pace: Option<Mutex<Pace>>,
    metrics: Arc<Metrics>,
    progress: Option<Progress>,
    closing: CancellationToken,
}

impl Shop {
    /// The ids of one visitor's sessions: every n-th of this shard's, so that all visitors of all shards
    /// together make the same sessions, whatever their numbers.
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
        let desk = &self.desks[visitor as usize % self.desks.len()];
        for id in self.ids(visitor) {
            let session = self.sessions.get(id);
            let pause = self.config.pause.before(&session);
            if pause > Duration::ZERO {
                if self.until_closing(tokio::time::sleep(pause)).await.is_none() {
                    return Ok(());
                }
            } else {
                // So that a signal is noticed.
                tokio::task::consume_budget().await;
            }
            let Some(mut visit) = self.until_closing(desk.lock()).await else {
                return Ok(());
            };
            visit.fill(&session);
            let batches: Box<dyn Iterator<Item = Batch<'_>> + Send> =
                if self.pace.is_none() || self.sink.wants_sessions_whole() {
                    Box::new(std::iter::once(visit.whole()))
                } else {
                    Box::new(visit.one_by_one())
                };
            for batch in batches {
                if let Some(pace) = &self.pace {
                    let due = async { pace.lock().await.wait(batch.len()).await };
                    if self.until_closing(due).await.is_none() {
                        return Ok(());
                    }
                }
                self.sink.send(batch).await?;
            }
            self.metrics.add_session();
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use async_trait::async_trait;
    use datagen_core::model::Profile;
    use datagen_core::model::session::Pause;
    use datagen_process::common::Common;
    use datagen_process::progress::Bar;
    use datagen_process::shutdown::{Shutdown, Signal};
    use datagen_settings::{Environment, Problems};

    use super::*;
    use crate::config::Target;

    /// Takes nothing, or all; remembers how many batches waited at once, how large they were, and the last
    /// limit.
    #[derive(Default)]
    struct Fake {
        full: bool,
        whole: bool,
        waiting: AtomicUsize,
        largest: AtomicUsize,
        batches: AtomicUsize,
        messages: AtomicUsize,
        limit: std::sync::Mutex<Duration>,
    }

    #[async_trait]
    impl Sink for Fake {
        async fn send(&self, batch: Batch<'_>) -> Result<(), DestinationError> {
            self.batches.fetch_add(1, SeqCst);
            let messages = batch.messages().count();
            self.messages.fetch_add(messages, SeqCst);
            self.largest.fetch_max(messages, SeqCst);
            if self.full {
                self.waiting.fetch_add(1, SeqCst);
                std::future::pending::<()>().await;
            }
            Ok(())
        }

        fn wants_sessions_whole(&self) -> bool {
            self.whole
        }

        async fn flush(&self, limit: Duration) -> Result<(), DestinationError> {
            *self.limit.lock().unwrap() = limit;
            Ok(())
        }

        fn delivery(&self) -> Delivery {
            Delivery::default()
        }
    }

    fn config(visitors: u32, rate: f64) -> StreamConfig {
        StreamConfig {
            user_max_id: 9,
            product_max_id: 9,
            profile: Profile::Uniform,
            sessions: None,
            pause: Pause {
                mean: 10.0,
                stddev: 5.0,
            },
            concurrent_users: visitors,
            seed: None,
            rate,
            target: Target::Directory(PathBuf::new()),
            metrics: None,
        }
    }

    /// Streams for a time, then a signal comes.
    async fn stream(sink: &Arc<Fake>, config: &StreamConfig, time: Duration) {
        let context = Context {
            common: Common::read(&Environment::default(), &mut Problems::default()),
            shutdown: Shutdown::default(),
            bar: Bar::hidden(),
        };
        let shutdown = context.shutdown.clone();
        let stop = async {
            tokio::time::sleep(time).await;
            shutdown.request(Signal::Terminate);
        };
        let sink = Arc::clone(sink) as Arc<dyn Sink>;
        let (result, ()) = tokio::join!(run(config, sink, None, &context), stop);
        result.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_wait_for_a_full_sink_few_hold_messages() {
        let sink = Arc::new(Fake {
            full: true,
            ..Fake::default()
        });
        stream(&sink, &config(5_000, 0.0), Duration::from_secs(600)).await;
        // The test's runtime has one thread.
        assert_eq!(sink.waiting.load(SeqCst), DESKS_PER_THREAD);
        // What the last sessions waited for is gone from the time for the rest.
        assert_eq!(*sink.limit.lock().unwrap(), END_LIMIT - LAST_SESSION);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_sent_whole_and_with_a_rate_message_by_message() {
        let sink = Arc::new(Fake::default());
        stream(&sink, &config(10, 0.0), Duration::from_secs(600)).await;
        assert!(sink.largest.load(SeqCst) > 10);

        let sink = Arc::new(Fake::default());
        stream(&sink, &config(1_000, 10.0), Duration::from_secs(600)).await;
        assert_eq!(sink.largest.load(SeqCst), 1);
        let batches = sink.batches.load(SeqCst);
        assert!((5_900..=6_001).contains(&batches), "{batches} in 600 s");

        let sink = Arc::new(Fake {
            whole: true,
            ..Fake::default()
        });
        stream(&sink, &config(1_000, 10.0), Duration::from_secs(600)).await;
        assert!(sink.largest.load(SeqCst) > 10);
        let messages = sink.messages.load(SeqCst);
        assert!((5_900..=6_040).contains(&messages), "{messages} in 600 s");
    }
}

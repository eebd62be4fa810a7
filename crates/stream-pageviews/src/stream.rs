//! Sends what the schedule makes when it is due, and shuts down in an orderly way.
//!
//! Workers make and encode batches of messages, each for some of the sources. Normally one task merges their batches
//! into one order and sends them; in a load test, which has no order across sources, each worker sends its batches
//! itself. The number of batches is fixed, so that workers wait for a destination that is slower than they are, and
//! memory is bounded.

use std::sync::Arc;
use std::time::Duration;

use datagen_core::model::DATA_VERSION;
use datagen_core::model::planted::PlantedSessions;
use datagen_core::model::session::{DeliveryFaults, Sessions, StreamTag};
use datagen_process::blocking::blocking;
use datagen_process::error::DestinationError;
use datagen_process::generator::Context;
use datagen_process::pace::Pace;
use datagen_process::sample::Sample;
use datagen_process::shard::Shard;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, SendKey};
use crate::clock::Clock;
use crate::config::{EventConfig, SinkConfig, StreamConfig};
use crate::manifest::{self, StreamManifest};
use crate::merge::{Merge, Ready};
use crate::message::Message;
use crate::metrics::prometheus::Listener;
use crate::metrics::report::{self, Extent};
use crate::metrics::{Metrics, PlantedCounts};
use crate::schedule::{LoadSchedule, Schedule, StreamPlan};
use crate::sink::{Delivery, Sink};

/// How long the shutdown may take to deliver what was produced. The process must have ended ten seconds after a signal,
/// with lost messages counted and reported: giving up takes one second, and one second is spare.
const END_LIMIT: Duration = Duration::from_secs(8);

/// The part of [`END_LIMIT`] that handing over everything that is due, and late messages, to the destination may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// The number of batches of each worker: one being filled, one being sent, and some in between, so that the workers do
/// not wait for each other.
const BATCHES_PER_WORKER: usize = 8;

/// The shortest time between two readings of the clock. Everything that becomes due in between is sent as one batch.
const TICK: Duration = Duration::from_millis(5);

/// The longest time between two readings of the clock, since the clock may be set in between.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The largest lag behind the clock at which a stream counts as live, in milliseconds.
const LIVE_LAG_MS: u64 = 1_000;

/// A live stream with RATE that lags behind the clock by more than this, in milliseconds, causes a warning.
const RATE_LAG_MS: u64 = 10_000;

/// The maximum number of messages that are sent at once.
const MAX_CHUNK: usize = 1_024;

/// With RATE, messages are sent in this many chunks per second, or one by one if RATE is low.
const CHUNKS_PER_SECOND: f64 = 50.0;

/// Streams sessions until the last one, until STREAM_TO, until a signal arrives, or until nothing can be delivered any
/// more; then delivers what was produced.
///
/// # Errors
/// If the sink fails permanently, or some messages could not be delivered.
pub async fn run(
    config: &StreamConfig,
    sink: Arc<dyn Sink>,
    page: Option<Listener>,
    context: &Context,
) -> Result<(), DestinationError> {
    run_by(Clock::system(), config, sink, page, context).await
}

async fn run_by(
    clock: Clock,
    config: &StreamConfig,
    sink: Arc<dyn Sink>,
    page: Option<Listener>,
    context: &Context,
) -> Result<(), DestinationError> {
    let seed = config.events.seed.unwrap_or_else(rand::random);
    let shard = context.common.shard;
    let plan = Arc::new(plan(&config.events, seed, clock.now_ms()));
    let sessions = config.events.sessions;
    let sessions = sessions.map(|count| sessions_of_shard(count, plan.sources, shard));
    let extent = Extent::new(&plan, sessions);
    report::announce(plan.tag, extent, &config.sink, seed, shard, &context.bar);
    match &config.sink {
        SinkConfig::Directory(directory) => {
            manifest::warn_of_repetition(directory, config, &plan, shard, seed);
        }
        #[cfg(feature = "kafka")]
        SinkConfig::Kafka(_) => {}
    }
    let metrics = Metrics::new(Arc::clone(&sink), clock.clone());
    let metrics = Arc::new(metrics.with_planted(planted_counts(&plan, &sink)));
    let bar = &context.bar;
    let shown = bar.is_shown().then(|| metrics.show(bar, extent, &config.events));
    let mut background = JoinSet::new();
    if let Some(page) = page {
        background.spawn(page.serve(Arc::clone(&metrics)));
    }
    if shown.is_none() {
        let metrics = Arc::clone(&metrics);
        background.spawn(async move { metrics.log_periodically().await });
    }

    let closing = CancellationToken::new();
    let sender = Sender {
        sink: Arc::clone(&sink),
        pace: (config.rate > 0.0).then(|| Arc::new(Mutex::new(Pace::new(config.rate)))),
        chunk: chunk(config.rate),
        metrics: Arc::clone(&metrics),
        clock: clock.clone(),
        closing: closing.clone(),
    };
    let mut tasks = JoinSet::new();
    if config.events.is_load_test() {
        start_load_test(&mut tasks, &plan, shard, &sender);
    } else {
        let is_live = config.events.from_ms.is_none();
        start_ordered(&mut tasks, &plan, shard, sender.clone(), is_live);
    }
    let produced = tokio::select! {
        biased;
        signal = context.shutdown.requested() => {
            tracing::info!("{signal}: delivering what was produced");
            Ok(())
        }
        failure = sink.failed() => Err(failure),
        // After the last message, an unavailable broker is waited for just as before it.
        result = async {
            all(&mut tasks).await?;
            sink.flush(Duration::MAX).await
        } => result,
    };
    let deadline = Instant::now() + END_LIMIT;
    closing.cancel();
    // A destination that takes no messages is not waited for any longer.
    let handed_over = tokio::time::timeout(HAND_OVER_LIMIT, all(&mut tasks)).await;
    tasks.shutdown().await;
    let unsent = metrics.waiting();
    let produced = match handed_over {
        Err(_) if unsent > 0 && produced.is_ok() => Err(DestinationError::permanent(
            "the stream",
            format!("{unsent} late messages could not be handed over before the end"),
        )
        .advise("they will not be sent again: check why the destination is slow")),
        Ok(Err(failure)) => produced.and(Err(failure)),
        _ => produced,
    };

    let flushed = sink.flush(deadline - Instant::now()).await;
    drop(shown);
    metrics.summarize(&config.sink, bar);
    let delivery = sink.delivery();
    let manifest = StreamManifest::new(config, &plan, shard, seed, metrics.sessions(), &delivery);
    let described = match &config.sink {
        SinkConfig::Directory(directory) => manifest.write(directory),
        #[cfg(feature = "kafka")]
        SinkConfig::Kafka(_) => {
            manifest.log();
            Ok(())
        }
    };
    // The first error is the cause; its consequences are only counted.
    produced.and(flushed).map_err(|mut failure| {
        let Delivery { delivered, lost, .. } = delivery;
        if lost > 0 {
            failure.problem += &format!("; {lost} messages were lost, {delivered} delivered");
        }
        failure
    })?;
    described
}

/// Returns the messages of `shard` in the order of their events, without late messages and duplicates.
pub fn sample(config: &EventConfig, shard: Shard) -> Sample {
    let seed = config.seed.unwrap_or_else(rand::random);
    let plan = Arc::new(StreamPlan {
        faults: DeliveryFaults::new(seed, 0, 0),
        ..plan(config, seed, Clock::system().now_ms())
    });
    let tag = plan.tag;
    let sources = sources_of_shard(plan.sources, shard);
    let mut schedule = Schedule::new(plan, sources);
    let mut batch = Batch::default();
    let mut next = 0;
    Sample::new(move |out| {
        if next == batch.len() {
            batch.clear();
            schedule.fill(&mut batch, u64::MAX);
            next = 0;
        }
        if batch.is_empty() {
            return false;
        }
        out.push_line(batch.message(next, tag).payload);
        next += 1;
        true
    })
}

/// Returns the plan of the stream that `config` describes, if it starts at `now_ms`.
fn plan(config: &EventConfig, seed: u64, now_ms: u64) -> StreamPlan {
    let start_ms = config.from_ms.unwrap_or(now_ms);
    let sources = u64::from(config.concurrent_users);
    StreamPlan {
        sessions: Sessions::new(config.profile, seed, config.user_max_id, config.product_max_id),
        faults: DeliveryFaults::new(seed, config.late_one_in, config.duplicate_one_in),
        pause: config.pause,
        sources,
        session_count: config.sessions,
        start_ms,
        end_ms: config.to_ms,
        // Everything on which the bytes of an event depend.
        tag: StreamTag::new(&[
            u64::from(DATA_VERSION),
            seed,
            config.profile as u64,
            config.user_max_id,
            config.product_max_id,
            sources,
            config.pause.mean.to_bits(),
            config.pause.stddev.to_bits(),
            start_ms,
            u64::from(config.event_fields),
        ]),
        event_fields: config.event_fields,
    }
}

/// Returns a function that counts the effects in the messages that `sink` has taken.
fn planted_counts(plan: &Arc<StreamPlan>, sink: &Arc<dyn Sink>) -> PlantedCounts {
    let (plan, sink) = (Arc::clone(plan), Arc::clone(sink));
    Box::new(move || {
        let counts = sink.delivery().planted;
        let planted = PlantedSessions::new(&plan.sessions, plan.faults);
        let effects = planted.possible().iter();
        effects
            .map(|&effect| (effect.name(), counts.get(effect)))
            .collect()
    })
}

/// Returns the sources of `shard` among all `sources`: source `s` belongs to the shard `s` modulo the number of shards.
fn sources_of_shard(sources: u64, shard: Shard) -> impl Iterator<Item = u64> + use<> {
    (u64::from(shard.index)..sources).step_by(shard.count as usize)
}

/// Returns how many sources `shard` has among all `sources`.
fn source_count(sources: u64, shard: Shard) -> u64 {
    (sources + u64::from(shard.count) - 1 - u64::from(shard.index)) / u64::from(shard.count)
}

/// Returns how many of the first `count` sessions come from the sources of `shard`.
fn sessions_of_shard(count: u64, sources: u64, shard: Shard) -> u64 {
    let (rounds, rest) = (count / sources, count % sources);
    rounds * source_count(sources, shard) + source_count(rest, shard)
}

/// Returns the sources of each worker. There are as many workers as the runtime has threads, but at most one per
/// source.
fn sources_by_worker(plan: &StreamPlan, shard: Shard) -> Vec<impl Iterator<Item = u64> + use<>> {
    let threads = Handle::current().metrics().num_workers() as u64;
    let workers = threads.min(source_count(plan.sources, shard)).max(1) as usize;
    let sources_of = |worker| {
        let sources = sources_of_shard(plan.sources, shard);
        sources.skip(worker).step_by(workers)
    };
    (0..workers).map(sources_of).collect()
}

/// Returns how many messages are sent at once with `rate`. A `rate` of 0 means no limit.
fn chunk(rate: f64) -> usize {
    match rate > 0.0 {
        true => ((rate / CHUNKS_PER_SECOND) as usize).clamp(1, MAX_CHUNK),
        false => MAX_CHUNK,
    }
}

/// Waits until all tasks have ended, or until the first one fails because the sink does not take its messages.
async fn all(tasks: &mut JoinSet<Result<(), DestinationError>>) -> Result<(), DestinationError> {
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(result) => result?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Starts the workers of a load test, each of which sends its batches itself.
fn start_load_test(
    tasks: &mut JoinSet<Result<(), DestinationError>>,
    plan: &Arc<StreamPlan>,
    shard: Shard,
    sender: &Sender,
) {
    for sources in sources_by_worker(plan, shard) {
        let mut schedule = LoadSchedule::new(Arc::clone(plan), sources);
        let (sender, tag) = (sender.clone(), plan.tag);
        tasks.spawn(async move {
            let mut batch = Batch::default();
            let most = if sender.pace.is_some() {
                sender.chunk
            } else {
                usize::MAX
            };
            let mut now_ms = 0;
            while !sender.closing.is_cancelled() {
                // Even if the clock is set back, time does not go backwards within a session.
                now_ms = sender.clock.now_ms().max(now_ms);
                batch.clear();
                schedule.fill(&mut batch, most, now_ms);
                if batch.is_empty() {
                    break;
                }
                sender.send(&batch.messages(tag)).await?;
                if !sender.wait(batch.len()).await {
                    break;
                }
                // Other tasks get a turn.
                tokio::task::yield_now().await;
            }
            Ok(())
        });
    }
}

/// Starts the workers of an ordered stream, and the task that sends their batches. `is_live` says whether the stream
/// begins at the current time of the clock.
fn start_ordered(
    tasks: &mut JoinSet<Result<(), DestinationError>>,
    plan: &Arc<StreamPlan>,
    shard: Shard,
    sender: Sender,
    is_live: bool,
) {
    let workers = sources_by_worker(plan, shard);
    let (filled, received) = mpsc::channel(workers.len() * BATCHES_PER_WORKER);
    let mut recycled = Vec::new();
    for (index, sources) in workers.into_iter().enumerate() {
        let (recycle, empty) = mpsc::channel(BATCHES_PER_WORKER);
        for _ in 0..BATCHES_PER_WORKER {
            // The channel has room for all of them.
            let _ = recycle.try_send(Batch::default());
        }
        recycled.push(recycle);
        let worker = Worker {
            index,
            empty,
            filled: filled.clone(),
            clock: sender.clock.clone(),
            closing: sender.closing.clone(),
            metrics: Arc::clone(&sender.metrics),
            waiting: 0,
        };
        let plan = Arc::clone(plan);
        tasks.spawn(async move {
            worker.run(Schedule::new(plan, sources)).await;
            Ok(())
        });
    }
    let merge = Merge::new(recycled, plan.tag);
    tasks.spawn(sender.send_in_order(merge, received, is_live));
}

/// Makes the batches of some of the sources when they are due.
struct Worker {
    index: usize,
    empty: mpsc::Receiver<Batch>,
    filled: mpsc::Sender<(usize, Batch)>,
    clock: Clock,
    closing: CancellationToken,
    metrics: Arc<Metrics>,
    /// How many late messages and duplicates of this worker the metrics include at the moment.
    waiting: usize,
}

impl Worker {
    async fn run(mut self, mut schedule: Schedule) {
        // The channels are closed when the sender has failed.
        while let Some(batch) = self.empty.recv().await {
            let lag_ms = schedule
                .next_due_ms()
                .map(|due_ms| self.clock.now_ms().saturating_sub(due_ms));
            let next_due_ms;
            if lag_ms.is_some_and(|lag_ms| lag_ms > LIVE_LAG_MS) {
                // A backfill keeps a core busy. On a separate thread, it does not delay the sender's task.
                let fill = move || {
                    let next_due_ms = self.fill(&mut schedule, batch);
                    (self, schedule, next_due_ms)
                };
                (self, schedule, next_due_ms) = blocking(fill).await;
            } else {
                next_due_ms = self.fill(&mut schedule, batch);
            }
            match next_due_ms {
                None => return,
                Some(due_ms) if due_ms <= self.clock.now_ms() => tokio::task::yield_now().await,
                Some(due_ms) => self.sleep_until(due_ms).await,
            }
        }
    }

    /// Fills `batch` with what is due, and further batches while messages are due and there are empty batches. Returns
    /// when the next message is due; `None` after the last.
    fn fill(&mut self, schedule: &mut Schedule, mut batch: Batch) -> Option<u64> {
        loop {
            if self.closing.is_cancelled() {
                schedule.close();
            }
            let now_ms = self.clock.now_ms();
            schedule.fill(&mut batch, now_ms);
            self.metrics.change_waiting(self.waiting, schedule.waiting());
            self.waiting = schedule.waiting();
            // The channel has room for all batches; it is closed when the sender has failed.
            self.filled.try_send((self.index, batch)).ok()?;
            let due_ms = schedule.next_due_ms()?;
            if due_ms > now_ms {
                return Some(due_ms);
            }
            match self.empty.try_recv() {
                Ok(empty) => batch = empty,
                Err(_) => return Some(due_ms),
            }
        }
    }

    /// Waits until the clock shows `time_ms`, or until the stream closes.
    async fn sleep_until(&self, time_ms: u64) {
        let mut shortest = TICK;
        loop {
            let left = Duration::from_millis(time_ms.saturating_sub(self.clock.now_ms())).max(shortest);
            if left.is_zero() {
                return;
            }
            shortest = Duration::ZERO;
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
            }
        }
    }
}

/// Hands messages to the sink at RATE, and counts their sessions.
#[derive(Clone)]
struct Sender {
    sink: Arc<dyn Sink>,
    /// Shared by all senders, which wait in line, so that together they keep RATE.
    pace: Option<Arc<Mutex<Pace>>>,
    /// How many messages are sent at once.
    chunk: usize,
    metrics: Arc<Metrics>,
    clock: Clock,
    closing: CancellationToken,
}

impl Sender {
    async fn send(&self, messages: &[Message<'_>]) -> Result<(), DestinationError> {
        self.sink.send(messages).await?;
        let sessions = messages.iter().filter(|message| message.is_start()).count() as u64;
        self.metrics.add_sessions(sessions);
        Ok(())
    }

    /// Waits until RATE allows more messages after `sent` of them. Returns whether the stream goes on.
    async fn wait(&self, sent: usize) -> bool {
        let Some(pace) = &self.pace else { return true };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => false,
            () = async { pace.lock().await.wait(sent as u64).await } => true,
        }
    }

    /// Sends the batches of all workers in order, up to the last one.
    async fn send_in_order(
        self,
        mut merge: Merge,
        mut received: mpsc::Receiver<(usize, Batch)>,
        mut is_live: bool,
    ) -> Result<(), DestinationError> {
        let (mut is_cut_off, mut is_slow_reported, mut last_ms) = (false, false, 0);
        while let Some((worker, batch)) = received.recv().await {
            merge.add(worker, batch);
            while let Ok((worker, batch)) = received.try_recv() {
                merge.add(worker, batch);
            }
            loop {
                let now_ms = self.clock.now_ms();
                let lag_ms = now_ms.saturating_sub(merge.sent_until().time_ms);
                self.metrics.set_sent_until(merge.sent_until().time_ms);
                if self.closing.is_cancelled() && !is_cut_off {
                    // A live stream has sent what was due up to now; any other stream has got as far as its last
                    // message.
                    merge.cut_off(if lag_ms <= LIVE_LAG_MS { now_ms } else { last_ms });
                    is_cut_off = true;
                }
                let has_ended = merge.sent_until() == SendKey::LAST;
                if !is_live && lag_ms <= LIVE_LAG_MS && !is_cut_off && !has_ended {
                    tracing::info!("caught up with the clock: the stream is live from now on");
                    is_live = true;
                }
                if is_live && self.pace.is_some() && lag_ms > RATE_LAG_MS && !is_slow_reported && !is_cut_off
                {
                    tracing::warn!(
                        "the stream is {} s behind the clock: RATE is less than what the sources produce; raise it, or \
                         lower CONCURRENT_USERS",
                        lag_ms / 1_000
                    );
                    is_slow_reported = true;
                }
                let Ready {
                    messages,
                    time_ms,
                    cursors,
                } = merge.ready(self.chunk);
                let sent = messages.len();
                if sent > 0 {
                    self.send(&messages).await?;
                    last_ms = time_ms;
                }
                drop(messages);
                merge.forget(&cursors);
                if sent == 0 {
                    break;
                }
                if !is_cut_off {
                    self.wait(sent).await;
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Mutex as SyncMutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use async_trait::async_trait;
    use datagen_core::model::Profile;
    use datagen_core::model::session::Pause;
    use datagen_process::common::Common;
    use datagen_process::progress::Bar;
    use datagen_process::shutdown::{Shutdown, Signal};
    use datagen_settings::{ConfigurationErrors, Environment};

    use super::*;
    use crate::message::Sending;

    const START_MS: u64 = 1_795_687_200_000;

    /// A message that the sink took.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Taken {
        payload: Vec<u8>,
        event_ms: u64,
        sending: Sending,
        at_ms: u64,
    }

    /// A sink that takes nothing, or takes everything and records it.
    #[derive(Debug)]
    struct Fake {
        is_full: bool,
        clock: Clock,
        waiting: AtomicUsize,
        taken: SyncMutex<Vec<Taken>>,
        largest: AtomicUsize,
        limit: SyncMutex<Duration>,
    }

    impl Fake {
        fn new(is_full: bool) -> Arc<Self> {
            Arc::new(Self {
                is_full,
                clock: Clock::of_runtime(START_MS),
                waiting: AtomicUsize::default(),
                taken: SyncMutex::default(),
                largest: AtomicUsize::default(),
                limit: SyncMutex::default(),
            })
        }

        fn taken(&self) -> Vec<Taken> {
            self.taken.lock().unwrap().clone()
        }
    }

    #[async_trait]
    impl Sink for Fake {
        async fn send(&self, messages: &[Message<'_>]) -> Result<(), DestinationError> {
            if self.is_full {
                self.waiting.fetch_add(1, SeqCst);
                std::future::pending::<()>().await;
            }
            self.largest.fetch_max(messages.len(), SeqCst);
            let at_ms = self.clock.now_ms();
            self.taken
                .lock()
                .unwrap()
                .extend(messages.iter().map(|message| Taken {
                    payload: message.payload.to_vec(),
                    event_ms: message.event.time_ms,
                    sending: message.sending,
                    at_ms,
                }));
            Ok(())
        }

        async fn flush(&self, limit: Duration) -> Result<(), DestinationError> {
            *self.limit.lock().unwrap() = limit;
            Ok(())
        }

        fn delivery(&self) -> Delivery {
            Delivery::default()
        }
    }

    fn config(directory: &std::path::Path) -> StreamConfig {
        StreamConfig {
            events: EventConfig {
                user_max_id: 99,
                product_max_id: 99,
                profile: Profile::Shop,
                sessions: None,
                pause: Pause {
                    mean: 10.0,
                    stddev: 5.0,
                },
                concurrent_users: 10,
                from_ms: None,
                to_ms: None,
                event_fields: true,
                late_one_in: 0,
                duplicate_one_in: 0,
                seed: Some(3),
            },
            rate: 0.0,
            sink: SinkConfig::Directory(PathBuf::from(directory)),
            metrics: None,
        }
    }

    /// Streams for `time`; then a signal arrives, if the stream has not ended by then.
    async fn stream(sink: &Arc<Fake>, config: &StreamConfig, time: Duration) -> Result<(), DestinationError> {
        let context = Context {
            common: Common::read(&Environment::default(), &mut ConfigurationErrors::default()),
            shutdown: Shutdown::default(),
            bar: Bar::hidden(),
        };
        let shutdown = context.shutdown.clone();
        let clock = sink.clock.clone();
        let run = run_by(clock, config, Arc::clone(sink) as Arc<dyn Sink>, None, &context);
        let signal = async {
            tokio::time::sleep(time).await;
            shutdown.request(Signal::Terminate);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = run => result,
            () = signal => Ok(()),
        }
    }

    /// Returns all messages of the stream that have happened before `end_ms`, in sending order.
    fn expected(config: &StreamConfig, end_ms: u64) -> Vec<Taken> {
        let mut plan = plan(&config.events, 3, START_MS);
        plan.end_ms = Some(end_ms);
        let tag = plan.tag;
        let mut schedule = Schedule::new(Arc::new(plan), 0..u64::from(config.events.concurrent_users));
        let mut batch = Batch::default();
        let mut all = Vec::new();
        while schedule.next_key().is_some() {
            batch.clear();
            schedule.fill(&mut batch, u64::MAX);
            for (index, message) in batch.messages(tag).iter().enumerate() {
                all.push(Taken {
                    payload: message.payload.to_vec(),
                    event_ms: message.event.time_ms,
                    sending: message.sending,
                    at_ms: batch.key(index).unwrap().time_ms,
                });
            }
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_live_stream_sends_each_message_at_its_event_time() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let sink = Fake::new(false);
        stream(&sink, &config, Duration::from_secs(600)).await.unwrap();
        let taken = sink.taken();
        for message in &taken {
            let delay = message.at_ms.checked_sub(message.event_ms);
            assert!(
                delay.is_some_and(|delay| delay <= 10),
                "{delay:?} ms after its event time"
            );
        }
        let expected = expected(&config, START_MS + 600_000);
        assert!(expected.len() > 3_000);
        assert!(
            taken
                .iter()
                .map(|m| &m.payload)
                .eq(expected.iter().map(|m| &m.payload))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_backfill_goes_on_live_without_a_gap_or_a_duplicate() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.events.from_ms = Some(START_MS - 3_600_000);
        config.events.late_one_in = 10;
        config.events.duplicate_one_in = 10;
        let sink = Fake::new(false);
        stream(&sink, &config, Duration::from_secs(1_800)).await.unwrap();
        let taken = sink.taken();
        let expected = expected(&config, START_MS + 1_800_000);
        // Late messages are sent at once when the signal arrives.
        assert!(
            taken
                .iter()
                .map(|m| &m.payload)
                .eq(expected.iter().map(|m| &m.payload))
        );
        assert!(taken.iter().all(|message| message.event_ms <= message.at_ms));
        let backfilled = taken.iter().filter(|message| message.at_ms == START_MS).count();
        assert!(backfilled > taken.len() / 2, "the past is sent without waiting");
    }

    #[tokio::test(start_paused = true)]
    async fn a_live_stream_ends_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.events.to_ms = Some(START_MS + 300_000);
        config.events.late_one_in = 4;
        let sink = Fake::new(false);
        stream(&sink, &config, Duration::MAX).await.unwrap();
        let taken = sink.taken();
        let expected = expected(&config, START_MS + 300_000);
        assert!(
            taken
                .iter()
                .map(|m| &m.payload)
                .eq(expected.iter().map(|m| &m.payload))
        );
        assert!(taken.iter().any(|message| message.sending == Sending::Late));
        assert!(
            taken.iter().all(|message| message.at_ms <= START_MS + 310_000),
            "late ones are not waited for"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn few_messages_wait_for_a_sink_that_takes_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.events.concurrent_users = 5_000;
        let sink = Fake::new(true);
        stream(&sink, &config, Duration::from_secs(600)).await.unwrap();
        assert_eq!(sink.waiting.load(SeqCst), 1);
        // The time spent on handing over is subtracted from the time for the rest.
        assert_eq!(*sink.limit.lock().unwrap(), END_LIMIT - HAND_OVER_LIMIT);

        config.events.late_one_in = 10;
        config.events.from_ms = Some(START_MS - 3_600_000);
        let sink = Fake::new(true);
        let error = stream(&sink, &config, Duration::from_secs(600))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("late messages could not be handed over"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_and_a_signal_interrupts_the_sessions() {
        for is_load_test in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let mut config = config(directory.path());
            config.rate = 10.0;
            match is_load_test {
                true => config.events.pause.mean = 0.0,
                false => config.events.from_ms = Some(START_MS - 86_400_000),
            }
            let sink = Fake::new(false);
            stream(&sink, &config, Duration::from_secs(600)).await.unwrap();
            assert_eq!(sink.largest.load(SeqCst), 1);
            let count = sink.taken().len();
            assert!((5_900..=6_002).contains(&count), "{count} in 600 s");
        }
        // High rates are kept by sending chunks.
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.rate = 1_000.0;
        config.events.from_ms = Some(START_MS - 86_400_000);
        let sink = Fake::new(false);
        stream(&sink, &config, Duration::from_secs(60)).await.unwrap();
        let count = sink.taken().len();
        assert!((59_000..=60_040).contains(&count), "{count} in 60 s");
        assert_eq!(sink.largest.load(SeqCst), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_signal_in_a_backfill_only_late_messages_of_the_time_before_follow() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.events.from_ms = Some(START_MS - 86_400_000);
        config.rate = 100.0;
        config.events.late_one_in = 10;
        let sink = Fake::new(false);
        stream(&sink, &config, Duration::from_secs(60)).await.unwrap();
        let taken = sink.taken();
        let before = taken.iter().filter(|message| message.at_ms < START_MS + 60_000);
        let last_ms = before
            .filter(|m| m.sending == Sending::InTime)
            .map(|m| m.event_ms)
            .max()
            .unwrap();
        let after: Vec<_> = taken
            .iter()
            .filter(|message| message.at_ms >= START_MS + 60_000)
            .collect();
        let late = after
            .iter()
            .filter(|message| message.sending == Sending::Late)
            .count();
        assert!(late > 10 && after.len() - late <= 4, "{late} of {}", after.len());
        assert!(after.iter().all(|message| message.event_ms <= last_ms + 1_000));
        // Everything that has happened is sent.
        let mut expected: Vec<_> = expected(&config, last_ms)
            .into_iter()
            .map(|m| m.payload)
            .collect();
        let mut sent: Vec<_> = taken
            .into_iter()
            .filter(|m| m.event_ms < last_ms)
            .map(|m| m.payload)
            .collect();
        expected.sort();
        sent.sort();
        assert!(sent == expected, "{} of {}", sent.len(), expected.len());
    }

    /// Records the texts of warnings.
    #[derive(Clone, Debug, Default)]
    struct Warnings(Arc<SyncMutex<Vec<String>>>);

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN
        }

        fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = String::new();
            event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                text += &format!("{value:?}");
            });
            self.0.lock().unwrap().push(text);
        }

        fn enter(&self, _span: &tracing::span::Id) {}

        fn exit(&self, _span: &tracing::span::Id) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_below_what_the_sources_produce_is_warned_of_once() {
        for (rate, is_backfill, warnings) in [(2.0, false, 1), (1_000.0, false, 0), (2.0, true, 0)] {
            let seen = Warnings::default();
            let _guard = tracing::subscriber::set_default(seen.clone());
            let directory = tempfile::tempdir().unwrap();
            let mut config = config(directory.path());
            config.rate = rate;
            config.events.from_ms = is_backfill.then_some(START_MS - 86_400_000);
            stream(&Fake::new(false), &config, Duration::from_secs(300))
                .await
                .unwrap();
            let seen = seen.0.lock().unwrap();
            assert_eq!(seen.len(), warnings, "{seen:?}");
            assert!(
                seen.iter()
                    .all(|text| text.contains("RATE is less than what the sources produce"))
            );
        }
    }

    #[test]
    fn shards_share_the_sources_and_the_sessions() {
        for sources in [1, 2, 7, 100] {
            for count in [1, 2, 7] {
                for sessions in [0, 1, 6, 7, 8, 1_000] {
                    let shards = || (0..count).map(|index| Shard { index, count });
                    let all: u64 = shards().map(|shard| source_count(sources, shard)).sum();
                    assert_eq!(all, sources);
                    for shard in shards() {
                        let of_shard = |id: &u64| id % sources % u64::from(count) == u64::from(shard.index);
                        assert_eq!(
                            sessions_of_shard(sessions, sources, shard),
                            (0..sessions).filter(of_shard).count() as u64
                        );
                    }
                }
            }
        }
    }
}

//! What the stream is doing: its counts, a log line every few seconds, and one that sums up; [`prometheus`] serves them
//! as a page.

pub mod delivery_times;
pub mod prometheus;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use datagen_process::progress::LOG_PERIOD;

use self::delivery_times::Buckets;
use crate::clock::Clock;
use crate::message::Topic;
use crate::sink::{Delivery, Sink};

/// What the names of this program's metrics begin with.
const NAMESPACE: &str = "stream_pageviews";

/// Returns how often each effect has been planted so far, by the effect's name.
pub type PlantedCounts = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// The counts of one run.
pub struct Metrics {
    sink: Arc<dyn Sink>,
    planted: PlantedCounts,
    sessions: AtomicU64,
    /// Late messages and duplicates that are not due yet.
    waiting: AtomicU64,
    /// Everything due before this time is sent: milliseconds since 1970, or 0 where messages have no order.
    sent_until_ms: AtomicU64,
    clock: Clock,
    started: Instant,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counts from now on what goes to `sink`.
    pub fn new(sink: Arc<dyn Sink>, clock: Clock) -> Self {
        Self {
            sink,
            planted: Box::new(Vec::new),
            sessions: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            sent_until_ms: AtomicU64::new(0),
            clock,
            started: Instant::now(),
        }
    }

    /// Adds the counts of planted effects.
    #[must_use]
    pub fn with_planted(self, planted: PlantedCounts) -> Self {
        Self { planted, ..self }
    }

    /// Counts sessions whose first message the sink has taken.
    pub fn add_sessions(&self, sessions: u64) {
        self.sessions.fetch_add(sessions, Relaxed);
    }

    /// Sessions whose first message the sink has taken.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Relaxed)
    }

    /// Notes that `now` instead of `before` late messages and duplicates of a worker are not due yet.
    pub fn change_waiting(&self, before: usize, now: usize) {
        // Wrapping around, as atomic integers do, adds a difference that is negative.
        self.waiting
            .fetch_add((now as u64).wrapping_sub(before as u64), Relaxed);
    }

    /// Late messages and duplicates that are not due yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// Notes that everything due before `time_ms`, in milliseconds since 1970, is sent.
    pub fn set_sent_until(&self, time_ms: u64) {
        self.sent_until_ms.store(time_ms, Relaxed);
    }

    /// How far the stream is behind the clock: the age of the oldest message that is due and not sent. 0 in a load test,
    /// in which no message has a time to be sent at.
    pub fn lag_seconds(&self) -> f64 {
        match self.sent_until_ms.load(Relaxed) {
            0 => 0.0,
            sent_until_ms => self.clock.now_ms().saturating_sub(sent_until_ms) as f64 / 1e3,
        }
    }

    /// What became of the messages so far, and what was planted in them.
    pub fn delivery(&self) -> Delivery {
        self.sink.delivery()
    }

    /// Writes a log line every [`LOG_PERIOD`], for ever.
    pub async fn log_periodically(&self) {
        let mut interval = tokio::time::interval(LOG_PERIOD);
        interval.tick().await;
        let (mut before, mut at) = (self.sink.delivery().delivered, Instant::now());
        let mut times_before = self.delivery_times();
        loop {
            interval.tick().await;
            let now = self.sink.delivery();
            let rate = now.delivered.saturating_sub(before) as f64 / at.elapsed().as_secs_f64();
            let times = self.delivery_times();
            let p99 = times.quantile_since(&times_before, 0.99);
            (before, at, times_before) = (now.delivered, Instant::now(), times);
            tracing::info!(
                sessions = self.sessions.load(Relaxed),
                pageviews = now.taken[Topic::Pageviews as usize],
                stars = now.taken[Topic::Stars as usize],
                delivered = now.delivered,
                in_flight = now.in_flight,
                lost = now.lost,
                errors = now.errors,
                waiting = self.waiting(),
                lag_seconds = self.lag_seconds().round(),
                rate = rate.round(),
                p99_ms = (p99.as_secs_f64() * 1e3).round(),
                "streaming"
            );
        }
    }

    fn delivery_times(&self) -> Buckets {
        let times = self.sink.delivery_times();
        times.map(|times| times.buckets()).unwrap_or_default()
    }

    /// Logs the one line that sums up the run.
    pub fn summarize(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let delivery = self.sink.delivery();
        tracing::info!(
            sessions = self.sessions.load(Relaxed),
            pageviews = delivery.taken[Topic::Pageviews as usize],
            stars = delivery.taken[Topic::Stars as usize],
            bytes = delivery.bytes,
            delivered = delivery.delivered,
            lost = delivery.lost,
            errors = delivery.errors,
            lag_seconds = self.lag_seconds().round(),
            seconds = (seconds * 1e3).round() / 1e3,
            messages_per_second = (delivery.delivered as f64 / seconds.max(1e-9)).round(),
            "done"
        );
    }
}

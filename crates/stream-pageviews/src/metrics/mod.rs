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
use crate::sink::Sink;
use crate::visit::Topic;

/// What the names of this program's metrics begin with.
const NAMESPACE: &str = "stream_pageviews";

/// Returns how often each effect has been planted so far, by the effect's name.
pub type PlantedCounts = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// The counts of one run.
pub struct Metrics {
    sink: Arc<dyn Sink>,
    planted: PlantedCounts,
    sessions: AtomicU64,
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
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink,
            planted: Box::new(Vec::new),
            sessions: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// Adds the counts of planted effects.
    #[must_use]
    pub fn with_planted(self, planted: PlantedCounts) -> Self {
        Self { planted, ..self }
    }

    /// Counts a session that the sink has taken whole.
    pub fn add_session(&self) {
        self.sessions.fetch_add(1, Relaxed);
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
            seconds = (seconds * 1e3).round() / 1e3,
            messages_per_second = (delivery.delivered as f64 / seconds.max(1e-9)).round(),
            "done"
        );
    }
}

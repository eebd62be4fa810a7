//! What the stream is doing: its counts, a log line every few seconds, and one that sums up; [`prometheus`]
//! serves them as a page.

pub mod prometheus;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use datagen_process::progress::LOG_PERIOD;

use crate::sink::Sink;
use crate::visit::Topic;

/// The counts of one run.
pub struct Metrics {
    sink: Arc<dyn Sink>,
    sessions: AtomicU64,
    started: Instant,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
            sessions: AtomicU64::new(0),
            started: Instant::now(),
        }
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
        loop {
            interval.tick().await;
            let now = self.sink.delivery();
            let rate = now.delivered.saturating_sub(before) as f64 / at.elapsed().as_secs_f64();
            (before, at) = (now.delivered, Instant::now());
            tracing::info!(
                sessions = self.sessions.load(Relaxed),
                pageviews = now.taken[Topic::Pageviews as usize],
                stars = now.taken[Topic::Stars as usize],
                delivered = now.delivered,
                in_flight = now.in_flight,
                lost = now.lost,
                errors = now.errors,
                rate = rate.round(),
                p99_ms = (now.p99.as_secs_f64() * 1e3).round(),
                "streaming"
            );
        }
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

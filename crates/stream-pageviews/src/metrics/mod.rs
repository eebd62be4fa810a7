//! The counts of a running stream. [`report`] shows them in the log and on the terminal, [`prometheus`] serves them as
//! a page.

pub mod delivery_times;
pub mod prometheus;
pub mod report;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::clock::Clock;
use crate::sink::{Delivery, Sink};

/// The prefix of the names of this program's metrics.
const NAMESPACE: &str = "stream_pageviews";

/// Returns how often each effect has been planted so far, by the effect's name.
pub type PlantedCounts = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// The counts of one run.
pub struct Metrics {
    sink: Arc<dyn Sink>,
    planted: PlantedCounts,
    sessions: AtomicU64,
    /// The number of late messages and duplicates that are not due yet.
    waiting: AtomicU64,
    /// Everything due before this time has been sent: milliseconds since 1970, or 0 where messages have no order.
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
    /// Creates the metrics of a stream whose messages go to `sink`.
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

    /// Sets the source of the counts of planted effects.
    #[must_use]
    pub fn with_planted(self, planted: PlantedCounts) -> Self {
        Self { planted, ..self }
    }

    /// Adds sessions whose first message the sink has taken.
    pub fn add_sessions(&self, sessions: u64) {
        self.sessions.fetch_add(sessions, Relaxed);
    }

    /// Returns the number of sessions whose first message the sink has taken.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Relaxed)
    }

    /// Records that the number of late messages and duplicates of a worker that are not due yet has changed from
    /// `before` to `now`.
    pub fn change_waiting(&self, before: usize, now: usize) {
        // Atomic integers wrap around, so that this also adds a negative difference.
        self.waiting
            .fetch_add((now as u64).wrapping_sub(before as u64), Relaxed);
    }

    /// Returns the number of late messages and duplicates that are not due yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// Records that everything due before `time_ms`, in milliseconds since 1970, has been sent.
    pub fn set_sent_until(&self, time_ms: u64) {
        self.sent_until_ms.store(time_ms, Relaxed);
    }

    /// Returns how far the stream is behind the clock, in seconds: the age of the oldest message that is due and not
    /// sent. 0 in a load test, where messages have no sending time.
    pub fn lag_seconds(&self) -> f64 {
        match self.sent_until_ms.load(Relaxed) {
            0 => 0.0,
            sent_until_ms => self.clock.now_ms().saturating_sub(sent_until_ms) as f64 / 1e3,
        }
    }

    /// Returns what has become of the messages so far, and what was planted in them.
    pub fn delivery(&self) -> Delivery {
        self.sink.delivery()
    }
}

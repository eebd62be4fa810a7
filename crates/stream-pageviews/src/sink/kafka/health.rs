//! What has become of the messages, which problems exist at the moment, and when the stream must end.
//!
//! All producers of a sink share one [`Health`]. librdkafka retries by itself and reports every error. Most errors are
//! transient: they are logged at most once every few seconds. The first error that no retry can fix ends the stream.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::KafkaSinkError;
use crate::metrics::delivery_times::DeliveryTimes;
use crate::sink::Delivery;

/// The shortest time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(5);

/// The state that the producers of one sink share.
#[derive(Debug)]
pub struct Health {
    /// The times of sending are counted from here.
    started: Instant,
    delivered: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
    delivery_times: DeliveryTimes,
    /// How many producers have an id.
    producer_ids: watch::Sender<usize>,
    error: watch::Sender<Option<KafkaSinkError>>,
    /// Cancelled when the time for delivering is over.
    closing: CancellationToken,
    connection: Mutex<ConnectionState>,
}

/// How far the sink has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The topics are not known yet.
    #[default]
    Connecting,
    /// The topics are known, but idempotent producers do not have ids yet.
    AwaitingProducerIds,
    /// Messages are taken.
    Sending,
}

/// The connection to the brokers, as the log describes it.
#[derive(Debug, Default)]
struct ConnectionState {
    stage: Stage,
    last_error: Option<String>,
    warned_at: Option<Instant>,
    /// The number of errors that the warnings so far have reported.
    logged_errors: u64,
    /// How many producers have waiting messages, and since when there has been at least one.
    degraded: usize,
    degraded_since: Option<Instant>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            delivery_times: DeliveryTimes::default(),
            producer_ids: watch::Sender::new(0),
            error: watch::Sender::new(None),
            closing: CancellationToken::new(),
            connection: Mutex::default(),
        }
    }

    /// Returns how many messages were delivered and lost, and how many transient errors there were.
    pub fn delivery(&self) -> Delivery {
        Delivery {
            delivered: self.delivered.load(Relaxed),
            lost: self.lost.load(Relaxed),
            errors: self.errors.load(Relaxed),
            ..Delivery::default()
        }
    }

    /// Returns how long deliveries took.
    pub fn delivery_times(&self) -> &DeliveryTimes {
        &self.delivery_times
    }

    /// Returns why nothing can be delivered any more, once that is the case.
    pub fn error(&self) -> Option<KafkaSinkError> {
        self.error.borrow().clone()
    }

    /// Waits until nothing can be delivered any more.
    pub async fn failed(&self) -> KafkaSinkError {
        let mut error = self.error.subscribe();
        let error = error
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|error| error.clone());
        match error {
            Some(error) => error,
            // The sender belongs to `self`, so it has not been dropped.
            None => std::future::pending().await,
        }
    }

    /// Waits until this many producers have an id.
    pub(super) async fn has_producer_ids(&self, producers: usize) {
        // The sender belongs to `self`, so it has not been dropped.
        let _ = self
            .producer_ids
            .subscribe()
            .wait_for(|ids| *ids >= producers)
            .await;
    }

    pub(super) fn enter(&self, stage: Stage) {
        lock(&self.connection).stage = stage;
    }

    /// Ends the time for delivering: producers no longer wait for the identity service. This wait would delay the
    /// reports of lost messages, which arrive on the thread that requests tokens.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    pub(super) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    pub(super) fn last_error(&self) -> Option<String> {
        lock(&self.connection).last_error.clone()
    }

    /// Returns the microseconds since the start, which a message carries until it is acknowledged.
    pub(super) fn clock(&self) -> usize {
        self.started.elapsed().as_micros() as usize
    }

    pub(super) fn add_producer_ids(&self, new: usize) {
        self.producer_ids.send_modify(|ids| *ids += new);
    }

    /// Counts a message that was sent when the [`clock`](Self::clock) showed `sent`.
    pub(super) fn add_delivered(&self, sent: usize) {
        self.delivered.fetch_add(1, Relaxed);
        let micros = self.clock().wrapping_sub(sent);
        self.delivery_times.observe(Duration::from_micros(micros as u64));
    }

    pub(super) fn add_lost(&self, error: KafkaSinkError) {
        self.lost.fetch_add(1, Relaxed);
        self.fail(error);
    }

    pub(super) fn add_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// Ends the stream. Only the first error is kept: the others are its consequences.
    pub(super) fn fail(&self, error: KafkaSinkError) {
        self.error.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(error);
            }
            is_first
        });
    }

    /// Ends the stream if it is still starting, when there are no waiting messages that a retry could save. Returns
    /// whether it is still starting.
    pub(super) fn fail_at_start(&self, error: KafkaSinkError) -> bool {
        let is_start = lock(&self.connection).stage != Stage::Sending;
        if is_start {
            self.fail(error);
        }
        is_start
    }

    /// Logs why messages wait, at most every [`WARNING_INTERVAL`].
    pub(super) fn warn(&self, reason: String) {
        let mut connection = lock(&self.connection);
        let what = match connection.stage {
            Stage::Connecting => "not connected yet",
            Stage::Sending => "messages wait",
            // A single warning says later that there was no id, and why.
            Stage::AwaitingProducerIds => return,
        };
        if connection
            .warned_at
            .is_none_or(|at| at.elapsed() >= WARNING_INTERVAL)
        {
            let errors = self.errors.load(Relaxed);
            tracing::warn!(errors = errors - connection.logged_errors, "{what}: {reason}");
            connection.warned_at = Some(Instant::now());
            connection.logged_errors = errors;
        }
        connection.last_error = Some(reason);
    }

    /// Logs the error with which librdkafka sums up earlier ones. The most recent of these is logged as the cause.
    pub(super) fn warn_all_brokers_down(&self) {
        let cause = lock(&self.connection).last_error.take();
        self.warn(cause.unwrap_or_else(|| "it closes the connection or does not answer".to_owned()));
    }

    /// Records that the messages of one more producer wait.
    pub(super) fn add_degraded(&self) {
        let mut connection = lock(&self.connection);
        connection.degraded += 1;
        if connection.stage == Stage::Sending {
            connection.degraded_since.get_or_insert_with(Instant::now);
        }
    }

    /// Records that the messages of one producer no longer wait. If it was the last one, this is logged.
    pub(super) fn remove_degraded(&self) {
        let mut connection = lock(&self.connection);
        connection.degraded -= 1;
        if connection.degraded == 0 {
            connection.last_error = None;
            if let Some(since) = connection.degraded_since.take() {
                let seconds = since.elapsed().as_secs_f64();
                tracing::info!(seconds = seconds.round(), "messages are delivered again");
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_never_hides_the_cause() {
        let health = Health::new();
        health.warn_all_brokers_down();
        assert_eq!(
            health.last_error().unwrap(),
            "it closes the connection or does not answer"
        );
        health.warn("no such host".to_owned());
        health.warn_all_brokers_down();
        assert_eq!(health.last_error().unwrap(), "no such host");
    }

    #[test]
    fn the_first_error_is_the_one_reported() {
        let health = Health::new();
        health.fail(KafkaSinkError::new("cause"));
        health.fail(KafkaSinkError::new("consequence"));
        assert_eq!(health.error().unwrap().to_string(), "cause");
    }
}
